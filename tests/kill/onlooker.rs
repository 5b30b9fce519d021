//! Who counts, beside a restore, what there was to restore.

use std::collections::{BTreeMap, BTreeSet};

use highwater::kafka::{Connect, Consumer, Isolation, LogError};
use highwater::{RestoreProgress, TopicPartition};

use super::log::patiently;
use super::scene::PARTITIONS;
use super::victim::read;

/// Knows the offsets of committed records of a changelog that it has ever seen: a log in files compacts its changelogs while the application runs, and what
/// a restore has read may be gone when somebody looks.
pub(crate) struct Onlooker {
    consumer: Box<dyn Consumer>,
    changelog: Option<String>,
    seen: BTreeMap<i32, BTreeSet<i64>>,
}

impl Onlooker {
    /// Has seen what is committed now.
    pub(crate) fn new(log: &dyn Connect, changelog: Option<String>) -> Result<Self, LogError> {
        let mut onlooker = Onlooker { consumer: log.consumer(Isolation::ReadCommitted)?, changelog, seen: BTreeMap::new() };
        let topics = {
            let admin = log.admin()?;
            patiently(|| admin.list_topics())?
        };
        for number in onlooker.changelog.iter().filter(|topic| topics.contains(topic)).flat_map(|_| 0..PARTITIONS).collect::<Vec<_>>() {
            let partition = [onlooker.partition(number)];
            let begin = patiently(|| onlooker.consumer.begin_offsets(&partition))?[0];
            let end = patiently(|| onlooker.consumer.end_offsets(&partition, Isolation::ReadCommitted))?[0];
            onlooker.look(number, begin, end)?;
        }
        Ok(onlooker)
    }

    /// Committed records that a restore has passed.
    pub(crate) fn passed(&mut self, progress: &RestoreProgress) -> Result<usize, LogError> {
        let RestoreProgress { task, begin, position, .. } = *progress;
        self.look(task.partition, begin, position)?;
        Ok(self.seen[&task.partition].range(begin..position).count())
    }

    fn look(&mut self, number: i32, from: i64, to: i64) -> Result<(), LogError> {
        let partition = self.partition(number);
        let seen = self.seen.entry(number).or_default();
        read(&mut *self.consumer, &partition, from, to, &mut |record| _ = seen.insert(record.offset))
    }

    fn partition(&self, number: i32) -> TopicPartition {
        TopicPartition::new(self.changelog.clone().expect("a store with a changelog"), number)
    }
}
