//! Table and changelog of one store: the layer that a record cache writes through to.

use std::ops::ControlFlow;
use std::sync::Arc;

use crate::error::StoreError;
use crate::record::Timestamp;
use crate::state::backend::{Batch, Direction, KeyRange, MemoryBackend, Visit};
use crate::state::cache::{CacheBudget, DirtyEntry, Flushed, RecordCache, RowTime};
use crate::state::changelog::{Changelog, ToStoreKey};
use crate::state::context::WriteContext;
use crate::state::open::{ChangelogRecord, ChangelogSink, OpenStore};
use crate::state::order::SharedKey;
use crate::state::spec::Dedup;
use crate::state::table::{Table, merge};

/// Rows by row key, and their changelog.
pub(crate) struct Rows {
    name: Arc<str>,
    pub(crate) table: Table,
    pub(crate) changelog: Changelog,
    stamped: bool,
    plain_backend: bool,
}

impl Rows {
    /// `dedup` none: as the spec says.
    pub(crate) fn open(how: &mut OpenStore<'_>, dedup: Option<Dedup>) -> Self {
        let backend = std::mem::replace(&mut how.backend, Box::new(MemoryBackend::default()));
        let dedup = dedup.or(how.spec.dedup).unwrap_or_default();
        Rows {
            name: how.name.clone(),
            table: Table::new(backend, how.environment.cache.clone()),
            changelog: Changelog::new(how.spec.logging, dedup, how.spec.stamped),
            stamped: how.spec.stamped,
            plain_backend: how.spec.plain_backend && how.spec.stamped,
        }
    }
    pub(crate) fn stamped(&self) -> bool {
        self.stamped
    }
    /// When the changelog record of this write says it happened: a stamped row's own time, else the record's.
    pub(crate) fn time_of(&self, value: Option<&[u8]>, at: Timestamp) -> i64 {
        let stamp = value.filter(|_| self.stamped).and_then(<[u8]>::first_chunk::<8>);
        stamp.map_or(at.as_millis(), |stamp| i64::from_be_bytes(*stamp))
    }
    /// Writes a row; `store_key` is asked for only when every write is logged.
    pub(crate) fn put(&mut self, row: &[u8], value: Option<&[u8]>, at: Timestamp, store_key: impl FnOnce(&mut Vec<u8>)) {
        let at = self.time_of(value, at);
        if self.changelog.every_write() {
            let mut key = Vec::with_capacity(row.len() + 16);
            store_key(&mut key);
            let seq = self.table.next_seq();
            self.changelog.add(seq, &key, value, at);
        }
        match value {
            Some(value) if self.plain_backend => self.table.put(row, Some(&unstamped(value)), at),
            value => self.table.put(row, value, at),
        }
    }
    /// Logs a write that changes no row.
    pub(crate) fn log_only(&mut self, store_key: &[u8], value: Option<&[u8]>, at: Timestamp) {
        let (seq, at) = (self.table.next_seq(), self.time_of(value, at));
        self.changelog.add(seq, store_key, value, at);
    }
    pub(crate) fn drain(&mut self, to_store_key: &ToStoreKey<'_>, sink: &mut dyn ChangelogSink) -> Result<(), StoreError> {
        let name = self.name.clone();
        self.changelog.drain(&name, &mut self.table, to_store_key, sink)
    }
    pub(crate) fn uncommitted_bytes(&self) -> usize {
        self.table.uncommitted_bytes() + self.changelog.bytes()
    }
    pub(crate) fn abort(&mut self) {
        self.table.abort();
        self.changelog.clear();
    }
    /// Forgets everything, committed rows too.
    pub(crate) fn wipe(&mut self) -> Result<(), StoreError> {
        self.changelog.clear();
        self.table.wipe()
    }
    /// Puts changelog records back; `to_row` turns their key into a row key, or into none if it has no place here.
    pub(crate) fn restore(
        &mut self,
        records: &[ChangelogRecord<'_>],
        (next_offset, drop_before, note): (i64, Option<&[u8]>, Option<&[u8]>),
        mut to_rows: impl FnMut(&[u8], bool, &mut dyn FnMut(&[u8], bool)),
    ) -> Result<(), StoreError> {
        let (mut bytes, mut spans) = (Vec::new(), Vec::with_capacity(records.len()));
        for record in records {
            to_rows(record.key, record.value.is_some(), &mut |row, is_index| {
                let start = bytes.len();
                bytes.extend_from_slice(row);
                let middle = bytes.len();
                if let Some(value) = record.value.filter(|_| !is_index) {
                    self.store_value(value, record.timestamp, &mut bytes);
                }
                spans.push((start, middle, record.value.map(|_| bytes.len())));
            });
        }
        let span = |&(start, middle, end): &(usize, usize, Option<usize>)| (&bytes[start..middle], end.map(|end| &bytes[middle..end]));
        let rows: Vec<(&[u8], Option<&[u8]>)> = spans.iter().map(span).collect();
        self.table.restore(&Batch { rows: &rows, offset: Some(next_offset), drop_before, note })
    }
    /// A changelog value as a row: with the record's time in front if the store is stamped.
    fn store_value(&self, value: &[u8], at: Timestamp, out: &mut Vec<u8>) {
        let at = if self.plain_backend { Timestamp::UNKNOWN } else { at };
        if self.stamped {
            out.extend_from_slice(&at.as_millis().to_be_bytes());
        }
        out.extend_from_slice(value);
    }
}

/// A stamped row as a plain backend gives it back: its time is not known.
fn unstamped(value: &[u8]) -> Vec<u8> {
    [&Timestamp::UNKNOWN.as_millis().to_be_bytes(), value.get(8..).unwrap_or_default()].concat()
}

/// The oldest time that a scan shows.
#[derive(Clone, Copy)]
pub(crate) struct Horizon {
    pub(crate) oldest: i64,
    /// Rows without a time are never shown.
    pub(crate) time: RowTime,
}

/// What lies below a record cache: rows that may have expired.
pub(crate) trait Below {
    /// Whether the cache keeps what is read below.
    const READ_THROUGH: bool;
    fn rows(&mut self) -> &mut Rows;
    /// The value of a row, if it has not expired.
    fn read(&mut self, row: &[u8]) -> Result<Option<&[u8]>, StoreError>;
    /// Writes a row; false if it is refused as expired (its changelog record is written all the same, as in Kafka Streams).
    fn write(&mut self, row: &[u8], value: Option<&[u8]>, at: Timestamp) -> Result<bool, StoreError>;
    /// Which rows a scan shows; none: all.
    fn horizon(&self) -> Option<Horizon>;
    /// The store key of a row.
    fn store_key(&self, row: &[u8], out: &mut Vec<u8>);
}

/// A store below its record cache, if it has one.
pub(crate) struct Cached<B> {
    pub(crate) below: B,
    cache: Option<RecordCache>,
    /// A node listens, and whether it wants old values.
    listener: Option<bool>,
    pending: Vec<Flushed>,
}

impl<B: Below> Cached<B> {
    pub(crate) fn new(below: B, budget: &Arc<CacheBudget>, caching: bool, key_extra: usize, by_time: Option<RowTime>) -> Self {
        let cache = (caching && budget.max() > 0).then(|| RecordCache::new(budget.clone(), key_extra, by_time));
        Cached { below, cache, listener: None, pending: Vec::new() }
    }
    pub(crate) fn caching(&self) -> bool {
        self.cache.is_some()
    }
    pub(crate) fn listen(&mut self, sends_old: bool) {
        self.listener = Some(sends_old || self.listener == Some(true));
    }

    pub(crate) fn read<R>(&mut self, row: &[u8], f: impl FnOnce(Option<&[u8]>) -> Result<R, StoreError>) -> Result<R, StoreError> {
        let Some(cache) = &mut self.cache else { return f(self.below.read(row)?) };
        if let Some(known) = cache.get(row) {
            return f(known);
        }
        let value = self.below.read(row)?;
        let (Some(bytes), true) = (value, B::READ_THROUGH) else { return f(value) };
        cache.put_clean(row, bytes);
        let result = f(Some(bytes));
        self.make_room()?;
        result
    }

    /// What the cache knows of a row: nothing, that it is deleted, or its value.
    pub(crate) fn cached(&mut self, row: &[u8]) -> Option<Option<&[u8]>> {
        self.cache.as_mut()?.get(row)
    }

    /// Writes to the cache, or through; false if refused as expired.
    pub(crate) fn write(&mut self, row: &[u8], value: Option<&[u8]>, cx: &WriteContext<'_>) -> Result<bool, StoreError> {
        match &mut self.cache {
            None => self.below.write(row, value, cx.timestamp),
            Some(cache) => {
                cache.put(row, value, cx);
                self.make_room().map(|()| true)
            }
        }
    }

    /// Deletes a row whose time is over: the listener is not told, since nothing was withdrawn. Flush first what it has yet to hear.
    pub(crate) fn end(&mut self, row: &[u8], cx: &WriteContext<'_>) -> Result<(), StoreError> {
        if let Some(cache) = &mut self.cache {
            cache.forget(row);
        }
        self.below.write(row, None, cx.timestamp).map(drop)
    }

    /// Writes every dirty entry through.
    pub(crate) fn flush(&mut self) -> Result<(), StoreError> {
        match self.cache.as_mut().map(RecordCache::take_dirty) {
            Some(dirty) => self.write_through(dirty),
            None => Ok(()),
        }
    }
    /// What flushes and evictions have to say to the listener, since the last call.
    pub(crate) fn take_pending(&mut self) -> Vec<Flushed> {
        std::mem::take(&mut self.pending)
    }
    /// Gives it back, for the listener to fetch later.
    pub(crate) fn keep_pending(&mut self, flushed: Vec<Flushed>) {
        self.pending.extend(flushed);
    }

    /// Rows of the range, cached ones over those below; expired ones are left out unless cached.
    pub(crate) fn scan(&mut self, range: KeyRange<'_>, direction: Direction, visit: &mut Visit<'_>) -> Result<(), StoreError> {
        let Cached { below, cache, .. } = self;
        match cache {
            Some(cache) if !cache.is_empty() => {
                merge(cache.range(range, direction), direction, |visit| scan_visible(below, range, direction, visit), visit)
            }
            _ => scan_visible(below, range, direction, visit),
        }
    }
    /// The same without the cache.
    pub(crate) fn scan_below(&mut self, range: KeyRange<'_>, direction: Direction, visit: &mut Visit<'_>) -> Result<(), StoreError> {
        scan_visible(&mut self.below, range, direction, visit)
    }
    /// Keys of the range that the cache knows, in order.
    pub(crate) fn cached_keys(&mut self, range: KeyRange<'_>, direction: Direction) -> impl Iterator<Item = &SharedKey> {
        self.cache.iter_mut().filter(|cache| !cache.is_empty()).flat_map(move |cache| cache.keys(range, direction))
    }
    /// Entries of the cache in the range have been used, in this order: they leave it last.
    pub(crate) fn touch(&mut self, range: KeyRange<'_>, direction: Direction) {
        if let Some(cache) = self.cache.as_mut().filter(|cache| !cache.is_empty()) {
            cache.touch_range(range, direction);
        }
    }
    /// Whether the cache holds so little that it is worth while to be exact about which entry goes next.
    pub(crate) fn holds_few(&self) -> bool {
        const FEW: usize = 64;
        self.cache.as_ref().is_some_and(|cache| !cache.is_empty() && cache.len() <= FEW)
    }
    /// The first row of a range, expired or not, and index rows too.
    pub(crate) fn first_of(&mut self, range: KeyRange<'_>, direction: Direction) -> Result<Option<Vec<u8>>, StoreError> {
        let Cached { below, cache, .. } = self;
        let mut first = None;
        let mut take = |row: &[u8], _: &[u8]| {
            first = Some(row.to_vec());
            ControlFlow::Break(())
        };
        match cache {
            Some(cache) if !cache.is_empty() => {
                let cached = cache.range(range, direction);
                merge(cached, direction, |visit| below.rows().table.scan(range, direction, visit), &mut take)?;
            }
            _ => below.rows().table.scan(range, direction, &mut take)?,
        }
        Ok(first)
    }
    /// Dirty rows of the cache in a span of time, for stores with a time index.
    pub(crate) fn dirty_between(&self, from: i64, to: i64) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
        self.cache.iter().flat_map(move |cache| cache.dirty_between(from, to))
    }

    pub(crate) fn uncommitted_bytes(&mut self) -> usize {
        self.cache.as_ref().map_or(0, RecordCache::dirty_bytes) + self.below.rows().uncommitted_bytes()
    }
    pub(crate) fn abort(&mut self) {
        if let Some(cache) = &mut self.cache {
            cache.clear();
        }
        self.pending.clear();
        self.below.rows().abort();
    }
    /// Forgets everything, committed rows too.
    pub(crate) fn wipe(&mut self) -> Result<(), StoreError> {
        self.abort();
        self.below.rows().wipe()
    }
    /// Forgets what the cache holds of committed rows: something below changed.
    pub(crate) fn forget_cached(&mut self) {
        if let Some(cache) = &mut self.cache {
            cache.clear();
        }
    }

    fn make_room(&mut self) -> Result<(), StoreError> {
        while let Some(cache) = self.cache.as_mut().filter(|cache| cache.must_evict()) {
            let dirty = cache.evict();
            self.write_through(dirty)?;
        }
        Ok(())
    }
    fn write_through(&mut self, dirty: Vec<DirtyEntry>) -> Result<(), StoreError> {
        for DirtyEntry { key, value: new, context } in dirty {
            let Some(sends_old) = self.listener else {
                self.below.write(&key, new.as_deref(), context.timestamp)?;
                continue;
            };
            let ask = new.is_none() || sends_old;
            let old = if ask { self.below.read(&key)?.map(<[u8]>::to_vec) } else { None };
            if new.is_none() && old.is_none() {
                continue; // never was, and is not: nobody needs to know
            }
            self.below.write(&key, new.as_deref(), context.timestamp)?;
            let mut store_key = Vec::with_capacity(key.len() + 16);
            self.below.store_key(&key, &mut store_key);
            self.pending.push(Flushed { key: store_key, new, old: old.filter(|_| sends_old), context });
        }
        Ok(())
    }
}

/// Rows of the table that have not expired.
fn scan_visible<B: Below>(below: &mut B, range: KeyRange<'_>, direction: Direction, visit: &mut Visit<'_>) -> Result<(), StoreError> {
    match below.horizon() {
        None => below.rows().table.scan(range, direction, visit),
        Some(Horizon { oldest, time }) => below.rows().table.scan(range, direction, &mut |row, value| {
            if (time.of)(time.layout, row).is_some_and(|time| time >= oldest) { visit(row, value) } else { GO_ON }
        }),
    }
}

/// Keeps going.
pub(crate) const GO_ON: ControlFlow<()> = ControlFlow::Continue(());
