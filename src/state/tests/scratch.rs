//! Folders and databases that are gone after a test.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::StoreError;
use crate::state::backend::{Batch, Direction, Engine, KeyRange, StoreBackend, TaskDatabase, Visit};

/// A folder of its own.
pub(in crate::state) struct Scratch(PathBuf);

impl Scratch {
    pub(in crate::state) fn new() -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let name = format!("highwater-state-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        let _ = fs::remove_dir_all(&path); // of another process that had this id once
        fs::create_dir_all(&path).expect("a temporary folder can be made");
        Scratch(path)
    }
    pub(in crate::state) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0); // what is left is in the folder for temporary things
    }
}

/// A store in a database of its own.
pub(in crate::state) struct OnDisk {
    rows: Box<dyn StoreBackend>,
    _database: Box<dyn TaskDatabase>,
    _folder: Scratch,
}

impl OnDisk {
    pub(in crate::state) fn new(engine: Engine) -> Self {
        let folder = Scratch::new();
        let database = engine.budget(32 << 20).open(folder.path()).expect("an empty folder can be opened");
        OnDisk { rows: database.store("st").expect("a fresh store can be opened"), _database: database, _folder: folder }
    }
}

impl StoreBackend for OnDisk {
    fn by_segment(&mut self) {
        self.rows.by_segment();
    }
    fn get(&mut self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.rows.get(key)
    }
    fn scan(&mut self, range: KeyRange<'_>, direction: Direction, visit: &mut Visit<'_>) -> Result<(), StoreError> {
        self.rows.scan(range, direction, visit)
    }
    fn apply(&mut self, batch: &Batch<'_>) -> Result<(), StoreError> {
        self.rows.apply(batch)
    }
    fn load(&mut self, batch: &Batch<'_>) -> Result<(), StoreError> {
        self.rows.load(batch)
    }
    fn loaded(&mut self) -> Result<(), StoreError> {
        self.rows.loaded()
    }
    fn wipe(&mut self) -> Result<(), StoreError> {
        self.rows.wipe()
    }
    fn offset(&self) -> Option<i64> {
        self.rows.offset()
    }
    fn note(&self) -> Option<Vec<u8>> {
        self.rows.note()
    }
    fn approximate_rows(&self) -> usize {
        self.rows.approximate_rows()
    }
}
