//! When a commit is due, and its steps.

use std::time::Duration;

use super::pace::Pace;
use crate::record::{Timestamp, millis};

/// One numbered step of a commit. Each is a place where a crash may be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CommitStep {
    /// 1. No more records are taken; the proof of membership is taken here.
    Cut,
    /// 2. Caches emit downstream, changelogs are sent.
    Flush,
    /// 3. Control records go out behind the data.
    Watermarks,
    /// 4. Every send is acknowledged.
    Acks,
    /// 5. Positions and clocks are gathered.
    Offsets,
    /// 6. The positions are written down: what came before has happened, once it is done.
    Commit,
    /// 7. Stores make the changes their own, with the changelog offset that stands for them.
    Apply,
    /// 8. Repartition records below the committed positions are deleted.
    Purge,
}

impl CommitStep {
    /// The name of the moment before this step, for the kill table.
    pub(crate) fn failpoint(self) -> &'static str {
        match self {
            CommitStep::Cut => "commit.cut",
            CommitStep::Flush => "commit.flush",
            CommitStep::Watermarks => "commit.watermarks",
            CommitStep::Acks => "commit.acks",
            CommitStep::Offsets => "commit.offsets",
            CommitStep::Commit => "commit.commit",
            CommitStep::Apply => "commit.apply",
            CommitStep::Purge => "commit.purge",
        }
    }
}

/// Why a commit begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// The interval is over.
    Interval,
    /// Changes that only a commit can free exceed the budget.
    Bytes,
    /// A user's function asked for it.
    Asked,
    /// Tasks are to be given up, or the thread ends.
    Close,
    /// A task has read its inputs to the declared end.
    EndOfInput,
    /// The transaction holds as many records as it may.
    Batch,
    /// The transaction is open for a good part of the time that it has.
    Age,
    /// Something is to be committed, and commits are to be as many as possible.
    Adaptive,
}

/// What a thread knows when it asks whether a commit is due.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Standing {
    pub(crate) uncommitted_bytes: usize,
    pub(crate) budget: usize,
    pub(crate) asked: bool,
    pub(crate) ended: bool,
    pub(crate) closing: bool,
    /// No more records fit into the transaction.
    pub(crate) full: bool,
    /// The transaction is open for so long that it should end.
    pub(crate) aged: bool,
    /// Something was done since the last commit, and nobody wants it to wait.
    pub(crate) eager: bool,
    /// More is waiting to be read than was taken since the last commit: those who read results are behind anyway.
    pub(crate) behind: bool,
}

/// Keeps the times of commits and purges.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CommitTimer {
    interval: i64,
    purge_interval: i64,
    /// When the last commit began and ended.
    committed_at: Timestamp,
    ended_at: Timestamp,
    /// How long it took.
    took: i64,
    purged_at: Timestamp,
    pace: Pace,
    /// As in the last [`Standing`].
    behind: bool,
}

impl CommitTimer {
    /// The first interval begins now.
    pub(crate) fn new(interval: Duration, purge_interval: Duration, now: Timestamp) -> Self {
        let (interval, purge_interval, pace) = (millis(interval), millis(purge_interval), Pace::new(Duration::ZERO, now));
        CommitTimer { interval, purge_interval, committed_at: now, ended_at: now, took: 0, purged_at: now, pace, behind: false }
    }

    /// A commit that took longer than this is no measure for anything.
    const LONGEST: i64 = 2_000;

    /// Adaptive commits keep at least this far apart.
    pub(crate) fn no_closer_than(mut self, shortest: Duration) -> Self {
        self.pace = Pace::new(shortest, self.committed_at);
        self
    }

    /// Why a commit is due, if it is.
    pub(crate) fn due(&mut self, standing: Standing, now: Timestamp) -> Option<Due> {
        self.behind = standing.behind;
        match standing {
            Standing { closing: true, .. } => Some(Due::Close),
            Standing { ended: true, .. } => Some(Due::EndOfInput),
            Standing { asked: true, .. } => Some(Due::Asked),
            Standing { uncommitted_bytes, budget, .. } if uncommitted_bytes > budget => Some(Due::Bytes),
            Standing { full: true, .. } => Some(Due::Batch),
            Standing { aged: true, .. } => Some(Due::Age),
            Standing { eager: true, .. } if self.pace.left(now) == 0 => Some(Due::Adaptive),
            _ => (self.left(now) <= 0).then_some(Due::Interval),
        }
    }

    /// How long the next commit is not due by time. At most half of the time goes into commits, however short the interval is.
    fn left(&self, now: Timestamp) -> i64 {
        let apart = self.took.saturating_sub(since(self.ended_at, now));
        self.interval.saturating_sub(since(self.committed_at, now)).max(apart)
    }

    /// How long nothing is due by time alone; never nothing, so that who waits for it does not spin. `eager`: as in [`Standing`].
    pub(crate) fn rest(&self, eager: bool, now: Timestamp) -> Duration {
        let left = self.left(now);
        let left = if eager { left.min(self.pace.left(now)) } else { left }.max(1);
        Duration::from_millis(u64::try_from(left).unwrap_or(1))
    }

    /// How long records may be taken before a commit is due by time alone; if it is due already, for as long as it would not have been. `adaptive`:
    /// whatever is taken is to be committed as soon as may be.
    pub(crate) fn stint(&self, adaptive: bool, now: Timestamp) -> Duration {
        let left = self.left(now);
        let stint = if left > 0 { left } else { self.interval };
        let stint = if adaptive { stint.min(self.pace.stint(now)) } else { stint };
        Duration::from_millis(u64::try_from(stint).unwrap_or(0))
    }

    /// Whether a commit that begins now deletes what was read.
    pub(crate) fn purges(&self, why: Due, now: Timestamp) -> bool {
        why == Due::Close || since(self.purged_at, now) >= self.purge_interval
    }

    /// The last commit was over now.
    pub(crate) fn ended(&mut self, now: Timestamp) {
        let took = since(self.committed_at, now);
        self.pace.ended(took, self.interval, now);
        (self.ended_at, self.took) = (now, took.min(Self::LONGEST));
    }

    /// A commit is over that began now.
    pub(crate) fn done(&mut self, purged: bool, now: Timestamp) {
        (self.committed_at, self.ended_at, self.took) = (now, now, 0);
        self.pace.done(self.behind, self.interval, now);
        if purged {
            self.purged_at = now;
        }
    }
}

/// Whether a transaction that began then should end now: a third of its time is over, and a commit takes time too.
pub(crate) fn aged(opened: Option<Timestamp>, timeout: Duration, now: Timestamp) -> bool {
    opened.is_some() && youth(opened, timeout, now).is_zero()
}

/// How long it is until then; one that is not open yet begins now at the earliest.
pub(crate) fn youth(opened: Option<Timestamp>, timeout: Duration, now: Timestamp) -> Duration {
    let left = (millis(timeout) / 3).saturating_sub(since(opened.unwrap_or(now), now));
    Duration::from_millis(u64::try_from(left).unwrap_or(0))
}

/// The steps of a commit. `bounded`: some task has something to announce. `moved`: some position or clock has changed.
pub(crate) fn steps(bounded: bool, moved: bool, purge: bool) -> Vec<CommitStep> {
    let all = [
        (CommitStep::Cut, true),
        (CommitStep::Flush, true),
        (CommitStep::Watermarks, bounded),
        (CommitStep::Acks, true),
        (CommitStep::Offsets, moved),
        (CommitStep::Commit, moved),
        (CommitStep::Apply, true),
        (CommitStep::Purge, purge),
    ];
    all.into_iter().filter(|(_, wanted)| *wanted).map(|(step, _)| step).collect()
}

/// After what time a position is committed again that has not moved, where the log forgets those that nobody commits for so long: often enough that
/// a commit may fail, or a process stand still, a few times.
pub(crate) fn recommit_after(kept: Option<Duration>) -> Duration {
    const AT_LEAST: Duration = Duration::from_secs(3600);
    kept.map_or(AT_LEAST, |kept| (kept / 4).min(AT_LEAST))
}

pub(super) fn since(then: Timestamp, now: Timestamp) -> i64 {
    now.as_millis().saturating_sub(then.as_millis())
}

#[cfg(test)]
mod tests {
    use super::CommitStep::{Acks, Apply, Commit, Cut, Flush, Offsets, Purge, Watermarks};
    use super::*;

    const fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    #[test]
    fn the_steps_in_order() {
        assert_eq!(steps(true, true, true), [Cut, Flush, Watermarks, Acks, Offsets, Commit, Apply, Purge]);
        assert_eq!(steps(false, true, false), [Cut, Flush, Acks, Offsets, Commit, Apply]);
        assert_eq!(steps(true, false, false), [Cut, Flush, Watermarks, Acks, Apply], "nothing moved: nothing is written down");
    }

    #[test]
    fn the_interval_is_an_upper_bound() {
        let mut timer = CommitTimer::new(Duration::from_millis(100), Duration::from_secs(30), at(0));
        let quiet = Standing { budget: 10, ..Standing::default() };
        assert_eq!((timer.due(quiet, at(99)), timer.rest(true, at(99))), (None, Duration::from_millis(1)));
        assert_eq!(timer.due(quiet, at(100)), Some(Due::Interval));
        timer.done(false, at(100));
        assert_eq!(timer.due(quiet, at(199)), None);
        assert_eq!(timer.due(Standing { uncommitted_bytes: 10, ..quiet }, at(101)), None, "the budget itself is not too much");
        assert_eq!(timer.due(Standing { uncommitted_bytes: 11, ..quiet }, at(101)), Some(Due::Bytes));
        assert_eq!(timer.due(Standing { asked: true, ..quiet }, at(101)), Some(Due::Asked));
        assert_eq!(timer.due(Standing { ended: true, ..quiet }, at(101)), Some(Due::EndOfInput));
        assert_eq!(timer.due(Standing { closing: true, ended: true, ..quiet }, at(101)), Some(Due::Close));
        assert_eq!(timer.due(Standing { full: true, aged: true, ..quiet }, at(101)), Some(Due::Batch));
        assert_eq!(timer.due(Standing { aged: true, eager: true, ..quiet }, at(101)), Some(Due::Age));
        assert_eq!(timer.due(Standing { eager: true, ..quiet }, at(101)), Some(Due::Adaptive));
    }

    #[test]
    fn what_is_not_to_wait_waits_for_the_pace_and_never_beyond_the_interval() {
        let paced =
            |shortest| CommitTimer::new(Duration::from_millis(100), Duration::ZERO, at(0)).no_closer_than(Duration::from_millis(shortest));
        let mut timer = paced(10);
        let eager = Standing { budget: 10, eager: true, ..Standing::default() };
        assert_eq!(timer.due(eager, at(0)), Some(Due::Adaptive), "the first one has nothing to wait for");
        timer.done(false, at(0));
        timer.ended(at(5));
        assert_eq!((timer.due(eager, at(14)), timer.rest(true, at(14))), (None, Duration::from_millis(1)));
        assert_eq!(timer.rest(false, at(14)), Duration::from_millis(86), "nothing is to be committed");
        assert_eq!(timer.due(eager, at(15)), Some(Due::Adaptive));
        assert_eq!(timer.due(Standing { behind: true, ..eager }, at(15)), Some(Due::Adaptive));
        timer.done(false, at(15));
        timer.ended(at(16));
        assert_eq!((timer.due(eager, at(35)), timer.due(eager, at(36))), (None, Some(Due::Adaptive)), "it was behind");
        let mut timer = paced(1_000);
        timer.done(false, at(0));
        assert_eq!((timer.due(eager, at(99)), timer.due(eager, at(100))), (None, Some(Due::Interval)));
    }

    #[test]
    fn a_transaction_is_old_when_a_third_of_its_time_is_over() {
        let timeout = Duration::from_secs(9);
        assert!(!aged(None, timeout, at(i64::MAX)));
        assert!(!aged(Some(at(1_000)), timeout, at(3_999)));
        assert!(aged(Some(at(1_000)), timeout, at(4_000)));
        assert_eq!(youth(None, timeout, at(77)), Duration::from_secs(3));
        assert_eq!([3_999, 9_999].map(|now| youth(Some(at(1_000)), timeout, at(now)).as_millis()), [1, 0]);
    }

    #[test]
    fn records_are_taken_until_a_commit_is_due() {
        let mut timer = CommitTimer::new(Duration::from_millis(100), Duration::MAX, at(0)).no_closer_than(Duration::from_millis(10));
        let stints = |timer: &CommitTimer, now| [false, true].map(|adaptive| timer.stint(adaptive, at(now)).as_millis());
        assert_eq!((stints(&timer, 30), stints(&timer, 95)), ([70, 10], [5, 5]));
        timer.done(false, at(100));
        timer.ended(at(140));
        assert_eq!(stints(&timer, 150), [50, 30], "the commit took 40 ms");
        assert_eq!(stints(&timer, 190), [10, 10]);
        assert_eq!(stints(&timer, 200), [100, 40], "one is due, and does not come about");
    }

    #[test]
    fn a_commit_that_takes_longer_than_the_interval_leaves_as_much_time_for_records() {
        let mut timer = CommitTimer::new(Duration::from_millis(50), Duration::MAX, at(0));
        timer.done(false, at(50));
        timer.ended(at(750));
        let due = |timer: &mut CommitTimer, now| timer.due(Standing { budget: 10, ..Standing::default() }, at(now));
        assert_eq!((due(&mut timer, 1_449), timer.stint(false, at(1_449)).as_millis()), (None, 1));
        assert_eq!((due(&mut timer, 1_450), timer.stint(false, at(1_450)).as_millis()), (Some(Due::Interval), 50));
        assert_eq!(
            due(&mut timer, 1_449).or(timer.due(Standing { full: true, budget: 10, ..Standing::default() }, at(751))),
            Some(Due::Batch)
        );
        timer.done(false, at(1_450));
        timer.ended(at(60_000));
        assert_eq!((due(&mut timer, 61_999), due(&mut timer, 62_000)), (None, Some(Due::Interval)), "it hung");
    }

    #[test]
    fn positions_are_committed_again_well_before_they_are_forgotten() {
        let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
        assert_eq!(recommit_after(None), minutes(60));
        assert_eq!(recommit_after(Some(minutes(7 * 24 * 60))), minutes(60));
        assert_eq!(recommit_after(Some(minutes(60))), minutes(15));
        assert_eq!(recommit_after(Some(minutes(1))), Duration::from_secs(15));
    }

    #[test]
    fn purges_are_rare_but_for_the_last_one() {
        let mut timer = CommitTimer::new(Duration::ZERO, Duration::from_millis(30), at(0));
        assert!(!timer.purges(Due::Interval, at(29)));
        assert!(timer.purges(Due::Close, at(29)));
        assert!(timer.purges(Due::Interval, at(30)));
        timer.done(true, at(30));
        assert!(!timer.purges(Due::Bytes, at(31)));
        timer.done(false, at(59));
        assert!(timer.purges(Due::Bytes, at(60)), "a commit without a purge does not delay it");
    }
}
