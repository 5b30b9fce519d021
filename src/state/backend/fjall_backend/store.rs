//! The rows of one store in a keyspace of its task's database.

use std::ops::{Bound, ControlFlow};

use fjall::{AbstractTree, Database, Keyspace, OwnedWriteBatch, PersistMode, UserKey, UserValue};

use super::failed;
use crate::error::StoreError;
use crate::failpoint;
use crate::state::backend::standing::{ROW, STANDING, Standing, row_key};
use crate::state::backend::{Batch, Direction, KeyRange, StoreBackend, Visit, is_empty};

/// Rows on disk.
pub(crate) struct FjallBackend {
    name: String,
    database: Database,
    keyspace: Keyspace,
    standing: Standing,
    /// The key being looked up, kept to save the allocation.
    key: Vec<u8>,
}

impl FjallBackend {
    /// Reads what the rows stand for. A keyspace that does not say so cannot be trusted.
    pub(super) fn open(name: &str, database: Database, keyspace: Keyspace) -> Result<Self, StoreError> {
        let stored = keyspace.get(STANDING).map_err(|error| failed(name, error))?;
        let standing = Standing::of_row(name, stored.as_deref())?;
        Ok(FjallBackend { name: name.to_owned(), database, keyspace, standing, key: Vec::new() })
    }

    fn failed(&self, error: fjall::Error) -> StoreError {
        failed(&self.name, error)
    }

    /// The rows of a range that are not obsolete.
    fn above_floor(&self, (from, to): KeyRange<'_>) -> (Bound<Vec<u8>>, Bound<Vec<u8>>) {
        let floor = self.standing.floor.as_slice();
        let from = match from {
            Bound::Included(from) if from >= floor => Bound::Included(row_key(from)),
            Bound::Excluded(from) if from >= floor => Bound::Excluded(row_key(from)),
            _ => Bound::Included(row_key(floor)),
        };
        let to = match to {
            Bound::Included(to) => Bound::Included(row_key(to)),
            Bound::Excluded(to) => Bound::Excluded(row_key(to)),
            Bound::Unbounded => Bound::Unbounded,
        };
        (from, to)
    }

    /// Files that hold nothing but obsolete rows go as a whole; rows in other files are hidden until theirs does.
    fn drop_files(&self) {
        let below = row_key(&self.standing.floor);
        let range = (Bound::Included([ROW].as_slice()), Bound::Excluded(below.as_slice()));
        if let Err(error) = self.keyspace.tree.drop_range::<&[u8], _>(range) {
            tracing::warn!(store = self.name, %error, "obsolete rows were not removed from the disk; the next drop removes more");
        }
    }
}

impl StoreBackend for FjallBackend {
    fn get(&mut self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        if key < self.standing.floor.as_slice() {
            return Ok(None);
        }
        self.key.clear();
        self.key.push(ROW);
        self.key.extend_from_slice(key);
        let value = self.keyspace.get(&self.key).map_err(|error| self.failed(error))?;
        Ok(value.map(|value| value.to_vec()))
    }

    fn scan(&mut self, range: KeyRange<'_>, direction: Direction, visit: &mut Visit<'_>) -> Result<(), StoreError> {
        let range = self.above_floor(range);
        if is_empty(&(range.0.as_ref().map(Vec::as_slice), range.1.as_ref().map(Vec::as_slice))) {
            return Ok(());
        }
        let mut rows = self.keyspace.range(range);
        let mut next = || match direction {
            Direction::Forward => rows.next(),
            Direction::Backward => rows.next_back(),
        };
        while let Some(row) = next() {
            let (key, value) = row.into_inner().map_err(|error| self.failed(error))?;
            if visit(&key[1..], &value) == ControlFlow::Break(()) {
                break;
            }
        }
        Ok(())
    }

    fn apply(&mut self, batch: &Batch<'_>) -> Result<(), StoreError> {
        failpoint::reached("store.apply");
        let standing = self.standing.after(batch);
        let write = OwnedWriteBatch::with_capacity(self.database.clone(), batch.rows.len() + 1);
        let mut write = write.durability(Some(PersistMode::Buffer));
        for (key, value) in batch.rows.iter().filter(|(key, _)| *key >= standing.floor.as_slice()) {
            let key = UserKey::from(row_key(key));
            match value {
                Some(value) => write.insert(&self.keyspace, key, UserValue::new(value)),
                None => write.remove(&self.keyspace, key),
            }
        }
        if standing != self.standing {
            write.insert(&self.keyspace, STANDING, standing.encode());
        }
        write.commit().map_err(|error| self.failed(error))?;
        let dropped = standing.floor != self.standing.floor;
        self.standing = standing;
        if dropped {
            self.drop_files();
        }
        Ok(())
    }

    fn wipe(&mut self) -> Result<(), StoreError> {
        self.keyspace.clear().map_err(|error| self.failed(error))?;
        self.standing = Standing::default();
        Ok(())
    }
    fn offset(&self) -> Option<i64> {
        self.standing.offset
    }
    fn note(&self) -> Option<Vec<u8>> {
        self.standing.note.clone()
    }
    fn approximate_rows(&self) -> usize {
        // The tree counts every write that is not compacted away yet, deletions and those of the standing too.
        let any = self.keyspace.range(self.above_floor((Bound::Unbounded, Bound::Unbounded))).next().is_some();
        if any { self.keyspace.approximate_len().max(1) } else { 0 }
    }
}
