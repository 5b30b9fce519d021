//! The writing port.

use std::time::Duration;

use super::LogError;
use crate::record::{Headers, Timestamp, TopicPartition};

/// A record to be sent. Borrowed: the port has copied it when `send` returns.
#[derive(Clone, Copy, Debug)]
pub struct Outgoing<'a> {
    /// Key bytes; none for a null key.
    pub key: Option<&'a [u8]>,
    /// Value bytes; none for a tombstone.
    pub value: Option<&'a [u8]>,
    /// Event time, zero included. Negative ones are refused, as by Kafka's own producer.
    pub timestamp: Timestamp,
    /// Headers in order.
    pub headers: &'a Headers,
}

impl Outgoing<'_> {
    /// What a batch with this record alone weighs in Kafka's format, which is what `max.message.bytes` limits. At most a few bytes more.
    pub(crate) fn size_on_wire(&self) -> usize {
        /// Head of a batch, and of a record with the longest possible lengths.
        const AROUND: usize = 61 + 21;
        const LENGTHS: usize = 10;
        let headers = self.headers.iter().map(|(name, value)| LENGTHS + name.len() + value.map_or(0, <[u8]>::len));
        AROUND + self.key.map_or(0, <[u8]>::len) + self.value.map_or(0, <[u8]>::len) + headers.sum::<usize>()
    }
}

/// What became of everything sent since the last flush.
#[derive(Clone, Debug, Default)]
pub struct Flushed {
    /// Highest acknowledged offset of each partition, in the order of topic and partition.
    pub acked: Vec<(TopicPartition, i64)>,
    /// Partitions that lost records, with the first error of each. Later records of such a partition may have been acknowledged.
    pub failed: Vec<(TopicPartition, LogError)>,
}

/// Writes to partitions. One per thread.
pub trait Producer: Send {
    /// Hands over records for one partition, in order. An error says that *none* of them was taken; where a single record is to blame, the
    /// error carries its index. What goes wrong later is told by `flush`.
    fn send(&mut self, partition: &TopicPartition, records: &[Outgoing<'_>]) -> Result<(), LogError>;

    /// Waits until everything sent is acknowledged or failed. What is still open after `timeout` counts as failed.
    fn flush(&mut self, timeout: Duration) -> Flushed;

    /// How many partitions a topic has.
    fn partition_count(&mut self, topic: &str) -> Result<i32, LogError>;

    /// How large a record the topic takes at most, as [`LogError::RecordTooLarge`] counts; none if that is not known.
    fn largest_record(&mut self, topic: &str) -> Result<Option<usize>, LogError> {
        let _ = topic;
        Ok(None)
    }
}
