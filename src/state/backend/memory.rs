//! A backend in memory: for stores that are restored from their changelog, and for tests.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use crate::error::StoreError;
use crate::state::backend::{Batch, Direction, KeyRange, StoreBackend, Visit, is_empty};

/// Rows in a sorted map.
#[derive(Debug, Default)]
pub struct MemoryBackend {
    rows: BTreeMap<Vec<u8>, Vec<u8>>,
    offset: Option<i64>,
    /// Nothing lies below it.
    floor: Vec<u8>,
    note: Option<Vec<u8>>,
}

impl MemoryBackend {
    fn raise_floor(&mut self, bound: &[u8]) {
        if bound > self.floor.as_slice() {
            self.floor = bound.to_vec();
            if self.rows.first_key_value().is_some_and(|(first, _)| first.as_slice() < bound) {
                self.rows = self.rows.split_off(bound);
            }
        }
    }
}

impl StoreBackend for MemoryBackend {
    fn get(&mut self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.rows.get(key).cloned())
    }
    fn scan(&mut self, range: KeyRange<'_>, direction: Direction, visit: &mut Visit<'_>) -> Result<(), StoreError> {
        if is_empty(&range) {
            return Ok(());
        }
        let mut rows = self.rows.range::<[u8], _>(range);
        let mut next = || match direction {
            Direction::Forward => rows.next(),
            Direction::Backward => rows.next_back(),
        };
        while let Some((key, value)) = next() {
            if visit(key, value) == ControlFlow::Break(()) {
                break;
            }
        }
        Ok(())
    }
    fn apply(&mut self, batch: &Batch<'_>) -> Result<(), StoreError> {
        if let Some(bound) = batch.drop_before {
            self.raise_floor(bound);
        }
        for (key, value) in batch.rows.iter().filter(|(key, _)| *key >= self.floor.as_slice()) {
            match (value, self.rows.get_mut(*key)) {
                (Some(value), Some(row)) => {
                    row.clear();
                    row.extend_from_slice(value);
                }
                (Some(value), None) => drop(self.rows.insert(key.to_vec(), value.to_vec())),
                (None, _) => drop(self.rows.remove(*key)),
            }
        }
        self.offset = batch.offset.or(self.offset);
        if let Some(note) = batch.note {
            self.note = Some(note.to_vec());
        }
        Ok(())
    }
    fn load(&mut self, batch: &Batch<'_>) -> Result<(), StoreError> {
        self.apply(batch)
    }
    fn wipe(&mut self) -> Result<(), StoreError> {
        *self = MemoryBackend::default();
        Ok(())
    }
    fn offset(&self) -> Option<i64> {
        self.offset
    }
    fn note(&self) -> Option<Vec<u8>> {
        self.note.clone()
    }
    fn approximate_rows(&self) -> usize {
        self.rows.len()
    }
}
