//! Rows by time, for owners that ask what closes: what the record cache holds back, merged with the index beside the rows.

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};

use crate::error::StoreError;
use crate::state::backend::Direction;
use crate::state::expiring::{Expires, Expiring};
use crate::state::key_schema::RowLayout;
use crate::state::retention::{segment_in, segments_between};
use crate::state::rows::GO_ON;

/// Rows that have an index row each, which begins with their time.
pub(crate) trait TimeIndexed: Expires {
    /// What names a row, ordered as its index row is: time first.
    type Id: Ord;
    fn time_of(id: &Self::Id) -> i64;
    fn id_of_row(&self, row: &[u8]) -> Option<Self::Id>;
    /// `index`: an index row after segment and tag.
    fn id_of_index(index: &[u8]) -> Option<Self::Id>;
    fn row_of(&self, id: &Self::Id, row: &mut Vec<u8>);
    /// The oldest time that the owner is shown.
    fn oldest_indexed(&self) -> i64;
}

/// Rows in order: the outer none asks the table, the inner one is a deletion.
type Dirty<I> = BTreeMap<I, Option<Option<Vec<u8>>>>;

impl<B: TimeIndexed> Expiring<B> {
    /// Rows with `from <= time <= to` in order, at most `limit` of them.
    pub(super) fn indexed_rows(&mut self, from: i64, to: i64, limit: usize) -> Result<Vec<(B::Id, Vec<u8>)>, StoreError> {
        let mut found = self.dirty_between(from, to);
        for id in self.indexed_between(from, to, limit, &found)? {
            found.entry(id).or_insert(None);
        }
        let mut rows = Vec::new();
        for (id, known) in found {
            let value = match known {
                Some(value) => value,
                None => {
                    self.cached.below.row_of(&id, &mut self.row);
                    self.cached.below.parts_mut().0.table.get(&self.row)?.map(<[u8]>::to_vec)
                }
            };
            rows.extend(value.map(|value| (id, value)));
            if rows.len() == limit {
                break;
            }
        }
        Ok(rows)
    }

    /// The time of the newest row; none without rows.
    pub(super) fn newest_indexed(&mut self, interval: i64) -> Result<Option<i64>, StoreError> {
        let retention = self.cached.below.parts().1;
        let (newest, oldest) = (retention.newest(), retention.oldest_visible());
        let cached = self.dirty_between(0, newest);
        let in_cache = cached.iter().filter(|(_, row)| **row != Some(None)).map(|(id, _)| B::time_of(id)).next_back();
        let mut last = newest / interval;
        while let Some(segment) = segment_in(&mut self.cached, 0, last, Direction::Backward)? {
            let mut found = None;
            self.visit_index(segment, (0, newest), Direction::Backward, &mut |id| {
                let there = B::time_of(&id) >= oldest && cached.get(&id) != Some(&Some(None));
                found = there.then(|| B::time_of(&id));
                if there { ControlFlow::Break(()) } else { GO_ON }
            })?;
            if found.is_some() {
                return Ok(found.max(in_cache));
            }
            last = segment - 1;
        }
        Ok(in_cache)
    }

    /// What the cache holds back and the index does not know.
    fn dirty_between(&self, from: i64, to: i64) -> Dirty<B::Id> {
        let dirty = self.cached.dirty_between(from, to);
        dirty.filter_map(|(row, value)| Some((self.cached.below.id_of_row(row)?, Some(value.map(<[u8]>::to_vec))))).collect()
    }

    /// Rows of the index, but for those that the cache has deleted.
    fn indexed_between(&mut self, from: i64, to: i64, limit: usize, cached: &Dirty<B::Id>) -> Result<Vec<B::Id>, StoreError> {
        let (below, mut found) = (&self.cached.below, Vec::new());
        let retention = below.parts().1;
        let (from, to) = (from.max(below.oldest_indexed()).max(0), to.min(retention.newest()));
        let segments = retention.layout.segment(from).zip(retention.layout.segment(to));
        let Some((first, last)) = segments.filter(|_| from <= to) else { return Ok(found) };
        for segment in segments_between(&mut self.cached, first, last, Direction::Forward)? {
            if found.len() >= limit {
                break;
            }
            self.visit_index(segment, (from, to), Direction::Forward, &mut |id| {
                if cached.get(&id) != Some(&Some(None)) {
                    found.push(id);
                }
                if found.len() < limit { GO_ON } else { ControlFlow::Break(()) }
            })?;
        }
        Ok(found)
    }

    fn visit_index(
        &mut self,
        segment: i64,
        (from, to): (i64, i64),
        direction: Direction,
        visit: &mut dyn FnMut(B::Id) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        let (lower, upper) = (RowLayout::index_prefix(segment, from), RowLayout::index_prefix(segment, to.saturating_add(1)));
        let range = (Bound::Included(lower.as_slice()), Bound::Excluded(upper.as_slice()));
        self.cached.below.parts_mut().0.table.scan(range, direction, &mut |index, _| match index.get(9..).and_then(B::id_of_index) {
            Some(id) => visit(id),
            None => GO_ON,
        })
    }
}
