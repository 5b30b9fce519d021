//! Rows that outlive the stores assembled over them.

use std::sync::{Arc, Mutex};

use crate::error::StoreError;
use crate::state::backend::{Batch, Direction, KeyRange, StoreBackend, Visit, is_damage};
use crate::state::lock::lock;

/// What was seen to be wrong with rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Damage {
    /// They cannot be read: they are forgotten when the store is opened again.
    Unreadable,
    /// They cannot be written: their database is opened anew.
    Unwritable,
    /// They cannot be written, because files of theirs or of another store of the task are damaged: the database is opened anew, and each store
    /// is read through.
    Suspect,
}

/// The rows of one store.
pub(super) struct Shelf {
    /// None when they are closed.
    pub(super) backend: Option<Box<dyn StoreBackend>>,
    /// The lease that may use them.
    pub(super) lease: u64,
    pub(super) damage: Option<Damage>,
    /// Reads fail, as a test asked, until the rows are wiped.
    #[cfg(test)]
    pub(super) broken: bool,
}

impl Shelf {
    pub(super) fn new(backend: Box<dyn StoreBackend>, lease: u64) -> Self {
        Shelf {
            backend: Some(backend),
            lease,
            damage: None,
            #[cfg(test)]
            broken: false,
        }
    }
}

/// A store's way to its rows, as long as its lease is the last one.
pub(super) struct Leased {
    pub(super) shelf: Arc<Mutex<Shelf>>,
    pub(super) store: String,
    pub(super) lease: u64,
}

impl Leased {
    fn on<R>(&self, damage: Damage, act: impl FnOnce(&mut dyn StoreBackend) -> Result<R, StoreError>) -> Result<R, StoreError> {
        let mut shelf = lock(&self.shelf);
        let current = shelf.lease == self.lease;
        #[cfg(test)]
        if shelf.broken && damage == Damage::Unreadable {
            shelf.damage = Some(damage);
            return Err(StoreError::Backend { store: self.store.clone(), source: "unreadable, as the test asked".into() });
        }
        let why = match &mut shelf.backend {
            Some(backend) if current => {
                let done = act(&mut **backend);
                if let Err(error) = &done {
                    let suspect = damage == Damage::Unwritable && is_damage(error);
                    shelf.damage = Some(if suspect { Damage::Suspect } else { damage });
                }
                return done;
            }
            Some(_) => "its task has another owner in this process now",
            None => "it is closed: its task was given up, or the instance has stopped",
        };
        Err(StoreError::Backend { store: self.store.clone(), source: why.into() })
    }

    fn ask<R: Default>(&self, ask: impl FnOnce(&dyn StoreBackend) -> R) -> R {
        lock(&self.shelf).backend.as_deref().map_or_else(R::default, ask)
    }
}

impl StoreBackend for Leased {
    fn by_segment(&mut self) {
        let mut shelf = lock(&self.shelf);
        if shelf.lease == self.lease {
            shelf.backend.iter_mut().for_each(|rows| rows.by_segment());
        }
    }
    fn get(&mut self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.on(Damage::Unreadable, |rows| rows.get(key))
    }
    fn scan(&mut self, range: KeyRange<'_>, direction: Direction, visit: &mut Visit<'_>) -> Result<(), StoreError> {
        self.on(Damage::Unreadable, |rows| rows.scan(range, direction, visit))
    }
    fn apply(&mut self, batch: &Batch<'_>) -> Result<(), StoreError> {
        self.on(Damage::Unwritable, |rows| rows.apply(batch))
    }
    fn load(&mut self, batch: &Batch<'_>) -> Result<(), StoreError> {
        self.on(Damage::Unwritable, |rows| rows.load(batch))
    }
    fn loaded(&mut self) -> Result<(), StoreError> {
        self.on(Damage::Unwritable, |rows| rows.loaded())
    }
    fn is_open(&self) -> bool {
        let shelf = lock(&self.shelf);
        shelf.lease == self.lease && shelf.backend.is_some()
    }
    fn wipe(&mut self) -> Result<(), StoreError> {
        self.on(Damage::Unwritable, |rows| rows.wipe())
    }
    fn offset(&self) -> Option<i64> {
        self.ask(|rows| rows.offset())
    }
    fn note(&self) -> Option<Vec<u8>> {
        self.ask(|rows| rows.note())
    }
    fn approximate_rows(&self) -> usize {
        self.ask(|rows| rows.approximate_rows())
    }
}
