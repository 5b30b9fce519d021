//! The write-back table: what this transaction changed and a cache of what was read, over a backend of committed rows.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use crate::error::StoreError;
use crate::state::backend::{Batch, Direction, KeyRange, StoreBackend, Visit};
use crate::state::cache::CacheBudget;
use crate::state::gap::Gap;
use crate::state::index::Slot;
use crate::state::known::Known;
use crate::state::order::LazyOrder;
use crate::state::slots::{Row, Slots};

/// Rows that are brought near together when many are gone through.
const APPROACHED: usize = 64;

/// Rows by key. Committed ones come from the backend and stay at hand; changed ones stay until `apply` or `abort`.
pub(crate) struct Table {
    backend: Box<dyn StoreBackend>,
    rows: Slots,
    dirty: Vec<Slot>,
    dirty_order: LazyOrder,
    dirty_bytes: usize,
    clean_bytes: usize,
    /// Of the bytes of committed rows at hand, shared by the tables of a thread.
    budget: Arc<CacheBudget>,
    last_seq: u64,
    drained: u64,
    /// Where there is no row, and where there was none at the last commit.
    gap: Gap,
    committed_gap: Gap,
    /// Where there is no committed row but those at hand.
    known: Known,
    /// Keys begin with eight bytes of segment number: rows are let go from the oldest segment on.
    segmented: bool,
}

impl Drop for Table {
    fn drop(&mut self) {
        self.set_clean_bytes(0);
    }
}

/// A dirty row on its way to the changelog.
pub(crate) struct Change<'a> {
    pub(crate) seq: u64,
    pub(crate) key: &'a [u8],
    pub(crate) value: Option<&'a [u8]>,
    pub(crate) at: i64,
}

impl Table {
    pub(crate) fn new(backend: Box<dyn StoreBackend>, budget: Arc<CacheBudget>) -> Self {
        Table {
            backend,
            rows: Slots::default(),
            dirty: Vec::new(),
            dirty_order: LazyOrder::default(),
            dirty_bytes: 0,
            clean_bytes: 0,
            budget,
            last_seq: 0,
            drained: 0,
            gap: Gap::default(),
            committed_gap: Gap::default(),
            known: Known::default(),
            segmented: false,
        }
    }

    /// See [`StoreBackend::by_segment`].
    pub(crate) fn by_segment(&mut self) {
        self.backend.by_segment();
        self.segmented = true;
    }

    /// The value under `key`.
    pub(crate) fn get(&mut self, key: &[u8]) -> Result<Option<&[u8]>, StoreError> {
        if self.budget.too_many_reads(self.clean_bytes) {
            self.forget_clean_rows();
        }
        let slot = match self.rows.find_and_remember(key) {
            Some(slot) => slot,
            None if self.backend.is_open() && self.known.covers(key, &mut *self.backend)? => return Ok(None),
            None => {
                let value = self.backend.get(key)?;
                let slot = self.rows.add(key, value.as_deref());
                let cost = self.rows.row(slot).cost();
                self.clean_bytes += cost;
                self.budget.add_reads(cost);
                slot
            }
        };
        let row = self.rows.row_mut(slot);
        row.set_used();
        Ok(row.value())
    }

    /// Sets or, with none, deletes `key`; `at` is for its changelog record.
    pub(crate) fn put(&mut self, key: &[u8], value: Option<&[u8]>, at: i64) {
        let seq = self.next_seq();
        let Some(slot) = self.rows.find(key) else {
            let slot = self.rows.add(key, value);
            if value.is_some() {
                self.gap.note_row(key);
            }
            let row = self.rows.row_mut(slot);
            row.set_seq(seq);
            row.at = at;
            self.dirty_bytes += row.cost();
            return self.is_dirty(slot, key);
        };
        let row = self.rows.row_mut(slot);
        let (was_clean, before) = (row.seq() == 0, row.cost());
        // A changed row with a value is met by every scan: no gap goes over it.
        if value.is_some() && (was_clean || row.value().is_none()) {
            self.gap.note_row(key);
        }
        row.set_value(value);
        row.set_seq(seq);
        row.set_used();
        row.at = at;
        let after = row.cost();
        if was_clean {
            self.clean_bytes -= before;
            self.budget.subtract_reads(before);
            self.dirty_bytes += after;
            self.is_dirty(slot, key);
        } else {
            self.dirty_bytes = (self.dirty_bytes + after).saturating_sub(before);
        }
    }

    fn is_dirty(&mut self, slot: Slot, key: &[u8]) {
        self.dirty_order.insert(key);
        self.dirty.push(slot);
    }

    /// Deletes `key` without a changelog record.
    pub(crate) fn remove_silently(&mut self, key: &[u8]) {
        self.put(key, None, 0);
        if let Some(slot) = self.rows.find(key) {
            self.rows.row_mut(slot).set_silent();
        }
    }

    /// A number that orders writes; for those that only the changelog sees.
    pub(crate) fn next_seq(&mut self) -> u64 {
        self.last_seq += 1;
        self.last_seq
    }

    /// Rows of the range in order, changed and committed ones merged.
    pub(crate) fn scan(&mut self, range: KeyRange<'_>, direction: Direction, visit: &mut Visit<'_>) -> Result<(), StoreError> {
        let Some(left) = self.gap.skip(range) else { return Ok(()) };
        let mut first = None;
        let mut visit = |key: &[u8], value: &[u8]| {
            first.get_or_insert_with(|| key.to_vec());
            visit(key, value)
        };
        if self.dirty.is_empty() {
            self.backend.scan(left, direction, &mut visit)?;
        } else {
            let rows = &self.rows;
            self.dirty_order.build(|| self.dirty.iter().map(|slot| rows.row(*slot).key().into()).collect());
            let value = |key: &[u8]| rows.find(key).and_then(|slot| rows.row(slot).value());
            let dirty = self.dirty_order.range(left, direction).map(|key| (&**key, value(key)));
            let backend = &mut self.backend;
            merge(dirty, direction, |visit| backend.scan(left, direction, visit), &mut visit)?;
        }
        if direction == Direction::Forward || first.is_none() {
            self.gap.learn(range, first.as_deref());
        }
        Ok(())
    }

    /// Rows changed since the last call, in the order of each row's latest write.
    pub(crate) fn drain(&mut self, mut visit: impl FnMut(Change<'_>) -> Result<(), StoreError>) -> Result<(), StoreError> {
        let rows = self.dirty.iter().map(|slot| (self.rows.row(*slot), *slot));
        let changed = rows.filter(|(row, _)| row.seq() > self.drained && !row.is_silent());
        let mut changed: Vec<(u64, Slot)> = changed.map(|(row, slot)| (row.seq(), slot)).collect();
        changed.sort_unstable_by_key(|(seq, _)| *seq);
        self.drained = self.last_seq;
        changed.chunks(APPROACHED).try_for_each(|some| {
            self.rows.approach(some.iter().map(|(_, slot)| *slot));
            some.iter().try_for_each(|(seq, slot)| {
                let row = self.rows.row(*slot);
                visit(Change { seq: *seq, key: row.key(), value: row.value(), at: row.at })
            })
        })
    }

    /// Bytes that only `apply` or `abort` frees.
    pub(crate) fn uncommitted_bytes(&self) -> usize {
        self.dirty_bytes
    }

    /// Hands the changed rows to the backend. If that fails nothing has changed.
    pub(crate) fn apply(&mut self, offset: Option<i64>, drop_before: Option<&[u8]>, note: Option<&[u8]>) -> Result<(), StoreError> {
        if self.dirty.is_empty() && offset.is_none() && drop_before.is_none() {
            return Ok(());
        }
        let is_dropped = |key: &[u8]| drop_before.is_some_and(|bound| key < bound);
        let changed = self.dirty.iter().map(|slot| self.rows.row(*slot));
        let rows: Vec<_> = changed.filter(|row| !is_dropped(row.key())).map(|row| (row.key(), row.value())).collect();
        self.backend.apply(&Batch { rows: &rows, offset, drop_before, note })?;
        let mut clean_bytes = self.clean_bytes;
        for slot in self.dirty.drain(..) {
            let row = self.rows.row_mut(slot);
            if row.value().is_none() || is_dropped(row.key()) {
                self.rows.remove(slot);
            } else {
                row.set_seq(0);
                clean_bytes += row.cost();
            }
        }
        self.dirty_bytes = 0;
        self.dirty_order.clear();
        self.set_clean_bytes(clean_bytes);
        self.sweep();
        self.committed_gap = self.gap.clone();
        Ok(())
    }

    /// Forgets the changes since the last `apply`.
    pub(crate) fn abort(&mut self) {
        for slot in self.dirty.drain(..) {
            self.rows.remove(slot);
        }
        self.dirty_bytes = 0;
        self.dirty_order.clear();
        self.gap = self.committed_gap.clone();
        self.known.forget();
    }

    /// Puts rows of a changelog into the backend, past this transaction.
    pub(crate) fn restore(&mut self, batch: &Batch<'_>) -> Result<(), StoreError> {
        self.backend.load(batch)?;
        // A store that is restored is new, mostly: nothing is known of its rows.
        (self.gap, self.committed_gap) = (Gap::default(), Gap::default());
        self.known.forget();
        if self.rows.is_empty() {
            return Ok(());
        }
        for (key, _) in batch.rows {
            let clean = self.rows.find(key).filter(|slot| self.rows.row(*slot).seq() == 0);
            if let Some(slot) = clean {
                self.set_clean_bytes(self.clean_bytes - self.rows.row(slot).cost());
                self.rows.remove(slot);
            }
        }
        Ok(())
    }

    /// See [`StoreBackend::loaded`].
    pub(crate) fn loaded(&mut self) -> Result<(), StoreError> {
        self.backend.loaded()
    }

    /// Forgets everything, here and in the backend.
    pub(crate) fn wipe(&mut self) -> Result<(), StoreError> {
        self.abort();
        self.rows.clear();
        self.set_clean_bytes(0);
        (self.gap, self.committed_gap) = (Gap::default(), Gap::default());
        self.known.forget();
        self.backend.wipe()
    }

    pub(crate) fn offset(&self) -> Option<i64> {
        self.backend.offset()
    }
    pub(crate) fn note(&self) -> Option<Vec<u8>> {
        self.backend.note()
    }
    /// Committed rows and changed ones; a changed row that was committed before counts twice.
    pub(crate) fn approximate_rows(&self) -> usize {
        self.backend.approximate_rows() + self.dirty.len()
    }

    /// Bytes of committed rows at hand.
    #[cfg(test)]
    pub(crate) fn clean_bytes(&self) -> usize {
        self.clean_bytes
    }

    /// After `apply`, when every row is clean. Over the budget, old segments go first; where there are none, rows that nobody touched since the
    /// last sweep (second chance). If that is not enough, all.
    fn sweep(&mut self) {
        for gently in [true, false] {
            if !self.budget.reads_exceeded() {
                return;
            }
            let oldest_kept = if gently && self.segmented { self.newer_half() } else { None };
            let stays = |row: &mut Row| match &oldest_kept {
                Some(oldest) => row.key() >= oldest.as_slice(),
                None => gently && row.take_used(),
            };
            let mut left = 0;
            self.rows.retain(|row| {
                let stays = stays(row);
                left += if stays { row.cost() } else { 0 };
                stays
            });
            self.rows.shrink();
            match &oldest_kept {
                Some(oldest) => self.known.let_go_below(oldest),
                None => self.known.forget(),
            }
            self.set_clean_bytes(left);
        }
    }

    /// Where the newer half of the rows begins, by their bytes; a segment is not divided.
    fn newer_half(&self) -> Option<Vec<u8>> {
        let mut segments: BTreeMap<&[u8], usize> = BTreeMap::new();
        for row in self.rows.iter() {
            *segments.entry(&row.key()[..row.key().len().min(8)]).or_default() += row.cost();
        }
        let mut bytes = 0;
        let newer = segments.iter().rev().take_while(|(_, own)| {
            bytes += **own;
            bytes <= self.clean_bytes / 2
        });
        newer.last().map(|(segment, _)| segment.to_vec())
    }

    /// Rows that were only read, and by many: they are read again when they are wanted.
    fn forget_clean_rows(&mut self) {
        self.rows.retain(|row| row.seq() != 0);
        self.set_clean_bytes(0);
        self.known.forget();
    }

    fn set_clean_bytes(&mut self, bytes: usize) {
        self.budget.add_reads(bytes);
        self.budget.subtract_reads(self.clean_bytes);
        self.clean_bytes = bytes;
    }
}

/// Merges rows that lie above (none hides) with those of a scan below; both in the order of `direction`.
pub(crate) fn merge<'a>(
    above: impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)>,
    direction: Direction,
    below: impl FnOnce(&mut Visit<'_>) -> Result<(), StoreError>,
    visit: &mut Visit<'_>,
) -> Result<(), StoreError> {
    let mut above = above.peekable();
    let mut flow = ControlFlow::Continue(());
    below(&mut |key, value| {
        while let Some(&(upper, changed)) = above.peek() {
            let order = match direction {
                Direction::Forward => upper.cmp(key),
                Direction::Backward => key.cmp(upper),
            };
            if order == Ordering::Greater {
                break;
            }
            above.next();
            flow = changed.map_or(ControlFlow::Continue(()), |changed| visit(upper, changed));
            if flow.is_break() || order == Ordering::Equal {
                return flow;
            }
        }
        flow = visit(key, value);
        flow
    })?;
    for (key, value) in above {
        if flow.is_break() {
            break;
        }
        flow = value.map_or(ControlFlow::Continue(()), |value| visit(key, value));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
