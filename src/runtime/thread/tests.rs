//! Rounds of threads, called by hand, on a log and a clock of their own.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::clock::{Clock, ManualClock};
use crate::dsl::{Consumed, StreamsBuilder, Topic};
use crate::error::{BoxError, ErrorKind};
use crate::kafka::{FetchLimit, MemoryLog, NewTopic, Outgoing, TaskInputs};
use crate::processor::{Context, Processor, Punctuate, Timer};
use crate::record::{Headers, Record, TopicPartition};
use crate::runtime::internal_topics::prepare;
use crate::state::{KeyValueStore, StoreRef};
use crate::watermark::{CommitMetadata, entry};
use crate::window::{EmitStrategy, TimeWindows, Watermark};

const LEFT: Topic<String, String> = Topic::new("left");
const RIGHT: Topic<String, String> = Topic::new("right");
const OUT: Topic<String, String> = Topic::new("out");
const COUNTS: StoreRef<KeyValueStore<String, i64>> = StoreRef::new("counts");

/// An application whose threads run when they are told.
struct Rig {
    log: MemoryLog,
    clock: ManualClock,
    topology: Topology,
    settings: Settings,
    board: Arc<Board>,
    threads: Vec<StreamThread>,
}

impl Rig {
    fn new(topology: Topology, partitions: i32) -> Self {
        let clock = ManualClock::at(Timestamp::from_secs(1000));
        let log = MemoryLog::new(Arc::new(clock.clone()));
        let topics = ["left", "right", "out"].map(|name| NewTopic::new(name, partitions));
        log.admin().unwrap().create_topics(&topics).unwrap();
        let mut settings = Settings::new("app");
        settings.commit_interval = Duration::from_millis(100);
        let board = board(&log, &topology);
        Rig { log, clock, topology, settings, board, threads: Vec::new() }
    }

    fn start(mut self) -> Self {
        self.join();
        self
    }

    /// One more thread, which has not run yet.
    fn join(&mut self) {
        let (number, settings) = (self.threads.len(), Arc::new(self.settings.clone()));
        let thread = StreamThread::new(number, &self.topology, &settings, &self.log, &self.board, self.clock.now()).unwrap();
        self.threads.push(thread);
    }

    /// All threads die without a commit, and others take over.
    fn crash(&mut self) {
        self.threads.clear();
        self.board = board(&self.log, &self.topology);
        self.join();
    }

    fn write(&self, topic: &str, partition: i32, key: Option<&str>, value: &str, at: i64) {
        let (key, headers) = (key.map(str::as_bytes), Headers::default());
        let record = Outgoing { key, value: Some(value.as_bytes()), timestamp: Timestamp::from_millis(at), headers: &headers };
        self.log.producer().unwrap().send(&TopicPartition::new(topic, partition), &[record]).unwrap();
    }

    /// One round of each thread.
    fn round(&mut self) -> bool {
        let now = self.clock.now();
        self.threads.iter_mut().fold(false, |worked, thread| worked | (thread.run_once(now, Duration::ZERO).unwrap() == Round::Worked))
    }

    /// Rounds until nothing happens without time.
    fn settle(&mut self) {
        for _ in 0..200 {
            let worked = self.round();
            if !worked && !self.round() {
                return;
            }
        }
        panic!("still busy after 200 rounds");
    }

    /// Lets the commit interval pass.
    fn commit(&mut self) {
        self.pass(100);
    }

    fn pass(&mut self, millis: u64) {
        self.clock.advance(Duration::from_millis(millis));
        self.settle();
    }

    fn read(&self, topic: &str) -> Vec<String> {
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

    fn committed(&self, topic: &str, partition: i32) -> Option<(i64, CommitMetadata)> {
        let mut member = self.log.member("app", "looker", Isolation::ReadCommitted).unwrap();
        let position = member.committed(&[TopicPartition::new(topic, partition)]).unwrap().remove(0)?;
        Some((position.offset, CommitMetadata::decode(&position.metadata).unwrap()))
    }

    fn count(&self, word: &str) -> Option<i64> {
        let views = self.threads.iter().flat_map(|thread| thread.tasks.values()).flat_map(|active| active.task.stores());
        let stores = views.filter(|store| &*store.name == "counts");
        let found = stores.filter_map(|store| {
            let handle = (store.handle)().downcast::<KeyValueStore<String, i64>>().unwrap();
            handle.get(&word.to_owned()).unwrap()
        });
        found.reduce(|a, b| a + b)
    }

    fn owned(&self, thread: usize) -> Vec<String> {
        self.threads[thread].tasks.keys().map(TaskId::to_string).collect()
    }
}

fn board(log: &MemoryLog, topology: &Topology) -> Arc<Board> {
    let layout = prepare(&*log.admin().unwrap(), topology, "app").unwrap();
    Board::new(Arc::new(layout), 9, Vec::new(), Vec::new())
}

/// Counts keys.
fn counting() -> Topology {
    let builder = StreamsBuilder::new();
    builder.stream(LEFT).group_by_key().count(COUNTS);
    builder.build().unwrap()
}

/// Copies, and fails at the word `boom`.
fn copying() -> Topology {
    let builder = StreamsBuilder::new();
    let checked = builder.stream(LEFT).map_values(|value| if value == "boom" { panic!("no such word") } else { value });
    checked.to(OUT);
    builder.build().unwrap()
}

/// Two topics into one.
fn merging() -> Topology {
    let builder = StreamsBuilder::new();
    builder.stream(LEFT).merge(&builder.stream(RIGHT)).to(OUT);
    builder.build().unwrap()
}

#[test]
fn a_crash_repeats_what_was_not_committed_and_nothing_else() {
    let mut rig = Rig::new(copying(), 1).start();
    rig.settle();
    rig.write("left", 0, Some("k"), "a", 1);
    rig.settle();
    rig.commit();
    rig.write("left", 0, Some("k"), "b", 2);
    rig.settle();
    assert_eq!((rig.read("out"), rig.committed("left", 0).unwrap().0), (vec!["a".to_owned(), "b".to_owned()], 1));
    rig.crash();
    rig.settle();
    assert_eq!(rig.read("out"), ["a", "b", "b"], "at least once");
    rig.commit();
    assert_eq!(rig.committed("left", 0).unwrap().0, 2);
}

#[test]
fn state_is_restored_to_the_end_of_its_changelog_before_anything_runs() {
    let mut rig = Rig::new(counting(), 2).start();
    rig.settle();
    for n in 0..5 {
        rig.write("left", n % 2, Some("a"), "x", n.into());
    }
    rig.settle();
    rig.commit();
    assert_eq!(rig.count("a"), Some(5));
    rig.crash();
    rig.write("left", 0, Some("a"), "x", 9);
    rig.settle();
    assert_eq!(rig.count("a"), Some(6));
    rig.commit();
    let offsets: Vec<Option<i64>> =
        rig.threads[0].tasks.values().flat_map(|active| active.task.stores()).map(|store| store.control.offset()).collect();
    assert_eq!(offsets, [Some(2), Some(1)], "one changelog record per commit, and the store knows where it stands");
}

#[test]
fn the_lowest_timestamp_goes_first() {
    let mut rig = Rig::new(merging(), 1).start();
    rig.settle();
    for (topic, value, at) in [("left", "l1", 1), ("left", "l4", 4), ("right", "r2", 2), ("right", "r3", 3), ("right", "r5", 5)] {
        rig.write(topic, 0, Some("k"), value, at);
    }
    rig.settle();
    assert_eq!(rig.read("out"), ["l1", "r2", "r3", "l4", "r5"]);
    rig.commit();
    assert_eq!(rig.committed("right", 0).unwrap().0, 3);
}

#[test]
fn a_caught_up_input_is_waited_for_as_long_as_the_setting_says() {
    let mut rig = Rig::new(merging(), 1);
    rig.settings.max_task_idle = Duration::from_millis(500);
    let mut rig = rig.start();
    rig.settle();
    rig.write("left", 0, Some("k"), "l5", 5);
    rig.settle();
    rig.pass(499);
    assert_eq!(rig.read("out"), [""; 0]);
    assert_eq!(rig.committed("left", 0).unwrap().0, 0, "what waits in hand is not committed");
    rig.write("right", 0, Some("k"), "r3", 3);
    rig.settle();
    assert_eq!(rig.read("out"), ["r3"]);
    rig.pass(499);
    assert_eq!(rig.read("out"), ["r3"], "the wait begins anew");
    rig.write("left", 0, Some("k"), "l6", 6);
    assert!(!rig.threads[0].member.poll(Duration::ZERO).unwrap(), "what cannot be taken yet ends no poll");
    rig.pass(1);
    assert_eq!(rig.read("out"), ["r3", "l5"]);
    rig.pass(500);
    assert_eq!(rig.read("out"), ["r3", "l5", "l6"]);
}

#[test]
fn a_panic_stops_its_task_and_no_other() {
    let mut rig = Rig::new(copying(), 2).start();
    rig.settle();
    for (partition, value) in [(0, "a"), (1, "b"), (0, "boom"), (0, "c"), (1, "d")] {
        rig.write("left", partition, Some("k"), value, 1);
    }
    rig.settle();
    rig.commit();
    rig.write("left", 1, Some("k"), "e", 2);
    rig.settle();
    rig.commit();
    let mut out = rig.read("out");
    out.sort();
    assert_eq!(out, ["b", "d", "e"], "what the failed task had in hand is not committed, and comes again once it can run");
    let failures = rig.board.facts().failures.clone();
    assert_eq!(failures.len(), 1);
    assert_eq!((failures[0].task.map(|task| task.to_string()), failures[0].error.kind()), (Some("0_0".to_owned()), ErrorKind::Panic));
    assert_eq!(failures[0].error.place().offset, Some(1));
    assert_eq!(rig.committed("left", 0).map(|(offset, _)| offset).unwrap_or(0), 0, "the failed task is not committed any more");
    assert_eq!(rig.committed("left", 1).unwrap().0, 3);
}

#[test]
fn tasks_move_to_a_new_thread_without_loss_or_repetition() {
    let mut rig = Rig::new(counting(), 2).start();
    rig.settle();
    rig.write("left", 0, Some("a"), "x", 1);
    rig.write("left", 1, Some("a"), "x", 1);
    rig.settle();
    assert_eq!(rig.owned(0), ["0_0", "0_1"]);
    rig.join();
    rig.settle();
    rig.settle();
    assert_eq!((rig.owned(0).len(), rig.owned(1).len()), (1, 1));
    rig.write("left", 0, Some("a"), "x", 2);
    rig.write("left", 1, Some("a"), "x", 2);
    rig.settle();
    assert_eq!(rig.count("a"), Some(4));
    assert_eq!(Progress::taken(&rig), 4, "no record was taken twice");
}

/// Records taken since the start, over all tasks that ever were.
struct Progress;
impl Progress {
    fn taken(rig: &Rig) -> u64 {
        crate::runtime::Progress::of(&rig.board.facts()).records_in
    }
}

#[test]
fn an_expelled_thread_forgets_and_joins_again() {
    let mut rig = Rig::new(counting(), 1).start();
    rig.settle();
    rig.write("left", 0, Some("a"), "x", 1);
    rig.settle();
    let member = rig.threads[0].member.token().member;
    assert!(rig.log.expel("app", &member));
    rig.settle();
    assert_ne!(rig.threads[0].member.token().member, member);
    assert_eq!((rig.owned(0), rig.count("a")), (vec!["0_0".to_owned()], Some(1)), "read again from the last commit");
    rig.commit();
    assert_eq!(rig.committed("left", 0).unwrap().0, 1);
}

#[test]
fn a_commit_that_is_fenced_writes_nothing() {
    let mut rig = Rig::new(counting(), 1).start();
    rig.settle();
    rig.write("left", 0, Some("a"), "x", 1);
    rig.settle();
    let member = rig.threads[0].member.token().member;
    assert!(rig.log.expel("app", &member));
    let now = rig.clock.now() + Duration::from_secs(1);
    let refused = rig.threads[0].commit(Due::Interval, now).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Fenced);
    assert_eq!(rig.committed("left", 0).map(|(offset, _)| offset).unwrap_or(0), 0);
}

#[test]
fn too_much_uncommitted_state_commits_early() {
    let mut rig = Rig::new(counting(), 1);
    rig.settings.commit_interval = Duration::from_secs(3600);
    rig.settings.uncommitted_bytes = 500;
    rig.settings.record_cache_bytes = 0;
    let mut rig = rig.start();
    rig.settle();
    rig.write("left", 0, Some("a"), "x", 1);
    rig.settle();
    assert_eq!(rig.read("app-counts-changelog"), [""; 0]);
    (0..20).for_each(|n| rig.write("left", 0, Some(&format!("key-{n}")), "x", 1));
    rig.settle();
    assert_eq!(rig.read("app-counts-changelog").len(), 21);
    assert_eq!(rig.committed("left", 0).unwrap().0, 21);
}

#[test]
fn partition_time_and_watermark_are_committed_and_taken_over() {
    let builder = StreamsBuilder::new();
    let source = Consumed::with(LEFT).watermark(Watermark::bounded(Duration::from_millis(10)));
    builder.stream(source).to(OUT);
    let mut rig = Rig::new(builder.build().unwrap(), 1).start();
    rig.settle();
    rig.write("left", 0, Some("k"), "x", 500);
    rig.settle();
    rig.commit();
    let (_, metadata) = rig.committed("left", 0).unwrap();
    assert_eq!(metadata.partition_time, Some(Timestamp::from_millis(500)));
    assert_eq!(metadata.time(entry::CLOCK), Some(Timestamp::from_millis(500)));
    assert_eq!(metadata.time(entry::WATERMARK), Some(Timestamp::from_millis(490)));
    rig.crash();
    rig.settle();
    let task = &rig.threads[0].tasks.values().next().unwrap().task;
    assert_eq!((task.watermark(), task.stream_time()), (Some(Timestamp::from_millis(490)), Timestamp::from_millis(500)));
}

/// Windows of 100 ms per word, behind a shuffle, on close.
fn shuffled_windows() -> Topology {
    let builder = StreamsBuilder::new();
    let source = Consumed::with(LEFT).watermark(Watermark::bounded(Duration::ZERO).idle_after(Duration::from_secs(5)));
    builder
        .stream(source)
        .group_by(|_, value| value.clone())
        .windowed_by(TimeWindows::of(Duration::from_millis(100)))
        .emit(EmitStrategy::on_window_close())
        .count("windows")
        .to_stream()
        .map(|window, count| (window.key.clone(), format!("{}@{}={}", window.key, window.window.start, count.unwrap_or_default())))
        .to(OUT);
    builder.build().unwrap()
}

#[test]
fn announcements_close_windows_behind_a_shuffle_and_silence_does_not_hold_them() {
    let mut rig = Rig::new(shuffled_windows(), 2);
    rig.settings.watermark_interval = Duration::from_millis(50);
    let mut rig = rig.start();
    rig.settle();
    rig.write("left", 0, Some("k"), "a", 10);
    rig.write("left", 1, Some("k"), "b", 20);
    rig.write("left", 0, Some("k"), "a", 250);
    rig.settle();
    rig.pass(200);
    rig.pass(200);
    assert_eq!(rig.read("out"), [""; 0], "the other partition may still bring older records");
    rig.write("left", 1, Some("k"), "b", 120);
    rig.settle();
    rig.pass(200);
    rig.pass(200);
    let mut out = rig.read("out");
    out.sort();
    assert_eq!(out, ["a@0=1", "b@0=1"]);
    // Both partitions silent: the clock of the wall goes on, and the rest closes at its own end.
    rig.pass(5_000);
    rig.pass(200);
    rig.pass(400);
    let mut out = rig.read("out");
    out.sort();
    assert_eq!(out, ["a@0=1", "a@200=1", "b@0=1", "b@100=1"]);
}

#[test]
fn a_cut_close_pass_lets_commits_through_and_loses_nothing() {
    let mut rig = Rig::new(shuffled_windows(), 1);
    rig.settings.close_batch = 3;
    rig.settings.watermark_interval = Duration::ZERO;
    let mut rig = rig.start();
    rig.settle();
    (0..20).for_each(|n| rig.write("left", 0, Some("k"), &format!("w{n:02}"), n));
    rig.write("left", 0, Some("k"), "last", 1000);
    rig.settle();
    rig.commit();
    rig.commit();
    let out = rig.read("out");
    assert_eq!(out.len(), 20, "{out:?}");
}

#[test]
fn what_was_read_from_repartition_topics_is_deleted_now_and_then() {
    let mut rig = Rig::new(shuffled_windows(), 1).start();
    rig.settle();
    (0..5).for_each(|n| rig.write("left", 0, Some("k"), "a", n));
    rig.settle();
    rig.commit();
    let shuffle = "app-windows-repartition";
    assert!(rig.read(shuffle).len() >= 5);
    rig.pass(30_000);
    rig.commit();
    assert!(rig.read(shuffle).len() < 5, "{:?}", rig.read(shuffle));
}

#[test]
fn a_store_comes_back_in_pieces_while_other_tasks_run() {
    let mut rig = Rig::new(counting(), 2).start();
    rig.settle();
    (0..25_000).for_each(|n| rig.write("left", 0, Some(&format!("key{n}")), "x", 1));
    rig.settle();
    rig.commit();
    rig.crash();
    rig.round();
    rig.write("left", 1, Some("other"), "x", 1);
    rig.round();
    assert_eq!(rig.count("other"), Some(1), "task 0_1 runs");
    assert_eq!(rig.board.facts().tasks[&TaskId { subtopology: 0, partition: 0 }].state, TaskState::Restoring);
    rig.settle();
    assert_eq!((rig.count("key0"), rig.count("key24999")), (Some(1), Some(1)));
}

#[test]
fn the_declared_end_is_not_passed() {
    let mut rig = Rig::new(copying(), 1).start();
    rig.write("left", 0, Some("k"), "a", 1);
    let ends = BTreeMap::from([(TopicPartition::new("left", 0), 1)]);
    rig.board.declare_end(ends);
    rig.write("left", 0, Some("k"), "b", 1);
    rig.settle();
    assert_eq!(rig.read("out"), ["a"]);
    assert_eq!(rig.committed("left", 0).unwrap().0, 1);
    assert_eq!(rig.board.facts().tasks[&TaskId { subtopology: 0, partition: 0 }].state, TaskState::Finished);
}

#[test]
fn a_thread_with_other_tasks_is_refused() {
    let rig = Rig::new(copying(), 1).start();
    let mut other = rig.log.member("app", "other", Isolation::ReadCommitted).unwrap();
    let task = TaskId { subtopology: 7, partition: 0 };
    assert!(other.join(&[TaskInputs { task, partitions: Vec::new() }]).is_err());
}

#[test]
fn a_collector_spreads_records_without_a_key_and_refuses_partitions_that_are_not_there() {
    use super::record_collector::RecordCollector;
    use crate::processor::{Outgoing, Output, Target};
    let rig = Rig::new(copying(), 2);
    let outbox = Outbox::new(rig.log.producer().unwrap());
    outbox.set_now(Timestamp::from_millis(77));
    let sent = Arc::new(AtomicU64::new(0));
    let mut collector = RecordCollector::new(outbox, 1, Arc::default(), sent.clone());
    let slot = collector.topic("out");
    let headers = Headers::default();
    let record = |target| Outgoing { key: None, value: Some(b"v"), timestamp: Timestamp::UNKNOWN, headers: &headers, target };
    (0..3).for_each(|_| collector.send(slot, record(Target::Any)).unwrap());
    collector.send(slot, record(Target::OwnPartition)).unwrap();
    let refused = collector.send(slot, record(Target::Partition(2))).unwrap_err().to_string();
    assert!(refused.contains("partition 2 of `out`"), "{refused}");
    assert_eq!(rig.read("out"), [""; 0], "nothing is sent before it is drained");
    collector.drain().unwrap();
    let ends = rig
        .log
        .consumer(Isolation::ReadCommitted)
        .unwrap()
        .end_offsets(&[TopicPartition::new("out", 0), TopicPartition::new("out", 1)], Isolation::ReadCommitted);
    assert_eq!((ends.unwrap(), sent.load(Ordering::Relaxed)), (vec![2, 2], 4));
    assert_eq!((collector.last_sent(slot, 0), collector.last_sent(slot, 9)), (Some(Timestamp::from_millis(77)), None));
    let missing = collector.topic("nowhere");
    assert!(collector.send(missing, record(Target::Any)).unwrap_err().to_string().contains("`nowhere` does not exist"));
}

/// Tells how many keys its store has when it begins, each second of the wall clock, and asks for a commit at each record.
struct Teller {
    seen: KeyValueStore<String, String>,
}

impl Processor for Teller {
    type In = Record<String, String>;
    type Out = Record<String, String>;
    fn init(&mut self, cx: &mut Context<'_, Self::Out>) -> Result<(), BoxError> {
        let keys = self.seen.all()?.count();
        cx.schedule(Punctuate::WallClock(Duration::from_secs(1)))?;
        cx.forward(Record::new("begin".to_owned(), format!("begins with {keys}"), Timestamp::from_millis(0)));
        Ok(())
    }
    fn process(&mut self, record: Self::In, cx: &mut Context<'_, Self::Out>) -> Result<(), BoxError> {
        self.seen.put(&record.key, &record.value, record.timestamp)?;
        cx.request_commit();
        Ok(())
    }
    fn punctuate(&mut self, _: Timer, at: Timestamp, cx: &mut Context<'_, Self::Out>) -> Result<(), BoxError> {
        cx.forward(Record::new("tick".to_owned(), format!("tick {at}"), at));
        Ok(())
    }
}

#[test]
fn processors_begin_with_their_state_hear_the_clock_and_may_ask_for_commits() {
    let builder = StreamsBuilder::new();
    let seen: StoreRef<KeyValueStore<String, String>> = StoreRef::new("seen");
    builder.stream(LEFT).process(seen, |seen| Teller { seen }).to(OUT);
    let mut rig = Rig::new(builder.build().unwrap(), 1);
    rig.settings.commit_interval = Duration::from_secs(3600);
    let mut rig = rig.start();
    rig.settle();
    rig.write("left", 0, Some("a"), "x", 1);
    rig.write("left", 0, Some("b"), "x", 1);
    rig.settle();
    assert_eq!(rig.committed("left", 0).unwrap().0, 2, "asked for");
    rig.pass(1000);
    rig.crash();
    rig.settle();
    assert_eq!(rig.read("out"), ["begins with 0", "tick 1001000", "begins with 2"]);
}
