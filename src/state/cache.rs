//! The record cache: what it holds back is emitted downstream at flush, one change per key, as Kafka Streams does it.
//!
//! Least recently used first within one store; all stores of a thread share one budget, and a store that writes makes
//! room among its own entries only. Evicting a dirty entry flushes every dirty entry of the store, in the order of each
//! key's latest write. Which entry is the least recently used is found out when room must be made: using one only numbers it.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::state::backend::{Direction, KeyRange};
use crate::state::content::{Content, same};
use crate::state::context::{RecordContext, WriteContext};
use crate::state::index::{Index, Slot};
use crate::state::key_schema::RowLayout;
use crate::state::order::{LazyOrder, SharedKey};

/// How many bytes the record caches of a thread may hold together, and how many of committed rows its stores keep at hand.
#[derive(Debug)]
pub(crate) struct CacheBudget {
    max: usize,
    used: AtomicUsize,
    reads_max: usize,
    reads: AtomicUsize,
}

/// Bytes of committed rows at hand unless told otherwise.
const READS: usize = 16 << 20;

impl CacheBudget {
    /// Zero: no record cache at all.
    pub(crate) fn new(max: usize) -> Self {
        CacheBudget { max, used: AtomicUsize::new(0), reads_max: READS, reads: AtomicUsize::new(0) }
    }
    /// So many bytes of committed rows.
    pub(crate) fn with_reads(self, reads_max: usize) -> Self {
        CacheBudget { reads_max, ..self }
    }
    pub(crate) fn reads_exceeded(&self) -> bool {
        self.reads.load(Ordering::Relaxed) > self.reads_max
    }
    /// By so much that it cannot wait for the next commit, and a table that holds so many of them has a good part in it.
    pub(crate) fn too_many_reads(&self, own: usize) -> bool {
        own > self.reads_max / 4 && self.reads.load(Ordering::Relaxed) > self.reads_max.saturating_mul(2)
    }
    pub(crate) fn add_reads(&self, bytes: usize) {
        self.reads.fetch_add(bytes, Ordering::Relaxed);
    }
    pub(crate) fn subtract_reads(&self, bytes: usize) {
        self.reads.fetch_sub(bytes, Ordering::Relaxed);
    }
    pub(crate) fn max(&self) -> usize {
        self.max
    }
    pub(crate) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }
    fn exceeded(&self) -> bool {
        self.used() > self.max
    }
    fn add(&self, bytes: usize) {
        self.used.fetch_add(bytes, Ordering::Relaxed);
    }
    fn subtract(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// One change per key, on its way downstream.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Flushed {
    /// The store key, as in the changelog.
    pub(crate) key: Vec<u8>,
    pub(crate) new: Option<Vec<u8>>,
    /// What the table held before, if the listener asked for old values.
    pub(crate) old: Option<Vec<u8>>,
    /// The record of the last write.
    pub(crate) context: RecordContext,
}

/// A dirty entry taken out for writing through.
pub(crate) struct DirtyEntry {
    pub(crate) key: SharedKey,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) context: RecordContext,
}

/// Two pieces of memory of the size that the machine fetches; a look-up needs the first.
#[repr(C, align(128))]
struct Entry {
    content: Content,
    /// When it was last written; 0 while clean.
    seq: u64,
    /// When it was last used, in uses of its cache; 0 for none.
    used: u64,
    context: RecordContext,
    /// What it counts for in the budget.
    size: usize,
}

/// How to tell the time that a row lies by.
#[derive(Clone, Copy)]
pub(crate) struct RowTime {
    pub(crate) layout: RowLayout,
    /// None for rows that lie by no time.
    pub(crate) of: fn(RowLayout, &[u8]) -> Option<i64>,
}

/// Entries by row key.
pub(crate) struct RecordCache {
    budget: Arc<CacheBudget>,
    /// How much longer Kafka Streams' cache key is than the row key.
    key_extra: usize,
    entries: Vec<Entry>,
    free: Vec<Slot>,
    index: Index,
    order: LazyOrder,
    dirty: Vec<Slot>,
    /// Dirty entries by time, for stores that are asked for rows by time.
    by_time: Option<RowTime>,
    dirty_by_time: BTreeSet<(i64, SharedKey)>,
    last_use: u64,
    /// Entries that there were at some time, the least recently used last, with the use they had then. Who was used since is younger than all
    /// that were not.
    line: Vec<(u64, Slot)>,
    /// Found last: whoever reads an entry often writes it next.
    found: Option<Slot>,
    last_seq: u64,
    bytes: usize,
    dirty_bytes: usize,
}

impl Drop for RecordCache {
    fn drop(&mut self) {
        self.budget.subtract(self.bytes);
    }
}

impl RecordCache {
    pub(crate) fn new(budget: Arc<CacheBudget>, key_extra: usize, by_time: Option<RowTime>) -> Self {
        RecordCache {
            budget,
            key_extra,
            entries: Vec::new(),
            free: Vec::new(),
            index: Index::default(),
            order: LazyOrder::default(),
            dirty: Vec::new(),
            by_time,
            dirty_by_time: BTreeSet::new(),
            last_use: 0,
            line: Vec::new(),
            found: None,
            last_seq: 0,
            bytes: 0,
            dirty_bytes: 0,
        }
    }

    /// What the cache knows of `key`: nothing, that it is deleted, or its value.
    pub(crate) fn get(&mut self, key: &[u8]) -> Option<Option<&[u8]>> {
        let slot = self.find(key)?;
        self.touch(slot);
        Some(self.entry(slot).content.value())
    }

    /// A row that was read below.
    pub(crate) fn put_clean(&mut self, key: &[u8], value: &[u8]) {
        let (slot, before) = self.slot_of(key);
        self.set_value(slot, Some(value), before);
    }

    /// A write.
    pub(crate) fn put(&mut self, key: &[u8], value: Option<&[u8]>, cx: &WriteContext<'_>) {
        let (slot, before) = self.slot_of(key);
        self.last_seq += 1;
        let entry = &mut self.entries[slot.index()];
        let was_dirty = entry.seq != 0;
        entry.seq = self.last_seq;
        entry.context.keep(cx);
        if !was_dirty {
            self.dirty.push(slot);
            if let Some(time) = self.by_time.and_then(|by| (by.of)(by.layout, key)) {
                self.dirty_by_time.insert((time, key.into()));
            }
        }
        let after = self.set_value(slot, value, before);
        let before = if was_dirty { before } else { 0 };
        self.dirty_bytes = (self.dirty_bytes + after).saturating_sub(before);
    }

    /// Knows nothing of `key` any more, and writes nothing through for it.
    pub(crate) fn forget(&mut self, key: &[u8]) {
        let Some(slot) = self.find(key) else { return };
        if self.entry(slot).seq != 0 {
            self.dirty_bytes = self.dirty_bytes.saturating_sub(self.entry(slot).size);
            self.dirty.retain(|dirty| *dirty != slot);
            let time = self.by_time.and_then(|by| (by.of)(by.layout, key));
            self.dirty_by_time.retain(|(at, dirty)| Some(*at) != time || **dirty != *key);
        }
        self.remove_slot(slot);
    }

    /// Whether something must go before the budget is kept again and this store has something.
    pub(crate) fn must_evict(&self) -> bool {
        self.budget.exceeded() && !self.is_empty()
    }

    /// Drops the least recently used entry. If it was dirty: all dirty entries, it first, for writing through.
    pub(crate) fn evict(&mut self) -> Vec<DirtyEntry> {
        let Some(slot) = self.oldest() else { return Vec::new() };
        let entry = self.entry(slot);
        let first = (entry.seq != 0).then(|| entry.to_be_written());
        if first.is_some() {
            self.dirty_bytes = self.dirty_bytes.saturating_sub(self.entry(slot).size);
            self.dirty.retain(|dirty| *dirty != slot);
        }
        self.remove_slot(slot);
        match first {
            Some(first) => std::iter::once(first).chain(self.take_dirty()).collect(),
            None => Vec::new(),
        }
    }

    /// All dirty entries, in the order of their latest write; they stay as clean ones, deletions go.
    pub(crate) fn take_dirty(&mut self) -> Vec<DirtyEntry> {
        let mut dirty = std::mem::take(&mut self.dirty);
        self.dirty_bytes = 0;
        self.dirty_by_time.clear();
        dirty.sort_unstable_by_key(|slot| self.entry(*slot).seq);
        let taken = dirty.iter().map(|slot| {
            let entry = &mut self.entries[slot.index()];
            entry.seq = 0;
            entry.to_be_written()
        });
        let taken: Vec<DirtyEntry> = taken.collect();
        for slot in dirty {
            if self.entry(slot).content.value().is_none() {
                self.remove_slot(slot);
            }
        }
        taken
    }

    /// Dirty entries of a span of time, for stores that are asked for rows by time.
    pub(crate) fn dirty_between(&self, from: i64, to: i64) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
        let nothing: SharedKey = Arc::from([].as_slice());
        let found = (from <= to).then(|| self.dirty_by_time.range((from, nothing)..)).into_iter().flatten();
        found.take_while(move |(time, _)| *time <= to).filter_map(move |(_, key)| Some((&**key, self.value_of(key)?)))
    }

    /// Entries of the range in order; none is a deletion.
    pub(crate) fn range(&mut self, range: KeyRange<'_>, direction: Direction) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
        self.build_order();
        let this = &*self;
        this.order.range(range, direction).filter_map(move |key| Some((&**key, this.value_of(key)?)))
    }

    /// Keys of the range in order.
    pub(crate) fn keys(&mut self, range: KeyRange<'_>, direction: Direction) -> impl Iterator<Item = &SharedKey> {
        self.build_order();
        self.order.range(range, direction)
    }

    /// The entries of the range have been used, in this order, as Kafka Streams' iterators use what they visit.
    pub(crate) fn touch_range(&mut self, range: KeyRange<'_>, direction: Direction) {
        self.build_order();
        let slots: Vec<Slot> = self.order.range(range, direction).filter_map(|key| self.look_up(key)).collect();
        slots.into_iter().for_each(|slot| self.touch(slot));
    }

    fn build_order(&mut self) {
        let RecordCache { order, index, entries, .. } = self;
        order.build(|| index.slots().map(|slot| entries[slot.index()].content.key().into()).collect());
    }

    pub(crate) fn len(&self) -> usize {
        self.index.len()
    }
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Bytes of what is not written through yet, roughly.
    pub(crate) fn dirty_bytes(&self) -> usize {
        self.dirty_bytes
    }
    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        *self = RecordCache::new(self.budget.clone(), self.key_extra, self.by_time);
    }

    fn entry(&self, slot: Slot) -> &Entry {
        &self.entries[slot.index()]
    }
    /// The slot of `key`, made if need be, in front of all others; and its size so far.
    fn slot_of(&mut self, key: &[u8]) -> (Slot, usize) {
        if let Some(slot) = self.find(key) {
            self.touch(slot);
            return (slot, self.entry(slot).size);
        }
        let entry = Entry { content: Content::new(key, None), context: RecordContext::default(), seq: 0, used: 0, size: 0 };
        let slot = match self.free.pop() {
            Some(slot) => {
                self.entries[slot.index()] = entry;
                slot
            }
            None => {
                self.entries.push(entry);
                Slot::nth(self.entries.len() - 1)
            }
        };
        self.index.add(key, slot);
        self.order.insert(key);
        self.touch(slot);
        (slot, 0)
    }
    fn look_up(&self, key: &[u8]) -> Option<Slot> {
        self.index.find(key, |slot| same(self.entry(slot).content.key(), key))
    }
    fn find(&mut self, key: &[u8]) -> Option<Slot> {
        if self.found.is_none_or(|found| !same(self.entry(found).content.key(), key)) {
            self.found = Some(self.look_up(key)?);
        }
        self.found
    }
    /// What the cache knows of `key`, without using it.
    fn value_of(&self, key: &[u8]) -> Option<Option<&[u8]>> {
        self.look_up(key).map(|slot| self.entry(slot).content.value())
    }
    /// Gives the size of the entry.
    fn set_value(&mut self, slot: Slot, value: Option<&[u8]>, before: usize) -> usize {
        let entry = &mut self.entries[slot.index()];
        entry.content.set_value(value);
        let after = self.key_extra + entry.own_size();
        entry.size = after;
        if after != before {
            self.bytes = self.bytes + after - before;
            self.budget.add(after);
            self.budget.subtract(before);
        }
        after
    }
    fn remove_slot(&mut self, slot: Slot) {
        let size = self.entry(slot).size;
        self.bytes -= size;
        self.budget.subtract(size);
        let entry = &mut self.entries[slot.index()];
        entry.used = 0;
        self.index.remove(entry.content.key(), slot);
        self.order.remove(entry.content.key());
        (entry.content, entry.context) = (Content::default(), RecordContext::default());
        self.free.push(slot);
        self.found = None;
    }
    fn touch(&mut self, slot: Slot) {
        self.last_use += 1;
        self.entries[slot.index()].used = self.last_use;
    }
    /// The least recently used entry, which is to be removed.
    fn oldest(&mut self) -> Option<Slot> {
        if self.is_empty() {
            return None;
        }
        loop {
            match self.line.pop() {
                Some((used, slot)) if self.entry(slot).used == used => return Some(slot),
                Some(_) => {}
                None => self.line_up(),
            }
        }
    }
    /// As many have been removed or used since the last time as there were then, so that this costs each of them little.
    fn line_up(&mut self) {
        let RecordCache { line, index, entries, .. } = self;
        line.extend(index.slots().map(|slot| (entries[slot.index()].used, slot)));
        line.sort_unstable_by_key(|(used, _)| Reverse(*used));
    }
}

impl Entry {
    /// FORMAT §9.9, without what the cache's keys are longer: cache key + 24 + 1 + value + context.
    fn own_size(&self) -> usize {
        self.content.key().len() + 24 + 1 + self.content.value().map_or(0, <[u8]>::len) + self.context.java_size()
    }
    fn to_be_written(&self) -> DirtyEntry {
        DirtyEntry { key: self.content.key().into(), value: self.content.value().map(<[u8]>::to_vec), context: self.context.clone() }
    }
}
