//! A run of records in one piece of memory.

use std::cmp::Reverse;
use std::sync::Arc;

use super::files::{DiskFile, Located};
use crate::kafka::Outgoing;
use crate::record::{Headers, Timestamp};

/// Bytes of keys and values after which a block takes no further record. Whole blocks are what deletion frees.
pub(super) const FULL_BYTES: usize = 256 << 10;
/// Records after which a block takes no further one.
const FULL_RECORDS: usize = 4096;
/// The length that stands for a null.
const NULL: u32 = u32::MAX;

/// Consecutive records: their bytes end to end, and where each begins. Grows while nobody reads it, see [`Partition`](super::partition::Partition).
/// A block that was compacted holds what is left of its offsets, and never grows.
#[derive(Debug)]
pub(super) struct Block {
    base: i64,
    entries: Vec<Entry>,
    bytes: Vec<u8>,
    latest: Timestamp,
    /// When the last record came, by the clock of the log.
    written: Timestamp,
    left: Option<Left>,
    /// Where a file has the same records.
    span: Option<Span>,
    /// Stands for the records if only the file has them.
    outline: Option<Outline>,
}

/// Where in a file a block is.
#[derive(Clone, Debug)]
pub(super) struct Span {
    pub(super) file: Arc<DiskFile>,
    pub(super) start: u64,
    pub(super) length: u64,
}

/// What is known of records that are elsewhere.
#[derive(Clone, Copy, Debug)]
struct Outline {
    end: i64,
    len: usize,
    holes: bool,
}

/// The offsets of a block with holes.
#[derive(Debug)]
struct Left {
    end: i64,
    /// Of each entry.
    offsets: Vec<i64>,
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
        let never = Timestamp::from_millis(i64::MIN);
        Block { base, entries: Vec::new(), bytes: Vec::new(), latest: never, written: never, left: None, span: None, outline: None }
    }
    /// An empty block for what is left of the offsets from `base` on.
    pub(super) fn with_holes(base: i64) -> Self {
        Block { left: Some(Left { end: base, offsets: Vec::new() }), ..Block::new(base) }
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
    /// Offset after its last record and the holes behind that.
    pub(super) fn end(&self) -> i64 {
        let filled = || self.left.as_ref().map_or(self.base + self.entries.len() as i64, |left| left.end);
        self.outline.map_or_else(filled, |outline| outline.end)
    }
    /// How many offsets in it are filled.
    pub(super) fn len(&self) -> usize {
        self.outline.map_or(self.entries.len(), |outline| outline.len)
    }
    /// When a record of it was written last, and the latest time that one of its records has.
    pub(super) fn times(&self) -> (Timestamp, Timestamp) {
        (self.written, self.latest)
    }
    /// Whether it was compacted.
    pub(super) fn has_holes(&self) -> bool {
        self.outline.map_or(self.left.is_some(), |outline| outline.holes)
    }
    /// Whether a record of that many bytes may still come in. An empty block takes any.
    pub(super) fn has_room(&self, bytes: usize) -> bool {
        !self.has_holes()
            && self.outline.is_none()
            && (self.entries.is_empty() || (self.entries.len() < FULL_RECORDS && self.bytes.len() + bytes <= FULL_BYTES))
    }
    /// How many of these records it would take.
    pub(super) fn room_for(&self, records: &[Outgoing<'_>]) -> usize {
        let (mut count, mut bytes) = (self.entries.len(), self.bytes.len());
        let fits = |record: &&Outgoing<'_>| {
            bytes += size(record);
            count += 1;
            count == 1 || (count <= FULL_RECORDS && bytes <= FULL_BYTES)
        };
        records.iter().take_while(fits).count()
    }
    /// Copies a record to its end if there is room, with `stamp` for its time if there is one.
    pub(super) fn take(&mut self, record: &Outgoing<'_>, stamp: Option<Timestamp>) -> bool {
        if !self.has_room(size(record)) {
            return false;
        }
        let Outgoing { key, value, timestamp, headers } = *record;
        self.push(&Stored { key, value, timestamp: stamp.unwrap_or(timestamp), headers });
        true
    }
    /// Notes that something was written at this time.
    pub(super) fn written(&mut self, now: Timestamp) {
        self.written = self.written.max(now);
    }
    /// Copies a record that is left into a block with holes; false if the block is full.
    pub(super) fn keep(&mut self, offset: i64, record: &Stored<'_>) -> bool {
        let bytes = record.key.map_or(0, <[u8]>::len) + record.value.map_or(0, <[u8]>::len);
        if !self.entries.is_empty() && self.bytes.len() + bytes > FULL_BYTES {
            return false;
        }
        self.push(record);
        let left = self.left.as_mut().expect("made with holes");
        left.offsets.push(offset);
        left.end = offset + 1;
        true
    }
    /// Lets a block with holes end here, and gives back the memory that it does not need.
    pub(super) fn close(&mut self, end: i64) {
        self.left.as_mut().expect("made with holes").end = end;
        self.entries.shrink_to_fit();
        self.bytes.shrink_to_fit();
    }
    /// Fills an offset with nothing, for a marker. There must be room.
    pub(super) fn skip(&mut self) {
        let (start, headers) = (length(self.bytes.len()), Headers::default());
        // The time is one that no search finds.
        self.entries.push(Entry { timestamp: Timestamp::from_millis(i64::MIN), start, key: NULL, value: NULL, headers });
    }
    /// The records from an offset on, with their offsets; all of them if the block begins later.
    pub(super) fn from(&self, offset: i64) -> impl Iterator<Item = (i64, Stored<'_>)> {
        self.between(self.index(offset), self.entries.len())
    }
    /// The records from an offset on and before another one, with their offsets.
    pub(super) fn run(&self, from: i64, to: i64) -> impl Iterator<Item = (i64, Stored<'_>)> {
        self.between(self.index(from), self.index(to))
    }
    /// Whether all of its records are older than `time`.
    pub(super) fn is_before(&self, time: Timestamp) -> bool {
        self.latest < time
    }
    /// Offset of the first record from `offset` on that is not older than `time`.
    pub(super) fn first_since(&self, time: Timestamp, offset: i64) -> Option<i64> {
        if self.is_before(time) {
            return None;
        }
        self.from(offset).find(|(_, record)| record.timestamp >= time).map(|(offset, _)| offset)
    }
    /// The latest time among the records from one offset on and before another, and the first offset that has it.
    pub(super) fn latest(&self, from: i64, to: i64) -> Option<(Timestamp, Reverse<i64>)> {
        let times = self.run(from, to).map(|(offset, record)| (record.timestamp, Reverse(offset)));
        times.filter(|(time, _)| time.as_millis() != i64::MIN).max()
    }
    /// Bytes of keys and values, and what it takes to find them.
    pub(super) fn weight(&self) -> usize {
        if let (Some(_), Some(span)) = (self.outline, &self.span) {
            return usize::try_from(span.length).unwrap_or(usize::MAX);
        }
        let offsets = self.left.as_ref().map_or(0, |left| left.offsets.len() * size_of::<i64>());
        self.bytes.len() + self.entries.len() * size_of::<Entry>() + offsets
    }

    /// A block of which only a file has the records, `len` of them and markers.
    pub(super) fn outlined((base, end): (i64, i64), len: usize, (written, latest): (Timestamp, Timestamp), span: Span) -> Self {
        let outline = Outline { end, len, holes: len as i64 != end - base };
        Block { written, latest, span: Some(span), outline: Some(outline), ..Block::new(base) }
    }
    /// The same block without the records, if a file has them.
    pub(super) fn outline(&self) -> Option<Self> {
        let span = self.span.clone()?;
        let outline = Outline { end: self.end(), len: self.len(), holes: self.has_holes() };
        Some(Block { written: self.written, latest: self.latest, span: Some(span), outline: Some(outline), ..Block::new(self.base) })
    }
    /// Where the records are, if they are not here.
    pub(super) fn elsewhere(&self) -> Option<&Span> {
        self.span.as_ref().filter(|_| self.outline.is_some())
    }
    /// Where a file has the records.
    pub(super) fn span(&self) -> Option<&Span> {
        self.span.as_ref()
    }
    /// Takes in the outline that follows it in the same file, if both together are not too long to be read at once.
    pub(super) fn absorbs(&mut self, next: &Block) -> bool {
        let (Some(span), Some(outline), Some(follows), Some(more)) = (&mut self.span, &mut self.outline, &next.span, next.outline) else {
            return false;
        };
        let adjacent = Arc::ptr_eq(&span.file, &follows.file) && span.start + span.length == follows.start;
        let small = outline.len + more.len <= FULL_RECORDS && span.length + follows.length <= FULL_BYTES as u64;
        if adjacent && small {
            span.length += follows.length;
            *outline = Outline { end: more.end, len: outline.len + more.len, holes: outline.holes || more.holes };
            self.latest = self.latest.max(next.latest);
            self.written = self.written.max(next.written);
        }
        adjacent && small
    }
    /// Notes where a file has what it took last.
    pub(super) fn is_in(&mut self, last: Span) {
        match &mut self.span {
            Some(span) => span.length += last.length,
            None => self.span = Some(last),
        }
    }
    /// An empty block for the records of an outline, to be read back from a file.
    pub(super) fn read_back(outline: &Block) -> Self {
        let empty = if outline.has_holes() { Block::with_holes(outline.base) } else { Block::new(outline.base) };
        Block { written: outline.written, span: outline.span.clone(), ..empty }
    }
    /// Adds a record that lies in the bytes that it will have.
    pub(super) fn locate(&mut self, record: Located) {
        let Located { offset, timestamp, start, key, value, headers } = record;
        let [key, value] = [key, value].map(|part| part.map_or(NULL, length));
        self.entries.push(Entry { timestamp, start: length(start), key, value, headers });
        self.latest = self.latest.max(timestamp);
        self.left.iter_mut().for_each(|left| left.offsets.push(offset));
    }
    /// Adds the marker at an offset.
    pub(super) fn locate_marker(&mut self, offset: i64) {
        self.skip();
        self.left.iter_mut().for_each(|left| left.offsets.push(offset));
    }
    /// Completes a block that was read back: where its outline ends, and the bytes that its records lie in.
    pub(super) fn ends_at(&mut self, end: i64, bytes: Vec<u8>) {
        self.left.iter_mut().for_each(|left| left.end = end);
        self.bytes = bytes;
    }

    fn push(&mut self, record: &Stored<'_>) {
        let start = length(self.bytes.len());
        let key = self.copy(record.key);
        let value = self.copy(record.value);
        self.entries.push(Entry { timestamp: record.timestamp, start, key, value, headers: record.headers.clone() });
        self.latest = self.latest.max(record.timestamp);
    }

    /// The place of the first entry from an offset on.
    fn index(&self, offset: i64) -> usize {
        match &self.left {
            Some(left) => left.offsets.partition_point(|filled| *filled < offset),
            None => usize::try_from(offset - self.base).unwrap_or(0).min(self.entries.len()),
        }
    }

    fn between(&self, first: usize, end: usize) -> impl Iterator<Item = (i64, Stored<'_>)> {
        let entries = self.entries.get(first..end).unwrap_or_default().iter().zip(first..);
        entries.map(|(entry, at)| (self.left.as_ref().map_or(self.base + at as i64, |left| left.offsets[at]), self.stored(entry)))
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
        let read: Vec<_> = block.from(8).map(|(_, r)| (r.key, r.value, r.timestamp.as_millis())).collect();
        assert_eq!(read, [(Some(&b""[..]), None, 1), (Some(&b"k"[..]), Some(&b""[..]), 2)]);
        assert_eq!((block.base(), block.end(), block.from(0).count()), (7, 10, 3));
    }

    #[test]
    fn what_is_left_keeps_its_offsets() {
        let none = Headers::default();
        let at = |millis| Stored { key: Some(b"k"), value: None, timestamp: Timestamp::from_millis(millis), headers: &none };
        let mut block = Block::with_holes(10);
        assert!(block.keep(12, &at(5)) && block.keep(15, &at(9)) && block.keep(16, &at(9)));
        block.close(20);
        let found = |from, to| block.run(from, to).map(|(offset, _)| offset).collect::<Vec<_>>();
        assert_eq!((found(10, 20), found(12, 16), found(13, 15), found(17, 20)), (vec![12, 15, 16], vec![12, 15], vec![], vec![]));
        assert_eq!((block.end(), block.len(), block.has_room(1)), (20, 3, false));
        assert_eq!(block.first_since(Timestamp::from_millis(6), 10), Some(15));
        assert_eq!(block.latest(10, 20), Some((Timestamp::from_millis(9), Reverse(15))), "the first of the latest");
        assert_eq!(block.latest(17, 20), None);
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
