//! Exactly once: whatever happens to a thread, its transaction or its producer, readers of committed records see each result once.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::rig::Rig;
use super::*;
use crate::config::Guarantee;
use crate::kafka::LostCommit;

/// Copies, and counts the copies behind a shuffle; `boom` panics.
pub(super) fn copied_and_counted() -> Topology {
    let builder = StreamsBuilder::new();
    let words = builder.stream(LEFT).map_values(|value| if value == "boom" { panic!("no such word") } else { value });
    words.to(OUT);
    words.group_by(|_, value| value.clone()).count(COUNTS);
    builder.build().unwrap()
}

fn rig(partitions: i32) -> Rig {
    let mut rig = Rig::new(copied_and_counted(), partitions).exactly_once();
    // One commit asked for at a time.
    rig.settings.commit_interval = Duration::from_millis(100);
    rig
}

pub(super) fn words(rig: &Rig, range: std::ops::Range<i64>) {
    let partitions = rig.log.producer().unwrap().partition_count("left").unwrap();
    for n in range {
        rig.write("left", i32::try_from(n).unwrap() % partitions, Some("k"), &format!("w{n}"), n);
    }
}

pub(super) fn sorted(rig: &Rig, topic: &str) -> Vec<String> {
    let mut read = rig.read(topic);
    read.sort();
    read
}

pub(super) fn expected(range: std::ops::Range<i64>) -> Vec<String> {
    let mut words: Vec<String> = range.map(|n| format!("w{n}")).collect();
    words.sort();
    words
}

/// Everything written is copied once and counted once.
pub(super) fn assert_exact(rig: &Rig, count: i64, what: &str) {
    assert_eq!(sorted(rig, "out"), expected(0..count), "{what}");
    let counts: Vec<_> = (0..count).map(|n| rig.count(&format!("w{n}"))).collect();
    assert_eq!(counts, vec![Some(1); usize::try_from(count).unwrap()], "{what}");
}

/// Long enough for sessions and transactions of the dead to end.
pub(super) fn outlast(rig: &mut Rig) {
    (0..4).for_each(|_| rig.pass(200));
    (0..6).for_each(|_| rig.pass(10_000));
}

#[test]
fn nothing_is_seen_before_the_commit_and_everything_after_it() {
    let mut rig = rig(2).start();
    rig.settle();
    words(&rig, 0..4);
    rig.settle();
    assert_eq!((rig.read("out"), rig.committed("left", 0).map(|(offset, _)| offset)), (Vec::new(), None));
    rig.commit();
    assert_eq!(sorted(&rig, "out"), expected(0..4));
    assert_eq!((rig.committed("left", 0).unwrap().0, rig.committed("left", 1).unwrap().0), (2, 2));
    rig.commit();
    assert_exact(&rig, 4, "the shuffle was read once it was committed");
}

#[test]
fn a_position_alone_is_committed_too() {
    let builder = StreamsBuilder::new();
    builder.stream(LEFT).filter(|_, value| value != "w").to(OUT);
    let mut rig = Rig::new(builder.build().unwrap(), 1).exactly_once().start();
    rig.settle();
    rig.write("left", 0, Some("k"), "w", 7);
    rig.settle();
    rig.commit();
    let (offset, metadata) = rig.committed("left", 0).unwrap();
    assert_eq!((offset, metadata.partition_time), (1, Some(Timestamp::from_millis(7))));
    let ends =
        rig.log.consumer(Isolation::ReadCommitted).unwrap().end_offsets(&[TopicPartition::new("out", 0)], Isolation::ReadUncommitted);
    assert_eq!(ends.unwrap(), [0], "not even a marker");
}

#[test]
fn a_crash_before_any_step_of_a_commit_changes_nothing() {
    for (step, named) in plan::steps(true, true, true).into_iter().flat_map(|step| [(step, false), (step, true)]) {
        if step == plan::CommitStep::Watermarks {
            continue;
        }
        let mut rig = rig(2);
        rig.settings.instance_id = named.then_some("one".into());
        let mut rig = rig.start();
        rig.settle();
        words(&rig, 0..4);
        rig.settle();
        rig.commit();
        words(&rig, 4..8);
        rig.settle();
        rig.threads[0].dies_before = Some(step);
        // Long enough for a purge; the log's own clock stands still, so that no transaction times out.
        rig.threads[0].timer.done(false, Timestamp::from_millis(0));
        assert!(rig.threads[0].run_once(rig.clock.now() + Duration::from_secs(40), Duration::ZERO).is_err(), "{step:?}");
        rig.crash();
        if named {
            (0..3).for_each(|_| rig.pass(100));
            assert_exact(&rig, 8, &format!("before {step:?}, under the same name: at once"));
        }
        outlast(&mut rig);
        assert_exact(&rig, 8, &format!("before {step:?}"));
    }
}

#[test]
fn a_commit_without_an_answer_is_settled_before_anything_goes_on() {
    for lost in [LostCommit::Request, LostCommit::Answer] {
        let mut rig = rig(2).start();
        rig.settle();
        words(&rig, 0..4);
        rig.settle();
        rig.commit();
        words(&rig, 4..8);
        rig.settle();
        rig.log.lose_next_commit("app-life-1-1", lost);
        (0..4).for_each(|_| rig.pass(100));
        words(&rig, 8..10);
        (0..3).for_each(|_| rig.pass(100));
        assert_exact(&rig, 10, &format!("{lost:?}"));
        assert!(rig.board.facts().failures.is_empty());
    }
}

#[test]
fn a_fenced_producer_is_replaced_once_the_group_has_spoken() {
    let mut rig = rig(2).start();
    rig.settle();
    words(&rig, 0..4);
    rig.settle();
    let before = rig.threads[0].member_id();
    let mut other = rig.log.transactional_producer("app-life-1-1", Duration::from_secs(10)).unwrap();
    other.init().unwrap();
    (0..4).for_each(|_| rig.pass(100));
    assert_exact(&rig, 4, "taken over by nobody");
    assert_ne!(rig.threads[0].member_id(), before, "it has asked the group who owns the tasks");
    assert!(rig.board.facts().failures.is_empty());
}

#[test]
fn a_thread_taken_for_dead_commits_nothing_any_more() {
    let mut rig = rig(2).start();
    rig.settle();
    words(&rig, 0..4);
    rig.settle();
    let member = rig.threads[0].member_id();
    assert!(rig.log.expel("app", &member));
    // It has not heard of it when its commit is due.
    let now = rig.clock.now() + Duration::from_millis(100);
    rig.threads[0].commit(Due::Interval, now).unwrap();
    assert_eq!(rig.read("out"), [""; 0], "refused at its positions, so aborted");
    outlast(&mut rig);
    assert_exact(&rig, 4, "back in the group");
}

#[test]
fn a_zombie_and_its_successor_write_each_result_once() {
    let mut rig = rig(2).start();
    rig.settle();
    words(&rig, 0..4);
    rig.settle();
    let member = rig.threads[0].member_id();
    assert!(rig.log.expel("app", &member));
    rig.join();
    // The first stands still while the other takes over, and goes on where it stood when its transaction is long aborted.
    for _ in 0..8 {
        rig.clock.advance(Duration::from_secs(4));
        rig.threads[1].run_once(rig.clock.now(), Duration::ZERO).unwrap();
    }
    let now = rig.clock.now();
    rig.threads[0].commit(Due::Interval, now).unwrap();
    outlast(&mut rig);
    assert_exact(&rig, 4, "two threads");
}

#[test]
fn a_panic_takes_the_transaction_of_all_back_and_stops_one_task() {
    let mut rig = rig(2).start();
    rig.settle();
    rig.write("left", 0, Some("k"), "w0", 1);
    rig.write("left", 1, Some("k"), "w1", 1);
    rig.settle();
    rig.write("left", 0, Some("k"), "boom", 2);
    rig.write("left", 1, Some("k"), "w2", 2);
    rig.settle();
    (0..3).for_each(|_| rig.pass(100));
    assert_eq!(sorted(&rig, "out"), ["w1", "w2"], "of the failed task nothing, of the other everything, once");
    assert_eq!((rig.count("w0"), rig.count("w1"), rig.count("w2")), (None, Some(1), Some(1)));
    let failures = rig.board.facts().failures.clone();
    assert_eq!(
        failures.iter().map(|failure| (failure.task.unwrap().to_string(), failure.error.kind())).collect::<Vec<_>>(),
        [("0_0".to_owned(), ErrorKind::Panic)]
    );
    assert_eq!(rig.committed("left", 0), None);
    assert_eq!(rig.committed("left", 1).unwrap().0, 2);
}

#[test]
fn a_task_that_fails_in_a_commit_takes_the_transaction_back() {
    // A count that fails where its cache is flushed: not before the commit.
    let builder = StreamsBuilder::new();
    builder
        .stream(LEFT)
        .group_by_key()
        .count(COUNTS)
        .to_stream()
        .map(|key, count| {
            assert!(key != "boom", "no such key");
            (key.clone(), count.unwrap_or_default().to_string())
        })
        .to(OUT);
    let mut rig = Rig::new(builder.build().unwrap(), 2).exactly_once().start();
    rig.settle();
    rig.write("left", 0, Some("boom"), "x", 1);
    rig.write("left", 1, Some("a"), "x", 1);
    rig.settle();
    (0..3).for_each(|_| rig.pass(100));
    rig.write("left", 1, Some("a"), "x", 2);
    rig.settle();
    (0..3).for_each(|_| rig.pass(100));
    assert_eq!(rig.read("out"), ["1", "2"]);
    assert_eq!((rig.committed("left", 0), rig.committed("left", 1).unwrap().0), (None, 2));
    assert_eq!(rig.board.facts().failures.len(), 1);
}

#[test]
fn tasks_move_between_threads_without_loss_or_repetition() {
    let mut rig = rig(3).start();
    rig.settle();
    for round in 0..6_i64 {
        words(&rig, round * 4..(round + 1) * 4);
        rig.round();
        if round == 1 || round == 3 {
            rig.join();
        }
        rig.settle();
    }
    outlast(&mut rig);
    assert_eq!(rig.threads.iter().enumerate().map(|(nth, _)| rig.owned(nth).len()).collect::<Vec<_>>(), [2, 2, 2]);
    assert_exact(&rig, 24, "three threads");
}

#[test]
fn who_takes_over_waits_for_markers_that_are_held_back() {
    for crash in [false, true] {
        let mut rig = rig(1).start();
        rig.settle();
        words(&rig, 0..3);
        rig.settle();
        rig.log.hold_markers(true);
        (0..2).for_each(|_| rig.pass(100));
        assert!(!rig.log.pending_markers().is_empty());
        if crash {
            rig.crash();
        } else {
            let now = rig.clock.now();
            rig.threads.remove(0).close(now).unwrap();
            rig.join();
        }
        (0..3).for_each(|_| rig.pass(100));
        assert!(rig.threads[0].tasks.values().all(|active| active.state != TaskState::Running) || !crash, "its positions are not decided");
        words(&rig, 3..5);
        // The group learns it first, the changelog last: in between the position is ahead of what can be read of the state.
        while rig.log.write_next_marker() {
            rig.settle();
        }
        rig.log.hold_markers(false);
        outlast(&mut rig);
        assert_exact(&rig, 5, &format!("crash: {crash}"));
    }
}

/// A value becomes so many, which takes as long as the test says, in milliseconds.
fn slowly(
    rig: &Rig,
    copies: usize,
    millis: &Arc<AtomicU64>,
) -> impl Fn(String) -> Box<dyn Iterator<Item = String>> + Send + Sync + 'static {
    let (clock, millis) = (rig.clock.clone(), millis.clone());
    move |value| {
        let (clock, each) = (clock.clone(), millis.load(Ordering::Relaxed) * 1000 / copies as u64);
        Box::new((0..copies).map(move |n| {
            clock.advance(Duration::from_micros(each));
            format!("{value}.{n}")
        }))
    }
}

#[test]
fn a_batch_that_takes_too_long_is_made_smaller_until_it_fits() {
    let millis = Arc::new(AtomicU64::new(700));
    // What is slow comes behind the cache, so that no record shows how long the commit will take.
    let mut rig = Rig::new(counting(), 1).exactly_once();
    let builder = StreamsBuilder::new();
    let counts = builder.stream(LEFT).group_by_key().count(COUNTS).to_stream();
    counts.map(|key, _| (key.clone(), key)).flat_map_values(slowly(&rig, 350, &millis)).to(OUT);
    rig.topology = builder.build().unwrap();
    let mut rig = rig.start();
    rig.settle();
    let keys = |rig: &Rig, range: std::ops::Range<i64>| range.for_each(|n| rig.write("left", 0, Some(&format!("w{n}")), "x", n));
    keys(&rig, 0..50);
    outlast(&mut rig);
    let mut all: Vec<String> = (0..50).flat_map(|word| (0..350).map(move |n| format!("w{word}.{n}"))).collect();
    all.sort();
    assert!(sorted(&rig, "out") == all, "{}", rig.read("out").len());
    assert!(rig.board.facts().failures.is_empty());
    assert!((5..50).contains(&rig.threads[0].left(None)));
    millis.store(0, Ordering::Relaxed);
    keys(&rig, 50..500);
    outlast(&mut rig);
    assert!(rig.threads[0].left(None) > 100, "quick again, large again");
}

#[test]
fn a_record_that_alone_takes_too_long_stops_its_task() {
    let millis = Arc::new(AtomicU64::new(0));
    let mut rig = Rig::new(copying(), 1).exactly_once();
    let builder = StreamsBuilder::new();
    builder.stream(LEFT).flat_map_values(slowly(&rig, 3000, &millis)).to(OUT);
    rig.topology = builder.build().unwrap();
    let mut rig = rig.start();
    rig.settle();
    words(&rig, 0..1);
    rig.settle();
    rig.commit();
    assert_eq!(rig.read("out").len(), 3000);
    millis.store(18_000, Ordering::Relaxed);
    words(&rig, 1..3);
    outlast(&mut rig);
    let failures = rig.board.facts().failures.clone();
    assert_eq!(failures.iter().map(|failure| failure.error.kind()).collect::<Vec<_>>(), [ErrorKind::TransactionTooLarge]);
    assert_eq!(rig.read("out").len(), 3000, "nothing of it is seen");
    assert_eq!(rig.committed("left", 0).unwrap().0, 1);
}

#[test]
fn too_much_uncommitted_state_ends_a_transaction_early() {
    let mut rig = Rig::new(counting(), 1).exactly_once();
    rig.settings.commit_interval = Duration::from_secs(3600);
    rig.settings.uncommitted_bytes = 500;
    rig.settings.record_cache_bytes = 0;
    let mut rig = rig.start();
    rig.settle();
    (0..20).for_each(|n| rig.write("left", 0, Some(&format!("key-{n}")), "x", 1));
    rig.settle();
    assert_eq!((rig.read("app-counts-changelog").len(), rig.committed("left", 0).unwrap().0), (20, 20));
}

#[test]
fn a_transaction_does_not_wait_for_a_commit_interval_that_is_longer_than_its_time() {
    let mut rig = rig(1);
    rig.settings.commit_interval = Duration::from_secs(3600);
    let mut rig = rig.start();
    rig.settle();
    words(&rig, 0..2);
    rig.settle();
    (0..4).for_each(|_| rig.pass(1_000));
    assert_eq!(sorted(&rig, "out"), expected(0..2));
}

#[test]
fn an_adaptive_commit_waits_for_nothing_but_the_last_one() {
    let mut rig = rig(1);
    rig.settings.adaptive_commit = true;
    rig.settings.commit_interval = Duration::from_secs(3600);
    let mut rig = rig.start();
    rig.settle();
    words(&rig, 0..2);
    rig.settle();
    assert_exact(&rig, 2, "no time has passed");
}

/// Panics once, when it is told to.
fn armed(armed: &Arc<AtomicBool>) -> Topology {
    let armed = armed.clone();
    let builder = StreamsBuilder::new();
    builder.stream(LEFT).group_by_key().count(COUNTS);
    builder.stream(RIGHT).for_each(move |_, _| assert!(!armed.swap(false, Ordering::Relaxed), "told to"));
    builder.build().unwrap()
}

#[test]
fn a_task_that_sent_nothing_yet_is_not_disturbed_by_the_failure_of_another() {
    let arm = Arc::new(AtomicBool::new(false));
    let mut rig = Rig::new(armed(&arm), 1).exactly_once().start();
    rig.settle();
    rig.write("left", 0, Some("a"), "x", 1);
    rig.settle();
    arm.store(true, Ordering::Relaxed);
    rig.write("right", 0, Some("k"), "x", 1);
    rig.settle();
    assert_eq!((rig.count("a"), Progress::taken(&rig)), (Some(1), 1), "the count is where it was, in the cache of its task");
    rig.commit();
    assert_eq!((rig.committed("left", 0).unwrap().0, rig.committed("right", 0)), (1, None));
}

#[test]
fn a_revocation_whose_commit_gets_no_answer_moves_nothing_twice() {
    for lost in [LostCommit::Request, LostCommit::Answer] {
        let mut rig = rig(2).start();
        rig.settle();
        words(&rig, 0..6);
        rig.settle();
        rig.join();
        rig.log.lose_next_commit("app-life-1-1", lost);
        outlast(&mut rig);
        assert_eq!((rig.owned(0).len(), rig.owned(1).len()), (2, 2));
        assert_exact(&rig, 6, &format!("{lost:?}"));
    }
}

#[test]
fn announcements_come_in_the_transaction_of_their_data_and_behind_it() {
    use crate::dsl::Consumed;
    use crate::window::{EmitStrategy, TimeWindows, Watermark};
    let builder = StreamsBuilder::new();
    let source = Consumed::with(LEFT).watermark(Watermark::bounded(Duration::ZERO));
    let windows = builder.stream(source).group_by(|_, value| value.clone()).windowed_by(TimeWindows::of(Duration::from_millis(100)));
    windows.emit(EmitStrategy::on_window_close()).count("windows");
    let mut rig = Rig::new(builder.build().unwrap(), 1).exactly_once();
    rig.settings.watermark_interval = Duration::ZERO;
    rig.settings.instance_id = Some("one".into());
    let mut rig = rig.start();
    rig.settle();
    rig.write("left", 0, Some("k"), "a", 10);
    rig.settle();
    let shuffle = "app-windows-repartition";
    assert_eq!(rig.read(shuffle), [""; 0]);
    rig.threads[0].dies_before = Some(plan::CommitStep::Commit);
    let late = rig.clock.now() + Duration::from_millis(100);
    assert!(rig.threads[0].run_once(late, Duration::ZERO).is_err());
    assert_eq!(rig.read(shuffle), [""; 0], "sent and not committed");
    rig.crash();
    (0..2).for_each(|_| rig.pass(100));
    assert_eq!(rig.read(shuffle)[..2], ["a", "null"], "one record, and behind it how far time has come");
}

#[test]
fn a_store_that_cannot_be_written_stops_its_task_for_as_long_and_no_other() {
    for exactly_once in [false, true] {
        let mut rig = Rig::new(counting(), 2);
        rig.settings.guarantee = if exactly_once { Guarantee::ExactlyOnce } else { Guarantee::AtLeastOnce };
        let mut rig = rig.start();
        rig.settle();
        let both = |rig: &mut Rig, at: i64| {
            rig.write("left", 0, Some("a"), "x", at);
            rig.write("left", 1, Some("b"), "x", at);
            rig.settle();
            rig.commit();
        };
        both(&mut rig, 1);
        let full = TaskId { subtopology: 0, partition: 0 };
        rig.threads[0].unwritable = Some(full);
        both(&mut rig, 2);
        assert_eq!(rig.committed("left", 0).unwrap().0, 2, "what is committed is committed");
        both(&mut rig, 3);
        assert_eq!((rig.count("a"), rig.count("b")), (None, Some(3)), "one stands still");
        assert_eq!(rig.board.facts().tasks[&full].state, TaskState::Restoring);
        // It tries again, and it is still full.
        (0..3).for_each(|_| rig.pass(1_500));
        assert_eq!((rig.count("a"), rig.count("b")), (None, Some(3)));
        rig.threads[0].unwritable = None;
        (0..4).for_each(|_| rig.pass(10_000));
        both(&mut rig, 4);
        assert_eq!((rig.count("a"), rig.count("b")), (Some(4), Some(4)), "its tail was restored, and it went on");
        assert!(rig.board.facts().failures.is_empty());
        assert_eq!(rig.committed("left", 0).unwrap().0, 4);
    }
}

#[test]
fn positions_are_committed_again_before_the_broker_forgets_them() {
    let hours = |rig: &mut Rig, hours: u64| (0..hours * 2).for_each(|_| rig.pass(1_800_000));
    for exactly_once in [false, true] {
        let mut rig = Rig::new(merging(), 1);
        rig.settings.guarantee = if exactly_once { Guarantee::ExactlyOnce } else { Guarantee::AtLeastOnce };
        rig.settings.session_timeout = Duration::from_secs(7200);
        let mut rig = rig.start();
        rig.settle();
        rig.write("left", 0, Some("k"), "l", 1);
        rig.write("right", 0, Some("k"), "r", 1);
        rig.settle();
        rig.commit();
        // One input goes on, the other is silent: each has an hour of its own.
        let silent = |rig: &Rig| rig.threads[0].tasks.values().next().unwrap().feeds[1].is_forgotten_soon(rig.clock.now());
        for at in 2..10 {
            rig.write("left", 0, Some("k"), "l", at);
            hours(&mut rig, 1);
            rig.settle();
            assert!(!silent(&rig), "exactly once: {exactly_once}");
        }
    }
}

#[test]
fn state_without_the_position_it_stands_for_is_an_error_unless_told_otherwise() {
    use crate::config::MissingPosition;
    for policy in [MissingPosition::Fail, MissingPosition::Reset] {
        let mut rig = Rig::new(counting(), 1).exactly_once();
        rig.settings.on_missing_position = policy;
        let mut rig = rig.start();
        rig.settle();
        rig.write("left", 0, Some("a"), "x", 1);
        rig.settle();
        rig.commit();
        rig.threads.clear();
        rig.log.admin().unwrap().delete_positions("app", &[TopicPartition::new("left", 0)]).unwrap();
        rig.crash();
        outlast(&mut rig);
        let failures: Vec<String> = rig.board.facts().failures.iter().map(|failure| failure.error.to_string()).collect();
        match policy {
            MissingPosition::Fail => {
                assert!(failures.len() == 1 && failures[0].contains("`left-0` has no committed position"), "{failures:?}")
            }
            MissingPosition::Reset => assert_eq!((failures, rig.count("a")), (Vec::new(), Some(2)), "read again from the beginning"),
        }
    }
}

#[test]
fn a_crash_before_the_very_first_commit_is_no_missing_position() {
    for exactly_once in [false, true] {
        let mut rig = Rig::new(counting(), 1);
        rig.settings.guarantee = if exactly_once { Guarantee::ExactlyOnce } else { Guarantee::AtLeastOnce };
        let mut rig = rig.start();
        rig.settle();
        rig.write("left", 0, Some("a"), "x", 1);
        rig.settle();
        rig.threads[0].dies_before = Some(plan::CommitStep::Commit);
        let late = rig.clock.now() + Duration::from_millis(100);
        assert!(rig.threads[0].run_once(late, Duration::ZERO).is_err());
        rig.crash();
        outlast(&mut rig);
        assert!(rig.board.facts().failures.is_empty());
        assert_eq!(rig.count("a"), Some(if exactly_once { 1 } else { 2 }));
    }
}

#[test]
fn who_sends_and_has_read_nothing_is_asked_for_its_membership_too() {
    let builder = StreamsBuilder::new();
    let seen: StoreRef<KeyValueStore<String, String>> = StoreRef::new("seen");
    builder.stream(LEFT).process(seen, |seen| Teller { seen }).to(OUT);
    let mut rig = Rig::new(builder.build().unwrap(), 1).exactly_once().start();
    rig.settle();
    rig.write("left", 0, Some("a"), "x", 1);
    rig.settle();
    rig.commit();
    assert_eq!(rig.read("out"), ["begins with 0"]);
    assert!(rig.log.expel("app", &rig.threads[0].member_id()));
    // It has not heard of it when its clock strikes: nothing was read, and a record is sent.
    let later = rig.clock.now() + Duration::from_secs(1);
    rig.threads[0].run_tasks(later);
    assert!(!rig.threads[0].circles.get(None).unwrap().outbox.senders().is_empty());
    rig.threads[0].commit(Due::Interval, later).unwrap();
    assert_eq!(rig.read("out"), ["begins with 0"], "nobody's word counts without a position");
}
