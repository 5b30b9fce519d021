//! What the tasks under test have sent.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::BoxError;
use crate::processor::{Outgoing, Output, Target};
use crate::record::{Headers, TaskId, Timestamp};

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
    /// The task that sent it; `0_0` in stream time, where one task runs everything.
    pub task: TaskId,
}

#[derive(Debug, Default)]
struct Sent {
    topics: Vec<Arc<str>>,
    slots: BTreeMap<Arc<str>, u32>,
    records: Vec<RawOutput>,
}

/// Keeps what tasks send, in the order sent. Made for one task; `of` makes another over the same records.
#[derive(Clone, Debug)]
pub(crate) struct Capture {
    sent: Arc<Mutex<Sent>>,
    task: TaskId,
    /// Topics that are not named have one partition.
    partitions: Arc<BTreeMap<String, i32>>,
    /// Time of the last data that this task sent, by topic and partition.
    last: BTreeMap<(u32, i32), Timestamp>,
}

impl Capture {
    /// For a log whose topics have these numbers of partitions, one unless said.
    pub(crate) fn new(partitions: BTreeMap<String, i32>) -> Self {
        let task = TaskId { subtopology: 0, partition: 0 };
        Capture { sent: Arc::default(), task, partitions: Arc::new(partitions), last: BTreeMap::new() }
    }
    /// The end at which a task sends.
    pub(crate) fn of(&self, task: TaskId) -> Self {
        Capture { task, last: BTreeMap::new(), ..self.clone() }
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
    fn name(&self, topic: u32) -> Arc<str> {
        self.lock().topics[topic as usize].clone()
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
        self.count(&self.name(topic))
    }
    fn last_sent(&self, topic: u32, partition: i32) -> Option<Timestamp> {
        self.last.get(&(topic, partition)).copied()
    }
    fn send(&mut self, topic: u32, record: Outgoing<'_>) -> Result<(), BoxError> {
        let name = self.name(topic);
        let partition = match record.target {
            Target::Partition(partition) => partition,
            Target::ByKey(bytes) => crate::kafka::partition_of(bytes, self.count(&name)),
            Target::OwnPartition => self.task.partition,
            Target::Any => 0,
        };
        let timestamp = Some(record.timestamp).filter(|at| *at != Timestamp::UNKNOWN);
        if let Some(at) = timestamp.filter(|_| record.key.is_some() || record.value.is_some()) {
            self.last.insert((topic, partition), at);
        }
        let (key, value) = (record.key.map(<[u8]>::to_vec), record.value.map(<[u8]>::to_vec));
        let headers = record.headers.clone();
        self.lock().records.push(RawOutput { topic: name, partition, key, value, timestamp, headers, task: self.task });
        Ok(())
    }
}
