//! Reading the stores of a task back from their changelogs.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::errand::{Errand, Step, Tools};
use crate::config::LostChangelog;
use crate::error::{BoxError, Error, ErrorKind, Place};
use crate::failpoint;
use crate::kafka::{FetchLimit, Group, Isolation, LogError};
use crate::record::{TaskId, Timestamp, TopicPartition};
use crate::runtime::board::RestoreProgress;
use crate::runtime::identity::CHANGELOG_ADVICE;
use crate::state::{ChangelogRecord, StoreControl};

/// What one piece may hold: read in one fetch, and written in one batch together with the offset it reaches to. Where the kill table ends the
/// process between two pieces there are to be many of them; the tests of this room want those of everybody.
const PIECE: FetchLimit = FetchLimit { records: if cfg!(all(feature = "failpoints", not(test))) { 10 } else { 10_000 }, bytes: 4 << 20 };

/// A transaction that is not decided for so long is told to the operator: a coordinator looks every ten seconds for those that have timed out.
const LONG: Duration = Duration::from_secs(30);

/// A store to be restored.
pub(crate) struct StoreOrder {
    pub(crate) name: Arc<str>,
    pub(crate) control: Arc<dyn StoreControl>,
    pub(crate) changelog: TopicPartition,
    /// What is known of the changelog.
    pub(crate) standing: Standing,
    /// What follows if it does not hold the state any more.
    pub(crate) on_lost: LostChangelog,
    /// The state is to be forgotten: instead of its rows the keys are read that have one.
    pub(crate) forget: bool,
}

/// What is known of a changelog.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    /// The task has committed before: what is in the changelog belongs to its positions. If not, it begins with whatever is there.
    pub(crate) committed: bool,
    /// It is not the one that the last commit wrote to.
    pub(crate) remade: bool,
    /// Nothing is ever deleted from it but by later records of the same key.
    pub(crate) whole: bool,
    /// It deletes records by age, and may have deleted some that still count.
    pub(crate) outlived: bool,
}

/// What was restored.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Restored {
    /// Stores whose rows could not be what their changelog says, and why: they were read from the beginning.
    pub(crate) rebuilt: Vec<(Arc<str>, String)>,
    /// Changelog records read, all stores taken together.
    pub(crate) records: u64,
    /// Changelogs of stores that were forgotten, with the keys for which they have something.
    pub(crate) forgotten: Vec<(Arc<str>, BTreeSet<Vec<u8>>)>,
}

/// All stores of a task.
pub(super) struct Stores {
    task: TaskId,
    stores: Vec<OneStore>,
    restored: Restored,
    /// Something had to be read.
    behind: bool,
}

/// One of them on its way.
struct OneStore {
    order: StoreOrder,
    /// None until its changelog was looked at.
    stage: Option<Reading>,
    /// What is missing in its changelog was told.
    told: bool,
    /// Of a store to be forgotten: what its changelog has so far.
    keys: BTreeSet<Vec<u8>>,
    complete: bool,
}

struct Reading {
    begin: i64,
    next: i64,
    end: i64,
    records: u64,
    since: Timestamp,
    /// When it was told last that nothing comes, or when something came.
    heard: Timestamp,
}

impl Stores {
    pub(super) fn new(task: TaskId, orders: Vec<StoreOrder>) -> Self {
        let stores =
            orders.into_iter().map(|order| OneStore { order, stage: None, told: false, keys: BTreeSet::new(), complete: false }).collect();
        Stores { task, stores, restored: Restored::default(), behind: false }
    }
}

impl Errand for Stores {
    type Found = Restored;

    fn step(&mut self, tools: &mut Tools<'_>) -> Result<Step<Restored>, Error> {
        let mut moved = false;
        for store in self.stores.iter_mut().filter(|store| !store.complete) {
            moved |= store.step(self.task, tools, &mut self.restored)?;
        }
        if !self.behind && self.stores.iter().any(|store| !store.complete) {
            self.behind = true;
            failpoint::reached("restore.begin");
        }
        if self.stores.iter().any(|store| !store.complete) {
            return Ok(if moved { Step::Moved } else { Step::Waits });
        }
        if self.behind {
            failpoint::reached("restore.done");
        }
        Ok(Step::Done(std::mem::take(&mut self.restored)))
    }

    fn leave(&mut self, client: &mut dyn Group) {
        for OneStore { order, .. } in self.stores.iter().filter(|store| !store.complete && store.stage.is_some()) {
            if let Err(error) = order.control.loaded() {
                tracing::warn!(task = %self.task, store = &*order.name, %error, "what was restored last is restored again");
            }
        }
        let read: Vec<TopicPartition> =
            self.stores.iter().filter(|store| !store.complete).map(|store| store.order.changelog.clone()).collect();
        client.unassign(&read);
    }
}

impl OneStore {
    /// A piece of it; true if anything came of it.
    fn step(&mut self, task: TaskId, tools: &mut Tools<'_>, restored: &mut Restored) -> Result<bool, Error> {
        match self.stage {
            None => self.begin(task, tools, restored),
            Some(_) => self.read(task, tools, restored),
        }
    }

    /// Looks how much there is to read.
    ///
    /// The end is the high watermark and not the last stable offset: a transaction may be committed before its marker is written.
    fn begin(&mut self, task: TaskId, tools: &mut Tools<'_>, restored: &mut Restored) -> Result<bool, Error> {
        let StoreOrder { name, control, changelog, .. } = &self.order;
        let of = std::slice::from_ref(changelog);
        let first = tools.client.begin_offsets(of)?.first().copied().unwrap_or(0);
        let end = tools.client.end_offsets(of, Isolation::ReadUncommitted)?.first().copied().unwrap_or(0);
        if self.order.forget {
            control.wipe().map_err(|error| corrupt(changelog, first, error.into()))?;
            self.keys.clear();
        }
        let lost = lost(self.order.standing, control.offset(), first, end).filter(|_| !std::mem::replace(&mut self.told, true));
        if let (Some(why), LostChangelog::Fail) = (&lost, self.order.on_lost) {
            return Err(not_whole(changelog, why));
        }
        if let Some(why) = lost.or_else(|| misfit(&**control, first, end)) {
            control.wipe().map_err(|error| corrupt(changelog, first, error.into()))?;
            restored.rebuilt.push((name.clone(), why));
        }
        let next = control.offset().unwrap_or(first);
        self.complete = next >= end;
        if !self.complete {
            tools.client.assign(&[(changelog.clone(), next)])?;
            tracing::info!(%task, store = &**name, from = next, to = end, "restoring");
        }
        self.stage = Some(Reading { begin: next, next, end, records: 0, since: tools.now, heard: tools.now });
        Ok(true)
    }

    fn read(&mut self, task: TaskId, tools: &mut Tools<'_>, restored: &mut Restored) -> Result<bool, Error> {
        let (StoreOrder { name, control, changelog, .. }, Some(reading)) = (&self.order, &mut self.stage) else { return Ok(false) };
        let Some(bytes) = tools.board.restore_rate.next_piece(PIECE.bytes, tools.now) else {
            reading.heard = tools.now; // it is us who wait
            return Ok(false);
        };
        tools.buffer.clear();
        let (buffer, piece) = (&mut *tools.buffer, FetchLimit { bytes, ..PIECE });
        let fetched = match tools.client.fetch(changelog, piece, &mut |raw| buffer.push_raw(&raw)) {
            Err(LogError::OffsetOutOfRange { .. }) => {
                // Deleted while it was read. The rows are looked at again, and found wanting.
                self.stage = None;
                return Ok(true);
            }
            fetched => fetched?,
        };
        let records: Vec<ChangelogRecord<'_>> = buffer
            .iter()
            .map(|record| ChangelogRecord {
                key: record.key.unwrap_or_default(),
                value: record.value,
                timestamp: record.timestamp,
                headers: record.headers,
            })
            .collect();
        let moved = fetched.next_offset > reading.next;
        tools.board.restore_rate.pay(buffer.bytes(), tools.now);
        if self.order.forget {
            note_keys(&mut self.keys, &records);
        } else if moved {
            control.restore(&records, fetched.next_offset).map_err(|error| corrupt(changelog, reading.next, error.into()))?;
            failpoint::reached("restore.step");
        }
        reading.records += records.len() as u64;
        restored.records += if self.order.forget { 0 } else { records.len() as u64 };
        reading.next = fetched.next_offset;
        if moved {
            reading.heard = tools.now;
        } else if tools.now >= reading.heard + LONG {
            reading.heard = tools.now;
            tools.board.outages.begin(tools.name, &undecided(changelog, reading));
        }
        self.complete = reading.next >= reading.end;
        if self.complete {
            control.loaded().map_err(|error| corrupt(changelog, reading.next, error.into()))?;
            tools.client.unassign(std::slice::from_ref(changelog));
            if self.order.forget {
                restored.forgotten.push((changelog.topic.clone(), std::mem::take(&mut self.keys)));
            }
            tracing::info!(%task, store = &**name, records = reading.records, "restored");
        }
        if moved || self.complete {
            tools.board.restored(&reading.progress(task, name, tools.now));
        }
        Ok(moved || self.complete)
    }
}

/// Which keys have something after these records.
fn note_keys(keys: &mut BTreeSet<Vec<u8>>, records: &[ChangelogRecord<'_>]) {
    for record in records {
        match record.value {
            Some(_) => drop(keys.insert(record.key.to_vec())),
            None => drop(keys.remove(record.key)),
        }
    }
}

impl Reading {
    fn progress(&self, task: TaskId, store: &Arc<str>, now: Timestamp) -> RestoreProgress {
        let elapsed = Duration::from_millis(now.as_millis().saturating_sub(self.since.as_millis()).max(0).unsigned_abs());
        let Reading { begin, next, end, records, .. } = *self;
        RestoreProgress { task, store: store.clone(), begin, records, position: next, end, elapsed }
    }
}

/// Why a changelog that has records from `begin` to `end` does not hold the state, if so. `offset`: what the local rows stand for.
fn lost(standing: Standing, offset: Option<i64>, begin: i64, end: i64) -> Option<String> {
    match offset {
        _ if !standing.committed => None,
        _ if standing.remade => Some("was deleted and made again since the last commit".to_owned()),
        Some(offset) if offset > end => {
            Some(format!("has lost records at its end: the local state knows it up to {offset}, and it ends at {end}"))
        }
        _ if standing.whole && offset.unwrap_or(0) < begin => Some(match offset {
            Some(offset) => format!("was cut off at {begin}: the local state knows it up to {offset}"),
            None => format!("was cut off at {begin}, and there is no local state"),
        }),
        _ if standing.outlived && offset.unwrap_or(0) < begin => Some(format!(
            "was cut off at {begin} by its `retention.ms`, which goes by the wall clock, and the application is so far behind it that windows were \
             deleted which still count"
        )),
        _ => None,
    }
}

/// What is written and does not come.
fn undecided(changelog: &TopicPartition, reading: &Reading) -> String {
    let Reading { next, end, .. } = *reading;
    format!(
        "`{changelog}` ends at {end}, and what it has from {next} on belongs to a transaction that nobody has ended. If this lasts, \
         `kafka-transactions.sh find-hanging` names it and `abort` ends it"
    )
}

fn not_whole(changelog: &TopicPartition, why: &str) -> Error {
    let text = format!("the changelog `{changelog}` {why}: it does not hold the state of the task any more. {CHANGELOG_ADVICE}");
    let place = Place { topic: Some(changelog.topic.to_string()), partition: Some(changelog.partition), ..Place::default() };
    Error::new(ErrorKind::InvalidConfig, place, text.into())
}

/// Why the rows of a store cannot be what its changelog says, if so.
fn misfit(store: &dyn StoreControl, begin: i64, end: i64) -> Option<String> {
    match store.offset() {
        Some(offset) if offset < begin => {
            Some(format!("its rows stand for the changelog up to offset {offset}, and what follows was deleted up to {begin}"))
        }
        Some(offset) if offset > end => Some(format!("its rows stand for the changelog up to offset {offset}, and that ends at {end}")),
        None if store.approximate_rows() > 0 => Some("nothing says how much of the changelog its rows stand for".to_owned()),
        _ => None,
    }
}

fn corrupt(partition: &TopicPartition, offset: i64, source: BoxError) -> Error {
    let topic = Some(partition.topic.to_string());
    let place = Place { topic, partition: Some(partition.partition), offset: Some(offset), ..Place::default() };
    Error::new(ErrorKind::CorruptState, place, source)
}
