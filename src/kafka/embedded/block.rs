//! A run of records in one piece of memory.

use crate::kafka::Outgoing;
use crate::record::{Headers, Timestamp};

/// Bytes of keys and values after which a block takes no further record. Whole blocks are what deletion frees.
const FULL_BYTES: usize = 256 << 10;
/// Records after which a block takes no further one.
const FULL_RECORDS: usize = 4096;
/// The length that stands for a null.
const NULL: u32 = u32::MAX;

/// Consecutive records: their bytes end to end, and where each begins. Grows while nobody reads it, see [`Partition`](super::partition::Partition).
#[derive(Debug)]
pub(super) struct Block {
    base: i64,
    entries: Vec<Entry>,
    bytes: Vec<u8>,
    latest: Timestamp,
}

#[derive(Debug)]
struct Entry {
    timestamp: Timestamp,
    start: u32,
    key: u32,
    value: u32,
    headers: Headers,
}

/// A record as a block holds it.
pub(super) struct Stored<'a> {
    pub(super) key: Option<&'a [u8]>,
    pub(super) value: Option<&'a [u8]>,
    pub(super) timestamp: Timestamp,
    pub(super) headers: &'a Headers,
}

impl Block {
    /// An empty block whose first record will have the offset `base`.
    pub(super) fn new(base: i64) -> Self {
        Block { base, entries: Vec::new(), bytes: Vec::new(), latest: Timestamp::from_millis(i64::MIN) }
    }
    /// The block after this one. It gets its memory at once where this one shows how much it will need.
    pub(super) fn next(&self) -> Self {
        let records = self.entries.len();
        let bytes = if self.bytes.len() > FULL_BYTES / 2 { FULL_BYTES } else { 0 };
        Block { entries: Vec::with_capacity(records + records / 8), bytes: Vec::with_capacity(bytes), ..Block::new(self.end()) }
    }
    /// Offset of its first record.
    pub(super) fn base(&self) -> i64 {
        self.base
    }
    /// Offset after its last record.
    pub(super) fn end(&self) -> i64 {
        self.base + self.entries.len() as i64
    }
    /// Whether a record of that many bytes may still come in. An empty block takes any.
    pub(super) fn has_room(&self, bytes: usize) -> bool {
        self.entries.is_empty() || (self.entries.len() < FULL_RECORDS && self.bytes.len() + bytes <= FULL_BYTES)
    }
    /// Copies a record to its end if there is room, with `stamp` for its time if there is one.
    pub(super) fn take(&mut self, record: &Outgoing<'_>, stamp: Option<Timestamp>) -> bool {
        if !self.has_room(size(record)) {
            return false;
        }
        let timestamp = stamp.unwrap_or(record.timestamp);
        let start = length(self.bytes.len());
        let key = self.copy(record.key);
        let value = self.copy(record.value);
        self.entries.push(Entry { timestamp, start, key, value, headers: record.headers.clone() });
        self.latest = self.latest.max(timestamp);
        true
    }
    /// Fills an offset with nothing, for a marker. There must be room.
    pub(super) fn skip(&mut self) {
        let (start, headers) = (length(self.bytes.len()), Headers::default());
        // The time is one that no search finds.
        self.entries.push(Entry { timestamp: Timestamp::from_millis(i64::MIN), start, key: NULL, value: NULL, headers });
    }
    /// The records from an offset on; all of them if the block begins later.
    pub(super) fn from(&self, offset: i64) -> impl Iterator<Item = Stored<'_>> {
        let skipped = usize::try_from(offset - self.base).unwrap_or(0);
        self.entries.iter().skip(skipped).map(|entry| self.stored(entry))
    }
    /// At most `count` records from an offset in this block on.
    pub(super) fn run(&self, offset: i64, count: usize) -> impl Iterator<Item = Stored<'_>> {
        let rest = usize::try_from(offset - self.base).ok().and_then(|start| self.entries.get(start..)).unwrap_or_default();
        rest[..count.min(rest.len())].iter().map(|entry| self.stored(entry))
    }
    /// Offset of the first record from `offset` on that is not older than `time`.
    pub(super) fn first_since(&self, time: Timestamp, offset: i64) -> Option<i64> {
        if self.latest < time {
            return None;
        }
        let found = self.from(offset).position(|record| record.timestamp >= time)?;
        Some(self.base.max(offset) + found as i64)
    }
    /// Bytes of keys and values, and what it takes to find them.
    pub(super) fn weight(&self) -> usize {
        self.bytes.len() + self.entries.len() * size_of::<Entry>()
    }

    fn copy(&mut self, part: Option<&[u8]>) -> u32 {
        let Some(bytes) = part else { return NULL };
        self.bytes.extend_from_slice(bytes);
        length(bytes.len())
    }

    fn stored<'a>(&'a self, entry: &'a Entry) -> Stored<'a> {
        let (key, rest) = cut(&self.bytes[entry.start as usize..], entry.key);
        let (value, _) = cut(rest, entry.value);
        Stored { key, value, timestamp: entry.timestamp, headers: &entry.headers }
    }
}

/// Bytes of key and value.
pub(super) fn size(record: &Outgoing<'_>) -> usize {
    record.key.map_or(0, <[u8]>::len) + record.value.map_or(0, <[u8]>::len)
}

fn cut(bytes: &[u8], length: u32) -> (Option<&[u8]>, &[u8]) {
    if length == NULL {
        return (None, bytes);
    }
    let (part, rest) = bytes.split_at(length as usize);
    (Some(part), rest)
}

fn length(bytes: usize) -> u32 {
    u32::try_from(bytes).expect("a topic takes no record of 2 GiB, and a block with one takes no other")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record<'a>(key: Option<&'a [u8]>, value: Option<&'a [u8]>, headers: &'a Headers) -> Outgoing<'a> {
        Outgoing { key, value, timestamp: Timestamp::UNKNOWN, headers }
    }

    #[test]
    fn nulls_and_empties_stay_apart() {
        let none = Headers::default();
        let mut block = Block::new(7);
        for (at, (key, value)) in
            [(None, Some(&b"v"[..])), (Some(&b""[..]), None), (Some(&b"k"[..]), Some(&b""[..]))].into_iter().enumerate()
        {
            assert!(block.take(&record(key, value, &none), Some(Timestamp::from_millis(at as i64))));
        }
        let read: Vec<_> = block.from(8).map(|r| (r.key, r.value, r.timestamp.as_millis())).collect();
        assert_eq!(read, [(Some(&b""[..]), None, 1), (Some(&b"k"[..]), Some(&b""[..]), 2)]);
        assert_eq!((block.base(), block.end(), block.from(0).count()), (7, 10, 3));
    }

    #[test]
    fn a_large_record_has_a_block_of_its_own() {
        let none = Headers::default();
        let mut block = Block::new(0);
        let large = vec![0; 2 * FULL_BYTES];
        assert!(block.take(&record(None, Some(&large), &none), None));
        assert!(!block.take(&record(None, None, &none), None));
    }
}
