//! What an error stops: one task, the thread's membership, or the thread.

use std::time::Duration;

use crate::error::ErrorKind;

/// What follows an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Try the same again in the next round; nothing was done.
    Retry,
    /// This task takes no more records; the others go on.
    StopTask,
    /// Others own the tasks now: forget them all, uncommitted, and join the group again.
    Rejoin,
    /// The thread cannot go on.
    StopThread,
}

/// An error of one task: while it reads, processes, flushes, restores or applies. Whatever it is, the others need not suffer.
pub(crate) fn judge_task(kind: ErrorKind) -> Verdict {
    match kind {
        ErrorKind::Retriable => Verdict::Retry,
        ErrorKind::Fenced => Verdict::Rejoin,
        _ => Verdict::StopTask,
    }
}

/// An error of what all tasks of a thread share: membership, polling, the commit of positions.
pub(crate) fn judge_commit(kind: ErrorKind) -> Verdict {
    match kind {
        ErrorKind::Retriable => Verdict::Retry,
        ErrorKind::Fenced => Verdict::Rejoin,
        _ => Verdict::StopThread,
    }
}

/// How long a task waits whose stores could not take over what is committed (a full disk, say), by how often it has failed before. Its tail is restored
/// from the changelogs then.
pub(crate) fn patience(failed: u32) -> Duration {
    Duration::from_secs(1 << failed.min(5)).min(Duration::from_secs(30))
}

/// Whether a task with so many inputs, of which so many have no committed position, must not begin. `state`: something is in its stores.
/// `atomic`: state and positions are committed together; if not, a crash before the very first commit leaves state without any position.
pub(crate) fn lacks_positions(inputs: usize, missing: usize, state: bool, atomic: bool) -> bool {
    state && missing > 0 && (atomic || missing < inputs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_alone_suffers_from_its_data_and_its_functions() {
        let kinds =
            [ErrorKind::Serde, ErrorKind::Processing, ErrorKind::Panic, ErrorKind::CorruptState, ErrorKind::Log, ErrorKind::Internal];
        assert!(kinds.iter().all(|kind| judge_task(*kind) == Verdict::StopTask));
        assert_eq!([judge_task(ErrorKind::Retriable), judge_task(ErrorKind::Fenced)], [Verdict::Retry, Verdict::Rejoin]);
    }

    #[test]
    fn a_full_disk_is_looked_at_again_ever_less_often() {
        assert_eq!([0, 1, 2, 5, 99].map(|failed| patience(failed).as_secs()), [1, 2, 4, 30, 30]);
    }

    #[test]
    fn state_without_a_position_is_no_beginning() {
        assert!(!lacks_positions(2, 2, false, true), "new");
        assert!(!lacks_positions(2, 0, true, true));
        assert!(lacks_positions(2, 1, true, true) && lacks_positions(2, 1, true, false));
        assert!(lacks_positions(2, 2, true, true));
        assert!(!lacks_positions(2, 2, true, false), "it may have died before its first commit");
    }

    #[test]
    fn what_is_shared_stops_the_thread_unless_it_can_be_had_again() {
        assert_eq!(judge_commit(ErrorKind::Retriable), Verdict::Retry);
        assert_eq!(judge_commit(ErrorKind::Fenced), Verdict::Rejoin);
        assert_eq!(judge_commit(ErrorKind::Log), Verdict::StopThread);
        assert_eq!(judge_commit(ErrorKind::InvalidConfig), Verdict::StopThread);
    }
}
