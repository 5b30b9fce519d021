//! What a partition gives up in time: old records by age and size, and by compaction all but the last of each key.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::{Arrival, Log, Partition};
use crate::kafka::embedded::block::{Block, FULL_BYTES, Stored};
use crate::kafka::embedded::files::{Cleaned, Draft, Rewrite, Storage};
use crate::kafka::embedded::lock;
use crate::kafka::embedded::retention::Retention;
use crate::kafka::embedded::verdicts::Span;
use crate::kafka::{Isolation, LogError};
use crate::record::Timestamp;

/// What a compaction works on: blocks as they were when it began.
struct Work {
    blocks: Vec<Arc<Block>>,
    /// What was aborted, and markers.
    unseen: Vec<Span>,
    /// Where records begin that no compaction has seen.
    dirty: i64,
    /// Where to stop.
    stop: i64,
    begin: i64,
    tombstones: VecDeque<(i64, Timestamp)>,
    /// The files that the blocks are in.
    files: Option<Rewrite>,
}

/// How much of a partition a compaction shall take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::kafka::embedded) enum Reach {
    /// Nothing, unless it is worth it; and not the block that is being written.
    Due,
    /// All that is decided.
    Everything,
}

impl Partition {
    /// Deletes what is older than the topic keeps, and what is more.
    pub(in crate::kafka::embedded) fn expire(&self, retention: &Retention, now: Timestamp) {
        lock(&self.log).expire(retention, now);
    }

    /// Keeps the last record of each key and drops the others, up to what is not decided yet. Offsets do not change. Tombstones stay for
    /// a while after their first compaction. Nothing is held up meanwhile. Only one compaction may run at a time.
    pub(in crate::kafka::embedded) fn compact(&self, retention: &Retention, reach: Reach, now: Timestamp) {
        let Some(mut work) = self.open().ok().and_then(|mut log| log.work(retention, reach, now)) else { return };
        if let Err(error) = work.read(&self.storage) {
            tracing::warn!(%error, partition = %self.name, "what cannot be read cannot be compacted");
            return;
        }
        let blocks = work.done(now);
        let draft = match work.files.take().map(|files| files.write(&blocks, work.stop)).transpose() {
            Ok(draft) => draft,
            Err(error) => {
                tracing::warn!(%error, partition = %self.name, "there is no room to compact");
                return;
            }
        };
        // A topic that was deleted meanwhile has nothing left to compact.
        let Ok(mut log) = self.open() else { return };
        match draft {
            None => log.put_back(work, blocks, now, retention.tombstones_until(now)),
            Some(None) => {}
            Some(Some(draft)) => log.replace(work, draft, now, retention.tombstones_until(now)),
        }
    }
}

impl Log {
    /// Closes the last block if the topic's settings say so, and makes room.
    pub(super) fn roll(&mut self, Arrival { now, retention, .. }: Arrival<'_>) {
        let Some(last) = self.blocks.back().filter(|last| last.len() > 0) else { return };
        if !self.rolled && retention.is_rolled(last.weight(), last.times().0, now) {
            self.rolled = true;
        }
    }

    /// Deletes old blocks, and such as there is no room for. What is not decided stays.
    pub(super) fn expire(&mut self, retention: &Retention, now: Timestamp) {
        let mut rest: usize = self.blocks.iter().map(|block| block.weight()).sum();
        let stable = self.stable();
        let mut begin = self.begin;
        for (nth, block) in self.blocks.iter().enumerate() {
            rest -= block.weight();
            let spare = nth + 1 < self.blocks.len() && retention.is_plenty(rest);
            if block.end() > stable || !(spare || retention.is_over(block.times(), now)) {
                break;
            }
            begin = block.end();
        }
        if let Err(error) = self.drop_before(begin) {
            tracing::warn!(%error, "records that are too old stay for now");
        }
    }

    /// What there is to compact, if it is worth it.
    fn work(&mut self, retention: &Retention, reach: Reach, now: Timestamp) -> Option<Work> {
        let stop = self.stop(retention, reach, now);
        let dirty = self.cleaned.below.max(self.begin);
        let blocks: Vec<_> = self.blocks.iter().take_while(|block| block.base() < stop).cloned().collect();
        let weigh = |of: &[Arc<Block>]| of.iter().map(|block| block.weight()).sum();
        let (clean, new) = blocks.split_at(blocks.partition_point(|block| block.end() <= dirty));
        let due = |since| stop > dirty && retention.is_dirty(weigh(clean), weigh(new), since, now);
        if reach == Reach::Due && !new.first().is_some_and(|first| due(first.times().0)) {
            return None;
        }
        let mut unseen = Vec::new();
        self.verdicts.unseen((self.begin, stop), Isolation::ReadCommitted, &mut unseen);
        let (end, last) = (self.end, blocks.last()?.span().cloned());
        let files = match (&mut self.files, last) {
            (Some(files), Some(last)) => Some(files.rewrite_up_to(&last, end).ok()??),
            _ => None,
        };
        // The next block lies in another file.
        self.rolled |= files.is_some();
        Some(Work { blocks, unseen, dirty, stop, begin: self.begin, tombstones: self.cleaned.tombstones.clone(), files })
    }

    /// Where compaction has to stop.
    fn stop(&self, retention: &Retention, reach: Reach, now: Timestamp) -> i64 {
        let mut blocks = self.blocks.iter().filter(|block| block.end() > self.cleaned.below);
        let young = blocks.find(|block| !retention.is_settled(block.times(), now)).map(|block| block.base());
        let written = self.blocks.back().filter(|last| reach == Reach::Due && !self.rolled && !last.has_holes()).map(|last| last.base());
        [young, written].into_iter().flatten().fold(self.stable(), i64::min)
    }

    /// Puts the new file of a compaction in the place of those that it stands for, and its blocks in that of theirs.
    fn replace(&mut self, work: Work, draft: Draft, now: Timestamp, tombstones_until: Timestamp) {
        let files = self.files.as_mut().expect("there is a draft of a file");
        let (blocks, end) = match files.replace(draft) {
            Ok(Some(replaced)) => replaced,
            Ok(None) => return,
            Err(error) => {
                tracing::warn!(%error, "what was compacted cannot be used");
                return;
            }
        };
        let old = self.blocks.partition_point(|block| block.base() < end);
        self.blocks.drain(..old);
        let begin = self.begin;
        blocks.into_iter().rev().filter(|block| block.end() > begin).for_each(|block| self.blocks.push_front(Arc::new(block)));
        let full = self.blocks.len().saturating_sub(1);
        self.held = self.blocks.range(..full).filter(|block| block.elsewhere().is_none()).map(|block| block.weight()).sum();
        self.verdicts.forget_between((work.begin.min(begin), work.stop));
        self.cleaned.note(work.stop, now, tombstones_until);
        if let Some(Err(error)) = self.files.as_ref().map(|files| files.note_cleaned(&self.cleaned)) {
            tracing::warn!(%error, "tombstones will stay for longer");
        }
    }

    /// Puts the blocks of a compaction in the place of those that it worked on.
    fn put_back(&mut self, work: Work, blocks: Vec<Block>, now: Timestamp, tombstones_until: Timestamp) {
        let (Some(first), Some(last)) = (work.blocks.first(), work.blocks.last()) else { return };
        let (from, to) = (first.base(), last.end());
        // Blocks in front may have been deleted meanwhile.
        let old = self.blocks.partition_point(|block| block.end() <= to);
        self.blocks.drain(..old);
        let begin = self.begin;
        blocks.into_iter().rev().filter(|block| block.end() > begin).for_each(|block| self.blocks.push_front(Arc::new(block)));
        self.verdicts.forget_between((from, work.stop));
        self.cleaned.note(work.stop, now, tombstones_until);
    }
}

impl Cleaned {
    /// Everything below an offset is compacted, and the tombstones there are gone whose time was over.
    fn note(&mut self, below: i64, now: Timestamp, tombstones_until: Timestamp) {
        self.tombstones.retain(|(end, until)| *end > below || *until > now);
        if below > self.below {
            self.below = below;
            self.tombstones.push_back((below, tombstones_until));
        }
    }
}

impl Work {
    /// Brings the records of all blocks into memory.
    fn read(&mut self, storage: &Storage) -> Result<(), LogError> {
        self.blocks.iter_mut().try_for_each(|block| {
            *block = storage.whole(block.clone())?;
            Ok(())
        })
    }

    /// The same blocks with what is left in them.
    fn done(&self, now: Timestamp) -> Vec<Block> {
        let last = self.last_of_each_key();
        let mut left = Remainder::default();
        let mut unseen = self.unseen.iter().peekable();
        for block in &self.blocks {
            left.next(block);
            for (offset, record) in block.from(self.begin) {
                while unseen.next_if(|(_, end)| *end <= offset).is_some() {}
                let hidden = unseen.peek().is_some_and(|(start, _)| *start <= offset);
                if offset >= self.stop && self.files.is_some() {
                    break; // copied as it is
                }
                if offset >= self.stop || (!hidden && self.stays(offset, &record, &last, now)) {
                    left.keep(offset, &record);
                }
            }
        }
        let end = self.blocks.last().map_or(0, |block| block.end());
        left.finish(if self.files.is_some() { self.stop } else { end })
    }

    fn stays(&self, offset: i64, record: &Stored<'_>, last: &HashMap<&[u8], i64>, now: Timestamp) -> bool {
        let Some(key) = record.key else { return false };
        if last.get(key).is_some_and(|last| *last > offset) {
            return false;
        }
        let over = || self.tombstones.iter().find(|(end, _)| offset < *end).is_some_and(|(_, until)| *until <= now);
        record.value.is_some() || !over()
    }

    /// Of the keys that came since the last compaction: what was there before has each once.
    fn last_of_each_key(&self) -> HashMap<&[u8], i64> {
        let mut last = HashMap::new();
        let mut unseen = self.unseen.iter().peekable();
        for (offset, record) in self.blocks.iter().flat_map(|block| block.run(self.dirty, self.stop)) {
            while unseen.next_if(|(_, end)| *end <= offset).is_some() {}
            let hidden = unseen.peek().is_some_and(|(start, _)| *start <= offset);
            if let Some(key) = record.key.filter(|_| !hidden) {
                last.insert(key, offset);
            }
        }
        last
    }
}

/// Blocks being filled with what is left.
#[derive(Debug, Default)]
struct Remainder {
    full: Vec<Block>,
    open: Option<Block>,
    /// When the records came that are being looked at.
    written: Option<Timestamp>,
}

impl Remainder {
    /// Records of this block come next.
    fn next(&mut self, block: &Block) {
        self.written = Some(block.times().0);
        self.open.get_or_insert_with(|| Block::with_holes(block.base()));
    }

    fn keep(&mut self, offset: i64, record: &Stored<'_>) {
        let open = self.open.as_mut().expect("a block was begun");
        if open.weight() >= FULL_BYTES || !open.keep(offset, record) {
            open.close(offset);
            let mut next = Block::with_holes(offset);
            assert!(next.keep(offset, record), "an empty block takes any record");
            self.full.extend(self.open.replace(next));
        }
        if let (Some(open), Some(written)) = (&mut self.open, self.written) {
            open.written(written);
        }
    }

    fn finish(mut self, end: i64) -> Vec<Block> {
        if let Some(mut open) = self.open.take() {
            open.close(end);
            self.full.push(open);
        }
        self.full
    }
}
