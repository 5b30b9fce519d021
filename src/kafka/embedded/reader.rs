//! Reading a log in a folder from outside: whether a process has it or not, and without changing anything.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::door::Caller;
use super::files::{Storage, owner_of};
use super::{MemoryLog, lock};
use crate::clock::SystemClock;
use crate::kafka::{Connect, FetchLimit, Fetched, Isolation, LogError, Position};
use crate::record::{RawRecord, TopicPartition};

/// A topic as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicStanding {
    /// Its name.
    pub name: String,
    /// Its partitions in order.
    pub partitions: Vec<PartitionStanding>,
    /// All of its settings in force.
    pub config: BTreeMap<String, String>,
}

/// A partition as it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionStanding {
    /// The first offset.
    pub begin: i64,
    /// The high watermark.
    pub end: i64,
    /// The last stable offset: the end for those who read committed records.
    pub stable_end: i64,
    /// Bytes of its records in its files, what is in memory counted as memory.
    pub bytes: u64,
}

/// The committed positions of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupStanding {
    /// Its name.
    pub name: String,
    /// By topic and partition.
    pub positions: Vec<(TopicPartition, Position)>,
}

/// Reads a [`FileLog`](super::FileLog) from outside. If a process has the folder that process is asked, through a socket that it serves; if
/// none has it, the files are read, and whoever wants to own the folder waits for as long as the reader is there. Nothing is changed in either case.
#[derive(Debug)]
pub struct LogReader {
    folder: PathBuf,
    source: Source,
}

#[derive(Debug)]
enum Source {
    Files(MemoryLog),
    Owner(Caller),
}

impl LogReader {
    pub(super) fn open(folder: &Path) -> Result<Self, LogError> {
        let source = match Caller::or_vacant(folder, || Storage::look(folder))? {
            Ok(caller) => Source::Owner(caller),
            Err(storage) => {
                let image = storage.image();
                let log = MemoryLog::over(Arc::new(SystemClock), storage);
                log.0.restore(&image)?;
                Source::Files(log)
            }
        };
        Ok(LogReader { folder: folder.to_owned(), source })
    }

    /// The process that has the folder, if one has and it is known.
    pub fn owner(&self) -> Option<u32> {
        matches!(self.source, Source::Owner(_)).then(|| owner_of(&self.folder)).flatten()
    }

    /// Whether a process has the folder.
    pub fn is_live(&self) -> bool {
        matches!(self.source, Source::Owner(_))
    }

    /// All topics by name.
    pub fn topics(&mut self) -> Result<Vec<TopicStanding>, LogError> {
        match &mut self.source {
            Source::Files(log) => log.standing(),
            Source::Owner(caller) => caller.topics(),
        }
    }

    /// The groups that have positions, by name.
    pub fn groups(&mut self) -> Result<Vec<GroupStanding>, LogError> {
        match &mut self.source {
            Source::Files(log) => Ok(log.group_standing()),
            Source::Owner(caller) => caller.groups(),
        }
    }

    /// Visits records of a partition from an offset on; where that left off, and the end it saw. An owner may give less at once than it is
    /// asked for.
    pub fn read(
        &mut self,
        partition: &TopicPartition,
        from: i64,
        isolation: Isolation,
        limit: FetchLimit,
        visit: &mut dyn FnMut(RawRecord<'_>),
    ) -> Result<Fetched, LogError> {
        match &mut self.source {
            Source::Files(log) => log.read_once(partition, from, isolation, limit, visit),
            Source::Owner(caller) => caller.read(partition, from, isolation, limit, visit),
        }
    }
}

impl MemoryLog {
    pub(super) fn standing(&self) -> Result<Vec<TopicStanding>, LogError> {
        let mut standing = Vec::new();
        for name in self.0.topics.names() {
            // Deleted between one look and the next.
            let Ok(topic) = self.0.topics.get(&name) else { continue };
            let partitions = topic.partitions.iter().map(|partition| {
                let all = partition.extent(Isolation::ReadUncommitted)?;
                let stable_end = partition.extent(Isolation::ReadCommitted)?.end;
                Ok(PartitionStanding { begin: all.begin, end: all.end, stable_end, bytes: partition.weight() as u64 })
            });
            match partitions.collect::<Result<_, LogError>>() {
                Ok(partitions) => standing.push(TopicStanding { name, partitions, config: topic.config.all().clone() }),
                Err(LogError::UnknownTopic(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(standing)
    }

    pub(super) fn group_standing(&self) -> Vec<GroupStanding> {
        let groups = lock(&self.0.groups);
        let standing = groups.iter().map(|(name, group)| GroupStanding { name: name.clone(), positions: group.positions() });
        standing.filter(|group| !group.positions.is_empty()).collect()
    }

    pub(super) fn read_once(
        &self,
        partition: &TopicPartition,
        from: i64,
        isolation: Isolation,
        limit: FetchLimit,
        visit: &mut dyn FnMut(RawRecord<'_>),
    ) -> Result<Fetched, LogError> {
        let mut consumer = self.consumer(isolation)?;
        consumer.assign(&[(partition.clone(), from)])?;
        consumer.fetch(partition, limit, visit)
    }
}
