//! A window store over bytes: rows by key and window start, expiring as Kafka Streams' stores do.

use std::ops::{Bound, ControlFlow};

use crate::error::StoreError;
use crate::state::backend::Direction;
use crate::state::cache::{Flushed, RowTime};
use crate::state::context::WriteContext;
use crate::state::expiring::{Expires, Expiring};
use crate::state::key_schema::{RowLayout, window_key};
use crate::state::open::OpenStore;
use crate::state::retention::{Retention, segment_in, segments_between};
use crate::state::rows::{Cached, GO_ON, Rows};
use crate::state::spec::{Dedup, StoreKind};
use crate::state::window_rows::{WindowRows, parse, start_of};

/// From a row key up to, and without, another.
type RowRange = (Vec<u8>, Vec<u8>);

/// One value per key and window start; with duplicates, one per put.
pub(crate) type WindowCore = Expiring<WindowRows>;

/// A row of a window store.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct WindowRow {
    pub(crate) key: Vec<u8>,
    pub(crate) start: i64,
    pub(crate) value: Vec<u8>,
}

impl Expiring<WindowRows> {
    pub(crate) fn open(mut how: OpenStore<'_>) -> Self {
        let StoreKind::Window { duplicates, .. } = how.spec.kind else { unreachable!("a window store opens with a window spec") };
        let retention = Retention::of(&how);
        let (budget, caching) = (how.environment.cache.clone(), how.spec.caching.unwrap_or(false) && !duplicates);
        let rows = Rows::open(&mut how, duplicates.then_some(Dedup::Off));
        let extra = retention.layout.cache_key_extra(12);
        let by_time = how.time_index.then_some(RowTime { layout: retention.layout, of: start_of });
        let mut below = WindowRows { rows, retention, duplicates, store_seq: 0, changelog_seq: 0 };
        if below.retention.drops_segments() {
            below.rows.table.by_segment();
        }
        match below.rows.table.note() {
            Some(note) => below.recall(Some(&note)),
            None => below.retention.look_for_newest(&mut below.rows.table),
        }
        Self::over(Cached::new(below, &budget, caching, extra, by_time))
    }
    /// Shows the row of a window. Among duplicates: the last one put, on the persistent layout; in memory none, as in Kafka Streams.
    pub(crate) fn read<R>(
        &mut self,
        key: &[u8],
        start: i64,
        f: impl FnOnce(Option<&[u8]>) -> Result<R, StoreError>,
    ) -> Result<R, StoreError> {
        let below = &self.cached.below;
        if below.duplicates && below.layout() == RowLayout::TimeFirst {
            return f(None);
        }
        below.row_key(key, start, below.store_seq, &mut self.row);
        self.cached.read(&self.row, f)
    }
    /// Sets or, with none, deletes the row of a window. A write that comes too late is refused and counted. Gives what the
    /// node that listens must forward; non-empty only when a cache evicts.
    pub(crate) fn write(
        &mut self,
        key: &[u8],
        start: i64,
        value: Option<&[u8]>,
        cx: &WriteContext<'_>,
    ) -> Result<Vec<Flushed>, StoreError> {
        let below = &mut self.cached.below;
        below.retention.note_newest(start);
        if below.duplicates {
            below.put_duplicate(key, start, value, cx.timestamp)?;
            return Ok(Vec::new());
        }
        below.row_key(key, start, 0, &mut self.row);
        self.cached.write(&self.row, value, cx)?;
        Ok(self.cached.take_pending())
    }
    /// Takes a closed window out of the state, behind the cache's back.
    pub(crate) fn end(&mut self, key: &[u8], start: i64, cx: &WriteContext<'_>) -> Result<(), StoreError> {
        self.cached.below.row_key(key, start, 0, &mut self.row);
        self.cached.end(&self.row, cx)
    }
    /// Windows of one key with `from <= start <= to`.
    pub(crate) fn fetch(&mut self, key: &[u8], from: i64, to: i64, direction: Direction) -> Result<Vec<WindowRow>, StoreError> {
        let mut found = Vec::new();
        self.visit_range((Some(key), Some(key)), (from, to), direction, usize::MAX, &mut found)?;
        self.touch_key(key, (from, to), direction)?;
        Ok(found)
    }
    /// Windows of several keys with `from <= start <= to`; an open bound is none. By segment, key, start; in memory by start, key.
    pub(crate) fn fetch_range(
        &mut self,
        keys: (Option<&[u8]>, Option<&[u8]>),
        from: i64,
        to: i64,
        direction: Direction,
    ) -> Result<Vec<WindowRow>, StoreError> {
        let mut found = Vec::new();
        if keys.0.zip(keys.1).is_none_or(|(low, high)| low <= high) {
            self.visit_range(keys, (from, to), direction, usize::MAX, &mut found)?;
            self.touch(keys, (from, to), direction)?;
        }
        Ok(found)
    }

    fn visit_range(
        &mut self,
        keys: (Option<&[u8]>, Option<&[u8]>),
        (from, to): (i64, i64),
        direction: Direction,
        limit: usize,
        found: &mut Vec<WindowRow>,
    ) -> Result<(), StoreError> {
        let (layout, duplicates) = (self.cached.below.layout(), self.cached.below.duplicates);
        let (from, to) = self.within(from, to);
        let mut take = |row: &[u8], value: &[u8]| {
            if let Some((key, start, _)) = parse(layout, duplicates, row) {
                let wanted = (from..=to).contains(&start) && keys.0.is_none_or(|low| key >= low) && keys.1.is_none_or(|high| key <= high);
                if wanted {
                    found.push(WindowRow { key: key.to_vec(), start, value: value.to_vec() });
                }
            }
            if found.len() < limit { GO_ON } else { ControlFlow::Break(()) }
        };
        if from > to || limit == 0 {
            return Ok(());
        }
        for (lower, upper) in self.ranges(keys, (from, to), direction)? {
            self.cached.scan((Bound::Included(&lower), Bound::Excluded(&upper)), direction, &mut take)?;
        }
        Ok(())
    }

    /// Where rows of such keys and times lie, and perhaps others. Both times are of this store: see `within`.
    pub(super) fn ranges(
        &mut self,
        keys: (Option<&[u8]>, Option<&[u8]>),
        (from, to): (i64, i64),
        direction: Direction,
    ) -> Result<Vec<RowRange>, StoreError> {
        let layout = self.cached.below.layout();
        let Some((first, last)) = layout.segment(from).zip(layout.segment(to)) else {
            return Ok(vec![(from.to_be_bytes().to_vec(), to.saturating_add(1).to_be_bytes().to_vec())]);
        };
        let segments = segments_between(&mut self.cached, first, last, direction)?;
        Ok(segments.map(|segment| segment_range(layout, segment, keys, (from, to))).collect())
    }

    /// A span of time as far as the store has rows.
    pub(super) fn within(&self, from: i64, to: i64) -> (i64, i64) {
        (from.max(0), to.min(self.cached.below.retention.newest()))
    }

    /// Windows of all keys with `from <= start <= to`, by start and then by key, at most `limit` of them.
    pub(crate) fn starting_in(&mut self, from: i64, to: i64, limit: usize) -> Result<Vec<WindowRow>, StoreError> {
        let mut found = Vec::new();
        match self.cached.below.layout() {
            RowLayout::Indexed { .. } => {
                let rows = self.indexed_rows(from, to, limit)?;
                return Ok(rows.into_iter().map(|((start, key), value)| WindowRow { key, start, value }).collect());
            }
            RowLayout::TimeFirst => self.visit_range((None, None), (from, to), Direction::Forward, limit, &mut found)?,
            RowLayout::Segmented { .. } => {
                self.visit_range((None, None), (from, to), Direction::Forward, usize::MAX, &mut found)?;
                found.sort_by(|a, b| (a.start, &a.key).cmp(&(b.start, &b.key)));
                found.truncate(limit);
            }
        }
        Ok(found)
    }

    /// The start of the newest window that has a row; none without rows.
    pub(crate) fn newest_start(&mut self) -> Result<Option<i64>, StoreError> {
        let newest = self.cached.below.retention.newest();
        let mut found = Vec::new();
        match self.cached.below.layout() {
            RowLayout::TimeFirst => self.visit_range((None, None), (0, newest), Direction::Backward, 1, &mut found)?,
            RowLayout::Indexed { interval } => return self.newest_indexed(interval),
            RowLayout::Segmented { interval } => {
                let mut last = newest / interval;
                while let Some(segment) = segment_in(&mut self.cached, 0, last, Direction::Backward)?.filter(|_| found.is_empty()) {
                    let span = (segment.saturating_mul(interval), (segment + 1).saturating_mul(interval) - 1);
                    self.visit_range((None, None), span, Direction::Forward, usize::MAX, &mut found)?;
                    last = segment - 1;
                }
            }
        }
        Ok(found.iter().map(|row| row.start).max())
    }
}

/// Where the wanted rows of a segment lie, and perhaps others.
fn segment_range(layout: RowLayout, segment: i64, keys: (Option<&[u8]>, Option<&[u8]>), (from, to): (i64, i64)) -> (Vec<u8>, Vec<u8>) {
    let (mut lower, mut upper) = (Vec::new(), Vec::new());
    layout.open_segment(segment, &mut lower);
    lower.extend_from_slice(keys.0.unwrap_or_default());
    match keys.0.filter(|_| keys.0 == keys.1) {
        Some(key) => {
            lower.extend_from_slice(&from.to_be_bytes());
            layout.open_segment(segment, &mut upper);
            window_key(key, to, u32::MAX, &mut upper);
            upper.push(0);
        }
        None => upper.extend_from_slice(&(segment + 1).to_be_bytes()),
    }
    (lower, upper)
}
