//! A window store over bytes: rows by key and window start, expiring as Kafka Streams' stores do.

use std::ops::{Bound, ControlFlow};

use crate::error::StoreError;
use crate::record::Timestamp;
use crate::state::backend::Direction;
use crate::state::cache::Flushed;
use crate::state::context::WriteContext;
use crate::state::control::Core;
use crate::state::key_schema::{RowLayout, split_window_key, window_key};
use crate::state::open::{ChangelogRecord, ChangelogSink, OpenStore};
use crate::state::retention::{Retention, segment_in, segments_between};
use crate::state::rows::{Below, Cached, GO_ON, Horizon, Rows};
use crate::state::spec::{Dedup, StoreKind};

/// One value per key and window start; with duplicates, one per put.
pub(crate) struct WindowCore {
    cached: Cached<WindowRows>,
    /// The row key being looked up, kept to save the allocation.
    row: Vec<u8>,
}

/// A row of a window store.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct WindowRow {
    pub(crate) key: Vec<u8>,
    pub(crate) start: i64,
    pub(crate) value: Vec<u8>,
}

struct WindowRows {
    rows: Rows,
    retention: Retention,
    duplicates: bool,
    /// Numbers of the last put among duplicates, in the store and in its changelog; the latter counts deletions too.
    store_seq: u32,
    changelog_seq: u32,
}

/// Key, start and sequence number of a row; none for index rows.
fn parse(layout: RowLayout, duplicates: bool, row: &[u8]) -> Option<(&[u8], i64, u32)> {
    match layout {
        RowLayout::TimeFirst => {
            let (start, rest) = row.split_first_chunk::<8>()?;
            let (key, seq) = if duplicates { rest.split_last_chunk::<4>()? } else { (rest, &[0; 4]) };
            Some((key, i64::from_be_bytes(*start), u32::from_be_bytes(*seq)))
        }
        _ => split_window_key(layout.store_key(row)?),
    }
}

fn start_of(layout: RowLayout, row: &[u8]) -> Option<i64> {
    match layout {
        RowLayout::TimeFirst => row.first_chunk::<8>().map(|start| i64::from_be_bytes(*start)),
        _ => split_window_key(layout.store_key(row)?).map(|(_, start, _)| start),
    }
}

impl WindowRows {
    fn layout(&self) -> RowLayout {
        self.retention.layout
    }
    fn row_key(&self, key: &[u8], start: i64, seq: u32, out: &mut Vec<u8>) {
        row_key(self.layout(), self.duplicates, key, start, seq, out);
    }
    /// Keeps the index row of a row that appears or goes.
    fn write_index(&mut self, row: &[u8], there: bool) -> Result<(), StoreError> {
        let RowLayout::Indexed { interval } = self.layout() else { return Ok(()) };
        let was = self.rows.table.get(row)?.is_some();
        if let (true, Some((key, start, seq))) = (was != there, parse(self.layout(), self.duplicates, row)) {
            let index = index_row(interval, key, start, seq);
            self.rows.table.put(&index, there.then_some(&[]), 0);
        }
        Ok(())
    }
    /// A put among duplicates: the store numbers values, the changelog numbers every put.
    fn put_duplicate(&mut self, key: &[u8], start: i64, value: Option<&[u8]>, at: Timestamp) -> Result<bool, StoreError> {
        self.changelog_seq = self.changelog_seq.wrapping_add(1) & 0x7FFF_FFFF;
        let mut log_key = Vec::new();
        window_key(key, start, self.changelog_seq, &mut log_key);
        self.rows.log_only(&log_key, value, at);
        let Some(value) = value else { return Ok(true) };
        self.store_seq = self.store_seq.wrapping_add(1) & 0x7FFF_FFFF;
        if !self.retention.admits(start) {
            return Ok(false);
        }
        let (mut row, seq) = (Vec::new(), self.store_seq);
        self.row_key(key, start, seq, &mut row);
        let at = self.rows.time_of(Some(value), at);
        self.rows.table.put(&row, Some(value), at);
        Ok(true)
    }
}

fn row_key(layout: RowLayout, duplicates: bool, key: &[u8], start: i64, seq: u32, out: &mut Vec<u8>) {
    out.clear();
    match layout.segment(start) {
        Some(segment) => {
            layout.open_segment(segment, out);
            window_key(key, start, seq, out);
        }
        None => {
            out.extend_from_slice(&start.to_be_bytes());
            out.extend_from_slice(key);
            if duplicates {
                out.extend_from_slice(&seq.to_be_bytes());
            }
        }
    }
}

/// Time first: start, key, sequence number.
fn index_row(interval: i64, key: &[u8], start: i64, seq: u32) -> Vec<u8> {
    let mut index = index_prefix(start / interval, start);
    index.extend_from_slice(key);
    index.extend_from_slice(&seq.to_be_bytes());
    index
}

fn index_prefix(segment: i64, start: i64) -> Vec<u8> {
    let mut index = Vec::with_capacity(64);
    RowLayout::open_index(segment, &mut index);
    index.extend_from_slice(&start.to_be_bytes());
    index
}

impl Below for WindowRows {
    const READ_THROUGH: bool = false;
    fn rows(&mut self) -> &mut Rows {
        &mut self.rows
    }
    fn read(&mut self, row: &[u8]) -> Result<Option<&[u8]>, StoreError> {
        if start_of(self.layout(), row).is_none_or(|start| start < self.retention.oldest_visible()) {
            return Ok(None);
        }
        self.rows.table.get(row)
    }
    fn write(&mut self, row: &[u8], value: Option<&[u8]>, at: Timestamp) -> Result<bool, StoreError> {
        let admitted = start_of(self.layout(), row).is_some_and(|start| self.retention.admits(start));
        if admitted {
            self.write_index(row, value.is_some())?;
            let (layout, duplicates) = (self.layout(), self.duplicates);
            self.rows.put(row, value, at, |out| to_store_key(layout, duplicates, row, out));
        } else {
            let mut key = Vec::new();
            self.store_key(row, &mut key);
            self.rows.log_only(&key, value, at);
        }
        Ok(admitted)
    }
    fn horizon(&self) -> Option<Horizon> {
        Some(Horizon { oldest: self.retention.oldest_visible(), layout: self.layout(), time_of: start_of })
    }
    fn store_key(&self, row: &[u8], out: &mut Vec<u8>) {
        to_store_key(self.layout(), self.duplicates, row, out);
    }
}

fn to_store_key(layout: RowLayout, duplicates: bool, row: &[u8], out: &mut Vec<u8>) {
    if let Some((key, start, seq)) = parse(layout, duplicates, row) {
        window_key(key, start, seq, out);
    }
}

impl WindowCore {
    pub(crate) fn open(mut how: OpenStore<'_>) -> Self {
        let StoreKind::Window { duplicates, .. } = how.spec.kind else { unreachable!("a window store opens with a window spec") };
        let retention = Retention::of(&how);
        let (budget, caching) = (how.environment.cache.clone(), how.spec.caching.unwrap_or(false) && !duplicates);
        let rows = Rows::open(&mut how, duplicates.then_some(Dedup::Off));
        let extra = retention.layout.cache_key_extra(12);
        let mut below = WindowRows { rows, retention, duplicates, store_seq: 0, changelog_seq: 0 };
        below.retention.look_for_newest(&mut below.rows.table);
        WindowCore { cached: Cached::new(below, &budget, caching, extra), row: Vec::new() }
    }
    /// Shows the row of a window. Among duplicates: the last one put, on the persistent layout; in memory none, as in Kafka Streams.
    pub(crate) fn read<R>(&mut self, key: &[u8], start: i64, f: impl FnOnce(Option<&[u8]>) -> R) -> Result<R, StoreError> {
        let below = &self.cached.below;
        if below.duplicates && below.layout() == RowLayout::TimeFirst {
            return Ok(f(None));
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
    /// Deletes the row of a window.
    pub(crate) fn remove(&mut self, key: &[u8], start: i64, cx: &WriteContext<'_>) -> Result<Vec<Flushed>, StoreError> {
        self.write(key, start, None, cx)
    }
    /// Whether a record cache holds back what is written.
    pub(crate) fn caching(&self) -> bool {
        self.cached.caching()
    }
    /// A node will call `flush` at commit and forward what it gives.
    pub(crate) fn listen(&mut self, sends_old: bool) {
        self.cached.listen(sends_old);
    }
    /// Writes the cache through. Keys are window store keys: see `split_window_key`.
    pub(crate) fn flush(&mut self) -> Result<Vec<Flushed>, StoreError> {
        self.cached.flush()?;
        Ok(self.cached.take_pending())
    }
    /// Keeps for the node that listens what a write of somebody else evicted.
    pub(crate) fn keep_for_listener(&mut self, flushed: Vec<Flushed>) {
        self.cached.keep_pending(flushed);
    }
    /// The largest window start that reached the table.
    pub(crate) fn observed(&self) -> i64 {
        self.cached.below.retention.observed()
    }
    /// Writes refused as expired since the last call: dropped records.
    pub(crate) fn take_expired_writes(&mut self) -> u64 {
        self.cached.below.retention.take_refused()
    }
    /// Windows that start before `time` are over: they are not shown any more, and go at the next `apply`.
    pub(crate) fn drop_before(&mut self, time: i64) {
        self.cached.below.retention.drop_before(time);
    }
    /// Windows of one key with `from <= start <= to`.
    pub(crate) fn fetch(&mut self, key: &[u8], from: i64, to: i64, direction: Direction) -> Result<Vec<WindowRow>, StoreError> {
        let mut found = Vec::new();
        self.visit_range((Some(key), Some(key)), (from, to), direction, usize::MAX, &mut found)?;
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
        let (from, to) = (from.max(0), to.min(self.cached.below.retention.newest()));
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
        let Some((first, last)) = layout.segment(from).zip(layout.segment(to)) else {
            let (lower, upper) = (from.to_be_bytes(), to.saturating_add(1).to_be_bytes());
            return self.cached.scan((Bound::Included(&lower), Bound::Excluded(&upper)), direction, &mut take);
        };
        for segment in segments_between(&mut self.cached, first, last, direction)? {
            let (lower, upper) = segment_range(layout, segment, keys, (from, to));
            self.cached.scan((Bound::Included(&lower), Bound::Excluded(&upper)), direction, &mut take)?;
        }
        Ok(())
    }

    /// Windows of all keys with `from <= start <= to`, by start and then by key, at most `limit` of them.
    pub(crate) fn starting_in(&mut self, from: i64, to: i64, limit: usize) -> Result<Vec<WindowRow>, StoreError> {
        let mut found = Vec::new();
        match self.cached.below.layout() {
            RowLayout::Indexed { .. } => return self.indexed_rows(from, to, limit),
            RowLayout::TimeFirst => self.visit_range((None, None), (from, to), Direction::Forward, limit, &mut found)?,
            RowLayout::Segmented { .. } => {
                self.visit_range((None, None), (from, to), Direction::Forward, usize::MAX, &mut found)?;
                found.sort_by(|a, b| (a.start, &a.key).cmp(&(b.start, &b.key)));
                found.truncate(limit);
            }
        }
        Ok(found)
    }

    fn indexed_rows(&mut self, from: i64, to: i64, limit: usize) -> Result<Vec<WindowRow>, StoreError> {
        let mut found = self.dirty_between(from, to);
        for id in self.indexed_between(from, to, limit, &found)? {
            found.entry(id).or_insert(None);
        }
        let mut rows = Vec::new();
        for ((start, key), known) in found {
            let value = match known {
                Some(value) => value,
                None => self.read(&key, start, |value| value.map(<[u8]>::to_vec))?,
            };
            rows.extend(value.map(|value| WindowRow { key, start, value }));
            if rows.len() == limit {
                break;
            }
        }
        Ok(rows)
    }

    /// What the cache holds back and the index does not know.
    fn dirty_between(&self, from: i64, to: i64) -> Dirty {
        let (layout, duplicates) = (self.cached.below.layout(), self.cached.below.duplicates);
        let parsed = self.cached.dirty().filter_map(|(row, value)| Some((parse(layout, duplicates, row)?, value)));
        let inside = parsed.filter(|((_, start, _), _)| (from..=to).contains(start));
        inside.map(|((key, start, _), value)| ((start, key.to_vec()), Some(value.map(<[u8]>::to_vec)))).collect()
    }

    /// Starts and keys of the index, but for rows that the cache has deleted.
    fn indexed_between(&mut self, from: i64, to: i64, limit: usize, cached: &Dirty) -> Result<Vec<(i64, Vec<u8>)>, StoreError> {
        let below = &mut self.cached.below;
        let (from, to) = (from.max(below.retention.oldest_visible()).max(0), to.min(below.retention.newest()));
        let mut found = Vec::new();
        let Some((first, last)) = below.layout().segment(from).zip(below.layout().segment(to)).filter(|_| from <= to) else {
            return Ok(found);
        };
        for segment in segments_between(&mut self.cached, first, last, Direction::Forward)? {
            if found.len() >= limit {
                break;
            }
            self.visit_index(segment, from, to, Direction::Forward, &mut |start, key| {
                let id = (start, key.to_vec());
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
        from: i64,
        to: i64,
        direction: Direction,
        visit: &mut dyn FnMut(i64, &[u8]) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        let (lower, upper) = (index_prefix(segment, from), index_prefix(segment, to.saturating_add(1)));
        let range = (Bound::Included(lower.as_slice()), Bound::Excluded(upper.as_slice()));
        self.cached.below.rows.table.scan(range, direction, &mut |index, _| {
            let parts = index.get(9..).and_then(|rest| rest.split_first_chunk::<8>());
            match parts.and_then(|(start, rest)| Some((start, rest.split_last_chunk::<4>()?))) {
                Some((start, (key, _))) => visit(i64::from_be_bytes(*start), key),
                None => GO_ON,
            }
        })
    }

    /// The start of the newest window that has a row; none without rows.
    pub(crate) fn newest_start(&mut self) -> Result<Option<i64>, StoreError> {
        let newest = self.cached.below.retention.newest();
        let Some(mut last) = self.cached.below.layout().segment(newest) else {
            let mut found = Vec::new();
            self.visit_range((None, None), (0, newest), Direction::Backward, 1, &mut found)?;
            return Ok(found.first().map(|row| row.start));
        };
        let cached = self.dirty_between(0, newest);
        let in_cache = cached.iter().filter(|(_, row)| **row != Some(None)).map(|((start, _), _)| *start).next_back();
        while let Some(segment) = segment_in(&mut self.cached, 0, last, Direction::Backward)? {
            let in_table = self.newest_of(segment, newest, &cached)?;
            if in_table.is_some() {
                return Ok(in_table.max(in_cache));
            }
            last = segment - 1;
        }
        Ok(in_cache)
    }

    fn newest_of(&mut self, segment: i64, newest: i64, cached: &Dirty) -> Result<Option<i64>, StoreError> {
        let oldest = self.cached.below.retention.oldest_visible();
        let mut found = None;
        if let RowLayout::Indexed { .. } = self.cached.below.layout() {
            self.visit_index(segment, 0, newest, Direction::Backward, &mut |start, key| {
                let there = start >= oldest && cached.get(&(start, key.to_vec())) != Some(&Some(None));
                found = there.then_some(start);
                if there { ControlFlow::Break(()) } else { GO_ON }
            })?;
            return Ok(found);
        }
        let mut rows = Vec::new();
        let interval = match self.cached.below.layout() {
            RowLayout::Segmented { interval } | RowLayout::Indexed { interval } => interval,
            RowLayout::TimeFirst => return Ok(None),
        };
        let span = (segment.saturating_mul(interval), (segment + 1).saturating_mul(interval) - 1);
        self.visit_range((None, None), span, Direction::Forward, usize::MAX, &mut rows)?;
        Ok(rows.iter().map(|row| row.start).max())
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

/// Rows by start and key: the outer none asks the table, the inner one is a deletion.
type Dirty = std::collections::BTreeMap<(i64, Vec<u8>), Option<Option<Vec<u8>>>>;

impl Core for WindowCore {
    fn logged(&self) -> bool {
        self.cached.below.rows.changelog.logged()
    }
    fn drain_changelog(&mut self, sink: &mut dyn ChangelogSink) -> Result<(), StoreError> {
        self.cached.flush()?;
        let (layout, duplicates) = (self.cached.below.layout(), self.cached.below.duplicates);
        let to_key = move |row: &[u8], out: &mut Vec<u8>| {
            to_store_key(layout, duplicates, row, out);
            !out.is_empty()
        };
        self.cached.below.rows.drain(&to_key, sink)
    }
    fn uncommitted_bytes(&mut self) -> usize {
        self.cached.uncommitted_bytes()
    }
    fn apply(&mut self, offset: Option<i64>) -> Result<(), StoreError> {
        let below = &mut self.cached.below;
        let bound = below.retention.take_drop_bound();
        below.rows.table.apply(offset, bound.as_ref().map(<[u8; 8]>::as_slice))
    }
    fn abort(&mut self) {
        self.cached.abort();
        self.cached.below.retention.abort();
    }
    fn offset(&self) -> Option<i64> {
        self.cached.below.rows.table.offset()
    }
    fn restore(&mut self, records: &[ChangelogRecord<'_>], next_offset: i64) -> Result<(), StoreError> {
        self.cached.forget_cached();
        let below = &mut self.cached.below;
        for (_, start, seq) in records.iter().filter_map(|record| split_window_key(record.key)) {
            below.retention.observe(start);
            (below.store_seq, below.changelog_seq) = (below.store_seq.max(seq), below.changelog_seq.max(seq));
        }
        let (layout, duplicates, oldest) = (below.layout(), below.duplicates, below.retention.oldest_visible());
        below.rows.restore(records, next_offset, |bytes, _, row| {
            if let Some((key, start, seq)) = split_window_key(bytes).filter(|(_, start, _)| *start >= oldest) {
                let mut out = Vec::new();
                row_key(layout, duplicates, key, start, seq, &mut out);
                row(out, false);
                if let RowLayout::Indexed { interval } = layout {
                    row(index_row(interval, key, start, seq), true);
                }
            }
        })
    }
    fn approximate_rows(&self) -> usize {
        self.cached.below.rows.table.approximate_rows()
    }
    fn take_expired_writes(&mut self) -> u64 {
        WindowCore::take_expired_writes(self)
    }
}
