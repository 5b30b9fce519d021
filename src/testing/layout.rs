//! Which tasks a topology has, in which order they settle, and how many partitions each topic has.

use std::collections::BTreeMap;

use crate::topology::{SubtopologyInfo, Topology};

/// The layout of an application in a test.
#[derive(Debug)]
pub(crate) struct Layout {
    /// Partitions of each topic that is read, or that the test declared.
    pub(crate) partitions: BTreeMap<String, i32>,
    /// Sub-topologies, writers of a repartition topic before its readers.
    pub(crate) stages: Vec<Stage>,
}

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

impl Layout {
    /// `declared`: partitions of topics that do not have one.
    pub(crate) fn of(topology: &Topology, application_id: &str, declared: &BTreeMap<String, i32>) -> Self {
        let infos = topology.subtopologies(application_id);
        let order = in_order(&infos);
        let mut partitions = declared.clone();
        for topic in infos.iter().flat_map(|info| &info.source_topics).filter(|topic| !is_repartition(&infos, topic)) {
            partitions.entry(topic.clone()).or_insert(1);
        }
        let mut stages = Vec::new();
        for index in order {
            let info = &infos[index];
            for (topic, config) in &info.repartition_topics {
                let count = config.partitions.unwrap_or_else(|| widest_input(&infos, info, topic, &partitions));
                partitions.insert(topic.clone(), count);
            }
            let tasks = info.source_topics.iter().filter_map(|topic| partitions.get(topic)).copied().max().unwrap_or(0);
            let number = u32::try_from(info.number).expect("a topology has fewer than four billion parts");
            stages.push(Stage { index, number, tasks, announces_to: announced(&infos, info) });
        }
        Layout { partitions, stages }
    }
}

/// Topics in which bounded readers wait for what a bounded sub-topology says.
fn announced(infos: &[SubtopologyInfo], writer: &SubtopologyInfo) -> Vec<String> {
    let bounded = infos.iter().filter(|reader| reader.bounded && writer.bounded);
    let read = bounded.flat_map(|reader| reader.repartition_topics.keys());
    read.filter(|topic| writer.sink_topics.contains(topic)).cloned().collect()
}

fn is_repartition(infos: &[SubtopologyInfo], topic: &str) -> bool {
    infos.iter().any(|info| info.repartition_topics.contains_key(topic))
}

/// A repartition topic that says nothing is as wide as what it must match, or else as the widest input of those who write it.
fn widest_input(infos: &[SubtopologyInfo], reader: &SubtopologyInfo, topic: &String, partitions: &BTreeMap<String, i32>) -> i32 {
    let widest = |topics: &[String]| topics.iter().filter(|other| *other != topic).filter_map(|other| partitions.get(other)).copied().max();
    let matching = reader.copartitioned.iter().filter(|group| group.contains(topic)).filter_map(|group| widest(group)).max();
    let written = infos.iter().filter(|info| info.sink_topics.contains(topic)).filter_map(|info| widest(&info.source_topics)).max();
    matching.or(written).unwrap_or(1)
}

/// Every writer of a repartition topic before its readers; by number where nothing decides.
fn in_order(infos: &[SubtopologyInfo]) -> Vec<usize> {
    let mut order: Vec<usize> = Vec::new();
    while order.len() < infos.len() {
        let waits = |index: usize| {
            let above = |topic: &String| {
                let writers = (0..infos.len()).filter(|writer| infos[*writer].sink_topics.contains(topic));
                writers.into_iter().any(|writer| writer != index && !order.contains(&writer))
            };
            infos[index].repartition_topics.keys().any(above)
        };
        let left: Vec<usize> = (0..infos.len()).filter(|index| !order.contains(index)).collect();
        let next = left.iter().copied().find(|index| !waits(*index)).or(left.first().copied());
        order.extend(next);
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dsl::{Repartitioned, StreamsBuilder, Topic};

    #[test]
    fn writers_come_before_readers_and_repartition_topics_are_as_wide_as_their_input() {
        let builder = StreamsBuilder::new();
        let wide = builder.stream(Topic::<String, String>::new("wide"));
        wide.repartition("kept").repartition(Repartitioned::<String, String>::named("fixed").partitions(5)).to(Topic::new("out"));
        let topology = builder.build().unwrap();
        let layout = Layout::of(&topology, "app", &BTreeMap::from([("wide".to_owned(), 3)]));
        assert_eq!(layout.stages.iter().map(|stage| (stage.number, stage.tasks)).collect::<Vec<_>>(), [(0, 3), (1, 3), (2, 5)]);
        assert_eq!(layout.partitions["app-kept-repartition"], 3);
        assert!(layout.stages[0].announces_to.is_empty(), "nobody runs bounded");
    }
}
