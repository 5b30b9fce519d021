//! Which sub-topologies run with bounded watermarks, and that none mixes both kinds of time.

use std::collections::HashMap;

use crate::error::TopologyProblem;
use crate::topology::draft::{Part, SinkTopic};
use crate::topology::node::{NodeKind, Plan};

/// What the sources of one sub-topology declare.
#[derive(Default)]
struct Declared {
    bounded: Vec<String>,
    unbounded: Vec<String>,
    /// Repartition topics it reads.
    inherits: Vec<String>,
}

/// Sets the clock of each sub-topology. Streams take part, and tables that declare a watermark; a repartition topic is
/// bounded if the sub-topology that writes it is.
pub(crate) fn decide(plan: &mut Plan, problems: &mut Vec<TopologyProblem>) {
    let mut declared = declarations(plan);
    let writers = writers(plan);
    let mut clocks: Vec<Option<bool>> = vec![None; declared.len()];
    // A topic is settled after its writers. What waits for itself in a circle is unbounded.
    for _ in 0..=declared.len() {
        for part in 0..declared.len() {
            let settled = declared[part].inherits.iter().flat_map(|topic| writers.get(topic).into_iter().flatten());
            if settled.into_iter().all(|writer| clocks[*writer].is_some()) {
                clocks[part] = Some(is_bounded(&declared[part], &writers, &clocks));
            }
        }
    }
    for part in 0..declared.len() {
        let bounded = clocks[part].unwrap_or(false);
        plan.subtopologies[part].bounded = bounded;
        inherit(&mut declared[part], &writers, &clocks);
        let Declared { bounded: with, unbounded: without, .. } = &declared[part];
        if !with.is_empty() && !without.is_empty() {
            problems.push(TopologyProblem::MixedTime { subtopology: part, with: with.join(", "), without: without.join(", ") });
        }
    }
}

fn is_bounded(declared: &Declared, writers: &HashMap<String, Vec<usize>>, clocks: &[Option<bool>]) -> bool {
    let mut inherited = declared.inherits.iter().filter_map(|topic| writers.get(topic)).flatten();
    !declared.bounded.is_empty() || inherited.any(|writer| clocks[*writer] == Some(true))
}

/// Sorts the repartition topics of a sub-topology to those with and without watermarks.
fn inherit(declared: &mut Declared, writers: &HashMap<String, Vec<usize>>, clocks: &[Option<bool>]) {
    for topic in std::mem::take(&mut declared.inherits) {
        let bounded = writers.get(&topic).into_iter().flatten().any(|writer| clocks[*writer] == Some(true));
        match bounded {
            true => declared.bounded.push(topic),
            false => declared.unbounded.push(topic),
        }
    }
}

fn declarations(plan: &Plan) -> Vec<Declared> {
    let mut declared: Vec<Declared> = plan.subtopologies.iter().map(|_| Declared::default()).collect();
    for node in &plan.nodes {
        let NodeKind::Source { topics, internal, watermark, .. } = &node.kind else { continue };
        let part = &mut declared[node.subtopology];
        let of_table = node.part == Part::Source;
        match watermark {
            _ if *internal => part.inherits.extend(topics.iter().cloned()),
            Some(_) => part.bounded.extend(topics.iter().cloned()),
            None if !of_table => part.unbounded.extend(topics.iter().cloned()),
            None => {}
        }
    }
    declared
}

/// The sub-topologies that write each repartition topic.
fn writers(plan: &Plan) -> HashMap<String, Vec<usize>> {
    let mut writers: HashMap<String, Vec<usize>> = HashMap::new();
    for node in &plan.nodes {
        if let NodeKind::Sink { topic: SinkTopic::Fixed(topic), internal: true } = &node.kind {
            writers.entry(topic.clone()).or_default().push(node.subtopology);
        }
    }
    writers
}
