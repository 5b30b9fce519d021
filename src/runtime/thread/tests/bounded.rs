//! Bounded mode: clocks that are committed, announcements through a shuffle, cut close passes.

use std::time::Duration;

use super::rig::Rig;
use super::{LEFT, OUT};
use crate::dsl::{Consumed, KGroupedStream, StreamsBuilder};
use crate::record::Timestamp;
use crate::topology::Topology;
use crate::watermark::entry;
use crate::window::{EmitStrategy, TimeWindows, Watermark};

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
    told_on_close(&builder.stream(source).group_by(|_, value| value.clone()));
    builder.build().unwrap()
}

/// Counts in windows of 100 ms, told as they close.
pub(super) fn told_on_close(grouped: &KGroupedStream<String, String>) {
    grouped
        .windowed_by(TimeWindows::of(Duration::from_millis(100)))
        .emit(EmitStrategy::on_window_close())
        .count("windows")
        .to_stream()
        .map(|window, count| (window.key.clone(), format!("{}@{}={}", window.key, window.window.start, count.unwrap_or_default())))
        .to(OUT);
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
fn the_last_words_from_upstream_are_heard_by_a_task_that_is_busy_closing() {
    let mut rig = Rig::new(shuffled_windows(), 1);
    rig.settings.close_batch = 1;
    rig.settings.watermark_interval = Duration::ZERO;
    let mut rig = rig.start();
    rig.settle();
    (0..20).for_each(|n| rig.write("left", 0, Some("k"), &format!("w{n:02}"), n));
    rig.write("left", 0, Some("k"), "last", 1000);
    for _ in 0..3 {
        rig.round();
    }
    rig.clock.advance(Duration::from_millis(100));
    for _ in 0..4 {
        rig.round();
    }
    assert!(rig.read("out").len() < 15, "in the middle of closing");
    rig.write("left", 0, Some("k"), "straggler", 1010);
    let ends = [(crate::record::TopicPartition::new("left", 0), 22)].into_iter().collect();
    rig.board.declare_end(ends);
    (0..4).for_each(|_| rig.pass(100));
    let out = rig.read("out");
    assert_eq!((out.len(), out.contains(&"straggler@1000=1".to_owned())), (22, true), "{out:?}");
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
