//! A topology as a Graphviz graph: one cluster per sub-topology, topics as boxes between them, stores as cylinders.

use std::collections::BTreeSet;
use std::fmt::Write;

use crate::topology::draft::SinkTopic;
use crate::topology::node::{NodeId, NodeKind, Plan};

/// Text for `dot`.
pub(crate) fn dot(plan: &Plan) -> String {
    let mut text = String::from("digraph topology {\n  rankdir=LR;\n  node [fontname=\"sans-serif\"];\n");
    for part in &plan.subtopologies {
        let number = part.number;
        let _ = writeln!(text, "  subgraph cluster_{number} {{\n    label=\"sub-topology {number}\";");
        for node in &part.nodes {
            let _ = writeln!(text, "    n{node} [label={}];", quoted(&plan.nodes[*node].name));
        }
        for store in &part.stores {
            let _ = writeln!(text, "    {} [shape=cylinder, label={}];", quoted(&format!("store {store}")), quoted(store));
        }
        text.push_str("  }\n");
    }
    for topic in plan.topics_in_sight() {
        let _ = writeln!(text, "  {} [shape=box, label={}];", quoted(&format!("topic {topic}")), quoted(&topic));
    }
    for node in 0..plan.nodes.len() {
        edges(plan, node, &mut text);
    }
    text.push_str("}\n");
    text
}

fn edges(plan: &Plan, id: NodeId, text: &mut String) {
    let node = &plan.nodes[id];
    for child in &node.children {
        let _ = writeln!(text, "  n{id} -> n{child};");
    }
    for store in &node.stores {
        let _ = writeln!(text, "  n{id} -> {} [style=dashed, dir=both];", quoted(&format!("store {store}")));
    }
    match &node.kind {
        NodeKind::Source { topics, .. } => {
            for topic in topics {
                let _ = writeln!(text, "  {} -> n{id};", quoted(&format!("topic {topic}")));
            }
        }
        NodeKind::Sink { topic, .. } => {
            let _ = writeln!(text, "  n{id} -> {};", quoted(&format!("topic {}", sink_text(topic))));
        }
        NodeKind::Processor => {}
    }
}

/// The topic of a sink, or what chooses it.
pub(crate) fn sink_text(topic: &SinkTopic) -> &str {
    match topic {
        SinkTopic::Fixed(text) | SinkTopic::Dynamic(text) => text,
    }
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

impl Plan {
    /// All topics read or written, internal ones without the application's prefix.
    pub(crate) fn topics_in_sight(&self) -> BTreeSet<String> {
        let mut all = BTreeSet::new();
        for node in &self.nodes {
            match &node.kind {
                NodeKind::Source { topics, .. } => all.extend(topics.iter().cloned()),
                NodeKind::Sink { topic, .. } => {
                    all.insert(sink_text(topic).to_owned());
                }
                NodeKind::Processor => {}
            }
        }
        all
    }
}
