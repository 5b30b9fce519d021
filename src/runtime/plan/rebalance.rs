//! What a thread can be told to do, and what it does when its group gives or takes tasks.

use std::collections::BTreeSet;

use crate::record::TaskId;

/// What the group says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Membership {
    Assigned(Vec<TaskId>),
    RevocationRequested(Vec<TaskId>),
    Lost(Vec<TaskId>),
}

/// One thing to do, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    /// All commit steps for the whole thread.
    Commit,
    /// Make the task: look up its positions, open its stores, begin to restore them.
    Open(TaskId),
    /// Give the task up. What it did since the last commit is not kept.
    Close(TaskId),
    /// Tell the group that these may go to others.
    Release(Vec<TaskId>),
    /// Become a member again.
    Join,
    /// Take back everything that was sent since the last commit. Nothing can be taken back at least once.
    Abort,
    /// Do without this producer: the next one, once initialised, settles what it left.
    Discard,
    /// Put less into the next transaction.
    Shrink,
    /// Take a task back to where it is committed.
    Reopen(TaskId),
}

/// From what the thread owns and what the group says to what is to be done.
pub(crate) fn on_event(owned: &BTreeSet<TaskId>, event: &Membership) -> Vec<Command> {
    match event {
        // A task that is owned already is not opened twice, whatever the group thinks.
        Membership::Assigned(tasks) => tasks.iter().filter(|task| !owned.contains(task)).map(|task| Command::Open(*task)).collect(),
        // A revocation is a request: commit first, release last (a release before the commit would double output).
        Membership::RevocationRequested(tasks) => {
            let held: Vec<TaskId> = tasks.iter().filter(|task| owned.contains(task)).copied().collect();
            let commit = (!held.is_empty()).then_some(Command::Commit);
            let close = held.into_iter().map(Command::Close);
            commit.into_iter().chain(close).chain([Command::Release(tasks.clone())]).collect()
        }
        // Everything is gone, named or not: others may have begun from the last commit.
        Membership::Lost(_) => {
            let close = owned.iter().map(|task| Command::Close(*task));
            [Command::Abort].into_iter().chain(close).chain([Command::Join]).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(partition: i32) -> TaskId {
        TaskId { subtopology: 0, partition }
    }
    fn owned(tasks: &[i32]) -> BTreeSet<TaskId> {
        tasks.iter().map(|partition| task(*partition)).collect()
    }

    #[test]
    fn new_tasks_are_opened_once() {
        let commands = on_event(&owned(&[1]), &Membership::Assigned(vec![task(0), task(1), task(2)]));
        assert_eq!(commands, [Command::Open(task(0)), Command::Open(task(2))]);
    }

    #[test]
    fn a_revocation_commits_closes_and_only_then_releases() {
        let commands = on_event(&owned(&[0, 1]), &Membership::RevocationRequested(vec![task(1), task(2)]));
        assert_eq!(commands, [Command::Commit, Command::Close(task(1)), Command::Release(vec![task(1), task(2)])]);
        let commands = on_event(&owned(&[]), &Membership::RevocationRequested(vec![task(1)]));
        assert_eq!(commands, [Command::Release(vec![task(1)])], "nothing to commit");
    }

    #[test]
    fn what_is_lost_is_not_committed() {
        let commands = on_event(&owned(&[0, 1]), &Membership::Lost(vec![task(1)]));
        assert_eq!(commands, [Command::Abort, Command::Close(task(0)), Command::Close(task(1)), Command::Join]);
    }
}
