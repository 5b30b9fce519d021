//! The log in a folder: the same log as the one in memory, which a killed process finds again as it left it.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::coordinator::Coordinator;
use super::door::Door;
use super::files::{FileLogOptions, GroupImage, Image, Storage};
use super::reader::LogReader;
use super::{LostCommit, MemoryLog, PendingMarker, Shared, lock};
use crate::clock::Clock;
use crate::failpoint::reached;
use crate::kafka::{Admin, Connect, Consumer, Group, Isolation, LogError, MemberOptions, Producer, TransactionalProducer};
use crate::record::TopicPartition;

/// A log in a folder that belongs to this process while it is open. Handles are cheap to clone and share one log.
///
/// It is [`MemoryLog`] over files: records in segments, all else in a journal (`docs/formats/file-log.md`). What was acknowledged is
/// there when it is opened again, however the process ended: a flush, a commit and every call of an administrator wait until it is as safe
/// as [`FileLogOptions`] ask for. A transaction that was decided is complete, one that was open waits for its id's next
/// [`init`](TransactionalProducer::init) or its time-out; members are gone, as their processes are.
#[derive(Clone)]
pub struct FileLog(pub(super) MemoryLog);

impl FileLog {
    /// Opens the log in a folder, or begins one. [`LogError::InUse`] if another process has it.
    pub fn open(folder: impl AsRef<Path>, clock: Arc<dyn Clock>, options: FileLogOptions) -> Result<Self, LogError> {
        let storage = Storage::open(folder.as_ref(), options)?;
        let image = storage.image();
        let log = MemoryLog::over(clock, storage);
        log.0.restore(&image)?;
        match Door::open(folder.as_ref(), &log.0) {
            Ok(door) => log.0.door.set(door).expect("a new log has no door"),
            Err(error) => tracing::warn!(%error, "other processes cannot ask what is in the log"),
        }
        Ok(FileLog(log))
    }

    /// Reads the log in a folder without owning it: from its files if no process has it, else by asking the process that has it. Changes nothing.
    pub fn open_or_ask(folder: impl AsRef<Path>) -> Result<LogReader, LogError> {
        LogReader::open(folder.as_ref())
    }

    /// Another handle to the same log, whose clients can be [cut off](Self::cut_off) apart from all others.
    pub fn line(&self) -> FileLog {
        FileLog(self.0.line())
    }

    /// As [`MemoryLog::cut_off`].
    pub fn cut_off(&self) {
        self.0.cut_off();
    }

    /// As [`MemoryLog::hold_markers`]. Markers that are held back when the process ends are written when the log is opened again.
    pub fn hold_markers(&self, held: bool) {
        self.0.hold_markers(held);
    }

    /// As [`MemoryLog::pending_markers`].
    pub fn pending_markers(&self) -> Vec<PendingMarker> {
        self.0.pending_markers()
    }

    /// As [`MemoryLog::write_next_marker`].
    pub fn write_next_marker(&self) -> bool {
        self.0.write_next_marker()
    }

    /// As [`MemoryLog::lose_next_commit`].
    pub fn lose_next_commit(&self, transactional_id: &str, lost: LostCommit) {
        self.0.lose_next_commit(transactional_id, lost);
    }

    /// As [`MemoryLog::expel`].
    pub fn expel(&self, group: &str, member: &str) -> bool {
        self.0.expel(group, member)
    }

    /// As [`MemoryLog::keep_positions`].
    pub fn keep_positions(&self, stay: Option<Duration>) {
        self.0.keep_positions(stay);
    }

    /// As [`MemoryLog::compact`].
    pub fn compact(&self, topic: &str) -> Result<(), LogError> {
        self.0.compact(topic)
    }

    /// How often it has waited for the disk. Callers that flush or commit at the same time wait together, and count as one.
    pub fn disk_waits(&self) -> u64 {
        self.0.0.storage.rounds()
    }
}

impl Shared {
    /// Puts back what the files have.
    pub(super) fn restore(&self, image: &Image) -> Result<(), LogError> {
        for (number, topic) in &image.topics {
            self.topics.restore(*number, topic, self.storage.open_topic(*number, topic)?)?;
        }
        for (name, group) in &image.groups {
            lock(&self.groups).insert(name.clone(), group.coordinator());
        }
        reached("log.open");
        self.transactions.restore(self, image)?;
        for (name, group) in lock(&self.groups).iter_mut().filter(|_| self.storage.outlives_power()) {
            group.move_back(|partition, offset| self.within_the_end(name, partition, offset));
        }
        if !image.topics.is_empty() {
            self.begin_upkeep();
        }
        Ok(())
    }

    /// When the power fails, a position may have reached the disk whose records have not.
    fn within_the_end(&self, group: &str, partition: &TopicPartition, offset: i64) -> i64 {
        let known = self.topics.partition(partition).and_then(|known| known.extent(Isolation::ReadUncommitted));
        let Some(end) = known.ok().map(|extent| extent.end).filter(|end| *end < offset) else { return offset };
        tracing::warn!(group, %partition, offset, end, "a position is moved back to the end of its partition: what it stood for is lost");
        end
    }
}

impl GroupImage {
    fn coordinator(&self) -> Coordinator {
        let committed = self.positions.iter().map(|(partition, (position, at))| (partition.clone(), position.clone(), *at));
        let pending = self.pending.iter().map(|(writer, positions)| {
            let positions = positions.iter().map(|(partition, (position, _))| (partition.clone(), position.clone()));
            (*writer, positions.collect::<BTreeMap<_, _>>())
        });
        Coordinator::restored(committed, pending.collect())
    }
}

impl Connect for FileLog {
    fn consumer(&self, isolation: Isolation) -> Result<Box<dyn Consumer>, LogError> {
        self.0.consumer(isolation)
    }

    fn producer(&self) -> Result<Box<dyn Producer>, LogError> {
        self.0.producer()
    }

    fn transactional_producer(&self, id: &str, timeout: Duration) -> Result<Box<dyn TransactionalProducer>, LogError> {
        self.0.transactional_producer(id, timeout)
    }

    fn admin(&self) -> Result<Box<dyn Admin>, LogError> {
        self.0.admin()
    }

    fn member_with(&self, options: MemberOptions) -> Result<Box<dyn Group>, LogError> {
        self.0.member_with(options)
    }
}

impl fmt::Debug for FileLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FileLog").field(&self.0.0.topics.names()).finish()
    }
}
