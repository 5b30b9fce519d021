//! An application on a log and a clock of its own, whose threads run when they are told.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::{Clock, ManualClock};
use crate::config::{Guarantee, Settings};
use crate::kafka::{Connect, FetchLimit, Isolation, MemoryLog, NewTopic, Outgoing};
use crate::record::{Headers, TaskId, Timestamp, TopicPartition};
use crate::runtime::TaskGate;
use crate::runtime::board::Board;
use crate::runtime::internal_topics::prepare;
use crate::runtime::thread::{Crew, Round, StreamThread};
use crate::state::KeyValueStore;
use crate::topology::Topology;
use crate::watermark::CommitMetadata;

/// An application whose threads run when they are told.
pub(super) struct Rig {
    pub(super) log: MemoryLog,
    pub(super) clock: ManualClock,
    pub(super) topology: Topology,
    pub(super) settings: Settings,
    pub(super) board: Arc<Board>,
    pub(super) threads: Vec<StreamThread>,
    lives: usize,
    pub(super) gate: Option<Arc<dyn TaskGate>>,
    /// What the threads see in place of the log.
    pub(super) between: Option<Arc<dyn Connect>>,
}

impl Rig {
    pub(super) fn new(topology: Topology, partitions: i32) -> Self {
        Rig::with_clock(Rig::clock(), topology, partitions)
    }

    /// A clock for the topology to move.
    pub(super) fn clock() -> ManualClock {
        ManualClock::at(Timestamp::from_secs(1000))
    }

    pub(super) fn with_clock(clock: ManualClock, topology: Topology, partitions: i32) -> Self {
        let log = MemoryLog::new(Arc::new(clock.clone()));
        let topics = ["left", "right", "out"].map(|name| NewTopic::new(name, partitions));
        log.admin().unwrap().create_topics(&topics).unwrap();
        let mut settings = Settings::new("app");
        settings.commit_interval = Duration::from_millis(100);
        let board = board(&log, &topology);
        Rig { log, clock, topology, settings, board, threads: Vec::new(), lives: 0, gate: None, between: None }
    }

    pub(super) fn exactly_once(mut self) -> Self {
        self.settings.guarantee = Guarantee::ExactlyOnce;
        self
    }

    pub(super) fn start(mut self) -> Self {
        self.join();
        self
    }

    /// One more thread, which has not run yet.
    pub(super) fn join(&mut self) {
        let (number, settings) = (self.threads.len() % 9, Arc::new(self.settings.clone()));
        self.lives += 1;
        let process = match &settings.instance_id {
            Some(id) => id.as_ref().into(),
            None => format!("life-{}", self.lives).into(),
        };
        let log = self.between.clone().unwrap_or_else(|| Arc::new(self.log.clone()));
        let (topology, board) = (self.topology.clone(), self.board.clone());
        let clock = Arc::new(self.clock.clone());
        let crew = Crew { topology, settings, log, clock, board, process, gate: self.gate.clone() };
        self.threads.push(StreamThread::new(number, &crew, self.clock.now()).unwrap());
    }

    /// All threads die without a commit, and others take over.
    pub(super) fn crash(&mut self) {
        self.threads.clear();
        self.board = board(&self.log, &self.topology);
        self.join();
    }

    pub(super) fn write(&self, topic: &str, partition: i32, key: Option<&str>, value: &str, at: i64) {
        let (key, headers) = (key.map(str::as_bytes), Headers::default());
        let record = Outgoing { key, value: Some(value.as_bytes()), timestamp: Timestamp::from_millis(at), headers: &headers };
        self.log.producer().unwrap().send(&TopicPartition::new(topic, partition), &[record]).unwrap();
    }

    /// One round of each thread.
    pub(super) fn round(&mut self) -> bool {
        let now = self.clock.now();
        self.threads.iter_mut().fold(false, |worked, thread| worked | (thread.run_once(now, Duration::ZERO).unwrap() == Round::Worked))
    }

    /// Rounds until nothing happens without time.
    pub(super) fn settle(&mut self) {
        for _ in 0..200 {
            let worked = self.round();
            if !worked && !self.round() {
                return;
            }
        }
        panic!("still busy after 200 rounds");
    }

    /// Lets the commit interval pass.
    pub(super) fn commit(&mut self) {
        self.pass(100);
    }

    pub(super) fn pass(&mut self, millis: u64) {
        self.clock.advance(Duration::from_millis(millis));
        self.settle();
    }

    pub(super) fn read(&self, topic: &str) -> Vec<String> {
        let mut consumer = self.log.consumer(Isolation::ReadCommitted).unwrap();
        let count = self.log.producer().unwrap().partition_count(topic).unwrap();
        let mut values = Vec::new();
        for number in 0..count {
            let partition = TopicPartition::new(topic, number);
            let begin = consumer.begin_offsets(std::slice::from_ref(&partition)).unwrap()[0];
            consumer.assign(&[(partition.clone(), begin)]).unwrap();
            let mut visit = |raw: crate::record::RawRecord<'_>| {
                values.push(String::from_utf8_lossy(raw.value.unwrap_or(b"null")).into_owned());
            };
            consumer.fetch(&partition, FetchLimit { records: usize::MAX, bytes: usize::MAX }, &mut visit).unwrap();
        }
        values
    }

    pub(super) fn committed(&self, topic: &str, partition: i32) -> Option<(i64, CommitMetadata)> {
        let mut member = self.log.member("app", "looker", Isolation::ReadCommitted).unwrap();
        let position = member.committed(&[TopicPartition::new(topic, partition)]).unwrap().remove(0)?;
        Some((position.offset, CommitMetadata::decode(&position.metadata).unwrap()))
    }

    pub(super) fn count(&self, word: &str) -> Option<i64> {
        let views = self.threads.iter().flat_map(|thread| thread.tasks.values()).flat_map(|active| active.task.stores());
        let stores = views.filter(|store| &*store.name == "counts");
        let found = stores.filter_map(|store| {
            let handle = (store.handle)().downcast::<KeyValueStore<String, i64>>().unwrap();
            handle.get(&word.to_owned()).unwrap()
        });
        found.reduce(|a, b| a + b)
    }

    pub(super) fn owned(&self, thread: usize) -> Vec<String> {
        self.threads[thread].tasks.keys().map(TaskId::to_string).collect()
    }
}

fn board(log: &MemoryLog, topology: &Topology) -> Arc<Board> {
    let layout = prepare(&*log.admin().unwrap(), topology, "app").unwrap();
    Board::new(Arc::new(layout), 9, Vec::new(), Vec::new())
}
