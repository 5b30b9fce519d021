//! Records copied one behind the other into one growing piece of memory, which is kept when they are gone.

use crate::record::{Headers, RawRecord, Timestamp};

/// Copied records in order.
#[derive(Debug, Default)]
pub(crate) struct Arena {
    bytes: Vec<u8>,
    records: Vec<Copied>,
}

#[derive(Debug)]
struct Copied {
    start: usize,
    key: Option<usize>,
    value: Option<usize>,
    offset: i64,
    timestamp: Timestamp,
    headers: Headers,
}

/// One of them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View<'a> {
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) value: Option<&'a [u8]>,
    pub(crate) offset: i64,
    pub(crate) timestamp: Timestamp,
    pub(crate) headers: &'a Headers,
}

impl Arena {
    pub(crate) fn push(&mut self, record: View<'_>) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(record.key.unwrap_or_default());
        self.bytes.extend_from_slice(record.value.unwrap_or_default());
        self.records.push(Copied {
            start,
            key: record.key.map(<[u8]>::len),
            value: record.value.map(<[u8]>::len),
            offset: record.offset,
            timestamp: record.timestamp,
            headers: record.headers.clone(),
        });
    }
    pub(crate) fn push_raw(&mut self, raw: &RawRecord<'_>) {
        self.push(View { key: raw.key, value: raw.value, offset: raw.offset, timestamp: raw.timestamp, headers: raw.headers });
    }
    pub(crate) fn get(&self, nth: usize) -> Option<View<'_>> {
        self.records.get(nth).map(|record| self.view(record))
    }
    pub(crate) fn iter(&self) -> impl Iterator<Item = View<'_>> {
        self.records.iter().map(|record| self.view(record))
    }
    pub(crate) fn len(&self) -> usize {
        self.records.len()
    }
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.len()
    }
    /// Forgets the records and keeps the memory, unless one burst has made it far larger than it has to be.
    pub(crate) fn clear(&mut self) {
        const KEPT: usize = 1 << 20;
        self.bytes.clear();
        self.bytes.shrink_to(KEPT);
        self.records.clear();
        self.records.shrink_to(KEPT / 64);
    }

    fn view<'a>(&'a self, record: &'a Copied) -> View<'a> {
        let middle = record.start + record.key.unwrap_or(0);
        View {
            key: record.key.map(|_| &self.bytes[record.start..middle]),
            value: record.value.map(|length| &self.bytes[middle..middle + length]),
            offset: record.offset,
            timestamp: record.timestamp,
            headers: &record.headers,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_and_empty_are_kept_apart() {
        let (headers, mut arena) = (Headers::default(), Arena::default());
        let some = |bytes: &'static str| Some(bytes.as_bytes());
        let pairs = [(some("k"), some("value")), (None, some("")), (some(""), None), (None, None)];
        for round in 0..2 {
            for (key, value) in pairs {
                arena.push(View { key, value, offset: round, timestamp: Timestamp::from_millis(7), headers: &headers });
            }
            let read: Vec<_> = arena.iter().map(|record| (record.key, record.value)).collect();
            assert_eq!(read, pairs);
            assert_eq!(arena.get(3).map(|record| record.offset), Some(round));
            arena.clear();
        }
        assert_eq!((arena.len(), arena.bytes()), (0, 0));
    }
}
