//! From which key on the rows at hand are all that there are: who asks for a row beyond is answered without the backend.
//!
//! Stores that fit into memory, and windows that lie by time and are newer than everything on disk, mostly ask for rows that are not there.

use std::ops::{Bound, ControlFlow};

use crate::error::StoreError;
use crate::state::backend::{Direction, StoreBackend};

/// Where it begins.
#[derive(Debug, Default)]
pub(crate) struct Known(From);

#[derive(Debug, Default)]
enum From {
    /// Not looked up since the backend got rows in other ways, or rows at hand were let go.
    #[default]
    Unknown,
    /// Every row of the backend with this key or a later one is at hand.
    Key(Vec<u8>),
}

impl Known {
    /// Whether a row that is not at hand is nowhere. The first time that asks for what the backend's last row is, and the rows beyond it, none,
    /// are all at hand.
    pub(crate) fn covers(&mut self, key: &[u8], backend: &mut dyn StoreBackend) -> Result<bool, StoreError> {
        if let From::Unknown = self.0 {
            let mut from = Vec::new();
            backend.scan((Bound::Unbounded, Bound::Unbounded), Direction::Backward, &mut |last, _| {
                from = after(last);
                ControlFlow::Break(())
            })?;
            self.0 = From::Key(from);
        }
        Ok(matches!(&self.0, From::Key(from) if from.as_slice() <= key))
    }

    /// Rows below a key were let go; others were not.
    pub(crate) fn let_go_below(&mut self, key: &[u8]) {
        if let From::Key(from) = &mut self.0
            && from.as_slice() < key
        {
            *from = key.to_vec();
        }
    }

    /// Any rows may have been let go, or may have come to the backend.
    pub(crate) fn forget(&mut self) {
        self.0 = From::Unknown;
    }
}

/// The least key that is larger.
fn after(key: &[u8]) -> Vec<u8> {
    let mut after = key.to_vec();
    after.push(0);
    after
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::backend::{Batch, MemoryBackend};

    #[test]
    fn what_lies_beyond_the_last_row_needs_no_look() {
        let (mut known, mut backend) = (Known::default(), MemoryBackend::default());
        assert!(known.covers(b"a", &mut backend).expect("reads"), "there is nothing in the backend");
        backend.apply(&Batch { rows: &[(b"m", Some(b"1"))], ..Batch::default() }).expect("applied");
        assert!(known.covers(b"m", &mut backend).expect("reads"), "the row came through the table, and is at hand");
        known.forget();
        assert!(!known.covers(b"m", &mut backend).expect("reads"), "it may have been let go");
        assert!(known.covers(b"m\0", &mut backend).expect("reads"));
        known.let_go_below(b"p");
        assert_eq!([b"o", b"p"].map(|key| known.covers(key, &mut backend).expect("reads")), [false, true]);
        known.let_go_below(b"n");
        assert!(!known.covers(b"o", &mut backend).expect("reads"), "what is gone is gone");
    }
}
