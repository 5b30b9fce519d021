//! How many partitions repartition topics get, and whether topics that are read together have equally many.

use std::collections::BTreeMap;

use crate::topology::SubtopologyInfo;

/// Why the work cannot be cut.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LayoutError {
    /// Topics of a join differ.
    #[error(
        "{} are joined and must have equally many partitions: repartition one of them with `.repartition(..)`, or create them alike",
        list(.0)
    )]
    NotCopartitioned(Vec<(String, i32)>),
    /// A repartition topic whose width depends on itself.
    #[error("the partitions of {} cannot be derived from any source topic: say them with `Repartitioned::partitions`", .0.join(", "))]
    Undecided(Vec<String>),
}

fn list(topics: &[(String, i32)]) -> String {
    topics.iter().map(|(topic, count)| format!("`{topic}` ({count} partitions)")).collect::<Vec<_>>().join(" and ")
}

/// Partitions of each repartition topic: said by the author, else those of the topics it is joined with, else as many as the widest
/// input of the sub-topologies that write it.
pub(crate) fn repartition_counts(parts: &[SubtopologyInfo], sources: &BTreeMap<String, i32>) -> Result<BTreeMap<String, i32>, LayoutError> {
    let said = |part: &SubtopologyInfo| {
        part.repartition_topics.iter().filter_map(|(topic, config)| Some((topic.clone(), config.partitions?))).collect::<Vec<_>>()
    };
    let mut counts: BTreeMap<String, i32> = parts.iter().flat_map(said).collect();
    let all: Vec<&String> = parts.iter().flat_map(|part| part.repartition_topics.keys()).collect();
    // Each round settles at least one topic more, or none ever.
    for _ in 0..=all.len() {
        for topic in &all {
            if !counts.contains_key(*topic)
                && let Some(count) = widest_writer(topic, parts, sources, &counts)
            {
                counts.insert((*topic).clone(), count);
            }
        }
    }
    let open: Vec<String> = all.iter().filter(|topic| !counts.contains_key(**topic)).map(|topic| (*topic).clone()).collect();
    if !open.is_empty() {
        return Err(LayoutError::Undecided(open));
    }
    follow_partners(parts, sources, &mut counts);
    Ok(counts)
}

/// None while an input of a writer is not decided.
fn widest_writer(topic: &str, parts: &[SubtopologyInfo], sources: &BTreeMap<String, i32>, counts: &BTreeMap<String, i32>) -> Option<i32> {
    let writers = parts.iter().filter(|part| part.sink_topics.iter().any(|sink| sink == topic));
    let inputs = writers.flat_map(|writer| &writer.source_topics);
    let widths: Option<Vec<i32>> = inputs.map(|input| counts.get(input).or_else(|| sources.get(input)).copied()).collect();
    widths?.into_iter().max()
}

/// A repartition topic whose width nobody said takes that of the topics it is joined with.
fn follow_partners(parts: &[SubtopologyInfo], sources: &BTreeMap<String, i32>, counts: &mut BTreeMap<String, i32>) {
    for part in parts {
        let free = |topic: &String| part.repartition_topics.get(topic).is_some_and(|config| config.partitions.is_none());
        for group in &part.copartitioned {
            let fixed =
                group.iter().filter(|topic| !free(topic)).filter_map(|topic| sources.get(topic).or_else(|| counts.get(topic))).max();
            let widest = fixed.copied().or_else(|| group.iter().filter_map(|topic| counts.get(topic)).copied().max());
            for topic in group.iter().filter(|topic| free(topic)) {
                if let (Some(count), Some(widest)) = (counts.get_mut(topic), widest) {
                    *count = widest;
                }
            }
        }
    }
}

/// Topics that are joined must have equally many partitions.
pub(crate) fn check_copartitioned(parts: &[SubtopologyInfo], counts: &BTreeMap<String, i32>) -> Result<(), LayoutError> {
    for group in parts.iter().flat_map(|part| &part.copartitioned) {
        let known: Vec<(String, i32)> = group.iter().filter_map(|topic| Some((topic.clone(), *counts.get(topic)?))).collect();
        if known.iter().any(|(_, count)| *count != known[0].1) {
            return Err(LayoutError::NotCopartitioned(known));
        }
    }
    Ok(())
}
