//! What each sub-topology looks like to its state: what it reads and keeps, as lines of text that are compared when state on disk is opened.

use crate::state::{Shapes, store_line};
use crate::topology::Topology;
use crate::topology::assemble::internal_name;
use crate::topology::node::{NodeKind, Plan, Subtopology};

impl Topology {
    /// The shapes of all sub-topologies in an application of this id. What keeps no state has no part in them.
    pub(crate) fn shapes(&self, application_id: &str) -> Shapes {
        let plan = self.plan();
        let number = |part: &Subtopology| u32::try_from(part.number).unwrap_or(u32::MAX);
        Shapes(plan.subtopologies.iter().map(|part| (number(part), shape(plan, part, application_id))).collect())
    }
}

fn shape(plan: &Plan, part: &Subtopology, application_id: &str) -> String {
    let mut lines: Vec<String> = part.nodes.iter().flat_map(|&node| topics(&plan.nodes[node].kind, application_id)).collect();
    lines.extend(part.stores.iter().map(|name| {
        let store = &plan.stores[name];
        let used = store.used_in(plan);
        let mut spec = store.spec.clone();
        spec.layout.get_or_insert(plan.default_layout());
        let changelog = store.changelog.as_ref().map(|topic| internal_name(application_id, topic));
        store_line(name, &spec, used.bounded, used.time_index, changelog.as_deref())
    }));
    lines.sort();
    lines.iter().map(|line| format!("{line}\n")).collect()
}

fn topics(kind: &NodeKind, application_id: &str) -> Vec<String> {
    match kind {
        NodeKind::Source { topics, internal: true, .. } => {
            topics.iter().map(|topic| format!("reads {}", internal_name(application_id, topic))).collect()
        }
        NodeKind::Source { topics, .. } => topics.iter().map(|topic| format!("reads {topic}")).collect(),
        _ => Vec::new(),
    }
}
