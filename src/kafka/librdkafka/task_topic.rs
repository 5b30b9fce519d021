//! The internal topic whose partitions stand for the tasks of a group: it has no records, only owners.

use std::collections::BTreeMap;

use crate::kafka::NewTopic;
use crate::record::{TaskId, TopicPartition};

/// The name of a group's task topic, for one sub-topology.
pub(super) fn name(group: &str, subtopology: u32) -> String {
    format!("{group}-tasks-{subtopology}")
}

/// The task topics of a group that has these tasks, each with a partition for each of its own. They hold no records.
pub(super) fn topics(group: &str, tasks: &[TaskId]) -> Vec<NewTopic> {
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

/// Whether a topic is a task topic of the group.
pub(super) fn is_of(group: &str, topic: &str) -> bool {
    subtopology(group, topic).is_some()
}

fn subtopology(group: &str, topic: &str) -> Option<u32> {
    topic.strip_prefix(group)?.strip_prefix("-tasks-")?.parse().ok()
}

/// The tasks that partitions stand for, in order.
pub(super) fn tasks_of(group: &str, partitions: &[TopicPartition]) -> Vec<TaskId> {
    let task = |at: &TopicPartition| Some(TaskId { subtopology: subtopology(group, &at.topic)?, partition: at.partition });
    let mut tasks: Vec<_> = partitions.iter().filter_map(task).collect();
    tasks.sort();
    tasks
}
