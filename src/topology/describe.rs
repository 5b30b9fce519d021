//! The text that Kafka Streams' `describe()` prints, byte for byte: tools read it.
//!
//! Nodes come by the number of nodes below them, then by name. Neighbours come in the same order, but by the numbers
//! known when the two nodes were connected, which depends on the order of Java's hash maps.

use std::cmp::Reverse;
use std::collections::HashMap;

use crate::topology::draft::SinkTopic;
use crate::topology::hash_order::{TreeOrder, hash_ordered, hash_ordered_copy};
use crate::topology::node::{Node, NodeId, NodeKind, Plan, Subtopology};

/// The whole text.
pub(crate) fn describe(plan: &Plan) -> String {
    let mut text = String::from("Topologies:\n ");
    for part in &plan.subtopologies {
        text.push_str(&format!("  Sub-topology: {}\n{}\n", part.number, Part::of(plan, part).text()));
    }
    text
}

/// One sub-topology while it is put in order.
struct Part<'a> {
    plan: &'a Plan,
    nodes: &'a [NodeId],
    neighbours: HashMap<NodeId, Neighbours>,
}

/// What is known of a node: nodes below it and itself, counted once per way down, and who is connected to it.
struct Neighbours {
    size: usize,
    before: TreeOrder,
    after: TreeOrder,
}

impl<'a> Part<'a> {
    fn of(plan: &'a Plan, part: &'a Subtopology) -> Self {
        let known = |node: &NodeId| (*node, Neighbours { size: 1, before: TreeOrder::default(), after: TreeOrder::default() });
        let neighbours = part.nodes.iter().map(known).collect();
        let mut ordered = Part { plan, nodes: &part.nodes, neighbours };
        for name in hash_ordered(part.nodes.iter().map(|node| Named(&plan.nodes[*node].name, *node)).collect()) {
            for parent in &plan.nodes[name.1].parents {
                ordered.connect(*parent, name.1);
            }
        }
        ordered
    }

    fn rank(&self, node: NodeId) -> (usize, &'a str) {
        (self.neighbours.get(&node).map_or(0, |known| known.size), &self.plan.nodes[node].name)
    }

    fn connect(&mut self, parent: NodeId, child: NodeId) {
        self.insert(child, parent, true);
        self.insert(parent, child, false);
        let size = self.neighbours.get(&child).map_or(0, |known| known.size);
        self.grow(parent, size);
    }

    fn insert(&mut self, node: NodeId, neighbour: NodeId, before: bool) {
        let Some(known) = self.neighbours.get_mut(&node) else { return };
        let tree = if before { &mut known.before } else { &mut known.after };
        let mut taken = std::mem::take(tree);
        taken.insert(neighbour, |item| self.rank(item));
        let Some(known) = self.neighbours.get_mut(&node) else { return };
        *(if before { &mut known.before } else { &mut known.after }) = taken;
    }

    /// Adds to the size of a node and of everything above it.
    fn grow(&mut self, node: NodeId, by: usize) {
        let Some(known) = self.neighbours.get_mut(&node) else { return };
        known.size += by;
        for parent in known.before.items() {
            self.grow(parent, by);
        }
    }

    fn text(&self) -> String {
        let mut nodes = self.nodes.to_vec();
        nodes.sort_by_key(|node| {
            let (size, name) = self.rank(*node);
            (Reverse(size), name)
        });
        nodes.into_iter().map(|node| format!("    {}\n", self.node(node))).collect()
    }

    fn node(&self, id: NodeId) -> String {
        let Node { name, kind, stores, .. } = &self.plan.nodes[id];
        let known = &self.neighbours[&id];
        let (before, after) = (self.list(&known.before), self.list(&known.after));
        match kind {
            NodeKind::Source { topics, .. } => {
                format!("Source: {name} (topics: [{}])\n      --> {after}", hash_ordered_copy(topics.clone()).join(", "))
            }
            NodeKind::Processor => {
                let stores = hash_ordered_copy(stores.clone()).join(", ");
                format!("Processor: {name} (stores: [{stores}])\n      --> {after}\n      <-- {before}")
            }
            NodeKind::Sink { topic: SinkTopic::Fixed(topic), .. } => format!("Sink: {name} (topic: {topic})\n      <-- {before}"),
            NodeKind::Sink { topic: SinkTopic::Dynamic(chooser), .. } => {
                format!("Sink: {name} (extractor class: {chooser})\n      <-- {before}")
            }
        }
    }

    fn list(&self, nodes: &TreeOrder) -> String {
        let names: Vec<&str> = nodes.items().into_iter().map(|node| &*self.plan.nodes[node].name).collect();
        if names.is_empty() { String::from("none") } else { names.join(", ") }
    }
}

/// A node to be put in order by its name.
struct Named<'a>(&'a str, NodeId);

impl AsRef<str> for Named<'_> {
    fn as_ref(&self) -> &str {
        self.0
    }
}
