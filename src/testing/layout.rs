//! Which tasks a topology has in a test and in which order they settle. Their number is the engine's own reckoning.

use std::collections::BTreeMap;

use crate::error::{Error, ErrorKind, Place};
use crate::runtime::assignment::Layout;
use crate::topology::{SubtopologyInfo, Topology};

/// One sub-topology.
#[derive(Debug)]
pub(crate) struct Stage {
    /// Index among the sub-topologies of the topology.
    pub(crate) index: usize,
    /// First number of its task ids.
    pub(crate) number: u32,
    /// How many tasks it has.
    pub(crate) tasks: i32,
    /// Repartition topics whose readers wait for its announcements.
    pub(crate) announces_to: Vec<String>,
}

/// Sub-topologies, writers of a repartition topic before its readers; and the partitions of each topic that is read, or that the
/// test declared. Topics that it did not declare have one.
pub(crate) fn stages(
    topology: &Topology,
    application_id: &str,
    declared: &BTreeMap<String, i32>,
) -> Result<(Vec<Stage>, BTreeMap<String, i32>), Error> {
    let infos = topology.subtopologies(application_id);
    let mut counts = declared.clone();
    for topic in infos.iter().flat_map(|info| &info.source_topics) {
        if !infos.iter().any(|info| info.repartition_topics.contains_key(topic)) {
            counts.entry(topic.clone()).or_insert(1);
        }
    }
    let layout = Layout::new(&infos, counts).map_err(|error| Error::new(ErrorKind::InvalidConfig, Place::default(), error.into()))?;
    let stage = |index: usize| {
        let number = u32::try_from(infos[index].number).expect("a topology has fewer than four billion parts");
        let part = layout.parts.get(&number).cloned().unwrap_or_default();
        Stage { index, number, tasks: part.tasks, announces_to: part.announces_to }
    };
    Ok((in_order(&infos).into_iter().map(stage).collect(), layout.counts))
}

/// Every writer of a repartition topic before its readers; by number where nothing decides.
fn in_order(infos: &[SubtopologyInfo]) -> Vec<usize> {
    let mut order: Vec<usize> = Vec::new();
    while order.len() < infos.len() {
        let writes = |writer: usize, topic: &String| infos[writer].sink_topics.contains(topic);
        let waits = |reader: usize| {
            let unsettled = |writer: &usize| *writer != reader && !order.contains(writer);
            infos[reader].repartition_topics.keys().any(|topic| (0..infos.len()).filter(unsettled).any(|writer| writes(writer, topic)))
        };
        let left = || (0..infos.len()).filter(|index| !order.contains(index));
        // Only a circle has no next one: then it begins anywhere.
        let next = left().find(|index| !waits(*index)).or_else(|| left().next());
        order.extend(next);
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dsl::{Repartitioned, StreamsBuilder, Topic};

    #[test]
    fn writers_settle_before_readers_whatever_their_numbers() {
        let builder = StreamsBuilder::new();
        let facts = builder.stream(Topic::<String, String>::new("facts"));
        let table = builder.stream(Topic::<String, String>::new("rows")).repartition("by-key").to_table::<String>("table");
        facts.join_table(&table, |fact: String, row: String| fact + &row).to(Topic::new("out"));
        let fixed = Repartitioned::<String, String>::named("fixed").partitions(5);
        facts.repartition(fixed).to(Topic::new("wide"));
        let declared = BTreeMap::from([("facts".to_owned(), 3), ("rows".to_owned(), 2)]);
        let (stages, counts) = stages(&builder.build().unwrap(), "app", &declared).unwrap();
        let found: Vec<_> = stages.iter().map(|stage| (stage.number, stage.tasks)).collect();
        assert_eq!(found, [(1, 2), (0, 3), (2, 5)], "sub-topology 0 joins what 1 writes");
        assert_eq!(counts["app-by-key-repartition"], 3, "as wide as what it is joined with");
        assert!(stages.iter().all(|stage| stage.announces_to.is_empty()), "nobody runs bounded");
    }
}
