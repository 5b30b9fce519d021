//! A session store over bytes: rows by key, session end and session start, expiring by their end.

use std::ops::{Bound, ControlFlow};

use crate::error::StoreError;
use crate::state::backend::Direction;
use crate::state::cache::{Flushed, RowTime};
use crate::state::context::WriteContext;
use crate::state::expiring::{Expires, Expiring};
use crate::state::key_schema::{RowLayout, session_key};
use crate::state::open::OpenStore;
use crate::state::retention::{Retention, segments_between};
use crate::state::rows::{Cached, GO_ON, Rows};
use crate::state::session_rows::{SessionRows, end_of, parse, row_key};

/// One value per key and session.
pub(crate) type SessionCore = Expiring<SessionRows>;

/// A row of a session store.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SessionRow {
    pub(crate) key: Vec<u8>,
    pub(crate) start: i64,
    pub(crate) end: i64,
    pub(crate) value: Vec<u8>,
}

/// Which sessions a search wants.
#[derive(Clone, Copy)]
struct Search<'a> {
    low: Option<&'a [u8]>,
    high: Option<&'a [u8]>,
    ends: (i64, i64),
    latest_start: i64,
}

impl Search<'_> {
    fn wants(&self, key: &[u8], start: i64, end: i64) -> bool {
        (self.ends.0..=self.ends.1).contains(&end)
            && start <= self.latest_start
            && self.low.is_none_or(|low| key >= low)
            && self.high.is_none_or(|high| key <= high)
    }
}

impl Expiring<SessionRows> {
    pub(crate) fn open(mut how: OpenStore<'_>) -> Self {
        let retention = Retention::of(&how);
        let (budget, caching) = (how.environment.cache.clone(), how.spec.caching.unwrap_or(false));
        let extra = retention.layout.cache_key_extra(8);
        let by_time = how.time_index.then_some(RowTime { layout: retention.layout, of: end_of });
        let mut below = SessionRows { rows: Rows::open(&mut how, None), retention };
        if below.retention.drops_segments() {
            below.rows.table.by_segment();
        }
        match below.rows.table.note() {
            Some(note) => below.recall(Some(&note)),
            None => below.retention.look_for_newest(&mut below.rows.table),
        }
        Self::over(Cached::new(below, &budget, caching, extra, by_time))
    }
    fn layout(&self) -> RowLayout {
        self.cached.below.retention.layout
    }
    /// Shows the row of a session.
    pub(crate) fn read<R>(
        &mut self,
        key: &[u8],
        start: i64,
        end: i64,
        f: impl FnOnce(Option<&[u8]>) -> Result<R, StoreError>,
    ) -> Result<R, StoreError> {
        row_key(self.layout(), key, start, end, &mut self.row);
        self.cached.read(&self.row, f)
    }
    /// Sets or, with none, deletes the row of a session. A write that comes too late is refused and counted. Gives what the
    /// node that listens must forward; non-empty only when a cache evicts.
    pub(crate) fn write(
        &mut self,
        key: &[u8],
        start: i64,
        end: i64,
        value: Option<&[u8]>,
        cx: &WriteContext<'_>,
    ) -> Result<Vec<Flushed>, StoreError> {
        self.cached.below.retention.note_newest(end);
        row_key(self.layout(), key, start, end, &mut self.row);
        if value.is_none() && !self.caching() {
            self.cached.below.remove(&self.row, cx.timestamp)?;
        } else {
            self.cached.write(&self.row, value, cx)?;
        }
        Ok(self.cached.take_pending())
    }
    /// Takes a closed session out of the state, behind the cache's back.
    pub(crate) fn end(&mut self, key: &[u8], start: i64, end: i64, cx: &WriteContext<'_>) -> Result<(), StoreError> {
        row_key(self.layout(), key, start, end, &mut self.row);
        self.cached.end(&self.row, cx)
    }
    /// Sessions of a key that end at `earliest_end` or later and start at `latest_start` or earlier.
    pub(crate) fn find(
        &mut self,
        key: &[u8],
        earliest_end: i64,
        latest_start: i64,
        direction: Direction,
    ) -> Result<Vec<SessionRow>, StoreError> {
        self.search_and_touch(Search { low: Some(key), high: Some(key), ends: (earliest_end, i64::MAX), latest_start }, direction)
    }
    /// The same for several keys; an open bound is none. By segment, key, end; in memory by end, key, latest start first.
    pub(crate) fn find_range(
        &mut self,
        keys: (Option<&[u8]>, Option<&[u8]>),
        earliest_end: i64,
        latest_start: i64,
        direction: Direction,
    ) -> Result<Vec<SessionRow>, StoreError> {
        if keys.0.zip(keys.1).is_some_and(|(low, high)| low > high) {
            return Ok(Vec::new());
        }
        self.search_and_touch(Search { low: keys.0, high: keys.1, ends: (earliest_end, i64::MAX), latest_start }, direction)
    }

    /// What a small cache holds of a range that was read has been used; in time order of every key from there on, as in Kafka Streams.
    fn search_and_touch(&mut self, wanted: Search<'_>, direction: Direction) -> Result<Vec<SessionRow>, StoreError> {
        let found = self.search(wanted, direction, usize::MAX)?;
        let (layout, newest, from) = (self.layout(), self.cached.below.retention.newest(), wanted.ends.0.max(0));
        if !self.cached.holds_few() || from > newest {
            return Ok(found);
        }
        match layout.segment(from).zip(layout.segment(newest)) {
            None => {
                let lower = [from.to_be_bytes().as_slice(), wanted.low.unwrap_or_default()].concat();
                self.cached.touch((Bound::Included(&lower), Bound::Unbounded), direction);
            }
            Some((first, last)) => {
                let from = if direction == Direction::Backward { layout.first_of(first) } else { from };
                for segment in segments_between(&mut self.cached, first, last, direction)? {
                    let (lower, upper) = segment_range(layout, segment, &wanted, from);
                    self.cached.touch((Bound::Included(&lower), Bound::Excluded(&upper)), direction);
                }
            }
        }
        Ok(found)
    }

    /// In time order one may stop after `limit` rows, where an end is complete.
    fn search(&mut self, wanted: Search<'_>, direction: Direction, limit: usize) -> Result<Vec<SessionRow>, StoreError> {
        let (layout, newest) = (self.layout(), self.cached.below.retention.newest());
        let (from, to) = (wanted.ends.0.max(0), wanted.ends.1.min(newest));
        let mut found = Vec::new();
        let mut take = |row: &[u8], value: &[u8]| {
            if let Some((key, start, end)) = parse(layout, row).filter(|(key, start, end)| wanted.wants(key, *start, *end)) {
                if found.len() >= limit && found.last().is_some_and(|last: &SessionRow| last.end != end) {
                    return ControlFlow::Break(());
                }
                found.push(SessionRow { key: key.to_vec(), start, end, value: value.to_vec() });
            }
            GO_ON
        };
        if from > to {
            return Ok(found);
        }
        match layout.segment(from).zip(layout.segment(to)) {
            None => {
                let (lower, upper) = (from.to_be_bytes(), to.saturating_add(1).to_be_bytes());
                let range = (Bound::Included(lower.as_slice()), Bound::Excluded(upper.as_slice()));
                self.cached.scan(range, Direction::Forward, &mut take)?;
                found.sort_by(|a, b| (a.end, &a.key, -a.start).cmp(&(b.end, &b.key, -b.start)));
                if direction == Direction::Backward {
                    found.reverse();
                }
            }
            Some((first, last)) => {
                for segment in segments_between(&mut self.cached, first, last, direction)? {
                    let (lower, upper) = segment_range(layout, segment, &wanted, from);
                    self.cached.scan((Bound::Included(&lower), Bound::Excluded(&upper)), direction, &mut take)?;
                }
            }
        }
        Ok(found)
    }

    /// The oldest end of a session that is still there once one ends at `newest`.
    pub(crate) fn oldest_kept(&self, newest: i64) -> i64 {
        self.cached.below.retention.oldest_kept(newest)
    }
    /// Sessions of all keys with `from <= end <= to`, by end, start and key (in memory by end, key, latest start first), at
    /// most `limit` of them.
    pub(crate) fn ending_in(&mut self, from: i64, to: i64, limit: usize) -> Result<Vec<SessionRow>, StoreError> {
        let everything = Search { low: None, high: None, ends: (from, to), latest_start: i64::MAX };
        let mut found = match self.layout() {
            RowLayout::Indexed { .. } => {
                let rows = self.indexed_rows(from, to, limit)?;
                return Ok(rows.into_iter().map(|((end, start, key), value)| SessionRow { key, start, end, value }).collect());
            }
            RowLayout::TimeFirst => self.search(everything, Direction::Forward, limit)?,
            RowLayout::Segmented { .. } => {
                let mut found = self.search(everything, Direction::Forward, usize::MAX)?;
                found.sort_by(|a, b| (a.end, a.start, &a.key).cmp(&(b.end, b.start, &b.key)));
                found
            }
        };
        found.truncate(limit);
        Ok(found)
    }

    /// The end of the newest session that has a row; none without rows.
    pub(crate) fn newest_end(&mut self) -> Result<Option<i64>, StoreError> {
        let newest = self.cached.below.retention.newest();
        let RowLayout::Indexed { interval } = self.layout() else {
            let all = Search { low: None, high: None, ends: (0, newest), latest_start: i64::MAX };
            return Ok(self.search(all, Direction::Backward, usize::MAX)?.iter().map(|row| row.end).max());
        };
        self.newest_indexed(interval)
    }
}

/// Where the wanted rows of a segment lie, and perhaps others.
fn segment_range(layout: RowLayout, segment: i64, wanted: &Search<'_>, from: i64) -> (Vec<u8>, Vec<u8>) {
    let (mut lower, mut upper) = (Vec::new(), Vec::new());
    layout.open_segment(segment, &mut lower);
    lower.extend_from_slice(wanted.low.unwrap_or_default());
    match wanted.low.filter(|_| wanted.low == wanted.high) {
        Some(key) => {
            lower.extend_from_slice(&from.to_be_bytes());
            layout.open_segment(segment, &mut upper);
            // No further than the segment's end of time: other keys may lie between, if this one is short.
            let last = layout.last_of(segment);
            session_key(key, i64::MAX, last, &mut upper);
            upper.push(0);
        }
        None => upper.extend_from_slice(&(segment + 1).to_be_bytes()),
    }
    (lower, upper)
}
