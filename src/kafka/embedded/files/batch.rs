//! The body of a frame in a segment: a batch of records, or a marker.
//!
//! ```text
//! 0   1  what it is: 0 records, 1 an abort marker, 2 a commit marker
//! 1   8  offset of the first record
//! 9   8  offset after everything that this frame stands for
//! 17  8  the transaction, 0 for none
//! 25  8  the latest time in it
//! 33  8  when it was written
//! 41  4  number of records
//! 45     the records, each: offset after the one before it (varint, 0 for the next one), time after the latest (zigzag), length of the key + 1
//!        (varint, 0 for null), length of the value + 1, number of headers, the headers (name, length of the value + 1, value), key, value
//! ```

use super::bytes::{Reader, put_text, put_varint, put_zigzag};
use super::frame;
use crate::kafka::Outgoing;
use crate::kafka::embedded::block::{Block, Stored};
use crate::kafka::embedded::verdicts::WriterNumber;
use crate::record::{Headers, Timestamp};

const RECORDS: u8 = 0;
const ABORT: u8 = 1;
const COMMIT: u8 = 2;
/// The latest time of no record.
const NEVER: Timestamp = Timestamp::from_millis(i64::MIN);
/// Bytes of a body before its records.
const HEAD: usize = 45;

/// What a frame says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BatchHead {
    pub(super) kind: BatchKind,
    pub(super) base: i64,
    pub(super) next: i64,
    pub(super) writer: WriterNumber,
    pub(super) latest: Timestamp,
    pub(super) written: Timestamp,
    pub(super) count: u32,
}

/// Records, or the end of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BatchKind {
    Records,
    Marker { committed: bool },
}

/// Where a record lies: the key begins at `start`, and the value behind it.
#[derive(Clone, Debug)]
pub(in crate::kafka::embedded) struct Located {
    pub(in crate::kafka::embedded) offset: i64,
    pub(in crate::kafka::embedded) timestamp: Timestamp,
    pub(in crate::kafka::embedded) start: usize,
    pub(in crate::kafka::embedded) key: Option<usize>,
    pub(in crate::kafka::embedded) value: Option<usize>,
    pub(in crate::kafka::embedded) headers: Headers,
}

/// Writes records with consecutive offsets from `base` on as one frame.
///
/// They are written now; the stamp replaces their own times.
pub(super) fn put_records(
    into: &mut Vec<u8>,
    base: i64,
    writer: WriterNumber,
    records: &[Outgoing<'_>],
    (written, stamp): (Timestamp, Option<Timestamp>),
) {
    let time = |record: &Outgoing<'_>| stamp.unwrap_or(record.timestamp);
    let latest = records.iter().map(time).max().unwrap_or(NEVER);
    let count = u32::try_from(records.len()).expect("a block holds a few thousand records");
    let head = BatchHead { kind: BatchKind::Records, base, next: base + i64::from(count), writer, latest, written, count };
    frame::put(into, |body| {
        head.put(body);
        records.iter().for_each(|record| put_record(body, 0, record, time(record).as_millis().wrapping_sub(latest.as_millis())));
    });
}

/// Writes what is left in a block as one frame, which stands for the offsets from `from` on.
pub(super) fn put_block(into: &mut Vec<u8>, from: i64, block: &Block) {
    let (written, latest) = block.times();
    let count = u32::try_from(block.len()).expect("a block is small");
    let head = BatchHead { kind: BatchKind::Records, base: from, next: block.end(), writer: 0, latest, written, count };
    frame::put(into, |body| {
        head.put(body);
        let mut next = from;
        for (offset, Stored { key, value, timestamp, headers }) in block.from(from) {
            let record = Outgoing { key, value, timestamp, headers };
            put_record(body, (offset - next).unsigned_abs(), &record, timestamp.as_millis().wrapping_sub(latest.as_millis()));
            next = offset + 1;
        }
    });
}

/// Writes the marker that ends a transaction, as one frame.
pub(super) fn put_marker(into: &mut Vec<u8>, at: i64, writer: WriterNumber, committed: bool, written: Timestamp) {
    let kind = BatchKind::Marker { committed };
    let head = BatchHead { kind, base: at, next: at + 1, writer, latest: NEVER, written, count: 0 };
    frame::put(into, |body| head.put(body));
}

fn put_record(into: &mut Vec<u8>, gap: u64, record: &Outgoing<'_>, time: i64) {
    put_varint(into, gap);
    put_zigzag(into, time);
    put_length(into, record.key);
    put_length(into, record.value);
    put_varint(into, record.headers.len() as u64);
    for (name, value) in record.headers.iter() {
        put_text(into, name);
        put_length(into, value);
        into.extend_from_slice(value.unwrap_or_default());
    }
    into.extend_from_slice(record.key.unwrap_or_default());
    into.extend_from_slice(record.value.unwrap_or_default());
}

fn put_length(into: &mut Vec<u8>, part: Option<&[u8]>) {
    put_varint(into, part.map_or(0, |bytes| bytes.len() as u64 + 1));
}

impl BatchHead {
    fn put(&self, into: &mut Vec<u8>) {
        into.push(match self.kind {
            BatchKind::Records => RECORDS,
            BatchKind::Marker { committed: false } => ABORT,
            BatchKind::Marker { committed: true } => COMMIT,
        });
        into.extend_from_slice(&self.base.to_le_bytes());
        into.extend_from_slice(&self.next.to_le_bytes());
        into.extend_from_slice(&self.writer.to_le_bytes());
        into.extend_from_slice(&self.latest.as_millis().to_le_bytes());
        into.extend_from_slice(&self.written.as_millis().to_le_bytes());
        into.extend_from_slice(&self.count.to_le_bytes());
    }

    /// The head of a body; `None` if it is none.
    pub(super) fn read(body: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(body, 0);
        let kind = match reader.u8()? {
            RECORDS => BatchKind::Records,
            ABORT => BatchKind::Marker { committed: false },
            COMMIT => BatchKind::Marker { committed: true },
            _ => return None,
        };
        let (base, next, writer) = (reader.i64()?, reader.i64()?, reader.u64()?);
        let (latest, written) = (Timestamp::from_millis(reader.i64()?), Timestamp::from_millis(reader.i64()?));
        let count = reader.u32()?;
        (base < next).then_some(BatchHead { kind, base, next, writer, latest, written, count })
    }

    /// Visits the records of this batch, whose body lies in `bytes` at `body`; `None` if they are not what was written.
    pub(super) fn visit(&self, bytes: &[u8], body: std::ops::Range<usize>, visit: &mut dyn FnMut(Located)) -> Option<()> {
        let mut reader = Reader::new(&bytes[..body.end], body.start + HEAD);
        let mut offset = self.base;
        for _ in 0..self.count {
            offset = offset.checked_add_unsigned(reader.varint()?)?;
            let timestamp = Timestamp::from_millis(self.latest.as_millis().wrapping_add(reader.zigzag()?));
            let (key, value) = (reader.length()?.checked_sub(1), reader.length()?.checked_sub(1));
            let headers = read_headers(&mut reader)?;
            let start = reader.position();
            reader.take(key.unwrap_or(0).checked_add(value.unwrap_or(0))?)?;
            visit(Located { offset, timestamp, start, key, value, headers });
            offset += 1;
        }
        (reader.is_at_end() && offset <= self.next).then_some(())
    }
}

fn read_headers(reader: &mut Reader<'_>) -> Option<Headers> {
    let mut headers = Headers::default();
    for _ in 0..reader.varint()? {
        let name = reader.text()?;
        match reader.length()?.checked_sub(1) {
            Some(length) => headers.add(name, reader.take(length)?),
            None => headers.add_null(name),
        }
    }
    Some(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_back_with_their_nulls_times_and_headers() {
        let mut headers = Headers::default();
        headers.add("a", "1");
        headers.add_null("a");
        let none = Headers::default();
        let at = Timestamp::from_millis;
        let records = [
            Outgoing { key: Some(b"k"), value: Some(b"value"), timestamp: at(5), headers: &headers },
            Outgoing { key: None, value: Some(b""), timestamp: at(9), headers: &none },
            Outgoing { key: Some(b""), value: None, timestamp: at(0), headers: &none },
        ];
        let mut bytes = b"before".to_vec();
        put_records(&mut bytes, 70, 3, &records, (at(77), None));
        let body = frame::body_at(&bytes, 6).expect("whole");
        let head = BatchHead::read(&bytes[body.clone()]).expect("a head");
        assert_eq!(head, BatchHead { kind: BatchKind::Records, base: 70, next: 73, writer: 3, latest: at(9), written: at(77), count: 3 });
        let mut read = Vec::new();
        head.visit(&bytes, body, &mut |record| read.push(record)).expect("records");
        for ((read, sent), offset) in read.iter().zip(&records).zip(70..) {
            let key = read.key.map(|length| &bytes[read.start..read.start + length]);
            let value = read.start + read.key.unwrap_or(0);
            let value = read.value.map(|length| &bytes[value..value + length]);
            assert_eq!((read.offset, read.timestamp, key, value), (offset, sent.timestamp, sent.key, sent.value));
            assert_eq!(read.headers, *sent.headers);
        }
        assert_eq!(read.len(), 3);
    }

    #[test]
    fn a_marker_takes_one_offset() {
        let mut bytes = Vec::new();
        put_marker(&mut bytes, 8, 2, true, Timestamp::from_millis(5));
        let head = BatchHead::read(&bytes[frame::body_at(&bytes, 0).expect("whole")]).expect("a head");
        assert_eq!((head.kind, head.base, head.next, head.writer), (BatchKind::Marker { committed: true }, 8, 9, 2));
    }
}
