//! The built topology, as data: physical nodes in the order in which Kafka Streams would add them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::config::{BuildSettings, StoreType};
use crate::error::OnError;
use crate::state::{Layout, OpenFn, StoreSpec};
use crate::topology::draft::{CallId, Factory, OffsetReset, Part, SinkTopic, WindowFacts};
use crate::window::Watermark;

/// Index of a node in [`Plan::nodes`].
pub(crate) type NodeId = usize;

/// One physical node.
#[derive(Clone)]
pub(crate) struct Node {
    pub(crate) name: Arc<str>,
    /// The call that it belongs to, and which part of it.
    pub(crate) call: CallId,
    pub(crate) part: Part,
    pub(crate) kind: NodeKind,
    /// In the order in which they were connected.
    pub(crate) parents: Vec<NodeId>,
    /// In the order in which they were attached: a record goes to them in this order.
    pub(crate) children: Vec<NodeId>,
    /// Stores connected to it, in the order of connection.
    pub(crate) stores: Vec<Arc<str>>,
    /// Index in [`Plan::subtopologies`].
    pub(crate) subtopology: usize,
}

/// What a node is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum NodeKind {
    /// Reads topics. `internal`: a repartition topic of this application, whose name has no application prefix here.
    Source {
        topics: Vec<String>,
        internal: bool,
        watermark: Option<Watermark>,
        reset: Option<OffsetReset>,
    },
    Processor,
    /// Writes a topic; `internal` as above.
    Sink {
        topic: SinkTopic,
        internal: bool,
    },
}

/// A store of the topology.
#[derive(Clone)]
pub(crate) struct StoreNode {
    pub(crate) name: Arc<str>,
    pub(crate) spec: StoreSpec,
    pub(crate) open: OpenFn,
    /// Nodes connected to it, in order.
    pub(crate) users: Vec<NodeId>,
    /// The changelog topic without the application's prefix; none without logging. A source table whose topic serves as
    /// changelog would name that topic (only with an optimisation of a later release).
    pub(crate) changelog: Option<String>,
}

/// What the users of a store need it to do.
#[derive(Clone, Copy)]
pub(crate) struct StoreUse {
    pub(crate) windows: Option<WindowFacts>,
    /// Rows are taken out by the task's watermark.
    pub(crate) bounded: bool,
    /// Rows are asked for by time.
    pub(crate) time_index: bool,
}

impl StoreNode {
    pub(crate) fn used_in(&self, plan: &Plan) -> StoreUse {
        let windows = self.users.iter().find_map(|&user| plan.calls[plan.nodes[user].call].windows);
        let bounded = self.users.first().is_some_and(|&user| plan.subtopologies[plan.nodes[user].subtopology].bounded);
        let time_index = windows.is_some_and(|windows| windows.on_close || bounded);
        StoreUse { windows, bounded: bounded && windows.is_some(), time_index }
    }
}

impl Plan {
    /// Where stores live that do not say it.
    pub(crate) fn default_layout(&self) -> Layout {
        match self.settings.store_type {
            StoreType::Persistent => Layout::Persistent,
            StoreType::InMemory => Layout::InMemory,
        }
    }
}

/// A repartition topic.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RepartitionTopic {
    /// Without the application's prefix, with `-repartition`.
    pub(crate) name: String,
    /// Said by the author; else as many as the widest input upstream.
    pub(crate) partitions: Option<i32>,
    /// The operator that made it necessary, and the one that changed the key, for `explain`.
    pub(crate) because: String,
}

/// What replay decided about one call.
#[derive(Clone, Default)]
pub(crate) struct CallFacts {
    /// The node that gives the call's result.
    pub(crate) result: Option<NodeId>,
    /// The name of the store it keeps, if it keeps one.
    pub(crate) store: Option<Arc<str>>,
    /// A table whose changes must carry the old value, because something downstream asked.
    pub(crate) sends_old: bool,
    pub(crate) on_error: Option<OnError>,
    /// A left join of a stream with a table: records without a key are welcome.
    pub(crate) welcomes_null_keys: bool,
    pub(crate) windows: Option<WindowFacts>,
    /// `suppress` until windows close: how long after a window's end it closes (sessions: gap and grace).
    pub(crate) close_grace_ms: Option<i64>,
    /// Factories by part.
    pub(crate) factories: HashMap<Part, Factory>,
}

/// A connected part of the topology: what one task runs.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Subtopology {
    /// Its number, as in `describe` and task ids.
    pub(crate) number: usize,
    pub(crate) nodes: Vec<NodeId>,
    /// Names of its stores, in the order in which the nodes using them were added.
    pub(crate) stores: Vec<Arc<str>>,
    /// Groups of source topics that must have equally many partitions.
    pub(crate) copartitioned: Vec<Vec<String>>,
    /// Its clock: bounded watermarks, or stream time.
    pub(crate) bounded: bool,
}

/// Everything `build` decided.
#[derive(Clone, Default)]
pub(crate) struct Plan {
    pub(crate) nodes: Vec<Node>,
    pub(crate) stores: BTreeMap<Arc<str>, StoreNode>,
    pub(crate) calls: Vec<CallFacts>,
    pub(crate) repartition_topics: BTreeMap<String, RepartitionTopic>,
    pub(crate) subtopologies: Vec<Subtopology>,
    pub(crate) settings: BuildSettings,
}
