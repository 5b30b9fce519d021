//! Taking over tasks and giving them up, as the group says.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64};

use crate::config::LostRecords;
use crate::error::{Error, ErrorKind, Place};
use crate::failpoint;
use crate::kafka::GroupEvent;
use crate::record::{TaskId, Timestamp, TopicPartition};
use crate::runtime::board::{InputMeter, TaskMeter};
use crate::runtime::plan::{Command, Due, Membership, TaskState, on_event};
use crate::runtime::restore::Start;
use crate::runtime::task::{Announcements, Task, TaskParts};
use crate::runtime::thread::StreamThread;
use crate::runtime::thread::active_task::ActiveTask;
use crate::runtime::thread::feed::Feed;
use crate::runtime::thread::record_collector::RecordCollector;
use crate::runtime::thread::restoring::Awaiting;
use crate::state::{MemoryBackend, TaskLease};
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
            if matches!(event, Membership::Lost(_)) {
                failpoint::reached("fence.lost");
            }
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
            Command::Open(id) => {
                self.circles.enter(*id).outbox.set_now(now);
                self.awaiting.insert(*id, Awaiting::default());
            }
            Command::Close(id) => self.close_task(*id),
            Command::Release(tasks) => {
                failpoint::reached("revoke.committed");
                self.member.release(tasks)?;
                failpoint::reached("revoke.released");
            }
            Command::Join => self.member.join(&self.board.layout().tasks.clone())?,
            Command::Abort => self.abort_all(),
            Command::Discard | Command::Shrink => unreachable!("only a circle is told to"),
            Command::Reopen(id) => self.reopen(*id),
        }
        Ok(())
    }

    /// Makes a task and begins to restore it. What goes wrong with one task stops that task.
    ///
    /// `starts` is where its inputs go on: committed offsets first, the end of the changelog after them (DESIGN §4). `failed`: how often in a
    /// row its stores could not take over what is committed.
    pub(super) fn open(&mut self, id: TaskId, starts: Result<Vec<Start>, Error>, failed: u32, now: Timestamp) {
        let Some(inputs) = self.board.layout().inputs(id) else { return };
        let partitions = inputs.partitions.clone();
        let lease = self.board.home().lease(id, now);
        let (mut task, sent, opened) = self.assemble(id, &lease, now);
        let meter = meter(id, &task, sent);
        self.board.list(meter.clone());
        let prepared = opened.and(starts).and_then(|starts| {
            let starts: BTreeMap<TopicPartition, Start> = partitions.into_iter().zip(starts).collect();
            let stored = self.resume(&mut task, &starts, now)?;
            Ok((starts, stored))
        });
        let mut active = ActiveTask::new(id, task, lease, meter);
        active.failed = failed;
        let prepared = prepared.map(|(starts, stored)| {
            self.announcing(&mut active, &stored);
            active.anew = starts.values().any(|start| start.anew.is_some());
            active.feeds = self.feeds(&active.task, &starts);
            active.identify(self.board.identities(), &stored);
            active.restoring = Some(self.order_stores(&active));
        });
        self.tasks.insert(id, active);
        match prepared {
            Ok(()) => self.task_state(id, TaskState::Restoring),
            Err(error) if self.tasks[&id].failed > 0 || error.kind() == ErrorKind::Retriable => self.suspend(id, &error),
            Err(error) => self.fail(id, error),
        }
    }

    /// The task over its committed rows, and whether all of them could be opened: if not, the task must not run.
    fn assemble(&mut self, id: TaskId, lease: &TaskLease, now: Timestamp) -> (Task, Arc<AtomicU64>, Result<(), Error>) {
        let sent = Arc::new(AtomicU64::new(0));
        let collector = RecordCollector::new(self.circles.enter(id).outbox.clone(), id, self.internal.clone(), sent.clone());
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
    fn resume(&self, task: &mut Task, starts: &BTreeMap<TopicPartition, Start>, now: Timestamp) -> Result<Vec<CommitMetadata>, Error> {
        let order: Vec<TopicPartition> = task.inputs().map(|input| TopicPartition::new(input.topic.clone(), input.partition)).collect();
        let stored = order.iter().map(|partition| {
            let committed = starts.get(partition).and_then(|start| start.committed.as_ref());
            let Some(position) = committed else { return Ok(CommitMetadata::default()) };
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
    fn feeds(&self, task: &Task, starts: &BTreeMap<TopicPartition, Start>) -> Vec<Feed> {
        let feeds = task.inputs().map(|input| {
            let partition = TopicPartition::new(input.topic.clone(), input.partition);
            let (offset, committed) = starts.get(&partition).map_or((0, None), |start| (start.offset, start.committed.clone()));
            // Of records that are missing in repartition topics others may know: their new owners.
            let passes = match self.settings.on_lost_records {
                LostRecords::Fail => false,
                LostRecords::Skip => !input.internal,
                LostRecords::Rebuild => !input.internal && task.stores().iter().all(|store| store.changelog.is_none()),
            };
            let lost = starts.get(&partition).and_then(|start| start.anew).unwrap_or(0);
            let id = self.board.identities().of(&partition.topic);
            Feed::new(partition, input.internal, offset, committed, self.now).passing_lost(passes, lost).of_topic(id)
        });
        feeds.collect()
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
        self.circles.leave(id);
        self.board.set_task(id, TaskState::Closed);
        lease
    }

    /// The task runs no more; its committed rows stay where they are, and can be had again.
    pub(super) fn take_down(&mut self, id: TaskId) -> Option<ActiveTask> {
        let mut active = self.tasks.remove(&id)?;
        // From here on nobody touches its stores.
        active.restoring = None;
        self.member.unassign(&active.partitions());
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
        lost: AtomicU64::new(0),
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
