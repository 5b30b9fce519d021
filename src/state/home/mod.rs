//! Where an instance keeps the rows of its stores: in memory, or in a folder that it alone uses.
//!
//! ```text
//! <state_dir>/<application id>/
//!   lock       held by the process that owns the folder; its id as text
//!   format     version of what follows
//!   process    the process id, part of transactional ids
//!   0_3/       a task
//!     shape    what the task's part of the topology looked like
//!     mark     whether the rows can be trusted (`mark`)
//!     rocksdb/ the rows (`backend::rocksdb_backend`), or `db/` in a build without RocksDB (`backend::fjall_backend`)
//! ```
//!
//! A task takes a [`TaskLease`] and gets its backends from it. Rows stay here while the task is assembled anew (an aborted transaction), and
//! are closed, or in memory dropped, when the lease is given up. A later lease of the same task puts the former holder out: it can neither
//! read nor write any more. `docs/formats/state-directory.md` has the details.

mod directory;
mod mark;
mod open_task;
mod process_id;
mod shape;
mod shelf;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::error::{Error, ErrorKind, Place};
use crate::record::{TaskId, Timestamp, millis};
use crate::state::backend::{Engine, MemoryBackend, StoreBackend};
use crate::state::lock::lock;
use crate::state::spec::{Layout, StoreSpec};
use directory::Directory;
pub(crate) use mark::FileList;
use open_task::{OpenTask, Origin};
pub(crate) use process_id::drawn_id;
pub(crate) use shape::{Shapes, store_line};

/// How a home on disk is kept.
pub(crate) struct HomeSettings<'a> {
    pub(crate) directory: &'a Path,
    pub(crate) application_id: &'a str,
    /// What the sub-topologies look like now: state of others is refused.
    pub(crate) shapes: Shapes,
    /// State of tasks that nobody here owned for so long is deleted.
    pub(crate) cleanup_delay: Duration,
    /// What disk backends may hold in memory together.
    pub(crate) memory: u64,
    /// Which library keeps the rows.
    pub(crate) engine: Engine,
}

/// Where rows in memory come from: a task and a store of it.
pub(crate) type MemoryRows = Arc<dyn Fn(TaskId, &str) -> Box<dyn StoreBackend> + Send + Sync>;

/// The state of one instance.
pub(crate) struct StateHome {
    process_id: String,
    disk: Option<Directory>,
    memory: MemoryRows,
    tasks: Mutex<BTreeMap<TaskId, Entry>>,
    leases: AtomicU64,
    rebuilt: Arc<AtomicU64>,
    tended_at: AtomicI64,
}

/// A task that somebody owns. Its lock is its own: who opens, syncs or closes one task after the other, each of which may wait for the disk, keeps up
/// nobody who has to do with others. It is never waited for with the list of all tasks locked.
struct Entry {
    /// The number of the last lease.
    latest: u64,
    open: Arc<Mutex<OpenTask>>,
}

/// One owner's hold on the state of a task.
pub(crate) struct TaskLease {
    home: Arc<StateHome>,
    task: TaskId,
    number: u64,
}

impl StateHome {
    /// Rows in memory only. The process id is the caller's: chance has no place here.
    pub(crate) fn in_memory(process_id: impl Into<String>) -> Arc<Self> {
        StateHome::over(process_id, plain_memory())
    }

    /// Rows that are made elsewhere, and may outlive this home.
    pub(crate) fn over(process_id: impl Into<String>, memory: MemoryRows) -> Arc<Self> {
        Arc::new(StateHome::new(process_id.into(), None, memory, Timestamp::from_millis(0)))
    }

    /// Takes the folder into possession; `fresh_id` becomes the process id if the folder has none yet.
    pub(crate) fn on_disk(settings: HomeSettings<'_>, fresh_id: String, now: Timestamp) -> Result<Arc<Self>, Error> {
        let directory = Directory::take(settings, now)?;
        let process_id = directory.process_id(fresh_id)?;
        Ok(Arc::new(StateHome::new(process_id, Some(directory), plain_memory(), now)))
    }

    fn new(process_id: String, disk: Option<Directory>, memory: MemoryRows, now: Timestamp) -> Self {
        let (tasks, leases, tended_at) = (Mutex::default(), AtomicU64::new(0), AtomicI64::new(now.as_millis()));
        StateHome { process_id, disk, memory, tasks, leases, rebuilt: Arc::default(), tended_at }
    }

    /// Names this process among those of the application: kept in the state folder over restarts.
    pub(crate) fn process_id(&self) -> String {
        self.process_id.clone()
    }

    /// Stores whose rows could not be trusted and were forgotten, to be restored from the beginning of their changelogs.
    pub(crate) fn rebuilt_stores(&self) -> u64 {
        self.rebuilt.load(Ordering::Relaxed)
    }

    /// Opens the state of a task. Whoever held it before is put out.
    pub(crate) fn lease(self: &Arc<Self>, task: TaskId, now: Timestamp) -> TaskLease {
        let (number, open) = {
            let mut tasks = lock(&self.tasks);
            let number = self.leases.fetch_add(1, Ordering::Relaxed) + 1;
            let fresh = || Arc::new(Mutex::new(OpenTask::new(task, self.memory.clone(), self.rebuilt.clone())));
            let entry = tasks.entry(task).or_insert_with(|| Entry { latest: number, open: fresh() });
            entry.latest = number;
            (number, entry.open.clone())
        };
        let mut open = lock(&open);
        // Somebody may have come after this one, and been here before.
        if open.lease() < number {
            open.take_over(number, now);
        }
        TaskLease { home: self.clone(), task, number }
    }

    /// Looks after the folder: once in a while state of tasks that live elsewhere now is deleted.
    pub(crate) fn tend(&self, now: Timestamp) {
        const EVERY: Duration = Duration::from_secs(60);
        let Some(directory) = &self.disk else { return };
        let before = self.tended_at.load(Ordering::Relaxed);
        let due = now.as_millis() >= before.saturating_add(millis(EVERY));
        if due && self.tended_at.compare_exchange(before, now.as_millis(), Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            let tasks = lock(&self.tasks); // held: no task is opened while its folder may be on its way out
            directory.remove_orphans(&|task| tasks.contains_key(&task), now);
        }
    }

    /// Closes everything and lets go of the folder. Who still holds a store can read it no more, unless it was in memory.
    pub(crate) fn close(&self) {
        let tasks = std::mem::take(&mut *lock(&self.tasks));
        tasks.values().for_each(|entry| lock(&entry.open).put_out());
        if let Some(directory) = &self.disk {
            directory.let_go();
        }
    }

    fn on_task<R>(&self, lease: &TaskLease, act: impl FnOnce(&mut OpenTask, Option<&Directory>) -> R) -> Option<R> {
        let open = lock(&self.tasks).get(&lease.task)?.open.clone();
        let mut open = lock(&open);
        (open.lease() == lease.number).then(|| act(&mut open, self.disk.as_ref()))
    }
}

fn plain_memory() -> MemoryRows {
    Arc::new(|_, _| Box::<MemoryBackend>::default())
}

impl Drop for StateHome {
    fn drop(&mut self) {
        self.close();
    }
}

impl TaskLease {
    /// A store whose rows do not fit its changelog was wiped.
    pub(crate) fn rebuilt(&self, store: &str, why: &str) {
        tracing::warn!(task = %self.task, store, why, "the local state of the store was deleted: it is restored from the beginning of its changelog");
        self.home.rebuilt.fetch_add(1, Ordering::Relaxed);
    }

    /// The rows of a store of the task: those committed so far, however often it is asked.
    pub(crate) fn backend(&self, store: &str, spec: &StoreSpec) -> Result<Box<dyn StoreBackend>, Error> {
        let on_disk = self.home.disk.is_some() && spec.layout == Some(Layout::Persistent);
        let origin = if on_disk { Origin::Disk } else { Origin::Memory };
        let given = self.home.on_task(self, |open, disk| open.backend(store, origin, disk));
        given.unwrap_or_else(|| Err(refused(ErrorKind::Fenced, format!("task {} has another owner in this process now", self.task))))
    }

    /// From now on the rows of a store cannot be read.
    #[cfg(test)]
    pub(crate) fn break_reads(&self, store: &str) {
        self.home.on_task(self, |open, _| open.break_reads(store));
    }

    /// Whether rows of the task on disk could not be read or written since they were opened. What cannot be read is forgotten by the next lease.
    pub(crate) fn is_damaged(&self) -> bool {
        self.home.on_task(self, |open, _| open.is_damaged()).unwrap_or(false)
    }

    /// The owner gives the task up: rows on disk are closed so that nothing needs to be restored, rows in memory are dropped.
    pub(crate) fn give_up(&self, now: Timestamp) {
        let known = self.home.on_task(self, |open, disk| {
            open.settle(now, disk);
            open.close();
        });
        if known.is_some() {
            let mut tasks = lock(&self.home.tasks);
            // Unless another owner has come meanwhile.
            if tasks.get(&self.task).is_some_and(|entry| entry.latest == self.number) {
                tasks.remove(&self.task);
            }
        }
    }

    /// The owner is done, but its stores may still be read: as [`give_up`](Self::give_up), with rows left open until the home is closed.
    pub(crate) fn settle(&self, now: Timestamp) {
        self.home.on_task(self, |open, disk| open.settle(now, disk));
    }
}

fn refused(kind: ErrorKind, text: String) -> Error {
    Error::new(kind, Place::default(), text.into())
}

/// An error of the file system, and what was being done.
fn io(doing: &str, path: &Path, error: &std::io::Error) -> Error {
    refused(ErrorKind::InvalidConfig, format!("cannot {doing} {}: {error}", path.display()))
}

#[cfg(test)]
mod tests;
