//! The log in this process: topics, offsets and groups as Kafka has them, in memory or in the files of a folder, with nothing to install.
//!
//! There is one log. It changes its own memory and tells its [`files::Storage`] first, which writes it down or does nothing.

mod admin;
mod balance;
mod block;
mod consumer;
mod coordinator;
mod deadlines;
mod door;
mod file_log;
mod files;
mod member;
mod partition;
mod producer;
mod reader;
mod retention;
mod signal;
#[cfg(test)]
mod tests;
mod topic_config;
mod topics;
mod transactional;
mod transactions;
mod upkeep;
mod verdicts;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::Duration;

use self::admin::MemoryAdmin;
use self::consumer::{MemoryConsumer, NoAlarm};
use self::coordinator::Coordinator;
use self::deadlines::Deadlines;
use self::door::Door;
pub use self::file_log::FileLog;
pub use self::files::{Durability, FileLogOptions};
use self::files::{Entry, Storage};
use self::member::Membership;
use self::producer::MemoryProducer;
pub use self::reader::{GroupStanding, LogReader, PartitionStanding, TopicStanding};
use self::signal::Signal;
use self::topics::Topics;
use self::transactional::MemoryTransactions;
use self::transactions::Transactions;
pub use self::transactions::{MarkerPlace, PendingMarker};
use self::upkeep::Upkeep;
use self::verdicts::WriterNumber;
use super::{Admin, Connect, Consumer, Group, Isolation, LogError, MemberOptions, MemberToken, Position, Producer, TransactionalProducer};
use crate::clock::Clock;
use crate::record::{Timestamp, TopicPartition};

/// A log in this process, gone when its last handle is. Handles are cheap to clone and share one log.
///
/// Every append is acknowledged at once. It draws no lots and reads no other clock than the one it is given: the same calls give the same
/// log. Time-outs of transactions and of members are noticed by whoever calls next, and so are retention and compaction, once a second; a
/// member that polls is alive. `docs/protocols/the-embedded-log.md` tells what it does otherwise than a broker.
///
/// For simulations it can be made to do what a cluster does at its worst: [`hold_markers`](Self::hold_markers) between a commit and
/// its readers, [`lose_next_commit`](Self::lose_next_commit), [`expel`](Self::expel) a member, and [`cut_off`](Self::cut_off) a process.
#[derive(Clone)]
pub struct MemoryLog(Arc<Shared>, Arc<AtomicBool>);

struct Shared {
    clock: Arc<dyn Clock>,
    topics: Topics,
    groups: Mutex<BTreeMap<String, Coordinator>>,
    transactions: Transactions,
    deadlines: Deadlines,
    upkeep: Upkeep,
    storage: Storage,
    /// Where others ask what is in it, if it has files.
    door: OnceLock<Door>,
    losses: Mutex<BTreeMap<String, LostCommit>>,
    signal: Signal,
}

/// What is lost of a commit whose producer gets no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LostCommit {
    /// The request: the transaction stays open.
    Request,
    /// The answer: the transaction is committed.
    Answer,
}

impl MemoryLog {
    /// An empty log that takes the time from `clock`.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self::over(clock, Storage::default())
    }

    /// An empty log that keeps its changes there.
    fn over(clock: Arc<dyn Clock>, storage: Storage) -> Self {
        let (topics, groups, transactions) = (Topics::default(), Mutex::default(), Transactions::default());
        let door = OnceLock::new();
        let (deadlines, upkeep, losses, signal) = (Deadlines::default(), Upkeep::default(), Mutex::default(), Signal::default());
        MemoryLog(
            Arc::new(Shared { clock, topics, groups, transactions, deadlines, upkeep, storage, door, losses, signal }),
            Arc::default(),
        )
    }

    /// Another handle to the same log, whose clients can be [cut off](Self::cut_off) apart from all others: as it were the log seen by one process.
    pub fn line(&self) -> MemoryLog {
        MemoryLog(self.0.clone(), Arc::default())
    }

    /// Cuts this handle, its clones and all clients opened through them off for good, as if their process were killed: every call of
    /// theirs fails, their members do not leave their groups, and their transactions stay open.
    pub fn cut_off(&self) {
        self.1.store(true, Ordering::SeqCst);
        self.0.signal.ring();
    }

    /// Whether transactions decided from now on keep their markers back, until [`write_next_marker`](Self::write_next_marker) writes them or
    /// the next transaction or producer of the same id needs them written. Taking it back writes all that wait.
    pub fn hold_markers(&self, held: bool) {
        self.0.transactions.hold(&self.0, held);
        self.0.signal.ring();
    }

    /// The markers that wait, in the order in which they would be written: by decision, and of one transaction first the groups', then the
    /// partitions'.
    pub fn pending_markers(&self) -> Vec<PendingMarker> {
        self.0.transactions.pending()
    }

    /// Writes the first of the markers that wait; false if none does.
    pub fn write_next_marker(&self) -> bool {
        self.write_marker(0)
    }

    /// Writes any of the markers that wait, by its place in [`pending_markers`](Self::pending_markers); false if there is no such.
    pub fn write_marker(&self, nth: usize) -> bool {
        let written = self.0.transactions.write_marker(&self.0, nth);
        self.0.signal.ring();
        written
    }

    /// Lets the next commit of a transactional id end in [`LogError::CommitUnknown`].
    pub fn lose_next_commit(&self, transactional_id: &str, lost: LostCommit) {
        lock(&self.0.losses).insert(transactional_id.to_owned(), lost);
    }

    /// Bytes of all records it holds, their headers aside.
    pub fn bytes(&self) -> usize {
        self.0.topics.weight()
    }

    /// Throws a member out of its group, as a broker does with one that was silent for too long: its tasks go to the others at once, its
    /// commits are refused, and it is told when it asks for events. `member` is what its token says. False if it is no member.
    pub fn expel(&self, group: &str, member: &str) -> bool {
        let expelled = self.0.group(group, |group| group.expel(member));
        self.0.signal.ring();
        expelled
    }
}

impl Shared {
    /// Does something with a group, which comes to be by being spoken of.
    fn group<T>(&self, name: &str, act: impl FnOnce(&mut Coordinator) -> T) -> T {
        let mut groups = lock(&self.groups);
        if !groups.contains_key(name) {
            groups.insert(name.to_owned(), Coordinator::default());
        }
        act(groups.get_mut(name).expect("just made"))
    }

    /// Writes positions of a group down, at once or as part of a transaction; false if the token is not accepted.
    fn put_positions(
        &self,
        name: &str,
        writer: Option<WriterNumber>,
        token: &MemberToken,
        positions: &[(TopicPartition, Position)],
    ) -> Result<bool, LogError> {
        let at = self.clock.now();
        self.group(name, |group| {
            if !group.accepts(token) {
                return Ok(false);
            }
            self.storage.note(|| Entry::Positions { group: name.to_owned(), writer, at, positions: positions.to_vec() })?;
            Ok(match writer {
                Some(writer) => group.commit_later(writer, token, positions),
                None => group.commit(token, positions, at),
            })
        })
    }

    /// Tells a group how a transaction came out.
    fn settle_positions(&self, name: &str, writer: WriterNumber, committed: bool) -> Result<(), LogError> {
        let at = self.clock.now();
        self.group(name, |group| {
            self.storage.note(|| Entry::Settled { group: name.to_owned(), writer, committed, at })?;
            group.settle_positions(writer, committed, at);
            Ok(())
        })
    }

    /// Ends what was open or silent for too long; says how long to wait before this is due again, if ever.
    fn keep_time(&self) -> Option<Duration> {
        if !self.deadlines.any() {
            return None;
        }
        let now = self.clock.now();
        if self.deadlines.take_due(now) {
            self.transactions.expire(self, now);
            self.expire_members(now);
            self.upkeep(now);
            self.signal.ring();
        }
        self.deadlines.slice(now)
    }

    fn expire_members(&self, now: Timestamp) {
        for group in lock(&self.groups).values_mut() {
            group.expire(now).into_iter().for_each(|deadline| self.deadlines.add(deadline));
        }
    }

    /// The loss that was ordered for a commit of this id.
    fn take_loss(&self, id: &str) -> Option<LostCommit> {
        lock(&self.losses).remove(id)
    }

    fn forget_positions(&self, topic: &str) {
        lock(&self.groups).values_mut().for_each(|group| group.forget(topic));
    }
}

impl MemoryLog {
    /// Refuses clients that are cut off.
    fn online(&self) -> Result<(), LogError> {
        if self.1.load(Ordering::Relaxed) { Err(LogError::CutOff) } else { Ok(()) }
    }
}

impl Connect for MemoryLog {
    fn consumer(&self, isolation: Isolation) -> Result<Box<dyn Consumer>, LogError> {
        Ok(Box::new(MemoryConsumer::new(self.clone(), isolation, NoAlarm)))
    }

    fn producer(&self) -> Result<Box<dyn Producer>, LogError> {
        Ok(Box::new(MemoryProducer::new(self.clone())))
    }

    fn transactional_producer(&self, id: &str, timeout: Duration) -> Result<Box<dyn TransactionalProducer>, LogError> {
        Ok(Box::new(MemoryTransactions::new(self.clone(), id, timeout)))
    }

    fn admin(&self) -> Result<Box<dyn Admin>, LogError> {
        Ok(Box::new(MemoryAdmin(self.clone())))
    }

    fn member_with(&self, options: MemberOptions) -> Result<Box<dyn Group>, LogError> {
        Ok(Box::new(MemoryConsumer::new(self.clone(), options.isolation, Membership::new(self.clone(), options))))
    }
}

impl fmt::Debug for MemoryLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("MemoryLog").field(&self.0.topics.names()).finish()
    }
}

/// The lock of a structure that no code of this room leaves half changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no user code runs under a lock of the log")
}
