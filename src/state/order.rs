//! Keys of a hash map, in order, from the first time that somebody scans: stores that are never scanned pay nothing.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::state::backend::{Direction, KeyRange, is_empty};

/// Bytes that two maps share.
pub(crate) type SharedKey = Arc<[u8]>;

/// The order, if anybody wanted one.
#[derive(Debug, Default)]
pub(crate) struct LazyOrder(Option<BTreeSet<SharedKey>>);

impl LazyOrder {
    pub(crate) fn insert(&mut self, key: &[u8]) {
        if let Some(order) = &mut self.0 {
            order.insert(key.into());
        }
    }
    pub(crate) fn remove(&mut self, key: &[u8]) {
        if let Some(order) = &mut self.0 {
            order.remove(key);
        }
    }
    pub(crate) fn clear(&mut self) {
        if let Some(order) = &mut self.0 {
            order.clear();
        }
    }
    /// From now on there is an order; `keys` are those of the map.
    pub(crate) fn build(&mut self, keys: impl FnOnce() -> BTreeSet<SharedKey>) {
        self.0.get_or_insert_with(keys);
    }
    /// Keys of the range. Call `build` first.
    pub(crate) fn range(&self, range: KeyRange<'_>, direction: Direction) -> impl Iterator<Item = &SharedKey> {
        let mut keys = self.0.as_ref().filter(|_| !is_empty(&range)).map(|order| order.range::<[u8], _>(range));
        std::iter::from_fn(move || match direction {
            Direction::Forward => keys.as_mut()?.next(),
            Direction::Backward => keys.as_mut()?.next_back(),
        })
    }
}
