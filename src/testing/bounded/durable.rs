//! Commits of the test driver, and what is left after a crash: what a process finds in the log when it starts again.
//!
//! Positions with the metadata beside them, changelogs, and output up to the last commit survive, as under exactly-once. Everything
//! else is made anew: tasks, stores (from their changelogs), clocks (from the metadata), idle times.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use super::{Announced, Bounded, Member};
use crate::error::{Error, ErrorKind, Place};
use crate::processor::Counters;
use crate::record::Timestamp;
use crate::runtime::task::Task;
use crate::state::{CacheBudget, ChangelogRecord};
use crate::testing::RawOutput;
use crate::testing::driver::Sent;
use crate::watermark::{CommitMetadata, entry};

/// What a commit keeps of a task.
#[derive(Default)]
pub(super) struct Kept {
    /// The metadata beside the position of each input.
    metadata: Vec<String>,
    watermark: Option<Timestamp>,
    counters: Counters,
}

/// What was sent, and how much of it is committed.
#[derive(Default)]
pub(super) struct Journal {
    sent: Sent,
    pub(super) announced: Vec<Announced>,
    announced_for_good: usize,
    changelogs: BTreeSet<Arc<str>>,
    /// Changelog records since the last commit.
    pending: Vec<RawOutput>,
    /// The last record of each key, as compaction leaves them.
    committed: BTreeMap<(Arc<str>, i32), BTreeMap<Vec<u8>, RawOutput>>,
}

impl Journal {
    /// Keeps what is written to these changelogs.
    pub(super) fn follow(&mut self, changelogs: impl Iterator<Item = Arc<str>>) {
        self.changelogs.extend(changelogs);
    }
    pub(super) fn record(&mut self, record: RawOutput) {
        if self.changelogs.contains(&record.topic) {
            self.pending.push(record.clone());
        }
        self.sent.records.push(record);
    }
    pub(super) fn take_sent(&mut self) -> Sent {
        std::mem::take(&mut self.sent)
    }
    pub(super) fn take_announced(&mut self) -> Vec<Announced> {
        self.announced_for_good = 0;
        std::mem::take(&mut self.announced)
    }

    fn commit(&mut self) {
        self.sent.committed = Some(self.sent.records.len());
        self.announced_for_good = self.announced.len();
        for record in self.pending.drain(..) {
            let rows = self.committed.entry((record.topic.clone(), record.partition)).or_default();
            let key = record.key.clone().unwrap_or_default();
            match record.value {
                Some(_) => rows.insert(key, record),
                None => rows.remove(&key),
            };
        }
    }
    /// What was not committed was never there.
    fn abort(&mut self) {
        self.pending.clear();
        self.announced.truncate(self.announced_for_good);
        self.sent.withdrawn |= self.sent.committed.is_none();
        self.sent.records.truncate(self.sent.committed.unwrap_or(0));
    }
    fn restore(&self, task: &Task, partition: i32) -> Result<(), Error> {
        for store in task.stores() {
            let changelog = store.changelog.as_ref().and_then(|topic| self.committed.get(&(topic.clone(), partition)));
            let Some(rows) = changelog else { continue };
            let records: Vec<ChangelogRecord<'_>> = rows.iter().map(|(key, record)| changelog_record(key, record)).collect();
            let next = i64::try_from(records.len()).expect("fewer records than offsets");
            let restored = store.control.restore(&records, next);
            restored.map_err(|error| Error::new(ErrorKind::CorruptState, Place::default(), error.into()))?;
        }
        Ok(())
    }
}

fn changelog_record<'a>(key: &'a [u8], record: &'a RawOutput) -> ChangelogRecord<'a> {
    let timestamp = record.timestamp.unwrap_or(Timestamp::UNKNOWN);
    ChangelogRecord { key, value: record.value.as_deref(), timestamp, headers: &record.headers }
}

impl Bounded {
    /// A commit of everything: caches go downstream, stores take over.
    pub(super) fn commit_all(&mut self) -> Result<(), Error> {
        self.tasks.iter_mut().try_for_each(|member| member.task.flush())?;
        self.collect();
        self.apply()?;
        self.keep();
        Ok(())
    }

    /// Writes down where everything stands; what the tasks sent is collected and applied.
    pub(super) fn keep(&mut self) {
        self.journal.commit();
        for member in &mut self.tasks {
            member.feeds.iter_mut().for_each(|source| source.feed.commit());
            if member.touched || member.kept.watermark != member.task.watermark() {
                member.kept = member.stands();
                member.touched = false;
            }
        }
    }

    /// After a commit inside a close pass: if a test wants the process to die now, it does.
    pub(super) fn count_down(&mut self) -> Result<(), Error> {
        self.crash_in = self.crash_in.map(|commits| commits.saturating_sub(1));
        if self.crash_in != Some(0) {
            return Ok(());
        }
        (self.crash_in, self.crashed) = (None, true);
        Err(Error::new(ErrorKind::Internal, Place::default(), "the process dies here, because the test said so".into()))
    }

    /// Starts again after a crash that a test asked for; other errors stay errors.
    pub(super) fn survive(&mut self, done: Result<(), Error>) -> Result<(), Error> {
        if std::mem::take(&mut self.crashed) { self.revive() } else { done }
    }

    /// The process dies and starts again from the last commit.
    pub(super) fn revive(&mut self) -> Result<(), Error> {
        let _uncommitted = self.capture.take();
        self.journal.abort();
        let cache = Arc::new(CacheBudget::new(self.settings.record_cache_bytes));
        for nth in 0..self.tasks.len() {
            self.revive_task(nth, &cache)?;
        }
        self.collect();
        self.settle()?;
        self.drain()
    }

    fn revive_task(&mut self, nth: usize, cache: &Arc<CacheBudget>) -> Result<(), Error> {
        let Member { id, stage, kept, .. } = &self.tasks[nth];
        let (_, mut task) = self.assemble(*stage, id.partition, cache);
        let metadata: Vec<CommitMetadata> =
            kept.metadata.iter().map(|blob| CommitMetadata::decode(blob).expect("the driver's own")).collect();
        let was_idle = metadata.iter().any(|kept| kept.entries.get(entry::SENT_IDLE) == Some(&1));
        task.resume(metadata, self.now);
        self.journal.restore(&task, id.partition)?;
        copy(&kept.counters, task.counters());
        let announcements = self.announcements(*id, *stage, was_idle);
        let member = &mut self.tasks[nth];
        (member.task, member.announcements, member.touched) = (task, announcements, true);
        member.feeds.iter_mut().for_each(|source| source.feed.rewind(source.internal));
        member.task.init()
    }
}

impl Member {
    fn stands(&self) -> Kept {
        let metadata = |input: usize| {
            let mut metadata = self.task.metadata(input);
            if self.announcements.said_idle() {
                metadata.entries.insert(entry::SENT_IDLE.to_owned(), 1);
            }
            metadata.encode()
        };
        let counters = Counters::default();
        copy(self.task.counters(), &counters);
        Kept { metadata: (0..self.feeds.len()).map(metadata).collect(), watermark: self.task.watermark(), counters }
    }
}

fn copy(from: &Counters, to: &Counters) {
    for (from, to) in [(&from.dropped, &to.dropped), (&from.late, &to.late), (&from.bad_time, &to.bad_time)] {
        to.store(from.load(Ordering::Relaxed), Ordering::Relaxed);
    }
    let late = from.late_by_node.lock().unwrap_or_else(PoisonError::into_inner).clone();
    *to.late_by_node.lock().unwrap_or_else(PoisonError::into_inner) = late;
}
