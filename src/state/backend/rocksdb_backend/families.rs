//! The column families of one database: `<store>`, and `<store>/<segment>` with sixteen hexadecimal digits.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use rocksdb::{BoundColumnFamily, ColumnFamilyDescriptor, DB, DEFAULT_COLUMN_FAMILY_NAME, Options};

use super::options::Budget;
use super::{failed, load};
use crate::error::StoreError;
use crate::state::backend::engine::{Engine, InUse};
use crate::state::lock::lock;

/// An open database and the families it has.
pub(super) struct Families {
    db: DB,
    names: Mutex<BTreeSet<String>>,
    budget: Budget,
    /// Where files lie that are to be taken in, and how many there were.
    loads: PathBuf,
    files: AtomicU64,
    held: File,
}

impl Families {
    /// Opens the database with all of its families.
    pub(super) fn open(folder: &Path, budget: &Budget) -> Result<Self, StoreError> {
        let whole = |error: std::io::Error| failed("*", error);
        fs::create_dir_all(folder).map_err(whole)?;
        let held = File::create(folder.join(Engine::RocksDb.kept().lock)).map_err(whole)?;
        held.try_lock().map_err(|_| failed("*", InUse))?;
        let loads = load::folder(folder);
        let _ = fs::remove_dir_all(&loads); // mostly there is none; of what cannot be removed the next file says so
        fs::create_dir_all(&loads).map_err(whole)?;
        let mut options = budget.database()?;
        let mut names = BTreeSet::new();
        if is_new(folder).map_err(whole)? {
            options.create_if_missing(true);
        } else {
            // Opened without its pointer to the manifest it would be taken for a new one, and emptied.
            names.extend(DB::list_cf(&options, folder).map_err(|error| failed("*", error))?);
        }
        names.insert(DEFAULT_COLUMN_FAMILY_NAME.to_owned());
        let families = names.iter().map(|name| ColumnFamilyDescriptor::new(name, budget.family()));
        let db = DB::open_cf_descriptors(&options, folder, families).map_err(|error| failed("*", error))?;
        Ok(Families { db, names: Mutex::new(names), budget: budget.clone(), loads, files: AtomicU64::new(0), held })
    }

    pub(super) fn db(&self) -> &DB {
        &self.db
    }

    pub(super) fn budget(&self) -> &Budget {
        &self.budget
    }

    /// How families are kept.
    pub(super) fn family_options(&self) -> Options {
        self.budget.family()
    }

    /// A file that is not there yet.
    pub(super) fn next_file(&self) -> PathBuf {
        self.loads.join(format!("{}.sst", self.files.fetch_add(1, Ordering::Relaxed)))
    }

    /// A family that is there.
    pub(super) fn family(&self, name: &str) -> Result<Arc<BoundColumnFamily<'_>>, StoreError> {
        self.db.cf_handle(name).ok_or_else(|| failed(name, "its rows are gone: they could not be made anew"))
    }

    /// Makes a family if it is not there.
    pub(super) fn make(&self, name: &str) -> Result<(), rocksdb::Error> {
        let mut names = lock(&self.names);
        if !names.contains(name) {
            self.db.create_cf(name, &self.budget.family())?;
            names.insert(name.to_owned());
        }
        Ok(())
    }

    /// Drops a family, if it is there; its files go at once.
    pub(super) fn remove(&self, name: &str) -> Result<(), rocksdb::Error> {
        let mut names = lock(&self.names);
        if names.contains(name) {
            self.db.drop_cf(name)?;
            names.remove(name);
        }
        Ok(())
    }

    /// The segments of a store that are there.
    pub(super) fn segments(&self, store: &str) -> BTreeSet<u64> {
        let number = |name: &String| u64::from_str_radix(name.strip_prefix(store)?.strip_prefix('/')?, 16).ok();
        lock(&self.names).iter().filter_map(number).collect()
    }

    /// Drops everything of a store: first what its rows stand for.
    pub(super) fn forget(&self, store: &str) -> Result<(), StoreError> {
        self.remove(store).map_err(|error| failed(store, error))?;
        for segment in self.segments(store) {
            self.remove(&segment_name(store, segment)).map_err(|error| failed(store, error))?;
        }
        Ok(())
    }

    /// Everything written is on the disk.
    pub(super) fn sync(&self) -> Result<(), StoreError> {
        self.db.flush_wal(true).map_err(|error| failed("*", error))
    }
}

impl Drop for Families {
    fn drop(&mut self) {
        // A merge of files that is under way would be waited for.
        self.db.cancel_all_background_work(true);
        let _ = self.held.unlock(); // a child that is just being started may hold the file for a moment yet
    }
}

/// The family of a segment.
pub(super) fn segment_name(store: &str, segment: u64) -> String {
    format!("{store}/{segment:016x}")
}

/// Whether no database was ever here: it may have been begun, but nothing was written to it.
fn is_new(folder: &Path) -> std::io::Result<bool> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name == "CURRENT" || name.ends_with(".sst") || (name.ends_with(".log") && entry.metadata()?.len() > 0) {
            return Ok(false);
        }
    }
    Ok(true)
}
