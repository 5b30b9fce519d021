//! A topology as a Mermaid flowchart, which many viewers of Markdown draw.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::topology::dot::sink_text;
use crate::topology::node::{NodeKind, Plan};

/// Text for a `mermaid` block.
pub(crate) fn mermaid(plan: &Plan) -> String {
    let mut text = String::from("flowchart LR\n");
    for part in &plan.subtopologies {
        let _ = writeln!(text, "  subgraph sub{} [\"sub-topology {}\"]", part.number, part.number);
        for node in &part.nodes {
            let _ = writeln!(text, "    n{node}[\"{}\"]", escaped(&plan.nodes[*node].name));
        }
        text.push_str("  end\n");
    }
    let topics: BTreeMap<String, usize> = plan.topics_in_sight().into_iter().enumerate().map(|(id, topic)| (topic, id)).collect();
    for (topic, id) in &topics {
        let _ = writeln!(text, "  t{id}([\"{}\"])", escaped(topic));
    }
    for (id, store) in plan.stores.keys().enumerate() {
        let _ = writeln!(text, "  s{id}[(\"{}\")]", escaped(store));
    }
    edges(plan, &topics, &mut text);
    text
}

fn edges(plan: &Plan, topics: &BTreeMap<String, usize>, text: &mut String) {
    for (id, node) in plan.nodes.iter().enumerate() {
        match &node.kind {
            NodeKind::Source { topics: read, .. } => {
                for topic in read {
                    let _ = writeln!(text, "  t{} --> n{id}", topics[topic]);
                }
            }
            NodeKind::Sink { topic, .. } => {
                let _ = writeln!(text, "  n{id} --> t{}", topics[sink_text(topic)]);
            }
            NodeKind::Processor => {}
        }
        for child in &node.children {
            let _ = writeln!(text, "  n{id} --> n{child}");
        }
        for (store, _) in plan.stores.keys().enumerate().filter(|(_, store)| node.stores.contains(store)) {
            let _ = writeln!(text, "  n{id} <-.-> s{store}");
        }
    }
}

fn escaped(text: &str) -> String {
    text.replace('"', "#quot;")
}
