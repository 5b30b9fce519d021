//! Backends on disk: one fjall database per task, one keyspace of it per store.
//!
//! A keyspace holds the rows of its store and one row that says what they stand for (see `backend::standing`): changelog offset, floor,
//! note. Both lie in one tree and are written in one batch of the database's journal, so they can never come apart. The journal is
//! written to the operating system at each batch and not synced: a killed process loses nothing. What a power loss may take is for
//! `state::home` to judge.

mod store;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::Duration;

use fjall::{Config, Database, Keyspace, KeyspaceCreateOptions, PersistMode};

use crate::clock::let_others_go_on;
use crate::error::StoreError;
use crate::state::backend::StoreBackend;
use crate::state::backend::engine::{InUse, TaskDatabase};
use store::FjallBackend;

/// What the databases of an instance may use together.
#[derive(Clone)]
pub(crate) struct Budget {
    /// Its cache is the one that all databases share.
    shared: Config,
    /// Bytes of one store that are collected before they go to a file.
    write_buffer: u64,
}

impl Budget {
    /// Shares out so many bytes: half of them are a cache for all databases; what one store has not yet written to a file takes at most
    /// a thirty-second part, within bounds in which files have a sensible size.
    pub(crate) fn of(memory: u64) -> Self {
        let shared = Database::builder(Path::new(".")).cache_size(memory / 2).into_config();
        Budget { shared, write_buffer: (memory / 32).clamp(1 << 20, 16 << 20) }
    }
}

/// The stores of one task on disk.
pub(crate) struct FjallDatabase {
    database: Database,
    write_buffer: u64,
}

/// How long a database that somebody holds is waited for, and how often it is looked at.
const GLANCE: Duration = Duration::from_millis(20);
const GLANCES: u32 = 50;

/// Open files that one database keeps at hand.
const OPEN_FILES: usize = 64;

impl FjallDatabase {
    /// Opens the database in the folder, or makes it. What the folder holds may be damaged; the library that reads it may even panic
    /// over it, which is an error like any other here.
    pub(crate) fn open(folder: &Path, budget: &Budget) -> Result<Self, StoreError> {
        // One thread writes buffers to files, the other one merges files: a long merge must not hold commits up.
        let builder = Database::builder(folder).worker_threads(2).max_cached_files(Some(OPEN_FILES));
        let mut config = builder.max_journaling_size(128 << 20).into_config();
        config.cache = budget.shared.cache.clone();
        let mut opened = catch_unwind(AssertUnwindSafe(|| Database::open(config.clone())));
        for _ in 0..GLANCES {
            // A child that is just being started may hold the file for a moment yet.
            let Ok(Err(fjall::Error::Locked)) = opened else { break };
            let_others_go_on(GLANCE);
            opened = catch_unwind(AssertUnwindSafe(|| Database::open(config.clone())));
        }
        match opened {
            Ok(Ok(database)) => Ok(FjallDatabase { database, write_buffer: budget.write_buffer }),
            Ok(Err(fjall::Error::Locked)) => Err(StoreError::Backend { store: "*".to_owned(), source: Box::new(InUse) }),
            Ok(Err(error)) => Err(failed("*", error)),
            Err(_) => Err(StoreError::Backend { store: "*".to_owned(), source: "the database cannot be understood".into() }),
        }
    }

    fn keyspace(&self, name: &str) -> Result<Keyspace, StoreError> {
        let options = || KeyspaceCreateOptions::default().max_memtable_size(self.write_buffer);
        self.database.keyspace(name, options).map_err(|error| failed(name, error))
    }
}

impl TaskDatabase for FjallDatabase {
    fn store(&self, name: &str) -> Result<Box<dyn StoreBackend>, StoreError> {
        Ok(Box::new(FjallBackend::open(name, self.database.clone(), self.keyspace(name)?)?))
    }
    fn store_wiped(&self, name: &str) -> Result<Box<dyn StoreBackend>, StoreError> {
        let keyspace = self.keyspace(name)?;
        keyspace.clear().map_err(|error| failed(name, error))?;
        Ok(Box::new(FjallBackend::open(name, self.database.clone(), keyspace)?))
    }
    fn sync(&self) -> Result<(), StoreError> {
        self.database.persist(PersistMode::SyncAll).map_err(|error| failed("*", error))
    }
}

/// An error of the library.
fn failed(store: &str, error: fjall::Error) -> StoreError {
    StoreError::Backend { store: store.to_owned(), source: Box::new(error) }
}
