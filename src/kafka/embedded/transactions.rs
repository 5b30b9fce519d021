//! The transactional ids of a log: epochs, the open transaction of each, and its end in two steps, the decision and the markers.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::partition::Partition;
use super::verdicts::WriterNumber;
use super::{Shared, lock};
use crate::kafka::LogError;
use crate::record::{Timestamp, TopicPartition, millis};

/// All transactional ids.
///
/// Lock order: an id before groups and partitions; the list of ids alone.
#[derive(Debug, Default)]
pub(super) struct Transactions {
    ids: Mutex<BTreeMap<Arc<str>, Arc<Mutex<Ledger>>>>,
    decided: AtomicU64,
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
        let mut ids = lock(&self.ids);
        let writer = ids.len() as WriterNumber + 1;
        ids.entry(id.clone()).or_insert_with(|| Arc::new(Mutex::new(Ledger::new(id.clone(), writer)))).clone()
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
                return lock(&ledger).write(shared, nth);
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

    fn all(&self) -> Vec<Arc<Mutex<Ledger>>> {
        lock(&self.ids).values().cloned().collect()
    }
}

impl Ledger {
    fn new(id: Arc<str>, writer: WriterNumber) -> Self {
        Ledger { id, writer, epoch: 0, timed_out: None, timeout: Duration::ZERO, stage: Stage::Idle }
    }

    pub(super) fn writer(&self) -> WriterNumber {
        self.writer
    }

    /// Gives the id to a new producer, with nothing left undecided; its epoch.
    pub(super) fn take_over(&mut self, shared: &Shared, timeout: Duration) -> u32 {
        self.end(shared, false);
        self.complete(shared);
        self.epoch += 1;
        self.timeout = timeout;
        self.epoch
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
    pub(super) fn enter(&mut self, shared: &Shared, partition: &TopicPartition, log: &Arc<Partition>) {
        let Stage::Open { records, .. } = self.open(shared) else { return };
        // A topic deleted and made again is another one.
        if !records.get(partition).is_some_and(|known| Arc::ptr_eq(known, log)) {
            records.insert(partition.clone(), log.clone());
        }
    }

    /// Counts a group in before its positions are written.
    pub(super) fn enter_group(&mut self, shared: &Shared, group: &str) {
        let Stage::Open { groups, .. } = self.open(shared) else { return };
        if !groups.iter().any(|known| known == group) {
            groups.push(group.to_owned());
        }
    }

    /// Opens a transaction if none is. The markers of the last one come first: a producer waits for them.
    fn open(&mut self, shared: &Shared) -> &mut Stage {
        if !matches!(self.stage, Stage::Open { .. }) {
            self.complete(shared);
            let deadline = Timestamp::from_millis(shared.clock.now().as_millis().saturating_add(millis(self.timeout)));
            self.stage = Stage::Open { deadline, records: BTreeMap::new(), groups: Vec::new() };
            shared.deadlines.add(deadline);
        }
        &mut self.stage
    }

    /// Decides the open transaction, if there is one, and writes its markers unless they are held.
    pub(super) fn end(&mut self, shared: &Shared, committed: bool) {
        let Stage::Open { records, groups, .. } = &mut self.stage else { return };
        let offsets = std::mem::take(groups).into_iter().map(Marker::Offsets);
        let markers = offsets.chain(std::mem::take(records).into_values().map(Marker::Records)).collect();
        let turn = shared.transactions.decided.fetch_add(1, Ordering::SeqCst);
        self.stage = Stage::Decided { turn, committed, markers };
        if !shared.transactions.held.load(Ordering::SeqCst) {
            self.complete(shared);
        }
    }

    fn complete(&mut self, shared: &Shared) {
        while self.write(shared, 0) {}
    }

    /// Writes one of the markers that wait; false if there is no such.
    fn write(&mut self, shared: &Shared, nth: usize) -> bool {
        let Stage::Decided { committed, markers, .. } = &mut self.stage else { return false };
        let marker = markers.remove(nth);
        match &marker {
            Some(Marker::Records(partition)) => partition.mark(self.writer, *committed, shared.clock.now()),
            Some(Marker::Offsets(name)) => shared.group(name, |group| group.settle_positions(self.writer, *committed, shared.clock.now())),
            None => {}
        }
        if markers.is_empty() {
            self.stage = Stage::Idle;
        }
        marker.is_some()
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

    /// Aborts the transaction if its time is over, and fences its producer; else says when that will be.
    fn expire(&mut self, shared: &Shared, now: Timestamp) {
        let Stage::Open { deadline, .. } = self.stage else { return };
        if now < deadline {
            shared.deadlines.add(deadline);
            return;
        }
        self.timed_out = Some(self.epoch);
        self.epoch += 1;
        self.end(shared, false);
    }
}
