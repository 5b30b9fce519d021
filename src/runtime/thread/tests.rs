//! Rounds of threads, called by hand, on a log and a clock of their own.

mod bounded;
mod damage;
mod exactly_once;
mod gates;
mod outages;
mod restoring;
mod rig;
mod schedules;
mod slow;
mod survival;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use rig::Rig;

use super::*;
use crate::clock::Clock;
use crate::dsl::{StreamsBuilder, Topic};
use crate::error::{BoxError, ErrorKind};
use crate::kafka::{Isolation, TaskInputs};
use crate::processor::{Context, Processor, Punctuate, Timer};
use crate::record::{Headers, Record, TopicPartition};
use crate::runtime::plan::Due;
use crate::state::{KeyValueStore, StoreRef};

const LEFT: Topic<String, String> = Topic::new("left");
const RIGHT: Topic<String, String> = Topic::new("right");
const OUT: Topic<String, String> = Topic::new("out");
const COUNTS: StoreRef<KeyValueStore<String, i64>> = StoreRef::new("counts");

/// Counts keys.
fn counting() -> Topology {
    let builder = StreamsBuilder::new();
    builder.stream(LEFT).group_by_key().count(COUNTS);
    builder.build().unwrap()
}

/// Counts values, behind a shuffle.
fn shuffled() -> Topology {
    let builder = StreamsBuilder::new();
    builder.stream(LEFT).group_by(|_, value| value.clone()).count(COUNTS);
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
fn a_crash_before_any_step_of_a_commit_loses_nothing() {
    let steps = plan::steps(true, true, true);
    for step in steps.into_iter().filter(|step| *step != plan::CommitStep::Watermarks) {
        let mut rig = Rig::new(shuffled(), 1).start();
        rig.settle();
        (0..3).for_each(|n| rig.write("left", 0, Some("k"), "word", n));
        rig.settle();
        rig.threads[0].dies_before = Some(step);
        rig.clock.advance(Duration::from_secs(60));
        assert!(rig.threads[0].run_once(rig.clock.now(), Duration::ZERO).is_err(), "{step:?}");
        rig.crash();
        (0..3).for_each(|_| rig.pass(100));
        let count = rig.count("word").unwrap();
        assert!(count >= 3, "{step:?}: {count}");
        if matches!(step, plan::CommitStep::Apply | plan::CommitStep::Purge) {
            assert_eq!(count, 3, "{step:?}: what is committed is not done again");
        }
    }
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
    rig.write("left", 0, Some("k"), "f", 2);
    assert!(!rig.threads[0].member.poll(Duration::ZERO).unwrap(), "what nobody reads ends no poll");
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
fn a_thread_taken_for_dead_that_finds_its_input_purged_joins_again() {
    let mut rig = Rig::new(shuffled(), 1).start();
    rig.settle();
    rig.write("left", 0, Some("k"), "word", 1);
    rig.settle();
    rig.commit();
    let member = rig.threads[0].member.token().member;
    assert!(rig.log.expel("app", &member));
    rig.join();
    // The other takes over, commits and purges; the news has not reached the first one.
    rig.write("left", 0, Some("k"), "word", 2);
    for _ in 0..8 {
        rig.clock.advance(Duration::from_secs(31));
        rig.threads[1].run_once(rig.clock.now(), Duration::ZERO).unwrap();
    }
    assert!(rig.read("app-counts-repartition").is_empty(), "purged");
    rig.threads[0].run_tasks(rig.clock.now());
    let failures = rig.board.facts().failures.iter().map(|failure| failure.error.to_string()).collect::<Vec<_>>();
    assert_eq!(failures, [""; 0], "the tasks are another's: nothing failed");
    (0..4).for_each(|_| rig.pass(100));
    assert_eq!(rig.owned(0).len() + rig.owned(1).len(), 2);
    assert!(rig.count("word").unwrap() >= 2);
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
    let outbox = super::outbox::Outbox::plain(rig.log.producer().unwrap());
    outbox.set_now(Timestamp::from_millis(77));
    let sent = Arc::new(AtomicU64::new(0));
    let mut collector = RecordCollector::new(outbox, TaskId { subtopology: 0, partition: 1 }, Arc::default(), sent.clone());
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
