//! Writing to the log in memory: a send is an append, so there is nothing to wait for.

use std::collections::BTreeMap;
use std::time::Duration;

use super::MemoryLog;
use super::files::Storage;
use crate::kafka::{Flushed, LogError, Outgoing, Producer};
use crate::record::TopicPartition;

/// A producer.
#[derive(Debug)]
pub(super) struct MemoryProducer {
    log: MemoryLog,
    acked: Acked,
}

/// The highest offset of each partition since the last flush.
#[derive(Debug, Default)]
pub(super) struct Acked(BTreeMap<TopicPartition, i64>);

impl Acked {
    pub(super) fn note(&mut self, partition: &TopicPartition, last: i64) {
        match self.0.get_mut(partition) {
            Some(acked) => *acked = last,
            None => {
                self.0.insert(partition.clone(), last);
            }
        }
    }

    /// What is acknowledged, once the storage has settled.
    pub(super) fn flush(&mut self, storage: &Storage) -> Flushed {
        let sent = std::mem::take(&mut self.0);
        let settled = if sent.is_empty() { Ok(()) } else { storage.settle() };
        match settled {
            Ok(()) => Flushed { acked: sent.into_iter().collect(), failed: Vec::new() },
            Err(error) => Flushed { acked: Vec::new(), failed: sent.into_keys().map(|partition| (partition, error.clone())).collect() },
        }
    }
}

impl MemoryProducer {
    pub(super) fn new(log: MemoryLog) -> Self {
        MemoryProducer { log, acked: Acked::default() }
    }
}

impl Producer for MemoryProducer {
    fn send(&mut self, partition: &TopicPartition, records: &[Outgoing<'_>]) -> Result<(), LogError> {
        self.log.online()?;
        let shared = &self.log.0;
        let topic = shared.topics.get(&partition.topic)?;
        let log = topic.partition(partition)?;
        if records.is_empty() {
            return Ok(());
        }
        shared.keep_time();
        let now = shared.clock.now();
        topic.config.check(partition, records, now)?;
        let last = log.append(records, topic.config.arrival(now))?;
        shared.signal.ring();
        self.acked.note(partition, last);
        Ok(())
    }

    fn flush(&mut self, _timeout: Duration) -> Flushed {
        self.acked.flush(&self.log.0.storage)
    }

    fn partition_count(&mut self, topic: &str) -> Result<i32, LogError> {
        self.log.online()?;
        Ok(self.log.0.topics.get(topic)?.count())
    }

    fn largest_record(&mut self, topic: &str) -> Result<Option<usize>, LogError> {
        self.log.online()?;
        Ok(Some(self.log.0.topics.get(topic)?.config.max_message_bytes()))
    }
}
