//! One instance of the application: its threads, alive or not, and the one that stands still in the middle of a round.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::fate::{Reins, SharedFate, Word};
use super::ports::FatefulLog;
use crate::clock::Clock;
use crate::config::Settings;
use crate::error::Error;
use crate::kafka::Connect;
use crate::record::{TaskId, Timestamp};
use crate::runtime::task::Task;
use crate::runtime::{Board, Crew, RestoreProgress, Round, StreamThread, prepare};
use crate::state::{MemoryRows, StateHome};
use crate::topology::Topology;

/// How an instance is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Condition {
    Running,
    /// Not scheduled since then.
    Paused(Timestamp),
    /// Dead since then; the group may not know yet.
    Killed(Timestamp),
    /// Gone in peace since then; its place is kept for a while if it has a lasting name.
    Stopped(Timestamp),
}

/// One life of an instance.
pub(super) struct Instance {
    pub(super) condition: Condition,
    pub(super) fate: SharedFate,
    pub(super) board: Arc<Board>,
    restored: Arc<Mutex<Vec<RestoreProgress>>>,
    /// None where a thread stands still in the middle of a round.
    threads: Vec<Option<StreamThread>>,
    standing: Option<Standing>,
}

/// What a round came to.
pub(super) enum Outcome {
    /// It is over; true if there may be more to do at once.
    Over(Result<bool, Error>),
    /// It stands still.
    Stands,
}

/// A round that stands still.
struct Standing {
    thread: usize,
    go: Sender<()>,
    told: Receiver<Word>,
    round: JoinHandle<(StreamThread, std::thread::Result<Result<Round, Error>>)>,
}

impl Instance {
    /// `process` tells this life from all others; one with a lasting name has it from there.
    pub(super) fn start(
        ports: FatefulLog,
        topology: &Topology,
        settings: &Arc<Settings>,
        (process, rows): (&str, MemoryRows),
        clock: Arc<dyn Clock>,
    ) -> Result<Self, Error> {
        let layout = prepare(&*ports.admin()?, topology, &settings.application_id)?;
        let count = settings.threads.max(1);
        let restored: Arc<Mutex<Vec<RestoreProgress>>> = Arc::default();
        let told = restored.clone();
        let listener = move |progress: &RestoreProgress| told.lock().unwrap_or_else(PoisonError::into_inner).push(progress.clone());
        let board = Board::new(Arc::new(layout), count, Vec::new(), vec![Box::new(listener)]);
        let fate = ports.fate.clone();
        let process: Arc<str> = ports.lasting.as_deref().unwrap_or(process).into();
        board.keep_state_in(StateHome::over(&*process, rows));
        let (topology, settings, now) = (topology.clone(), settings.clone(), clock.now());
        let crew = Crew { topology, settings, log: Arc::new(ports), clock, board: board.clone(), process, gate: None };
        let threads = (0..count).map(|number| StreamThread::new(number, &crew, now).map(Some));
        let threads = threads.collect::<Result<Vec<_>, Error>>()?;
        Ok(Instance { condition: Condition::Running, fate, board, restored, threads, standing: None })
    }

    pub(super) fn runs(&self) -> bool {
        self.condition == Condition::Running
    }

    /// Since when the group has heard nothing of it.
    pub(super) fn silent_since(&self) -> Option<Timestamp> {
        match self.condition {
            Condition::Running => None,
            Condition::Paused(since) | Condition::Killed(since) | Condition::Stopped(since) => Some(since),
        }
    }

    /// Each step of each restore in this life.
    pub(super) fn restored(&self) -> Vec<RestoreProgress> {
        self.restored.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many threads it has.
    pub(super) fn threads(&self) -> usize {
        self.threads.len()
    }

    /// One round of one thread. A thread that stops does so as one of the operating system's would.
    pub(super) fn round(&mut self, thread: usize, now: Timestamp) -> Outcome {
        let Some(mut stepped) = self.threads[thread].take() else { return Outcome::Stands };
        if !self.fate.may_stand_still() {
            let done = stepped.run_once(now, Duration::ZERO);
            self.threads[thread] = Some(stepped);
            return Outcome::Over(self.after_round(done, now));
        }
        let ((tell, told), (go, going)) = (mpsc::channel(), mpsc::channel());
        self.fate.rein(Reins { tell: tell.clone(), go: going });
        let round = std::thread::spawn(move || {
            let done = catch_unwind(AssertUnwindSafe(|| stepped.run_once(now, Duration::ZERO)));
            // Whoever does not listen any more does not want to know.
            let _ = tell.send(Word::Over);
            (stepped, done)
        });
        self.standing = Some(Standing { thread, go, told, round });
        self.await_round(now)
    }

    /// Waits until the round stands still or is over: nothing else runs meanwhile.
    fn await_round(&mut self, now: Timestamp) -> Outcome {
        match self.standing.as_ref().map(|standing| standing.told.recv()) {
            Some(Ok(Word::Stands)) => {
                self.condition = Condition::Paused(now);
                Outcome::Stands
            }
            _ => Outcome::Over(self.reap(now)),
        }
    }

    fn reap(&mut self, now: Timestamp) -> Result<bool, Error> {
        let Some(Standing { thread, round, .. }) = self.standing.take() else { return Ok(false) };
        let (stepped, done) = round.join().unwrap_or_else(|panic| resume_unwind(panic));
        self.threads[thread] = Some(stepped);
        self.after_round(done.unwrap_or_else(|panic| resume_unwind(panic)), now)
    }

    fn after_round(&mut self, done: Result<Round, Error>, now: Timestamp) -> Result<bool, Error> {
        self.fate.round();
        if self.fate.is_dead() {
            // What the dead thought of it is of no interest.
            self.condition = Condition::Killed(now);
            return Ok(true);
        }
        Ok(done? == Round::Worked)
    }

    /// A round that stands still goes on.
    pub(super) fn go_on(&mut self, now: Timestamp) -> Outcome {
        if let Some(standing) = &self.standing {
            // Somebody waits for it: it stands.
            let _ = standing.go.send(());
        }
        self.await_round(now)
    }

    /// Whether a round of it stands still.
    pub(super) fn stands(&self) -> bool {
        self.standing.is_some()
    }

    /// Commits and leaves.
    pub(super) fn close(&mut self, now: Timestamp) -> Result<(), Error> {
        let closed: Result<Vec<()>, Error> = self.threads.drain(..).flatten().map(|thread| thread.close(now)).collect();
        self.condition = if self.fate.is_dead() { Condition::Killed(now) } else { Condition::Stopped(now) };
        if self.fate.is_dead() { Ok(()) } else { closed.map(drop) }
    }

    /// Nothing is left of it.
    pub(super) fn bury(&mut self) {
        self.threads.clear();
    }

    /// Tasks of threads that may still commit.
    pub(super) fn tasks<'a>(&'a self, expelled: &'a BTreeSet<Arc<str>>) -> impl Iterator<Item = (TaskId, bool, &'a Task)> {
        let alive = matches!(self.condition, Condition::Running | Condition::Paused(_));
        let threads = self.threads.iter().flatten().filter(move |thread| alive && !expelled.contains(&thread.member_id()));
        threads.flat_map(StreamThread::tasks)
    }
}
