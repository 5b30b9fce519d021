//! Tests of the task clock: each decision by name, and that the short cuts change nothing.

use proptest::prelude::*;

use super::super::Announcement;
use super::*;
use crate::record::TaskId;
use crate::window::Watermark;

const fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}
fn rule(disorder: u64, idle_after: u64) -> Watermark {
    Watermark::bounded(Duration::from_millis(disorder)).idle_after(Duration::from_millis(idle_after))
}
/// A task over exhausted source partitions with these rules.
fn over(rules: &[Watermark], close_when_idle: Option<u64>) -> TaskClock {
    let mut clock = TaskClock::new(close_when_idle.map(Duration::from_millis), None);
    for rule in rules {
        let source = clock.add_source(SourceClock::new(*rule, None, at(0)));
        clock.supply(source, Supply::Exhausted, at(0));
    }
    clock
}
fn w(clock: &mut TaskClock, now: i64) -> Option<i64> {
    clock.advance(at(now), || None).map(Timestamp::as_millis)
}
fn said(partition: i32, value: Option<i64>, idle: bool) -> ControlRecord {
    let announcement = Announcement { watermark: value.map(at), idle };
    ControlRecord { task: TaskId { subtopology: 0, partition }, tasks: 2, epoch: 0, announcement }
}

#[test]
fn the_slowest_partition_holds_and_w_never_goes_back() {
    let mut clock = over(&[rule(0, 1_000), rule(5, 1_000)], None);
    clock.observe(0, at(100), at(0));
    assert_eq!(w(&mut clock, 0), None, "the other partition has no value");
    clock.observe(1, at(40), at(0));
    assert_eq!(w(&mut clock, 0), Some(35), "each source keeps its own disorder (D21)");
    clock.observe(1, at(20), at(0));
    assert_eq!(w(&mut clock, 0), Some(35));
    clock.observe(1, at(300), at(0));
    assert_eq!(w(&mut clock, 0), Some(100));
}

#[test]
fn an_idle_partition_leaves_and_comes_back() {
    let mut clock = over(&[rule(0, 100), rule(0, 1_000)], None);
    clock.observe(1, at(500), at(0));
    assert_eq!(w(&mut clock, 99), None);
    assert_eq!(w(&mut clock, 100), Some(500), "idle at exactly idle_after (D9)");
    clock.supply(0, Supply::Withheld, at(150));
    clock.observe(1, at(600), at(150));
    assert_eq!(w(&mut clock, 150), Some(500), "a waiting record makes it active again");
}

#[test]
fn all_idle_goes_on_from_the_last_to_leave_d11() {
    for looks in [vec![500], vec![100, 250, 300, 301, 499, 500]] {
        let mut clock = over(&[rule(0, 100), rule(0, 300)], None);
        clock.observe(0, at(10), at(0));
        clock.observe(1, at(70), at(0));
        assert_eq!(w(&mut clock, 0), Some(10));
        let last = looks.into_iter().map(|now| w(&mut clock, now)).last();
        assert_eq!(last, Some(Some(70 + 200)), "from 70 at 300, however often anybody looked");
        clock.observe(0, at(80), at(500));
        assert_eq!(w(&mut clock, 500), Some(270), "it stays where it got to");
        assert_eq!(w(&mut clock, 550), Some(270));
        assert_eq!(w(&mut clock, 650), Some(270 + 50), "the second silence began at 600");
    }
}

#[test]
fn all_idle_without_a_clock_in_the_last() {
    let mut clock = over(&[rule(0, 100), rule(0, 300)], None);
    assert_eq!(w(&mut clock, 400), None, "nothing ever seen");
    let mut clock = over(&[rule(0, 100), rule(0, 300)], None);
    clock.observe(0, at(10), at(0));
    assert_eq!(w(&mut clock, 310), Some(20), "nobody else has a clock, so the one that left earlier counts");
}

#[test]
fn a_value_outweighs_the_clocks_of_those_that_left_earlier_d11() {
    let mut clock = TaskClock::new(None, Some(at(20)));
    for (silence, known) in [(100, Some(at(50))), (300, None)] {
        let source = clock.add_source(SourceClock::new(rule(0, silence), known, at(0)));
        clock.supply(source, Supply::Exhausted, at(0));
    }
    assert_eq!(w(&mut clock, 310), Some(30), "the last to leave has no clock and W has a value: it goes on from there");
}

#[test]
fn close_when_idle_closes_what_is_open_once_d14() {
    let mut clock = over(&[rule(0, 100)], Some(50));
    clock.observe(0, at(10), at(0));
    assert_eq!(clock.advance(at(149), || panic!("not due")), Some(at(59)));
    assert_eq!(clock.advance(at(160), || Some(at(1_000))), Some(at(1_010)), "from T + d on, at wall-clock speed");
    assert_eq!(clock.advance(at(300), || panic!("once per silence")), Some(at(1_150)));
    clock.observe(0, at(20), at(300));
    w(&mut clock, 300);
    assert_eq!(clock.advance(at(450), || None), Some(at(1_150 + 50)), "nothing is open: as far as the silence itself");
}

#[test]
fn the_end_overrides_everything_d18() {
    let mut clock = over(&[rule(0, 100), rule(0, 100).never_idle()], None);
    assert!(!clock.is_final());
    clock.finish();
    assert_eq!(clock.advance(at(500), || None), Some(Timestamp::MAX));
    assert!(!clock.is_idle(at(500)), "after the end a task is not idle");
    let mut again = TaskClock::new(None, Some(Timestamp::MAX));
    again.add_source(SourceClock::new(rule(0, 100), Some(at(7)), at(0)));
    assert_eq!(w(&mut again, 900), Some(i64::MAX), "restarts included");
}

#[test]
fn a_restart_keeps_w_and_no_partition_is_idle_d19() {
    let mut clock = TaskClock::new(None, Some(at(70)));
    let source = clock.add_source(SourceClock::new(rule(0, 100), Some(at(50)), at(1_000)));
    clock.supply(source, Supply::Exhausted, at(1_000));
    assert_eq!(w(&mut clock, 1_000), Some(70));
    assert!(!clock.is_idle(at(1_099)));
    assert!(clock.is_idle(at(1_100)));
    assert_eq!(w(&mut clock, 1_105), Some(75), "the silence is counted from the restart");
}

#[test]
fn a_reader_waits_for_the_unseen_and_leaves_out_the_idle_d15() {
    let mut clock = TaskClock::new(None, None);
    let reader = clock.add_repartition(Upstreams::unknown());
    assert_eq!(w(&mut clock, 0), None);
    clock.announced(reader, &said(0, Some(5), false), at(0));
    assert_eq!(w(&mut clock, 0), None, "task 1 was not heard of");
    clock.announced(reader, &said(1, Some(50), false), at(0));
    assert_eq!(w(&mut clock, 0), Some(5));
    clock.announced(reader, &said(0, Some(9), true), at(10));
    assert_eq!(w(&mut clock, 10), Some(50));
    assert_eq!(clock.upstreams(reader).kept().map(|last| last.idle).collect::<Vec<_>>(), [true, false]);
}

#[test]
fn an_idle_announcement_counts_before_it_leaves_d13() {
    let mut clock = TaskClock::new(None, None);
    let reader = clock.add_repartition(Upstreams::unknown());
    clock.announced(reader, &said(0, Some(5), false), at(0));
    clock.announced(reader, &said(1, Some(50), true), at(0));
    assert_eq!(w(&mut clock, 0), Some(5));
    clock.announced(reader, &said(0, Some(30), true), at(100));
    assert_eq!(w(&mut clock, 107), Some(37), "the value of the last to leave, at the reader's wall clock");
    clock.announced(reader, &said(0, Some(30), true), at(200));
    clock.announced(reader, &said(0, Some(2), true), at(200));
    assert_eq!(w(&mut clock, 207), Some(137), "a refresh does not disturb the silence");
}

#[test]
fn a_new_layout_ends_a_silence_and_waits() {
    let mut clock = TaskClock::new(None, None);
    let reader = clock.add_repartition(Upstreams::unknown());
    clock.announced(reader, &said(0, Some(5), true), at(0));
    clock.announced(reader, &said(1, Some(5), true), at(0));
    assert_eq!(w(&mut clock, 10), Some(15));
    clock.announced(reader, &ControlRecord { epoch: 1, tasks: 3, ..said(0, None, false) }, at(10));
    assert_eq!(w(&mut clock, 50), Some(15), "nobody of the new layout was heard of, so no time passes");
    clock.announced(reader, &said(1, Some(99), false), at(50));
    assert_eq!(w(&mut clock, 50), Some(15), "the old layout has no say");
}

#[test]
fn source_partitions_and_upstream_tasks_mix() {
    let mut clock = over(&[rule(0, 100)], None);
    let reader = clock.add_repartition(Upstreams::unknown());
    clock.observe(0, at(10), at(0));
    assert_eq!(w(&mut clock, 0), None);
    clock.announced(reader, &said(0, Some(4), false), at(0));
    clock.announced(reader, &said(1, None, true), at(0));
    assert_eq!(w(&mut clock, 0), Some(4));
    assert!(!clock.is_idle(at(100)));
    clock.announced(reader, &said(0, Some(40), true), at(50));
    assert_eq!(w(&mut clock, 120), Some(30), "the source left last, at 100, standing at 10");
}

/// One thing that happens to a task over two sources and two upstream tasks.
#[derive(Clone, Copy, Debug)]
enum Event {
    Pass(i64),
    Supply(usize, Supply),
    Observe(usize, i64),
    Announced(i32, Option<i64>, bool),
}

fn event() -> impl Strategy<Value = Event> {
    let supply = prop_oneof![Just(Supply::Exhausted), Just(Supply::Ready), Just(Supply::Withheld)];
    prop_oneof![
        (0..80i64).prop_map(Event::Pass),
        (0..3usize, supply).prop_map(|(source, supply)| Event::Supply(source, supply)),
        (0..3usize, -50..200i64).prop_map(|(source, at)| Event::Observe(source, at)),
        (0..2i32, prop::option::of(-50..200i64), any::<bool>()).prop_map(|(task, value, idle)| Event::Announced(task, value, idle)),
    ]
}

/// Plays the events; with `thorough` every look is over all inputs.
fn play(events: &[Event], thorough: bool) -> Vec<Option<i64>> {
    let mut clock = over(&[rule(0, 50), rule(7, 120), rule(3, 0)], Some(40));
    let reader = clock.add_repartition(Upstreams::unknown());
    let mut now = 0;
    let step = |event: &Event| {
        match *event {
            Event::Pass(by) => now += by,
            Event::Supply(source, supply) => clock.supply(source, supply, at(now)),
            Event::Observe(source, timestamp) => clock.observe(source, at(timestamp), at(now)),
            Event::Announced(task, value, idle) => {
                clock.survey.stale |= thorough;
                clock.announced(reader, &said(task, value, idle), at(now));
            }
        }
        clock.survey.stale |= thorough;
        clock.advance(at(now), || Some(at(now + 300))).map(Timestamp::as_millis)
    };
    events.iter().map(step).collect()
}

proptest! {
    #[test]
    fn short_cuts_change_nothing(events in prop::collection::vec(event(), 0..60)) {
        let quick = play(&events, false);
        prop_assert_eq!(&quick, &play(&events, true));
        prop_assert!(quick.is_sorted(), "W went back");
    }
}
