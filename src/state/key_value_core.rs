//! A key-value store over bytes: what typed faces and the nodes of tables and aggregates share.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;

use crate::error::StoreError;
use crate::record::Timestamp;
use crate::state::backend::{Direction, KeyRange, Visit};
use crate::state::cache::Flushed;
use crate::state::context::WriteContext;
use crate::state::control::Core;
use crate::state::open::{ChangelogRecord, ChangelogSink, OpenStore};
use crate::state::rows::{Below, Cached, GO_ON, Horizon, Rows};
use crate::state::spec::Layout;

/// One value per key.
pub(crate) struct KeyValueCore(Cached<KeyValueRows>);

/// The rows below the cache.
struct KeyValueRows {
    rows: Rows,
    recency: Option<Recency>,
}

impl KeyValueCore {
    pub(crate) fn open(mut how: OpenStore<'_>) -> Self {
        let recency = match how.spec.layout {
            Some(Layout::Lru(most)) => Some(Recency { most, ..Recency::default() }),
            _ => None,
        };
        let (budget, caching) = (how.environment.cache.clone(), how.spec.caching.unwrap_or(false));
        let below = KeyValueRows { rows: Rows::open(&mut how, None), recency };
        let mut core = KeyValueCore(Cached::new(below, &budget, caching, 0, None));
        let _ = core.refill_recency(); // a backend that cannot be read says so at the next read
        core
    }
    /// Shows the row under `key`; a stamped one begins with eight bytes of time.
    pub(crate) fn read<R>(&mut self, key: &[u8], f: impl FnOnce(Option<&[u8]>) -> Result<R, StoreError>) -> Result<R, StoreError> {
        self.0.read(key, f)
    }
    /// Sets or, with none, deletes a row. Gives what the node that listens must forward; non-empty only when a cache evicts.
    pub(crate) fn write(&mut self, key: &[u8], value: Option<&[u8]>, cx: &WriteContext<'_>) -> Result<Vec<Flushed>, StoreError> {
        self.0.write(key, value, cx)?;
        Ok(self.0.take_pending())
    }
    /// Whether a record cache holds back what is written: then the node forwards what `write` and `flush` give, not each write.
    pub(crate) fn caching(&self) -> bool {
        self.0.caching()
    }
    /// A node will call `flush` at commit and forward what it gives.
    pub(crate) fn listen(&mut self, sends_old: bool) {
        self.0.listen(sends_old);
    }
    /// Writes the cache through; one change per dirty key, in the order of each key's latest write.
    pub(crate) fn flush(&mut self) -> Result<Vec<Flushed>, StoreError> {
        self.0.flush()?;
        Ok(self.0.take_pending())
    }
    /// Keeps for the node that listens what a write of somebody else evicted.
    pub(crate) fn keep_for_listener(&mut self, flushed: Vec<Flushed>) {
        self.0.keep_pending(flushed);
    }
    /// Rows of a range in order.
    pub(crate) fn scan(&mut self, range: KeyRange<'_>, direction: Direction, visit: &mut Visit<'_>) -> Result<(), StoreError> {
        self.0.scan(range, direction, visit)?;
        self.0.touch(range, direction);
        Ok(())
    }
}

impl Below for KeyValueRows {
    const READ_THROUGH: bool = true;
    fn rows(&mut self) -> &mut Rows {
        &mut self.rows
    }
    fn read(&mut self, row: &[u8]) -> Result<Option<&[u8]>, StoreError> {
        let value = self.rows.table.get(row)?;
        if let (Some(recency), Some(_)) = (&mut self.recency, value) {
            recency.touch(row);
        }
        Ok(value)
    }
    fn write(&mut self, row: &[u8], value: Option<&[u8]>, at: Timestamp) -> Result<bool, StoreError> {
        let evicted = match (&mut self.recency, value) {
            (Some(recency), Some(_)) => recency.insert(row),
            (Some(recency), None) => recency.forget(row),
            (None, _) => None,
        };
        match evicted {
            // Only a plain store tells its changelog, before the row that pushed the other out: as Kafka Streams.
            Some(evicted) if self.rows.stamped() => self.rows.table.remove_silently(&evicted),
            Some(evicted) => self.rows.put(&evicted, None, at, |key| key.extend_from_slice(&evicted)),
            None => {}
        }
        self.rows.put(row, value, at, |key| key.extend_from_slice(row));
        Ok(true)
    }
    fn horizon(&self) -> Option<Horizon> {
        None
    }
    fn store_key(&self, row: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(row);
    }
}

/// Which rows an LRU store touched last.
#[derive(Default)]
struct Recency {
    most: usize,
    tick: u64,
    by_key: HashMap<Vec<u8>, u64>,
    by_tick: BTreeMap<u64, Vec<u8>>,
}

impl Recency {
    fn touch(&mut self, key: &[u8]) {
        self.tick += 1;
        let key = match self.by_key.get_mut(key) {
            Some(tick) => {
                let key = self.by_tick.remove(tick).unwrap_or_else(|| key.to_vec());
                *tick = self.tick;
                key
            }
            None => {
                self.by_key.insert(key.to_vec(), self.tick);
                key.to_vec()
            }
        };
        self.by_tick.insert(self.tick, key);
    }
    /// Gives the key that must go.
    fn insert(&mut self, key: &[u8]) -> Option<Vec<u8>> {
        self.touch(key);
        if self.by_key.len() <= self.most {
            return None;
        }
        let (_, oldest) = self.by_tick.pop_first()?;
        self.by_key.remove(&oldest);
        Some(oldest)
    }
    fn forget(&mut self, key: &[u8]) -> Option<Vec<u8>> {
        if let Some(tick) = self.by_key.remove(key) {
            self.by_tick.remove(&tick);
        }
        None
    }
}

impl KeyValueCore {
    /// An LRU store that comes back has lost the order of use: it goes by key.
    fn refill_recency(&mut self) -> Result<(), StoreError> {
        let KeyValueRows { rows, recency } = &mut self.0.below;
        let Some(recency) = recency else { return Ok(()) };
        *recency = Recency { most: recency.most, ..Recency::default() };
        rows.table.scan((Bound::Unbounded, Bound::Unbounded), Direction::Forward, &mut |key, _| {
            recency.touch(key);
            GO_ON
        })
    }
}

impl Core for KeyValueCore {
    fn drain_changelog(&mut self, sink: &mut dyn ChangelogSink) -> Result<(), StoreError> {
        self.0.flush()?;
        let copy = |row: &[u8], out: &mut Vec<u8>| {
            out.extend_from_slice(row);
            true
        };
        self.0.below.rows.drain(&copy, sink)
    }
    fn uncommitted_bytes(&mut self) -> usize {
        self.0.uncommitted_bytes()
    }
    fn apply(&mut self, offset: Option<i64>) -> Result<(), StoreError> {
        self.0.below.rows.table.apply(offset, None, None)
    }
    fn abort(&mut self) {
        self.0.abort();
        let _ = self.refill_recency(); // a backend that cannot be read says so at the next read
    }
    fn offset(&self) -> Option<i64> {
        self.0.below.rows.table.offset()
    }
    fn restore(&mut self, records: &[ChangelogRecord<'_>], next_offset: i64) -> Result<(), StoreError> {
        self.0.forget_cached();
        self.0.below.rows.restore(records, (next_offset, None, None), |key, _, row| row(key, false))?;
        self.refill_recency()
    }
    fn loaded(&mut self) -> Result<(), StoreError> {
        self.0.below.rows.table.loaded()
    }
    fn wipe(&mut self) -> Result<(), StoreError> {
        self.0.wipe()?;
        self.refill_recency()
    }
    fn approximate_rows(&self) -> usize {
        self.0.below.rows.table.approximate_rows()
    }
}
