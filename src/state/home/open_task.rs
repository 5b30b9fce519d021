//! The state of one task while somebody owns it.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use crate::error::{Error, ErrorKind, Place, StoreError};
use crate::record::{TaskId, Timestamp};
use crate::state::backend::{Direction, StoreBackend, TaskDatabase, is_in_use, is_want};
use crate::state::home::MemoryRows;
use crate::state::home::directory::Directory;
use crate::state::home::shelf::{Damage, Leased, Shelf};
use crate::state::lock::lock;
use crate::state::rows::GO_ON;

/// Where rows lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    Memory,
    Disk,
}

/// Rows by store.
pub(super) struct OpenTask {
    task: TaskId,
    lease: u64,
    /// When the owner came.
    since: Timestamp,
    shelves: BTreeMap<String, (Origin, Arc<Mutex<Shelf>>)>,
    database: Option<Box<dyn TaskDatabase>>,
    memory: MemoryRows,
    /// Rows on disk are marked as open.
    marked: bool,
    /// Why the rows that were there are gone; each store that is opened tells.
    distrust: Option<String>,
    /// Files are damaged, and it is not known whose: each store that is opened is read through.
    suspect: bool,
    /// Stores that are to be forgotten as they are opened.
    condemned: BTreeSet<String>,
    rebuilt: Arc<AtomicU64>,
}

impl OpenTask {
    pub(super) fn new(task: TaskId, memory: MemoryRows, rebuilt: Arc<AtomicU64>) -> Self {
        OpenTask {
            task,
            lease: 0,
            since: Timestamp::from_millis(0),
            shelves: BTreeMap::new(),
            database: None,
            memory,
            marked: false,
            distrust: None,
            suspect: false,
            condemned: BTreeSet::new(),
            rebuilt,
        }
    }

    pub(super) fn lease(&self) -> u64 {
        self.lease
    }

    pub(super) fn is_damaged(&self) -> bool {
        self.shelves.values().any(|(_, shelf)| lock(shelf).damage.is_some())
    }

    #[cfg(test)]
    pub(super) fn break_reads(&self, store: &str) {
        lock(&self.shelves[store].1).broken = true;
    }

    /// Another owner: the former one is put out, and what is damaged is closed to be opened anew.
    pub(super) fn take_over(&mut self, lease: u64, now: Timestamp) {
        (self.lease, self.since) = (lease, now);
        let unmended: Vec<String> =
            self.shelves.iter().filter(|(store, (_, shelf))| self.mend(store, shelf).is_err()).map(|(store, _)| store.clone()).collect();
        let mut unwritable = !unmended.is_empty();
        self.condemned.extend(unmended);
        self.suspect = false;
        for (_, shelf) in self.shelves.values() {
            let mut shelf = lock(shelf);
            shelf.lease = lease;
            unwritable |= shelf.damage.is_some();
            self.suspect |= shelf.damage == Some(Damage::Suspect);
        }
        if unwritable {
            self.close();
        }
        self.marked = false; // before its first write the new owner says that it is there
    }

    /// The rows of a store, opened if they are not.
    pub(super) fn backend(&mut self, store: &str, origin: Origin, disk: Option<&Directory>) -> Result<Box<dyn StoreBackend>, Error> {
        if let (Origin::Disk, Some(disk)) = (origin, disk) {
            self.open_database(disk)?;
        }
        let open = self.shelves.get(store).filter(|(of, shelf)| *of == origin && lock(shelf).backend.is_some()).cloned();
        let shelf = match open {
            Some((_, shelf)) => {
                self.mend(store, &shelf)?;
                shelf
            }
            None => {
                let backend = match &self.database {
                    Some(database) if origin == Origin::Disk => {
                        let condemned = self.condemned.contains(store);
                        let opened = self.open_on_disk(store, &**database, condemned)?;
                        self.condemned.remove(store);
                        opened
                    }
                    _ => (self.memory)(self.task, store),
                };
                let shelf = Arc::new(Mutex::new(Shelf::new(backend, self.lease)));
                self.shelves.insert(store.to_owned(), (origin, shelf.clone()));
                shelf
            }
        };
        Ok(Box::new(Leased { shelf, store: store.to_owned(), lease: self.lease }))
    }

    /// Rows that could not be read are forgotten: that store alone is built anew.
    fn mend(&self, store: &str, shelf: &Mutex<Shelf>) -> Result<(), Error> {
        let mut shelf = lock(shelf);
        if shelf.damage == Some(Damage::Unreadable)
            && let Some(backend) = &mut shelf.backend
        {
            self.tell_rebuilt(store, "its rows could not be read");
            backend.wipe().map_err(corrupt)?;
            shelf.damage = None;
            #[cfg(test)]
            {
                shelf.broken = false;
            }
        }
        Ok(())
    }

    fn tell_rebuilt(&self, store: &str, why: &str) {
        tracing::warn!(task = %self.task, store, why, "the local state of the store was deleted: it is restored from the beginning of its changelog");
        self.rebuilt.fetch_add(1, Ordering::Relaxed);
    }

    fn open_on_disk(&self, store: &str, database: &dyn TaskDatabase, condemned: bool) -> Result<Box<dyn StoreBackend>, Error> {
        if condemned {
            return database.store_wiped(store).map_err(corrupt); // it was told when it was found out
        }
        let opened = match database.store(store).and_then(|rows| if self.suspect { read_through(rows) } else { Ok(rows) }) {
            Ok(rows) => {
                if let Some(why) = &self.distrust {
                    self.tell_rebuilt(store, why);
                }
                rows
            }
            Err(error) => {
                self.tell_rebuilt(store, &error.to_string());
                database.store_wiped(store).map_err(corrupt)?
            }
        };
        Ok(opened)
    }

    /// A database that cannot be opened is deleted: all stores of the task are built anew, since they share its journal.
    fn open_database(&mut self, disk: &Directory) -> Result<(), Error> {
        if !self.marked {
            self.distrust = disk.open(self.task, self.since)?;
            self.marked = true;
        }
        if self.database.is_some() {
            return Ok(());
        }
        let folder = disk.rows(self.task);
        let opened = disk.budget.open(&folder).or_else(|error| {
            if is_in_use(&error) {
                return Err(corrupt(error));
            }
            if is_want(&error) {
                return Err(Error::new(ErrorKind::Retriable, Place::default(), error.into()));
            }
            self.distrust = Some(error.to_string());
            std::fs::remove_dir_all(&folder).map_err(|error| crate::state::home::io("remove", &folder, &error))?;
            disk.budget.open(&folder).map_err(corrupt)
        });
        self.database = Some(opened?);
        Ok(())
    }

    /// Writes everything to the disk and says so. What cannot be read is forgotten, lest a later owner trust it.
    pub(super) fn settle(&mut self, now: Timestamp, disk: Option<&Directory>) {
        for (store, (_, shelf)) in &self.shelves {
            if let Err(error) = self.mend(store, shelf) {
                tracing::warn!(task = %self.task, store, %error, "a damaged store could not be deleted");
                return;
            }
        }
        if let Some(disk) = disk.filter(|_| self.marked && self.sync()) {
            disk.mark_clean(self.task, now);
        }
    }

    fn sync(&self) -> bool {
        let Some(database) = &self.database else { return false };
        let synced = database.sync();
        if let Err(error) = &synced {
            tracing::warn!(task = %self.task, %error, "the state could not be synced: after a power loss it would be restored");
        }
        synced.is_ok()
    }
    /// Closes it for good: no lease is the one that may use it.
    pub(super) fn put_out(&mut self) {
        self.close();
        self.lease = u64::MAX;
    }

    /// Closes what is on disk, whoever still holds it; its threads end here.
    pub(super) fn close(&mut self) {
        self.shelves.retain(|_, (origin, shelf)| {
            if *origin == Origin::Disk {
                lock(shelf).backend = None;
            }
            *origin == Origin::Memory
        });
        drop(self.database.take());
        self.marked = false;
        self.distrust = None;
    }
}

/// The same rows, if all of them can be read.
fn read_through(mut rows: Box<dyn StoreBackend>) -> Result<Box<dyn StoreBackend>, StoreError> {
    rows.scan((Bound::Unbounded, Bound::Unbounded), Direction::Forward, &mut |_, _| GO_ON)?;
    Ok(rows)
}

fn corrupt(error: StoreError) -> Error {
    Error::new(ErrorKind::CorruptState, Place::default(), error.into())
}
