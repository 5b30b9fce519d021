//! What the rows of a store stand for, as one row beside them.
//!
//! Layout: version (1), flags (1: an offset follows, 2: a note follows), offset (8, if flagged), length of the floor (4), floor, note (the rest).

use crate::error::StoreError;
use crate::state::backend::Batch;

/// The key of the row that says what the others stand for.
pub(super) const STANDING: [u8; 1] = [0];
/// What the key of a row of the store begins with.
pub(super) const ROW: u8 = 1;

/// The key under which a row of the store lies.
pub(super) fn row_key(key: &[u8]) -> Vec<u8> {
    let mut row = Vec::with_capacity(1 + key.len());
    row.push(ROW);
    row.extend_from_slice(key);
    row
}

const VERSION: u8 = 1;
const HAS_OFFSET: u8 = 1;
const HAS_NOTE: u8 = 2;

/// Changelog offset, floor and note.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) offset: Option<i64>,
    /// Rows below it are obsolete, there or not.
    pub(super) floor: Vec<u8>,
    pub(super) note: Option<Vec<u8>>,
}

impl Standing {
    /// What is stored; nothing for a new store. Rows whose standing cannot be read cannot be trusted.
    pub(super) fn of_row(store: &str, stored: Option<&[u8]>) -> Result<Self, StoreError> {
        let standing = stored.map_or_else(|| Some(Standing::default()), Standing::decode);
        standing.ok_or_else(|| StoreError::Backend {
            store: store.to_owned(),
            source: "what its rows stand for cannot be read: written by a later version, or damaged".into(),
        })
    }

    /// What the rows stand for once the batch is in.
    pub(super) fn after(&self, batch: &Batch<'_>) -> Self {
        let bound = batch.drop_before.filter(|bound| *bound > self.floor.as_slice());
        Standing {
            offset: batch.offset.or(self.offset),
            floor: bound.map_or_else(|| self.floor.clone(), <[u8]>::to_vec),
            note: batch.note.map(<[u8]>::to_vec).or_else(|| self.note.clone()),
        }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let flags = if self.offset.is_some() { HAS_OFFSET } else { 0 } | if self.note.is_some() { HAS_NOTE } else { 0 };
        let mut out = vec![VERSION, flags];
        out.extend(self.offset.iter().flat_map(|offset| offset.to_be_bytes()));
        out.extend(u32::try_from(self.floor.len()).expect("a key is shorter than 4 GiB").to_be_bytes());
        out.extend_from_slice(&self.floor);
        out.extend_from_slice(self.note.as_deref().unwrap_or_default());
        out
    }

    /// None: these bytes were not written by `encode`.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let [VERSION, flags, rest @ ..] = bytes else { return None };
        let (offset, rest) = match flags & HAS_OFFSET {
            0 => (None, rest),
            _ => rest.split_first_chunk::<8>().map(|(offset, rest)| (Some(i64::from_be_bytes(*offset)), rest))?,
        };
        let (length, rest) = rest.split_first_chunk::<4>()?;
        let (floor, note) = rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
        let known = *flags <= HAS_OFFSET | HAS_NOTE && (flags & HAS_NOTE != 0 || note.is_empty());
        let note = (flags & HAS_NOTE != 0).then(|| note.to_vec());
        known.then(|| Standing { offset, floor: floor.to_vec(), note })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn reads_what_it_wrote(
            offset in any::<Option<i64>>(),
            floor in proptest::collection::vec(any::<u8>(), 0..12),
            note in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..12)),
        ) {
            let standing = Standing { offset, floor, note };
            let bytes = standing.encode();
            prop_assert_eq!(Standing::decode(&bytes), Some(standing.clone()));
            let least = 2 + standing.offset.map_or(0, |_| 8) + 4 + standing.floor.len();
            for cut in 0..least {
                prop_assert_eq!(Standing::decode(&bytes[..cut]), None, "cut at {}", cut);
            }
        }
    }

    #[test]
    fn another_version_is_not_guessed_at() {
        let mut bytes = Standing::default().encode();
        bytes[0] = 2;
        assert_eq!(Standing::decode(&bytes), None);
    }
}
