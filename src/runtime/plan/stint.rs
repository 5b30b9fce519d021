//! How long records are taken in one round.
//!
//! Commits, the group and whoever stops the thread are looked after between two rounds, so a round must not outlast what they can wait for, however
//! long a record takes. Its time is shared out among the tasks: a slow one leaves the others theirs, and one that has nothing to do leaves them its own.

use std::time::Duration;

use super::commit::since;
use crate::record::{Timestamp, millis};

/// No round is longer, whatever is due: who stops the thread waits for it.
const LONGEST: i64 = 200;
/// No task has less of it, so that fast ones are not cut into pieces.
const LEAST: i64 = 2;
/// Records from one look at the clock to the next, at most. A look costs some 30 ns.
const STRIDE: usize = 64;

/// When a round ends in which nothing else is to be done for so long.
pub(crate) fn end_of_round(rest: Duration, now: Timestamp) -> Timestamp {
    now + Duration::from_millis(millis(rest).min(LONGEST).unsigned_abs())
}

/// When a task ends that begins now, if `tasks` share what is left until `end`, itself among them.
pub(crate) fn share(end: Timestamp, tasks: usize, now: Timestamp) -> Timestamp {
    let each = since(now, end) / i64::try_from(tasks.max(1)).unwrap_or(i64::MAX);
    now + Duration::from_millis(each.max(LEAST).unsigned_abs())
}

/// When to look at the clock: at each record if they are slow, and ever more rarely as long as they take no time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stride {
    until: Timestamp,
    seen: Timestamp,
    step: usize,
    next: usize,
}

impl Stride {
    /// From now until then.
    pub(crate) fn new(now: Timestamp, until: Timestamp) -> Self {
        Stride { until, seen: now, step: 1, next: 1 }
    }

    /// Whether time is over after so many records. Asks for the time now and then.
    #[inline]
    pub(crate) fn is_over(&mut self, taken: usize, clock: impl FnOnce() -> Timestamp) -> bool {
        taken >= self.next && self.look(taken, clock())
    }

    fn look(&mut self, taken: usize, now: Timestamp) -> bool {
        self.step = if now == self.seen { (self.step * 2).min(STRIDE) } else { 1 };
        (self.seen, self.next) = (now, taken + self.step);
        now >= self.until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    #[test]
    fn a_round_ends_when_something_is_due_and_soon_in_any_case() {
        assert_eq!(end_of_round(Duration::from_millis(50), at(1_000)), at(1_050));
        assert_eq!(end_of_round(Duration::from_secs(30), at(1_000)), at(1_200));
        assert_eq!(end_of_round(Duration::MAX, at(1_000)), at(1_200));
    }

    #[test]
    fn time_is_shared_out_among_those_that_are_still_to_come() {
        assert_eq!(share(at(90), 3, at(0)), at(30));
        assert_eq!(share(at(90), 2, at(0)), at(45), "the first had nothing to do");
        assert_eq!(share(at(90), 1, at(75)), at(90));
        assert_eq!(share(at(90), 1, at(300)), at(302), "the others took too long");
        assert_eq!(share(at(90), 1_000, at(0)), at(2));
    }

    /// Records of so many microseconds each, from 0 to 50 ms: how many were taken, and how often the clock was looked at.
    fn run(micros: usize, most: usize) -> (usize, usize) {
        let (mut stride, mut looks) = (Stride::new(at(0), at(50)), 0);
        let over = |taken: &usize| {
            let clock = || {
                looks += 1;
                at(i64::try_from(taken * micros / 1_000).unwrap())
            };
            stride.is_over(*taken, clock)
        };
        let taken = (1..=most).find(over).unwrap_or(most);
        (taken, looks)
    }

    #[test]
    fn the_clock_is_looked_at_often_only_where_records_are_slow() {
        assert_eq!(run(5_000, 1_000), (10, 10));
        assert_eq!(run(60_000, 1_000), (1, 1));
        assert_eq!(run(0, 1_000), (1_000, 20));
        let (taken, looks) = run(300, 1_000);
        assert!((167..=168).contains(&taken) && looks < 170, "{taken}, {looks}");
        let (taken, looks) = run(2, 100_000);
        assert!((25_000..25_064).contains(&taken) && looks < 25_000 / 30, "{taken}, {looks}");
    }

    #[test]
    fn records_that_become_slow_are_noticed_after_a_stride_at_most() {
        let mut stride = Stride::new(at(0), at(50));
        let clock = |taken: usize| move || at(if taken < 500 { 0 } else { 100 * i64::try_from(taken - 499).unwrap() });
        let over = (1..).find(|taken| stride.is_over(*taken, clock(*taken))).unwrap();
        assert!((500..500 + STRIDE).contains(&over), "{over}");
    }
}
