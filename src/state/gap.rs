//! A stretch of keys that is known to hold no row. Windows are closed from the oldest on: without it each look for the next one would go
//! over all those that are gone, and a backend that keeps deletions for a while makes that dear.

use std::ops::Bound;

use crate::state::backend::KeyRange;

/// From a key up to, and without, another; nothing if the first is not below the other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Gap {
    from: Vec<u8>,
    to: Vec<u8>,
}

impl Gap {
    /// A row was written.
    pub(crate) fn note_row(&mut self, key: &[u8]) {
        if !self.to.is_empty() && self.from.as_slice() <= key && key < self.to.as_slice() {
            self.to = key.to_vec();
        }
    }

    /// The part of a range that may hold rows, as far as its beginning goes. None: no part of it.
    pub(crate) fn skip<'r>(&'r self, range: KeyRange<'r>) -> Option<KeyRange<'r>> {
        match range.0 {
            Bound::Included(from) if self.from.as_slice() <= from && from < self.to.as_slice() => {
                let over = matches!(range.1, Bound::Excluded(to) if to <= self.to.as_slice());
                (!over).then_some((Bound::Included(self.to.as_slice()), range.1))
            }
            _ => Some(range),
        }
    }

    /// A scan of the range came to `first` as its first row; with none it came to the end and met no row.
    pub(crate) fn learn(&mut self, range: KeyRange<'_>, first: Option<&[u8]>) {
        let (Bound::Included(from), Bound::Excluded(end)) = range else { return };
        let to = first.unwrap_or(end);
        if from >= to {
            return;
        }
        if !(self.from.as_slice() <= from && from <= self.to.as_slice()) {
            self.from = from.to_vec();
        }
        self.to = to.to_vec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range<'r>(from: &'r str, to: &'r str) -> KeyRange<'r> {
        (Bound::Included(from.as_bytes()), Bound::Excluded(to.as_bytes()))
    }

    #[test]
    fn what_was_seen_to_be_empty_is_not_looked_at_again() {
        let mut gap = Gap::default();
        assert_eq!(gap.skip(range("a", "z")), Some(range("a", "z")));
        gap.learn(range("a", "z"), Some(b"m"));
        assert_eq!(gap.skip(range("a", "z")), Some(range("m", "z")));
        assert_eq!(gap.skip(range("c", "m")), None);
        assert_eq!(gap.skip(range("A", "z")), Some(range("A", "z")), "what lies before it is not known");
        gap.learn(range("a", "z"), Some(b"p"));
        assert_eq!(gap.skip(range("b", "z")), Some(range("p", "z")));
        gap.note_row(b"f");
        assert_eq!(gap.skip(range("b", "z")), Some(range("f", "z")));
        gap.note_row(b"x");
        assert_eq!(gap.skip(range("b", "z")), Some(range("f", "z")), "a row beyond it changes nothing");
        gap.learn(range("t", "z"), None);
        assert_eq!((gap.skip(range("t", "u")), gap.skip(range("b", "z"))), (None, Some(range("b", "z"))), "one stretch, the newest");
    }
}
