//! What a task sends, on its way to the producer of its thread: copied into one arena per partition, sent as slices.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::BoxError;
use crate::kafka::{self, RoundRobin, partition_of};
use crate::processor::{Outgoing, Output, Target, TooLarge};
use crate::record::{TaskId, Timestamp, TopicPartition};
use crate::runtime::arena::{Arena, View};
use crate::runtime::thread::outbox::Outbox;

/// An arena is sent when it holds this much; what is less is sent when its thread has finished a round.
const FULL_RECORDS: usize = 1000;
const FULL_BYTES: usize = 256 << 10;

/// The output of one task.
pub(super) struct RecordCollector {
    outbox: Arc<Outbox>,
    /// Whose output it is; its changelogs have its partition.
    task: TaskId,
    topics: Vec<Topic>,
    by_name: HashMap<Arc<str>, u32>,
    /// Repartition topics and changelogs: what goes there is not counted as output.
    internal: Arc<BTreeSet<String>>,
    sent: Arc<AtomicU64>,
}

struct Topic {
    name: Arc<str>,
    counted: bool,
    /// None until the log has told.
    partitions: Option<i32>,
    /// As the topic counts; none if it does not tell.
    largest_record: Option<usize>,
    turns: RoundRobin,
    lanes: Vec<Lane>,
}

/// One partition of a topic.
struct Lane {
    partition: TopicPartition,
    waiting: Arena,
    /// Of the last data sent there.
    last_time: Option<Timestamp>,
}

impl RecordCollector {
    pub(super) fn new(outbox: Arc<Outbox>, task: TaskId, internal: Arc<BTreeSet<String>>, sent: Arc<AtomicU64>) -> Self {
        RecordCollector { outbox, task, topics: Vec::new(), by_name: HashMap::new(), internal, sent }
    }

    fn count(&mut self, slot: u32) -> Result<i32, BoxError> {
        let topic = &mut self.topics[slot as usize];
        if let Some(count) = topic.partitions {
            return Ok(count);
        }
        let count = self.outbox.partition_count(self.task, &topic.name)?;
        topic.largest_record = self.outbox.largest_record(self.task, &topic.name)?;
        topic.lanes = (0..count)
            .map(|partition| Lane {
                partition: TopicPartition::new(topic.name.clone(), partition),
                waiting: Arena::default(),
                last_time: None,
            })
            .collect();
        topic.partitions = Some(count);
        Ok(count)
    }
}

impl Output for RecordCollector {
    fn takes_any_time(&self) -> bool {
        false
    }

    fn topic(&mut self, name: &str) -> u32 {
        if let Some(slot) = self.by_name.get(name) {
            return *slot;
        }
        let slot = u32::try_from(self.topics.len()).expect("fewer than four billion topics");
        let name: Arc<str> = name.into();
        let counted = !self.internal.contains(&*name);
        self.topics.push(Topic {
            name: name.clone(),
            counted,
            partitions: None,
            largest_record: None,
            turns: RoundRobin::default(),
            lanes: Vec::new(),
        });
        self.by_name.insert(name, slot);
        slot
    }

    fn partitions(&mut self, topic: u32) -> i32 {
        // A topic that does not exist is reported by the send that follows.
        self.count(topic).unwrap_or(1)
    }

    fn send(&mut self, slot: u32, record: Outgoing<'_>) -> Result<(), BoxError> {
        let count = self.count(slot)?;
        let (now, own) = (self.outbox.now(), self.task.partition);
        let topic = &mut self.topics[slot as usize];
        let partition = match record.target {
            Target::ByKey(bytes) => partition_of(bytes, count),
            Target::Partition(partition) => partition,
            Target::Any => topic.turns.turn(count),
            Target::OwnPartition => own,
        };
        let lane = usize::try_from(partition).ok().and_then(|nth| topic.lanes.get_mut(nth));
        let lane = lane.ok_or_else(|| format!("partition {partition} of `{}` was chosen: the topic has {count} partitions", topic.name))?;
        let data = record.key.is_some() || record.value.is_some();
        // The log's own time for a record without one, and for the last control record of a partition that never had data.
        let timeless = record.timestamp == Timestamp::UNKNOWN || (!data && record.timestamp == Timestamp::MAX);
        let timestamp = if timeless { now } else { record.timestamp };
        if let Some(limit) = topic.largest_record {
            refuse_too_large(&topic.name, &record, limit)?;
        }
        if data {
            lane.last_time = Some(timestamp);
        }
        lane.waiting.push(View { key: record.key, value: record.value, offset: -1, timestamp, headers: record.headers });
        if topic.counted {
            self.sent.fetch_add(1, Ordering::Relaxed);
        }
        if lane.waiting.len() >= FULL_RECORDS || lane.waiting.bytes() >= FULL_BYTES {
            lane.ship(self.task, &self.outbox)?;
        }
        Ok(())
    }

    fn drain(&mut self) -> Result<(), BoxError> {
        let (task, outbox) = (self.task, &self.outbox);
        self.topics.iter_mut().flat_map(|topic| &mut topic.lanes).try_for_each(|lane| lane.ship(task, outbox))
    }

    fn last_sent(&self, topic: u32, partition: i32) -> Option<Timestamp> {
        self.topics.get(topic as usize)?.lanes.get(usize::try_from(partition).ok()?)?.last_time
    }
}

/// Said here, where it is known what the record comes of; the log would refuse it together with all that was to go with it.
fn refuse_too_large(topic: &str, record: &Outgoing<'_>, limit: usize) -> Result<(), TooLarge> {
    /// More than is ever around the bytes of a record without headers.
    const AROUND: usize = 128;
    let payload = record.key.map_or(0, <[u8]>::len) + record.value.map_or(0, <[u8]>::len);
    if payload + AROUND <= limit && record.headers.is_empty() {
        return Ok(());
    }
    let (key, value, timestamp, headers) = (record.key, record.value, record.timestamp, record.headers);
    let bytes = kafka::Outgoing { key, value, timestamp, headers }.size_on_wire();
    if bytes <= limit {
        return Ok(());
    }
    Err(TooLarge { topic: topic.to_owned(), bytes, limit })
}

impl Lane {
    fn ship(&mut self, task: TaskId, outbox: &Outbox) -> Result<(), BoxError> {
        if self.waiting.len() == 0 {
            return Ok(());
        }
        let records: Vec<kafka::Outgoing<'_>> = self.waiting.iter().map(View::outgoing).collect();
        let sent = outbox.send(task, &self.partition, &records);
        self.waiting.clear();
        Ok(sent?)
    }
}

impl<'a> View<'a> {
    fn outgoing(self) -> kafka::Outgoing<'a> {
        kafka::Outgoing { key: self.key, value: self.value, timestamp: self.timestamp, headers: self.headers }
    }
}
