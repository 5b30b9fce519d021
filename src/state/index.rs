//! Where rows lie, by key: an index that holds no keys, but a part of their hashes.

use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};

/// Where a row lies. It stays there until it is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slot(pub(super) u32);

impl Slot {
    /// The nth.
    pub(super) fn nth(nth: usize) -> Self {
        Slot(u32::try_from(nth).expect("fewer than four billion rows fit into memory"))
    }
    pub(super) fn index(self) -> usize {
        self.0 as usize
    }
}

/// Slots by key. Whose key it is only the owner of the rows knows.
#[derive(Debug, Default)]
pub(super) struct Index {
    places: HashTable<Place>,
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

impl Index {
    fn hash(&self, key: &[u8]) -> u32 {
        // The upper half is as good as the lower one.
        (self.hasher.hash_one(key) >> 32) as u32
    }

    /// The slot of a key. `is_it` tells whether a slot has it.
    pub(super) fn find(&self, key: &[u8], is_it: impl Fn(Slot) -> bool) -> Option<Slot> {
        let hash = self.hash(key);
        self.places.find(Place::spread(hash), |place| place.hash == hash && is_it(place.slot)).map(|place| place.slot)
    }

    /// Adds a key that is not there.
    pub(super) fn add(&mut self, key: &[u8], slot: Slot) {
        let hash = self.hash(key);
        self.places.insert_unique(Place::spread(hash), Place { hash, slot }, |place| Place::spread(place.hash));
    }

    /// Removes a key with its slot; false if it was not there.
    pub(super) fn remove(&mut self, key: &[u8], slot: Slot) -> bool {
        let found = self.places.find_entry(Place::spread(self.hash(key)), |place| place.slot == slot);
        found.map(|place| place.remove()).is_ok()
    }

    pub(super) fn retain(&mut self, mut stays: impl FnMut(Slot) -> bool) {
        self.places.retain(|place| stays(place.slot));
    }

    /// Gives each slot another place, and unneeded memory back.
    pub(super) fn shrink(&mut self, mut moved: impl FnMut(Slot) -> Slot) {
        for place in &mut self.places {
            place.slot = moved(place.slot);
        }
        self.places.shrink_to_fit(|place| Place::spread(place.hash));
    }

    /// Forgets all and gives the memory back.
    pub(super) fn clear(&mut self) {
        self.places = HashTable::new();
    }

    pub(super) fn len(&self) -> usize {
        self.places.len()
    }
    pub(super) fn slots(&self) -> impl Iterator<Item = Slot> {
        self.places.iter().map(|place| place.slot)
    }
}
