//! Writing to the log in memory: a send is an append, so there is nothing to wait for.

use std::collections::BTreeMap;
use std::time::Duration;

use super::MemoryLog;
use crate::kafka::{Flushed, LogError, Outgoing, Producer};
use crate::record::TopicPartition;

/// A producer. Remembers the highest offset of each partition until the next flush.
#[derive(Debug)]
pub(super) struct MemoryProducer {
    log: MemoryLog,
    acked: BTreeMap<TopicPartition, i64>,
}

impl MemoryProducer {
    pub(super) fn new(log: MemoryLog) -> Self {
        MemoryProducer { log, acked: BTreeMap::new() }
    }
}

impl Producer for MemoryProducer {
    fn send(&mut self, partition: &TopicPartition, records: &[Outgoing<'_>]) -> Result<(), LogError> {
        let shared = &self.log.0;
        let topic = shared.topics.get(&partition.topic)?;
        let log = topic.partition(partition)?;
        if records.is_empty() {
            return Ok(());
        }
        let now = shared.clock.now();
        topic.config.check(partition, records, now)?;
        let last = log.append(records, topic.config.stamp(now))?;
        shared.signal.ring();
        match self.acked.get_mut(partition) {
            Some(acked) => *acked = last,
            None => {
                self.acked.insert(partition.clone(), last);
            }
        }
        Ok(())
    }

    fn flush(&mut self, _timeout: Duration) -> Flushed {
        Flushed { acked: std::mem::take(&mut self.acked).into_iter().collect(), failed: Vec::new() }
    }

    fn partition_count(&mut self, topic: &str) -> Result<i32, LogError> {
        Ok(self.log.0.topics.get(topic)?.count())
    }
}
