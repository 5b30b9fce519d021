//! The port of stores: ordered bytes that hold committed data only.

mod engine;
mod fjall_backend;
mod memory;
#[cfg(feature = "rocksdb")]
mod rocksdb_backend;
mod standing;

use std::ops::{Bound, ControlFlow};

pub(crate) use engine::{Budget, Engine, KEPT, TaskDatabase, is_damage, is_in_use, is_want};
pub use memory::MemoryBackend;

use crate::error::StoreError;

/// Which way a scan goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Smallest key first.
    Forward,
    /// Largest key first.
    Backward,
}

/// A range of keys in byte order.
pub type KeyRange<'a> = (Bound<&'a [u8]>, Bound<&'a [u8]>);

/// Takes rows of a scan, key and value, until it says `Break`.
pub type Visit<'a> = dyn FnMut(&[u8], &[u8]) -> ControlFlow<()> + 'a;

/// What one commit changes, to be applied as a whole or not at all.
#[derive(Clone, Copy, Debug, Default)]
pub struct Batch<'a> {
    /// Keys with their new values, each key once; none deletes.
    pub rows: &'a [(&'a [u8], Option<&'a [u8]>)],
    /// The changelog offset that the rows stand for. None leaves the stored one as it is.
    pub offset: Option<i64>,
    /// Rows below this key are obsolete, whatever this batch or a later one says about them: whole time segments of a window or
    /// session store, whose keys begin with eight bytes of segment number or time. The largest bound ever given counts.
    pub drop_before: Option<&'a [u8]>,
    /// A few bytes that the store wants to find again when it is opened. None leaves the stored ones as they are.
    pub note: Option<&'a [u8]>,
}

/// Ordered bytes below a store. `state::conformance` is its contract as tests.
///
/// Only committed data reaches a backend, so what it holds is at any instant the fold of the changelog up to [`offset`](StoreBackend::offset).
pub trait StoreBackend: Send {
    /// Keys begin with eight bytes of segment number, and whole segments will be dropped: rows may be kept apart by them. Said before the
    /// first batch, if at all.
    fn by_segment(&mut self) {}
    /// The value under `key`.
    fn get(&mut self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;
    /// Shows the rows of the range in order.
    fn scan(&mut self, range: KeyRange<'_>, direction: Direction, visit: &mut Visit<'_>) -> Result<(), StoreError>;
    /// Changes rows, offset and note, all of it or nothing.
    fn apply(&mut self, batch: &Batch<'_>) -> Result<(), StoreError>;
    /// As [`apply`](StoreBackend::apply), while the store is restored: the rows may come several times, the last one counts, and they may be
    /// kept in memory until [`loaded`](StoreBackend::loaded). [`offset`](StoreBackend::offset) is that of what is kept for good.
    fn load(&mut self, batch: &Batch<'_>) -> Result<(), StoreError> {
        let mut rows = batch.rows.to_vec();
        rows.reverse(); // a stable sort leaves the last of each key first
        rows.sort_by_key(|(key, _)| *key);
        rows.dedup_by(|(later, _), (kept, _)| later == kept);
        self.apply(&Batch { rows: &rows, ..*batch })
    }
    /// What was loaded is kept for good, as if it had been applied.
    fn loaded(&mut self) -> Result<(), StoreError> {
        Ok(())
    }
    /// Whether its rows may still be asked for here. Where they are closed or somebody else's, what was known of them counts no more.
    fn is_open(&self) -> bool {
        true
    }
    /// Forgets everything, offset, bound and note too: the store will be built anew.
    fn wipe(&mut self) -> Result<(), StoreError>;
    /// The changelog offset of the last batch that had one: the next one to restore.
    fn offset(&self) -> Option<i64>;
    /// The note of the last batch that had one.
    fn note(&self) -> Option<Vec<u8>>;
    /// How many rows there are, approximately; zero if there are none and only then.
    fn approximate_rows(&self) -> usize;
}

/// Whether no key can lie in the range; such a range is legal and empty.
pub(crate) fn is_empty(range: &KeyRange<'_>) -> bool {
    match range {
        (Bound::Included(from), Bound::Included(to)) => from > to,
        (Bound::Included(from) | Bound::Excluded(from), Bound::Included(to) | Bound::Excluded(to)) => from >= to,
        _ => false,
    }
}
