//! Backends in RocksDB: one database per task, one column family of it per store, and for stores whose time segments are dropped as a
//! whole one more per segment.
//!
//! A store's own family holds its rows and one row that says what they stand for (`backend::standing`). A batch goes through one log, so
//! rows, segments and standing change together however the process ends. The log is written to the operating system at each batch and
//! not synced: a killed process loses nothing. What a power loss may take is for `state::home` to judge.
//!
//! Families are made before the batch that fills them and dropped after the batch that makes them obsolete; what a death in between leaves
//! behind is tidied when the store is opened.

#[cfg(test)]
mod damage;
mod families;
mod load;
mod options;
mod order;
mod rows;

use std::path::Path;
use std::sync::Arc;

use crate::error::{BoxError, StoreError};
use crate::state::backend::StoreBackend;
use crate::state::backend::engine::TaskDatabase;
use families::Families;
pub(super) use options::Budget;
use rows::RocksRows;

/// The stores of one task in RocksDB.
pub(super) struct RocksDatabase(Arc<Families>);

impl RocksDatabase {
    /// Opens the database in the folder, or makes it.
    pub(super) fn open(folder: &Path, budget: &Budget) -> Result<Self, StoreError> {
        Families::open(folder, budget).map(|families| RocksDatabase(Arc::new(families)))
    }
}

impl TaskDatabase for RocksDatabase {
    fn store(&self, name: &str) -> Result<Box<dyn StoreBackend>, StoreError> {
        Ok(Box::new(RocksRows::open(name, self.0.clone())?))
    }
    fn store_wiped(&self, name: &str) -> Result<Box<dyn StoreBackend>, StoreError> {
        self.0.forget(name)?;
        self.store(name)
    }
    fn sync(&self) -> Result<(), StoreError> {
        self.0.sync()
    }
}

/// Whether the library has met bytes that are not what was written. It meets them as it merges files, and tells whoever writes next.
pub(super) fn is_damage(error: &(dyn std::error::Error + 'static)) -> bool {
    error.downcast_ref::<rocksdb::Error>().is_some_and(|error| error.kind() == rocksdb::ErrorKind::Corruption)
}

/// Whether the library could not do what it was asked to for want of something that has nothing to do with what it holds. It tells only in words.
pub(super) fn is_want(error: &(dyn std::error::Error + 'static)) -> bool {
    const WANTS: [&str; 6] = [
        "No space left",
        "Disk quota exceeded",
        "Read-only file system",
        "Permission denied",
        "Too many open files",
        "Cannot allocate memory",
    ];
    let text = error.downcast_ref::<rocksdb::Error>().map(ToString::to_string).unwrap_or_default();
    WANTS.iter().any(|want| text.contains(want))
}

/// An error of a store, or of the whole database (`*`).
fn failed(store: &str, source: impl Into<BoxError>) -> StoreError {
    StoreError::Backend { store: store.to_owned(), source: source.into() }
}
