//! The rows of a session store, below its record cache: where they lie, and which are refused or hidden as expired.

use crate::error::StoreError;
use crate::record::Timestamp;
use crate::state::cache::RowTime;
use crate::state::expiring::Expires;
use crate::state::key_schema::{RowLayout, session_key, split_session_key};
use crate::state::open::{ChangelogRecord, ChangelogSink};
use crate::state::retention::Retention;
use crate::state::rows::{Below, Horizon, Rows};
use crate::state::time_index::TimeIndexed;

/// Rows by key, session end and session start.
pub(crate) struct SessionRows {
    pub(crate) rows: Rows,
    pub(crate) retention: Retention,
}

/// Key, start and end of a row; none for index rows.
pub(crate) fn parse(layout: RowLayout, row: &[u8]) -> Option<(&[u8], i64, i64)> {
    match layout {
        RowLayout::TimeFirst => {
            let (end, rest) = row.split_first_chunk::<8>()?;
            let (key, start) = rest.split_last_chunk::<8>()?;
            Some((key, i64::from_be_bytes(*start), i64::from_be_bytes(*end)))
        }
        _ => split_session_key(layout.store_key(row)?),
    }
}

pub(crate) fn end_of(layout: RowLayout, row: &[u8]) -> Option<i64> {
    parse(layout, row).map(|(_, _, end)| end)
}

pub(crate) fn row_key(layout: RowLayout, key: &[u8], start: i64, end: i64, out: &mut Vec<u8>) {
    out.clear();
    match layout.segment(end) {
        Some(segment) => {
            layout.open_segment(segment, out);
            session_key(key, start, end, out);
        }
        None => {
            out.extend_from_slice(&end.to_be_bytes());
            out.extend_from_slice(key);
            out.extend_from_slice(&start.to_be_bytes());
        }
    }
}

/// Time first: end, start, key.
pub(crate) fn index_key(interval: i64, key: &[u8], start: i64, end: i64) -> Vec<u8> {
    let mut index = RowLayout::index_prefix(end / interval, end);
    index.extend_from_slice(&start.to_be_bytes());
    index.extend_from_slice(key);
    index
}

impl SessionRows {
    /// Removes a session. One that has expired is no record lost, so it is not counted.
    pub(crate) fn remove(&mut self, row: &[u8], at: Timestamp) -> Result<(), StoreError> {
        let refused = self.retention.refused();
        self.write(row, None, at)?;
        self.retention.set_refused(refused);
        Ok(())
    }
}

impl Below for SessionRows {
    const READ_THROUGH: bool = false;
    fn rows(&mut self) -> &mut Rows {
        &mut self.rows
    }
    fn read(&mut self, row: &[u8]) -> Result<Option<&[u8]>, StoreError> {
        if end_of(self.retention.layout, row).is_none_or(|end| end < self.retention.oldest_visible()) {
            return Ok(None);
        }
        self.rows.table.get(row)
    }
    fn write(&mut self, row: &[u8], value: Option<&[u8]>, at: Timestamp) -> Result<bool, StoreError> {
        let layout = self.retention.layout;
        let Some((key, start, end)) = parse(layout, row) else { return Ok(false) };
        if !self.retention.admits(end) {
            let mut log_key = Vec::new();
            session_key(key, start, end, &mut log_key);
            self.rows.log_only(&log_key, value, at);
            return Ok(false);
        }
        if let RowLayout::Indexed { interval } = layout {
            let was = self.rows.table.get(row)?.is_some();
            if was != value.is_some() {
                self.rows.table.put(&index_key(interval, key, start, end), value.map(|_| [].as_slice()), 0);
            }
        }
        self.rows.put(row, value, at, |out| session_key(key, start, end, out));
        Ok(true)
    }
    fn horizon(&self) -> Option<Horizon> {
        Some(Horizon { oldest: self.retention.oldest_visible(), time: RowTime { layout: self.retention.layout, of: end_of } })
    }
    fn store_key(&self, row: &[u8], out: &mut Vec<u8>) {
        to_store_key(self.retention.layout, row, out);
    }
}

pub(crate) fn to_store_key(layout: RowLayout, row: &[u8], out: &mut Vec<u8>) -> bool {
    let parts = parse(layout, row);
    if let Some((key, start, end)) = parts {
        session_key(key, start, end, out);
    }
    parts.is_some()
}

impl Expires for SessionRows {
    fn parts(&self) -> (&Rows, &Retention) {
        (&self.rows, &self.retention)
    }
    fn parts_mut(&mut self) -> (&mut Rows, &mut Retention) {
        (&mut self.rows, &mut self.retention)
    }
    fn note(&self) -> Vec<u8> {
        self.retention.note()
    }
    fn recall(&mut self, note: Option<&[u8]>) {
        self.retention.recall(note);
    }
    fn drain(&mut self, sink: &mut dyn ChangelogSink) -> Result<(), StoreError> {
        let layout = self.retention.layout;
        let to_key = move |row: &[u8], out: &mut Vec<u8>| to_store_key(layout, row, out);
        self.rows.drain(&to_key, sink)
    }
    fn restore(&mut self, records: &[ChangelogRecord<'_>], next_offset: i64) -> Result<(), StoreError> {
        for (_, _, end) in records.iter().filter_map(|record| split_session_key(record.key)) {
            self.retention.observe(end);
        }
        let (layout, oldest) = (self.retention.layout, self.retention.oldest_visible());
        let (note, bound, mut out) = (self.note(), self.retention.drop_bound(), Vec::new());
        self.rows.restore(records, (next_offset, bound.as_ref().map(<[u8; 8]>::as_slice), Some(&note)), |bytes, _, row| {
            let Some((key, start, end)) = split_session_key(bytes).filter(|(_, _, end)| *end >= oldest) else { return };
            row_key(layout, key, start, end, &mut out);
            row(&out, false);
            if let RowLayout::Indexed { interval } = layout {
                row(&index_key(interval, key, start, end), true);
            }
        })
    }
}

impl TimeIndexed for SessionRows {
    /// End, start and key.
    type Id = (i64, i64, Vec<u8>);
    fn time_of((end, _, _): &Self::Id) -> i64 {
        *end
    }
    fn id_of_row(&self, row: &[u8]) -> Option<Self::Id> {
        parse(self.retention.layout, row).map(|(key, start, end)| (end, start, key.to_vec()))
    }
    fn id_of_index(index: &[u8]) -> Option<Self::Id> {
        let (end, rest) = index.split_first_chunk::<8>()?;
        let (start, key) = rest.split_first_chunk::<8>()?;
        Some((i64::from_be_bytes(*end), i64::from_be_bytes(*start), key.to_vec()))
    }
    fn row_of(&self, (end, start, key): &Self::Id, row: &mut Vec<u8>) {
        row_key(self.retention.layout, key, *start, *end, row);
    }
    /// Not hidden behind the store's own time: the owner asks for what it has not dealt with (Kafka Streams' index does not hide either).
    fn oldest_indexed(&self) -> i64 {
        i64::MIN
    }
}
