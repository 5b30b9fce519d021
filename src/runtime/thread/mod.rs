//! A stream thread: plain synchronous code that moves records between the log and its tasks.
//!
//! [`StreamThread::run_once`] is one round. It is told the time, and waits nowhere but in the port's poll, for as long as it is told; an
//! operating-system thread calls it in a loop, a simulation calls it directly. The clock is looked at only for how long the round lasts, since
//! that is up to the user's functions: a clock that stands still while it runs changes nothing.

mod active_task;
mod circle;
mod commit;
mod elsewhere;
mod feed;
mod gatekeeper;
mod inspect;
mod membership;
mod outbox;
mod record_collector;
mod recovery;
mod restoring;
mod stint;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use active_task::ActiveTask;
use circle::{Circles, Scope};
use feed::FETCH_RECORDS;
use gatekeeper::{Gatekeeper, Passage};
use restoring::Awaiting;
use stint::Shift;

use crate::clock::Clock;
use crate::config::{LostRecords, Settings};
use crate::error::Error;
use crate::failpoint;
use crate::kafka::{Admin, Connect, Group, LogError, MemberOptions, Occupied};
use crate::record::{TaskId, Timestamp, TopicPartition};
use crate::runtime::board::Board;
use crate::runtime::gate::TaskGate;
#[cfg(test)]
use crate::runtime::plan;
use crate::runtime::plan::{
    Command, CommitTimer, TaskState, ThreadState, Trouble, Verdict, end_of_round, judge_commit, judge_task, recommit_after, youth,
};
use crate::runtime::restore::{RestoreDesk, Restorer};
use crate::state::CacheBudget;
use crate::topology::node::NodeKind;
use crate::topology::{OffsetReset, Topology};

/// Longest wait for records while tasks wait for their stores.
const WHILE_RESTORING: Duration = Duration::from_millis(5);

/// What one round came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Round {
    /// Something was done: the next round may find more at once.
    Worked,
    /// There was nothing to do.
    Idle,
}

/// What the threads of one instance are made of.
#[derive(Clone)]
pub(crate) struct Crew {
    pub(crate) topology: Topology,
    pub(crate) settings: Arc<Settings>,
    pub(crate) log: Arc<dyn Connect>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) board: Arc<Board>,
    /// Tells this process from all others that run the application at the same time; part of its transactional ids.
    pub(crate) process: Arc<str>,
    /// Says whether tasks may run.
    pub(crate) gate: Option<Arc<dyn TaskGate>>,
}

/// One thread's share of an instance.
pub(crate) struct StreamThread {
    name: String,
    /// Its place on the board.
    number: usize,
    topology: Topology,
    settings: Arc<Settings>,
    clock: Arc<dyn Clock>,
    member: Box<dyn Group>,
    /// Where offsets are looked up and changelogs read back.
    desk: RestoreDesk,
    admin: Box<dyn Admin>,
    circles: Circles,
    gatekeeper: Option<Gatekeeper>,
    cache: Arc<CacheBudget>,
    tasks: BTreeMap<TaskId, ActiveTask>,
    /// Tasks to be opened as soon as their positions are known.
    awaiting: BTreeMap<TaskId, Awaiting>,
    /// What is still to be done about what the group said.
    commands: VecDeque<Command>,
    timer: CommitTimer,
    /// After what time a position is committed again that has not moved.
    recommit: Duration,
    board: Arc<Board>,
    state: ThreadState,
    /// Repartition topics and changelogs.
    internal: Arc<BTreeSet<String>>,
    resets: HashMap<String, OffsetReset>,
    /// Acknowledged since stores last took over what they sent.
    acked: BTreeMap<TopicPartition, i64>,
    /// The time of this round.
    now: Timestamp,
    /// When it last looked after tasks of other instances.
    looked_at: Timestamp,
    /// The last round found something to do: the next one does not wait.
    worked: bool,
    /// Who has to leave the group before it can come in.
    occupied: Option<Occupied>,
    /// The step of a commit that it does not live to see.
    #[cfg(test)]
    dies_before: Option<plan::CommitStep>,
    /// The disk of this task is full.
    #[cfg(test)]
    unwritable: Option<TaskId>,
}

impl StreamThread {
    /// Opens its clients and joins the group.
    pub(crate) fn new(number: usize, crew: &Crew, now: Timestamp) -> Result<Self, Error> {
        let Crew { topology, settings, log, clock, board, process, gate } = crew;
        let name = format!("{}-{}", settings.application_id, number + 1);
        let options = MemberOptions {
            instance: settings.instance_id.as_ref().map(|id| format!("{id}-{}", number + 1)),
            session_timeout: settings.session_timeout,
            ..MemberOptions::new(settings.application_id.clone(), name.clone())
        };
        let mut member = log.member_with(options)?;
        // All clients are there before it joins: they find their brokers while the group is asked.
        let desk = RestoreDesk::new(log, &settings.application_id, format!("{name}-restore"), board.clone())?;
        let admin = log.admin()?;
        let circles = Circles::new(settings, log, &format!("{}-{process}-{}", settings.application_id, number + 1))?;
        member.join(&board.layout().tasks)?;
        let parts = board.layout().parts.values();
        let internal: BTreeSet<String> = parts.flat_map(|part| part.changelogs.iter().chain(&part.repartition_topics)).cloned().collect();
        let cache = settings.record_cache_bytes / settings.threads.max(1);
        let recommit = recommit_after(board.positions_kept(|| kept(&*admin)));
        Ok(StreamThread {
            name,
            number,
            topology: topology.clone(),
            settings: settings.clone(),
            clock: clock.clone(),
            member,
            desk,
            admin,
            gatekeeper: gate.as_ref().map(|gate| Gatekeeper::new(gate, &**log)).transpose()?,
            circles,
            cache: Arc::new(CacheBudget::new(cache).with_reads(settings.reads_per_thread())),
            tasks: BTreeMap::new(),
            awaiting: BTreeMap::new(),
            commands: VecDeque::new(),
            timer: CommitTimer::new(settings.commit_interval, settings.repartition_purge_interval, now)
                .no_closer_than(settings.shortest_commit_interval),
            recommit,
            board: board.clone(),
            state: ThreadState::Created,
            internal: Arc::new(internal),
            resets: resets(topology),
            acked: BTreeMap::new(),
            now,
            looked_at: now,
            worked: false,
            occupied: None,
            #[cfg(test)]
            dies_before: None,
            #[cfg(test)]
            unwritable: None,
        })
    }

    /// The name of the operating system's thread that runs it.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// What restores for this thread, to run on a thread of its own. If it is not taken, each round does a piece of it.
    pub(crate) fn take_restorer(&mut self) -> Option<Restorer> {
        self.desk.take_restorer()
    }

    /// One round: what the group says, what the log has, what is due. Waits at most `patience`, and only if the last round found nothing
    /// to do.
    ///
    /// # Errors
    /// What stops the thread as a whole. Errors of single tasks stop those tasks and are on the board.
    pub(crate) fn run_once(&mut self, now: Timestamp, patience: Duration) -> Result<Round, Error> {
        self.set_now(now);
        let done = self.round(now, patience);
        let worked = match done {
            Ok(worked) => worked,
            Err(error) => match judge_commit(error.kind()) {
                Verdict::Retry => {
                    if !is_outrun(&error) {
                        self.board.outages.begin(&self.name, &error);
                    }
                    false
                }
                Verdict::Rejoin => self.rejoin()?,
                Verdict::StopTask | Verdict::StopThread => return Err(error),
            },
        };
        self.worked = worked;
        self.show_state();
        Ok(if worked { Round::Worked } else { Round::Idle })
    }

    fn set_now(&mut self, now: Timestamp) {
        self.now = now;
        self.circles.set_now(now);
    }

    fn round(&mut self, now: Timestamp, patience: Duration) -> Result<bool, Error> {
        let patience = if self.worked { Duration::ZERO } else { patience.min(self.timer.rest(self.is_eager(), now)) };
        let patience = if self.awaits_restorer() { patience.min(WHILE_RESTORING) } else { patience };
        self.member.poll(patience)?;
        self.follow_group(now)?;
        if !self.tasks.is_empty() || !self.awaiting.is_empty() || self.circles.owe() {
            // Before any position is looked up: what an earlier producer of the same id left undecided is settled by it. Where the tasks have
            // gone, their next owners may wait for that.
            self.circles.ready()?;
        }
        self.heed_altered_topics();
        let restored = self.restore(now)?;
        let taken = self.run_tasks(now);
        // Whether a commit is due is asked for the time that has come meanwhile.
        let now = self.time_after(now);
        self.set_now(now);
        if self.mend()? {
            return Ok(true);
        }
        self.commit_if_due(now)?;
        self.look_elsewhere(now)?;
        self.board.home().tend(now);
        Ok(restored || taken)
    }

    /// Stops tasks whose topics are not what they were: offsets mean something else now.
    fn heed_altered_topics(&mut self) {
        let Some(altered) = self.board.altered() else { return };
        let affected = |(id, active): (&TaskId, &ActiveTask)| Some((*id, active.altered(&altered)?));
        let stands = |(_, active): &(&TaskId, &ActiveTask)| matches!(active.state, TaskState::Restoring | TaskState::Running);
        let stopped: Vec<_> = self.tasks.iter().filter(stands).filter_map(affected).collect();
        stopped.into_iter().for_each(|(id, error)| self.fail(id, error));
    }

    /// The time, which does not go back behind what the round was told.
    pub(super) fn time_after(&self, told: Timestamp) -> Timestamp {
        self.clock.now().max(told)
    }

    /// When the tasks are to be through with this round: before a commit is due.
    fn end_of_round(&self, now: Timestamp) -> Timestamp {
        let now = self.time_after(now);
        let youth = youth(self.opened(), self.settings.transaction_timeout, now);
        end_of_round(self.timer.stint(self.settings.adaptive_commit, now).min(youth), now)
    }

    /// A round of every running task; true if one of them has more to do at once.
    fn run_tasks(&mut self, now: Timestamp) -> bool {
        let ends = self.board.ends();
        let (mut worked, mut failed) = (false, Vec::new());
        let mut left: BTreeMap<Scope, usize> = self.circles.scopes().into_iter().map(|scope| (scope, self.left(scope))).collect();
        let takes = |active: &ActiveTask| active.state == TaskState::Running && !matches!(active.passage, Passage::Held | Passage::Ends);
        let clock = self.clock.clone();
        let shift = Shift { clock: &*clock, now, end: self.end_of_round(now) };
        let mut to_come = self.tasks.values().filter(|active| takes(active)).count() + 1;
        for (id, active) in self.tasks.iter_mut().filter(|(_, active)| takes(active)) {
            to_come -= 1;
            // If nothing is left a commit is due first.
            let Some(left) = left.get_mut(&self.circles.of(*id)).filter(|left| **left > 0) else { continue };
            let (mut over, before) = (false, active.taken);
            if let Some(ends) = &ends {
                active.end_at(ends);
                over = self.board.upstream_finished(*id);
            }
            let mut stint = shift.next((*left).min(FETCH_RECORDS), to_come);
            let round = active.round(&mut *self.member, now, self.settings.max_task_idle, over, &mut stint);
            *left = left.saturating_sub(active.taken - before);
            match round.and_then(|taken| active.drain().map(|()| taken)) {
                Ok(taken) => {
                    if taken > 0 {
                        failpoint::reached("round.sent");
                    }
                    worked |= taken > 0 || active.more_to_close;
                }
                Err(error) => failed.push((*id, error)),
            }
        }
        failed.into_iter().for_each(|(id, error)| self.judge(id, error));
        worked
    }

    fn judge(&mut self, id: TaskId, error: Error) {
        if self.is_swept_away(id) {
            tracing::debug!(task = %id, %error, "not judged");
            return;
        }
        if self.tasks.get(&id).is_some_and(|active| active.lease.is_damaged()) {
            return self.rebuild(id, &error);
        }
        match (judge_task(error.kind()), self.is_overtaken(id)) {
            (Verdict::Retry, _) => self.try_again(id, &error),
            // What comes of somebody's transaction says whose the task is.
            (_, None) if is_out_of_range(&error) => self.try_again(id, &error),
            (_, Some(true)) => {
                tracing::warn!(task = %id, %error, "others have committed for the task: not its owner any more");
                if let Err(refused) = self.rejoin() {
                    self.board.fail(None, refused);
                }
            }
            _ if self.settings.on_lost_records == LostRecords::Rebuild && self.is_deleted(id, &error) => self.begin_anew(id, &error),
            _ => self.fail(id, lost_records(&error).unwrap_or(error)),
        }
    }

    /// Whether a task with state met records of a source that were deleted before it read them.
    fn is_deleted(&self, id: TaskId, error: &Error) -> bool {
        let deleted = matches!(LogError::behind(error), Some(LogError::OffsetOutOfRange { partition, offset, begin, .. })
            if offset < begin && !self.internal.contains(&*partition.topic));
        deleted && self.board.layout().has_state(id)
    }

    /// A task goes back to its last commit, and from there to the beginning of what is left.
    fn begin_anew(&mut self, id: TaskId, error: &Error) {
        tracing::warn!(task = %id, %error, "records were deleted before they were read: the task begins anew");
        match self.circles.outbox(id).filter(|outbox| outbox.is_transactional() && outbox.senders().contains(&id)) {
            Some(outbox) => outbox.spoil(Trouble::Spoilt, None),
            None => self.reopen(id),
        }
    }

    fn try_again(&mut self, id: TaskId, error: &Error) {
        tracing::warn!(task = %id, %error, "tried again");
        let Some(active) = self.tasks.get(&id) else { return };
        let Err(refused) = active.seek_back(&mut *self.member) else { return };
        // Where the consumer stands is ahead of the task: what lies between would be lost.
        match self.circles.outbox(id).filter(|outbox| outbox.senders().contains(&id)) {
            Some(outbox) => outbox.spoil(Trouble::Outage, Some(&refused)),
            None => self.reopen(id),
        }
    }

    /// Whether the open transaction is lost and the task with it: it goes again with the others, and what went wrong is no verdict on it.
    fn is_swept_away(&self, id: TaskId) -> bool {
        self.circles.outbox(id).is_some_and(|outbox| outbox.trouble().is_some() && outbox.senders().contains(&id))
    }

    /// Whether others have committed for a task since this thread did. Then the task is theirs, and what goes wrong here (its repartition
    /// records are purged, say) is no verdict on it, but the first news of having been taken for dead. None while a transaction holds a position of the task.
    fn is_overtaken(&mut self, id: TaskId) -> Option<bool> {
        let Some(active) = self.tasks.get(&id) else { return Some(false) };
        let ours: Vec<Option<i64>> = active.feeds.iter().map(|feed| Some(feed.committed.as_ref()?.offset)).collect();
        match self.member.committed(&active.partitions()) {
            Ok(found) => Some(found.iter().zip(ours).any(|(found, ours)| found.as_ref().map(|position| position.offset) > ours)),
            Err(LogError::PositionUndecided { .. }) => None,
            Err(_) => Some(false),
        }
    }

    pub(super) fn fail_unless_swept_away(&mut self, id: TaskId, error: Error) {
        if !self.is_swept_away(id) {
            self.fail(id, error);
        }
    }

    /// Stops a task for good. Its partitions are read no more, and nothing it did since the last commit is committed.
    fn fail(&mut self, id: TaskId, error: Error) {
        let Some(active) = self.tasks.get_mut(&id).filter(|active| active.state != TaskState::Failed) else { return };
        self.member.unassign(&active.partitions());
        active.restoring = None;
        if self.circles.outbox(id).is_some_and(|outbox| outbox.is_transactional()) {
            active.task.abort();
        }
        self.board.fail(Some(id), error);
        active.become_state(TaskState::Failed, &self.board);
    }

    fn task_state(&mut self, id: TaskId, state: TaskState) {
        if let Some(active) = self.tasks.get_mut(&id) {
            active.become_state(state, &self.board);
        }
    }

    /// Others may own the tasks now.
    fn rejoin(&mut self) -> Result<bool, Error> {
        tracing::warn!(thread = %self.name, "fenced: joining the group again");
        self.abort_all();
        self.commands.clear();
        self.owned().into_iter().for_each(|id| self.close_task(id));
        // What the collectors of those tasks still held is gone with them; what was sent is the next owner's to send again.
        self.member.join(&self.board.layout().tasks.clone())?;
        Ok(true)
    }

    fn show_state(&mut self) {
        let occupied = self.member.waits_for();
        if occupied != self.occupied {
            self.board.set_occupied(occupied.clone());
            self.occupied = occupied;
        }
        let next = if self.is_restoring() || self.occupied.is_some() { ThreadState::Rebalancing } else { ThreadState::Running };
        self.become_state(next);
    }

    fn become_state(&mut self, next: ThreadState) {
        if self.state == ThreadState::Created && next != ThreadState::Stopping {
            self.state = ThreadState::Starting;
        }
        if self.state != next && self.state.may_become(next) {
            self.state = next;
            self.board.set_thread(self.number, next);
        }
    }

    /// Commits, closes every task and leaves the group.
    pub(crate) fn close(mut self, now: Timestamp) -> Result<(), Error> {
        self.become_state(ThreadState::Stopping);
        self.set_now(now);
        failpoint::reached("close.begin");
        let committed = self.last_commit(now);
        failpoint::reached("close.committed");
        // Should the commit have got no answer, the next owners need not wait for one.
        if let Err(error) = self.circles.ready() {
            tracing::warn!(thread = %self.name, %error, "the last transaction is not settled: the log aborts it after `transaction_timeout`");
        }
        self.abandon();
        committed
    }

    /// Closes every task without a commit and leaves the group. Stores can be read as long as the instance is not closed.
    pub(crate) fn abandon(&mut self) {
        self.become_state(ThreadState::Stopping);
        self.abort_all();
        for id in self.owned() {
            if let Some(lease) = self.forget_task(id) {
                lease.settle(self.now);
            }
        }
        self.member.leave();
        failpoint::reached("close.left");
        self.become_state(ThreadState::Dead);
    }
}

/// Whether the log has no longer, or not yet, what was asked for.
fn is_out_of_range(error: &Error) -> bool {
    matches!(LogError::behind(error), Some(LogError::OffsetOutOfRange { .. }))
}

/// An offset that is out of range, in words that say what it means to whoever operates the application.
fn lost_records(error: &Error) -> Option<Error> {
    let Some(LogError::OffsetOutOfRange { partition, offset, begin, end }) = LogError::behind(error) else { return None };
    let text = if offset < begin {
        format!(
            "{} records of `{partition}` were deleted before they were read, those from offset {offset} to {begin}: they are lost to the application. \
             Set `on_lost_records` to `Skip` to go on at {begin}, or begin anew: delete the positions of the application, its changelogs and its local state",
            begin - offset
        )
    } else {
        format!(
            "the position {offset} of `{partition}` is beyond its end, {end}: the topic was deleted and made again, or has lost records. Bring them back, \
             or begin anew: delete the positions of the application, its changelogs and its local state"
        )
    };
    Some(Error::new(error.kind(), error.place().clone(), text.into()))
}

/// How long the log keeps positions. One that does not tell (who asks may not be allowed to) keeps them for days, unless it was told otherwise.
fn kept(admin: &dyn Admin) -> Option<Duration> {
    admin.positions_kept().unwrap_or_else(|error| {
        tracing::info!(%error, "the cluster does not say how long it keeps positions: taken for some days");
        None
    })
}

/// Whether the group has moved on meanwhile: nobody has to be waited for.
fn is_outrun(error: &Error) -> bool {
    matches!(LogError::behind(error), Some(LogError::Outrun { .. }))
}

/// Where sources begin that were never committed, if they say so.
fn resets(topology: &Topology) -> HashMap<String, OffsetReset> {
    let mut resets = HashMap::new();
    for node in &topology.plan().nodes {
        if let NodeKind::Source { topics, internal: false, reset: Some(reset), .. } = &node.kind {
            resets.extend(topics.iter().map(|topic| (topic.clone(), *reset)));
        }
    }
    resets
}
