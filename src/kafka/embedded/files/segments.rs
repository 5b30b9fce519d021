//! The files of one partition: segments, each with the records from some offset on, the last of which is written.
//!
//! A segment is called `<first offset>.<edition>.segment` and begins with 16 bytes: `HWsegmnt`, the version (4 bytes, 1), four zeros.
//! Frames follow, see [`super::batch`]; the offsets of one go on where those of the one before ended.

use std::cmp::Reverse;
use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::batch::{self, BatchHead, BatchKind};
use super::disk::{DiskFile, failed};
use super::journal::torn;
use super::{Cleaned, Entry, Storage, TopicNumber, frame};
use crate::failpoint::reached;
use crate::kafka::embedded::block::{Block, Span};
use crate::kafka::embedded::partition::Arrival;
use crate::kafka::embedded::verdicts::{Verdicts, WriterNumber};
use crate::kafka::{LogError, Outgoing};
use crate::record::{Timestamp, TopicPartition};

pub(super) const HEAD: &[u8; 16] = b"HWsegmnt\x01\0\0\0\0\0\0\0";
/// Room that is given back after a large batch.
const SCRATCH: usize = 1 << 20;
/// Length from which a segment whose records are all deleted is worth another one.
const WORTHWHILE: u64 = 1 << 20;

/// The files of a partition.
#[derive(Debug)]
pub(in crate::kafka::embedded) struct Segments {
    pub(super) storage: Storage,
    topic: TopicNumber,
    partition: i32,
    pub(super) folder: PathBuf,
    /// Length after which another one is begun.
    limit: u64,
    /// By their first offset, the one that is written last.
    pub(super) all: VecDeque<Segment>,
    /// Length of the last one.
    pub(super) length: u64,
    /// Frames to be written.
    staged: Vec<u8>,
    /// Where each of them ends.
    ends: Vec<usize>,
}

/// One file, the first offset in it, and how often what lies there was rewritten.
#[derive(Clone, Debug)]
pub(super) struct Segment {
    pub(super) base: i64,
    pub(super) edition: u32,
    pub(super) file: Arc<DiskFile>,
}

/// A partition as its files have it.
#[derive(Debug)]
pub(in crate::kafka::embedded) struct Recovered {
    pub(in crate::kafka::embedded) segments: Segments,
    pub(in crate::kafka::embedded) blocks: VecDeque<Block>,
    pub(in crate::kafka::embedded) verdicts: Verdicts,
    pub(in crate::kafka::embedded) begin: i64,
    pub(in crate::kafka::embedded) end: i64,
    pub(in crate::kafka::embedded) cleaned: Cleaned,
}

impl Segments {
    /// Whether the next frame begins a segment, which is made here.
    pub(in crate::kafka::embedded) fn make_room(&mut self, end: i64) -> Result<bool, LogError> {
        let full = self.all.is_empty() || self.length >= self.limit;
        if full {
            self.roll(end)?;
        }
        Ok(full)
    }

    pub(super) fn path(folder: &Path, base: i64, edition: u32) -> PathBuf {
        folder.join(format!("{base:020}.{edition}.segment"))
    }

    pub(super) fn roll(&mut self, base: i64) -> Result<(), LogError> {
        let file = Arc::new(DiskFile::create(Segments::path(&self.folder, base, 0))?);
        // A file that stayed here without its head would be in the way of the next try.
        file.append(HEAD, 0).inspect_err(|_| remove(file.path()))?;
        self.storage.settle_names(&self.folder)?;
        self.all.push_back(Segment { base, edition: 0, file });
        self.length = HEAD.len() as u64;
        Ok(())
    }

    /// Makes records ready to be written, as one frame.
    pub(in crate::kafka::embedded) fn stage(
        &mut self,
        base: i64,
        writer: Option<WriterNumber>,
        records: &[Outgoing<'_>],
        arrival: Arrival<'_>,
    ) {
        batch::put_records(&mut self.staged, base, writer.unwrap_or(0), records, (arrival.now, arrival.stamp));
        self.ends.push(self.staged.len());
    }

    /// Makes a marker ready to be written.
    pub(in crate::kafka::embedded) fn stage_marker(&mut self, at: i64, writer: WriterNumber, committed: bool, now: Timestamp) {
        batch::put_marker(&mut self.staged, at, writer, committed, now);
        self.ends.push(self.staged.len());
    }

    /// Writes all frames that are ready, or none; calls `placed` with where each one is, in order.
    pub(in crate::kafka::embedded) fn write(&mut self) -> Result<impl Iterator<Item = Span> + use<>, LogError> {
        let file = self.all.back().expect("room was made").file.clone();
        let written = file.append(&self.staged, self.length);
        let ends = std::mem::take(&mut self.ends);
        let (start, length) = (self.length, self.staged.len() as u64);
        self.staged.clear();
        self.staged.shrink_to(SCRATCH);
        written?;
        reached("log.append");
        self.length += length;
        self.storage.touched(&file);
        let mut from = 0;
        Ok(ends.into_iter().map(move |end| {
            let span = Span { file: file.clone(), start: start + from as u64, length: (end - from) as u64 };
            from = end;
            span
        }))
    }

    /// Writes down that the records below an offset are deleted.
    pub(in crate::kafka::embedded) fn note_begin(&self, offset: i64) -> Result<(), LogError> {
        self.storage.note(|| Entry::Begin { topic: self.topic, partition: self.partition, offset })
    }

    /// Writes down what compaction has done.
    pub(in crate::kafka::embedded) fn note_cleaned(&self, cleaned: &Cleaned) -> Result<(), LogError> {
        self.storage.note(|| Entry::Cleaned { topic: self.topic, partition: self.partition, cleaned: cleaned.clone() })
    }

    /// Removes the files that hold nothing from `begin` on.
    pub(in crate::kafka::embedded) fn remove_before(&mut self, begin: i64, end: i64) {
        if begin == end && self.length > WORTHWHILE && self.roll(end).is_err() {
            return; // the next append tells
        }
        while self.all.get(1).is_some_and(|second| second.base <= begin) {
            let gone = self.all.pop_front().expect("there are two");
            remove(gone.file.path());
        }
    }

    /// What it is part of.
    pub(in crate::kafka::embedded) fn storage(&self) -> &Storage {
        &self.storage
    }
}

pub(super) fn remove(path: &Path) {
    if let Err(error) = fs::remove_file(path) {
        tracing::warn!(%error, path = %path.display(), "a file that the log no longer needs could not be removed");
    }
}

/// What is found in the files of a partition, one frame after the other.
#[derive(Debug, Default)]
pub(super) struct Finding {
    pub(super) blocks: VecDeque<Block>,
    verdicts: Verdicts,
    pub(super) end: Option<i64>,
}

impl Segments {
    /// Reads the files of a partition.
    pub(super) fn open(
        storage: Storage,
        name: TopicPartition,
        topic: TopicNumber,
        folder: PathBuf,
        begin: i64,
        limit: u64,
    ) -> Result<Recovered, LogError> {
        let frozen = storage.is_frozen();
        let mut found = Finding::default();
        let (mut all, mut length) = (VecDeque::new(), 0);
        let listed = list(&folder, frozen)?;
        let last = listed.last().map(|(base, ..)| *base);
        for (base, Reverse(edition), path) in listed {
            if found.end.is_some_and(|end| base < end) {
                if !frozen {
                    remove(&path); // a later edition of an earlier one has what is left of it
                }
                continue;
            }
            let file = Arc::new(if frozen { DiskFile::open_to_read(path)? } else { DiskFile::open(path)? });
            length = found.take(base, &file, last == Some(base))?;
            if !frozen && last == Some(base) {
                mend(&file, length)?;
            }
            all.push_back(Segment { base, edition, file });
        }
        let first = all.front().map_or(begin, |first: &Segment| first.base.max(begin));
        let (staged, ends, partition) = (Vec::new(), Vec::new(), name.partition);
        let mut segments = Segments { storage, topic, partition, folder, limit, all, length, staged, ends };
        if found.end.is_some_and(|end| end < first) {
            // All of it is deleted, and the end of it has never reached the disk.
            segments.all.drain(..).filter(|_| !frozen).for_each(|gone| remove(gone.file.path()));
            found = Finding::default();
        }
        let end = found.end.unwrap_or(first);
        if !frozen {
            segments.remove_before(found.verdicts.needed_from(first), end);
        }
        found.verdicts.forget_before(first);
        let gone = found.blocks.partition_point(|block| block.end() <= first);
        found.blocks.drain(..gone);
        Ok(Recovered { segments, blocks: found.blocks, verdicts: found.verdicts, begin: first, end, cleaned: Cleaned::default() })
    }
}

/// Makes a segment end where its last whole frame does.
fn mend(file: &DiskFile, length: u64) -> Result<(), LogError> {
    if length == HEAD.len() as u64 {
        file.append(HEAD, 0)?;
    }
    file.cut(length)
}

/// The segments in a folder by their first offset, and the later edition first. Drafts are removed unless the folder is `frozen`.
fn list(folder: &Path, frozen: bool) -> Result<Vec<(i64, Reverse<u32>, PathBuf)>, LogError> {
    let entries = fs::read_dir(folder).map_err(failed("list", folder))?;
    let mut listed = Vec::new();
    for path in entries.filter_map(|entry| entry.ok().map(|entry| entry.path())) {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let numbers = name.strip_suffix(".segment").and_then(|numbers| numbers.split_once('.'));
        let parsed = numbers.and_then(|(base, edition)| Some((base.parse().ok()?, Reverse(edition.parse().ok()?))));
        match parsed {
            Some((base, edition)) => listed.push((base, edition, path)),
            None if name.ends_with(".draft") && !frozen => remove(&path),
            None => {}
        }
    }
    listed.sort();
    Ok(listed)
}

impl Finding {
    /// Goes through one file; its length, without what was torn at the end of the `last` one.
    pub(super) fn take(&mut self, base: i64, file: &Arc<DiskFile>, last: bool) -> Result<u64, LogError> {
        let bytes = file.read_all()?;
        let damaged = |position: usize, reason| Err(LogError::Damaged { path: file.path().to_owned(), position: position as u64, reason });
        if self.end.is_some_and(|end| end != base) {
            return damaged(0, "it does not go on where the file before it ended: files are missing");
        }
        self.end = Some(base);
        if last && bytes.len() < HEAD.len() {
            return Ok(HEAD.len() as u64);
        }
        if !bytes.starts_with(HEAD) {
            return damaged(0, "it does not begin as a segment of this version");
        }
        let mut at = HEAD.len();
        let mut fresh = true;
        while let Some(body) = frame::body_at(&bytes, at) {
            let Some(head) = BatchHead::read(&bytes[body.clone()]).filter(|head| Some(head.base) == self.end) else {
                return damaged(at, "a batch that does not belong here");
            };
            self.note(&head, Span { file: file.clone(), start: at as u64, length: (body.end - at) as u64 }, fresh);
            (at, fresh) = (body.end, false);
        }
        if at < bytes.len() && !last {
            return damaged(at, "the checksum does not fit");
        }
        if at < bytes.len() {
            torn(file, &bytes, at)?;
        }
        Ok(at as u64)
    }

    fn note(&mut self, head: &BatchHead, span: Span, fresh: bool) {
        let offsets = (head.base, head.next);
        match head.kind {
            BatchKind::Marker { committed } => self.verdicts.end(head.writer, head.base, committed),
            BatchKind::Records if head.writer > 0 => self.verdicts.wrote(head.writer, offsets),
            BatchKind::Records => {}
        }
        let filled = if head.kind == BatchKind::Records { head.count as usize } else { 1 };
        let outline = Block::outlined(offsets, filled, (head.written, head.latest), span);
        let last = self.blocks.back_mut().filter(|_| !fresh);
        if !last.is_some_and(|last| last.absorbs(&outline)) {
            self.blocks.push_back(outline);
        }
        self.end = Some(head.next);
    }
}

/// Reads the records of a block back, from where its file has them.
pub(super) fn read_block(outline: &Block, span: &Span) -> Result<Block, LogError> {
    let bytes = span.file.read(span.start, usize::try_from(span.length).expect("a block is small"))?;
    let damaged = |at: usize| LogError::Damaged {
        path: span.file.path().to_owned(),
        position: span.start + at as u64,
        reason: "what was written here can no longer be read",
    };
    let mut found = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let body = frame::body_at(&bytes, at).ok_or_else(|| damaged(at))?;
        let head = BatchHead::read(&bytes[body.clone()]).ok_or_else(|| damaged(at))?;
        found.push((head, body.clone()));
        at = body.end;
    }
    let mut block = Block::read_back(outline);
    for (head, body) in found {
        if head.kind != BatchKind::Records {
            block.locate_marker(head.base);
            continue;
        }
        let start = body.start;
        head.visit(&bytes, body, &mut |record| block.locate(record)).ok_or_else(|| damaged(start))?;
    }
    block.ends_at(outline.end(), bytes);
    Ok(block)
}
