//! Schedules in event time and in wall-clock time, with Kafka Streams' rules (KS-P5).
//!
//! Event time: due at once when the first time is known, then aligned to the interval. Wall clock: first one interval after
//! scheduling. A jump over several deadlines fires once.

use crate::record::{Timestamp, millis};

/// Which clock a schedule follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TimeKind {
    Event,
    Wall,
}

/// Names a schedule of a task.
pub(crate) type ScheduleId = usize;

#[derive(Clone, Debug)]
struct Schedule {
    id: ScheduleId,
    /// Index of the driven node that made it.
    node: usize,
    kind: TimeKind,
    every_ms: i64,
    next: i64,
}

/// The schedules of one task.
#[derive(Debug, Default)]
pub(crate) struct Schedules {
    waiting: Vec<Schedule>,
    made: usize,
}

impl Schedules {
    /// A new schedule of a driven node. `anchor` aligns it: it is due at `anchor` plus multiples of the interval.
    pub(crate) fn add(
        &mut self,
        kind: TimeKind,
        every: std::time::Duration,
        anchor: Option<Timestamp>,
        now: Timestamp,
        node: usize,
    ) -> ScheduleId {
        let every_ms = millis(every).max(1);
        let next = match (kind, anchor) {
            (_, Some(anchor)) => first_after(anchor.as_millis(), every_ms, now.as_millis(), kind),
            (TimeKind::Event, None) => 0,
            (TimeKind::Wall, None) => now.as_millis().saturating_add(every_ms),
        };
        let id = self.made;
        self.made += 1;
        self.waiting.push(Schedule { id, node, kind, every_ms, next });
        id
    }

    pub(crate) fn cancel(&mut self, id: ScheduleId) {
        self.waiting.retain(|schedule| schedule.id != id);
    }

    /// The earliest schedule of this kind that is due at `now`, moved to its next deadline: (node, schedule).
    pub(crate) fn take_due(&mut self, kind: TimeKind, now: Timestamp) -> Option<(usize, ScheduleId)> {
        let now = now.as_millis();
        let due = self.waiting.iter_mut().filter(|schedule| schedule.kind == kind && schedule.next <= now);
        let earliest = due.min_by_key(|schedule| schedule.next)?;
        earliest.next = after(earliest.next, earliest.every_ms, now);
        Some((earliest.node, earliest.id))
    }

    /// Whether anything follows this clock.
    pub(crate) fn any(&self, kind: TimeKind) -> bool {
        self.waiting.iter().any(|schedule| schedule.kind == kind)
    }
}

/// The deadline after `next`, past `now`: missed ones are skipped.
fn after(next: i64, every: i64, now: i64) -> i64 {
    let following = next.saturating_add(every);
    if now < following { following } else { next.saturating_add(((now.saturating_sub(next)) / every + 1).saturating_mul(every)) }
}

fn first_after(anchor: i64, every: i64, now: i64, kind: TimeKind) -> i64 {
    let passed = match kind {
        TimeKind::Event => now > anchor,
        TimeKind::Wall => now >= anchor,
    };
    if passed { after(anchor, every, now) } else { anchor }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millis(ms)
    }

    #[test]
    fn an_event_time_schedule_fires_with_the_first_data_and_once_after_a_jump() {
        let mut schedules = Schedules::default();
        let id = schedules.add(TimeKind::Event, Duration::from_millis(10), None, at(-1), 3);
        assert_eq!(schedules.take_due(TimeKind::Event, at(4)), Some((3, id)));
        assert_eq!(schedules.take_due(TimeKind::Event, at(9)), None);
        assert_eq!(schedules.take_due(TimeKind::Event, at(57)), Some((3, id)), "a jump over five deadlines");
        assert_eq!(schedules.take_due(TimeKind::Event, at(59)), None, "fires once");
        assert_eq!(schedules.take_due(TimeKind::Event, at(60)), Some((3, id)), "and stays aligned");
    }

    #[test]
    fn a_wall_clock_schedule_waits_one_interval_and_can_be_cancelled() {
        let mut schedules = Schedules::default();
        let id = schedules.add(TimeKind::Wall, Duration::from_millis(10), None, at(100), 0);
        assert_eq!(schedules.take_due(TimeKind::Wall, at(109)), None);
        assert_eq!(schedules.take_due(TimeKind::Wall, at(110)), Some((0, id)));
        schedules.cancel(id);
        assert_eq!(schedules.take_due(TimeKind::Wall, at(1000)), None);
    }
}
