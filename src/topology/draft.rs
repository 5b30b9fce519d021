//! The calls of the DSL, as data: what an author said, in order, before names and numbers exist.
//!
//! `build` replays them (see `replay`), because a generated name depends on every call before it and an operator's
//! own name is said after the operator.

use std::any::{Any, TypeId, type_name};
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use crate::config::BuildSettings;
use crate::error::{OnError, TopologyProblem};
use crate::state::{OpenFn, StoreSpec};
use crate::topology::{Assembly, NodeId};
use crate::window::Watermark;

/// Index of a call in [`Draft::calls`].
pub(crate) type CallId = usize;

/// A box whose type both ends of an edge know: `Next<K, V>`, a raw source, a store handle.
pub(crate) type Erased = Box<dyn Any + Send>;

/// Makes the executable form of a node and, through the assembly, of everything below it.
pub(crate) type Factory = Arc<dyn Fn(&mut Assembly<'_>, NodeId) -> Erased + Send + Sync>;

/// Which of a call's physical nodes a factory makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Part {
    /// The operator itself.
    Main,
    /// The source in front of it: `table(..)` is a source and a table.
    Source,
    /// Writes the repartition topic that the call makes necessary.
    ShuffleSink,
    /// Drops null keys before that topic.
    ShuffleFilter,
    /// Reads that topic.
    ShuffleSource,
}

/// A store that a call may make.
#[derive(Clone)]
pub(crate) struct StoreDraft {
    /// The author's name; none asks for a generated one.
    pub(crate) name: Option<String>,
    pub(crate) spec: StoreSpec,
    pub(crate) open: OpenFn,
    /// Its kind and types: two uses of one name must agree. None is not checked.
    pub(crate) of: Option<TypeId>,
    /// Made by `Materialized` or a name, and not only implied by the operator (tables without a store of their own).
    pub(crate) asked_for: bool,
}

/// What one call of the DSL asks for. The fields are what names, describe and checks depend on.
#[derive(Clone)]
pub(crate) enum Op {
    /// `builder.stream(..)`: KSTREAM-SOURCE.
    Stream { topics: Vec<String>, watermark: Option<Watermark>, reset: Option<OffsetReset> },
    /// `builder.table(..)`: KSTREAM-SOURCE and KTABLE-SOURCE; its store exists if asked for or needed by a join or suppress.
    Table { topic: String, watermark: Option<Watermark>, reset: Option<OffsetReset>, store: StoreDraft },
    /// One node on a stream, named `prefix` and a number; `rekeys` asks later key-based operators for a repartition.
    Operator { prefix: &'static str, rekeys: bool },
    /// KSTREAM-MERGE of two streams.
    Merge,
    /// KSTREAM-BRANCH; its branches follow as calls of their own with it as input.
    Split,
    /// A branch of a split; `index` counts from 1, 0 is the rest.
    Branch { index: usize },
    /// `process`: KSTREAM-PROCESSOR (may change the key) or, `fixed_key`, KSTREAM-PROCESSVALUES.
    Process { stores: Vec<ProcessStore>, fixed_key: bool },
    /// `add_store`: a store that processors name.
    AddStore { store: StoreDraft },
    /// KSTREAM-SINK to a topic, or to one that a function chooses.
    Sink { topic: SinkTopic },
    /// KSTREAM-REPARTITION: always a topic. `Call::name` is the topic's and the operator's name.
    Repartition { partitions: Option<i32> },
    /// KSTREAM-TOTABLE.
    ToTable { store: StoreDraft },
    /// `group_by_key` (no node) or, with `select`, `group_by` (KSTREAM-KEY-SELECT, always repartitions).
    /// `Call::name` is the grouping's name; the shuffle factories of its aggregates are this call's.
    Group { select: bool, partitions: Option<i32> },
    /// `count`, `reduce` or `aggregate` of a group, windowed or not. `counts`: it is `count`, whose unnamed `Materialized`
    /// takes one number more.
    Aggregate { prefix: &'static str, counts: bool, store: StoreDraft, windows: Option<WindowFacts> },
    /// KTABLE-FILTER or KTABLE-MAPVALUES; with a store only if asked for.
    TableOperator { prefix: &'static str, store: Option<StoreDraft> },
    /// KTABLE-TOSTREAM.
    ToStream,
    /// KTABLE-SUPPRESS with its buffer; `Call::name` names the operator and, with `-store`, the buffer.
    Suppress { store: StoreDraft, until_close: bool },
    /// Stream-table join: KSTREAM-JOIN or KSTREAM-LEFTJOIN; inputs are the stream, then the table. `Call::name` also
    /// names a repartition topic that it makes necessary.
    JoinTable { left: bool, grace_ms: Option<i64>, buffer: Option<StoreDraft> },
}

/// A store used by `process`.
#[derive(Clone)]
pub(crate) enum ProcessStore {
    /// Added before with `add_store`, or made by another operator.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "the DSL hands the store itself over; Java scripts name it, and the stored topologies do")
    )]
    Named(String),
    /// Comes with the processor (`process(COUNTS, ..)`): added if nothing of that name exists.
    Own(StoreDraft),
}

/// Where reading begins when the group has no committed offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OffsetReset {
    /// At the first record.
    Earliest,
    /// After the last record.
    Latest,
    /// Nowhere: an error.
    None,
}

/// The topic of a sink.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SinkTopic {
    Fixed(String),
    /// Chosen per record; the text is what `describe` prints for it.
    Dynamic(String),
}

/// What describe, explain and checks need to know of windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WindowFacts {
    pub(crate) kind: WindowKind,
    /// Size of time windows, difference of sliding ones, gap of sessions, in ms. Unlimited: 0.
    pub(crate) size_ms: i64,
    pub(crate) advance_ms: i64,
    pub(crate) grace_ms: i64,
    pub(crate) on_close: bool,
    /// What is wrong with the window itself.
    pub(crate) problem: Option<&'static str>,
}

/// Kinds of window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WindowKind {
    Time,
    Sliding,
    Session,
    Unlimited,
}

/// One call.
pub(crate) struct Call {
    pub(crate) op: Op,
    pub(crate) inputs: Vec<CallId>,
    /// What `.named(..)` or the option object said.
    pub(crate) name: Option<String>,
    pub(crate) on_error: Option<OnError>,
    pub(crate) factories: Vec<(Part, Factory)>,
    /// Key and value type of a source: streams of one topic share it.
    pub(crate) types: Option<Types>,
}

/// A pair of types, to compare and to print.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Types {
    id: TypeId,
    pub(crate) names: [&'static str; 2],
}

impl Call {
    pub(crate) fn new(op: Op, inputs: &[CallId]) -> Self {
        Call { op, inputs: inputs.to_vec(), name: None, on_error: None, factories: Vec::new(), types: None }
    }
    pub(crate) fn named(mut self, name: Option<String>) -> Self {
        self.name = name;
        self
    }
    pub(crate) fn on_error(mut self, policy: Option<OnError>) -> Self {
        self.on_error = policy;
        self
    }
    pub(crate) fn typed<K: 'static, V: 'static>(mut self) -> Self {
        self.types = Some(Types { id: TypeId::of::<(K, V)>(), names: [type_name::<K>(), type_name::<V>()] });
        self
    }
    pub(crate) fn part(mut self, part: Part, make: impl Fn(&mut Assembly<'_>, NodeId) -> Erased + Send + Sync + 'static) -> Self {
        self.factories.push((part, Arc::new(make)));
        self
    }
}

/// The calls so far.
#[derive(Default)]
pub(crate) struct Draft {
    pub(crate) calls: Vec<Call>,
    pub(crate) problems: Vec<TopologyProblem>,
    pub(crate) settings: BuildSettings,
}

/// What every stream and table of one builder shares. After `build` it is closed, and a call on it is a problem (A4).
#[derive(Clone, Default)]
pub(crate) struct Graph(pub(crate) Rc<RefCell<Draft>>);

impl Graph {
    /// Appends a call.
    pub(crate) fn add(&self, call: Call) -> CallId {
        let mut draft = self.0.borrow_mut();
        draft.calls.push(call);
        draft.calls.len() - 1
    }
    /// Changes a call made before, as `.named` does.
    pub(crate) fn change(&self, id: CallId, act: impl FnOnce(&mut Call)) {
        if let Some(call) = self.0.borrow_mut().calls.get_mut(id) {
            act(call);
        }
    }
    /// Records something wrong, for `build` to report.
    pub(crate) fn problem(&self, problem: TopologyProblem) {
        self.0.borrow_mut().problems.push(problem);
    }
    /// Whether both streams come from one builder; a problem is recorded if not.
    pub(crate) fn same(&self, other: &Graph, operator: &str) -> bool {
        let same = Rc::ptr_eq(&self.0, &other.0);
        if !same {
            self.problem(TopologyProblem::ForeignStream(operator.to_owned()));
        }
        same
    }
}
