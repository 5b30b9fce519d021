//! The internal topic whose partitions stand for the tasks of a group: it has no records, only owners.

use std::collections::BTreeMap;

use super::NewTopic;
use crate::record::TaskId;
#[cfg(feature = "kafka")]
use crate::record::TopicPartition;

/// The name of a group's task topic, for one sub-topology.
pub(in crate::kafka) fn name(group: &str, subtopology: u32) -> String {
    format!("{group}-tasks-{subtopology}")
}

/// The internal topics that a Kafka cluster needs for a group with these tasks, to share them out: one for each sub-topology, with a
/// partition for each of its tasks. They hold no records. What [`Connect::task_topics`](super::Connect::task_topics) answers there.
pub fn task_topics(group: &str, tasks: &[TaskId]) -> Vec<NewTopic> {
    let mut widths = BTreeMap::new();
    for task in tasks {
        let width: &mut i32 = widths.entry(task.subtopology).or_default();
        *width = (*width).max(task.partition + 1);
    }
    let topic = |(subtopology, width)| {
        NewTopic::new(name(group, subtopology), width).with("cleanup.policy", "delete").with("retention.ms", "3600000")
    };
    widths.into_iter().map(topic).collect()
}

#[cfg(feature = "kafka")]
/// Whether a topic is a task topic of the group.
pub(in crate::kafka) fn is_of(group: &str, topic: &str) -> bool {
    subtopology(group, topic).is_some()
}

#[cfg(feature = "kafka")]
fn subtopology(group: &str, topic: &str) -> Option<u32> {
    topic.strip_prefix(group)?.strip_prefix("-tasks-")?.parse().ok()
}

#[cfg(feature = "kafka")]
/// The tasks that partitions stand for, in order.
pub(in crate::kafka) fn tasks_of(group: &str, partitions: &[TopicPartition]) -> Vec<TaskId> {
    let task = |at: &TopicPartition| Some(TaskId { subtopology: subtopology(group, &at.topic)?, partition: at.partition });
    let mut tasks: Vec<_> = partitions.iter().filter_map(task).collect();
    tasks.sort();
    tasks
}
