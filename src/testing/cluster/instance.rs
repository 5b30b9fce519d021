//! One instance of the application: its threads, alive or not.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::fate::SharedFate;
use super::ports::FatefulLog;
use crate::config::Settings;
use crate::error::Error;
use crate::kafka::{Connect, MemoryLog};
use crate::record::{TaskId, Timestamp};
use crate::runtime::task::Task;
use crate::runtime::{Board, StreamThread, prepare};
use crate::topology::Topology;

/// How an instance is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Condition {
    Running,
    /// Not scheduled since then.
    Paused(Timestamp),
    /// Dead since then; the group may not know yet.
    Killed(Timestamp),
    Stopped,
}

/// One life of an instance.
pub(super) struct Instance {
    pub(super) condition: Condition,
    pub(super) fate: SharedFate,
    pub(super) board: Arc<Board>,
    pub(super) threads: Vec<StreamThread>,
}

impl Instance {
    pub(super) fn start(
        log: &MemoryLog,
        topology: &Topology,
        settings: &Arc<Settings>,
        fate: SharedFate,
        now: Timestamp,
    ) -> Result<Self, Error> {
        let ports = FatefulLog { log: log.clone(), fate: fate.clone() };
        let layout = prepare(&*ports.admin()?, topology, &settings.application_id)?;
        let count = settings.threads.max(1);
        let board = Board::new(Arc::new(layout), count, Vec::new(), Vec::new());
        let threads = (0..count).map(|number| StreamThread::new(number, topology, settings, &ports, &board, now));
        let threads = threads.collect::<Result<Vec<_>, Error>>()?;
        Ok(Instance { condition: Condition::Running, fate, board, threads })
    }

    pub(super) fn runs(&self) -> bool {
        self.condition == Condition::Running
    }

    /// One round of one thread; true if there may be more to do at once. A thread that stops does so as one of the operating system's would.
    pub(super) fn round(&mut self, thread: usize, now: Timestamp) -> Result<bool, Error> {
        let done = self.threads[thread].run_once(now, Duration::ZERO);
        self.fate.round();
        if self.fate.is_dead() {
            // What the dead thought of it is of no interest.
            self.condition = Condition::Killed(now);
            return Ok(true);
        }
        Ok(done? == crate::runtime::Round::Worked)
    }

    /// Commits and leaves.
    pub(super) fn close(&mut self, now: Timestamp) -> Result<(), Error> {
        let closed: Result<Vec<()>, Error> = self.threads.drain(..).map(|thread| thread.close(now)).collect();
        self.condition = if self.fate.is_dead() { Condition::Killed(now) } else { Condition::Stopped };
        if self.fate.is_dead() { Ok(()) } else { closed.map(drop) }
    }

    /// The ids under which the group knows it.
    pub(super) fn members(&self) -> BTreeSet<Arc<str>> {
        self.threads.iter().map(StreamThread::member_id).collect()
    }

    /// Tasks of threads that may still commit.
    pub(super) fn tasks<'a>(&'a self, expelled: &'a BTreeSet<Arc<str>>) -> impl Iterator<Item = (TaskId, bool, &'a Task)> {
        let alive = matches!(self.condition, Condition::Running | Condition::Paused(_));
        let threads = self.threads.iter().filter(move |thread| alive && !expelled.contains(&thread.member_id()));
        threads.flat_map(StreamThread::tasks)
    }
}
