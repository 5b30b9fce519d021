//! The rows of a window store, below its record cache: where they lie, and which are refused or hidden as expired.

use crate::error::StoreError;
use crate::record::Timestamp;
use crate::state::cache::RowTime;
use crate::state::expiring::Expires;
use crate::state::key_schema::{RowLayout, split_window_key, window_key};
use crate::state::open::{ChangelogRecord, ChangelogSink};
use crate::state::retention::Retention;
use crate::state::rows::{Below, Horizon, Rows};
use crate::state::time_index::TimeIndexed;

/// Rows by key and window start.
pub(crate) struct WindowRows {
    pub(crate) rows: Rows,
    pub(crate) retention: Retention,
    pub(crate) duplicates: bool,
    /// Numbers of the last put among duplicates, in the store and in its changelog; the latter counts deletions too.
    pub(crate) store_seq: u32,
    pub(crate) changelog_seq: u32,
}

/// Key, start and sequence number of a row; none for index rows.
pub(crate) fn parse(layout: RowLayout, duplicates: bool, row: &[u8]) -> Option<(&[u8], i64, u32)> {
    match layout {
        RowLayout::TimeFirst => {
            let (start, rest) = row.split_first_chunk::<8>()?;
            let (key, seq) = if duplicates { rest.split_last_chunk::<4>()? } else { (rest, &[0; 4]) };
            Some((key, i64::from_be_bytes(*start), u32::from_be_bytes(*seq)))
        }
        _ => split_window_key(layout.store_key(row)?),
    }
}

pub(crate) fn start_of(layout: RowLayout, row: &[u8]) -> Option<i64> {
    match layout {
        RowLayout::TimeFirst => row.first_chunk::<8>().map(|start| i64::from_be_bytes(*start)),
        _ => split_window_key(layout.store_key(row)?).map(|(_, start, _)| start),
    }
}

impl WindowRows {
    pub(crate) fn layout(&self) -> RowLayout {
        self.retention.layout
    }
    pub(crate) fn row_key(&self, key: &[u8], start: i64, seq: u32, out: &mut Vec<u8>) {
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
    pub(crate) fn put_duplicate(&mut self, key: &[u8], start: i64, value: Option<&[u8]>, at: Timestamp) -> Result<bool, StoreError> {
        self.changelog_seq = self.changelog_seq.wrapping_add(1) & 0x7FFF_FFFF;
        let mut log_key = Vec::new();
        window_key(key, start, self.changelog_seq, &mut log_key);
        self.rows.log_only(&log_key, value, at);
        // In memory a deletion, which deletes nothing here, moves time and can come too late all the same, as in Kafka Streams.
        if value.is_none() && self.layout() != RowLayout::TimeFirst {
            return Ok(true);
        }
        if !self.retention.admits(start) {
            return Ok(false);
        }
        let Some(value) = value else { return Ok(true) };
        self.store_seq = self.store_seq.wrapping_add(1) & 0x7FFF_FFFF;
        let (mut row, seq) = (Vec::new(), self.store_seq);
        self.row_key(key, start, seq, &mut row);
        let at = self.rows.time_of(Some(value), at);
        self.rows.table.put(&row, Some(value), at);
        Ok(true)
    }
}

pub(crate) fn row_key(layout: RowLayout, duplicates: bool, key: &[u8], start: i64, seq: u32, out: &mut Vec<u8>) {
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
pub(crate) fn index_row(interval: i64, key: &[u8], start: i64, seq: u32) -> Vec<u8> {
    let mut index = RowLayout::index_prefix(start / interval, start);
    index.extend_from_slice(key);
    index.extend_from_slice(&seq.to_be_bytes());
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
        Some(Horizon { oldest: self.retention.oldest_visible(), time: RowTime { layout: self.layout(), of: start_of } })
    }
    fn store_key(&self, row: &[u8], out: &mut Vec<u8>) {
        to_store_key(self.layout(), self.duplicates, row, out);
    }
}

pub(crate) fn to_store_key(layout: RowLayout, duplicates: bool, row: &[u8], out: &mut Vec<u8>) {
    if let Some((key, start, seq)) = parse(layout, duplicates, row) {
        window_key(key, start, seq, out);
    }
}

impl Expires for WindowRows {
    fn parts(&self) -> (&Rows, &Retention) {
        (&self.rows, &self.retention)
    }
    fn parts_mut(&mut self) -> (&mut Rows, &mut Retention) {
        (&mut self.rows, &mut self.retention)
    }
    /// What the retention knows, and the last sequence numbers of duplicates.
    fn note(&self) -> Vec<u8> {
        [self.retention.note().as_slice(), &self.store_seq.to_be_bytes(), &self.changelog_seq.to_be_bytes()].concat()
    }
    fn recall(&mut self, note: Option<&[u8]>) {
        let rest = self.retention.recall(note);
        let number = |at: usize| rest.get(at..).and_then(<[u8]>::first_chunk::<4>).map_or(0, |number| u32::from_be_bytes(*number));
        (self.store_seq, self.changelog_seq) = (number(0), number(4));
    }
    fn drain(&mut self, sink: &mut dyn ChangelogSink) -> Result<(), StoreError> {
        let (layout, duplicates) = (self.layout(), self.duplicates);
        let to_key = move |row: &[u8], out: &mut Vec<u8>| {
            to_store_key(layout, duplicates, row, out);
            !out.is_empty()
        };
        self.rows.drain(&to_key, sink)
    }
    fn restore(&mut self, records: &[ChangelogRecord<'_>], next_offset: i64) -> Result<(), StoreError> {
        for (_, start, seq) in records.iter().filter_map(|record| split_window_key(record.key)) {
            self.retention.observe(start);
            (self.store_seq, self.changelog_seq) = (self.store_seq.max(seq), self.changelog_seq.max(seq));
        }
        let (layout, duplicates, oldest) = (self.layout(), self.duplicates, self.retention.oldest_visible());
        let (note, bound, mut out) = (self.note(), self.retention.drop_bound(), Vec::new());
        self.rows.restore(records, (next_offset, bound.as_ref().map(<[u8; 8]>::as_slice), Some(&note)), |bytes, _, row| {
            if let Some((key, start, seq)) = split_window_key(bytes).filter(|(_, start, _)| *start >= oldest) {
                row_key(layout, duplicates, key, start, seq, &mut out);
                row(&out, false);
                if let RowLayout::Indexed { interval } = layout {
                    row(&index_row(interval, key, start, seq), true);
                }
            }
        })
    }
}

impl TimeIndexed for WindowRows {
    /// Start and key.
    type Id = (i64, Vec<u8>);
    fn time_of((start, _): &Self::Id) -> i64 {
        *start
    }
    fn id_of_row(&self, row: &[u8]) -> Option<Self::Id> {
        parse(self.layout(), self.duplicates, row).map(|(key, start, _)| (start, key.to_vec()))
    }
    fn id_of_index(index: &[u8]) -> Option<Self::Id> {
        let (start, rest) = index.split_first_chunk::<8>()?;
        let (key, _) = rest.split_last_chunk::<4>()?;
        Some((i64::from_be_bytes(*start), key.to_vec()))
    }
    fn row_of(&self, (start, key): &Self::Id, row: &mut Vec<u8>) {
        self.row_key(key, *start, 0, row);
    }
    fn oldest_indexed(&self) -> i64 {
        self.retention.oldest_visible()
    }
}
