//! One partition: blocks of records, oldest first.

mod cleaning;

use std::cmp::Reverse;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};

pub(super) use self::cleaning::Reach;
use super::block::{Block, Span as FileSpan, size};
use super::files::{Cleaned, Recovered, Segments, Storage};
use super::lock;
use super::retention::Retention;
use super::verdicts::{Span, Verdicts, WriterNumber};
use crate::kafka::{Isolation, LogError, Outgoing};
use crate::record::{Timestamp, TopicPartition};

/// A partition, shared by all who read and write it.
///
/// A reader takes its blocks out by reference count and visits them without the lock. A block that somebody reads is never written:
/// the writer begins a new one. So a visitor may send to the very partition it reads.
#[derive(Debug)]
pub(super) struct Partition {
    name: TopicPartition,
    storage: Storage,
    log: Mutex<Log>,
}

#[derive(Debug, Default)]
struct Log {
    blocks: VecDeque<Arc<Block>>,
    begin: i64,
    end: i64,
    deleted: bool,
    verdicts: Verdicts,
    /// The last block takes no more.
    rolled: bool,
    cleaned: Cleaned,
    /// Where everything is written first, if the log has files.
    files: Option<Segments>,
    /// Bytes of full blocks whose records are here although a file has them.
    held: usize,
}

/// Bytes of full blocks that stay in memory for readers who are close behind.
const HELD: usize = 256 << 10;

/// What a partition has to know of records that come now.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrival<'a> {
    pub(super) now: Timestamp,
    /// Replaces the records' own times.
    pub(super) stamp: Option<Timestamp>,
    pub(super) retention: &'a Retention,
}

/// What a partition holds for a reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Extent {
    pub(super) begin: i64,
    /// The high watermark, or the last stable offset.
    pub(super) end: i64,
}

/// What a fetch works on.
#[derive(Debug, Default)]
pub(super) struct Window {
    pub(super) blocks: Vec<Arc<Block>>,
    /// Offsets in it that the reader passes over, in order.
    pub(super) unseen: Vec<Span>,
}

impl Partition {
    /// A new partition, written to `files` if it has any.
    pub(super) fn new(name: TopicPartition, files: Option<Segments>) -> Self {
        let storage = files.as_ref().map(|files| files.storage().clone()).unwrap_or_default();
        Partition { name, storage, log: Mutex::new(Log { files, ..Log::default() }) }
    }

    /// A partition as its files have it.
    pub(super) fn recovered(name: TopicPartition, found: Recovered) -> Self {
        let Recovered { segments, blocks, verdicts, begin, end, cleaned } = found;
        let (storage, blocks) = (segments.storage().clone(), blocks.into_iter().map(Arc::new).collect());
        // Where nothing may be changed, what is written stays in memory.
        let files = Some(segments).filter(|_| !storage.is_frozen());
        let log = Log { blocks, begin, end, verdicts, files, cleaned, ..Log::default() };
        Partition { name, storage, log: Mutex::new(log) }
    }

    /// Transactions whose marker has yet to come here.
    pub(super) fn undecided(&self) -> Vec<WriterNumber> {
        lock(&self.log).verdicts.undecided().collect()
    }

    pub(super) fn name(&self) -> &TopicPartition {
        &self.name
    }

    /// Writes records behind the last one; gives the offset of the last of them.
    pub(super) fn append(&self, records: &[Outgoing<'_>], arrival: Arrival<'_>) -> Result<i64, LogError> {
        self.open()?.append(None, records, arrival)
    }

    /// The same as part of a transaction.
    pub(super) fn append_in(&self, writer: WriterNumber, records: &[Outgoing<'_>], arrival: Arrival<'_>) -> Result<i64, LogError> {
        let mut log = self.open()?;
        let start = log.end;
        let last = log.append(Some(writer), records, arrival)?;
        log.verdicts.wrote(writer, (start, last + 1));
        Ok(last)
    }

    /// Writes the marker that ends a transaction here. Nothing to do in a partition that is no more.
    pub(super) fn mark(&self, writer: WriterNumber, committed: bool, now: Timestamp) -> Result<(), LogError> {
        let Ok(mut log) = self.open() else { return Ok(()) };
        let marker = log.end;
        let span = log.write_marker(writer, committed, now)?;
        let block = log.writable(0);
        block.skip();
        block.written(now);
        span.into_iter().for_each(|span| block.is_in(span));
        log.end = marker + 1;
        log.verdicts.end(writer, marker, committed);
        Ok(())
    }

    /// The blocks that hold the next `records` offsets, and what a reader passes over in them.
    pub(super) fn window(&self, from: i64, records: usize, isolation: Isolation, window: &mut Window) -> Result<Extent, LogError> {
        let log = self.open()?;
        self.within(&log, from)?;
        let first = log.blocks.partition_point(|block| block.end() <= from);
        let wanted = from.saturating_add(i64::try_from(records).unwrap_or(i64::MAX));
        window.blocks.extend(log.blocks.range(first..).take_while(|block| block.base() < wanted).cloned());
        let extent = log.extent(isolation);
        let to = window.blocks.last().map_or(from, |block| block.end().min(extent.end)).max(from);
        log.verdicts.unseen((from, to), isolation, &mut window.unseen);
        drop(log);
        for block in &mut window.blocks {
            *block = self.storage.whole(block.clone())?;
        }
        Ok(extent)
    }

    /// Whether a reader at this position has something to be told: records, or that its position is no good.
    pub(super) fn has_news(&self, position: i64, isolation: Isolation) -> bool {
        let log = lock(&self.log);
        log.deleted || position < log.extent(isolation).end || position > log.end
    }

    pub(super) fn extent(&self, isolation: Isolation) -> Result<Extent, LogError> {
        self.open().map(|log| log.extent(isolation))
    }

    /// The first offset whose record is not older than `time`. Records that do not count are found too, as in Kafka.
    pub(super) fn first_since(&self, time: Timestamp, isolation: Isolation) -> Result<Option<i64>, LogError> {
        let log = self.open()?;
        for block in log.blocks.iter().filter(|block| !block.is_before(time)) {
            if let Some(offset) = self.storage.whole(block.clone())?.first_since(time, log.begin) {
                return Ok(Some(offset).filter(|offset| *offset < log.extent(isolation).end));
            }
        }
        Ok(None)
    }

    /// The latest time among its records and the first offset that has it. Records that do not count are found too, as in Kafka.
    pub(super) fn latest(&self) -> Result<Option<(i64, Timestamp)>, LogError> {
        let log = self.open()?;
        let mut latest = None;
        for block in &log.blocks {
            // Only a block that may have a later one is looked into.
            if latest.is_none_or(|(time, _)| !block.is_before(time)) {
                latest = latest.max(self.storage.whole(block.clone())?.latest(log.begin, log.end));
            }
        }
        Ok(latest.map(|(time, Reverse(offset))| (offset, time)))
    }

    /// Forgets the records below an offset; gives the first one left.
    pub(super) fn delete_before(&self, offset: i64) -> Result<i64, LogError> {
        let mut log = self.open()?;
        // An offset below the beginning asks for nothing; one beyond the end is a mistake.
        self.within(&log, offset.max(log.begin))?;
        log.drop_before(offset)?;
        Ok(log.begin)
    }

    /// Ends it: whoever still holds it is told that its topic is unknown.
    pub(super) fn delete(&self) {
        *lock(&self.log) = Log { deleted: true, ..Log::default() };
    }

    /// Bytes it holds.
    pub(super) fn weight(&self) -> usize {
        lock(&self.log).blocks.iter().map(|block| block.weight()).sum()
    }

    /// Bytes of it that are in memory, and how many blocks there are.
    #[cfg(test)]
    pub(super) fn in_memory(&self) -> (usize, usize) {
        let log = lock(&self.log);
        let here = log.blocks.iter().filter(|block| block.elsewhere().is_none());
        (here.map(|block| block.weight()).sum(), log.blocks.len())
    }

    fn open(&self) -> Result<MutexGuard<'_, Log>, LogError> {
        let log = lock(&self.log);
        if log.deleted { Err(LogError::UnknownTopic(self.name.topic.clone())) } else { Ok(log) }
    }

    fn within(&self, log: &Log, offset: i64) -> Result<(), LogError> {
        let Extent { begin, end } = log.extent(Isolation::ReadUncommitted);
        if (begin..=end).contains(&offset) {
            return Ok(());
        }
        Err(LogError::OffsetOutOfRange { partition: self.name.clone(), offset, begin, end })
    }
}

impl Log {
    fn extent(&self, isolation: Isolation) -> Extent {
        let undecided = if isolation == Isolation::ReadCommitted { self.verdicts.first_open() } else { None };
        // Deletion may have gone past the first undecided record.
        Extent { begin: self.begin, end: undecided.map_or(self.end, |first| first.max(self.begin)) }
    }

    /// Moves the beginning up to an offset, if it lies before that.
    fn drop_before(&mut self, offset: i64) -> Result<(), LogError> {
        if offset <= self.begin {
            return Ok(());
        }
        self.files.as_ref().map_or(Ok(()), |files| files.note_begin(offset))?;
        self.begin = offset;
        let gone = self.blocks.partition_point(|block| block.end() <= offset);
        self.blocks.drain(..gone);
        self.verdicts.forget_before(offset);
        let (needed, end) = (self.verdicts.needed_from(offset), self.end);
        self.files.iter_mut().for_each(|files| files.remove_before(needed, end));
        Ok(())
    }

    /// Up to where everything is decided.
    fn stable(&self) -> i64 {
        self.verdicts.first_open().unwrap_or(self.end)
    }

    fn append(&mut self, writer: Option<WriterNumber>, records: &[Outgoing<'_>], arrival: Arrival<'_>) -> Result<i64, LogError> {
        let blocks = self.blocks.len();
        self.roll(arrival);
        if self.files.is_some() {
            self.write_and_take(writer, records, arrival)?;
        } else {
            self.take(records, arrival);
        }
        if self.blocks.len() > blocks {
            self.expire(arrival.retention, arrival.now);
        }
        Ok(self.end - 1)
    }

    fn take(&mut self, records: &[Outgoing<'_>], arrival: Arrival<'_>) {
        let mut rest = records;
        while let Some(first) = rest.first() {
            let block = self.writable(size(first));
            let taken = rest.iter().take_while(|record| block.take(record, arrival.stamp)).count();
            block.written(arrival.now);
            let end = block.end();
            self.end = end;
            rest = &rest[taken..];
        }
    }

    /// Writes the records to the file at once, in frames that are parts of blocks, and takes them into memory then.
    fn write_and_take(&mut self, writer: Option<WriterNumber>, records: &[Outgoing<'_>], arrival: Arrival<'_>) -> Result<(), LogError> {
        let first = if self.make_room()? { 0 } else { self.open_block(size(&records[0])).map_or(0, |block| block.room_for(records)) };
        let files = self.files.as_mut().expect("just written to");
        let mut base = self.end;
        for run in runs(first, records) {
            files.stage(base, writer, run, arrival);
            base += run.len() as i64;
        }
        let spans = files.write()?;
        for (n, (span, run)) in spans.zip(runs(first, records)).enumerate() {
            if n > 0 || first == 0 {
                self.begin_block();
            }
            let block = self.blocks.back_mut().and_then(Arc::get_mut).expect("a block just made, or just seen to be unshared");
            let taken = run.iter().filter(|record| block.take(record, arrival.stamp)).count();
            debug_assert_eq!(taken, run.len(), "a frame holds what its block takes");
            block.written(arrival.now);
            block.is_in(span);
            self.end = block.end();
        }
        Ok(())
    }

    /// Makes room in the files; tells whether a new file begins.
    fn make_room(&mut self) -> Result<bool, LogError> {
        let end = self.end;
        self.files.as_mut().map_or(Ok(false), |files| files.make_room(end))
    }

    /// Writes a marker to the file, if there is one; tells where.
    fn write_marker(&mut self, writer: WriterNumber, committed: bool, now: Timestamp) -> Result<Option<FileSpan>, LogError> {
        let (end, fresh) = (self.end, self.make_room()?);
        let Some(files) = &mut self.files else { return Ok(None) };
        files.stage_marker(end, writer, committed, now);
        let span = files.write()?.next();
        // A block lies in one file.
        if fresh {
            self.begin_block();
        }
        Ok(span)
    }

    /// A block at the end that nobody reads and that takes a record of `bytes`.
    fn writable(&mut self, bytes: usize) -> &mut Block {
        if self.open_block(bytes).is_none() {
            self.begin_block();
        }
        self.blocks.back_mut().and_then(Arc::get_mut).expect("a block just made, or just seen to be unshared under the lock")
    }

    /// The last block, if nobody reads it and it takes a record of `bytes`.
    fn open_block(&mut self, bytes: usize) -> Option<&mut Block> {
        let rolled = self.rolled;
        self.blocks.back_mut().and_then(Arc::get_mut).filter(|block| !rolled && block.has_room(bytes))
    }

    fn begin_block(&mut self) {
        let next = self.blocks.back().map_or_else(|| Block::new(self.end), |last| last.next());
        if self.files.is_some() {
            self.held += self.blocks.back().filter(|last| last.elsewhere().is_none()).map_or(0, |last| last.weight());
            self.leave_to_files();
        }
        self.blocks.push_back(Arc::new(next));
        self.rolled = false;
    }

    /// Lets go of the records that files have as well, once they are many; the last full block stays.
    fn leave_to_files(&mut self) {
        if self.held <= HELD {
            return;
        }
        let first = self.blocks.iter().rposition(|block| block.elsewhere().is_some()).map_or(0, |last| last + 1);
        let full: Vec<_> = self.blocks.drain(first..).collect();
        let Some((last, earlier)) = full.split_last() else { return };
        for outline in earlier.iter().map(|block| block.outline().expect("everything is written to a file first")) {
            let before = self.blocks.back_mut().and_then(Arc::get_mut);
            if !before.is_some_and(|before| before.absorbs(&outline)) {
                self.blocks.push_back(Arc::new(outline));
            }
        }
        self.held = last.weight();
        self.blocks.push_back(last.clone());
    }
}

/// Cuts records as blocks take them: `first` of them for the last block, the others for new ones.
fn runs<'a, 'r>(first: usize, records: &'a [Outgoing<'r>]) -> impl Iterator<Item = &'a [Outgoing<'r>]> {
    let empty = Block::new(0);
    let (head, mut rest) = records.split_at(first);
    let mut head = Some(head).filter(|head| !head.is_empty());
    std::iter::from_fn(move || {
        head.take().or_else(|| {
            let (run, others) = rest.split_at(empty.room_for(rest));
            rest = others;
            Some(run).filter(|run| !run.is_empty())
        })
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::topic_config::TopicConfig;
    use super::*;
    use crate::record::Headers;

    fn append(partition: &Partition, count: i64) {
        let headers = Headers::default();
        let record = Outgoing { key: None, value: Some(&[7; 100]), timestamp: Timestamp::from_millis(count), headers: &headers };
        let config = TopicConfig::new("t", &BTreeMap::new()).expect("the defaults");
        for _ in 0..count {
            partition.append(&[record; 10], config.arrival(Timestamp::from_millis(0))).expect("it is there");
        }
    }

    fn window(partition: &Partition, from: i64, records: usize) -> Window {
        let mut window = Window::default();
        partition.window(from, records, Isolation::ReadCommitted, &mut window).expect("in range");
        window
    }

    #[test]
    fn a_block_being_read_is_not_written() {
        let partition = Partition::new(TopicPartition::new("t", 0), None);
        append(&partition, 1);
        let held = window(&partition, 0, 100).blocks;
        append(&partition, 2);
        assert_eq!(held[0].end(), 10, "the reader sees what it took");
        drop(held);
        let held = window(&partition, 0, 100).blocks;
        assert_eq!(held.iter().map(|block| block.base()).collect::<Vec<_>>(), [0, 10], "and one new block is enough for the writer");
    }

    #[test]
    fn deletion_frees_whole_blocks() {
        let partition = Partition::new(TopicPartition::new("t", 0), None);
        append(&partition, 1000);
        let full = partition.weight();
        assert!(full > 1_000_000, "{full}");
        assert_eq!(partition.delete_before(9_999).expect("in range"), 9_999);
        assert!(partition.weight() < full / 3);
        assert_eq!(partition.extent(Isolation::ReadCommitted).expect("there"), Extent { begin: 9_999, end: 10_000 });
        let held = window(&partition, 9_999, 1).blocks;
        assert_eq!(held[0].from(9_999).count(), 1);
    }
}
