//! What a task under test has sent.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::BoxError;
use crate::processor::{Outgoing, Output, Target};
use crate::record::{Headers, Timestamp};

/// A record as bytes, as the log would carry it.
#[derive(Clone, Debug, PartialEq)]
pub struct RawOutput {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: i32,
    /// Key bytes; none for a null key.
    pub key: Option<Vec<u8>>,
    /// Value bytes; none for a tombstone.
    pub value: Option<Vec<u8>>,
    /// Timestamp; none where the log would give its own.
    pub timestamp: Option<Timestamp>,
    /// Headers.
    pub headers: Headers,
}

#[derive(Debug, Default)]
struct Sent {
    topics: Vec<Arc<str>>,
    slots: BTreeMap<Arc<str>, u32>,
    records: Vec<RawOutput>,
}

/// Keeps what a task sends. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Capture {
    sent: Arc<Mutex<Sent>>,
    /// Partition of the task that sends.
    partition: i32,
    partitions: BTreeMap<String, i32>,
}

impl Capture {
    /// For a task of this partition, in a log whose topics have one partition unless said.
    pub(crate) fn new(partition: i32, partitions: BTreeMap<String, i32>) -> Self {
        Capture { sent: Arc::default(), partition, partitions }
    }
    /// Everything since the last call, in the order sent.
    pub(crate) fn take(&self) -> Vec<RawOutput> {
        std::mem::take(&mut self.lock().records)
    }
    fn lock(&self) -> std::sync::MutexGuard<'_, Sent> {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner)
    }
    fn count(&self, topic: &str) -> i32 {
        self.partitions.get(topic).copied().unwrap_or(1)
    }
}

impl Output for Capture {
    fn topic(&mut self, name: &str) -> u32 {
        let mut sent = self.lock();
        if let Some(slot) = sent.slots.get(name) {
            return *slot;
        }
        let slot = u32::try_from(sent.topics.len()).expect("a test has fewer than four billion topics");
        let name: Arc<str> = name.into();
        sent.topics.push(name.clone());
        sent.slots.insert(name, slot);
        slot
    }
    fn partitions(&mut self, topic: u32) -> i32 {
        let name = self.lock().topics[topic as usize].clone();
        self.count(&name)
    }
    fn send(&mut self, topic: u32, record: Outgoing<'_>) -> Result<(), BoxError> {
        let name = self.lock().topics[topic as usize].clone();
        let partition = match record.target {
            Target::Partition(partition) => partition,
            Target::ByKey(bytes) => crate::kafka::partition_of(bytes, self.count(&name)),
            Target::OwnPartition => self.partition,
            Target::Any => 0,
        };
        let timestamp = Some(record.timestamp).filter(|at| *at != Timestamp::UNKNOWN);
        let (key, value) = (record.key.map(<[u8]>::to_vec), record.value.map(<[u8]>::to_vec));
        let headers = record.headers.clone();
        self.lock().records.push(RawOutput { topic: name, partition, key, value, timestamp, headers });
        Ok(())
    }
}
