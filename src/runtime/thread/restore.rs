//! Reading a store back from its changelog, piece by piece, while other tasks of the thread run.

use std::sync::Arc;

use crate::error::{BoxError, Error, ErrorKind, Place};
use crate::kafka::{Consumer, FetchLimit, Isolation};
use crate::record::{TaskId, TopicPartition};
use crate::runtime::board::{Board, RestoreProgress};
use crate::runtime::task::Task;
use crate::runtime::thread::arena::Arena;
use crate::state::{ChangelogRecord, StoreControl, TaskLease};

/// What one step may read.
const STEP: FetchLimit = FetchLimit { records: 10_000, bytes: 4 << 20 };

/// One store on its way back.
pub(super) struct StoreRestore {
    store: Arc<str>,
    control: Arc<dyn StoreControl>,
    partition: TopicPartition,
    begin: i64,
    next: i64,
    end: i64,
    records: u64,
}

/// What one step came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The store is complete.
    Done,
    /// It came nearer to its end.
    Moved,
    /// Nothing can be read now: a transaction is undecided.
    Waits,
}

/// Begins to restore every store of a task that has a changelog with something in it.
///
/// The end is the high watermark and not the last stable offset: a transaction may be committed before its marker is written.
pub(super) fn begin(task: &Task, lease: &TaskLease, id: TaskId, consumer: &mut dyn Consumer) -> Result<Vec<StoreRestore>, Error> {
    let mut restores = Vec::new();
    for store in task.stores() {
        let Some(changelog) = &store.changelog else { continue };
        let partition = TopicPartition::new(changelog.clone(), id.partition);
        let of = std::slice::from_ref(&partition);
        let begin = consumer.begin_offsets(of)?.first().copied().unwrap_or(0);
        let end = consumer.end_offsets(of, Isolation::ReadUncommitted)?.first().copied().unwrap_or(0);
        if let Some(why) = misfit(&*store.control, begin, end) {
            lease.rebuilt(&store.name, &why);
            store.control.wipe().map_err(|error| corrupt(&partition, begin, error.into()))?;
        }
        let next = store.control.offset().unwrap_or(begin);
        if next < end {
            consumer.assign(&[(partition.clone(), next)])?;
            tracing::info!(task = %id, store = &*store.name, from = next, to = end, "restoring");
            restores.push(StoreRestore {
                store: store.name.clone(),
                control: store.control.clone(),
                partition,
                begin: next,
                next,
                end,
                records: 0,
            });
        }
    }
    Ok(restores)
}

/// Why the rows of a store cannot be what its changelog says, if so.
fn misfit(store: &dyn StoreControl, begin: i64, end: i64) -> Option<String> {
    match store.offset() {
        Some(offset) if offset < begin => {
            Some(format!("its rows stand for the changelog up to offset {offset}, and what follows was deleted up to {begin}"))
        }
        Some(offset) if offset > end => Some(format!(
            "its rows stand for the changelog up to offset {offset}, and that ends at {end}: it is another one, or lost records"
        )),
        None if store.approximate_rows() > 0 => Some("nothing says how much of the changelog its rows stand for".to_owned()),
        _ => None,
    }
}

fn corrupt(partition: &TopicPartition, offset: i64, source: BoxError) -> Error {
    let topic = Some(partition.topic.to_string());
    let place = Place { topic, partition: Some(partition.partition), offset: Some(offset), ..Place::default() };
    Error::new(ErrorKind::CorruptState, place, source)
}

impl StoreRestore {
    /// Reads one piece.
    pub(super) fn step(&mut self, id: TaskId, consumer: &mut dyn Consumer, buffer: &mut Arena, board: &Board) -> Result<Step, Error> {
        buffer.clear();
        let fetched = consumer.fetch(&self.partition, STEP, &mut |raw| buffer.push_raw(&raw))?;
        let records: Vec<ChangelogRecord<'_>> = buffer
            .iter()
            .map(|record| ChangelogRecord {
                key: record.key.unwrap_or_default(),
                value: record.value,
                timestamp: record.timestamp,
                headers: record.headers,
            })
            .collect();
        self.control.restore(&records, fetched.next_offset).map_err(|error| corrupt(&self.partition, self.next, error.into()))?;
        self.records += records.len() as u64;
        let moved = fetched.next_offset > self.next;
        self.next = fetched.next_offset;
        let done = self.next >= self.end;
        if done {
            consumer.unassign(std::slice::from_ref(&self.partition));
            tracing::info!(task = %id, store = &*self.store, records = self.records, "restored");
        }
        let Self { store, begin, records, next, end, .. } = self;
        board.restored(&RestoreProgress { task: id, store: store.clone(), begin: *begin, records: *records, position: *next, end: *end });
        Ok(match () {
            () if done => Step::Done,
            () if moved => Step::Moved,
            () => Step::Waits,
        })
    }

    /// How many were read so far.
    pub(super) fn records(&self) -> u64 {
        self.records
    }

    pub(super) fn partition(&self) -> &TopicPartition {
        &self.partition
    }
}
