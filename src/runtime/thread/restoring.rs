//! Tasks on their way from the group to work: their positions are asked for, then their stores, and then they run.

use crate::config::LostRecords;
use crate::error::{Error, ErrorKind};
use crate::record::{TaskId, Timestamp, TopicPartition};
use crate::runtime::plan::TaskState;
use crate::runtime::restore::{Restored, Start, StoreOrder, Ticket, Wanted};
use crate::runtime::thread::StreamThread;
use crate::runtime::thread::active_task::ActiveTask;
use crate::runtime::thread::gatekeeper::Passage;
use crate::state::TaskLease;
use crate::topology::OffsetReset;
use crate::topology::assemble::AssembledStore;

/// A task that is not open yet.
#[derive(Default)]
pub(super) struct Awaiting {
    /// Its hold on its rows, if it was open before.
    pub(super) lease: Option<TaskLease>,
    /// It is not opened earlier.
    pub(super) not_before: Option<Timestamp>,
    /// How often in a row its stores could not take over what is committed.
    pub(super) failed: u32,
    /// Its positions, once they were asked for.
    pub(super) asked: Option<Ticket<Vec<Start>>>,
}

impl StreamThread {
    /// Whether a task waits for its positions or its stores.
    pub(super) fn is_restoring(&self) -> bool {
        let restoring = |active: &ActiveTask| matches!(active.state, TaskState::Created | TaskState::Restoring);
        !self.awaiting.is_empty() || self.tasks.values().any(restoring)
    }

    /// Whether the restorer is busy for this thread elsewhere: nobody rings when it is done.
    pub(super) fn awaits_restorer(&self) -> bool {
        let asked = || self.awaiting.values().any(|awaiting| awaiting.asked.is_some());
        self.desk.is_elsewhere() && (asked() || self.tasks.values().any(|active| active.restoring.is_some()))
    }

    /// Asks for what is missing and takes what has come of it: tasks are opened whose positions are known, and run when their stores are
    /// complete. True if anything came of it.
    pub(super) fn restore(&mut self, now: Timestamp) -> Result<bool, Error> {
        self.ask_for_positions(now);
        let mut worked = self.desk.step(now);
        if self.open_awaiting(now)? {
            worked = true;
            self.desk.step(now);
        }
        worked |= self.enter_late(now);
        Ok(self.start_restored() || worked)
    }

    fn ask_for_positions(&mut self, now: Timestamp) {
        let StreamThread { awaiting, board, internal, resets, desk, settings, .. } = self;
        let due = |awaiting: &Awaiting| awaiting.asked.is_none() && awaiting.not_before.is_none_or(|at| at <= now);
        for (id, awaiting) in awaiting.iter_mut().filter(|(_, awaiting)| due(awaiting)) {
            let partitions = board.layout().inputs(*id).map(|inputs| inputs.partitions.clone()).unwrap_or_default();
            let begins_anew = settings.on_lost_records == LostRecords::Rebuild && board.layout().has_state(*id);
            let wanted = |partition: TopicPartition| {
                let reset = resets.get(&*partition.topic).copied().filter(|_| !internal.contains(&*partition.topic));
                let (reset, id) = (reset.unwrap_or(OffsetReset::Earliest), board.identities().of(&partition.topic));
                let begins_anew = begins_anew && !internal.contains(&*partition.topic);
                Wanted { partition, reset, id, otherwise: settings.on_missing_position, begins_anew }
            };
            awaiting.asked = Some(desk.look_up(partitions.into_iter().map(wanted).collect()));
        }
    }

    /// Opens the tasks whose positions are known; true if there was one.
    fn open_awaiting(&mut self, now: Timestamp) -> Result<bool, Error> {
        if self.board.is_over() {
            // What another thread of this instance gave up as it ended: its stores may still be looked at.
            return Ok(false);
        }
        let found = self.awaiting.iter().filter_map(|(id, awaiting)| Some((*id, awaiting.asked.as_ref()?.outcome()?)));
        let found: Vec<_> = found.collect();
        let opened = !found.is_empty();
        let mut refused = Ok(());
        self.desk.gather(true);
        for (id, starts) in found {
            match starts {
                // Not a matter of this task.
                Err(error) if error.kind() != ErrorKind::InvalidConfig => {
                    self.awaiting.entry(id).or_default().asked = None;
                    refused = Err(error);
                }
                starts => {
                    // What it had is held until it is open again.
                    let before = self.awaiting.remove(&id).unwrap_or_default();
                    self.open(id, starts, before.failed, now);
                }
            }
        }
        self.desk.gather(false);
        refused.map(|()| opened)
    }

    /// Asks for the stores of a task.
    pub(super) fn order_stores(&self, active: &ActiveTask) -> Ticket<Restored> {
        let order = |store: &AssembledStore| {
            let changelog = TopicPartition::new(store.changelog.clone()?, active.id.partition);
            let standing = active.standing(self.board.identities(), &changelog.topic, self.now);
            let (name, control, on_lost) = (store.name.clone(), store.control.clone(), self.settings.on_lost_changelog);
            Some(StoreOrder { name, control, changelog, standing, on_lost, forget: active.anew })
        };
        self.desk.restore(active.id, active.task.stores().iter().filter_map(order).collect())
    }

    /// Tasks whose stores are complete begin to run; true if there was one.
    fn start_restored(&mut self) -> bool {
        let outcome = |active: &ActiveTask| active.restoring.as_ref()?.outcome();
        let found: Vec<_> = self.tasks.iter().filter_map(|(id, active)| Some((*id, outcome(active)?))).collect();
        let any = !found.is_empty();
        let (mut entered, mut refused) = (Vec::new(), Vec::new());
        for (id, restored) in found {
            match restored.and_then(|restored| self.start(id, &restored)) {
                Ok(true) => entered.push(id),
                Ok(false) => {}
                Err(error) => refused.push((id, error)),
            }
        }
        refused.extend(self.begin_to_read(&entered));
        for (id, error) in refused {
            // The disk is still full.
            if self.tasks.get(&id).is_some_and(|active| active.failed > 0) {
                self.suspend(id, &error);
            } else {
                self.judge(id, error);
                self.order_again(id);
            }
        }
        any
    }

    /// Lets tasks run that have everything, all at once; gives those that cannot, and why.
    fn begin_to_read(&mut self, ids: &[TaskId]) -> Vec<(TaskId, Error)> {
        if ids.is_empty() {
            return Vec::new();
        }
        let feeds = ids.iter().filter_map(|id| self.tasks.get(id)).flat_map(|active| &active.feeds);
        let starts: Vec<_> = feeds.map(|feed| (feed.partition.clone(), feed.position())).collect();
        match self.member.assign(&starts) {
            Ok(()) => {
                ids.iter().for_each(|id| self.task_state(*id, TaskState::Running));
                Vec::new()
            }
            Err(error) if ids.len() == 1 => vec![(ids[0], error.into())],
            // Whose fault it is shows when each is alone.
            Err(_) => ids.iter().flat_map(|id| self.begin_to_read(&[*id])).collect(),
        }
    }

    /// A task has its stores: true if it may begin to read.
    fn start(&mut self, id: TaskId, restored: &Restored) -> Result<bool, Error> {
        let Some(active) = self.tasks.get_mut(&id) else { return Ok(false) };
        active.restoring = None;
        restored.rebuilt.iter().for_each(|(store, why)| active.lease.rebuilt(store, why));
        active.restored = restored.records;
        active.check_positions(&self.settings)?;
        active.forget(&restored.forgotten)?;
        self.enter(id)
    }

    /// A task whose state is complete may begin to read, if its gate says so.
    fn enter(&mut self, id: TaskId) -> Result<bool, Error> {
        if !self.pass_gate(id)? {
            return Ok(false);
        }
        let Some(active) = self.tasks.get_mut(&id) else { return Ok(false) };
        if active.passage == Passage::Ends {
            self.task_state(id, TaskState::Running);
            self.task_state(id, TaskState::Finished);
            return Ok(false);
        }
        // Processors may look into their stores from the first moment on.
        active.task.init()?;
        Ok(true)
    }

    /// Tasks that were not let through their gates ask again.
    fn enter_late(&mut self, now: Timestamp) -> bool {
        let waits = |active: &ActiveTask| active.state == TaskState::Restoring && active.restoring.is_none() && active.passage.asks(now);
        let waiting: Vec<TaskId> = self.tasks.iter().filter(|(_, active)| waits(active)).map(|(id, _)| *id).collect();
        let any = !waiting.is_empty();
        let (mut entered, mut refused) = (Vec::new(), Vec::new());
        for id in waiting {
            match self.enter(id) {
                Ok(true) => entered.push(id),
                Ok(false) => {}
                Err(error) => refused.push((id, error)),
            }
        }
        refused.extend(self.begin_to_read(&entered));
        refused.into_iter().for_each(|(id, error)| self.fail(id, error));
        any
    }

    /// What went wrong was no verdict on the task: it is tried again.
    fn order_again(&mut self, id: TaskId) {
        let Some(active) = self.tasks.get(&id).filter(|active| active.state == TaskState::Restoring) else { return };
        let ticket = self.order_stores(active);
        if let Some(active) = self.tasks.get_mut(&id) {
            active.restoring = Some(ticket);
        }
    }
}
