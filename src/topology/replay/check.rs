//! What Kafka Streams refuses, as typed problems: names, windows, retention, partitions.

use std::collections::BTreeSet;

use crate::error::TopologyProblem;
use crate::topology::draft::{Call, Op, ProcessStore, SinkTopic, StoreDraft, WindowFacts, WindowKind};
use crate::topology::naming::is_legal;
use crate::topology::node::{Node, NodeKind, Plan};
use crate::topology::replay::graph::NamedStore;

fn invalid(node: &str, reason: impl Into<String>) -> TopologyProblem {
    TopologyProblem::InvalidOption { node: node.to_owned(), reason: reason.into() }
}

/// Names that the author gave to the operator, its store or its topics, and partition counts.
pub(super) fn names(call: &Call, problems: &mut Vec<TopologyProblem>) {
    let store = |store: &StoreDraft| store.name.clone();
    let mut given: Vec<String> = call.name.iter().cloned().collect();
    match &call.op {
        Op::Stream { topics, .. } => given.extend(topics.iter().cloned()),
        Op::Table { topic, store: draft, .. } => given.extend([Some(topic.clone()), store(draft)].into_iter().flatten()),
        Op::Sink { topic: SinkTopic::Fixed(topic) } => given.push(topic.clone()),
        Op::AddStore { store } => given.push(store.name.clone().unwrap_or_default()),
        Op::ToTable { store: draft } | Op::Aggregate { store: draft, .. } => given.extend(store(draft)),
        Op::TableOperator { store: Some(draft), .. } => given.extend(store(draft)),
        Op::Process { stores, .. } => given.extend(stores.iter().filter_map(|used| match used {
            ProcessStore::Named(_) => None,
            ProcessStore::Own(draft) => Some(draft.name.clone().unwrap_or_default()),
        })),
        _ => {}
    }
    problems.extend(given.into_iter().filter(|name| !is_legal(name)).map(TopologyProblem::IllegalName));
    let (Op::Repartition { partitions } | Op::Group { partitions, .. }) = &call.op else { return };
    if let Some(count) = partitions.filter(|count| *count < 1) {
        let node = call.name.as_deref().unwrap_or("repartition");
        problems.push(invalid(node, format!("{count} partitions: a topic has at least one")));
    }
}

/// Windows that cannot be.
pub(super) fn windows(node: &str, windows: &WindowFacts, problems: &mut Vec<TopologyProblem>) {
    let WindowFacts { kind, size_ms, advance_ms, grace_ms, on_close, problem } = *windows;
    let reason = match kind {
        _ if problem.is_some() => problem,
        _ if grace_ms < 0 => Some("the grace is negative: give zero or more"),
        WindowKind::Time if size_ms < 1 => Some("the window size must be at least a millisecond"),
        WindowKind::Time if advance_ms < 1 || advance_ms > size_ms => {
            Some("the advance must be at least a millisecond and at most the size")
        }
        WindowKind::Sliding if size_ms < 0 => Some("the time difference is negative: give zero or more"),
        WindowKind::Session if size_ms < 0 => Some("the inactivity gap is negative: give zero or more"),
        WindowKind::Unlimited if on_close => Some("a window that never ends never closes: emit on update"),
        _ => None,
    };
    if let Some(reason) = reason {
        problems.push(TopologyProblem::InvalidWindow { node: node.to_owned(), reason: reason.to_owned() });
    }
}

/// How long a store of such windows must keep rows.
fn needed_ms(windows: &WindowFacts) -> i64 {
    match windows.kind {
        WindowKind::Time | WindowKind::Session => windows.size_ms.saturating_add(windows.grace_ms),
        WindowKind::Sliding => windows.size_ms.saturating_mul(2).saturating_add(windows.grace_ms),
        WindowKind::Unlimited => i64::MAX,
    }
}

/// Decides the retention of a store of windows; one that is too short is a problem.
pub(super) fn retention(node: &str, windows: &WindowFacts, store: &mut NamedStore, problems: &mut Vec<TopologyProblem>) {
    let needed = needed_ms(windows);
    let kept = *store.draft.spec.retention_ms.get_or_insert(needed);
    if kept < needed {
        let reason = format!(
            "the store `{}` keeps windows for {kept} ms, but they take records for {needed} ms (size and grace): keep them longer",
            store.name
        );
        problems.push(TopologyProblem::InvalidWindow { node: node.to_owned(), reason });
    }
}

/// How long after its end a window closes, in stream time.
pub(super) fn closes_after(windows: &WindowFacts) -> i64 {
    match windows.kind {
        WindowKind::Session => windows.grace_ms.saturating_add(windows.size_ms),
        _ => windows.grace_ms,
    }
}

/// `suppress` waits for the end of a window that is not there.
pub(super) fn not_windowed(node: &str, problems: &mut Vec<TopologyProblem>) {
    let reason = "waits for windows to close, but its table comes from no windowed aggregate: use a time limit";
    problems.push(invalid(node, reason));
}

/// A join that waits needs the table's past.
pub(super) fn grace_of_join(node: &str, problems: &mut Vec<TopologyProblem>) {
    problems
        .push(invalid(node, "a join with a grace period needs a table with a versioned store, which knows the past: leave the grace out"));
}

/// Topics that a join reads side by side have equally many partitions, where the author fixed them.
pub(super) fn partitions(plan: &Plan, problems: &mut Vec<TopologyProblem>) {
    for group in plan.subtopologies.iter().flat_map(|part| &part.copartitioned) {
        let fixed = group.iter().filter_map(|topic| Some((topic, plan.repartition_topics.get(topic)?.partitions?)));
        let fixed: Vec<_> = fixed.collect();
        if fixed.windows(2).any(|pair| pair[0].1 != pair[1].1) {
            let counts: Vec<String> = fixed.iter().map(|(topic, count)| format!("`{topic}` has {count}")).collect();
            problems.push(invalid("join", format!("needs topics with equally many partitions, but {}", counts.join(", "))));
        }
    }
}

/// With `require_explicit_names`, a generated name that outlives the process is a problem.
pub(super) fn explicit_names(plan: &Plan, stores: &BTreeSet<String>, topics: &BTreeSet<String>, problems: &mut Vec<TopologyProblem>) {
    let node = |users: Option<usize>| users.and_then(|user| plan.nodes.get(user)).map_or_else(String::new, |node| node.name.to_string());
    for store in plan.stores.values().filter(|store| stores.contains(store.name.as_ref())) {
        let what = if store.changelog.is_some() { "changelog topic" } else { "store" };
        let name = store.changelog.clone().unwrap_or_else(|| store.name.to_string());
        problems.push(TopologyProblem::GeneratedName { node: node(store.users.first().copied()), what, name });
    }
    for topic in plan.repartition_topics.keys().filter(|topic| topics.contains(*topic)) {
        let writes = |node: &Node| matches!(&node.kind, NodeKind::Sink { topic: SinkTopic::Fixed(sink), internal: true } if sink == topic);
        let writer = plan.nodes.iter().position(writes);
        problems.push(TopologyProblem::GeneratedName { node: node(writer), what: "repartition topic", name: topic.clone() });
    }
}
