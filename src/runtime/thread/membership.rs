//! Taking over tasks and giving them up, as the group says.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64};

use crate::error::{Error, ErrorKind, Place};
use crate::failpoint;
use crate::kafka::{GroupEvent, Isolation, Position};
use crate::record::{TaskId, Timestamp, TopicPartition};
use crate::runtime::board::{InputMeter, TaskMeter};
use crate::runtime::plan::{Command, Due, Membership, TaskState, on_event};
use crate::runtime::task::{Announcements, Task, TaskParts};
use crate::runtime::thread::active_task::ActiveTask;
use crate::runtime::thread::feed::Feed;
use crate::runtime::thread::record_collector::RecordCollector;
use crate::runtime::thread::{Awaiting, StreamThread, restore};
use crate::state::{MemoryBackend, TaskLease};
use crate::topology::OffsetReset;
use crate::watermark::{CommitMetadata, entry};

impl StreamThread {
    /// Hears everything the group has to say now, and does what follows. What cannot be done yet is done first in the next round.
    pub(super) fn follow_group(&mut self, now: Timestamp) -> Result<(), Error> {
        loop {
            while let Some(command) = self.commands.pop_front() {
                if let Err(error) = self.carry_out(&command, now) {
                    self.commands.push_front(command);
                    return Err(error);
                }
            }
            let Some(event) = self.member.next_event() else { return Ok(()) };
            let event = match event {
                GroupEvent::Assigned(tasks) => Membership::Assigned(tasks),
                GroupEvent::RevocationRequested(tasks) => Membership::RevocationRequested(tasks),
                GroupEvent::Lost(tasks) => Membership::Lost(tasks),
            };
            tracing::info!(thread = %self.name, ?event, "group");
            self.commands.extend(on_event(&self.owned(), &event));
        }
    }

    /// The tasks it has, or is about to have.
    pub(super) fn owned(&self) -> BTreeSet<TaskId> {
        self.tasks.keys().chain(self.awaiting.keys()).copied().collect()
    }

    pub(super) fn carry_out(&mut self, command: &Command, now: Timestamp) -> Result<(), Error> {
        match command {
            Command::Commit => {
                failpoint::reached("revoke.requested");
                self.commit(Due::Close, now)?;
            }
            Command::Open(id) => drop(self.awaiting.insert(*id, Awaiting::default())),
            Command::Close(id) => self.close_task(*id),
            Command::Release(tasks) => {
                failpoint::reached("revoke.committed");
                self.member.release(tasks)?;
                failpoint::reached("revoke.released");
            }
            Command::Join => self.member.join(&self.board.layout().tasks.clone())?,
            Command::Abort => self.abort(),
            Command::Discard => self.discard(),
            Command::Shrink => self.shrink(),
            Command::Reopen(id) => self.reopen(*id),
        }
        Ok(())
    }

    /// Opens what is to be opened; true if something was. Where a transaction of an earlier owner is undecided, a later round tries again.
    pub(super) fn open_awaiting(&mut self, now: Timestamp) -> Result<bool, Error> {
        if self.board.is_over() {
            // What another thread of this instance gave up as it ended: its stores may still be looked at.
            return Ok(false);
        }
        let mut opened = false;
        let due = |awaiting: &Awaiting| awaiting.not_before.is_none_or(|at| at <= now);
        for id in self.awaiting.iter().filter(|(_, awaiting)| due(awaiting)).map(|(id, _)| *id).collect::<Vec<_>>() {
            match self.open(id, now) {
                Ok(()) => opened = true,
                Err(error) if error.kind() == ErrorKind::Retriable => tracing::debug!(task = %id, %error, "opened later"),
                Err(error) => return Err(error),
            }
        }
        Ok(opened)
    }

    /// Makes a task and begins to restore it. What goes wrong with one task stops that task.
    fn open(&mut self, id: TaskId, now: Timestamp) -> Result<(), Error> {
        let Some(inputs) = self.board.layout().inputs(id) else { return Ok(()) };
        let partitions = inputs.partitions.clone();
        // Committed offsets first, the end of the changelog after them (DESIGN §4).
        let committed = self.member.committed(&partitions)?;
        let lease = self.board.home().lease(id, now);
        let (mut task, sent, opened) = self.assemble(id, &lease, now);
        let meter = meter(id, &task, sent);
        self.board.list(meter.clone());
        let stored = self.resume(&mut task, &partitions, &committed, now);
        let mut active = ActiveTask::new(id, task, lease, meter);
        active.failed = self.awaiting.get(&id).map_or(0, |awaiting| awaiting.failed);
        let prepared = opened.and(stored).and_then(|stored| {
            self.announcing(&mut active, &stored);
            active.feeds = self.feeds(&active.task, &partitions, &committed)?;
            active.restoring = restore::begin(&active.task, &active.lease, id, &mut *self.restorer)?;
            Ok(())
        });
        self.awaiting.remove(&id);
        self.tasks.insert(id, active);
        match prepared {
            Ok(()) => self.task_state(id, TaskState::Restoring),
            Err(error) if self.tasks[&id].failed > 0 => self.suspend(id, &error),
            Err(error) => self.fail(id, error),
        }
        Ok(())
    }

    /// The task over its committed rows, and whether all of them could be opened: if not, the task must not run.
    fn assemble(&self, id: TaskId, lease: &TaskLease, now: Timestamp) -> (Task, Arc<AtomicU64>, Result<(), Error>) {
        let sent = Arc::new(AtomicU64::new(0));
        let collector = RecordCollector::new(self.outbox.clone(), id, self.internal.clone(), sent.clone());
        let layout = self.board.layout();
        let number = usize::try_from(id.subtopology).unwrap_or(usize::MAX);
        let index = self.topology.plan().subtopologies.iter().position(|part| part.number == number).unwrap_or(number);
        let mut opened = Ok(());
        let task = Task::new(TaskParts {
            topology: &self.topology,
            subtopologies: &[index],
            settings: &self.settings,
            cache: self.cache.clone(),
            silent_caches: false,
            output: Box::new(collector),
            partitions: &|topic| {
                if layout.counts.get(topic).is_some_and(|count| id.partition < *count) { vec![id.partition] } else { Vec::new() }
            },
            backends: &mut |store, spec| {
                lease.backend(store, spec).unwrap_or_else(|error| {
                    opened = Err(error);
                    Box::new(MemoryBackend::default())
                })
            },
            now,
        });
        (task, sent, opened)
    }

    /// Gives the task the time it was committed with.
    fn resume(
        &self,
        task: &mut Task,
        partitions: &[TopicPartition],
        committed: &[Option<Position>],
        now: Timestamp,
    ) -> Result<Vec<CommitMetadata>, Error> {
        let order: Vec<TopicPartition> = task.inputs().map(|input| TopicPartition::new(input.topic.clone(), input.partition)).collect();
        let stored = order.iter().map(|partition| {
            let position = partitions.iter().position(|one| one == partition).and_then(|nth| committed.get(nth)?.as_ref());
            let Some(position) = position else { return Ok(CommitMetadata::default()) };
            CommitMetadata::decode(&position.metadata).map_err(|error| at(partition, ErrorKind::InvalidConfig, error.to_string()))
        });
        let stored = stored.collect::<Result<Vec<_>, Error>>()?;
        task.resume(stored.clone(), now);
        Ok(stored)
    }

    fn announcing(&self, active: &mut ActiveTask, stored: &[CommitMetadata]) {
        let Some(part) = self.board.layout().parts.get(&active.id.subtopology).filter(|part| !part.announces_to.is_empty()) else { return };
        let was_idle = stored.iter().any(|stored| stored.entries.get(entry::SENT_IDLE) == Some(&1));
        let tasks = u32::try_from(part.tasks).unwrap_or(0);
        active.announcing = Some(Announcements::new(&self.settings, active.id, tasks, &part.announces_to, was_idle));
    }

    /// Where each input goes on, in the order of the task's inputs.
    fn feeds(&mut self, task: &Task, partitions: &[TopicPartition], committed: &[Option<Position>]) -> Result<Vec<Feed>, Error> {
        let mut feeds = Vec::new();
        for input in task.inputs() {
            let partition = TopicPartition::new(input.topic.clone(), input.partition);
            let known = partitions.iter().position(|one| *one == partition).and_then(|nth| committed.get(nth)?.clone());
            let start = match &known {
                Some(position) => position.offset,
                None => self.start_of(&partition, input.internal)?,
            };
            let reset = self.resets.get(&**input.topic).copied().filter(|_| !input.internal);
            feeds.push(Feed::new(partition, input.internal, start, known, self.now).reset_to(reset));
        }
        Ok(feeds)
    }

    /// Where a partition begins that was never committed.
    fn start_of(&mut self, partition: &TopicPartition, internal: bool) -> Result<i64, Error> {
        let reset =
            if internal { OffsetReset::Earliest } else { self.resets.get(&*partition.topic).copied().unwrap_or(OffsetReset::Earliest) };
        let of = std::slice::from_ref(partition);
        let offsets = match reset {
            OffsetReset::Earliest => self.restorer.begin_offsets(of)?,
            OffsetReset::Latest => self.restorer.end_offsets(of, Isolation::ReadCommitted)?,
            OffsetReset::None => {
                let text = format!(
                    "`{partition}` has no committed offset and its source says `OffsetReset::None`: commit one, or choose where to begin"
                );
                return Err(at(partition, ErrorKind::InvalidConfig, text));
            }
        };
        Ok(offsets.first().copied().unwrap_or(0))
    }

    /// Gives a task up: others may own it.
    pub(super) fn close_task(&mut self, id: TaskId) {
        if let Some(lease) = self.forget_task(id) {
            lease.give_up(self.now);
        }
    }

    /// The task is none of this thread's any more, but for its rows.
    pub(super) fn forget_task(&mut self, id: TaskId) -> Option<TaskLease> {
        let awaiting = self.awaiting.remove(&id).and_then(|awaiting| awaiting.lease);
        let lease = self.take_down(id).map(|active| active.lease).or(awaiting);
        self.board.set_task(id, TaskState::Closed);
        lease
    }

    /// The task runs no more; its committed rows stay where they are, and can be had again.
    pub(super) fn take_down(&mut self, id: TaskId) -> Option<ActiveTask> {
        let active = self.tasks.remove(&id)?;
        self.member.unassign(&active.partitions());
        let restoring: Vec<TopicPartition> = active.restoring.iter().map(|store| store.partition().clone()).collect();
        self.restorer.unassign(&restoring);
        Some(active)
    }
}

fn at(partition: &TopicPartition, kind: ErrorKind, text: String) -> Error {
    let place = Place { topic: Some(partition.topic.to_string()), partition: Some(partition.partition), ..Place::default() };
    Error::new(kind, place, text.into())
}

fn meter(id: TaskId, task: &Task, sent: Arc<AtomicU64>) -> Arc<TaskMeter> {
    let inputs = task.inputs().map(|input| InputMeter {
        partition: TopicPartition::new(input.topic.clone(), input.partition),
        internal: input.internal,
        records: AtomicU64::new(0),
        position: AtomicI64::new(-1),
        end: AtomicI64::new(-1),
    });
    Arc::new(TaskMeter {
        task: id,
        counters: task.counters().clone(),
        sent,
        watermark: AtomicI64::new(i64::MIN),
        stream_time: AtomicI64::new(-1),
        inputs: inputs.collect(),
        stores: task.stores().iter().map(|store| (store.name.clone(), store.handle.clone())).collect(),
    })
}
