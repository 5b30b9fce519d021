//! Rows of a table in one piece of memory, with an index by key. What is short, and most keys and values are, lies in the row itself:
//! a look-up follows no pointer to it, and a row takes no memory of the allocator's.

use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};

/// Bytes, in place if they are few.
#[derive(Debug)]
enum Short<const N: usize> {
    Here(u8, [u8; N]),
    Elsewhere(Box<[u8]>),
}

/// What a row costs beside bytes that do not fit into it: itself, its place in the index with what that leaves empty, and in the list of changes.
const ROW_COST: usize = 112;
/// What the allocator adds to bytes elsewhere.
const ALLOCATED: usize = 16;

/// One row.
#[derive(Debug, Default)]
pub(crate) struct Row {
    key: Short<30>,
    value: Option<Short<22>>,
    /// When it was last written, in writes of its table; 0 for a row that the backend has.
    pub(crate) seq: u64,
    /// The timestamp of its changelog record, in ms.
    pub(crate) at: i64,
    /// Touched since the last sweep of the read cache.
    pub(crate) used: bool,
    /// The changelog does not hear of its last write.
    pub(crate) silent: bool,
}

/// Where a row lies. It stays there until it is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slot(u32);

/// Rows by key.
#[derive(Debug, Default)]
pub(crate) struct Slots {
    index: HashTable<Place>,
    rows: Vec<Row>,
    free: Vec<Slot>,
    hasher: DefaultHashBuilder,
}

/// A row with a part of its key's hash, so that growing looks at no key and searching mostly at the right one.
#[derive(Clone, Copy, Debug)]
struct Place {
    hash: u32,
    slot: Slot,
}

impl Place {
    /// All bits of a hash that is spread over 64.
    fn spread(hash: u32) -> u64 {
        u64::from(hash).wrapping_mul(0x9E37_79B9_7F4A_7C15)
    }
}

impl<const N: usize> Default for Short<N> {
    fn default() -> Self {
        Short::Here(0, [0; N])
    }
}

impl<const N: usize> Short<N> {
    fn new(bytes: &[u8]) -> Self {
        let mut short = Short::default();
        short.set(bytes);
        short
    }

    fn set(&mut self, new: &[u8]) {
        match (&mut *self, u8::try_from(new.len())) {
            (Short::Elsewhere(old), _) if old.len() == new.len() => old.copy_from_slice(new),
            (_, Ok(length)) if usize::from(length) <= N => {
                let mut bytes = [0; N];
                bytes[..new.len()].copy_from_slice(new);
                *self = Short::Here(length, bytes);
            }
            _ => *self = Short::Elsewhere(new.into()),
        }
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Short::Here(length, bytes) => &bytes[..usize::from(*length)],
            Short::Elsewhere(bytes) => bytes,
        }
    }

    fn cost(&self) -> usize {
        match self {
            Short::Here(..) => 0,
            Short::Elsewhere(bytes) => bytes.len() + ALLOCATED,
        }
    }
}

impl Row {
    pub(crate) fn key(&self) -> &[u8] {
        self.key.bytes()
    }
    pub(crate) fn value(&self) -> Option<&[u8]> {
        self.value.as_ref().map(Short::bytes)
    }
    pub(crate) fn set_value(&mut self, value: Option<&[u8]>) {
        match (&mut self.value, value) {
            (Some(old), Some(new)) => old.set(new),
            (old, new) => *old = new.map(Short::new),
        }
    }
    /// Bytes that it takes.
    pub(crate) fn cost(&self) -> usize {
        ROW_COST + self.key.cost() + self.value.as_ref().map_or(0, Short::cost)
    }
}

impl Slots {
    fn hash(&self, key: &[u8]) -> u32 {
        // The upper half is as good as the lower one.
        (self.hasher.hash_one(key) >> 32) as u32
    }

    /// Where the row of a key lies.
    pub(crate) fn find(&self, key: &[u8]) -> Option<Slot> {
        let hash = self.hash(key);
        let found = self.index.find(Place::spread(hash), |place| place.hash == hash && self.row(place.slot).key() == key);
        found.map(|place| place.slot)
    }

    /// Adds a row for a key that has none.
    pub(crate) fn add(&mut self, key: &[u8], value: Option<&[u8]>) -> Slot {
        let hash = self.hash(key);
        let row = Row { key: Short::new(key), value: value.map(Short::new), used: true, ..Row::default() };
        let slot = match self.free.pop() {
            Some(slot) => {
                *self.row_mut(slot) = row;
                slot
            }
            None => {
                self.rows.push(row);
                Slot(u32::try_from(self.rows.len() - 1).expect("fewer than four billion rows fit into memory"))
            }
        };
        self.index.insert_unique(Place::spread(hash), Place { hash, slot }, |place| Place::spread(place.hash));
        slot
    }

    pub(crate) fn row(&self, slot: Slot) -> &Row {
        &self.rows[slot.0 as usize]
    }
    pub(crate) fn row_mut(&mut self, slot: Slot) -> &mut Row {
        &mut self.rows[slot.0 as usize]
    }

    pub(crate) fn remove(&mut self, slot: Slot) {
        let hash = self.hash(self.row(slot).key());
        if let Ok(place) = self.index.find_entry(Place::spread(hash), |place| place.slot == slot) {
            place.remove();
            *self.row_mut(slot) = Row::default();
            self.free.push(slot);
        }
    }

    /// Removes all rows but those that are to stay.
    pub(crate) fn retain(&mut self, mut stays: impl FnMut(&mut Row) -> bool) {
        let Slots { index, rows, free, .. } = self;
        index.retain(|place| {
            let row = &mut rows[place.slot.0 as usize];
            let stays = stays(row);
            if !stays {
                *row = Row::default();
                free.push(place.slot);
            }
            stays
        });
        if self.is_empty() {
            self.clear();
        }
    }

    /// Gives memory back that few rows are left in. They move: slots that were known are known no more.
    pub(crate) fn shrink(&mut self) {
        const WORTH_IT: usize = 1000;
        if self.rows.len() < WORTH_IT || self.index.len() > self.rows.len() / 2 {
            return;
        }
        let mut rows = Vec::with_capacity(self.index.len());
        for place in &mut self.index {
            rows.push(std::mem::take(&mut self.rows[place.slot.0 as usize]));
            place.slot = Slot(u32::try_from(rows.len() - 1).expect("fewer than there were"));
        }
        (self.rows, self.free) = (rows, Vec::new());
        self.index.shrink_to_fit(|place| Place::spread(place.hash));
    }

    /// Forgets all rows and gives their memory back.
    pub(crate) fn clear(&mut self) {
        (self.index, self.rows, self.free) = (HashTable::new(), Vec::new(), Vec::new());
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Row> {
        self.index.iter().map(|place| self.row(place.slot))
    }
    pub(crate) fn is_empty(&self) -> bool {
        self.index.is_empty()
    }
}

#[cfg(test)]
mod tests;
