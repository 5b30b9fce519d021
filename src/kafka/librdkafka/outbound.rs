//! What producers of both kinds are made of: a client, the topics it writes to, and a thread that drains what became of its records.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use hashbrown::HashMap;
use rdkafka::error::RDKafkaErrorCode;

use super::config::SignIn;
use super::deadline::Deadline;
use super::error::{about_partition, about_records, failed, said};
use super::native::{self, OutboundBatch, OutboundQueue, OutboundReport, OutboundTopic, Writer};
use super::{ANSWER_WITHIN, KafkaConfig, metadata};
use crate::clock::{Clock, SystemClock, let_others_go_on};
use crate::error::ErrorKind;
use crate::kafka::{Flushed, LogError, Outgoing};
use crate::record::{Timestamp, TopicPartition};

/// Until a record is given up, unless its transaction is given up earlier.
pub(super) const SEND_TIMEOUT: Duration = Duration::from_secs(9);

/// What every client that writes is told. Lingering is short, and a flush ends it: it only forms batches while records come.
const SETTINGS: [(&str, &str); 8] = [
    ("enable.idempotence", "true"),
    ("delivery.report.only.error", "true"), // what is acknowledged is counted
    ("acks", "all"),
    ("partitioner", "murmur2_random"),
    ("linger.ms", "5"),
    ("queue.buffering.max.messages", "1000000"),
    // What a topic takes is the topic's own matter.
    ("message.max.bytes", "1000000000"),
    ("topic.metadata.propagation.max.ms", "1000"),
];

/// How long a cluster that cannot be reached is asked for a topic, and how far apart: whoever asks has a record in hand, and may go back for it later.
const ASKED_FOR: Duration = Duration::from_secs(20);
const BETWEEN_QUESTIONS: Duration = Duration::from_millis(500);

/// Batches are not longer than this, nor longer than one record.
const BATCH_BYTES: usize = 1_000_000;

/// A client that writes, and what it knows.
pub(super) struct Outbound {
    topics: HashMap<Arc<str>, Topic>,
    batch: OutboundBatch,
    /// Sent and not yet told about.
    open: u64,
    /// Lost before they reached the client's queue, although earlier records of the same slice had.
    lost: BTreeMap<TopicPartition, LogError>,
    reports: Arc<Reports>,
    drain: Option<JoinHandle<()>>,
    client: Arc<Writer>,
    sign_in: SignIn,
}

struct Topic {
    handle: OutboundTopic,
    limits: Limits,
    /// Sent and not yet told about, by partition.
    open: Vec<u64>,
}

/// What a topic takes, as far as it may be known.
#[derive(Clone, Copy, Default)]
struct Limits {
    record_bytes: Option<usize>,
    compacts: bool,
    /// How far behind and ahead of the clock a record's time may be, where its time is kept at all.
    behind: Option<i64>,
    ahead: Option<i64>,
}

impl Outbound {
    /// A client with these settings beside those of all that write.
    pub(super) fn open(config: &KafkaConfig, more: &[(&str, &str)]) -> Result<Self, LogError> {
        let room = (config.room().sent >> 10).to_string();
        let room = ("queue.buffering.max.kbytes", room.as_str());
        let role: Vec<_> = SETTINGS.iter().chain(more).copied().chain([room]).collect();
        let mut settings = config.client("producer", &role)?;
        settings.set("batch.size", BATCH_BYTES.to_string());
        let client = Arc::new(native::open_writer(&settings).map_err(|error| failed("the producer", &error))?);
        let sign_in = SignIn::first(config, &client)?;
        sign_in.enlist(Arc::<Writer>::downgrade(&client));
        let reports = Arc::<Reports>::default();
        let (mut queue, told) = (OutboundQueue::of(&client), reports.clone());
        let drain = thread::Builder::new().name("highwater-reports".to_owned()).spawn(move || {
            while !told.over.load(Ordering::Acquire) {
                queue.serve(Duration::from_secs(1), &mut |report| told.note(&report));
                told.news.notify_all();
            }
        });
        let drain = drain.map_err(|error| LogError::Client { kind: ErrorKind::Internal, source: Arc::new(error.into()) })?;
        let (topics, batch) = (HashMap::new(), OutboundBatch::default());
        Ok(Outbound { topics, batch, open: 0, lost: BTreeMap::new(), reports, drain: Some(drain), client, sign_in })
    }

    pub(super) fn client(&self) -> &Writer {
        self.sign_in.renew(&self.client);
        &self.client
    }

    /// How many partitions a topic has now.
    pub(super) fn partition_count(&mut self, topic: &str) -> Result<i32, LogError> {
        let mut until = Deadline::after(ASKED_FOR);
        let count = loop {
            match metadata::partition_count(&self.client, topic) {
                Err(error) if error.kind() == ErrorKind::Retriable && !until.rest().is_zero() => let_others_go_on(BETWEEN_QUESTIONS),
                answer => break answer?,
            }
        };
        if let Some(known) = self.topics.get_mut(topic) {
            known.open.resize(usize::try_from(count).unwrap_or(0), 0);
        }
        Ok(count)
    }

    /// How large a record the topic takes, if that may be known.
    pub(super) fn largest_record(&mut self, topic: &str) -> Result<Option<usize>, LogError> {
        self.acquaint(&TopicPartition::new(topic, 0))?;
        Ok(self.topics.get(topic).and_then(|topic| topic.limits.record_bytes))
    }

    /// Makes sure that a partition is one that can be written to.
    fn acquaint(&mut self, partition: &TopicPartition) -> Result<(), LogError> {
        let has = |topic: &Topic| usize::try_from(partition.partition).is_ok_and(|n| n < topic.open.len());
        if self.topics.get(&partition.topic).is_some_and(has) {
            return Ok(());
        }
        // With the handle before the question, its answer brings the client to know the topic.
        let handle = OutboundTopic::new(&self.client, &partition.topic).map_err(|code| about_partition(partition, code))?;
        let count = self.partition_count(&partition.topic)?;
        if !self.topics.contains_key(&partition.topic) {
            let open = vec![0; usize::try_from(count).unwrap_or(0)];
            let limits = Limits::ask(&self.client, &partition.topic);
            self.topics.insert(partition.topic.clone(), Topic { handle, limits, open });
        }
        if self.topics.get(&partition.topic).is_some_and(has) {
            return Ok(());
        }
        Err(LogError::UnknownPartition { partition: partition.clone(), count })
    }

    pub(super) fn send(&mut self, partition: &TopicPartition, records: &[Outgoing<'_>]) -> Result<(), LogError> {
        self.sign_in.renew(&self.client);
        self.acquaint(partition)?;
        let Some(topic) = self.topics.get(&partition.topic) else { return Ok(()) };
        let limits = topic.limits;
        limits.check(partition, records)?;
        let mut sent = 0;
        while sent < records.len() {
            // The client makes batches without asking how large they may be there.
            let small = limits.record_bytes.filter(|limit| *limit < BATCH_BYTES);
            let slice = small.map_or(&records[sent..], |limit| prefix(&records[sent..], limit));
            let (taken, refused) = self.enqueue(partition, slice);
            sent += taken;
            match refused {
                Some(error) if sent == 0 => return Err(error),
                Some(error) => {
                    self.lost.entry(partition.clone()).or_insert(error);
                    return Ok(());
                }
                None => {}
            }
            if small.is_some() {
                native::outbound_flush(&self.client, SEND_TIMEOUT);
            }
        }
        Ok(())
    }

    /// Hands records to the client, and waits for room in its queue where there is none: how many it has taken, and why not all.
    fn enqueue(&mut self, partition: &TopicPartition, records: &[Outgoing<'_>]) -> (usize, Option<LogError>) {
        let Some(topic) = self.topics.get_mut(&partition.topic) else { return (0, None) };
        let (mut sent, mut waits) = (0, 0);
        loop {
            let (taken, refused) = topic.handle.send(partition.partition, &records[sent..], &mut self.batch);
            sent += taken;
            self.open += taken as u64;
            topic.open[usize::try_from(partition.partition).expect("looked at before")] += taken as u64;
            match refused {
                None => return (sent, None),
                Some(RDKafkaErrorCode::QueueFull) if waits < LONGEST_WAIT => {
                    waits = if taken == 0 { waits + 1 } else { 0 };
                    self.reports.wait(A_WAIT);
                }
                Some(code) => {
                    let error = about_records(partition, code);
                    if matches!(error, LogError::UnknownTopic(_)) && topic.open.iter().all(|open| *open == 0) {
                        self.topics.remove(&partition.topic);
                    }
                    return (sent, Some(error));
                }
            }
        }
    }

    pub(super) fn flush(&mut self, timeout: Duration) -> Flushed {
        let mut flushed = Flushed::default();
        if self.open == 0 && self.lost.is_empty() {
            return flushed;
        }
        let done = native::outbound_flush(&self.client, timeout);
        let mut lost = std::mem::take(&mut self.lost);
        for acked in self.client.acked() {
            let partition = TopicPartition::new(acked.topic(), acked.partition);
            self.settle(&partition, acked.count);
            flushed.acked.push((partition, acked.offset));
        }
        flushed.acked.sort_unstable();
        let told = std::mem::take(&mut *self.reports.told());
        for (partition, told) in told {
            self.settle(&partition, told.count);
            lost.entry(partition.clone()).or_insert_with(|| about_records(&partition, told.code));
        }
        if !done {
            for partition in self.still_open() {
                let error = said(&format!("`{partition}`"), RDKafkaErrorCode::OperationTimedOut);
                lost.entry(partition).or_insert(error);
            }
        }
        flushed.failed = lost.into_iter().collect();
        flushed
    }

    /// Whether there is anything that nobody has told about yet.
    pub(super) fn is_open(&self) -> bool {
        self.open > 0
    }

    /// Forgets everything sent: it has been purged.
    pub(super) fn forget(&mut self) {
        self.reports.told().clear();
        drop(self.client.acked());
        self.lost.clear();
        self.open = 0;
        self.topics.values_mut().for_each(|topic| topic.open.fill(0));
    }

    fn settle(&mut self, partition: &TopicPartition, count: u64) {
        self.open = self.open.saturating_sub(count);
        let topic = self.topics.get_mut(&partition.topic);
        let open = topic.and_then(|topic| topic.open.get_mut(usize::try_from(partition.partition).ok()?));
        open.into_iter().for_each(|open| *open = open.saturating_sub(count));
    }

    fn still_open(&self) -> Vec<TopicPartition> {
        let numbered = |topic: &Topic| topic.open.iter().zip(0..).filter(|(open, _)| **open > 0).map(|(_, n)| n).collect::<Vec<i32>>();
        let partitions =
            self.topics.iter().flat_map(|(name, topic)| numbered(topic).into_iter().map(|n| TopicPartition::new(name.clone(), n)));
        partitions.collect()
    }
}

impl Drop for Outbound {
    /// May wait for brokers that are gone: see [`end_beside`](super::end_beside).
    fn drop(&mut self) {
        self.reports.over.store(true, Ordering::Release);
        native::outbound_wake(&self.client);
        self.drain.take().map(JoinHandle::join);
    }
}

/// Waits for room in the queue of a client, and how many of them without any there may be: longer than records stay in it.
const A_WAIT: Duration = Duration::from_millis(10);
const LONGEST_WAIT: u32 = 2000;

/// The first of some records, as many as fit together.
fn prefix<'a, 'b>(records: &'a [Outgoing<'b>], limit: usize) -> &'a [Outgoing<'b>] {
    let mut bytes = 0;
    let fits = records.iter().take_while(|record| {
        bytes += record.size_on_wire();
        bytes <= limit
    });
    &records[..fits.count().clamp(1, records.len())]
}

impl Limits {
    /// What the cluster says. Who may not ask is told when a record is refused.
    fn ask(client: &Writer, topic: &str) -> Self {
        let settings = native::topic_settings(client, topic, ANSWER_WITHIN).unwrap_or_else(|code| {
            tracing::debug!(topic, "what the topic takes is not known: {code}");
            Vec::new()
        });
        let value = |name: &str| settings.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str());
        let kept = value("message.timestamp.type").is_some_and(|kind| kind == "CreateTime");
        let span = |name: &str| value(name).filter(|_| kept)?.parse().ok();
        Limits {
            behind: span("message.timestamp.before.max.ms"),
            ahead: span("message.timestamp.after.max.ms"),
            record_bytes: value("max.message.bytes").and_then(|bytes| bytes.parse().ok()),
            compacts: value("cleanup.policy").is_some_and(|policy| policy.contains("compact")),
        }
    }

    /// The broker would refuse the whole batch, and say so when nobody can tell any more whose record it was.
    fn wrong_time(self, timestamp: Timestamp, now: Timestamp) -> Option<&'static str> {
        let age = now.as_millis().saturating_sub(timestamp.as_millis());
        match timestamp.as_millis() {
            ..0 => Some("a record's time cannot be negative"),
            _ if self.behind.is_some_and(|most| age > most) => Some("older than the topic's `message.timestamp.before.max.ms`"),
            _ if self.ahead.is_some_and(|most| age < -most) => Some("further ahead than the topic's `message.timestamp.after.max.ms`"),
            _ => None,
        }
    }

    fn check(self, partition: &TopicPartition, records: &[Outgoing<'_>]) -> Result<(), LogError> {
        let now = SystemClock.now();
        for (index, record) in records.iter().enumerate() {
            if let Some(reason) = self.wrong_time(record.timestamp, now) {
                return Err(LogError::InvalidTimestamp { partition: partition.clone(), index, timestamp: record.timestamp, reason });
            }
            if record.key.is_none() && self.compacts {
                return Err(LogError::KeyMissing { partition: partition.clone(), index });
            }
            let bytes = record.size_on_wire();
            if let Some(limit) = self.record_bytes.filter(|limit| bytes > *limit) {
                return Err(LogError::RecordTooLarge { partition: partition.clone(), index, bytes, limit });
            }
        }
        Ok(())
    }
}

/// What was lost, until a flush asks.
#[derive(Default)]
struct Reports {
    told: Mutex<BTreeMap<TopicPartition, Told>>,
    news: Condvar,
    over: AtomicBool,
}

/// How many records of one partition were lost, and the first reason.
#[derive(Debug)]
struct Told {
    count: u64,
    code: RDKafkaErrorCode,
}

impl Reports {
    fn told(&self) -> MutexGuard<'_, BTreeMap<TopicPartition, Told>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, report: &OutboundReport<'_>) {
        let told = Told { count: 0, code: report.code };
        self.told().entry(TopicPartition::new(report.topic, report.partition)).or_insert(told).count += report.count;
    }

    /// Waits for anything new.
    fn wait(&self, at_most: Duration) {
        drop(self.news.wait_timeout(self.told(), at_most));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Headers;

    #[test]
    fn times_that_a_topic_does_not_take_are_refused_before_they_are_sent() {
        let limits = Limits { behind: Some(i64::MAX), ahead: Some(3_600_000), ..Limits::default() };
        let (at, now) = (Timestamp::from_millis, Timestamp::from_millis(10_000_000));
        assert_eq!([at(0), at(10_000_000), at(13_600_000)].map(|time| limits.wrong_time(time, now)), [None; 3]);
        assert!(limits.wrong_time(at(13_600_001), now).unwrap().contains("after.max"));
        assert!(limits.wrong_time(at(-1), now).unwrap().contains("negative"));
        let narrow = Limits { behind: Some(5), ..limits };
        assert!(narrow.wrong_time(at(9_999_994), now).unwrap().contains("before.max"));
        assert_eq!(Limits::default().wrong_time(at(i64::MAX), now), None, "nobody said what it takes");
    }

    /// One broker after the other says that the transaction is another one's now, and the client ends at the first word. While it ended the library freed the
    /// words of that error, and once more as it heard the next broker: glibc ended the process ("unaligned tcache chunk detected").
    #[test]
    fn a_client_that_is_fenced_by_many_brokers_ends_in_peace() {
        use rdkafka::mocking::{MockCluster, MockCoordinator};
        use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr::RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH};
        const BROKERS: i32 = 40;
        let cluster = MockCluster::new(BROKERS).expect("a cluster");
        cluster.create_topic("t", BROKERS, 1).expect("a topic");
        cluster.coordinator(MockCoordinator::Transaction("x".to_owned()), 1).expect("a coordinator");
        (0..BROKERS).for_each(|number| cluster.partition_leader("t", number, Some(number + 1)).expect("a leader"));
        let config = KafkaConfig::new(cluster.bootstrap_servers());
        for broker in 1..=BROKERS {
            cluster.broker_round_trip_time(broker, Duration::from_millis(broker.unsigned_abs().into()) / 5).expect("a delay");
        }
        for _ in 0..4 {
            let mut outbound = open_in_a_transaction(&config);
            cluster.request_errors(RDKafkaApiKey::Produce, &[RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH; BROKERS as usize]);
            let headers = Headers::default();
            for number in 0..BROKERS {
                let record = Outgoing { key: None, value: Some(b"v"), timestamp: Timestamp::from_millis(1), headers: &headers };
                let (taken, refused) = outbound.enqueue(&TopicPartition::new("t", number), &[record]);
                assert!(taken == 1 && refused.is_none(), "{refused:?}");
            }
            let mut until = Deadline::after(Duration::from_secs(60));
            while native::outbound_fatal(&outbound.client).is_none() {
                assert!(!until.rest().is_zero(), "no broker has said that it is fenced");
            }
            drop(outbound);
            cluster.clear_request_errors(RDKafkaApiKey::Produce);
        }
    }

    /// A client that knows the topic `t`. What that takes is not asked: those brokers do not say.
    fn open_in_a_transaction(config: &KafkaConfig) -> Outbound {
        let settings = [("transactional.id", "x"), ("transaction.timeout.ms", "60000"), ("message.timeout.ms", "50000")];
        let mut outbound = Outbound::open(config, &settings).expect("a client");
        let handle = OutboundTopic::new(&outbound.client, "t").expect("a handle");
        let open = vec![0; 40];
        outbound.topics.insert("t".into(), Topic { handle, limits: Limits::default(), open });
        for step in [native::OutboundStep::Init, native::OutboundStep::Begin] {
            native::outbound_step(&outbound.client, step, Duration::from_secs(60)).unwrap_or_else(|error| panic!("{}", error.text));
        }
        outbound
    }
}
