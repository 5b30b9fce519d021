//! The clock of one source partition: its largest timestamp, and since when it is silent.

use std::time::Duration;

use super::Reading;
use crate::record::Timestamp;
use crate::window::Watermark;

/// What a source partition has for its task, beside the record being processed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Supply {
    /// Everything is processed: the position is the end of the partition.
    Exhausted,
    /// Records wait in the task and are taken next.
    Ready,
    /// Records wait, or may wait, that the task cannot take: the partition is paused, not fetched, or its end is not known.
    /// The silence is counted anew from the last time this was said.
    Withheld,
}

/// The clock of one source partition under its source's own rule (D21).
#[derive(Clone, Debug)]
pub(crate) struct SourceClock {
    rule: Watermark,
    clock: Option<Timestamp>,
    touched: Timestamp,
    supply: Supply,
}

impl SourceClock {
    /// A partition as its task takes it over at wall time `now`, with the clock that was committed for it. Silence is counted from now on
    /// (D19), and until [`TaskClock::supply`](super::TaskClock::supply) says otherwise its end is not known.
    pub(crate) fn new(rule: Watermark, clock: Option<Timestamp>, now: Timestamp) -> Self {
        SourceClock { rule, clock, touched: now, supply: Supply::Withheld }
    }
    /// The largest timestamp seen: what is to be committed.
    pub(crate) fn clock(&self) -> Option<Timestamp> {
        self.clock
    }
    /// A record passed [`judge_future`]: the clock moves and the silence ends.
    pub(super) fn observe(&mut self, timestamp: Timestamp, now: Timestamp) {
        self.touched = now;
        self.clock = self.clock.max(Some(timestamp));
    }
    /// What the partition has now.
    pub(super) fn supply(&mut self, supply: Supply, now: Timestamp) {
        self.supply = supply;
        if supply == Supply::Withheld {
            self.touched = now;
        }
    }
    /// Mark and idleness.
    pub(super) fn reading(&self) -> Reading {
        let quiet = if self.supply == Supply::Exhausted { self.rule.idle_after } else { None };
        Reading { mark: self.clock.map(|clock| clock - self.rule.disorder), idle_at: quiet.map(|span| self.touched + span) }
    }
}

/// What becomes of a record whose timestamp may be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FutureVerdict {
    /// It is processed and moves the clock.
    Plausible,
    /// It goes to the bad-time topic or policy, is counted, moves no clock and ends no silence: one broken clock must not close
    /// the windows of everybody else (D10).
    TooFarAhead,
}

/// Judges a timestamp by the wall clock at which the record is taken. Exactly `max_future_skew` ahead is still plausible (D17).
pub(crate) fn judge_future(timestamp: Timestamp, now: Timestamp, max_future_skew: Duration) -> FutureVerdict {
    if timestamp > now + max_future_skew { FutureVerdict::TooFarAhead } else { FutureVerdict::Plausible }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    fn quiet_after(millis: u64) -> SourceClock {
        let mut clock =
            SourceClock::new(Watermark::bounded(Duration::from_millis(5)).idle_after(Duration::from_millis(millis)), None, at(0));
        clock.supply(Supply::Exhausted, at(0));
        clock
    }

    #[test]
    fn the_mark_is_the_largest_timestamp_less_the_disorder() {
        let mut clock = quiet_after(100);
        assert_eq!(clock.reading().mark, None);
        clock.observe(at(3), at(0));
        clock.observe(at(1), at(0));
        assert_eq!(clock.reading().mark, Some(at(-2)), "an older record does not take the clock back; marks may be negative");
    }

    #[test]
    fn idle_at_exactly_idle_after_d9() {
        let mut clock = quiet_after(100);
        clock.observe(at(3), at(50));
        assert_eq!(clock.reading().idle_since(at(149)), None);
        assert_eq!(clock.reading().idle_since(at(400)), Some(at(150)));
    }

    #[test]
    fn lag_is_never_idleness_and_starts_the_silence_anew_d9() {
        let mut clock = quiet_after(100);
        clock.supply(Supply::Withheld, at(500));
        assert_eq!(clock.reading().idle_since(at(5_000)), None);
        clock.supply(Supply::Exhausted, at(510));
        assert_eq!(clock.reading().idle_since(at(700)), Some(at(600)), "counted from the last time records were waiting");
        clock.supply(Supply::Ready, at(800));
        assert_eq!(clock.reading().idle_since(at(5_000)), None);
        clock.supply(Supply::Exhausted, at(800));
        assert_eq!(clock.reading().idle_since(at(800)), Some(at(600)), "a record that was refused does not end the silence (D10)");
    }

    #[test]
    fn never_idle_and_unknown_ends() {
        let mut never = SourceClock::new(Watermark::in_order().never_idle(), None, at(0));
        never.supply(Supply::Exhausted, at(0));
        assert_eq!(never.reading().idle_since(Timestamp::MAX), None);
        let unknown = SourceClock::new(Watermark::in_order(), Some(at(7)), at(0));
        assert_eq!(unknown.reading(), Reading { mark: Some(at(7)), idle_at: None }, "before the first look at its end it is not idle");
    }

    #[test]
    fn the_clamp_is_strict_d17() {
        let hour = Duration::from_secs(3600);
        assert_eq!(judge_future(at(3_600_010), at(10), hour), FutureVerdict::Plausible);
        assert_eq!(judge_future(at(3_600_011), at(10), hour), FutureVerdict::TooFarAhead);
        assert_eq!(judge_future(Timestamp::MAX, at(10), hour), FutureVerdict::TooFarAhead);
    }
}
