//! From the logical graph to physical nodes, stores and sub-topologies, in the order in which Kafka Streams adds them.

use std::any::TypeId;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::error::TopologyProblem;
use crate::topology::draft::{CallId, Part, SinkTopic};
use crate::topology::hash_order::hash_ordered;
use crate::topology::node::{Node, NodeId, NodeKind, RepartitionTopic, StoreNode, Subtopology};
use crate::topology::replay::graph::{Content, Graph, GraphId, NamedStore, Reading};

/// Physical nodes and stores as they are written.
#[derive(Default)]
pub(super) struct Written {
    pub(super) nodes: Vec<Node>,
    pub(super) stores: BTreeMap<Arc<str>, StoreNode>,
    pub(super) repartition_topics: BTreeMap<String, RepartitionTopic>,
    pub(super) problems: Vec<TopologyProblem>,
    /// The physical node that gives a logical node's result.
    pub(super) results: HashMap<GraphId, NodeId>,
    by_name: HashMap<Arc<str>, NodeId>,
    /// Topics that a source reads.
    read: HashMap<String, NodeId>,
    /// Stores that give way to one of the same name, and what each store is of.
    yielding: HashMap<Arc<str>, bool>,
    store_types: HashMap<Arc<str>, TypeId>,
    /// A store named by a processor, until all stores are known.
    waiting: Vec<(NodeId, String)>,
}

impl Written {
    /// Writes one logical node; its parents are written.
    pub(super) fn write(&mut self, graph: &Graph, id: GraphId, table_store: impl Fn(CallId) -> Option<NamedStore>) {
        let node = &graph.nodes[id];
        let parents: Vec<NodeId> = node.parents.iter().filter_map(|parent| self.results.get(parent).copied()).collect();
        let result = match &node.content {
            Content::Root => return,
            Content::Store(store) => return self.store(store),
            Content::Source(reading) => self.source(&node.name, node.call, Part::Main, reading, false),
            Content::Table { source, reading } => {
                let source = self.source(source, node.call, Part::Source, reading, false);
                let table = self.node(&node.name, node.call, Part::Main, NodeKind::Processor, &[source]);
                self.keep(table, table_store(node.call).as_slice());
                table
            }
            Content::Processor { own, uses } => {
                let processor = self.node(&node.name, node.call, Part::Main, NodeKind::Processor, &parents);
                self.keep(processor, table_store(node.call).as_slice());
                self.keep(processor, own);
                self.waiting.extend(uses.iter().map(|store| (processor, store.clone())));
                self.connect_waiting(false);
                processor
            }
            Content::Shuffle { names, partitions, because } => {
                let filter = self.node(&names.filter, node.call, Part::ShuffleFilter, NodeKind::Processor, &parents);
                let sink = NodeKind::Sink { topic: SinkTopic::Fixed(names.topic.clone()), internal: true };
                self.node(&names.sink, node.call, Part::ShuffleSink, sink, &[filter]);
                let topic = RepartitionTopic { name: names.topic.clone(), partitions: *partitions, because: because.clone() };
                self.repartition_topics.insert(names.topic.clone(), topic);
                let reading = Reading { topics: vec![names.topic.clone()], watermark: None, reset: None, types: None };
                self.source(&names.source, node.call, Part::ShuffleSource, &reading, true)
            }
            Content::Sink(topic) => {
                let kind = NodeKind::Sink { topic: topic.clone(), internal: false };
                self.node(&node.name, node.call, Part::Main, kind, &parents)
            }
        };
        self.results.insert(id, result);
    }

    fn source(&mut self, name: &str, call: CallId, part: Part, reading: &Reading, internal: bool) -> NodeId {
        let Reading { topics, watermark, reset, .. } = reading.clone();
        if topics.is_empty() {
            let reason = String::from("no topic to read: name at least one");
            self.problems.push(TopologyProblem::InvalidOption { node: name.to_owned(), reason });
        }
        let id = self.node(name, call, part, NodeKind::Source { topics: topics.clone(), internal, watermark, reset }, &[]);
        for topic in topics {
            if self.read.insert(topic.clone(), id).is_some_and(|other| other != id) && !internal {
                self.problem_once(TopologyProblem::DuplicateTopic(topic));
            }
        }
        id
    }

    fn node(&mut self, name: &str, call: CallId, part: Part, kind: NodeKind, parents: &[NodeId]) -> NodeId {
        let (id, name) = (self.nodes.len(), Arc::<str>::from(name));
        // One name asked for twice by a shuffle makes three equal nodes: the filter speaks for the others.
        if self.by_name.insert(Arc::clone(&name), id).is_some() && !matches!(part, Part::ShuffleSink | Part::ShuffleSource) {
            self.problem_once(TopologyProblem::DuplicateNode(name.to_string()));
        }
        for parent in parents {
            self.nodes[*parent].children.push(id);
        }
        let (parents, children, stores) = (parents.to_vec(), Vec::new(), Vec::new());
        self.nodes.push(Node { name, call, part, kind, parents, children, stores, subtopology: 0 });
        id
    }

    fn problem_once(&mut self, problem: TopologyProblem) {
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }

    /// Whether a node reads topics.
    pub(super) fn is_source(&self, node: NodeId) -> bool {
        matches!(self.nodes[node].kind, NodeKind::Source { .. })
    }

    /// The topics that a source reads.
    pub(super) fn topics(&self, node: NodeId) -> &[String] {
        match &self.nodes[node].kind {
            NodeKind::Source { topics, .. } => topics,
            _ => &[],
        }
    }

    /// Adds stores and connects them to the node that brought them.
    fn keep(&mut self, node: NodeId, stores: &[NamedStore]) {
        for store in stores {
            self.store(store);
            self.connect(node, &Arc::from(store.name.as_str()));
        }
    }

    fn store(&mut self, store: &NamedStore) {
        let name: Arc<str> = Arc::from(store.name.as_str());
        let spec = store.draft.spec.clone();
        let was_yielding = self.yielding.get(&name).copied();
        let other = self.stores.get(&name);
        if let Some(other) = other {
            let types = (store.draft.of, self.store_types.get(&name).copied());
            let differs =
                other.spec.kind != spec.kind || other.spec.stamped != spec.stamped || matches!(types, (Some(one), Some(two)) if one != two);
            if differs || !(store.yields || was_yielding == Some(true)) {
                return self.problem_once(TopologyProblem::DuplicateStore(store.name.clone()));
            }
            if store.yields {
                return;
            }
        }
        let users = other.map(|other| other.users.clone()).unwrap_or_default();
        let changelog = spec.logging.then(|| format!("{name}-changelog"));
        if let Some(types) = store.draft.of {
            self.store_types.insert(Arc::clone(&name), types);
        }
        self.yielding.insert(Arc::clone(&name), store.yields);
        self.stores.insert(Arc::clone(&name), StoreNode { name, spec, open: store.draft.open.clone(), users, changelog });
    }

    fn connect(&mut self, node: NodeId, store: &Arc<str>) -> bool {
        let Some(kept) = self.stores.get_mut(store) else { return false };
        if !kept.users.contains(&node) {
            kept.users.push(node);
            self.nodes[node].stores.push(Arc::clone(store));
        }
        true
    }

    /// Connects processors to the stores they name; at the `end`, a store that nobody added is a problem.
    pub(super) fn connect_waiting(&mut self, end: bool) {
        for (node, store) in std::mem::take(&mut self.waiting) {
            if self.connect(node, &Arc::from(store.as_str())) {
                continue;
            }
            match end {
                true => self.problems.push(TopologyProblem::UnknownStore { node: self.nodes[node].name.to_string(), store }),
                false => self.waiting.push((node, store)),
            }
        }
    }

    /// Numbers the connected parts by their first node; a store connects its users.
    pub(super) fn subtopologies(&mut self) -> Vec<Subtopology> {
        let roots = self.roots();
        let mut numbers: HashMap<NodeId, usize> = HashMap::new();
        let mut parts: Vec<Subtopology> = Vec::new();
        for (node, root) in roots.iter().enumerate() {
            let number = *numbers.entry(*root).or_insert(parts.len());
            if number == parts.len() {
                parts.push(Subtopology { number, ..Subtopology::default() });
            }
            self.nodes[node].subtopology = number;
            let part = &mut parts[number];
            part.nodes.push(node);
            for store in hash_ordered(self.nodes[node].stores.clone()) {
                if !part.stores.contains(&store) {
                    part.stores.push(store);
                }
            }
        }
        parts
    }

    /// For each node one node of its connected part, the same for all nodes of the part.
    fn roots(&self) -> Vec<NodeId> {
        let mut above: Vec<NodeId> = (0..self.nodes.len()).collect();
        fn root(above: &mut [NodeId], mut node: NodeId) -> NodeId {
            while above[node] != node {
                above[node] = above[above[node]];
                node = above[node];
            }
            node
        }
        let edges = self.nodes.iter().enumerate().flat_map(|(node, facts)| facts.parents.iter().map(move |parent| (*parent, node)));
        let shared = self.stores.values().flat_map(|store| store.users.windows(2).map(|pair| (pair[0], pair[1])));
        for (one, two) in edges.chain(shared) {
            let (one, two) = (root(&mut above, one), root(&mut above, two));
            above[one.max(two)] = one.min(two);
        }
        (0..above.len()).map(|node| root(&mut above, node)).collect()
    }
}
