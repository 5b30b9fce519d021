//! The order in which Java's hash sets list names. Kafka Streams prints stores and topics in it, and flushes the caches
//! of one node's stores in it.

use std::cmp::Reverse;

/// The hash of a Java string, over UTF-16 units, as its hash tables use it.
fn spread_hash(name: &str) -> u32 {
    let hash = name.encode_utf16().fold(0_u32, |hash, unit| hash.wrapping_mul(31).wrapping_add(u32::from(unit)));
    hash ^ (hash >> 16)
}

/// Sorts names as a Java `HashSet` that got them one by one, in the order given, would list them.
pub(crate) fn hash_ordered<T: AsRef<str>>(names: Vec<T>) -> Vec<T> {
    let mut buckets = 16;
    while names.len() > buckets / 4 * 3 {
        buckets *= 2;
    }
    in_buckets(names, buckets)
}

/// The same for a `HashSet` that was made as a copy of another collection: it has more room.
pub(crate) fn hash_ordered_copy<T: AsRef<str>>(names: Vec<T>) -> Vec<T> {
    let buckets = (names.len() * 4 / 3 + 1).next_power_of_two().max(16);
    in_buckets(names, buckets)
}

fn in_buckets<T: AsRef<str>>(mut names: Vec<T>, buckets: usize) -> Vec<T> {
    names.sort_by_key(|name| spread_hash(name.as_ref()) as usize & (buckets - 1));
    names
}

/// A set that keeps its order as Java's `TreeSet` does while the elements' ranks change under it: the comparison happens
/// at insertion only, along a path that the shape of a red-black tree decides.
#[derive(Default)]
pub(crate) struct TreeOrder {
    slots: Vec<Slot>,
    root: Option<usize>,
}

struct Slot {
    item: usize,
    parent: Option<usize>,
    /// Left and right.
    below: [Option<usize>; 2],
    red: bool,
}

const LEFT: usize = 0;
const RIGHT: usize = 1;

impl TreeOrder {
    /// Adds an item unless an equal one is met on the way down. `rank` gives (size, name); larger sizes come first.
    pub(crate) fn insert<'a>(&mut self, item: usize, rank: impl Fn(usize) -> (usize, &'a str)) {
        let order = |item: usize| {
            let (size, name) = rank(item);
            (Reverse(size), name)
        };
        let (mut at, mut parent, mut side) = (self.root, None, LEFT);
        while let Some(slot) = at {
            let met = self.slots[slot].item;
            if met == item {
                return;
            }
            side = if order(item) < order(met) { LEFT } else { RIGHT };
            parent = Some(slot);
            at = self.slots[slot].below[side];
        }
        let new = self.slots.len();
        self.slots.push(Slot { item, parent, below: [None, None], red: true });
        match parent {
            Some(parent) => self.slots[parent].below[side] = Some(new),
            None => self.root = Some(new),
        }
        self.rebalance(new);
    }

    /// Items from first to last.
    pub(crate) fn items(&self) -> Vec<usize> {
        let mut items = Vec::with_capacity(self.slots.len());
        self.visit(self.root, &mut items);
        items
    }

    fn visit(&self, at: Option<usize>, items: &mut Vec<usize>) {
        if let Some(at) = at {
            self.visit(self.slots[at].below[LEFT], items);
            items.push(self.slots[at].item);
            self.visit(self.slots[at].below[RIGHT], items);
        }
    }

    fn side(&self, slot: usize, parent: usize) -> usize {
        if self.slots[parent].below[LEFT] == Some(slot) { LEFT } else { RIGHT }
    }

    fn is_red(&self, slot: Option<usize>) -> bool {
        slot.is_some_and(|slot| self.slots[slot].red)
    }

    /// Restores the rules of a red-black tree above a new red slot.
    fn rebalance(&mut self, mut at: usize) {
        while let Some(parent) = self.slots[at].parent.filter(|parent| self.slots[*parent].red) {
            let Some(grandparent) = self.slots[parent].parent else { break };
            let side = self.side(parent, grandparent);
            let uncle = self.slots[grandparent].below[1 - side];
            if self.is_red(uncle) {
                for slot in [Some(parent), uncle].into_iter().flatten() {
                    self.slots[slot].red = false;
                }
                self.slots[grandparent].red = true;
                at = grandparent;
                continue;
            }
            let mut top = parent;
            if self.side(at, parent) != side {
                self.rotate(parent, side);
                (at, top) = (parent, at);
            }
            self.slots[top].red = false;
            self.slots[grandparent].red = true;
            self.rotate(grandparent, 1 - side);
        }
        if let Some(root) = self.root {
            self.slots[root].red = false;
        }
    }

    /// Moves `slot` down to `side`; its child on the other side takes its place.
    fn rotate(&mut self, slot: usize, side: usize) {
        let Some(child) = self.slots[slot].below[1 - side] else { return };
        let inner = self.slots[child].below[side];
        let parent = self.slots[slot].parent;
        match parent {
            Some(parent) => {
                let at = self.side(slot, parent);
                self.slots[parent].below[at] = Some(child);
            }
            None => self.root = Some(child),
        }
        self.slots[slot].below[1 - side] = inner;
        if let Some(inner) = inner {
            self.slots[inner].parent = Some(slot);
        }
        self.slots[child].below[side] = Some(slot);
        self.slots[child].parent = parent;
        self.slots[slot].parent = Some(child);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_names_come_in_order_of_their_buckets() {
        // "a" hashes to 97, bucket 1 of 16; "b" to 98, bucket 2; "q" to 113, bucket 1 again.
        assert_eq!(hash_ordered(vec!["b", "q", "a"]), ["q", "a", "b"]);
    }

    #[test]
    fn a_tree_of_steady_ranks_is_sorted() {
        let names = ["c", "a", "g", "b", "f", "e", "d", "h"];
        let mut tree = TreeOrder::default();
        for item in 0..names.len() {
            tree.insert(item, |item| (if names[item] == "h" { 9 } else { 1 }, names[item]));
            tree.insert(0, |item| (1, names[item]));
        }
        let order: String = tree.items().into_iter().map(|item| names[item]).collect();
        assert_eq!(order, "habcdefg");
    }
}
