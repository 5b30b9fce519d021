//! A task with its inputs in the log: takes records from a consumer and runs them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::config::{Guarantee, MissingPosition, Settings};
use crate::error::{Error, ErrorKind, Fault, Flow, Place};
use crate::failpoint;
use crate::kafka::{Consumer, Isolation, LogError, Position};
use crate::processor::{Outgoing, Staged, Target};
use crate::record::{Headers, RawRecord, TaskId, Timestamp, TopicPartition};
use crate::runtime::board::{Board, Ends, TaskMeter, put};
use crate::runtime::identity::{Alteration, Identities, changelog_changed, input_changed};
use crate::runtime::plan::{Choice, TaskState, choose, lacks_positions};
use crate::runtime::restore::{Restored, Standing, Ticket};
use crate::runtime::task::{Announcements, Pass, Task};
use crate::runtime::thread::feed::{FETCH_RECORDS, Feed};
use crate::runtime::thread::gatekeeper::Passage;
use crate::runtime::thread::stint::Stint;
use crate::state::TaskLease;
use crate::watermark::{CommitMetadata, ControlRecord, Supply, entry};

/// A task of this thread.
pub(super) struct ActiveTask {
    pub(super) id: TaskId,
    pub(super) state: TaskState,
    pub(super) task: Task,
    pub(super) feeds: Vec<Feed>,
    /// Its stores, until they are complete.
    pub(super) restoring: Option<Ticket<Restored>>,
    pub(super) announcing: Option<Announcements>,
    /// Since when it stands still for an empty input.
    waiting: Option<Timestamp>,
    /// A close pass was cut: more is due.
    pub(super) more_to_close: bool,
    /// The end of its input was reached and told to the task.
    pub(super) ending: bool,
    /// What its gate said last.
    pub(super) passage: Passage,
    /// Records taken since the last commit.
    pub(super) taken: usize,
    /// It is known that nothing more will be written into its repartition topics.
    upstream_over: bool,
    /// Changelog records read back.
    pub(super) restored: u64,
    /// How often in a row its stores could not take over what is committed.
    pub(super) failed: u32,
    /// It forgets its state and begins with the records that are left of its inputs.
    pub(super) anew: bool,
    /// The largest time that was committed.
    last_time: Timestamp,
    /// What tells its changelogs from others of their names, as it is committed.
    changelog_ids: Vec<(String, i64)>,
    /// Changelogs that are not those that the last commit wrote to.
    remade: BTreeSet<Arc<str>>,
    pub(super) meter: Arc<TaskMeter>,
    /// Its hold on the rows of its stores.
    pub(super) lease: TaskLease,
}

impl ActiveTask {
    pub(super) fn new(id: TaskId, task: Task, lease: TaskLease, meter: Arc<TaskMeter>) -> Self {
        ActiveTask {
            id,
            state: TaskState::Created,
            task,
            feeds: Vec::new(),
            restoring: None,
            announcing: None,
            waiting: None,
            more_to_close: false,
            ending: false,
            passage: Passage::Asks(Timestamp::from_millis(i64::MIN)),
            taken: 0,
            upstream_over: false,
            restored: 0,
            failed: 0,
            anew: false,
            last_time: Timestamp::UNKNOWN,
            changelog_ids: Vec::new(),
            remade: BTreeSet::new(),
            meter,
            lease,
        }
    }

    /// Compares its changelogs with those that it was committed with.
    pub(super) fn identify(&mut self, identities: &Identities, stored: &[CommitMetadata]) {
        self.last_time = stored.iter().filter_map(|stored| stored.partition_time).max().unwrap_or(Timestamp::UNKNOWN);
        for changelog in self.task.stores().iter().filter_map(|store| store.changelog.clone()) {
            let Some(id) = identities.of(&changelog) else { continue };
            let name = entry::changelog(&changelog);
            if stored.iter().filter_map(|stored| stored.entries.get(&name)).any(|before| *before != id) {
                self.remade.insert(changelog);
            }
            self.changelog_ids.push((name, id));
        }
    }

    /// What is known of a changelog of the task.
    pub(super) fn standing(&self, identities: &Identities, changelog: &str, now: Timestamp) -> Standing {
        let committed = self.feeds.iter().any(|feed| feed.committed.is_some());
        let outlived = identities.has_outlived(changelog, self.last_time, now);
        Standing { committed, remade: self.remade.contains(changelog), whole: identities.is_whole(changelog), outlived }
    }

    /// The first of its topics that is not what it was.
    pub(super) fn altered(&self, altered: &BTreeMap<String, Alteration>) -> Option<Error> {
        let changelogs = || self.task.stores().iter().filter_map(|store| store.changelog.clone());
        // Without state it goes on with what it reads; whoever starts next reads all.
        let matters = |alteration: &Alteration| !matches!(alteration, Alteration::Widened { .. }) || changelogs().next().is_some();
        let input = self.feeds.iter().find_map(|feed| {
            let alteration = altered.get(&*feed.partition.topic).filter(|alteration| matters(alteration))?;
            Some(input_changed(&feed.partition, *alteration))
        });
        input.or_else(|| {
            changelogs().find_map(|changelog| {
                let alteration = altered.get(&*changelog)?;
                Some(changelog_changed(&TopicPartition::new(changelog, self.id.partition), *alteration))
            })
        })
    }

    /// A changelog whose records are acknowledged below what the store knows already: it is another one.
    pub(super) fn overwritten(&self, acked: &BTreeMap<TopicPartition, i64>) -> Option<Error> {
        self.task.stores().iter().find_map(|store| {
            let partition = TopicPartition::new(store.changelog.clone()?, self.id.partition);
            let last = acked.get(&partition)?;
            store.control.offset().filter(|offset| last < offset).map(|_| changelog_changed(&partition, Alteration::Remade))
        })
    }

    /// The next state, told to the board.
    pub(super) fn become_state(&mut self, state: TaskState, board: &Board) {
        debug_assert!(self.state.may_become(state), "{}: {:?} to {state:?}", self.id, self.state);
        self.state = state;
        board.set_task(self.id, state);
    }

    /// Whether it takes part in commits. A finished task has nothing left to commit.
    pub(super) fn commits(&self) -> bool {
        self.state == TaskState::Running
    }

    /// Whether more is waiting to be read than was taken since the last commit.
    pub(super) fn is_behind(&self) -> bool {
        let waiting = |feed: &Feed| feed.end().map_or(0, |end| end.saturating_sub(feed.position()).max(0));
        self.feeds.iter().map(waiting).sum::<i64>() > i64::try_from(self.taken).unwrap_or(i64::MAX)
    }

    pub(super) fn partitions(&self) -> Vec<TopicPartition> {
        self.feeds.iter().map(|feed| feed.partition.clone()).collect()
    }

    /// The declared ends of its source partitions.
    pub(super) fn end_at(&mut self, ends: &Ends) {
        for feed in self.feeds.iter_mut().filter(|feed| !feed.internal) {
            feed.end_at(ends.get(&feed.partition).copied().unwrap_or(0));
        }
    }

    /// One round: what the stint allows, the clock, what the watermark closes. Tells how many records were taken. `upstream_finished`:
    /// nothing more will come from repartition topics than is there already.
    pub(super) fn round(
        &mut self,
        consumer: &mut dyn Consumer,
        now: Timestamp,
        max_idle: Duration,
        upstream_finished: bool,
        stint: &mut Stint<'_>,
    ) -> Result<usize, Error> {
        if upstream_finished && !self.upstream_over {
            self.end_repartition_topics(consumer)?;
        }
        // A pass that was cut goes on before anything new is taken, so that what is kept back stays bounded.
        let taken = match (self.more_to_close, self.feeds.len()) {
            (true, _) => 0,
            (false, 1) => self.run_direct(consumer, now, stint)?,
            (false, _) => self.run_by_time(consumer, now, max_idle, stint)?,
        };
        self.taken += taken;
        if self.upstream_over && !self.ending && self.inputs_are_over() {
            self.ending = true;
            self.task.finish();
        }
        for feed in &mut self.feeds {
            // What cannot be taken now must not end a poll.
            feed.pause(consumer, !feed.is_empty() || feed.is_barred())?;
        }
        if taken > 0 {
            failpoint::reached("round.taken");
        }
        self.more_to_close = self.task.close_due()? != Pass::Through;
        if self.more_to_close {
            failpoint::reached("close_pass.cut");
        }
        self.publish();
        Ok(taken)
    }

    /// What is in the repartition topics now is all that they will bring. Its last records may belong to a transaction that is committed and not
    /// to be read yet, so the end is the high watermark.
    fn end_repartition_topics(&mut self, consumer: &mut dyn Consumer) -> Result<(), Error> {
        for feed in self.feeds.iter_mut().filter(|feed| feed.internal) {
            let ends = consumer.end_offsets(std::slice::from_ref(&feed.partition), Isolation::ReadUncommitted)?;
            feed.end_at(ends.first().copied().unwrap_or(0));
        }
        self.upstream_over = true;
        Ok(())
    }

    fn inputs_are_over(&self) -> bool {
        self.feeds.iter().all(Feed::is_over)
    }

    /// One input: nothing to compare, so records go from the fetch straight through the task.
    fn run_direct(&mut self, consumer: &mut dyn Consumer, now: Timestamp, stint: &mut Stint<'_>) -> Result<usize, Error> {
        let ActiveTask { task, feeds, .. } = self;
        let feed = &mut feeds[0];
        let (mut taken, mut outcome) = (0, Ok(()));
        if let Some(limit) = feed.limit(stint.most()) {
            let internal = feed.internal;
            let fetched = feed.fetch(consumer, limit, &mut |raw| {
                if taken == 0 {
                    failpoint::reached("round.read");
                    task.supply(0, Supply::Ready);
                    outcome = task.advance(now).map_err(Fault::from);
                }
                taken += 1;
                if outcome.is_ok() {
                    outcome = run_one(task, internal, raw);
                }
                outcome.is_ok() && !stint.is_over(taken)
            })?;
            outcome?;
            feed.passed(fetched.next_offset, fetched.end);
        }
        task.supply(0, feed.supply());
        if taken == 0 {
            task.advance(now)?;
        }
        self.meter.inputs[0].records.fetch_add(taken as u64, Ordering::Relaxed);
        Ok(taken)
    }

    /// Several inputs: the lowest head first.
    fn run_by_time(
        &mut self,
        consumer: &mut dyn Consumer,
        now: Timestamp,
        max_idle: Duration,
        stint: &mut Stint<'_>,
    ) -> Result<usize, Error> {
        for input in 0..self.feeds.len() {
            self.fill(input, consumer)?;
        }
        self.task.advance(now)?;
        let mut taken = 0;
        while !stint.is_over(taken) {
            taken += self.stage_heads(consumer)?;
            match choose(self.feeds.iter().map(Feed::front), self.waiting, now, max_idle) {
                Choice::Take(input) => {
                    self.take(input)?;
                    taken += 1;
                    self.waiting = None;
                }
                Choice::Wait => {
                    self.waiting.get_or_insert(now);
                    break;
                }
                Choice::Nothing => {
                    self.waiting = None;
                    break;
                }
            }
        }
        Ok(taken)
    }

    /// Decodes the head of each input that has none, past what never becomes a record to process; gives how many of those there were.
    fn stage_heads(&mut self, consumer: &mut dyn Consumer) -> Result<usize, Error> {
        let mut passed = 0;
        for input in 0..self.feeds.len() {
            while self.feeds[input].staged.is_none() {
                if self.feeds[input].is_empty() && (self.feeds[input].at_end() || !self.fill(input, consumer)?) {
                    break;
                }
                if !self.stage_head(input)? {
                    passed += 1;
                    self.pop(input);
                }
            }
        }
        Ok(passed)
    }

    /// False if the head is not a record to process.
    fn stage_head(&mut self, input: usize) -> Result<bool, Error> {
        let ActiveTask { task, feeds, .. } = self;
        let feed = &mut feeds[input];
        let Some(head) = feed.head() else { return Ok(true) };
        let raw = head.raw(&feed.partition);
        if feed.internal && announced(task, input, &raw)? {
            return Ok(false);
        }
        match task.stage(input, raw)? {
            Staged::Ready(at) => feed.staged = Some(at),
            Staged::Dropped => return Ok(false),
        }
        Ok(true)
    }

    fn take(&mut self, input: usize) -> Result<(), Error> {
        // What else waits is said before the record moves the clock.
        let last = self.feeds[input].is_last();
        let supply = if !last {
            Supply::Ready
        } else if self.feeds[input].at_end() {
            Supply::Exhausted
        } else {
            Supply::Withheld
        };
        self.task.supply(input, supply);
        self.task.run(input)?;
        self.pop(input);
        Ok(())
    }

    fn pop(&mut self, input: usize) {
        self.feeds[input].pop();
        self.meter.inputs[input].records.fetch_add(1, Ordering::Relaxed);
    }

    /// Fetches for an empty input; tells whether it has records now.
    fn fill(&mut self, input: usize, consumer: &mut dyn Consumer) -> Result<bool, Error> {
        let ActiveTask { task, feeds, .. } = self;
        let feed = &mut feeds[input];
        if feed.is_empty()
            && let Some(limit) = feed.limit(FETCH_RECORDS)
        {
            feed.refill(consumer, limit)?;
            failpoint::reached("round.read");
        }
        task.supply(input, feed.supply());
        Ok(!feed.is_empty())
    }

    /// After an error that may pass: the consumer goes on from what the task has.
    pub(super) fn seek_back(&self, consumer: &mut dyn Consumer) -> Result<(), LogError> {
        for feed in &self.feeds {
            match consumer.seek(&feed.partition, feed.fetched()) {
                // There is nothing to go on with.
                Ok(()) | Err(LogError::NotAssigned(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Shows where it stands.
    fn publish(&self) {
        let meter = &self.meter;
        put(&meter.watermark, self.task.watermark().map_or(i64::MIN, Timestamp::as_millis));
        put(&meter.stream_time, self.task.stream_time().as_millis());
        for (feed, meter) in self.feeds.iter().zip(&meter.inputs) {
            put(&meter.position, feed.position());
            put(&meter.end, feed.end().unwrap_or(-1));
            meter.lost.store(feed.lost(), Ordering::Relaxed);
        }
    }

    /// Positions with what is known of time, of those inputs that have something new to say (a change of the clock alone is
    /// something), or nothing new for so long that the broker might forget them; or of all, if the group is to say whether they are still ours.
    /// Of a task that does not run, what is committed is all that there is to say.
    pub(super) fn positions(&self, now: Timestamp, all: bool) -> Vec<(usize, Position)> {
        let due = |(input, feed): (usize, &Feed)| {
            let stands = match self.commits() {
                true => Position { offset: feed.position(), metadata: self.metadata(input) },
                false => feed.committed.clone()?,
            };
            (all || feed.committed.as_ref() != Some(&stands) || feed.is_forgotten_soon(now)).then_some((input, stands))
        };
        self.feeds.iter().enumerate().filter_map(due).collect()
    }

    /// Whether it may begin without the positions that are not there.
    pub(super) fn check_positions(&self, settings: &Settings) -> Result<(), Error> {
        let missing = || self.feeds.iter().filter(|feed| feed.committed.is_none());
        let state =
            self.restored > 0 || self.task.stores().iter().any(|store| store.changelog.is_some() && store.control.approximate_rows() > 0);
        let atomic = settings.guarantee == Guarantee::ExactlyOnce;
        if self.anew
            || settings.on_missing_position == MissingPosition::Reset
            || !lacks_positions(self.feeds.len(), missing().count(), state, atomic)
        {
            return Ok(());
        }
        let first = missing().next().map(|feed| feed.partition.clone());
        let name = first.as_ref().map(TopicPartition::to_string).unwrap_or_default();
        let text = format!(
            "`{name}` has no committed position, and the task has state: how much of this input it stands for is not known. Commit a position, delete \
             the changelogs and the local state, or set `on_missing_position` to `Reset`"
        );
        let (topic, partition) = (first.as_ref().map(|one| one.topic.to_string()), first.as_ref().map(|one| one.partition));
        Err(Error::new(ErrorKind::InvalidConfig, Place { topic, partition, ..Place::default() }, text.into()))
    }

    /// Says in its changelogs that nothing is under these keys any more, as the first thing that it does.
    pub(super) fn forget(&mut self, forgotten: &[(Arc<str>, BTreeSet<Vec<u8>>)]) -> Result<(), Error> {
        let headers = Headers::default();
        for (changelog, keys) in forgotten {
            let output = self.task.output();
            let slot = output.topic(changelog);
            for key in keys {
                let (key, timestamp, target) = (Some(key.as_slice()), Timestamp::UNKNOWN, Target::OwnPartition);
                let sent = output.send(slot, Outgoing { key, value: None, timestamp, headers: &headers, target });
                sent.map_err(|error| Error::new(ErrorKind::Log, Place::default(), error))?;
            }
            tracing::warn!(task = %self.id, changelog = &**changelog, keys = keys.len(), "records were deleted before they were read: the state is forgotten, and the task begins anew");
        }
        self.drain()
    }

    /// The record at which it stands, or stood when it last took one.
    pub(super) fn next_record(&self) -> Place {
        let Some(feed) = self.feeds.first() else { return Place::default() };
        let offset = feed.committed.as_ref().map(|position| position.offset);
        Place { topic: Some(feed.partition.topic.to_string()), partition: Some(feed.partition.partition), offset, ..Place::default() }
    }

    fn metadata(&self, input: usize) -> String {
        let mut metadata = self.task.metadata(input);
        if self.announcing.as_ref().is_some_and(Announcements::said_idle) {
            metadata.entries.insert(entry::SENT_IDLE.to_owned(), 1);
        }
        metadata.entries.extend(self.feeds[input].id.map(|id| (entry::TOPIC.to_owned(), id)));
        metadata.entries.extend(self.changelog_ids.iter().cloned());
        metadata.encode()
    }

    /// These positions are written down, and are to be again at the latest then.
    pub(super) fn committed(&mut self, positions: &[(usize, Position)], again_at: Timestamp) {
        for (input, position) in positions {
            self.feeds[*input].is_committed(position.clone(), again_at);
        }
        self.taken = 0;
    }

    /// Commit step 3: control records behind the data, if something is to be announced now.
    pub(super) fn announce(&mut self, now: Timestamp) -> Result<(), Error> {
        let ActiveTask { task, announcing, more_to_close, .. } = self;
        // While a close pass is cut, older results are still to come.
        match announcing.as_mut().filter(|_| !*more_to_close) {
            Some(announcing) => announcing.announce(task, now).map(|_| ()),
            None => Ok(()),
        }
    }

    /// What its collector keeps goes to the producer.
    pub(super) fn drain(&mut self) -> Result<(), Error> {
        self.task.output().drain().map_err(|error| Error::new(ErrorKind::Log, Place::default(), error))
    }
}

/// A record straight out of a fetch.
fn run_one(task: &mut Task, internal: bool, raw: RawRecord<'_>) -> Flow {
    if internal && announced(task, 0, &raw)? {
        return Ok(());
    }
    match task.stage(0, raw)? {
        Staged::Ready(_) => task.run(0),
        Staged::Dropped => Ok(()),
    }
}

/// Whether it was a control record, which never reaches a source.
fn announced(task: &mut Task, input: usize, raw: &RawRecord<'_>) -> Result<bool, Error> {
    let Some(read) = ControlRecord::read(raw) else { return Ok(false) };
    let record = read.map_err(|error| {
        let place =
            Place { topic: Some(raw.topic.to_owned()), partition: Some(raw.partition), offset: Some(raw.offset), ..Place::default() };
        Error::new(ErrorKind::Serde, place, error.into())
    })?;
    task.announced(input, &record);
    Ok(true)
}
