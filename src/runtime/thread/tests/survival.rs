//! What threads know after a crash: clocks, closed windows, announcements heard.

use std::collections::BTreeMap;
use std::time::Duration;

use super::rig::Rig;
use super::{LEFT, OUT};
use crate::dsl::{Consumed, StreamsBuilder};
use crate::kafka::{Connect, Isolation};
use crate::record::{TaskId, Timestamp, TopicPartition};
use crate::topology::Topology;
use crate::watermark::entry;
use crate::window::{EmitStrategy, SlidingWindows, TimeWindows, Watermark};

/// Counts of values per second, on close, behind a shuffle.
fn per_second() -> Topology {
    let builder = StreamsBuilder::new();
    builder
        .stream(Consumed::with(LEFT).watermark(Watermark::bounded(Duration::from_millis(400)).idle_after(Duration::from_secs(20))))
        .group_by(|_, value| value.clone())
        .windowed_by(TimeWindows::of(Duration::from_secs(1)))
        .emit(EmitStrategy::on_window_close())
        .count("per-second")
        .to_stream()
        .map(|window, count| (window.key.clone(), format!("{}@{}={}", window.key, window.window.start, count.unwrap_or_default())))
        .to(OUT);
    builder.build().unwrap()
}

/// The same in sliding windows, whose rows outlive their results.
fn sliding() -> Topology {
    let builder = StreamsBuilder::new();
    builder
        .stream(Consumed::with(LEFT).watermark(Watermark::bounded(Duration::from_secs(2)).never_idle()))
        .group_by_key()
        .windowed_by(SlidingWindows::of(Duration::from_millis(500)))
        .emit(EmitStrategy::on_window_close())
        .count("sliding")
        .to_stream()
        .map(|window, count| (window.key.clone(), format!("{}@{}={}", window.key, window.window.start, count.unwrap_or_default())))
        .to(OUT);
    builder.build().unwrap()
}

/// Record `n`: its partition, value and time; each partition is out of order by less than the bound.
fn record(n: i64) -> (i32, String, i64) {
    ((n % 3) as i32, format!("v{}", n % 4), (n * 40 - (n * 37) % 300).max(0))
}

fn write(rig: &Rig, range: std::ops::Range<i64>) {
    for (partition, value, at) in range.map(record) {
        rig.write("left", partition, Some("k"), &value, at);
    }
}

fn batch(range: std::ops::Range<i64>) -> Vec<String> {
    let mut counts: BTreeMap<(String, i64), i64> = BTreeMap::new();
    range.map(record).for_each(|(_, value, at)| *counts.entry((value, at / 1000 * 1000)).or_default() += 1);
    let mut rows: Vec<String> = counts.iter().map(|((value, start), count)| format!("{value}@{start}={count}")).collect();
    rows.sort();
    rows
}

fn finish(rig: &mut Rig, partitions: i32) -> Vec<String> {
    let all: Vec<TopicPartition> = (0..partitions).map(|number| TopicPartition::new("left", number)).collect();
    let ends = rig.log.consumer(Isolation::ReadCommitted).unwrap().end_offsets(&all, Isolation::ReadCommitted).unwrap();
    rig.board.declare_end(all.into_iter().zip(ends).collect());
    (0..5).for_each(|_| rig.commit());
    let mut rows = rig.read("out");
    rows.sort();
    rows
}

fn late(rig: &Rig) -> u64 {
    crate::runtime::Progress::of(&rig.board.facts()).late
}

#[test]
fn a_crash_after_any_commit_repeats_no_window_and_loses_none() {
    let mut rig = Rig::new(per_second(), 3);
    rig.settings.watermark_interval = Duration::ZERO;
    rig.settings.close_batch = 3;
    let mut rig = rig.start();
    for part in 0..12 {
        write(&rig, part * 25..(part + 1) * 25);
        rig.settle();
        // Announced and sent, heard and closed, closed and sent.
        (0..3).for_each(|_| rig.commit());
        assert_eq!(late(&rig), 0, "part {part}");
        rig.crash();
    }
    assert_eq!(finish(&mut rig, 3), batch(0..300));
    assert_eq!(late(&rig), 0);
}

#[test]
fn a_crash_before_a_commit_repeats_but_loses_nothing_and_finds_nothing_late() {
    let mut rig = Rig::new(per_second(), 3);
    rig.settings.watermark_interval = Duration::ZERO;
    let mut rig = rig.start();
    for part in 0..12 {
        write(&rig, part * 25..(part + 1) * 25);
        rig.settle();
        if part % 3 == 0 {
            rig.commit();
        }
        assert_eq!(late(&rig), 0, "part {part}");
        rig.crash();
    }
    let rows = finish(&mut rig, 3);
    assert_eq!(late(&rig), 0);
    for expected in batch(0..300) {
        let (window, count) = expected.split_once('=').unwrap();
        let counted = rows.iter().filter_map(|row| row.split_once('=')).filter(|(found, _)| *found == window);
        let most = counted.map(|(_, count)| count.parse::<i64>().unwrap()).max();
        assert!(most >= Some(count.parse().unwrap()), "{expected}: {most:?}");
    }
}

#[test]
fn exactly_once_a_crash_before_a_commit_repeats_nothing_either() {
    for every in 1..4 {
        let mut rig = Rig::new(per_second(), 3).exactly_once();
        rig.settings.watermark_interval = Duration::ZERO;
        rig.settings.close_batch = 2;
        rig.settings.instance_id = Some("one".into());
        let mut rig = rig.start();
        for part in 0..12 {
            write(&rig, part * 25..(part + 1) * 25);
            rig.settle();
            (0..part % 4).for_each(|_| rig.commit());
            assert_eq!(late(&rig), 0, "part {part}");
            if part % every == 0 {
                rig.crash();
            }
        }
        assert_eq!(finish(&mut rig, 3), batch(0..300));
        assert_eq!(late(&rig), 0);
    }
}

#[test]
fn exactly_once_a_crash_inside_a_close_pass_changes_no_result() {
    for crash_after in 0..8 {
        let mut rig = Rig::new(sliding(), 1).exactly_once();
        rig.settings.close_batch = 2;
        rig.settings.commit_interval = Duration::from_millis(250);
        rig.settings.instance_id = Some("one".into());
        let mut rig = rig.start();
        rig.settle();
        for (key, at) in [("a", 1_000), ("b", 1_000), ("c", 1_000), ("d", 1_000), ("a", 1_200), ("b", 1_700)] {
            rig.write("left", 0, Some(key), "x", at);
        }
        rig.write("left", 0, Some("z"), "x", 100_000);
        for _ in 0..crash_after {
            rig.clock.advance(Duration::from_millis(100));
            rig.round();
        }
        rig.crash();
        rig.settle();
        rig.settings.commit_interval = Duration::from_millis(100);
        let rows = finish(&mut rig, 1);
        let expected =
            ["a@1001=1", "a@500=1", "a@700=2", "b@1200=1", "b@500=1", "c@500=1", "d@500=1", "z@99500=1"].map(str::to_owned).to_vec();
        assert_eq!(rows, expected, "crash after {crash_after} rounds");
    }
}

#[test]
fn the_clock_alone_is_committed_and_goes_on_from_there() {
    let mut rig = Rig::new(per_second(), 2);
    rig.settings.watermark_interval = Duration::ZERO;
    let mut rig = rig.start();
    rig.settle();
    rig.write("left", 0, Some("k"), "a", 5_000);
    rig.write("left", 1, Some("k"), "a", 5_000);
    rig.settle();
    rig.commit();
    rig.pass(20_000);
    rig.pass(5_000);
    rig.commit();
    let (offset, known) = rig.committed("left", 0).unwrap();
    let w = known.time(entry::WATERMARK).unwrap();
    assert!(w >= Timestamp::from_millis(9_600), "five seconds of silence beyond idle, nothing read: {w}");
    assert_eq!((offset, known.entries.get(entry::SENT_IDLE)), (1, Some(&1)));
    let (_, heard) = rig.committed("app-per-second-repartition", 0).unwrap();
    assert_eq!(heard.entries.get(entry::UPSTREAM_TASKS), Some(&2));
    assert_eq!(heard.entries.get(&entry::upstream_idle(0)), Some(&3), "both idle");
    assert!(heard.time(entry::WATERMARK).unwrap() >= Timestamp::from_millis(6_000), "the reader's window is closed");
    assert_eq!(rig.read("out"), ["a@5000=2"]);
    rig.crash();
    rig.settle();
    let reader = TaskId { subtopology: 1, partition: 0 };
    assert_eq!(rig.threads[0].tasks[&reader].task.metadata(0).entries, heard.entries, "taken over before anybody announces again");
    rig.write("left", 0, Some("k"), "a", 5_100);
    rig.settle();
    rig.commit();
    assert_eq!((late(&rig), rig.read("out")), (1, vec!["a@5000=2".to_owned()]), "late stays late, closed stays closed");
}

#[test]
fn a_commit_inside_a_close_pass_keeps_the_place() {
    for crash_after in 0..8 {
        let mut rig = Rig::new(sliding(), 1);
        rig.settings.close_batch = 2;
        let mut rig = rig.start();
        rig.settle();
        for (key, at) in [("a", 1_000), ("b", 1_000), ("c", 1_000), ("d", 1_000), ("a", 1_200), ("b", 1_700)] {
            rig.write("left", 0, Some(key), "x", at);
        }
        rig.settle();
        rig.commit();
        rig.write("left", 0, Some("z"), "x", 100_000);
        for _ in 0..crash_after {
            rig.clock.advance(Duration::from_millis(100));
            rig.round();
        }
        rig.crash();
        rig.settle();
        let rows = finish(&mut rig, 1);
        let expected =
            ["a@1001=1", "a@500=1", "a@700=2", "b@1200=1", "b@500=1", "c@500=1", "d@500=1", "z@99500=1"].map(str::to_owned).to_vec();
        assert_eq!(rows, expected, "crash after {crash_after} rounds");
    }
}

#[test]
fn stream_time_does_not_send_a_closed_window_again_either() {
    let builder = StreamsBuilder::new();
    let windows = builder.stream(LEFT).group_by_key().windowed_by(TimeWindows::of(Duration::from_secs(1)));
    let counts = windows.emit(EmitStrategy::on_window_close()).count("per-second").to_stream();
    counts
        .map(|window, count| (window.key.clone(), format!("{}@{}={}", window.key, window.window.start, count.unwrap_or_default())))
        .to(OUT);
    let mut rig = Rig::new(builder.build().unwrap(), 1).start();
    rig.settle();
    for (key, at) in [("a", 100), ("a", 200), ("b", 1_500), ("b", 2_100)] {
        rig.write("left", 0, Some(key), "x", at);
    }
    rig.settle();
    rig.commit();
    assert_eq!(rig.read("out"), ["a@0=2", "b@1000=1"]);
    rig.crash();
    rig.settle();
    rig.write("left", 0, Some("c"), "x", 3_500);
    rig.settle();
    assert_eq!(rig.read("out"), ["a@0=2", "b@1000=1", "b@2000=1"]);
}
