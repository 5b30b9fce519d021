//! Committed rows that outlive the process, as those in a folder do: whoever runs the instance next finds them as they were left.

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::fate::SharedFate;
use crate::error::StoreError;
use crate::record::TaskId;
use crate::state::{Batch, Direction, KeyRange, MemoryBackend, StoreBackend, Visit};

/// Rows as bytes, in the order of their keys.
pub(super) type Rows = Vec<(Vec<u8>, Vec<u8>)>;

/// What one instance keeps through all of its lives.
#[derive(Clone, Default)]
pub(super) struct Keep(Arc<Mutex<BTreeMap<(TaskId, String), Slot>>>);

/// The rows of one store.
#[derive(Clone, Default)]
pub(super) struct Slot(Arc<Mutex<Written>>);

#[derive(Default)]
struct Written {
    rows: MemoryBackend,
    /// How often anything was written.
    writes: u64,
}

/// A store's way to its rows, which its process may not live to go to the end.
pub(super) struct KeptBackend {
    slot: Slot,
    store: String,
    fate: SharedFate,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Keep {
    pub(super) fn open(&self, task: TaskId, store: &str, fate: &SharedFate) -> KeptBackend {
        let slot = lock(&self.0).entry((task, store.to_owned())).or_default().clone();
        KeptBackend { slot, store: store.to_owned(), fate: fate.clone() }
    }

    pub(super) fn slots(&self) -> Vec<((TaskId, String), Slot)> {
        lock(&self.0).iter().map(|(name, slot)| (name.clone(), slot.clone())).collect()
    }
}

impl Slot {
    pub(super) fn writes(&self) -> u64 {
        lock(&self.0).writes
    }

    pub(super) fn offset(&self) -> Option<i64> {
        lock(&self.0).rows.offset()
    }

    pub(super) fn rows(&self) -> Rows {
        let mut rows = Rows::new();
        let all = (Bound::Unbounded, Bound::Unbounded);
        let seen = lock(&self.0).rows.scan(all, Direction::Forward, &mut |key, value| {
            rows.push((key.to_vec(), value.to_vec()));
            ControlFlow::Continue(())
        });
        seen.expect("memory can be read");
        rows
    }
}

impl KeptBackend {
    fn write(&mut self, act: impl FnOnce(&mut MemoryBackend) -> Result<(), StoreError>) -> Result<(), StoreError> {
        let KeptBackend { slot, store, fate } = self;
        let gone = || StoreError::Backend { store: store.clone(), source: "the process is gone: the test killed it".into() };
        fate.write(
            || {
                let mut written = lock(&slot.0);
                written.writes += 1;
                act(&mut written.rows)
            },
            gone,
        )
    }
}

impl StoreBackend for KeptBackend {
    fn get(&mut self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        lock(&self.slot.0).rows.get(key)
    }
    fn scan(&mut self, range: KeyRange<'_>, direction: Direction, visit: &mut Visit<'_>) -> Result<(), StoreError> {
        lock(&self.slot.0).rows.scan(range, direction, visit)
    }
    fn apply(&mut self, batch: &Batch<'_>) -> Result<(), StoreError> {
        self.write(|rows| rows.apply(batch))
    }
    fn wipe(&mut self) -> Result<(), StoreError> {
        self.write(MemoryBackend::wipe)
    }
    fn offset(&self) -> Option<i64> {
        self.slot.offset()
    }
    fn note(&self) -> Option<Vec<u8>> {
        lock(&self.slot.0).rows.note()
    }
    fn approximate_rows(&self) -> usize {
        lock(&self.slot.0).rows.approximate_rows()
    }
}
