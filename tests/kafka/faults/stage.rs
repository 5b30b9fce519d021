//! What the scripts share: topics, records and an application of their own on the broker of all.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use highwater::kafka::{Admin, Connect, Isolation, KafkaConfig, KafkaLog, NewTopic, Outgoing};
use highwater::{
    Clock, ErrorKind, Guarantee, Headers, Launch, RawRecord, Settings, State, Streams, StreamsBuilder, SystemClock, TaskFailure, Timestamp,
    Topic, TopicPartition, Topology,
};

use crate::broker::Broker;
use crate::reading;

/// How long anything may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(150);

/// The broker, and names and a folder that nobody else uses.
pub(super) struct Stage {
    pub(super) log: Arc<dyn Connect>,
    pub(super) application: String,
    bootstrap: String,
    folder: PathBuf,
}

/// A record as it was read.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Found {
    pub(super) partition: i32,
    pub(super) offset: i64,
    pub(super) key: Option<Vec<u8>>,
    pub(super) value: Option<Vec<u8>>,
    pub(super) timestamp: Timestamp,
    pub(super) headers: Headers,
}

impl Stage {
    /// None where there is no broker; that was said.
    pub(super) fn new(name: &str) -> Option<Stage> {
        Broker::shared().map(|broker| Stage::on(broker, name))
    }

    pub(super) fn on(broker: &Broker, name: &str) -> Stage {
        let log: Arc<dyn Connect> = Arc::new(KafkaLog::new(KafkaConfig::new(broker.bootstrap())));
        // A broker of `KAFKA_BOOTSTRAP` has seen earlier runs.
        let application = format!("{name}-{}-{}", std::process::id(), SystemClock.now().as_millis());
        let folder = folder_of(&application);
        Stage { log, application, bootstrap: broker.bootstrap().to_owned(), folder }
    }

    /// Where the broker is.
    pub(super) fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// Becomes the stage of another process.
    pub(super) fn become_application(&mut self, application: &str) {
        self.application = application.to_owned();
        self.folder = folder_of(application);
    }

    /// The full name of a topic.
    pub(super) fn name(&self, topic: &str) -> String {
        format!("{}-{topic}", self.application)
    }

    pub(super) fn topic<K: highwater::DefaultSerde, V: highwater::DefaultSerde>(&self, topic: &str) -> Topic<K, V> {
        Topic::named(self.name(topic))
    }

    pub(super) fn partition(&self, topic: &str, partition: i32) -> TopicPartition {
        TopicPartition::new(self.name(topic), partition)
    }

    pub(super) fn admin(&self) -> Box<dyn Admin> {
        self.log.admin().unwrap()
    }

    /// Makes topics of so many partitions, with settings.
    pub(super) fn make(&self, topic: &str, partitions: i32, settings: &[(&str, &str)]) {
        let new = settings.iter().fold(NewTopic::new(self.name(topic), partitions), |new, (key, value)| new.with(*key, *value));
        reading::made(&*self.log, &[new]);
    }

    pub(super) fn delete(&self, topic: &str) {
        reading::answered(PATIENCE, &mut || self.admin().delete_topics(&[&self.name(topic)]));
    }

    /// Deletes the records of a partition below an offset; all of them if none is said.
    pub(super) fn truncate(&self, topic: &str, partition: i32, below: Option<i64>) -> i64 {
        let of = self.partition(topic, partition);
        let below = below.unwrap_or_else(|| self.end(topic, partition));
        reading::answered(PATIENCE, &mut || self.admin().delete_records(&[(of.clone(), below)]))[0]
    }

    pub(super) fn end(&self, topic: &str, partition: i32) -> i64 {
        let mut consumer = self.log.consumer(Isolation::ReadUncommitted).unwrap();
        reading::answered(PATIENCE, &mut || consumer.end_offsets(&[self.partition(topic, partition)], Isolation::ReadUncommitted))[0]
    }

    /// Writes values under keys into one partition, all of this moment.
    pub(super) fn write(&self, topic: &str, partition: i32, records: &[(&str, &str)]) {
        let now = SystemClock.now();
        let raw: Vec<_> = records.iter().map(|(key, value)| (Some(key.as_bytes()), Some(value.as_bytes()), now)).collect();
        self.write_raw(topic, partition, &raw);
    }

    pub(super) fn write_raw(&self, topic: &str, partition: i32, records: &[(Option<&[u8]>, Option<&[u8]>, Timestamp)]) {
        let (mut producer, headers) = (self.log.producer().unwrap(), Headers::default());
        let records: Vec<_> = records
            .iter()
            .map(|(key, value, timestamp)| Outgoing { key: *key, value: *value, timestamp: *timestamp, headers: &headers })
            .collect();
        for chunk in records.chunks(500) {
            reading::answered(PATIENCE, &mut || producer.send(&self.partition(topic, partition), chunk));
        }
        let flushed = producer.flush(PATIENCE);
        assert!(flushed.failed.is_empty(), "{:?}", flushed.failed);
    }

    /// So many records with the keys `<prefix>0`, `<prefix>1` … in turn.
    pub(super) fn write_keys(&self, topic: &str, partition: i32, prefix: &str, records: usize, keys: usize) {
        let names: Vec<String> = (0..records).map(|number| format!("{prefix}{}", number % keys)).collect();
        self.write(topic, partition, &names.iter().map(|key| (key.as_str(), "x")).collect::<Vec<_>>());
    }

    /// Everything committed in a topic, partition by partition.
    pub(super) fn read(&self, topic: &str) -> Vec<Found> {
        let count = reading::answered(PATIENCE, &mut || self.admin().describe_topics(&[&self.name(topic)]))[0].partitions;
        let mut found = Vec::new();
        reading::committed(&*self.log, &self.name(topic), count, PATIENCE, &mut |raw| found.push(Found::of(&raw)));
        found
    }

    /// Counts in the output, per key in their order.
    pub(super) fn counts(&self, topic: &str) -> BTreeMap<String, Vec<i64>> {
        let mut counts: BTreeMap<String, Vec<i64>> = BTreeMap::new();
        for record in self.read(topic) {
            let count = i64::from_be_bytes(record.value.unwrap().try_into().unwrap());
            counts.entry(String::from_utf8(record.key.unwrap()).unwrap()).or_default().push(count);
        }
        counts
    }

    /// Exactly once, often, every update, with state on the disk.
    pub(super) fn settings(&self) -> Settings {
        let mut settings = Settings::new(self.application.clone());
        settings.guarantee = Guarantee::ExactlyOnce;
        settings.commit_interval = Duration::from_millis(50);
        settings.record_cache_bytes = 0;
        settings.changelog_every_write = true;
        settings.state_dir = Some(self.folder.clone());
        settings.session_timeout = Duration::from_secs(6);
        settings
    }

    /// Where the state of the application is.
    pub(super) fn state(&self) -> PathBuf {
        self.folder.join(&self.application)
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// `in`, counted by key, to `out`.
    pub(super) fn count(&self) -> Topology {
        let builder = StreamsBuilder::new();
        let counts = builder.stream(self.topic::<String, String>("in")).group_by_key().count("counts");
        counts.to_stream().map_values(Option::unwrap_or_default).to(self.topic::<String, i64>("out"));
        builder.build().unwrap()
    }

    /// An application that has counted `k0` and `k1` up to ten, and is stopped.
    pub(super) fn counted(name: &str) -> Option<Stage> {
        let stage = Stage::new(name)?;
        stage.make("in", 1, &[]);
        stage.make("out", 1, &[]);
        stage.write_keys("in", 0, "k", 20, 2);
        stage.run(&stage.count());
        assert_eq!(stage.counts("out")["k0"], one_to(10));
        Some(stage)
    }

    pub(super) fn start(&self, topology: &Topology) -> Streams {
        self.start_with(topology, self.settings())
    }

    pub(super) fn start_with(&self, topology: &Topology, settings: Settings) -> Streams {
        let end = Instant::now() + PATIENCE;
        loop {
            match Launch::new(topology, settings.clone(), self.log.clone()).start() {
                // A broker that has just started has to find its groups first.
                Err(error) if error.kind() == ErrorKind::Retriable && Instant::now() < end => thread::sleep(Duration::from_millis(200)),
                started => return started.unwrap(),
            }
        }
    }

    /// Why it does not start.
    pub(super) fn refused(&self, topology: &Topology) -> String {
        match Launch::new(topology, self.settings(), self.log.clone()).start() {
            Ok(_) => panic!("it starts"),
            Err(error) => error.to_string(),
        }
    }

    /// Runs to the end of what is there, and stops.
    pub(super) fn run(&self, topology: &Topology) -> u64 {
        finish(self.start(topology))
    }
}

fn folder_of(application: &str) -> PathBuf {
    std::env::temp_dir().join(format!("highwater-fault-{application}"))
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

impl Found {
    fn of(raw: &RawRecord<'_>) -> Self {
        Found {
            partition: raw.partition,
            offset: raw.offset,
            key: raw.key.map(<[u8]>::to_vec),
            value: raw.value.map(<[u8]>::to_vec),
            timestamp: raw.timestamp,
            headers: raw.headers.clone(),
        }
    }
}

/// Lets it run to the end of what is there, and stops it; gives the stores that were rebuilt.
pub(super) fn finish(streams: Streams) -> u64 {
    declare_end(&streams);
    let state = streams.wait(PATIENCE);
    assert_eq!(state, State::Finished, "{:?}\n{:?}", streams.errors(), streams.progress());
    streams.stop(PATIENCE).unwrap();
    streams.progress().rebuilt_stores
}

pub(super) fn declare_end(streams: &Streams) {
    until("the end is declared", || match streams.declare_end() {
        Ok(()) => true,
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Retriable, "{error}");
            false
        }
    });
}

/// Waits for something, and says what it waited for.
pub(super) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < end, "within {PATIENCE:?}: {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// Waits until records were taken.
pub(super) fn taken(streams: &Streams, records: u64) {
    until("records are taken", || {
        assert!(streams.errors().is_empty(), "{:?}", streams.errors());
        streams.progress().records_in >= records
    });
}

/// Waits until something has failed.
pub(super) fn failure(streams: &Streams) -> Arc<TaskFailure> {
    until("something fails", || !streams.errors().is_empty());
    streams.errors()[0].clone()
}

/// One to so many.
pub(super) fn one_to(last: i64) -> Vec<i64> {
    (1..=last).collect()
}

/// Waits until something has failed: with this kind, and these words.
pub(super) fn stops(streams: &Streams, kind: ErrorKind, words: &[&str]) -> Arc<TaskFailure> {
    let found = failure(streams);
    let text = found.error.to_string();
    assert_eq!(found.error.kind(), kind, "{text}");
    words.iter().for_each(|word| assert!(text.contains(word), "`{word}` is not in: {text}"));
    found
}
