//! Opening a store for a task, and what the runtime may do with it without knowing its types.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use crate::error::StoreError;
use crate::record::{Headers, Timestamp};
use crate::state::backend::StoreBackend;
use crate::state::cache::CacheBudget;
use crate::state::context::{RecordContext, WriteContext};
use crate::state::lock::lock;
use crate::state::spec::StoreSpec;

/// What a store needs to open.
pub(crate) struct OpenStore<'a> {
    pub(crate) name: Arc<str>,
    /// With every default decided: `layout`, `caching`, `dedup` and (windows, sessions) `retention_ms` are `Some`.
    pub(crate) spec: StoreSpec,
    /// The full name of the changelog topic, for serdes that care.
    pub(crate) changelog_topic: &'a str,
    pub(crate) environment: &'a StoreEnvironment,
    /// Committed rows so far; an empty memory backend for a new store.
    pub(crate) backend: Box<dyn StoreBackend>,
    /// The task's clock is bounded: rows of windows are taken out by their owner (`WindowCore::end`), never by the
    /// newest time that was written.
    pub(crate) bounded: bool,
    /// The owner will ask for rows by time (`WindowCore::starting_in`, `SessionCore::ending_in`): keep an index.
    pub(crate) time_index: bool,
}

/// What the stores of one task share.
#[derive(Clone)]
pub(crate) struct StoreEnvironment {
    /// The record cache's budget; the tasks of a thread share it.
    pub(crate) cache: Arc<CacheBudget>,
    /// The context of the record being processed.
    pub(crate) now: Arc<RecordClock>,
}

/// The record being processed, for writes through typed faces. Its timestamp is what plain stores, deletions and sessions
/// put on their changelog records; the rest is kept by record caches.
#[derive(Debug, Default)]
pub(crate) struct RecordClock {
    at: AtomicI64,
    record: Mutex<RecordContext>,
}

impl RecordClock {
    /// The time of what follows.
    pub(crate) fn set(&self, at: Timestamp) {
        self.at.store(at.as_millis(), Ordering::Relaxed);
    }
    /// The record, and its time, of what follows.
    pub(crate) fn set_record(&self, record: &WriteContext<'_>) {
        *lock(&self.record) = record.keep();
        self.set(record.timestamp);
    }
    pub(crate) fn get(&self) -> Timestamp {
        Timestamp::from_millis(self.at.load(Ordering::Relaxed))
    }
    /// What a write is given: the time now set and, for a store that keeps it, the record.
    pub(crate) fn context(&self, kept: bool) -> RecordContext {
        let record = if kept { lock(&self.record).clone() } else { RecordContext::default() };
        RecordContext { timestamp: self.get(), ..record }
    }
}

/// Opens a store of a task.
pub(crate) type OpenFn = Arc<dyn Fn(OpenStore<'_>) -> Opened + Send + Sync>;

/// An open store: the typed handle, to be shared, and the runtime's face of it.
pub(crate) struct Opened {
    pub(crate) handle: Arc<dyn Fn() -> Box<dyn std::any::Any + Send> + Send + Sync>,
    pub(crate) control: Arc<dyn StoreControl>,
}

/// The runtime's face of a store: caches, changelog, commit, restore.
pub(crate) trait StoreControl: Send + Sync {
    /// Commit step 2, last part: writes a record cache that no node listens to down to the table, then hands every
    /// changelog record since the last call to the sink.
    fn drain_changelog(&self, sink: &mut dyn ChangelogSink) -> Result<(), StoreError>;
    /// Bytes that only the next commit can free.
    fn uncommitted_bytes(&self) -> usize;
    /// Commit step 7: the dirty rows, the changelog offset they stand for and the segments to drop go to the backend in one batch.
    fn apply(&self, offset: Option<i64>) -> Result<(), StoreError>;
    /// Forgets everything since the last `apply`.
    fn abort(&self);
    /// The changelog offset that the committed rows stand for: the next one to restore.
    fn offset(&self) -> Option<i64>;
    /// Puts changelog records into the backend; its offset moves to `next_offset` when they are kept for good, with [`loaded`](Self::loaded) at
    /// the latest.
    fn restore(&self, records: &[ChangelogRecord<'_>], next_offset: i64) -> Result<(), StoreError>;
    /// What was restored is kept for good, and can be read.
    fn loaded(&self) -> Result<(), StoreError>;
    /// Forgets everything, committed rows and their offset too: they cannot be trusted, and are restored from the beginning.
    fn wipe(&self) -> Result<(), StoreError>;
    /// Rows in table and backend, approximately; for the buffer of `suppress` exactly.
    fn approximate_rows(&self) -> usize;
    /// Writes refused as expired since the last call: they count as dropped records.
    fn take_expired_writes(&self) -> u64;
}

/// A record on its way from a changelog into a store.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ChangelogRecord<'a> {
    pub(crate) key: &'a [u8],
    pub(crate) value: Option<&'a [u8]>,
    pub(crate) timestamp: Timestamp,
    pub(crate) headers: &'a Headers,
}

/// Takes changelog records; the runtime sends them to the store's topic.
pub(crate) trait ChangelogSink {
    /// `timestamp` none: the producer's own time (only suppress buffers write such records).
    fn log(
        &mut self,
        store: &str,
        key: &[u8],
        value: Option<&[u8]>,
        timestamp: Option<Timestamp>,
        headers: &Headers,
    ) -> Result<(), StoreError>;
}
