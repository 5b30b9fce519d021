//! The inputs of a task: one head per source partition.

use std::sync::Arc;

use crate::processor::ReceiveRaw;
use crate::record::Timestamp;
use crate::runtime::task::time;
use crate::topology::assemble::AssembledSource;

/// One source partition of a task.
pub(crate) struct Input {
    /// Of the source node.
    pub(crate) name: Arc<str>,
    pub(crate) topic: Arc<str>,
    pub(crate) partition: i32,
    /// A repartition topic of this application.
    pub(crate) internal: bool,
    pub(crate) head: Box<dyn ReceiveRaw>,
    /// The largest time taken from it (KS-T2).
    pub(crate) partition_time: Timestamp,
    /// Time of the staged head.
    pub(crate) staged: Timestamp,
    /// Its place in the task's bounded clock.
    pub(crate) clock: Option<time::InputClock>,
}

/// An input, for whoever feeds it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct InputSpec<'a> {
    pub(crate) topic: &'a Arc<str>,
    pub(crate) partition: i32,
    pub(crate) internal: bool,
}

impl Input {
    pub(crate) fn spec(&self) -> InputSpec<'_> {
        InputSpec { topic: &self.topic, partition: self.partition, internal: self.internal }
    }
}

/// One input for each partition of each topic of each source, in the order of the topology.
pub(crate) fn make(
    sources: Vec<AssembledSource>,
    partitions: &dyn Fn(&str) -> Vec<i32>,
    clock: &mut time::Clock,
    now: Timestamp,
) -> Vec<Input> {
    let mut inputs = Vec::new();
    for source in sources {
        let read = source.topics.iter().flat_map(|topic| partitions(topic).into_iter().map(move |partition| (topic.clone(), partition)));
        let read: Vec<_> = read.collect();
        let places: Vec<_> = read.iter().map(|_| clock.add_input(&source, now)).collect();
        let heads = (source.make)(read.len());
        for (((topic, partition), clock), head) in read.into_iter().zip(places).zip(heads) {
            inputs.push(Input {
                name: source.name.clone(),
                topic,
                partition,
                internal: source.internal,
                head,
                partition_time: Timestamp::UNKNOWN,
                staged: Timestamp::UNKNOWN,
                clock,
            });
        }
    }
    inputs
}
