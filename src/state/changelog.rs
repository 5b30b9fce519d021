//! What a commit writes to the changelog: the last value of each key, or every write.

use std::collections::HashSet;

use crate::error::StoreError;
use crate::record::{Headers, Timestamp};
use crate::state::open::ChangelogSink;
use crate::state::spec::Dedup;
use crate::state::table::Table;

/// One write, with the key and the plain value that the changelog shows.
#[derive(Debug)]
struct Write {
    seq: u64,
    key: Vec<u8>,
    value: Option<Vec<u8>>,
    at: i64,
}

/// Collects writes. With deduplication the dirty rows of the table are the collection; only writes that no row stands for are kept here.
pub(crate) struct Changelog {
    logged: bool,
    every_write: bool,
    stamped: bool,
    writes: Vec<Write>,
    bytes: usize,
}

/// How a row key reads in the changelog: writes it to the buffer; false for rows that the changelog does not show.
pub(crate) type ToStoreKey<'a> = dyn Fn(&[u8], &mut Vec<u8>) -> bool + 'a;

impl Changelog {
    pub(crate) fn new(logged: bool, dedup: Dedup, stamped: bool) -> Self {
        Changelog { logged, every_write: dedup == Dedup::Off, stamped, writes: Vec::new(), bytes: 0 }
    }
    /// Whether `add` must be called for writes that went to the table.
    pub(crate) fn every_write(&self) -> bool {
        self.logged && self.every_write
    }
    /// A write that no row of the table stands for.
    pub(crate) fn add(&mut self, seq: u64, key: &[u8], value: Option<&[u8]>, at: i64) {
        if self.logged {
            let value = value.map(|value| plain(self.stamped, value).to_vec());
            self.bytes += key.len() + value.as_ref().map_or(0, Vec::len) + 64;
            self.writes.push(Write { seq, key: key.to_vec(), value, at });
        }
    }
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
    pub(crate) fn clear(&mut self) {
        self.writes.clear();
        self.bytes = 0;
    }

    /// Hands everything since the last call to the sink.
    pub(crate) fn drain(
        &mut self,
        store: &str,
        table: &mut Table,
        to_store_key: &ToStoreKey<'_>,
        sink: &mut dyn ChangelogSink,
    ) -> Result<(), StoreError> {
        if !self.logged {
            return Ok(());
        }
        let none = Headers::default();
        let mut log = |key: &[u8], value: Option<&[u8]>, at| sink.log(store, key, value, Some(Timestamp::from_millis(at)), &none);
        let (stamped, mut buffer) = (self.stamped, Vec::new());
        if self.every_write {
            table.drain(|_| Ok(()))?;
            self.writes.iter().try_for_each(|write| log(&write.key, write.value.as_deref(), write.at))?;
        } else if self.writes.is_empty() {
            table.drain(|row| {
                buffer.clear();
                if to_store_key(row.key, &mut buffer) { log(&buffer, row.value.map(|value| plain(stamped, value)), row.at) } else { Ok(()) }
            })?;
        } else {
            self.take_rows(table, to_store_key)?;
            self.last_of_each().try_for_each(|write| log(&write.key, write.value.as_deref(), write.at))?;
        }
        self.clear();
        Ok(())
    }

    fn take_rows(&mut self, table: &mut Table, to_store_key: &ToStoreKey<'_>) -> Result<(), StoreError> {
        let stamped = self.stamped;
        table.drain(|row| {
            let mut key = Vec::new();
            if to_store_key(row.key, &mut key) {
                let value = row.value.map(|value| plain(stamped, value).to_vec());
                self.writes.push(Write { seq: row.seq, key, value, at: row.at });
            }
            Ok(())
        })?;
        self.writes.sort_by_key(|write| write.seq);
        Ok(())
    }
    fn last_of_each(&self) -> impl Iterator<Item = &Write> {
        let mut seen = HashSet::new();
        let mut last: Vec<&Write> = self.writes.iter().rev().filter(|write| seen.insert(&write.key)).collect();
        last.reverse();
        last.into_iter()
    }
}

/// The value without the time in front of it.
fn plain(stamped: bool, value: &[u8]) -> &[u8] {
    if stamped { value.get(8..).unwrap_or_default() } else { value }
}
