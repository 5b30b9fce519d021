//! What an error stops: one task, the thread's membership, or the thread.

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
    fn what_is_shared_stops_the_thread_unless_it_can_be_had_again() {
        assert_eq!(judge_commit(ErrorKind::Retriable), Verdict::Retry);
        assert_eq!(judge_commit(ErrorKind::Fenced), Verdict::Rejoin);
        assert_eq!(judge_commit(ErrorKind::Log), Verdict::StopThread);
        assert_eq!(judge_commit(ErrorKind::InvalidConfig), Verdict::StopThread);
    }
}
