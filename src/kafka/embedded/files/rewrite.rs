//! Compaction of files: what is left of some segments goes into a new one, which takes their place in one step.
//!
//! The new segment is written under another name, then renamed to the first offset of the first one that it replaces, with the next
//! edition. A process that dies before that leaves a draft; one that dies after it leaves segments that lie inside the new one. Both are removed
//! when the log is opened.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use super::batch::{self, BatchHead};
use super::disk::{DiskFile, failed};
use super::frame;
use super::segments::{Finding, HEAD, Segment, Segments, remove};
use crate::kafka::LogError;
use crate::kafka::embedded::block::{Block, Span};

/// Segments that are no longer written and shall be replaced.
#[derive(Debug)]
pub(in crate::kafka::embedded) struct Rewrite {
    folder: PathBuf,
    old: Vec<Segment>,
}

/// What takes their place.
#[derive(Debug)]
pub(in crate::kafka::embedded) struct Draft {
    path: PathBuf,
    old: Vec<Segment>,
}

impl Segments {
    /// Ends the segment that is written now and gives all up to the one in which `last` lies. Blocks go on in another file from here on.
    pub(in crate::kafka::embedded) fn rewrite_up_to(&mut self, last: &Span, end: i64) -> Result<Option<Rewrite>, LogError> {
        if self.length > HEAD.len() as u64 {
            self.roll(end)?;
        }
        let Some(place) = self.all.iter().position(|segment| Arc::ptr_eq(&segment.file, &last.file)) else { return Ok(None) };
        let old = self.all.range(..=place).cloned().collect();
        Ok(Some(Rewrite { folder: self.folder.clone(), old }))
    }

    /// Puts a new segment in the place of old ones; gives its blocks and the offset after the last of them. None if all of it was deleted
    /// meanwhile.
    pub(in crate::kafka::embedded) fn replace(&mut self, draft: Draft) -> Result<Option<(Vec<Block>, i64)>, LogError> {
        let (first, last) = (draft.old.first().expect("there was one"), draft.old.last().expect("there was one"));
        if !self.all.iter().any(|segment| Arc::ptr_eq(&segment.file, &last.file)) {
            remove(&draft.path);
            return Ok(None);
        }
        let (base, edition) = (first.base, first.edition + 1);
        let path = Segments::path(&self.folder, base, edition);
        fs::rename(&draft.path, &path).map_err(failed("rename", &draft.path))?;
        self.storage.settle_names(&self.folder)?;
        let file = Arc::new(DiskFile::open(path)?);
        let mut found = Finding::default();
        found.take(base, &file, false)?;
        self.all.retain(|segment| segment.base > last.base);
        self.all.push_front(Segment { base, edition, file });
        draft.old.iter().for_each(|old| remove(old.file.path()));
        let end = found.end.expect("a file was read");
        Ok(Some((found.blocks.into(), end)))
    }
}

impl Rewrite {
    /// Writes what is left up to `stop`, and behind it what the last of the old segments has from there on. None if that cannot be told apart.
    pub(in crate::kafka::embedded) fn write(self, blocks: &[Block], stop: i64) -> Result<Option<Draft>, LogError> {
        let Rewrite { folder, old } = self;
        let (first, last) = (old.first().expect("there was one"), old.last().expect("there was one"));
        let Some(rest) = frames_from(&last.file.read_all()?, stop) else { return Ok(None) };
        let path = folder.join(format!("{:020}.draft", first.base));
        let _ = fs::remove_file(&path);
        let file = DiskFile::create(path.clone())?;
        let mut length = 0;
        let mut add = |bytes: &[u8]| {
            file.append(bytes, length)?;
            length += bytes.len() as u64;
            Ok::<_, LogError>(())
        };
        add(HEAD)?;
        let (mut scratch, mut from) = (Vec::new(), first.base);
        for block in blocks {
            scratch.clear();
            batch::put_block(&mut scratch, from, block);
            from = block.end();
            add(&scratch)?;
        }
        add(&rest)?;
        file.sync()?;
        Ok(Some(Draft { path, old }))
    }
}

/// The frames from an offset on.
fn frames_from(bytes: &[u8], offset: i64) -> Option<Vec<u8>> {
    let mut at = HEAD.len();
    while let Some(body) = frame::body_at(bytes, at) {
        let head = BatchHead::read(&bytes[body.clone()])?;
        if head.base >= offset {
            return (head.base == offset).then(|| bytes[at..].to_vec());
        }
        at = body.end;
        if head.next > offset {
            return None;
        }
    }
    Some(Vec::new())
}
