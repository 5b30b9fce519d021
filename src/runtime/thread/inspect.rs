//! What a simulation looks at between two rounds.

use std::sync::Arc;

use crate::record::TaskId;
use crate::runtime::plan::TaskState;
use crate::runtime::task::Task;
use crate::runtime::thread::StreamThread;

impl StreamThread {
    /// Its member in the group, or the last one it was.
    pub(crate) fn member_id(&self) -> Arc<str> {
        self.member.token().member
    }

    /// Its tasks; true for those whose state is complete.
    pub(crate) fn tasks(&self) -> impl Iterator<Item = (TaskId, bool, &Task)> {
        self.tasks.iter().map(|(id, active)| (*id, matches!(active.state, TaskState::Running | TaskState::Finished), &active.task))
    }
}
