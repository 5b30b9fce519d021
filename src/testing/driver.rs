//! A topology without a broker: piped records run to their end, time moves by hand.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::config::Settings;
use crate::dsl::Topic;
use crate::error::{Error, ErrorKind, Place};
use crate::processor::Staged;
use crate::record::{Data, Headers, RawRecord, Record, Timestamp};
use crate::runtime::task::{Task, TaskParts};
use crate::serdes::{Role, SharedSerde, Slot};
use crate::state::{CacheBudget, MemoryBackend, Store, StoreRef};
use crate::testing::capture::{Capture, RawOutput};
use crate::testing::heap::QueueHeap;
use crate::topology::Topology;

/// Drives a topology by hand: one task for all of it, one partition per topic, a commit after every record.
///
/// A piped record goes into its topic's queue and is processed to the very end, through repartition topics too, before
/// `pipe` returns. Record caches are flushed after each record, so they show only where one record writes a key twice.
/// Wall-clock time moves by [`advance_wall_clock`](Self::advance_wall_clock) alone.
///
/// Not simulated: several partitions (but in bounded mode, see [`partitions`](Self::partitions)), rebalances, transactions,
/// restoring from changelogs.
///
/// ```
/// use highwater::{StreamsBuilder, Timestamp, Topic, TopologyTestDriver};
///
/// const LINES: Topic<String, String> = Topic::new("lines");
/// const WORDS: Topic<String, i64> = Topic::new("words");
///
/// let builder = StreamsBuilder::new();
/// builder
///     .stream(LINES)
///     .flat_map_values(|line| line.split(' ').map(str::to_owned).collect::<Vec<_>>())
///     .group_by(|_, word| word.clone())
///     .count("word-counts")
///     .to(WORDS);
///
/// let mut driver = TopologyTestDriver::new(&builder.build()?);
/// driver.pipe(&LINES, "k".to_owned(), "to be or not to be".to_owned(), Timestamp::from_secs(1))?;
/// let counts = driver.read_all(&WORDS);
/// assert_eq!(counts.last(), Some(&("be".to_owned(), 2)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct TopologyTestDriver {
    topology: Topology,
    task: Task,
    capture: Capture,
    queues: Vec<Queue>,
    by_topic: HashMap<Arc<str>, usize>,
    heap: QueueHeap,
    wall_clock: Timestamp,
    outputs: BTreeMap<Arc<str>, VecDeque<RawOutput>>,
}

/// Records on their way into one input of the task.
struct Queue {
    records: VecDeque<RawOutput>,
    next_offset: i64,
    /// Its head is decoded and in the heap.
    ready: bool,
}

impl TopologyTestDriver {
    /// Default settings, application id `app`, wall clock at the epoch.
    ///
    /// # Panics
    /// If a processor's `init` fails; [`with_settings`](Self::with_settings) returns that instead.
    pub fn new(topology: &Topology) -> Self {
        Self::with_settings(topology, &Settings::new("app"), Timestamp::from_millis(0)).expect("the processors initialise")
    }

    /// With settings of its own, and the wall clock at `now`.
    ///
    /// # Errors
    /// If a processor's `init` fails.
    pub fn with_settings(topology: &Topology, settings: &Settings, now: Timestamp) -> Result<Self, Error> {
        let capture = Capture::new(0, BTreeMap::new());
        let all: Vec<usize> = (0..topology.plan().subtopologies.len()).collect();
        let mut task = Task::new(TaskParts {
            topology,
            subtopologies: &all,
            settings,
            cache: Arc::new(CacheBudget::new(settings.record_cache_bytes)),
            output: Box::new(capture.clone()),
            partitions: &|_| vec![0],
            backends: &mut |_| Box::new(MemoryBackend::default()),
            now,
        });
        task.init()?;
        let topics: Vec<Arc<str>> = task.inputs().map(|input| input.topic.clone()).collect();
        let queues = topics.iter().map(|_| Queue { records: VecDeque::new(), next_offset: 0, ready: false }).collect();
        let by_topic = topics.into_iter().enumerate().map(|(index, topic)| (topic, index)).collect();
        Ok(TopologyTestDriver {
            topology: topology.clone(),
            task,
            capture,
            queues,
            by_topic,
            heap: QueueHeap::default(),
            wall_clock: now,
            outputs: BTreeMap::new(),
        })
    }

    /// The topology under test.
    pub fn topology(&self) -> &Topology {
        &self.topology
    }

    /// Pipes one record with the timestamp the log would carry.
    ///
    /// # Errors
    /// If a source does not read the topic, a serde refuses key or value, or processing fails under [`OnError::Fail`](crate::OnError::Fail).
    pub fn pipe<K: Data, V: Data>(&mut self, topic: &Topic<K, V>, key: K, value: V, at: Timestamp) -> Result<(), Error> {
        let (key_serde, value_serde) = topic.serdes();
        let mut headers = Headers::default();
        let key = encode(&key_serde, &key, topic.name(), Role::Key, &mut headers)?;
        let value = encode(&value_serde, &value, topic.name(), Role::Value, &mut headers)?;
        self.pipe_bytes(topic.name(), key.as_deref(), value.as_deref(), at, headers)
    }

    /// Pipes bytes as they might lie in the log, however wrong.
    ///
    /// # Errors
    /// As [`pipe`](Self::pipe); and if the timestamp is negative, which no log accepts.
    pub fn pipe_bytes(
        &mut self,
        topic: &str,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        at: Timestamp,
        headers: Headers,
    ) -> Result<(), Error> {
        let Some(&queue) = self.by_topic.get(topic) else {
            return Err(refused(
                topic,
                format!("no source reads the topic `{topic}`: the sources are {}", self.topology.source_topics().join(", ")),
            ));
        };
        if at < Timestamp::from_millis(0) {
            return Err(refused(topic, format!("timestamp {at}: a record in the log cannot have a negative one")));
        }
        let record = RawOutput {
            topic: topic.into(),
            partition: 0,
            key: key.map(<[u8]>::to_vec),
            value: value.map(<[u8]>::to_vec),
            timestamp: Some(at),
            headers,
        };
        self.enqueue(queue, record)?;
        self.run_all()
    }

    /// Moves the wall clock: due wall-clock schedules fire once each.
    ///
    /// # Errors
    /// If processing fails.
    pub fn advance_wall_clock(&mut self, by: Duration) -> Result<(), Error> {
        self.wall_clock = self.wall_clock + by;
        self.task.advance(self.wall_clock)?;
        self.commit()?;
        self.run_all()
    }

    fn enqueue(&mut self, queue: usize, record: RawOutput) -> Result<(), Error> {
        self.queues[queue].records.push_back(record);
        self.make_ready(queue)
    }

    /// Decodes records of a queue until one is the head; dropped ones are dealt with.
    fn make_ready(&mut self, queue: usize) -> Result<(), Error> {
        let Queue { records, next_offset, ready } = &mut self.queues[queue];
        while let Some(record) = records.front().filter(|_| !*ready) {
            let raw = RawRecord {
                topic: &record.topic,
                partition: 0,
                offset: *next_offset,
                key: record.key.as_deref(),
                value: record.value.as_deref(),
                timestamp: record.timestamp.unwrap_or(Timestamp::UNKNOWN),
                headers: &record.headers,
            };
            let staged = self.task.stage(queue, raw);
            *next_offset += 1;
            records.pop_front();
            if let Staged::Ready(at) = staged? {
                *ready = true;
                self.heap.push(at, queue);
            }
        }
        Ok(())
    }

    /// Takes the queue with the smallest head, again and again, until all are empty.
    fn run_all(&mut self) -> Result<(), Error> {
        self.collect()?;
        while let Some(queue) = self.heap.pop() {
            self.queues[queue].ready = false;
            self.task.run(queue)?;
            self.commit()?;
            self.make_ready(queue)?;
            self.collect()?;
        }
        Ok(())
    }

    fn commit(&mut self) -> Result<(), Error> {
        self.task.flush()?;
        self.task.apply(&|_| None)
    }

    /// What the task sent goes to the outputs, and back into the topology where it reads the topic.
    fn collect(&mut self) -> Result<(), Error> {
        for record in self.capture.take() {
            let queue = self.by_topic.get(&record.topic).copied();
            self.outputs.entry(record.topic.clone()).or_default().push_back(record.clone());
            if let Some(queue) = queue {
                self.enqueue(queue, record)?;
            }
        }
        Ok(())
    }

    /// The next record written to the topic.
    ///
    /// # Panics
    /// If its bytes are not what the topic's serdes write: the test reads another topic than the topology writes.
    pub fn read<K: Data, V: Data>(&mut self, topic: &Topic<K, V>) -> Option<Record<K, V>> {
        let out = self.outputs.get_mut(topic.name())?.pop_front()?;
        let (key_serde, value_serde) = topic.serdes();
        let key = decode(&key_serde, out.key.as_deref(), topic.name(), Role::Key, &out.headers);
        let value = decode(&value_serde, out.value.as_deref(), topic.name(), Role::Value, &out.headers);
        Some(Record { key, value, timestamp: out.timestamp.unwrap_or(Timestamp::UNKNOWN), headers: out.headers })
    }

    /// Everything written to the topic so far, as pairs.
    pub fn read_all<K: Data, V: Data>(&mut self, topic: &Topic<K, V>) -> Vec<(K, V)> {
        std::iter::from_fn(|| self.read(topic)).map(|record| (record.key, record.value)).collect()
    }

    /// Everything written to the topic since the last call, as bytes. Changelogs and repartition topics are topics like any other.
    pub fn take_records(&mut self, topic: &str) -> Vec<RawOutput> {
        self.outputs.get_mut(topic).map(|records| records.drain(..).collect()).unwrap_or_default()
    }

    /// Names of the topics with records that were not read yet.
    pub fn produced_topics(&self) -> Vec<String> {
        self.outputs.iter().filter(|(_, records)| !records.is_empty()).map(|(topic, _)| topic.to_string()).collect()
    }

    /// A store, for reading; none if no store has that name or it has another type.
    pub fn store<S: Store>(&self, store: &StoreRef<S>) -> Option<S::View> {
        let name = store.name()?;
        let store = self.task.stores().iter().find(|candidate| *candidate.name == *name)?;
        (store.handle)().downcast::<S>().ok().map(|handle| handle.view())
    }

    /// How many records a store holds, whatever its type; none if no store has that name.
    pub fn store_len(&self, name: &str) -> Option<usize> {
        let store = self.task.stores().iter().find(|candidate| *candidate.name == *name)?;
        Some(store.control.approximate_rows())
    }

    /// Records dropped so far: null keys, late ones (per window), undecodable or skipped ones.
    pub fn dropped_records(&self) -> u64 {
        self.task.counters().dropped.load(Ordering::Relaxed)
    }

    /// (record, window) pairs that came after the window had closed.
    pub fn late_records(&self) -> u64 {
        self.task.counters().late.load(Ordering::Relaxed)
    }
}

fn refused(topic: &str, reason: String) -> Error {
    let place = Place { topic: Some(topic.to_owned()), ..Place::default() };
    Error::new(ErrorKind::InvalidConfig, place, reason.into())
}

fn encode<T: 'static>(serde: &SharedSerde<T>, value: &T, topic: &str, role: Role, headers: &mut Headers) -> Result<Option<Vec<u8>>, Error> {
    if serde.is_null(value) {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    let written = serde.serialize(value, Slot { topic, role }, headers, &mut bytes);
    written.map_err(|error| Error::new(ErrorKind::Serde, Place { topic: Some(topic.to_owned()), ..Place::default() }, error.into()))?;
    Ok(Some(bytes))
}

fn decode<T: 'static>(serde: &SharedSerde<T>, bytes: Option<&[u8]>, topic: &str, role: Role, headers: &Headers) -> T {
    let decoded = match bytes {
        Some(bytes) => serde.deserialize(bytes, Slot { topic, role }, headers),
        None => serde.deserialize_null(),
    };
    decoded.unwrap_or_else(|error| panic!("a record in `{topic}` does not read back with the topic's serdes: {error}"))
}
