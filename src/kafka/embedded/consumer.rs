//! Reading the log in memory.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::MemoryLog;
use super::block::Block;
use super::partition::Partition;
use crate::kafka::{Consumer, FetchLimit, Fetched, Isolation, LogError};
use crate::record::{RawRecord, Timestamp, TopicPartition};

/// What else ends a `poll`, beside records.
pub(super) trait Alarm: Send {
    fn is_due(&self) -> bool;
}

/// Nothing but records.
#[derive(Debug)]
pub(super) struct NoAlarm;

impl Alarm for NoAlarm {
    fn is_due(&self) -> bool {
        false
    }
}

/// A consumer, in a group or not.
#[derive(Debug)]
pub(super) struct MemoryConsumer<A> {
    log: MemoryLog,
    pub(super) alarm: A,
    reads: BTreeMap<TopicPartition, Reading>,
    /// Blocks of the fetch under way; kept for its capacity.
    taken: Vec<Arc<Block>>,
}

#[derive(Debug)]
struct Reading {
    partition: Arc<Partition>,
    position: i64,
    paused: bool,
}

impl<A: Alarm> MemoryConsumer<A> {
    pub(super) fn new(log: MemoryLog, alarm: A) -> Self {
        MemoryConsumer { log, alarm, reads: BTreeMap::new(), taken: Vec::new() }
    }

    fn is_ready(&self) -> bool {
        self.reads.values().any(Reading::has_news) || self.alarm.is_due()
    }

    fn set_paused(&mut self, partitions: &[TopicPartition], paused: bool) -> Result<(), LogError> {
        partitions.iter().try_for_each(|partition| assigned(&mut self.reads, partition).map(|reading| reading.paused = paused))
    }

    fn each<T>(&self, partitions: &[TopicPartition], ask: impl Fn(&Partition) -> Result<T, LogError>) -> Result<Vec<T>, LogError> {
        partitions.iter().map(|partition| ask(&*self.log.0.topics.partition(partition)?)).collect()
    }
}

impl Reading {
    fn has_news(&self) -> bool {
        !self.paused && self.partition.has_news(self.position)
    }

    /// Visits blocks up to the limit and moves the position along.
    fn visit(&mut self, blocks: &[Arc<Block>], limit: FetchLimit, visit: &mut dyn FnMut(RawRecord<'_>)) {
        let TopicPartition { topic, partition } = self.partition.name();
        let (mut records, mut bytes) = (0, 0);
        for block in blocks {
            for stored in block.from(self.position) {
                bytes += stored.key.map_or(0, <[u8]>::len) + stored.value.map_or(0, <[u8]>::len);
                if records == limit.records || (records > 0 && bytes > limit.bytes) {
                    return;
                }
                let (key, value, timestamp, headers) = (stored.key, stored.value, stored.timestamp, stored.headers);
                visit(RawRecord { topic, partition: *partition, offset: self.position, key, value, timestamp, headers });
                records += 1;
                self.position += 1;
            }
        }
    }
}

fn assigned<'a>(reads: &'a mut BTreeMap<TopicPartition, Reading>, partition: &TopicPartition) -> Result<&'a mut Reading, LogError> {
    reads.get_mut(partition).ok_or_else(|| LogError::NotAssigned(partition.clone()))
}

impl<A: Alarm> Consumer for MemoryConsumer<A> {
    fn assign(&mut self, partitions: &[(TopicPartition, i64)]) -> Result<(), LogError> {
        let opened = partitions.iter().map(|(name, position)| {
            let partition = self.log.0.topics.partition(name)?;
            Ok((name.clone(), Reading { partition, position: *position, paused: false }))
        });
        let opened = opened.collect::<Result<Vec<_>, LogError>>()?;
        self.reads.extend(opened);
        Ok(())
    }

    fn unassign(&mut self, partitions: &[TopicPartition]) {
        self.reads.retain(|partition, _| !partitions.contains(partition));
    }

    fn assignment(&self) -> Vec<TopicPartition> {
        self.reads.keys().cloned().collect()
    }

    fn seek(&mut self, partition: &TopicPartition, offset: i64) -> Result<(), LogError> {
        assigned(&mut self.reads, partition)?.position = offset;
        Ok(())
    }

    fn position(&self, partition: &TopicPartition) -> Result<i64, LogError> {
        let reading = self.reads.get(partition).ok_or_else(|| LogError::NotAssigned(partition.clone()))?;
        Ok(reading.position)
    }

    fn pause(&mut self, partitions: &[TopicPartition]) -> Result<(), LogError> {
        self.set_paused(partitions, true)
    }

    fn resume(&mut self, partitions: &[TopicPartition]) -> Result<(), LogError> {
        self.set_paused(partitions, false)
    }

    fn poll(&mut self, timeout: Duration) -> Result<bool, LogError> {
        Ok(self.log.0.signal.wait(timeout, || self.is_ready()))
    }

    fn fetch(&mut self, partition: &TopicPartition, limit: FetchLimit, visit: &mut dyn FnMut(RawRecord<'_>)) -> Result<Fetched, LogError> {
        let reading = assigned(&mut self.reads, partition)?;
        self.taken.clear();
        let records = if reading.paused { 0 } else { limit.records };
        let extent = reading.partition.blocks(reading.position, records, &mut self.taken)?;
        if records > 0 {
            reading.visit(&self.taken, limit, visit);
        }
        // A block held on to could not be written any more.
        self.taken.clear();
        Ok(Fetched { next_offset: reading.position, end: extent.end })
    }

    fn begin_offsets(&mut self, partitions: &[TopicPartition]) -> Result<Vec<i64>, LogError> {
        self.each(partitions, |partition| Ok(partition.extent()?.begin))
    }

    fn end_offsets(&mut self, partitions: &[TopicPartition], _isolation: Isolation) -> Result<Vec<i64>, LogError> {
        self.each(partitions, |partition| Ok(partition.extent()?.end))
    }

    fn offsets_for_times(&mut self, times: &[(TopicPartition, Timestamp)]) -> Result<Vec<Option<i64>>, LogError> {
        times.iter().map(|(partition, time)| self.log.0.topics.partition(partition)?.first_since(*time)).collect()
    }
}
