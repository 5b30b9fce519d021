//! The transactional ids of a log: epochs, the open transaction of each, and its end in two steps, the decision and the markers.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::files::{Entry, IdImage, Image, TransactionImage};
use super::partition::Partition;
use super::verdicts::WriterNumber;
use super::{Shared, lock};
use crate::failpoint::reached;
use crate::kafka::LogError;
use crate::record::{Timestamp, TopicPartition, millis};

/// When to try again what found no room on the disk.
const AGAIN: Duration = Duration::from_secs(1);

/// All transactional ids.
///
/// Lock order: an id before groups and partitions; the list of ids alone.
#[derive(Debug, Default)]
pub(super) struct Transactions {
    ids: Mutex<BTreeMap<Arc<str>, Arc<Mutex<Ledger>>>>,
    decided: AtomicU64,
    /// The last number that was given to a transaction.
    opened: AtomicU64,
    /// Markers wait to be asked for.
    held: AtomicBool,
}

/// What the log knows of one transactional id.
#[derive(Debug)]
pub(super) struct Ledger {
    id: Arc<str>,
    writer: WriterNumber,
    /// Of the producer initialised last; older ones are fenced.
    epoch: u32,
    /// The epoch that ended with a time-out, so that its producer can be told.
    timed_out: Option<u32>,
    timeout: Duration,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    Idle,
    Open { deadline: Timestamp, records: BTreeMap<TopicPartition, Arc<Partition>>, groups: Vec<String> },
    Decided { turn: u64, committed: bool, markers: VecDeque<Marker> },
}

#[derive(Debug)]
enum Marker {
    Records(Arc<Partition>),
    Offsets(String),
}

/// A marker that is decided and not written yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingMarker {
    /// Whose transaction it ends.
    pub transactional_id: String,
    /// Where it will be written.
    pub place: MarkerPlace,
    /// Whether the transaction was committed; aborted if not.
    pub committed: bool,
}

/// Who has to be told that a transaction has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MarkerPlace {
    /// A partition with records of it.
    Records(TopicPartition),
    /// A group with positions of it.
    Offsets(String),
}

impl Transactions {
    /// The ledger of an id, which comes to be by being spoken of.
    pub(super) fn ledger(&self, id: &Arc<str>) -> Arc<Mutex<Ledger>> {
        lock(&self.ids).entry(id.clone()).or_insert_with(|| Arc::new(Mutex::new(Ledger::new(id.clone())))).clone()
    }

    /// Lets markers wait, or writes those that do.
    pub(super) fn hold(&self, shared: &Shared, held: bool) {
        self.held.store(held, Ordering::SeqCst);
        while !held && self.write_marker(shared, 0) {}
    }

    /// The markers that wait: transactions in the order of their decision, each with its groups before its partitions.
    pub(super) fn pending(&self) -> Vec<PendingMarker> {
        let mut pending: Vec<_> = self.all().iter().filter_map(|ledger| lock(ledger).pending()).collect();
        pending.sort_by_key(|(turn, _)| *turn);
        pending.into_iter().flat_map(|(_, markers)| markers).collect()
    }

    /// Writes one marker by its place among those that wait; false if there are not that many.
    pub(super) fn write_marker(&self, shared: &Shared, mut nth: usize) -> bool {
        let mut waiting: Vec<_> = self.all().into_iter().filter_map(|ledger| Some((lock(&ledger).pending()?, ledger.clone()))).collect();
        waiting.sort_by_key(|((turn, _), _)| *turn);
        for ((_, markers), ledger) in waiting {
            if nth < markers.len() {
                return lock(&ledger).write(shared, nth).unwrap_or_else(|error| {
                    tracing::warn!(%error, "a marker has to wait");
                    false
                });
            }
            nth -= markers.len();
        }
        false
    }

    /// Aborts what is open for too long.
    pub(super) fn expire(&self, shared: &Shared, now: Timestamp) {
        for ledger in self.all() {
            lock(&ledger).expire(shared, now);
        }
    }

    /// Puts back what files have: markers that are decided are written, open transactions wait for their end.
    pub(super) fn restore(&self, shared: &Shared, image: &Image) -> Result<(), LogError> {
        let mut writing = shared.topics.undecided();
        let last = writing.last_key_value().map_or(0, |(writer, _)| *writer);
        self.opened.store(image.last_writer.max(last), Ordering::SeqCst);
        for (id, known) in &image.ids {
            lock(&self.ledger(&id.as_str().into())).restore(known);
        }
        for (writer, transaction) in &image.transactions {
            let groups = image.groups.iter().filter(|(_, group)| group.pending.contains_key(writer)).map(|(name, _)| name.clone());
            let partitions = writing.remove(writer).unwrap_or_default();
            let ledger = self.ledger(&transaction.id.as_str().into());
            lock(&ledger).resume(shared, *writer, transaction, groups.collect(), partitions)?;
        }
        // Of transactions that the journal does not know: their beginning never reached the disk.
        for (writer, partitions) in writing {
            partitions.iter().try_for_each(|partition| partition.mark(writer, false, shared.clock.now()))?;
        }
        Ok(())
    }

    fn all(&self) -> Vec<Arc<Mutex<Ledger>>> {
        lock(&self.ids).values().cloned().collect()
    }
}

impl Ledger {
    fn new(id: Arc<str>) -> Self {
        Ledger { id, writer: 0, epoch: 0, timed_out: None, timeout: Duration::ZERO, stage: Stage::Idle }
    }

    /// The number of its transaction.
    pub(super) fn writer(&self) -> WriterNumber {
        self.writer
    }

    fn restore(&mut self, known: &IdImage) {
        (self.epoch, self.timed_out, self.timeout) = (known.epoch, known.timed_out, known.timeout);
    }

    /// Goes on with a transaction where a process left it.
    fn resume(
        &mut self,
        shared: &Shared,
        writer: WriterNumber,
        transaction: &TransactionImage,
        groups: Vec<String>,
        partitions: Vec<Arc<Partition>>,
    ) -> Result<(), LogError> {
        let records = partitions.into_iter().map(|partition| (partition.name().clone(), partition)).collect();
        let deadline = transaction.deadline;
        self.writer = writer;
        self.stage = Stage::Open { deadline, records, groups };
        match transaction.committed {
            Some(committed) => {
                self.decide(shared, committed);
                self.complete(shared)
            }
            None => {
                shared.deadlines.add(deadline);
                Ok(())
            }
        }
    }

    /// Gives the id to a new producer, with nothing left undecided; its epoch.
    pub(super) fn take_over(&mut self, shared: &Shared, timeout: Duration) -> Result<u32, LogError> {
        self.end(shared, false)?;
        self.complete(shared)?;
        self.note(shared, self.epoch + 1, self.timed_out, timeout)?;
        self.timeout = timeout;
        Ok(self.epoch)
    }

    /// Writes down and has another epoch.
    fn note(&mut self, shared: &Shared, epoch: u32, timed_out: Option<u32>, timeout: Duration) -> Result<(), LogError> {
        shared.storage.note(|| Entry::Id { id: (*self.id).to_owned(), epoch, timed_out, timeout })?;
        (self.epoch, self.timed_out) = (epoch, timed_out);
        Ok(())
    }

    /// Whether a producer of this epoch still has the id.
    pub(super) fn admit(&self, epoch: u32) -> Result<(), LogError> {
        if epoch == self.epoch {
            return Ok(());
        }
        let told = if self.timed_out == Some(epoch) { LogError::TransactionTimedOut } else { LogError::ProducerFenced };
        Err(told(self.id.clone()))
    }

    /// Counts a partition in before it is written.
    pub(super) fn enter(&mut self, shared: &Shared, partition: &TopicPartition, log: &Arc<Partition>) -> Result<(), LogError> {
        let Stage::Open { records, .. } = self.open(shared)? else { return Ok(()) };
        // A topic deleted and made again is another one.
        if !records.get(partition).is_some_and(|known| Arc::ptr_eq(known, log)) {
            records.insert(partition.clone(), log.clone());
        }
        Ok(())
    }

    /// Counts a group in before its positions are written.
    pub(super) fn enter_group(&mut self, shared: &Shared, group: &str) -> Result<(), LogError> {
        let Stage::Open { groups, .. } = self.open(shared)? else { return Ok(()) };
        if !groups.iter().any(|known| known == group) {
            groups.push(group.to_owned());
        }
        Ok(())
    }

    /// Opens a transaction if none is. The markers of the last one come first: a producer waits for them.
    fn open(&mut self, shared: &Shared) -> Result<&mut Stage, LogError> {
        if !matches!(self.stage, Stage::Open { .. }) {
            self.complete(shared)?;
            let deadline = Timestamp::from_millis(shared.clock.now().as_millis().saturating_add(millis(self.timeout)));
            let writer = shared.transactions.opened.fetch_add(1, Ordering::SeqCst) + 1;
            shared.storage.note(|| Entry::Opened { writer, id: (*self.id).to_owned(), deadline })?;
            self.writer = writer;
            self.stage = Stage::Open { deadline, records: BTreeMap::new(), groups: Vec::new() };
            shared.deadlines.add(deadline);
        }
        Ok(&mut self.stage)
    }

    /// Decides the open transaction, if there is one, and writes its markers unless they are held.
    pub(super) fn end(&mut self, shared: &Shared, committed: bool) -> Result<(), LogError> {
        if !matches!(self.stage, Stage::Open { .. }) {
            return Ok(());
        }
        reached("log.end");
        shared.storage.note(|| Entry::Decided { writer: self.writer, committed })?;
        reached("log.prepare");
        self.decide(shared, committed);
        // Nobody may see what could still be lost. That something is aborted is the same without a decision.
        if committed && let Err(error) = shared.storage.settle() {
            tracing::warn!(%error, id = &*self.id, "whether the transaction is committed is not known before the log is opened again");
            return Err(LogError::CommitUnknown(self.id.clone()));
        }
        if !shared.transactions.held.load(Ordering::SeqCst)
            && let Err(error) = self.complete(shared)
        {
            // It is decided. Whoever keeps the time tries again, and so does the next transaction of the id.
            tracing::warn!(%error, id = &*self.id, "the markers of a transaction have to wait");
            shared.deadlines.add(shared.clock.now() + AGAIN);
        }
        reached("log.answer");
        Ok(())
    }

    fn decide(&mut self, shared: &Shared, committed: bool) {
        let Stage::Open { records, groups, .. } = &mut self.stage else { return };
        let offsets = std::mem::take(groups).into_iter().map(Marker::Offsets);
        let markers = offsets.chain(std::mem::take(records).into_values().map(Marker::Records)).collect();
        let turn = shared.transactions.decided.fetch_add(1, Ordering::SeqCst);
        self.stage = Stage::Decided { turn, committed, markers };
    }

    fn complete(&mut self, shared: &Shared) -> Result<(), LogError> {
        while self.write(shared, 0)? {}
        Ok(())
    }

    /// Writes one of the markers that wait; false if there is no such.
    fn write(&mut self, shared: &Shared, nth: usize) -> Result<bool, LogError> {
        let Stage::Decided { committed, markers, .. } = &mut self.stage else { return Ok(false) };
        if !markers.is_empty() {
            reached("log.marker");
        }
        match markers.get(nth) {
            Some(Marker::Records(partition)) => partition.mark(self.writer, *committed, shared.clock.now())?,
            Some(Marker::Offsets(name)) => shared.settle_positions(name, self.writer, *committed)?,
            None => {}
        }
        let written = markers.remove(nth).is_some();
        if markers.is_empty() {
            self.stage = Stage::Idle;
            shared.storage.finished(self.writer);
        }
        Ok(written)
    }

    fn pending(&self) -> Option<(u64, Vec<PendingMarker>)> {
        let Stage::Decided { turn, committed, markers } = &self.stage else { return None };
        let pending = |marker: &Marker| PendingMarker {
            transactional_id: (*self.id).to_owned(),
            place: match marker {
                Marker::Records(partition) => MarkerPlace::Records(partition.name().clone()),
                Marker::Offsets(group) => MarkerPlace::Offsets(group.clone()),
            },
            committed: *committed,
        };
        Some((*turn, markers.iter().map(pending).collect()))
    }

    /// Aborts the transaction if its time is over, and fences its producer; else says when that will be. Markers that found no room are tried again.
    fn expire(&mut self, shared: &Shared, now: Timestamp) {
        let deadline = match self.stage {
            Stage::Open { deadline, .. } => deadline,
            Stage::Decided { .. } if !shared.transactions.held.load(Ordering::SeqCst) => return self.catch_up(shared, now),
            Stage::Decided { .. } | Stage::Idle => return,
        };
        if now < deadline {
            shared.deadlines.add(deadline);
            return;
        }
        let fenced = self.note(shared, self.epoch + 1, Some(self.epoch), self.timeout);
        if let Err(error) = fenced.and_then(|()| self.end(shared, false)) {
            tracing::warn!(%error, id = &*self.id, "a transaction that is open for too long cannot be aborted yet");
            shared.deadlines.add(now + AGAIN);
        }
    }

    /// Writes the markers of a decision that is safe, as far as there is room.
    fn catch_up(&mut self, shared: &Shared, now: Timestamp) {
        if let Err(error) = shared.storage.settle().and_then(|()| self.complete(shared)) {
            tracing::warn!(%error, id = &*self.id, "the markers of a transaction still have to wait");
            shared.deadlines.add(now + AGAIN);
        }
    }
}
