//! Where rows lie, by key: an index that holds no keys, but a part of their hashes. Hash and place lie together, so that a look-up waits for
//! memory once here and once for the row.

use std::hash::BuildHasher;

use hashbrown::DefaultHashBuilder;

/// Where a row lies. It stays there until it is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slot(u32);

impl Slot {
    /// The nth.
    pub(super) fn nth(nth: usize) -> Self {
        let nth = u32::try_from(nth).ok().filter(|nth| *nth < u32::MAX);
        Slot(nth.expect("fewer than four billion rows fit into memory"))
    }
    pub(super) fn index(self) -> usize {
        self.0 as usize
    }
}

/// Slots by key. Whose key it is only the owner of the rows knows.
#[derive(Debug, Default)]
pub(super) struct Index {
    /// A power of two of [`Place`]s as numbers, a third of them free at least. A key's lies where its hash says, or behind that with no free
    /// place between.
    places: Vec<u64>,
    len: usize,
    hasher: DefaultHashBuilder,
}

/// A key's hash, so that growing looks at no key and searching mostly at the right one, and its slot. As a number it is never 0.
#[derive(Clone, Copy)]
struct Place {
    hash: u32,
    slot: Slot,
}

const FREE: u64 = 0;
const FEWEST: usize = 8;

impl Place {
    fn to_number(self) -> u64 {
        u64::from(self.hash) << 32 | (u64::from(self.slot.0) + 1)
    }
    /// None for a free place.
    #[allow(clippy::cast_possible_truncation, reason = "each half is one of the two numbers")]
    fn of_number(number: u64) -> Option<Self> {
        (number != FREE).then(|| Place { hash: (number >> 32) as u32, slot: Slot((number as u32).wrapping_sub(1)) })
    }
}

impl Index {
    fn hash(&self, key: &[u8]) -> u32 {
        // The upper half is as good as the lower one.
        (self.hasher.hash_one(key) >> 32) as u32
    }

    /// Goes along the places where a key of this hash may lie, up to the first that is free or that is it: which, and whether that is it.
    fn search(&self, hash: u32, is_it: impl Fn(Slot) -> bool) -> (usize, Option<Slot>) {
        let last = self.places.len() - 1;
        let mut at = hash as usize & last;
        while let Some(place) = Place::of_number(self.places[at]) {
            if place.hash == hash && is_it(place.slot) {
                return (at, Some(place.slot));
            }
            at = (at + 1) & last;
        }
        (at, None)
    }

    /// The slot of a key. `is_it` tells whether a slot has it.
    pub(super) fn find(&self, key: &[u8], is_it: impl Fn(Slot) -> bool) -> Option<Slot> {
        if self.len == 0 {
            return None;
        }
        self.search(self.hash(key), is_it).1
    }

    /// Adds a key that is not there.
    pub(super) fn add(&mut self, key: &[u8], slot: Slot) {
        if (self.len + 1) * 3 > self.places.len() * 2 {
            self.resize(self.len + 1);
        }
        let hash = self.hash(key);
        self.put(Place { hash, slot });
    }

    fn put(&mut self, place: Place) {
        let (at, _) = self.search(place.hash, |_| false);
        self.places[at] = place.to_number();
        self.len += 1;
    }

    /// Makes room for so many, and for no more than some times as many.
    fn resize(&mut self, len: usize) {
        let places = (len * 3 / 2 + 1).next_power_of_two().max(FEWEST);
        let old = std::mem::replace(&mut self.places, vec![FREE; places]);
        self.len = 0;
        old.into_iter().filter_map(Place::of_number).for_each(|place| self.put(place));
    }

    /// Removes a key with its slot; false if it was not there.
    pub(super) fn remove(&mut self, key: &[u8], slot: Slot) -> bool {
        if self.len == 0 {
            return false;
        }
        let (mut gap, found) = self.search(self.hash(key), |other| other == slot);
        if found.is_none() {
            return false;
        }
        // What lies behind it moves up, unless it would come before its own place.
        let last = self.places.len() - 1;
        let mut at = gap;
        loop {
            at = (at + 1) & last;
            let Some(place) = Place::of_number(self.places[at]) else { break };
            let from_own = at.wrapping_sub(place.hash as usize) & last;
            if from_own >= at.wrapping_sub(gap) & last {
                self.places[gap] = self.places[at];
                gap = at;
            }
        }
        self.places[gap] = FREE;
        self.len -= 1;
        true
    }

    /// Removes all slots but those that are to stay, and gives unneeded memory back.
    pub(super) fn retain(&mut self, mut stays: impl FnMut(Slot) -> bool) {
        for number in &mut self.places {
            if Place::of_number(*number).is_some_and(|place| !stays(place.slot)) {
                *number = FREE;
                self.len -= 1;
            }
        }
        self.resize(self.len);
    }

    /// Gives each slot another place.
    pub(super) fn renumber(&mut self, mut moved: impl FnMut(Slot) -> Slot) {
        for number in &mut self.places {
            if let Some(place) = Place::of_number(*number) {
                *number = Place { slot: moved(place.slot), ..place }.to_number();
            }
        }
    }

    /// Forgets all and gives the memory back.
    pub(super) fn clear(&mut self) {
        (self.places, self.len) = (Vec::new(), 0);
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }
    pub(super) fn slots(&self) -> impl Iterator<Item = Slot> {
        self.places.iter().filter_map(|number| Place::of_number(*number)).map(|place| place.slot)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        /// Keys come and go in a small index, so that many lie behind their places and around its end.
        #[test]
        fn an_index_is_a_map(steps in proptest::collection::vec((0..40_u8, 0..100_u8), 0..400)) {
            let (mut index, mut model) = (Index::default(), BTreeMap::new());
            let slot_of = |key: u8| Slot::nth(usize::from(key) * 7);
            for (key, what) in steps {
                let there = index.find(&[key], |slot| slot == slot_of(key));
                prop_assert_eq!(there, model.get(&key).copied());
                match what {
                    0 => {
                        index.retain(|slot| slot.index().is_multiple_of(2));
                        model.retain(|_, slot: &mut Slot| slot.index().is_multiple_of(2));
                    }
                    1..50 if there.is_none() => {
                        index.add(&[key], slot_of(key));
                        model.insert(key, slot_of(key));
                    }
                    1..50 => {}
                    _ => prop_assert_eq!(index.remove(&[key], slot_of(key)), model.remove(&key).is_some()),
                }
                prop_assert_eq!(index.len(), model.len());
                prop_assert!(index.len() * 3 <= index.places.len() * 2);
            }
            let mut slots: Vec<_> = index.slots().map(Slot::index).collect();
            slots.sort_unstable();
            prop_assert_eq!(slots, model.values().map(|slot| slot.index()).collect::<Vec<_>>());
        }
    }

    #[test]
    fn many_are_found_and_memory_is_given_back() {
        let mut index = Index::default();
        let key = |nth: usize| nth.to_be_bytes();
        (0..100_000).for_each(|nth| index.add(&key(nth), Slot::nth(nth)));
        assert!((0..100_000).all(|nth| index.find(&key(nth), |slot| slot.index() == nth).is_some()));
        index.retain(|slot| slot.index() < 10);
        assert!(index.places.len() <= 32 && index.len() == 10);
        index.renumber(|slot| Slot::nth(slot.index() + 5));
        assert!((0..10).all(|nth| index.find(&key(nth), |slot| slot.index() == nth + 5).is_some()));
    }
}
