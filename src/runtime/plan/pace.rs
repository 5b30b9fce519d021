//! How closely one commit follows another where results are to be seen soon.
//!
//! The shortest time between two commits is kept while all that comes is taken as it comes. A commit that takes longer than that is followed by
//! as much time without one, so that at most half of the time goes into commits; and while more is waiting than was done, each time is twice the one before:
//! whoever reads the results is behind anyway, and is served best by fewer commits.

use std::time::Duration;

use super::commit::since;
use crate::record::{Timestamp, millis};

/// The time between two adaptive commits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    shortest: i64,
    /// From the end of the last commit to the next one.
    gap: i64,
    /// When the last commit ended; until that is known, when it began.
    ended_at: Timestamp,
}

impl Pace {
    /// The first commit has nothing to keep away from.
    pub(super) fn new(shortest: Duration, now: Timestamp) -> Self {
        Pace { shortest: millis(shortest), gap: 0, ended_at: now }
    }

    /// The last commit was over now, and took so long.
    pub(super) fn ended(&mut self, took: i64, longest: i64, now: Timestamp) {
        (self.gap, self.ended_at) = (self.gap.max(took).min(longest), now);
    }

    /// How long the next commit keeps away from the last one.
    pub(super) fn left(&self, now: Timestamp) -> i64 {
        self.gap.saturating_sub(since(self.ended_at, now)).max(0)
    }

    /// How long records are taken for the next commit: until it may begin, or for as long as it would have kept away.
    pub(super) fn stint(&self, now: Timestamp) -> i64 {
        match self.left(now) {
            0 => self.gap.max(self.shortest),
            left => left,
        }
    }

    /// A commit that began now is over.
    pub(super) fn done(&mut self, behind: bool, longest: i64, now: Timestamp) {
        let doubled = self.gap.max(self.shortest).saturating_mul(2).min(longest);
        self.gap = if behind { doubled } else { self.shortest };
        self.ended_at = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONGEST: i64 = 100;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    /// A commit from one moment to another.
    fn commit(pace: &mut Pace, behind: bool, from: i64, to: i64) {
        pace.done(behind, LONGEST, at(from));
        pace.ended(to - from, LONGEST, at(to));
    }

    #[test]
    fn the_first_commit_waits_for_nothing_and_the_next_for_the_shortest_time() {
        let mut pace = Pace::new(Duration::from_millis(10), at(0));
        assert_eq!(pace.left(at(0)), 0);
        commit(&mut pace, false, 0, 3);
        assert_eq!([3, 12, 13, 500].map(|now| pace.left(at(now))), [10, 1, 0, 0]);
    }

    #[test]
    fn no_more_than_half_of_the_time_goes_into_commits() {
        let mut pace = Pace::new(Duration::from_millis(10), at(0));
        commit(&mut pace, false, 0, 30);
        assert_eq!((pace.left(at(30)), pace.left(at(60))), (30, 0));
        commit(&mut pace, false, 60, 60 + 3 * LONGEST);
        assert_eq!(pace.left(at(60 + 3 * LONGEST)), LONGEST, "the interval is the upper bound");
    }

    #[test]
    fn who_is_behind_commits_less_often_each_time_and_who_has_caught_up_often_again() {
        let mut pace = Pace::new(Duration::from_millis(10), at(0));
        let mut now = 0;
        let gaps = [true, true, true, true, true, false].map(|behind| {
            commit(&mut pace, behind, now, now + 1);
            let left = pace.left(at(now + 1));
            now += 1 + left;
            left
        });
        assert_eq!(gaps, [20, 40, 80, LONGEST, LONGEST, 10]);
    }
}
