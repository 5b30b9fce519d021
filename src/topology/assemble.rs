//! Making a running task of a topology: typed boxes from factories, stores opened, driven nodes found.
//!
//! Assembling walks down from the sources; a factory asks for its typed child, which is the one place where an erased box
//! becomes a typed one again. After that nothing is erased.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

use crate::error::OnError;
use crate::processor::edge::{Discard, Fanout};
use crate::processor::{Driven, Named, Next, NodeInfo, Outputs, Receive, Shared, SourceMaker};
use crate::record::Data;
use crate::state::{Dedup, OpenStore, Opened, Store, StoreControl, StoreEnvironment, StoreSpec};
use crate::topology::draft::{CallId, Erased, Part, SinkTopic, WindowFacts};
use crate::topology::node::{CallFacts, NodeKind, Plan, StoreUse};
use crate::topology::{NodeId, Topology};
use crate::window::Watermark;

/// What a task is made with.
pub(crate) struct TaskSetup<'a> {
    /// Prefix of internal topics.
    pub(crate) application_id: &'a str,
    /// Sub-topologies to run; one, or all of them in a test driver.
    pub(crate) subtopologies: &'a [usize],
    pub(crate) environment: StoreEnvironment,
    /// Whether stores of DSL operators have a record cache unless they say otherwise.
    pub(crate) caching: bool,
    /// Also where no node listens to the cache (results come when windows close). It only spares changelog records of one
    /// commit then, which deduplication does already; but it shows rows longer, as Kafka Streams does.
    pub(crate) silent_caches: bool,
    pub(crate) dedup: Dedup,
    /// Committed rows of a store; an empty backend for a new one.
    pub(crate) backends: &'a mut dyn FnMut(&str, &StoreSpec) -> Box<dyn crate::state::StoreBackend>,
}

/// The executable form of a topology, or of a part of it.
pub(crate) struct Assembled {
    pub(crate) sources: Vec<AssembledSource>,
    /// Nodes that the task drives, in the order in which the topology has them.
    pub(crate) driven: Vec<(NodeId, Arc<Mutex<dyn Driven>>)>,
    /// Stores in the order in which the nodes using them were added.
    pub(crate) stores: Vec<AssembledStore>,
    pub(crate) bounded: bool,
    /// Some node may write a dead letter of its own accord.
    pub(crate) may_dead_letter: bool,
}

/// A source node: one head per input partition is made of it.
pub(crate) struct AssembledSource {
    pub(crate) name: Arc<str>,
    pub(crate) topics: Vec<Arc<str>>,
    pub(crate) internal: bool,
    /// A repartition topic whose writers announce their watermarks in it.
    pub(crate) announced: bool,
    pub(crate) watermark: Option<Watermark>,
    pub(crate) make: SourceMaker,
}

/// An open store.
pub(crate) struct AssembledStore {
    pub(crate) name: Arc<str>,
    /// The full name of its changelog topic.
    pub(crate) changelog: Option<Arc<str>>,
    pub(crate) control: Arc<dyn StoreControl>,
    pub(crate) handle: Arc<dyn Fn() -> Erased + Send + Sync>,
}

/// One task being put together.
pub(crate) struct Assembly<'s> {
    plan: Arc<Plan>,
    setup: TaskSetup<'s>,
    built: HashMap<NodeId, Erased>,
    stores: BTreeMap<Arc<str>, Opened>,
    driven: BTreeMap<NodeId, Arc<Mutex<dyn Driven>>>,
}

/// Wraps a typed receiver for a factory's return.
pub(crate) fn erase<K: Data, V: Data>(node: impl Receive<K, V> + 'static) -> Erased {
    let typed: Next<K, V> = Box::new(node);
    Box::new(typed)
}

/// The same of a node with user functions.
pub(crate) fn erase_named<K: Data, V: Data>(name: Arc<str>, node: impl Receive<K, V> + 'static) -> Erased {
    erase(Named { name, node })
}

fn typed<K: Data, V: Data>(erased: Erased) -> Next<K, V> {
    *erased.downcast().expect("the DSL gives both ends of an edge one type")
}

/// The full name of an internal topic.
pub(crate) fn internal_name(application_id: &str, name: &str) -> String {
    format!("{application_id}-{name}")
}

impl Topology {
    /// Puts the named sub-topologies together as one task.
    pub(crate) fn assemble(&self, setup: TaskSetup<'_>) -> Assembled {
        let plan = self.plan().clone();
        let mut assembly = Assembly { plan: plan.clone(), setup, built: HashMap::new(), stores: BTreeMap::new(), driven: BTreeMap::new() };
        let wanted = |subtopology: usize| assembly.setup.subtopologies.contains(&subtopology);
        let sources: Vec<NodeId> = (0..plan.nodes.len())
            .filter(|&id| wanted(plan.nodes[id].subtopology) && matches!(plan.nodes[id].kind, NodeKind::Source { .. }))
            .collect();
        let sources = sources.into_iter().map(|id| assembly.source(id)).collect();
        let stores = assembly.open_rest();
        let subtopologies = assembly.setup.subtopologies.iter().filter_map(|&index| plan.subtopologies.get(index));
        let bounded = subtopologies.fold(false, |bounded, part| bounded | part.bounded);
        let may_dead_letter = plan.calls.iter().any(|call| call.on_error.as_ref().is_some_and(writes_dead_letters));
        Assembled { sources, driven: assembly.driven.into_iter().collect(), stores, bounded, may_dead_letter }
    }
}

/// Whether a policy writes dead letters.
pub(crate) fn writes_dead_letters(policy: &OnError) -> bool {
    matches!(policy, OnError::DeadLetter(_))
}

impl Assembly<'_> {
    fn facts(&self, id: NodeId) -> &CallFacts {
        &self.plan.calls[self.plan.nodes[id].call]
    }

    /// The name and policy of a node.
    pub(crate) fn info(&self, id: NodeId) -> NodeInfo {
        NodeInfo { name: self.plan.nodes[id].name.clone(), on_error: self.facts(id).on_error.clone() }
    }

    /// Whether something downstream of this table asked for old values.
    pub(crate) fn sends_old(&self, id: NodeId) -> bool {
        self.facts(id).sends_old
    }

    /// The full name of the topic that a sink writes.
    pub(crate) fn sink_topic(&self, id: NodeId) -> Arc<str> {
        match &self.plan.nodes[id].kind {
            NodeKind::Sink { topic: SinkTopic::Fixed(topic), internal: true } => internal_name(self.setup.application_id, topic).into(),
            NodeKind::Sink { topic: SinkTopic::Fixed(topic), .. } => topic.as_str().into(),
            _ => unreachable!("only sinks with a fixed topic ask for it"),
        }
    }

    /// Whether a left join lies behind the repartition topic of this node's call, perhaps behind other such topics: then null
    /// keys must pass through it (K2.4).
    pub(crate) fn null_keys_welcome_behind(&self, id: NodeId) -> bool {
        let plan = &self.plan;
        let behind = |id: NodeId| {
            let call = plan.nodes[id].call;
            let of_topic = move |node: &&crate::topology::node::Node| node.call == call && node.part == Part::ShuffleSource;
            plan.nodes.iter().filter(of_topic).flat_map(|node| node.children.iter().copied())
        };
        let mut below: Vec<NodeId> = behind(id).collect();
        while let Some(node) = below.pop() {
            if plan.calls[plan.nodes[node].call].welcomes_null_keys {
                return true;
            }
            match plan.nodes[node].kind {
                NodeKind::Sink { internal: true, .. } => below.extend(behind(node)),
                _ => below.extend(&plan.nodes[node].children),
            }
        }
        false
    }

    /// What node `id` forwards to.
    pub(crate) fn output_of<K: Data, V: Data>(&mut self, id: NodeId) -> Next<K, V> {
        let plan = self.plan.clone();
        let mut children: Vec<Next<K, V>> = plan.nodes[id].children.iter().map(|&child| self.input_of(child)).collect();
        match (children.pop(), children.is_empty()) {
            (None, _) => Box::new(Discard),
            (Some(only), true) => only,
            (Some(last), false) => Box::new(Fanout { first: children, last }),
        }
    }

    /// The same, child by child.
    pub(crate) fn outputs_of<K: Data, V: Data>(&mut self, id: NodeId) -> Outputs<K, V> {
        let plan = self.plan.clone();
        Outputs(plan.nodes[id].children.iter().map(|&child| (plan.nodes[child].name.clone(), self.input_of(child))).collect())
    }

    fn make(&mut self, id: NodeId) -> Erased {
        let part = self.plan.nodes[id].part;
        let factory = self.facts(id).factories.get(&part).expect("replay only makes parts that the DSL gave a factory").clone();
        factory(self, id)
    }

    fn input_of<K: Data, V: Data>(&mut self, id: NodeId) -> Next<K, V> {
        if self.plan.nodes[id].parents.len() < 2 {
            return typed(self.make(id));
        }
        if !self.built.contains_key(&id) {
            let node: Next<K, V> = typed(self.make(id));
            self.built.insert(id, Box::new(Shared(Arc::new(Mutex::new(node)))));
        }
        let shared = self.built[&id].downcast_ref::<Shared<Next<K, V>>>().expect("the DSL gives every parent of a node one type");
        Box::new(shared.clone())
    }

    fn source(&mut self, id: NodeId) -> AssembledSource {
        let make = *self.make(id).downcast::<SourceMaker>().expect("a source's factory makes a source");
        let NodeKind::Source { topics, internal, watermark, .. } = &self.plan.nodes[id].kind else {
            unreachable!("only source nodes are asked for")
        };
        let full = |topic: &String| if *internal { internal_name(self.setup.application_id, topic).into() } else { topic.as_str().into() };
        let announced = *internal && topics.iter().any(|topic| self.writer_is_bounded(topic));
        let name = self.plan.nodes[id].name.clone();
        AssembledSource { name, topics: topics.iter().map(full).collect(), internal: *internal, announced, watermark: *watermark, make }
    }

    fn writer_is_bounded(&self, repartition_topic: &str) -> bool {
        let writes = |kind: &NodeKind| matches!(kind, NodeKind::Sink { topic: SinkTopic::Fixed(topic), internal: true } if topic == repartition_topic);
        self.plan.nodes.iter().any(|node| writes(&node.kind) && self.plan.subtopologies[node.subtopology].bounded)
    }

    /// Makes a node reachable for the task as well as for its parent.
    pub(crate) fn driven<K: Data, V: Data, N: Driven + Receive<K, V> + 'static>(&mut self, id: NodeId, node: N) -> Erased {
        let node = Arc::new(Mutex::new(node));
        self.driven.insert(id, node.clone());
        erase_named::<K, V>(self.plan.nodes[id].name.clone(), Shared(node))
    }

    /// The store of the call that node `id` belongs to, if it has one.
    pub(crate) fn store_of<S: Store>(&mut self, id: NodeId) -> Option<S> {
        let name = self.facts(id).store.clone()?;
        Some(self.typed_handle(&name))
    }

    /// The store of another call: the other side of a join.
    pub(crate) fn store_of_call<S: Store>(&mut self, call: CallId) -> S {
        let name = self.plan.calls[call].store.clone().expect("replay gives every table that is looked up a store");
        self.typed_handle(&name)
    }

    fn typed_handle<S: Store>(&mut self, name: &str) -> S {
        *self.handle(name).downcast().expect("a store name has one type: checked by build")
    }

    /// A handle to the named store, opened on first use.
    pub(crate) fn handle(&mut self, name: &str) -> Erased {
        if !self.stores.contains_key(name) {
            let opened = self.open(name);
            self.stores.insert(name.into(), opened);
        }
        (self.stores[name].handle)()
    }

    fn open(&mut self, name: &str) -> Opened {
        let plan = self.plan.clone();
        let node = &plan.stores[name];
        let StoreUse { windows, bounded, time_index } = node.used_in(&plan);
        let changelog = node.changelog.as_ref().map(|topic| internal_name(self.setup.application_id, topic)).unwrap_or_default();
        let spec = self.decided(&node.spec, windows);
        (node.open)(OpenStore {
            name: node.name.clone(),
            backend: (self.setup.backends)(name, &spec),
            spec,
            changelog_topic: &changelog,
            environment: &self.setup.environment,
            bounded,
            time_index,
        })
    }

    /// Every default of a store decided.
    fn decided(&self, spec: &StoreSpec, windows: Option<WindowFacts>) -> StoreSpec {
        let mut spec = spec.clone();
        spec.layout.get_or_insert(self.plan.default_layout());
        let dedup = *spec.dedup.get_or_insert(self.setup.dedup);
        let listens = windows.is_none_or(|windows| !windows.on_close);
        spec.caching =
            Some(spec.caching.unwrap_or(false) && self.setup.caching && (listens || dedup == Dedup::Off || self.setup.silent_caches));
        spec.retention_ms.get_or_insert(i64::MAX);
        spec
    }

    /// Stores that no node asked for while it was made, and all of them in the topology's order.
    fn open_rest(&mut self) -> Vec<AssembledStore> {
        let plan = self.plan.clone();
        let names: Vec<Arc<str>> =
            self.setup.subtopologies.iter().filter_map(|&part| plan.subtopologies.get(part)).flat_map(|part| part.stores.clone()).collect();
        let mut stores = Vec::new();
        for name in names {
            self.handle(&name);
            let opened = &self.stores[&name];
            let changelog = plan.stores[&name].changelog.as_ref().map(|topic| internal_name(self.setup.application_id, topic).into());
            stores.push(AssembledStore { name, changelog, control: opened.control.clone(), handle: opened.handle.clone() });
        }
        stores
    }
}
