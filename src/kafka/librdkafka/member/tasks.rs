//! The tasks of a group as its cluster sees them: partitions of internal topics, one topic for each sub-topology, and a mark that tells what
//! they read.
//!
//! The mark is the metadata of the position that the group has committed for the first task's partition: the broker takes such a position
//! from a stranger only while the group is empty, so a group with members keeps its tasks.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use crate::kafka::{NewTopic, TaskInputs, task_topic, task_topics};
use crate::record::{TaskId, TopicPartition};

/// The tasks of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tasks {
    pub(super) group: String,
    pub(super) ids: BTreeSet<TaskId>,
    /// Tells these tasks from others: a sum of everything in them, and their ids in runs, `0_0+4` for `0_0` to `0_3`.
    pub(super) mark: String,
}

impl Tasks {
    pub(super) fn new(group: &str, tasks: &[TaskInputs]) -> Self {
        Tasks { group: group.to_owned(), ids: tasks.iter().map(|inputs| inputs.task).collect(), mark: mark(tasks) }
    }

    /// The topics that stand for them.
    pub(super) fn topics(&self) -> Vec<NewTopic> {
        task_topics(&self.group, &self.ids.iter().copied().collect::<Vec<_>>())
    }

    /// Those that partitions stand for. A partition beyond them stands for none: somebody has widened the topic.
    pub(super) fn of(&self, partitions: &[TopicPartition]) -> Vec<TaskId> {
        task_topic::tasks_of(&self.group, partitions).into_iter().filter(|task| self.ids.contains(task)).collect()
    }

    /// Where the mark is kept.
    pub(super) fn mark_place(&self) -> TopicPartition {
        TopicPartition::new(task_topic::name(&self.group, self.ids.first().map_or(0, |id| id.subtopology)), 0)
    }
}

fn mark(tasks: &[TaskInputs]) -> String {
    let mut mark = format!("highwater-tasks-1 {:016x}", sum(tasks));
    let mut ids: Vec<TaskId> = tasks.iter().map(|inputs| inputs.task).collect();
    ids.sort_unstable();
    let follows = |a: &TaskId, b: &TaskId| a.subtopology == b.subtopology && a.partition + 1 == b.partition;
    for run in ids.chunk_by(follows) {
        write!(mark, " {}+{}", run[0], run.len()).expect("a string takes everything");
    }
    mark
}

/// FNV-1a over ids and inputs, in their order. No secret depends on it.
fn sum(tasks: &[TaskInputs]) -> u64 {
    let mut tasks: Vec<&TaskInputs> = tasks.iter().collect();
    tasks.sort_unstable_by_key(|inputs| inputs.task);
    let mut text = String::new();
    for inputs in tasks {
        write!(text, "{};", inputs.task).expect("a string takes everything");
        for partition in &inputs.partitions {
            write!(text, "{partition},").expect("a string takes everything");
        }
    }
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |sum, byte| (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(subtopology: u32, partition: i32, topics: &[&str]) -> TaskInputs {
        let partitions = topics.iter().map(|topic| TopicPartition::new(*topic, partition)).collect();
        TaskInputs { task: TaskId { subtopology, partition }, partitions }
    }

    #[test]
    fn a_mark_shows_the_tasks_whatever_their_order() {
        let tasks = [task(1, 2, &["b"]), task(0, 1, &["a"]), task(0, 0, &["a"]), task(1, 0, &["b"])];
        let mark = mark(&tasks);
        assert!(mark.ends_with(" 0_0+2 1_0+1 1_2+1"), "{mark}");
        let turned: Vec<_> = tasks.iter().rev().cloned().collect();
        assert_eq!(super::mark(&turned), mark);
    }

    #[test]
    fn other_inputs_give_another_mark() {
        let one = [task(0, 0, &["a", "b"]), task(0, 1, &["a", "b"])];
        assert_ne!(mark(&one), mark(&[task(0, 0, &["a", "c"]), task(0, 1, &["a", "c"])]));
        assert_ne!(mark(&one), mark(&one[..1]));
    }

    #[test]
    fn a_large_group_fits_into_what_a_broker_takes() {
        let tasks: Vec<_> = (0..40).flat_map(|subtopology| (0..1000).map(move |n| task(subtopology, n, &["a"]))).collect();
        assert!(mark(&tasks).len() < 1000);
    }

    #[test]
    fn each_sub_topology_has_a_topic_as_wide_as_it() {
        let tasks = Tasks::new("g", &[task(1, 2, &["b"]), task(0, 0, &["a"])]);
        let topics: Vec<_> = tasks.topics().into_iter().map(|topic| (topic.name, topic.partitions)).collect();
        assert_eq!(topics, [("g-tasks-0".to_owned(), 1), ("g-tasks-1".to_owned(), 3)]);
        let partitions = [TopicPartition::new("g-tasks-1", 2), TopicPartition::new("g-tasks-1", 1)];
        assert_eq!(tasks.of(&partitions), [TaskId { subtopology: 1, partition: 2 }]);
        assert_eq!(tasks.mark_place(), TopicPartition::new("g-tasks-0", 0));
    }
}
