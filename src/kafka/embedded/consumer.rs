//! Reading the log in memory.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::MemoryLog;
use super::partition::{Partition, Window};
use crate::kafka::{Consumer, FetchLimit, Fetched, Isolation, LogError};
use crate::record::{RawRecord, Timestamp, TopicPartition};

/// What else ends a `poll`, beside records.
pub(super) trait Alarm: Send {
    fn is_due(&self) -> bool;

    /// The consumer is alive: it polls.
    fn polled(&self, now: Timestamp);
}

/// Nothing but records.
#[derive(Debug)]
pub(super) struct NoAlarm;

impl Alarm for NoAlarm {
    fn is_due(&self) -> bool {
        false
    }

    fn polled(&self, _now: Timestamp) {}
}

/// A consumer, in a group or not.
#[derive(Debug)]
pub(super) struct MemoryConsumer<A> {
    log: MemoryLog,
    pub(super) isolation: Isolation,
    pub(super) alarm: A,
    reads: BTreeMap<TopicPartition, Reading>,
    /// What the fetch under way works on; kept for its capacity.
    window: Window,
}

#[derive(Debug)]
struct Reading {
    partition: Arc<Partition>,
    position: i64,
    paused: bool,
}

impl<A: Alarm> MemoryConsumer<A> {
    pub(super) fn new(log: MemoryLog, isolation: Isolation, alarm: A) -> Self {
        MemoryConsumer { log, isolation, alarm, reads: BTreeMap::new(), window: Window::default() }
    }

    fn is_ready(&self) -> bool {
        self.reads.values().any(|reading| reading.has_news(self.isolation)) || self.alarm.is_due()
    }

    fn set_paused(&mut self, partitions: &[TopicPartition], paused: bool) -> Result<(), LogError> {
        partitions.iter().try_for_each(|partition| assigned(&mut self.reads, partition).map(|reading| reading.paused = paused))
    }

    fn each<T>(&self, partitions: &[TopicPartition], ask: impl Fn(&Partition) -> Result<T, LogError>) -> Result<Vec<T>, LogError> {
        self.log.online()?;
        partitions.iter().map(|partition| ask(&*self.log.0.topics.partition(partition)?)).collect()
    }
}

impl Reading {
    fn has_news(&self, isolation: Isolation) -> bool {
        !self.paused && self.partition.has_news(self.position, isolation)
    }

    /// Visits a window up to the limit and the end, or as far as the visitor likes, and moves the position along: past what is visited, and past what is not seen.
    fn visit(&mut self, window: &Window, end: i64, limit: FetchLimit, visit: &mut dyn FnMut(RawRecord<'_>) -> bool) {
        let TopicPartition { topic, partition } = self.partition.name();
        let (mut records, mut bytes) = (0, 0);
        let mut unseen = window.unseen.iter().peekable();
        for block in &window.blocks {
            while self.position < block.end() {
                while let Some((_, past)) = unseen.next_if(|(start, _)| *start <= self.position) {
                    self.position = self.position.max(*past);
                }
                let to = unseen.peek().map_or(end, |(start, _)| end.min(*start)).min(block.end());
                if to <= self.position {
                    break;
                }
                for (offset, stored) in block.run(self.position, to) {
                    bytes += stored.key.map_or(0, <[u8]>::len) + stored.value.map_or(0, <[u8]>::len);
                    if records == limit.records || (records > 0 && bytes > limit.bytes) {
                        return;
                    }
                    let (key, value, timestamp, headers) = (stored.key, stored.value, stored.timestamp, stored.headers);
                    records += 1;
                    self.position = offset + 1;
                    if !visit(RawRecord { topic, partition: *partition, offset, key, value, timestamp, headers }) {
                        return;
                    }
                }
                // Past the holes of compaction as well.
                self.position = to;
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
        self.log.online()?;
        let shared = &self.log.0;
        self.alarm.polled(shared.clock.now());
        let mut left = timeout;
        loop {
            let due = shared.keep_time();
            // Nobody rings when a time is over, so whoever waits looks for it.
            let slice = due.map_or(left, |due| left.min(due));
            if shared.signal.wait(slice, || self.is_ready()) {
                return Ok(true);
            }
            left -= slice;
            if left.is_zero() {
                return Ok(false);
            }
        }
    }

    fn fetch_while(
        &mut self,
        partition: &TopicPartition,
        limit: FetchLimit,
        visit: &mut dyn FnMut(RawRecord<'_>) -> bool,
    ) -> Result<Fetched, LogError> {
        self.log.online()?;
        let reading = assigned(&mut self.reads, partition)?;
        let limit = if reading.paused { FetchLimit { records: 0, ..limit } } else { limit };
        self.window.blocks.clear();
        self.window.unseen.clear();
        let extent = reading.partition.window(reading.position, limit.records.max(1), self.isolation, &mut self.window)?;
        reading.visit(&self.window, extent.end, limit, visit);
        // A block held on to could not be written any more.
        self.window.blocks.clear();
        Ok(Fetched { next_offset: reading.position, end: extent.end })
    }

    fn begin_offsets(&mut self, partitions: &[TopicPartition]) -> Result<Vec<i64>, LogError> {
        self.each(partitions, |partition| Ok(partition.extent(Isolation::ReadUncommitted)?.begin))
    }

    fn end_offsets(&mut self, partitions: &[TopicPartition], isolation: Isolation) -> Result<Vec<i64>, LogError> {
        self.log.0.keep_time();
        self.each(partitions, |partition| Ok(partition.extent(isolation)?.end))
    }

    fn offsets_for_times(&mut self, times: &[(TopicPartition, Timestamp)]) -> Result<Vec<Option<i64>>, LogError> {
        self.log.online()?;
        times.iter().map(|(partition, time)| self.log.0.topics.partition(partition)?.first_since(*time, self.isolation)).collect()
    }
}
