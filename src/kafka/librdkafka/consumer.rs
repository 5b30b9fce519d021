//! The reading port on a cluster: partitions are fetched into queues of their own, and read from there in batches.
//!
//! The client's plain fetching is used, without any group: what is read, from where, is the owner's decision alone. A partition that is not
//! read keeps what was fetched ahead (up to `queued.max.messages.kbytes`), so pausing costs nothing.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use rdkafka::consumer::Consumer as _;
use rdkafka::error::RDKafkaErrorCode;

use super::bell::Bell;
use super::config::{KafkaConfig, SignIn};
use super::context::ReaderContext;
use super::deadline::Deadline;
use super::error::{about_partition, failed, said};
use super::native::{Message, Native, OffsetSpec, PartitionQueue, Reader, TopicHandle};
use super::{metadata, offsets};
use crate::clock::let_others_go_on;
use crate::error::ErrorKind;
use crate::kafka::{ClientRoom, Consumer, FetchLimit, Fetched, Isolation, LogError};
use crate::record::{RawRecord, Timestamp, TopicPartition};

/// Most messages that one call to the client takes out of a queue.
const BATCH: usize = 1_000;

/// What reading needs, and what it has unless the settings say otherwise.
const ROLE: [(&str, &str); 10] = [
    ("enable.partition.eof", "true"),      // the only news of what lies past markers, aborted records and holes
    ("auto.offset.reset", "error"),        // a position is never moved by the client
    ("allow.auto.create.topics", "false"), // asking for a topic does not make one
    ("enable.auto.offset.store", "false"), // positions are the owner's
    ("check.crcs", "true"),                // damage on the way is an error, never a record
    ("fetch.wait.max.ms", "100"),          // how long the end of a partition takes to be told; new data is told at once
    ("fetch.queue.backoff.ms", "2"),       // the default, a second, starves a fast reader
    ("fetch.error.backoff.ms", "100"),     // of a partition whose leader moved
    ("topic.metadata.propagation.max.ms", "5000"), // how long after its making a topic may be unknown to a broker
    // Per partition. What is fetched ahead costs some 300 bytes a record beside its own, and memory that has been out of use for long is slow.
    ("queued.min.messages", "20000"),
];

/// A consumer on a cluster.
pub(super) struct KafkaConsumer {
    // Queues go before the client that feeds them.
    partitions: BTreeMap<TopicPartition, Assigned>,
    topics: HashMap<Arc<str>, Arc<TopicHandle>>,
    client: Arc<Reader>,
    sign_in: SignIn,
    bell: Arc<Bell>,
    isolation: Isolation,
}

/// A partition that is read.
struct Assigned {
    queue: PartitionQueue,
    /// Taken out of the queue, not yet visited.
    held: VecDeque<Message>,
    next: i64,
    /// The end as it was when the reading began, and later as the fetches saw it.
    end: i64,
    /// The client said that the partition ended here.
    ended_at: Option<i64>,
    /// Nothing has come out of the queue yet.
    unheard: bool,
    /// The position or the end has moved without a record, and nobody was told.
    moved: bool,
    paused: bool,
    failure: Option<LogError>,
}

/// What a consumer is told. A partition's queue is filled until it has this much; one more response may be on its way then.
fn role(level: &str, room: ClientRoom) -> Vec<(&'static str, String)> {
    let response = room.fetched.min(1 << 20); // the library's own limit
    let mut role: Vec<_> = ROLE.iter().map(|(key, value)| (*key, (*value).to_owned())).collect();
    role.push(("isolation.level", level.to_owned()));
    role.push(("queued.max.messages.kbytes", (room.fetched >> 10).to_string()));
    role.push(("fetch.message.max.bytes", response.to_string()));
    role
}

impl KafkaConsumer {
    pub(super) fn open(config: &KafkaConfig, isolation: Isolation) -> Result<Self, LogError> {
        KafkaConsumer::with_bell(config, isolation, Arc::new(Bell::default()), false)
    }

    /// A consumer whose `poll` is also ended by `bell`. `to_the_end`: ends are told at once, and so is everything that it asks, since a broker answers
    /// one request of a connection after the other, and a fetch at the end of a partition is answered last.
    pub(super) fn with_bell(config: &KafkaConfig, isolation: Isolation, bell: Arc<Bell>, to_the_end: bool) -> Result<Self, LogError> {
        let level = match isolation {
            Isolation::ReadUncommitted => "read_uncommitted",
            Isolation::ReadCommitted => "read_committed",
        };
        let purpose = if to_the_end { "restore-consumer" } else { "consumer" };
        let mut role = role(level, config.room());
        role.extend(to_the_end.then(|| ("fetch.wait.max.ms", "10".to_owned())));
        let client: Reader = config
            .client(purpose, &role.iter().map(|(key, value)| (*key, value.as_str())).collect::<Vec<_>>())?
            .create_with_context(ReaderContext::default())
            .map_err(|error| failed("the consumer cannot be opened", &error))?;
        let sign_in = SignIn::first(config, client.client())?;
        let client = Arc::new(client);
        sign_in.enlist(Arc::<Reader>::downgrade(&client));
        Ok(KafkaConsumer { partitions: BTreeMap::new(), topics: HashMap::new(), client, sign_in, bell, isolation })
    }

    fn topic(&mut self, topic: &Arc<str>) -> Result<Arc<TopicHandle>, LogError> {
        if let Some(known) = self.topics.get(topic) {
            return Ok(known.clone());
        }
        let handle = TopicHandle::new(&Native::of_reader(&self.client), topic).map_err(|code| said(&format!("`{topic}`"), code))?;
        self.topics.insert(topic.clone(), handle.clone());
        Ok(handle)
    }

    /// Begins to fetch partitions; those that were fetched before are begun anew.
    fn start(&mut self, wanted: &[(TopicPartition, i64)], paused: impl Fn(&TopicPartition) -> bool) -> Result<(), LogError> {
        let names: Vec<_> = wanted.iter().map(|(partition, _)| partition.clone()).collect();
        let begins = self.begin_offsets(&names)?;
        let highs = self.end_offsets(&names, Isolation::ReadUncommitted)?;
        let ends = match self.isolation {
            Isolation::ReadUncommitted => highs.clone(),
            Isolation::ReadCommitted => self.stable_ends(&names, &begins)?,
        };
        for (((partition, offset), begin), (high, end)) in wanted.iter().zip(begins).zip(highs.into_iter().zip(ends)) {
            let (partition, offset, paused) = (partition.clone(), *offset, paused(partition));
            let inside = (begin..=high).contains(&offset);
            let failure = (!inside).then(|| LogError::OffsetOutOfRange { partition: partition.clone(), offset, begin, end: high });
            self.partitions.remove(&partition); // ends its fetching before the next one begins
            let topic = self.topic(&partition.topic)?;
            let from = if inside { offset } else { high };
            let queue = PartitionQueue::start(&topic, partition.partition, from, &self.bell);
            let queue = queue.map_err(|code| about_partition(&partition, code))?;
            let state =
                Assigned { queue, held: VecDeque::new(), next: offset, end, ended_at: None, unheard: true, moved: false, paused, failure };
            self.partitions.insert(partition, state);
        }
        Ok(())
    }

    fn assigned(&mut self, partition: &TopicPartition) -> Result<&mut Assigned, LogError> {
        self.partitions.get_mut(partition).ok_or_else(|| LogError::NotAssigned(partition.clone()))
    }

    fn has_something(&mut self) -> bool {
        let found = self.partitions.values_mut().any(|state| !state.paused && state.has_something());
        found || (self.client.context().has_said() && self.has_lost_one())
    }

    /// Looks whether everything that is read is still there; what is not has an error to report.
    fn has_lost_one(&mut self) -> bool {
        let mut counts = HashMap::new();
        let client = &self.client;
        let mut lost = false;
        for (partition, state) in &mut self.partitions {
            let count: &Result<i32, LogError> =
                counts.entry(&partition.topic).or_insert_with(|| metadata::partition_count(client.client(), &partition.topic));
            // No answer is no news: the client goes on asking.
            let gone = match count {
                Ok(count) => {
                    (partition.partition >= *count).then(|| LogError::UnknownPartition { partition: partition.clone(), count: *count })
                }
                Err(error @ LogError::UnknownTopic(_)) => Some(error.clone()),
                Err(_) => None,
            };
            lost |= gone.is_some();
            state.failure = state.failure.take().or(gone);
        }
        lost
    }

    /// Asks for offsets, of partitions that are assigned or not.
    fn offsets(&self, wanted: &[(TopicPartition, OffsetSpec)], isolation: Isolation) -> Result<Vec<offsets::Found>, LogError> {
        offsets::ask(&Native::of_reader(&self.client), wanted, isolation, &|topic| metadata::shape(self.client.client(), topic))
    }

    /// The last stable offset of partitions that begin at `begins`, or where they begin: a deletion can leave it behind.
    fn stable_ends(&self, partitions: &[TopicPartition], begins: &[i64]) -> Result<Vec<i64>, LogError> {
        let found = self.offsets(&ends_of(partitions), Isolation::ReadCommitted)?;
        Ok(found.into_iter().zip(begins).map(|((end, _), begin)| end.max(*begin)).collect())
    }

    fn partition_count(&self, topic: &str) -> Result<i32, LogError> {
        metadata::partition_count(self.client.client(), topic)
    }
}

impl Assigned {
    /// Whether a fetch would give a record or an error, or tell of a position or an end that has moved. What tells of neither is settled.
    fn has_something(&mut self) -> bool {
        loop {
            if self.failure.is_some() || self.moved {
                return true;
            }
            match self.front().map(|message| (message.error(), message.offset())) {
                None => return false,
                Some((Some(RDKafkaErrorCode::PartitionEOF), offset)) => self.ends_at(offset),
                Some((None, offset)) if offset < self.next => {}
                Some(_) => return true,
            }
            self.held.pop_front();
        }
    }

    /// What comes next.
    fn front(&mut self) -> Option<&Message> {
        if self.held.is_empty() {
            self.queue.take(BATCH, &mut self.held);
        }
        self.held.front()
    }

    /// The client has come to the end of the partition, past whatever is not seen.
    fn ends_at(&mut self, offset: i64) {
        self.moved |= self.next < offset || self.next < self.end;
        self.next = self.next.max(offset);
        self.ended_at = Some(offset);
        self.unheard = false;
    }

    /// Visits records until the limit is reached, the visitor has enough or nothing is left.
    fn visit(
        &mut self,
        partition: &TopicPartition,
        limit: FetchLimit,
        visit: &mut dyn FnMut(RawRecord<'_>) -> bool,
    ) -> Result<(), RDKafkaErrorCode> {
        let (mut records, mut bytes) = (0, 0);
        while let Some(message) = self.front() {
            let (error, offset) = (message.error(), message.offset());
            match error {
                None if offset < self.next => {}
                None => {
                    let Some(message) = self.held.front() else { break };
                    bytes += message.key().map_or(0, <[u8]>::len) + message.value().map_or(0, <[u8]>::len);
                    if records == limit.records || (records > 0 && bytes > limit.bytes) {
                        break;
                    }
                    records += 1;
                    (self.next, self.unheard) = (offset + 1, false);
                    if !show(partition, message, visit) {
                        self.held.pop_front();
                        break;
                    }
                }
                Some(RDKafkaErrorCode::PartitionEOF) => self.ends_at(offset),
                // What was visited counts: the error is for the next one who asks.
                Some(_) if records > 0 => break,
                Some(code) => return Err(code),
            }
            self.held.pop_front();
        }
        self.moved = false;
        Ok(())
    }

    /// The end that can be told now.
    fn seen_end(&mut self) -> i64 {
        if self.ended_at == Some(self.next) && self.held.is_empty() {
            self.end = self.next;
        } else if !(self.unheard && self.next >= self.end) {
            // A position beyond the last stable offset hears nothing until that is past it: the end is what was asked at the beginning.
            // The high watermark is no less than the last stable offset: whoever waits for the latter waits for the client's word.
            let high = self.queue.high_watermark().unwrap_or(self.end);
            self.end = high.max(self.next);
        }
        self.end
    }
}

fn ends_of(partitions: &[TopicPartition]) -> Vec<(TopicPartition, OffsetSpec)> {
    partitions.iter().map(|partition| (partition.clone(), OffsetSpec::End)).collect()
}

/// What the visitor says of a record.
fn show(partition: &TopicPartition, message: &Message, visit: &mut dyn FnMut(RawRecord<'_>) -> bool) -> bool {
    visit(RawRecord {
        topic: &partition.topic,
        partition: partition.partition,
        offset: message.offset(),
        key: message.key(),
        value: message.value(),
        timestamp: Timestamp::from_millis(message.timestamp()),
        headers: &message.headers(),
    })
}

impl Consumer for KafkaConsumer {
    fn assign(&mut self, partitions: &[(TopicPartition, i64)]) -> Result<(), LogError> {
        self.start(partitions, |_| false)
    }

    fn unassign(&mut self, partitions: &[TopicPartition]) {
        for partition in partitions {
            self.partitions.remove(partition);
        }
    }

    fn assignment(&self) -> Vec<TopicPartition> {
        self.partitions.keys().cloned().collect()
    }

    fn seek(&mut self, partition: &TopicPartition, offset: i64) -> Result<(), LogError> {
        let paused = self.assigned(partition)?.paused;
        self.start(&[(partition.clone(), offset)], |_| paused)
    }

    fn position(&self, partition: &TopicPartition) -> Result<i64, LogError> {
        self.partitions.get(partition).map(|state| state.next).ok_or_else(|| LogError::NotAssigned(partition.clone()))
    }

    fn pause(&mut self, partitions: &[TopicPartition]) -> Result<(), LogError> {
        partitions.iter().try_for_each(|partition| self.assigned(partition).map(|state| state.paused = true))
    }

    fn resume(&mut self, partitions: &[TopicPartition]) -> Result<(), LogError> {
        partitions.iter().try_for_each(|partition| self.assigned(partition).map(|state| state.paused = false))
    }

    fn poll(&mut self, timeout: Duration) -> Result<bool, LogError> {
        self.sign_in.renew(self.client.client());
        // The client's own news: errors of connections, and what it wants to log.
        if let Some(Err(error)) = self.client.poll(Duration::ZERO) {
            tracing::debug!("{error}");
        }
        let mut until = Deadline::after(timeout);
        while !self.has_something() {
            let left = until.rest();
            if left.is_zero() {
                return Ok(false);
            }
            self.bell.wait(left); // rings may be about what is no news here
        }
        Ok(true)
    }

    fn fetch_while(
        &mut self,
        partition: &TopicPartition,
        limit: FetchLimit,
        visit: &mut dyn FnMut(RawRecord<'_>) -> bool,
    ) -> Result<Fetched, LogError> {
        if self.client.context().has_said() {
            self.has_lost_one();
        }
        let state = self.assigned(partition)?;
        if state.paused {
            return Ok(Fetched { next_offset: state.next, end: state.end.max(state.next) });
        }
        if let Some(failure) = &state.failure {
            return Err(failure.clone());
        }
        match state.visit(partition, limit, visit) {
            Ok(()) => Ok(Fetched { next_offset: state.next, end: state.seen_end() }),
            Err(code) => {
                let failure = self.told(partition, code);
                if failure.kind() == ErrorKind::Retriable {
                    self.assigned(partition)?.held.pop_front(); // the client goes on by itself
                    return Err(failure);
                }
                self.assigned(partition)?.failure = Some(failure.clone());
                Err(failure)
            }
        }
    }

    fn begin_offsets(&mut self, partitions: &[TopicPartition]) -> Result<Vec<i64>, LogError> {
        let wanted: Vec<_> = partitions.iter().map(|partition| (partition.clone(), OffsetSpec::Begin)).collect();
        let found = self.offsets(&wanted, Isolation::ReadUncommitted)?;
        Ok(found.into_iter().map(|(offset, _)| offset).collect())
    }

    fn end_offsets(&mut self, partitions: &[TopicPartition], isolation: Isolation) -> Result<Vec<i64>, LogError> {
        if isolation == Isolation::ReadCommitted {
            let begins = self.begin_offsets(partitions)?;
            return self.stable_ends(partitions, &begins);
        }
        let found = self.offsets(&ends_of(partitions), isolation)?;
        Ok(found.into_iter().map(|(end, _)| end).collect())
    }

    fn offsets_for_times(&mut self, times: &[(TopicPartition, Timestamp)]) -> Result<Vec<Option<i64>>, LogError> {
        let wanted: Vec<_> = times.iter().map(|(partition, at)| (partition.clone(), OffsetSpec::Time(at.as_millis().max(0)))).collect();
        let found = self.offsets(&wanted, self.isolation)?;
        Ok(found.into_iter().map(|(offset, _)| (offset >= 0).then_some(offset)).collect())
    }
}

impl KafkaConsumer {
    /// What the client says of a partition that it stopped to fetch.
    fn told(&mut self, partition: &TopicPartition, code: RDKafkaErrorCode) -> LogError {
        let out_of_range = matches!(code, RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange);
        let Some(offset) = self.partitions.get(partition).map(|state| state.next).filter(|_| out_of_range) else {
            return offsets::explained(partition, code, &|topic| self.partition_count(topic));
        };
        let bounds = self.begin_offsets(std::slice::from_ref(partition)).and_then(|begin| {
            let end = self.end_offsets(std::slice::from_ref(partition), Isolation::ReadUncommitted)?;
            Ok((begin[0], end[0]))
        });
        match bounds {
            Ok((begin, end)) => LogError::OffsetOutOfRange { partition: partition.clone(), offset, begin, end },
            Err(error) => error,
        }
    }
}

/// Ending a client may wait for a broker that is gone, so it is done beside.
impl Drop for KafkaConsumer {
    fn drop(&mut self) {
        let (partitions, topics) = (std::mem::take(&mut self.partitions), std::mem::take(&mut self.topics));
        let client = self.client.clone();
        super::end_beside(move || {
            drop(partitions);
            drop(topics);
            // The last one to let go of it ends it, and that shall not be the thread that reads.
            while Arc::strong_count(&client) > 1 {
                let_others_go_on(Duration::from_millis(1));
            }
            drop(client);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_fetched_ahead_is_bounded_unless_somebody_knows_better() {
        let config = KafkaConfig::new("nowhere:1").within(ClientRoom { fetched: 256 << 10, ..ClientRoom::default() });
        let told = |config: &KafkaConfig, key: &str| {
            let role = role("read_committed", config.room());
            let role: Vec<_> = role.iter().map(|(key, value)| (*key, value.as_str())).collect();
            config.client("consumer", &role).unwrap().get(key).map(str::to_owned)
        };
        assert_eq!(told(&config, "queued.max.messages.kbytes").as_deref(), Some("256"));
        assert_eq!(told(&config, "fetch.message.max.bytes").as_deref(), Some("262144"));
        assert_eq!(told(&config.with("queued.max.messages.kbytes", "7"), "queued.max.messages.kbytes").as_deref(), Some("7"));
        assert_eq!(told(&KafkaConfig::new("nowhere:1"), "fetch.message.max.bytes").as_deref(), Some("1048576"));
    }
}
