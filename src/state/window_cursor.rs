//! Windows of one key read one by one, while the reader writes between the steps.
//!
//! What lies below the record cache is read at the start; entries of the cache are looked up (and so used, which keeps them
//! in the cache) only when their turn comes. That is how Kafka Streams reads, and it shows in what a small cache evicts.

use std::cmp::Ordering;
use std::collections::VecDeque;
use std::ops::Bound;

use crate::error::StoreError;
use crate::state::backend::Direction;
use crate::state::expiring::Expiring;
use crate::state::key_schema::RowLayout;
use crate::state::order::SharedKey;
use crate::state::rows::{Below, Cached, GO_ON};
use crate::state::window_rows::{WindowRows, parse};

/// Where a reader of one key's windows stands.
pub(crate) struct WindowCursor {
    direction: Direction,
    /// Entries that the cache held at the start: the start of the window if it is wanted, and the row key.
    pub(crate) cached: VecDeque<(Option<i64>, SharedKey)>,
    /// Rows below the cache, as they were at the start.
    pub(crate) below: VecDeque<(i64, Vec<u8>)>,
    /// What was looked up of the next window of the cache; without a value it hides the row below.
    entry: Option<(i64, Option<Vec<u8>>)>,
}

impl WindowCursor {
    pub(crate) fn new(direction: Direction) -> Self {
        WindowCursor { direction, cached: VecDeque::new(), below: VecDeque::new(), entry: None }
    }

    /// The next row of a store.
    fn next_row(&mut self, store: &mut Cached<WindowRows>) -> Result<Option<(i64, Vec<u8>)>, StoreError> {
        loop {
            self.look_at_cache(store)?;
            let Some((cached, value)) = self.entry.take() else { return Ok(self.below.pop_front()) };
            let order = self.below.front().map_or(Ordering::Greater, |(below, _)| self.compare(*below, cached));
            if order == Ordering::Less {
                self.entry = Some((cached, value));
                return Ok(self.below.pop_front());
            }
            if order == Ordering::Equal {
                self.below.pop_front();
            }
            if let Some(value) = value {
                return Ok(Some((cached, value)));
            }
        }
    }

    /// Looks the next wanted entry of the cache up. One that has left it meanwhile lies below by now, and perhaps did from the start.
    fn look_at_cache(&mut self, store: &mut Cached<WindowRows>) -> Result<(), StoreError> {
        while self.entry.is_none()
            && let Some((start, row)) = self.cached.pop_front()
        {
            let Some(start) = start else {
                store.cached(&row);
                continue;
            };
            self.entry = match store.cached(&row) {
                Some(known) => Some((start, known.map(<[u8]>::to_vec))),
                None if self.below.iter().any(|(below, _)| *below == start) => None,
                None => store.below.read(&row)?.map(|value| (start, Some(value.to_vec()))),
            };
        }
        Ok(())
    }

    fn compare(&self, one: i64, other: i64) -> Ordering {
        match self.direction {
            Direction::Forward => one.cmp(&other),
            Direction::Backward => other.cmp(&one),
        }
    }
}

impl Expiring<WindowRows> {
    /// Begins to read the windows of one key with `from <= start <= to`.
    pub(crate) fn cursor(&mut self, key: &[u8], from: i64, to: i64, direction: Direction) -> Result<WindowCursor, StoreError> {
        let (layout, duplicates) = (self.cached.below.layout(), self.cached.below.duplicates);
        let start_of_wanted = |row: &[u8]| {
            let parsed = parse(layout, duplicates, row);
            parsed.filter(|(its, start, _)| *its == key && (from..=to).contains(start)).map(|(_, start, _)| start)
        };
        let mut cursor = WindowCursor::new(direction);
        for (lower, upper) in self.cached_ranges((Some(key), Some(key)), (from, to), direction)? {
            let cached = self.cached.cached_keys((Bound::Included(&lower), Bound::Excluded(&upper)), direction);
            cursor.cached.extend(cached.map(|row| (start_of_wanted(row), row.clone())));
        }
        let (from, to) = self.within(from, to);
        if from > to {
            return Ok(cursor);
        }
        for (lower, upper) in self.ranges((Some(key), Some(key)), (from, to), direction)? {
            let range = (Bound::Included(lower.as_slice()), Bound::Excluded(upper.as_slice()));
            self.cached.scan_below(range, direction, &mut |row, value| {
                cursor.below.extend(start_of_wanted(row).map(|start| (start, value.to_vec())));
                GO_ON
            })?;
        }
        Ok(cursor)
    }
    /// The start and value of the next window.
    pub(crate) fn next_row(&mut self, cursor: &mut WindowCursor) -> Result<Option<(i64, Vec<u8>)>, StoreError> {
        cursor.next_row(&mut self.cached)
    }

    /// Windows of one key were read: what a small cache holds of them has been used.
    pub(super) fn touch_key(&mut self, key: &[u8], span: (i64, i64), direction: Direction) -> Result<(), StoreError> {
        if self.cached.holds_few() && self.cached.below.layout() == RowLayout::TimeFirst {
            let (lower, upper) = ([span.0.max(0).to_be_bytes().as_slice(), key].concat(), up_to(Some(key), span.1));
            self.cached.touch((Bound::Included(&lower), Bound::Excluded(&upper)), direction);
            return Ok(());
        }
        self.touch((Some(key), Some(key)), span, direction)
    }
    /// The same of several keys.
    pub(super) fn touch(&mut self, keys: (Option<&[u8]>, Option<&[u8]>), span: (i64, i64), direction: Direction) -> Result<(), StoreError> {
        if self.cached.holds_few() && keys == (None, None) {
            self.cached.touch((Bound::Unbounded, Bound::Unbounded), direction);
        } else if self.cached.holds_few() {
            for (lower, upper) in self.cached_ranges(keys, span, direction)? {
                self.cached.touch((Bound::Included(&lower), Bound::Excluded(&upper)), direction);
            }
        }
        Ok(())
    }

    /// What a reader of a range visits in the cache. Kafka Streams' readers begin earlier than asked: in time order at the
    /// beginning, backwards in segments at the beginning of a segment. In a small cache that shows, as what is visited stays longer.
    fn cached_ranges(
        &mut self,
        keys: (Option<&[u8]>, Option<&[u8]>),
        span: (i64, i64),
        direction: Direction,
    ) -> Result<Vec<(Vec<u8>, Vec<u8>)>, StoreError> {
        let (from, to) = self.within(span.0, span.1);
        let layout = self.cached.below.layout();
        let from = match (layout, layout.segment(from).zip(layout.segment(to))) {
            _ if !self.cached.caching() => return Ok(Vec::new()),
            _ if !self.cached.holds_few() => from,
            (RowLayout::TimeFirst, _) => return Ok(vec![(from_start(keys.0), up_to(keys.1, span.1))]),
            (_, Some((first, last))) if direction == Direction::Backward => layout.first_of(first.min(last)),
            _ => from,
        };
        if from > to { Ok(Vec::new()) } else { self.ranges(keys, (from, to), direction) }
    }
}

/// In time order: from a key at the beginning.
fn from_start(key: Option<&[u8]>) -> Vec<u8> {
    [0i64.to_be_bytes().as_slice(), key.unwrap_or_default()].concat()
}

/// In time order: to a key at a time.
fn up_to(key: Option<&[u8]>, to: i64) -> Vec<u8> {
    match key {
        Some(key) => [to.to_be_bytes().as_slice(), key, &[0]].concat(),
        None => to.saturating_add(1).to_be_bytes().to_vec(),
    }
}
