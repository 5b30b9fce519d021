//! The logical graph that calls make: one node per operator or shuffle, with the order in which they will be written.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use crate::error::TopologyProblem;
use crate::topology::draft::{CallId, OffsetReset, SinkTopic, StoreDraft, Types};
use crate::topology::naming::ShuffleNames;
use crate::window::Watermark;

/// Index in [`Graph::nodes`]. 0 is the root.
pub(super) type GraphId = usize;

/// The node above all sources and added stores.
pub(super) const ROOT: GraphId = 0;

/// A store with its final name.
#[derive(Clone)]
pub(super) struct NamedStore {
    pub(super) name: String,
    pub(super) draft: StoreDraft,
    /// Shared with, and giving way to, another store of the same name: it came with a processor.
    pub(super) yields: bool,
}

/// How a source is read.
#[derive(Clone)]
pub(super) struct Reading {
    pub(super) topics: Vec<String>,
    pub(super) watermark: Option<Watermark>,
    pub(super) reset: Option<OffsetReset>,
    pub(super) types: Option<Types>,
}

/// What a logical node will write.
pub(super) enum Content {
    Root,
    Source(Reading),
    /// A source called `source` and the table behind it.
    Table {
        source: String,
        reading: Reading,
    },
    /// `own`: stores that come with it; `uses`: stores of others.
    Processor {
        own: Vec<NamedStore>,
        uses: Vec<String>,
    },
    Shuffle {
        names: ShuffleNames,
        partitions: Option<i32>,
        because: String,
    },
    Sink(SinkTopic),
    Store(NamedStore),
}

/// One logical node.
pub(super) struct GraphNode {
    pub(super) name: String,
    /// The call whose factories make it.
    pub(super) call: CallId,
    pub(super) content: Content,
    pub(super) parents: Vec<GraphId>,
    pub(super) children: Vec<GraphId>,
    /// Counts attachments: lower ones are written first.
    priority: usize,
    /// The source that took this one's place, because both read the same topics.
    merged_into: Option<GraphId>,
}

/// All logical nodes.
pub(super) struct Graph {
    pub(super) nodes: Vec<GraphNode>,
    attached: usize,
}

impl Graph {
    pub(super) fn new() -> Self {
        let mut graph = Graph { nodes: Vec::new(), attached: 0 };
        graph.make(String::from("root"), 0, Content::Root);
        graph
    }

    /// A node that is attached to nothing yet.
    pub(super) fn make(&mut self, name: String, call: CallId, content: Content) -> GraphId {
        let (parents, children) = (Vec::new(), Vec::new());
        self.nodes.push(GraphNode { name, call, content, parents, children, priority: 0, merged_into: None });
        self.nodes.len() - 1
    }

    /// Attaches a node below another one. Doing it twice only renews its place in the order of writing.
    pub(super) fn attach(&mut self, parent: GraphId, child: GraphId) {
        self.link(parent, child);
        self.nodes[child].priority = self.attached;
        self.attached += 1;
    }

    /// Makes a node and attaches it.
    pub(super) fn add(&mut self, parent: GraphId, name: String, call: CallId, content: Content) -> GraphId {
        let node = self.make(name, call, content);
        self.attach(parent, node);
        node
    }

    fn link(&mut self, parent: GraphId, child: GraphId) {
        if !self.nodes[parent].children.contains(&child) {
            self.nodes[parent].children.push(child);
        }
        if !self.nodes[child].parents.contains(&parent) {
            self.nodes[child].parents.push(parent);
        }
    }

    fn unlink(&mut self, parent: GraphId, child: GraphId) {
        self.nodes[parent].children.retain(|node| *node != child);
        self.nodes[child].parents.retain(|node| *node != parent);
    }

    /// The node that stands for this one after sources were merged.
    pub(super) fn standing_for(&self, node: GraphId) -> GraphId {
        self.nodes[node].merged_into.unwrap_or(node)
    }

    /// Streams that read the same topics share one source; overlapping but unequal ones are a problem.
    pub(super) fn merge_equal_sources(&mut self) -> Vec<TopologyProblem> {
        let mut problems = Vec::new();
        let mut readers: HashMap<String, GraphId> = HashMap::new();
        for source in self.nodes[ROOT].children.clone() {
            let Content::Source(reading) = &self.nodes[source].content else { continue };
            let topics = reading.topics.clone();
            for topic in &topics {
                let main = *readers.entry(topic.clone()).or_insert(source);
                if main != source && self.nodes[source].merged_into.is_none() {
                    problems.extend(self.merge(main, source, topic));
                }
            }
        }
        problems
    }

    fn merge(&mut self, main: GraphId, other: GraphId, topic: &str) -> Option<TopologyProblem> {
        let (Content::Source(first), Content::Source(second)) = (&self.nodes[main].content, &self.nodes[other].content) else {
            return None;
        };
        let sorted = |reading: &Reading| {
            let mut topics = reading.topics.clone();
            topics.sort();
            topics
        };
        let contradiction =
            |reason: &str| TopologyProblem::InvalidOption { node: self.nodes[other].name.clone(), reason: reason.to_owned() };
        if sorted(first) != sorted(second) {
            return Some(TopologyProblem::DuplicateTopic(topic.to_owned()));
        }
        let problem = match (first.watermark, second.watermark) {
            _ if first.types != second.types => {
                let as_types = |reading: &Reading| reading.types.map_or_else(String::new, |types| types.names.join(", "));
                let both = format!("as ({}) and as ({})", as_types(first), as_types(second));
                Some(contradiction(&format!("the topic `{topic}` is read twice, {both}: read it once and map the values")))
            }
            _ if first.reset != second.reset => {
                Some(contradiction(&format!("the topic `{topic}` is read twice, with different offset resets")))
            }
            (Some(one), Some(two)) if one != two => {
                Some(contradiction(&format!("the topic `{topic}` is read twice, with different watermarks")))
            }
            _ => None,
        };
        let watermark = first.watermark.or(second.watermark);
        if let Content::Source(reading) = &mut self.nodes[main].content {
            reading.watermark = watermark;
        }
        for child in self.nodes[other].children.clone() {
            self.unlink(other, child);
            self.link(main, child);
        }
        self.unlink(ROOT, other);
        self.nodes[other].merged_into = Some(main);
        problem
    }

    /// Nodes in the order in which they are written: by priority, each after all of its parents.
    pub(super) fn in_writing_order(&self) -> Vec<GraphId> {
        let mut written = vec![false; self.nodes.len()];
        let mut order = Vec::new();
        let mut queue = BinaryHeap::from([Reverse((0, ROOT))]);
        while let Some(Reverse((_, node))) = queue.pop() {
            if written[node] || !self.nodes[node].parents.iter().all(|parent| written[*parent]) {
                continue;
            }
            written[node] = true;
            order.push(node);
            queue.extend(self.nodes[node].children.iter().map(|child| Reverse((self.nodes[*child].priority, *child))));
        }
        order
    }

    /// The graces of the windowed aggregates nearest above a node; none where a way up meets no such aggregate.
    pub(super) fn nearest_above(&self, node: GraphId, known: &impl Fn(GraphId) -> Option<i64>) -> Option<i64> {
        if let Some(found) = known(node) {
            return Some(found);
        }
        let parents = &self.nodes[node].parents;
        let graces: Option<Vec<i64>> = parents.iter().map(|parent| self.nearest_above(*parent, known)).collect();
        graces?.into_iter().max()
    }
}
