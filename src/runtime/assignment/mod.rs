//! From sub-topologies and partition counts to tasks: how many partitions repartition topics need, whether joined topics fit together,
//! which task reads what.

mod counts;

use std::collections::{BTreeMap, BTreeSet};

pub(crate) use counts::{LayoutError, repartition_counts};

use crate::kafka::TaskInputs;
use crate::record::{TaskId, TopicPartition};
use crate::topology::SubtopologyInfo;

/// How the work of an application is cut.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Layout {
    /// All tasks, by id.
    pub(crate) tasks: Vec<TaskInputs>,
    /// Partitions of every topic that is read, repartition topics included.
    pub(crate) counts: BTreeMap<String, i32>,
    pub(crate) parts: BTreeMap<u32, Part>,
}

/// What the tasks of one sub-topology have in common.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Part {
    /// How many tasks it has: as many as its widest input has partitions, and partitions of its changelogs.
    pub(crate) tasks: i32,
    /// Sub-topologies that write its repartition topics.
    pub(crate) upstream: BTreeSet<u32>,
    /// Repartition topics it writes whose readers run bounded: announcements go there.
    pub(crate) announces_to: Vec<String>,
    /// Its clock is a bounded watermark.
    pub(crate) bounded: bool,
    pub(crate) changelogs: BTreeSet<String>,
    pub(crate) repartition_topics: BTreeSet<String>,
}

impl Layout {
    /// `counts`: the partitions of every source topic that is not a repartition topic.
    pub(crate) fn new(parts: &[SubtopologyInfo], mut counts: BTreeMap<String, i32>) -> Result<Self, LayoutError> {
        counts.extend(repartition_counts(parts, &counts)?);
        counts::check_copartitioned(parts, &counts)?;
        let tasks = parts.iter().flat_map(|part| tasks_of(part, &counts)).collect();
        let shared = parts.iter().map(|part| (number(part), shared(part, parts, &counts))).collect();
        Ok(Layout { tasks, counts, parts: shared })
    }

    /// Whether a task has stores with changelogs.
    pub(crate) fn has_state(&self, task: TaskId) -> bool {
        self.parts.get(&task.subtopology).is_some_and(|part| !part.changelogs.is_empty())
    }

    /// Whether stores feed other stores through a repartition topic.
    pub(crate) fn stacks_state(&self) -> bool {
        let with_state = |number: &u32| self.parts.get(number).is_some_and(|part| !part.changelogs.is_empty());
        self.parts.keys().filter(|number| with_state(number)).any(|number| {
            let (mut above, mut seen) = (vec![*number], BTreeSet::new());
            while let Some(next) = above.pop() {
                let upstream = self.parts.get(&next).into_iter().flat_map(|part| &part.upstream);
                above.extend(upstream.filter(|part| seen.insert(**part)));
            }
            seen.iter().any(with_state)
        })
    }

    /// What a task reads.
    pub(crate) fn inputs(&self, task: TaskId) -> Option<&TaskInputs> {
        self.tasks.iter().find(|inputs| inputs.task == task)
    }
}

fn number(part: &SubtopologyInfo) -> u32 {
    u32::try_from(part.number).unwrap_or(u32::MAX)
}

fn width(part: &SubtopologyInfo, counts: &BTreeMap<String, i32>) -> i32 {
    part.source_topics.iter().filter_map(|topic| counts.get(topic)).copied().max().unwrap_or(0)
}

/// A topic with fewer partitions has none for the later tasks.
fn tasks_of(part: &SubtopologyInfo, counts: &BTreeMap<String, i32>) -> Vec<TaskInputs> {
    let inputs = |partition: i32| {
        let wide_enough = part.source_topics.iter().filter(|topic| counts.get(*topic).is_some_and(|count| partition < *count));
        wide_enough.map(|topic| TopicPartition::new(topic.as_str(), partition)).collect()
    };
    let task = |partition| TaskId { subtopology: number(part), partition };
    (0..width(part, counts)).map(|partition| TaskInputs { task: task(partition), partitions: inputs(partition) }).collect()
}

fn shared(part: &SubtopologyInfo, all: &[SubtopologyInfo], counts: &BTreeMap<String, i32>) -> Part {
    let writes = |writer: &SubtopologyInfo, topic: &String| writer.sink_topics.contains(topic);
    let upstream = part.repartition_topics.keys().flat_map(|topic| all.iter().filter(move |writer| writes(writer, topic)).map(number));
    let readers = all.iter().filter(|reader| reader.bounded && part.bounded);
    let announces_to: BTreeSet<&String> =
        readers.flat_map(|reader| reader.repartition_topics.keys()).filter(|topic| writes(part, topic)).collect();
    Part {
        tasks: width(part, counts),
        upstream: upstream.collect(),
        bounded: part.bounded,
        announces_to: announces_to.into_iter().cloned().collect(),
        changelogs: part.changelog_topics.keys().cloned().collect(),
        repartition_topics: part.repartition_topics.keys().cloned().collect(),
    }
}

#[cfg(test)]
mod tests;
