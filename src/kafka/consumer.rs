//! The reading port.

use std::time::Duration;

use super::LogError;
use crate::record::{RawRecord, Timestamp, TopicPartition};

/// Which records of transactions a reader sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Isolation {
    /// Everything up to the high watermark, whatever becomes of it.
    ReadUncommitted,
    /// Committed records only, up to the first one that is still undecided.
    #[default]
    ReadCommitted,
}

/// How much one fetch may visit. The first record is always visited, however large, so that a reader cannot get stuck.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FetchLimit {
    /// Records.
    pub records: usize,
    /// Bytes of keys and values.
    pub bytes: usize,
}

impl Default for FetchLimit {
    fn default() -> Self {
        FetchLimit { records: 1000, bytes: 1 << 20 }
    }
}

/// Where a fetch left its partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// The position after this fetch: past everything visited, and past whatever takes offsets without being a record. Only this may be
    /// compared with an end; the offset of the last record plus one may never reach it.
    pub next_offset: i64,
    /// The end that the fetch saw: the high watermark, or for a reader of committed records the last stable offset. A position can be
    /// beyond the latter.
    pub end: i64,
}

impl Fetched {
    /// Whether nothing was left to read.
    pub fn at_end(&self) -> bool {
        self.next_offset >= self.end
    }
}

/// Reads partitions. One per thread; its owner decides what it reads and from where.
///
/// It never resets a position by itself: an offset outside of the partition is [`LogError::OffsetOutOfRange`] with the offsets that
/// would do, for the caller's policy.
pub trait Consumer: Send {
    /// Adds these partitions to the assignment, each to be read from an offset. A partition that was assigned already moves there and
    /// is no longer paused. Either all are assigned or none.
    fn assign(&mut self, partitions: &[(TopicPartition, i64)]) -> Result<(), LogError>;

    /// Takes these partitions out of the assignment. Those that are not in it are passed over.
    fn unassign(&mut self, partitions: &[TopicPartition]);

    /// What is assigned, in the order of topic and partition.
    fn assignment(&self) -> Vec<TopicPartition>;

    /// Moves the position of an assigned partition. The offset is checked by the next fetch.
    fn seek(&mut self, partition: &TopicPartition, offset: i64) -> Result<(), LogError>;

    /// The `next_offset` of an assigned partition.
    fn position(&self, partition: &TopicPartition) -> Result<i64, LogError>;

    /// Stops delivery from these partitions: they neither end a `poll` nor give records. Cheap: what was fetched ahead is kept.
    fn pause(&mut self, partitions: &[TopicPartition]) -> Result<(), LogError>;

    /// Takes `pause` back.
    fn resume(&mut self, partitions: &[TopicPartition]) -> Result<(), LogError>;

    /// Waits until an assigned partition has something to fetch (or an error to report), a group event is due, or `timeout` is over;
    /// tells whether something is there. The only call that waits for data; with a zero timeout it returns at once. To be called
    /// regularly, with records in hand or not: the client does its housekeeping here.
    fn poll(&mut self, timeout: Duration) -> Result<bool, LogError>;

    /// Visits the next records of one assigned partition in order, without waiting, and moves its position past them. A paused
    /// partition gives no records. The visitor may use other clients of the same log, a producer say.
    fn fetch(&mut self, partition: &TopicPartition, limit: FetchLimit, visit: &mut dyn FnMut(RawRecord<'_>)) -> Result<Fetched, LogError> {
        self.fetch_while(partition, limit, &mut |record| {
            visit(record);
            true
        })
    }

    /// As [`fetch`](Self::fetch), and ends behind the record of which the visitor says `false`: the next fetch goes on there.
    fn fetch_while(
        &mut self,
        partition: &TopicPartition,
        limit: FetchLimit,
        visit: &mut dyn FnMut(RawRecord<'_>) -> bool,
    ) -> Result<Fetched, LogError>;

    /// The first offset of each partition, assigned or not.
    fn begin_offsets(&mut self, partitions: &[TopicPartition]) -> Result<Vec<i64>, LogError>;

    /// The end of each partition, assigned or not: the high watermark for [`Isolation::ReadUncommitted`], else the last stable offset.
    fn end_offsets(&mut self, partitions: &[TopicPartition], isolation: Isolation) -> Result<Vec<i64>, LogError>;

    /// The first offset of each partition whose record has this timestamp or a later one; none if there is no such record.
    fn offsets_for_times(&mut self, times: &[(TopicPartition, Timestamp)]) -> Result<Vec<Option<i64>>, LogError>;
}
