//! Layouts of small topologies.

use super::*;
use crate::dsl::{Repartitioned, StreamsBuilder, Topic};
use crate::topology::Topology;

const LINES: Topic<String, String> = Topic::new("lines");

fn layout(topology: &Topology, counts: &[(&str, i32)]) -> Result<Layout, LayoutError> {
    Layout::new(&topology.subtopologies("app"), counts.iter().map(|(topic, count)| ((*topic).to_owned(), *count)).collect())
}

fn rekeyed(partitions: Option<i32>) -> Topology {
    let builder = StreamsBuilder::new();
    let stream = builder.stream(LINES).select_key(|_, value: &String| value.clone());
    let named = Repartitioned::named("by-value");
    let named = if let Some(count) = partitions { named.partitions(count) } else { named };
    stream.repartition(named).group_by_key().count("counts");
    builder.build().unwrap()
}

#[test]
fn a_repartition_topic_is_as_wide_as_what_feeds_it_unless_said() {
    let layout_of = |partitions| layout(&rekeyed(partitions), &[("lines", 3)]).unwrap();
    assert_eq!(layout_of(None).counts["app-by-value-repartition"], 3);
    let cut = layout_of(Some(5));
    assert_eq!(cut.counts["app-by-value-repartition"], 5);
    let ids: Vec<String> = cut.tasks.iter().map(|inputs| inputs.task.to_string()).collect();
    assert_eq!(ids, ["0_0", "0_1", "0_2", "1_0", "1_1", "1_2", "1_3", "1_4"]);
    let last = cut.inputs(TaskId { subtopology: 1, partition: 4 }).unwrap();
    assert_eq!(last.partitions, [TopicPartition::new("app-by-value-repartition", 4)]);
    assert_eq!(cut.parts[&1].tasks, 5, "and the changelog with it");
    assert_eq!(cut.parts[&1].upstream, BTreeSet::from([0]));
    assert_eq!(cut.parts[&1].changelogs, BTreeSet::from(["app-counts-changelog".to_owned()]));
    assert!(cut.parts[&0].announces_to.is_empty(), "stream time announces nothing");
}

#[test]
fn later_tasks_do_without_the_narrower_topic() {
    let builder = StreamsBuilder::new();
    builder.stream(LINES).merge(&builder.stream(Topic::<String, String>::new("more"))).for_each(|_, _| ());
    let cut = layout(&builder.build().unwrap(), &[("lines", 1), ("more", 2)]).unwrap();
    let inputs: Vec<String> = cut.tasks.iter().map(|inputs| format!("{}: {:?}", inputs.task, inputs.partitions.len())).collect();
    assert_eq!(inputs, ["0_0: 2", "0_1: 1"]);
}

#[test]
fn joined_topics_must_be_equally_wide_and_shuffles_follow() {
    let join = |rekey: bool| {
        let builder = StreamsBuilder::new();
        let table = builder.table(Topic::<String, String>::new("table"));
        let stream = builder.stream(LINES);
        let stream = if rekey { stream.select_key(|_, value: &String| value.clone()) } else { stream };
        stream.join_table(&table, |left, right| format!("{left}{right}")).for_each(|_, _| ());
        builder.build().unwrap()
    };
    let error = layout(&join(false), &[("lines", 2), ("table", 4)]).unwrap_err().to_string();
    assert!(error.contains("`lines` (2 partitions)") && error.contains("`table` (4 partitions)"), "{error}");
    let cut = layout(&join(true), &[("lines", 2), ("table", 4)]).unwrap();
    let shuffle = cut.counts.iter().find(|(topic, _)| topic.ends_with("-repartition")).unwrap();
    assert_eq!(*shuffle.1, 4, "the repartition topic takes the width of the table");
}
