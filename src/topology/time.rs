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

/// What the clock of a sub-topology is made of.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Clock {
    /// Nothing but tables that declare no watermark: it takes part in no other clock either.
    TablesOnly,
    StreamTime,
    Bounded,
}

/// Sets the clock of each sub-topology. Streams take part, and tables that declare a watermark; a repartition topic does as
/// the sub-topology that writes it.
pub(crate) fn decide(plan: &mut Plan, problems: &mut Vec<TopologyProblem>) {
    let mut declared = declarations(plan);
    let writers = writers(plan);
    let mut clocks: Vec<Option<Clock>> = vec![None; declared.len()];
    // A topic is settled after its writers; one more round than there are parts settles all that can be.
    for _ in 0..=declared.len() {
        for (part, declared) in declared.iter().enumerate() {
            let mut above = declared.inherits.iter().flat_map(|topic| writers.get(topic).into_iter().flatten());
            if above.all(|writer| clocks[*writer].is_some()) {
                clocks[part] = Some(clock(declared, &writers, &clocks));
            }
        }
    }
    for (part, declared) in declared.iter_mut().enumerate() {
        plan.subtopologies[part].bounded = clocks[part] == Some(Clock::Bounded);
        inherit(declared, &writers, &clocks);
        let Declared { bounded: with, unbounded: without, .. } = declared;
        if !with.is_empty() && !without.is_empty() {
            problems.push(TopologyProblem::MixedTime { subtopology: part, with: with.join(", "), without: without.join(", ") });
        }
    }
}

/// The clock that a repartition topic brings along.
fn brought(topic: &str, writers: &HashMap<String, Vec<usize>>, clocks: &[Option<Clock>]) -> Clock {
    let written: Vec<Clock> = writers.get(topic).into_iter().flatten().filter_map(|writer| clocks[*writer]).collect();
    match () {
        _ if written.contains(&Clock::Bounded) => Clock::Bounded,
        _ if written.contains(&Clock::StreamTime) => Clock::StreamTime,
        _ => Clock::TablesOnly,
    }
}

fn clock(declared: &Declared, writers: &HashMap<String, Vec<usize>>, clocks: &[Option<Clock>]) -> Clock {
    let brought: Vec<Clock> = declared.inherits.iter().map(|topic| brought(topic, writers, clocks)).collect();
    match () {
        _ if !declared.bounded.is_empty() || brought.contains(&Clock::Bounded) => Clock::Bounded,
        _ if !declared.unbounded.is_empty() || brought.contains(&Clock::StreamTime) => Clock::StreamTime,
        _ => Clock::TablesOnly,
    }
}

/// Sorts the repartition topics of a sub-topology to those with and without watermarks.
fn inherit(declared: &mut Declared, writers: &HashMap<String, Vec<usize>>, clocks: &[Option<Clock>]) {
    for topic in std::mem::take(&mut declared.inherits) {
        match brought(&topic, writers, clocks) {
            Clock::Bounded => declared.bounded.push(topic),
            Clock::StreamTime => declared.unbounded.push(topic),
            Clock::TablesOnly => {}
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
