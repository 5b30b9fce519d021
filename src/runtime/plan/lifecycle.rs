//! The states of an instance, of its threads and of their tasks, and which may follow which.
//!
//! ```text
//! instance   Created ─► Rebalancing ◄─► Running ─► Finished          (every declared end was reached)
//!               │            │             │
//!               └────────────┴──────┬──────┘
//!                                   ├─► Stopping ─► Stopped
//!                                   └─► Error                         (no task is left that could go on)
//!
//! thread     Created ─► Starting ─► Running ◄─► Rebalancing           (tasks are being restored)
//!               └───────────┴──────────┴────────────┴─► Stopping ─► Dead
//!
//! task       Created ─► Restoring ─► Running ─► Finished
//!               └───────────┴───────────┼──────────┴─► Closed
//!                           Failed ◄────┘   (and from Created and Restoring)  Failed ─► Closed
//! ```

/// Where an instance stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum State {
    /// Made, no thread has joined its group yet.
    Created,
    /// Threads are being given tasks, or restore the state of tasks they were given.
    Rebalancing,
    /// Every task of this instance is running.
    Running,
    /// Asked to stop: threads commit and leave.
    Stopping,
    /// Stopped as asked. It cannot be started again; start another one.
    Stopped,
    /// The end of input was declared, everything up to it is processed and committed.
    Finished,
    /// No task is left that could go on; [`errors`](crate::Streams::errors) says why.
    Error,
}

impl State {
    /// Whether this state is the last one.
    pub fn is_final(self) -> bool {
        matches!(self, State::Stopped | State::Finished | State::Error)
    }

    /// The one place that says which state may follow.
    pub(crate) fn may_become(self, next: State) -> bool {
        use State::{Created, Error, Finished, Rebalancing, Running, Stopped, Stopping};
        matches!(
            (self, next),
            (Created, Rebalancing | Stopping | Error)
                | (Rebalancing, Running | Stopping | Error)
                | (Running, Rebalancing | Finished | Stopping | Error)
                | (Stopping, Stopped | Error)
        )
    }
}

/// Where a thread stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum ThreadState {
    Created,
    /// It has joined the group and was given nothing yet.
    Starting,
    /// Some of its tasks are not running yet.
    Rebalancing,
    Running,
    Stopping,
    Dead,
}

impl ThreadState {
    pub(crate) fn may_become(self, next: ThreadState) -> bool {
        use ThreadState::{Created, Dead, Rebalancing, Running, Starting, Stopping};
        matches!(
            (self, next),
            (Created, Starting | Stopping)
                | (Starting, Rebalancing | Running | Stopping)
                | (Rebalancing, Running | Stopping)
                | (Running, Rebalancing | Stopping)
                | (Stopping, Dead)
        )
    }
}

/// Where a task stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum TaskState {
    Created,
    Restoring,
    Running,
    /// Its inputs ended, as declared, and everything of it is committed.
    Finished,
    /// It met an error and takes no more records; what it did since the last commit is not committed.
    Failed,
    Closed,
}

impl TaskState {
    pub(crate) fn may_become(self, next: TaskState) -> bool {
        use TaskState::{Closed, Created, Failed, Finished, Restoring, Running};
        matches!(
            (self, next),
            (Created, Restoring | Failed | Closed)
                | (Restoring, Running | Failed | Closed)
                | (Running, Finished | Failed | Closed)
                | (Finished | Failed, Closed)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs<S: Copy + std::fmt::Debug>(all: &[S], may: impl Fn(S, S) -> bool) -> Vec<String> {
        all.iter()
            .flat_map(|from| all.iter().map(move |to| (*from, *to)))
            .filter(|(from, to)| may(*from, *to))
            .map(|(from, to)| format!("{from:?}>{to:?}"))
            .collect()
    }

    #[test]
    fn every_pair_of_instance_states() {
        let all = [State::Created, State::Rebalancing, State::Running, State::Stopping, State::Stopped, State::Finished, State::Error];
        let legal = "Created>Rebalancing Created>Stopping Created>Error Rebalancing>Running Rebalancing>Stopping Rebalancing>Error \
                     Running>Rebalancing Running>Stopping Running>Finished Running>Error Stopping>Stopped Stopping>Error";
        assert_eq!(pairs(&all, State::may_become).join(" "), legal);
        let last: Vec<State> = all.into_iter().filter(|state| state.is_final()).collect();
        assert!(last.iter().all(|state| all.iter().all(|next| !state.may_become(*next))), "nothing follows a final state");
    }

    #[test]
    fn every_pair_of_thread_states() {
        use ThreadState::{Created, Dead, Rebalancing, Running, Starting, Stopping};
        let all = [Created, Starting, Rebalancing, Running, Stopping, Dead];
        let legal = "Created>Starting Created>Stopping Starting>Rebalancing Starting>Running Starting>Stopping Rebalancing>Running \
                     Rebalancing>Stopping Running>Rebalancing Running>Stopping Stopping>Dead";
        assert_eq!(pairs(&all, ThreadState::may_become).join(" "), legal);
    }

    #[test]
    fn every_pair_of_task_states() {
        use TaskState::{Closed, Created, Failed, Finished, Restoring, Running};
        let all = [Created, Restoring, Running, Finished, Failed, Closed];
        let legal = "Created>Restoring Created>Failed Created>Closed Restoring>Running Restoring>Failed Restoring>Closed \
                     Running>Finished Running>Failed Running>Closed Finished>Closed Failed>Closed";
        assert_eq!(pairs(&all, TaskState::may_become).join(" "), legal);
    }
}
