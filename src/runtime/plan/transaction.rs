//! What follows when the transaction of a thread cannot be committed, and how large the next one may be (exactly once).
//!
//! A transaction holds what all tasks of a thread sent since the last commit, so what spoils it concerns all of those: they go back to where they
//! were committed. A task that sent nothing goes on: what it did is only in its memory, and goes into the next transaction.

use std::collections::BTreeSet;

use super::Command;
use crate::record::TaskId;

/// What is wrong with a transaction, or with the producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Trouble {
    /// The cluster did not answer for so long that records were given up, or positions: nothing is wrong with what was in it.
    Outage,
    /// Something in it failed; it can be aborted and nothing else.
    Spoilt,
    /// The group has moved on while the positions were on their way to it. The tasks are still the thread's.
    Outrun,
    /// The group refused the positions: others may own the tasks now.
    MemberFenced,
    /// It was open for too long: the log has aborted it.
    TimedOut,
    /// No answer came to its commit.
    Unknown,
    /// Another producer has the transactional id.
    ProducerFenced,
}

/// The tasks of a thread as its transaction sees them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Exposure {
    /// All of them.
    pub(crate) owned: BTreeSet<TaskId>,
    /// Those that take part in commits.
    pub(crate) running: BTreeSet<TaskId>,
    /// Those that were stopped by an error.
    pub(crate) failed: BTreeSet<TaskId>,
    /// Those with something in the open transaction.
    pub(crate) sent: BTreeSet<TaskId>,
}

/// From what is wrong to what is to be done, in order; nothing if nothing is wrong.
///
/// At least once the "transaction" is what was sent since the last commit. It cannot be taken back, so a task that failed concerns nobody else; but what
/// was lost must be sent again, and whoever has sent goes back for that.
pub(crate) fn remedies(trouble: Option<Trouble>, tasks: &Exposure) -> Vec<Command> {
    let reopen = |which: &BTreeSet<TaskId>| {
        let back = which.iter().filter(|task| tasks.owned.contains(task) && !tasks.failed.contains(task));
        back.map(|task| Command::Reopen(*task)).collect::<Vec<_>>()
    };
    let leave = || tasks.owned.iter().map(|task| Command::Close(*task)).chain([Command::Join]);
    match trouble {
        // A failed task must not be committed, and what it sent cannot be told from what the others sent.
        None if tasks.sent.is_disjoint(&tasks.failed) => Vec::new(),
        None | Some(Trouble::Outage | Trouble::Spoilt | Trouble::Outrun) => [vec![Command::Abort], reopen(&tasks.sent)].concat(),
        Some(Trouble::MemberFenced) => [Command::Abort].into_iter().chain(leave()).collect(),
        Some(Trouble::TimedOut) => [vec![Command::Shrink, Command::Discard], reopen(&tasks.sent)].concat(),
        // What is committed is seen once the next producer has the id; all positions may have moved, those of silent tasks too.
        Some(Trouble::Unknown) => [vec![Command::Discard], reopen(&tasks.running.union(&tasks.sent).copied().collect())].concat(),
        // Whoever took the id may have the tasks as well: the group knows. Until it has answered the id is not taken back.
        Some(Trouble::ProducerFenced) => [Command::Discard].into_iter().chain(leave()).collect(),
    }
}

/// What a time-out made of the batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shrunk {
    /// So many records per transaction from now on. `first`: nobody was told yet.
    To { records: usize, first: bool },
    /// Not even one record fits.
    TooLarge,
}

/// How many records one transaction may take.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct BatchLimit {
    records: Option<usize>,
    /// Time-outs in a row of transactions that could not be smaller.
    strikes: u32,
    warned: bool,
}

impl BatchLimit {
    /// A record is given up when it was alone in this many transactions that timed out one after the other: one may be bad luck, a process
    /// that stood still.
    const STRIKES: u32 = 3;
    /// A limit as large as this is none.
    const AMPLE: usize = 1 << 20;

    /// How many more fit behind so many.
    pub(crate) fn left(self, taken: usize) -> usize {
        self.records.map_or(usize::MAX, |limit| limit.saturating_sub(taken))
    }
    /// A transaction with so many records was open for too long.
    pub(crate) fn timed_out(&mut self, taken: usize) -> Shrunk {
        let records = (taken.min(self.records.unwrap_or(usize::MAX)) / 2).max(1);
        self.strikes = if taken <= 1 { self.strikes + 1 } else { 0 };
        self.records = Some(records);
        if self.strikes >= Self::STRIKES {
            self.strikes = 0;
            return Shrunk::TooLarge;
        }
        Shrunk::To { records, first: !std::mem::replace(&mut self.warned, true) }
    }
    /// One with so many records was committed: a full one may be followed by a larger one.
    pub(crate) fn committed(&mut self, taken: usize) {
        self.strikes = 0;
        self.records = match self.records {
            Some(limit) if taken >= limit => Some(limit * 2).filter(|limit| *limit < Self::AMPLE),
            same => same,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::Command::{Abort, Close, Discard, Join, Reopen, Shrink};
    use super::*;

    fn task(partition: i32) -> TaskId {
        TaskId { subtopology: 0, partition }
    }
    fn tasks(partitions: &[i32]) -> BTreeSet<TaskId> {
        partitions.iter().map(|partition| task(*partition)).collect()
    }
    /// Tasks 0 to 3, of which 3 is being restored; 0 and 1 have sent.
    fn exposure(failed: &[i32]) -> Exposure {
        let failed = tasks(failed);
        let running = tasks(&[0, 1, 2]).difference(&failed).copied().collect();
        Exposure { owned: tasks(&[0, 1, 2, 3]), running, failed, sent: tasks(&[0, 1]) }
    }

    #[test]
    fn nothing_is_done_for_a_task_that_failed_before_it_sent_anything() {
        assert_eq!(remedies(None, &exposure(&[])), []);
        assert_eq!(remedies(None, &exposure(&[2])), []);
    }

    #[test]
    fn a_task_that_failed_takes_back_what_all_have_sent() {
        assert_eq!(remedies(None, &exposure(&[0])), [Abort, Reopen(task(1))]);
        assert_eq!(remedies(Some(Trouble::Spoilt), &exposure(&[])), [Abort, Reopen(task(0)), Reopen(task(1))]);
        let outrun = remedies(Some(Trouble::Outrun), &exposure(&[]));
        assert_eq!(outrun, [Abort, Reopen(task(0)), Reopen(task(1))], "no task is given up");
    }

    #[test]
    fn who_is_no_member_any_more_gives_everything_up() {
        let close = [0, 1, 2, 3].map(|partition| Close(task(partition)));
        let expected: Vec<Command> = [Abort].into_iter().chain(close.clone()).chain([Join]).collect();
        assert_eq!(remedies(Some(Trouble::MemberFenced), &exposure(&[2])), expected);
        let expected: Vec<Command> = [Discard].into_iter().chain(close).chain([Join]).collect();
        assert_eq!(remedies(Some(Trouble::ProducerFenced), &exposure(&[])), expected);
    }

    #[test]
    fn a_new_producer_settles_what_the_old_one_left() {
        assert_eq!(remedies(Some(Trouble::TimedOut), &exposure(&[])), [Shrink, Discard, Reopen(task(0)), Reopen(task(1))]);
        let back = [Discard, Reopen(task(0)), Reopen(task(1)), Reopen(task(2))];
        assert_eq!(remedies(Some(Trouble::Unknown), &exposure(&[])), back, "a commit concerns positions of silent tasks too");
        assert_eq!(remedies(Some(Trouble::Unknown), &exposure(&[1])), [Discard, Reopen(task(0)), Reopen(task(2))]);
    }

    #[test]
    fn the_batch_is_halved_until_it_fits_and_grows_again() {
        let mut limit = BatchLimit::default();
        assert_eq!(limit.left(5_000_000), usize::MAX);
        assert_eq!(limit.timed_out(1000), Shrunk::To { records: 500, first: true });
        assert_eq!((limit.left(0), limit.left(499), limit.left(600)), (500, 1, 0));
        assert_eq!(limit.timed_out(400), Shrunk::To { records: 200, first: false });
        limit.committed(150);
        assert_eq!(limit.left(0), 200, "it was not full: nothing is known");
        limit.committed(200);
        assert_eq!(limit.left(0), 400);
        (0..12).for_each(|_| limit.committed(usize::MAX));
        assert_eq!(limit.left(0), usize::MAX);
    }

    #[test]
    fn a_record_that_is_alone_has_three_tries() {
        let mut limit = BatchLimit::default();
        for (taken, records) in [(3, 1), (1, 1), (1, 1)] {
            assert!(matches!(limit.timed_out(taken), Shrunk::To { records: r, .. } if r == records));
        }
        assert_eq!(limit.timed_out(1), Shrunk::TooLarge);
        limit.timed_out(1);
        limit.timed_out(1);
        limit.committed(1);
        assert!(matches!(limit.timed_out(1), Shrunk::To { .. }), "one that went through was no hopeless one");
    }
}
