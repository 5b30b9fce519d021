//! A topology in words: what each shuffle is for, which clock runs where, and when each window closes.

use std::fmt::Write;
use std::time::Duration;

use crate::topology::draft::{CallId, SinkTopic, WindowFacts, WindowKind};
use crate::topology::node::{Node, NodeKind, Plan, Subtopology};

/// The whole text.
pub(crate) fn explain(plan: &Plan) -> String {
    let mut text = String::new();
    for part in &plan.subtopologies {
        subtopology(plan, part, &mut text);
    }
    text
}

fn subtopology(plan: &Plan, part: &Subtopology, text: &mut String) {
    let clock = if part.bounded { "bounded watermark" } else { "stream time" };
    line(text, format!("Sub-topology {}, clock: {clock}", part.number));
    let nodes = || part.nodes.iter().map(|node| &plan.nodes[*node]);
    for node in nodes() {
        if let NodeKind::Source { topics, internal, .. } = &node.kind {
            line(text, format!("  reads {}{}", if *internal { "the repartition topic " } else { "" }, topics.join(", ")));
        }
    }
    for group in &part.copartitioned {
        line(text, format!("  needs equally many partitions of {}", group.join(" and ")));
    }
    let mut told: Vec<CallId> = Vec::new();
    for node in nodes().filter(|node| matches!(node.kind, NodeKind::Processor)) {
        if !told.contains(&node.call) {
            told.extend(closing(plan, node, text));
        }
    }
    for node in nodes() {
        store_lines(plan, node, text);
    }
    for node in nodes() {
        if let NodeKind::Sink { topic, internal } = &node.kind {
            sink(plan, topic, *internal, text);
        }
    }
}

fn line(text: &mut String, line: String) {
    text.push_str(&line);
    text.push('\n');
}

fn store_lines(plan: &Plan, node: &Node, text: &mut String) {
    for store in node.stores.iter().filter_map(|store| plan.stores.get(store)) {
        if store.users.first().is_some_and(|user| plan.nodes[*user].name == node.name) {
            let changelog = store.changelog.as_ref().map_or_else(|| String::from("no changelog"), |topic| format!("changelog {topic}"));
            line(text, format!("  `{}` keeps the store {}, {changelog}", node.name, store.name));
        }
    }
}

fn sink(plan: &Plan, topic: &SinkTopic, internal: bool, text: &mut String) {
    match topic {
        SinkTopic::Fixed(name) if internal => {
            let because = plan.repartition_topics.get(name).map_or("", |topic| topic.because.as_str());
            line(text, format!("  shuffles to {name}: {because}"));
        }
        SinkTopic::Fixed(name) => line(text, format!("  writes {name}")),
        SinkTopic::Dynamic(chooser) => line(text, format!("  writes topics chosen by {chooser}")),
    }
}

/// When the windows of a node close, if it has any.
fn closing(plan: &Plan, node: &Node, text: &mut String) -> Option<CallId> {
    let facts = plan.calls.get(node.call)?;
    let is_result = facts.result.is_some_and(|result| plan.nodes[result].name == node.name);
    if !is_result {
        return None;
    }
    if let Some(windows) = &facts.windows {
        line(text, format!("  `{}`: {}", node.name, windows_in_words(windows)));
    } else {
        let after = facts.close_grace_ms?;
        line(text, format!("  `{}` holds each window back until time is {} past its end", node.name, span(after)));
    }
    Some(node.call)
}

fn windows_in_words(windows: &WindowFacts) -> String {
    let WindowFacts { kind, size_ms, advance_ms, grace_ms, on_close, .. } = *windows;
    let what = match kind {
        WindowKind::Time if advance_ms < size_ms => format!("windows of {} every {}", span(size_ms), span(advance_ms)),
        WindowKind::Time => format!("windows of {}", span(size_ms)),
        WindowKind::Sliding => format!("sliding windows of {}", span(size_ms)),
        WindowKind::Session => format!("sessions with a gap of {}", span(size_ms)),
        WindowKind::Unlimited => return String::from("one window that never closes; speaks on every update"),
    };
    let mut text = format!("{what}; a window closes when time ");
    let wait = if kind == WindowKind::Session { grace_ms.saturating_add(size_ms) } else { grace_ms };
    let _ = match wait {
        0 => write!(text, "reaches its end"),
        wait => write!(text, "is {} past its end", span(wait)),
    };
    text.push_str(if on_close { "; speaks once, at that moment" } else { "; speaks on every update" });
    text
}

/// A span for people: the largest unit that fits without a rest.
fn span(ms: i64) -> String {
    let millis = u64::try_from(ms).unwrap_or(0);
    let units = [("d", 86_400_000), ("h", 3_600_000), ("min", 60_000), ("s", 1000)];
    match units.into_iter().find(|(_, unit)| millis >= *unit && millis.is_multiple_of(*unit)) {
        Some((unit, size)) => format!("{} {unit}", millis / size),
        None => format!("{} ms", Duration::from_millis(millis).as_millis()),
    }
}
