//! Processors that take their time: a round ends in time for what is due.

use std::time::Duration;

use super::rig::Rig;
use super::*;
use crate::config::Guarantee;

const PARTITIONS: i32 = 3;

/// Copies; each record takes so many milliseconds.
fn slow(guarantee: Guarantee, millis: u64, merged: bool) -> Rig {
    let (clock, builder) = (Rig::clock(), StreamsBuilder::new());
    let goes = clock.clone();
    let left = builder.stream(LEFT);
    let words = if merged { left.merge(&builder.stream(RIGHT)) } else { left };
    words.peek(move |_, _| goes.advance(Duration::from_millis(millis))).to(OUT);
    let mut rig = Rig::with_clock(clock, builder.build().unwrap(), PARTITIONS);
    rig.settings.guarantee = guarantee;
    rig
}

/// Into each partition.
fn load(rig: &Rig, topic: &str, records: i64) {
    for n in 0..records * i64::from(PARTITIONS) {
        rig.write(topic, i32::try_from(n % 3).unwrap(), Some("k"), "word", n);
    }
}

fn positions(rig: &Rig, topic: &str) -> Vec<i64> {
    (0..PARTITIONS).map(|partition| rig.committed(topic, partition).map_or(0, |(offset, _)| offset)).collect()
}

/// One round, in milliseconds.
fn round(rig: &mut Rig) -> i64 {
    let before = rig.clock.now().as_millis();
    rig.round();
    rig.clock.now().as_millis() - before
}

#[test]
fn a_transaction_of_slow_records_is_committed_before_its_time_is_over() {
    let mut rig = slow(Guarantee::ExactlyOnce, 5, false).start();
    rig.settle();
    load(&rig, "left", 1_000);
    let rounds: Vec<i64> = (0..200).map(|_| round(&mut rig)).collect();
    assert_eq!(rig.threads[0].left(None), usize::MAX, "none has timed out: {:?}", &rounds[..10]);
    assert_eq!(rig.read("out").len(), 3_000);
    assert!(rounds.iter().all(|round| *round <= 120), "{rounds:?}");
}

#[test]
fn slow_tasks_are_committed_in_each_interval_and_none_waits_for_another() {
    for (guarantee, merged) in [(Guarantee::AtLeastOnce, false), (Guarantee::AtLeastOnce, true), (Guarantee::ExactlyOnce, true)] {
        let mut rig = slow(guarantee, 5, merged).start();
        rig.settle();
        load(&rig, "left", 50);
        load(&rig, "right", if merged { 50 } else { 0 });
        let mut before = positions(&rig, "left");
        for _ in 0..4 {
            let rounds: Vec<i64> = (0..2).map(|_| round(&mut rig)).collect();
            let after = positions(&rig, "left");
            let each = before.iter().zip(&after).all(|(before, after)| before < after);
            assert!(each, "{guarantee:?}, merged {merged}, {rounds:?}: {before:?} to {after:?}");
            before = after;
        }
    }
}

#[test]
fn a_clock_that_stands_still_ends_no_round() {
    let mut rig = slow(Guarantee::AtLeastOnce, 0, false).start();
    rig.settle();
    load(&rig, "left", 1_200);
    round(&mut rig);
    assert_eq!(Progress::taken(&rig), 3_000, "as many as one fetch brings, of each");
}
