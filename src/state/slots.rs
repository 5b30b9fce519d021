//! Rows of a table in large pieces of memory, with an index by key. What is short, and most keys and values are, lies in the row itself:
//! a look-up follows no pointer to it, and a row takes no memory of the allocator's. A row is as long as what a processor reads at a time.

use crate::state::content::{Content, same};
use crate::state::index::{Index, Slot};

/// What a row costs beside bytes that do not fit into it: itself, its place in the index with what that leaves empty, and in the list of changes.
const ROW_COST: usize = 96;

/// One row.
#[derive(Debug, Default)]
#[repr(align(64))]
pub(crate) struct Row {
    content: Content,
    /// See `seq`, in the lower bits; the uppermost ones are [`USED`] and [`SILENT`].
    written: u64,
    /// The timestamp of its changelog record, in ms.
    pub(crate) at: i64,
}

/// Touched since the last sweep of the read cache.
const USED: u64 = 1 << 63;
/// The changelog does not hear of its last write.
const SILENT: u64 = 1 << 62;

/// Rows in one piece of memory.
const PIECE: usize = 1024;

/// Rows by key.
#[derive(Debug, Default)]
pub(crate) struct Slots {
    index: Index,
    rows: Pieces,
    free: Vec<Slot>,
    /// Found last: whoever reads a row often writes it next.
    last: Option<Slot>,
}

/// Rows that stay where they are while there come more.
#[derive(Debug, Default)]
struct Pieces(Vec<Vec<Row>>);

impl Pieces {
    fn len(&self) -> usize {
        self.0.last().map_or(0, |last| (self.0.len() - 1) * PIECE + last.len())
    }

    fn push(&mut self, row: Row) -> Slot {
        let slot = Slot::nth(self.len());
        match self.0.last_mut().filter(|last| last.len() < PIECE) {
            Some(last) => last.push(row),
            None => {
                let mut piece = Vec::with_capacity(PIECE);
                piece.push(row);
                self.0.push(piece);
            }
        }
        slot
    }

    fn get(&self, slot: Slot) -> &Row {
        &self.0[slot.index() / PIECE][slot.index() % PIECE]
    }
    fn get_mut(&mut self, slot: Slot) -> &mut Row {
        &mut self.0[slot.index() / PIECE][slot.index() % PIECE]
    }
}

impl Row {
    pub(crate) fn key(&self) -> &[u8] {
        self.content.key()
    }
    pub(crate) fn value(&self) -> Option<&[u8]> {
        self.content.value()
    }
    pub(crate) fn set_value(&mut self, value: Option<&[u8]>) {
        self.content.set_value(value);
    }
    /// When it was last written, in writes of its table; 0 for a row that the backend has.
    pub(crate) fn seq(&self) -> u64 {
        self.written & !(USED | SILENT)
    }
    /// It is written, and nobody has said yet that the changelog shall not hear of it.
    pub(crate) fn set_seq(&mut self, seq: u64) {
        self.written = (self.written & USED) | seq;
    }
    pub(crate) fn is_silent(&self) -> bool {
        self.written & SILENT != 0
    }
    /// The changelog does not hear of its last write.
    pub(crate) fn set_silent(&mut self) {
        self.written |= SILENT;
    }
    /// It was touched.
    pub(crate) fn set_used(&mut self) {
        self.written |= USED;
    }
    /// Whether it was touched since the last call.
    pub(crate) fn take_used(&mut self) -> bool {
        let was_used = self.written & USED != 0;
        self.written &= !USED;
        was_used
    }
    /// Bytes that it takes.
    pub(crate) fn cost(&self) -> usize {
        ROW_COST + self.content.cost()
    }
}

impl Slots {
    /// Where the row of a key lies.
    pub(crate) fn find(&self, key: &[u8]) -> Option<Slot> {
        let is_it = |slot: Slot| same(self.row(slot).key(), key);
        if let Some(last) = self.last.filter(|last| is_it(*last)) {
            return Some(last);
        }
        self.index.find(key, is_it)
    }

    /// The same, for somebody who will look for it again.
    pub(crate) fn find_and_remember(&mut self, key: &[u8]) -> Option<Slot> {
        let found = self.find(key)?;
        self.last = Some(found);
        Some(found)
    }

    /// Adds a row for a key that has none.
    pub(crate) fn add(&mut self, key: &[u8], value: Option<&[u8]>) -> Slot {
        let row = Row { content: Content::new(key, value), written: USED, at: 0 };
        let slot = match self.free.pop() {
            Some(slot) => {
                *self.row_mut(slot) = row;
                slot
            }
            None => self.rows.push(row),
        };
        self.index.add(key, slot);
        slot
    }

    pub(crate) fn row(&self, slot: Slot) -> &Row {
        self.rows.get(slot)
    }
    pub(crate) fn row_mut(&mut self, slot: Slot) -> &mut Row {
        self.rows.get_mut(slot)
    }

    /// Brings rows near that are looked at next, all at once: one after the other each would be waited for.
    pub(crate) fn approach(&self, slots: impl Iterator<Item = Slot>) {
        std::hint::black_box(slots.fold(0, |all, slot| all ^ self.row(slot).written));
    }

    pub(crate) fn remove(&mut self, slot: Slot) {
        let row = self.rows.get_mut(slot);
        if self.index.remove(row.key(), slot) {
            *row = Row::default();
            self.free.push(slot);
            self.last = None;
        }
    }

    /// Removes all rows but those that are to stay.
    pub(crate) fn retain(&mut self, mut stays: impl FnMut(&mut Row) -> bool) {
        self.last = None;
        let Slots { index, rows, free, .. } = self;
        index.retain(|slot| {
            let row = rows.get_mut(slot);
            let stays = stays(row);
            if !stays {
                *row = Row::default();
                free.push(slot);
            }
            stays
        });
        if self.is_empty() {
            self.clear();
        }
    }

    /// Gives memory back that few rows are left in. They move: slots that were known are known no more.
    pub(crate) fn shrink(&mut self) {
        if self.rows.len() < PIECE || self.index.len() > self.rows.len() / 2 {
            return;
        }
        let mut rows = Pieces::default();
        self.index.renumber(|slot| rows.push(std::mem::take(self.rows.get_mut(slot))));
        (self.rows, self.free, self.last) = (rows, Vec::new(), None);
    }

    /// Forgets all rows and gives their memory back.
    pub(crate) fn clear(&mut self) {
        self.index.clear();
        (self.rows, self.free, self.last) = (Pieces::default(), Vec::new(), None);
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Row> {
        self.index.slots().map(|slot| self.row(slot))
    }
    pub(crate) fn is_empty(&self) -> bool {
        self.index.len() == 0
    }
}

#[cfg(test)]
mod tests;
