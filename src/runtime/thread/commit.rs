//! Carrying out the steps of a commit for all tasks of a thread.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::error::{Error, Place};
use crate::failpoint;
use crate::kafka::{LogError, MemberToken, Position};
use crate::record::{TaskId, Timestamp, TopicPartition};
use crate::runtime::gate::Gate;
use crate::runtime::plan::{CommitStep, Due, Standing, TaskState, aged, steps};
use crate::runtime::thread::StreamThread;
use crate::runtime::thread::circle::{Scope, is_in};
use crate::runtime::thread::gatekeeper::Passage;
use crate::runtime::thread::outbox::Outbox;

/// What one commit knows between its steps.
struct Round {
    scope: Scope,
    outbox: Arc<Outbox>,
    token: MemberToken,
    /// Who has anything in it.
    sent: BTreeSet<TaskId>,
    positions: Vec<(TaskId, Vec<(usize, Position)>)>,
    /// What the gate said to this transaction.
    answers: Vec<(TaskId, Gate)>,
}

impl StreamThread {
    /// Commits if it is time to, or if it must be.
    pub(super) fn commit_if_due(&mut self, now: Timestamp) -> Result<(), Error> {
        let standing = self.standing(now);
        match self.timer.due(standing, now) {
            Some(why) => self.commit(why, now),
            None => Ok(()),
        }
    }

    fn standing(&mut self, now: Timestamp) -> Standing {
        let aged = aged(self.opened(), self.settings.transaction_timeout, now);
        let mut standing = Standing { budget: self.settings.uncommitted_per_thread(), aged, ..Standing::default() };
        for active in self.tasks.values_mut().filter(|active| active.commits()) {
            standing.uncommitted_bytes += active.task.uncommitted_bytes();
            standing.asked |= active.task.take_commit_request();
            standing.ended |= active.is_done();
            standing.behind |= active.is_behind();
        }
        standing.full = self.circles.scopes().into_iter().any(|scope| self.left(scope) == 0);
        standing.eager = self.is_eager();
        standing
    }

    /// When the oldest open transaction began.
    pub(super) fn opened(&self) -> Option<Timestamp> {
        self.circles.iter().filter_map(|circle| circle.outbox.opened()).min()
    }

    /// Whether there is something to commit, and it shall not wait.
    pub(super) fn is_eager(&self) -> bool {
        let moved = || self.tasks.values().any(|active| active.commits() && active.taken > 0);
        self.settings.adaptive_commit && (moved() || self.circles.iter().any(|circle| circle.outbox.opened().is_some()))
    }

    /// How many records more the circle's transaction may take.
    pub(super) fn left(&self, scope: Scope) -> usize {
        let Some(circle) = self.circles.get(scope) else { return 0 };
        circle.batch.left(self.taken(scope))
    }

    pub(super) fn taken(&self, scope: Scope) -> usize {
        self.tasks.iter().filter(|(id, _)| is_in(scope, **id)).map(|(_, active)| active.taken).sum()
    }

    /// Commits circle by circle; mostly there is one.
    pub(super) fn commit(&mut self, why: Due, now: Timestamp) -> Result<(), Error> {
        let purge = self.timer.purges(why, now);
        for scope in self.circles.scopes() {
            self.commit_circle(scope, why, purge, now)?;
        }
        self.timer.done(purge, now);
        self.timer.ended(self.time_after(now));
        Ok(())
    }

    /// Commits for the last time, and waits for that if the group is between two generations: nobody tries again later.
    pub(super) fn last_commit(&mut self, now: Timestamp) -> Result<(), Error> {
        const TRIES: u32 = 40;
        const BETWEEN: Duration = Duration::from_millis(50);
        for _ in 0..TRIES {
            match self.commit(Due::Close, now) {
                Err(error) if is_unsettled(&error) => {
                    self.member.poll(BETWEEN)?;
                }
                committed => return committed,
            }
        }
        self.commit(Due::Close, now)
    }

    /// All steps, whatever moved. A task that fails on the way drops out of the commit; at least once the others go on, exactly once the commit ends
    /// there, without an error: what was sent cannot be told apart.
    fn commit_circle(&mut self, scope: Scope, why: Due, purge: bool, now: Timestamp) -> Result<(), Error> {
        let Some(outbox) = self.circles.get(scope).map(|circle| circle.outbox.clone()) else { return Ok(()) };
        if self.tasks.keys().any(|id| is_in(scope, *id)) {
            // The last transaction may have ended with its producer; what other tasks hold goes into the next one.
            outbox.ready()?;
        }
        let announces = self.tasks.iter().any(|(id, active)| is_in(scope, *id) && active.announcing.is_some());
        let token = self.member.token();
        let mut round = Round { scope, outbox, token, sent: BTreeSet::new(), positions: Vec::new(), answers: Vec::new() };
        for step in steps(announces, true, purge) {
            tracing::trace!(thread = %self.name, ?step, ?why, "commit");
            #[cfg(test)]
            if self.dies_before == Some(step) {
                return Err(Error::new(crate::error::ErrorKind::Internal, Place::default(), "killed as the test asked".into()));
            }
            failpoint::reached(step.failpoint());
            let taken = self.take_step(step, &mut round, now);
            if self.mend_circle(scope)? {
                // Nothing is committed, and all who had a part in it go again from the last commit.
                return Ok(());
            }
            taken?;
        }
        failpoint::reached("commit.done");
        self.board.commits.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        if let Some(circle) = self.circles.get_mut(scope) {
            // A commit in which a task had nothing says nothing of what it will send again.
            circle.setbacks.retain(|id, _| !round.sent.contains(id));
        }
        // Where nothing runs, nothing was asked.
        if self.tasks.iter().any(|(id, active)| is_in(scope, *id) && active.commits()) {
            self.board.outages.end(&self.name);
        }
        self.obey(&round.answers);
        self.end_tasks(scope);
        Ok(())
    }

    fn take_step(&mut self, step: CommitStep, round: &mut Round, now: Timestamp) -> Result<(), Error> {
        match step {
            CommitStep::Cut => round.token = self.member.token(),
            CommitStep::Flush => self.flush(round),
            CommitStep::Watermarks => self.for_each_committing(round.scope, |active| {
                active.announce(now)?;
                active.drain()
            }),
            CommitStep::Acks => {
                round.answers = self.ask_closing(round.scope);
                self.await_acks(round);
            }
            CommitStep::Offsets => self.gather_positions(round, now)?,
            CommitStep::Commit => self.write_positions(round, now)?,
            CommitStep::Apply => {
                let acked = std::mem::take(&mut self.acked);
                self.apply(round.scope, &acked);
            }
            CommitStep::Purge => self.purge(round.scope)?,
        }
        Ok(())
    }

    /// Caches emit downstream and changelogs are sent. At least once the results are safe before that: a changelog may say of a window only then
    /// that it has been told and is gone. Whoever restores it sees no more of the window, so a result that was lost would never be told.
    fn flush(&mut self, round: &Round) {
        self.for_each_committing(round.scope, |active| {
            active.task.flush_caches()?;
            active.drain()
        });
        let logs = |active: &super::ActiveTask| active.task.stores().iter().any(|store| store.changelog.is_some());
        let here = |(id, active): (&TaskId, &super::ActiveTask)| is_in(round.scope, *id) && active.commits() && logs(active);
        if !round.outbox.is_transactional() && self.tasks.iter().any(here) {
            self.await_acks(round);
            if round.outbox.trouble().is_some() {
                return;
            }
        }
        self.for_each_committing(round.scope, |active| {
            active.task.send_changelogs()?;
            active.drain()
        });
    }

    /// What every send became. A task whose records were lost must not commit: its next owner sends them again.
    fn await_acks(&mut self, round: &Round) {
        let flushed = round.outbox.flush(self.settings.send_timeout);
        // Kept until the stores have taken them over, should the commit have to be tried again.
        self.acked.extend(flushed.acked);
        let overwritten = |(id, active): (&TaskId, &super::ActiveTask)| Some((*id, active.overwritten(&self.acked)?));
        let here = self.tasks.iter().filter(|(id, active)| is_in(round.scope, **id) && active.commits());
        let overwritten: Vec<_> = here.filter_map(overwritten).collect();
        overwritten.into_iter().for_each(|(id, error)| self.fail(id, error));
        for (partition, error) in flushed.failed {
            let text = format!("records for `{partition}` were lost: {error}");
            let place = Place { topic: Some(partition.topic.to_string()), partition: Some(partition.partition), ..Place::default() };
            self.lost(round.scope, &error, &place, &text);
        }
    }

    /// Exactly once the positions become part of the transaction here, and the group says whether the tasks are still ours. It is asked for no
    /// task's positions but in this way, so whoever has sent anything shows a position, moved or not.
    fn gather_positions(&mut self, round: &mut Round, now: Timestamp) -> Result<(), Error> {
        // The group may have moved on since the cut, and refuses the generation from before. Nothing was heard since then, so whatever the member
        // has now it has had all the while.
        round.token = self.member.token();
        round.sent = round.outbox.senders();
        let tasks = self.tasks.iter().filter(|(id, _)| is_in(round.scope, **id));
        round.positions = tasks.map(|(id, active)| (*id, active.positions(now, round.sent.contains(id)))).collect();
        let all = self.all_of(round);
        if round.outbox.is_transactional() && !all.is_empty() {
            round.outbox.send_offsets(&self.settings.application_id, &round.token, &all)?;
        }
        Ok(())
    }

    fn all_of(&self, round: &Round) -> Vec<(TopicPartition, Position)> {
        let mut all: Vec<(TopicPartition, Position)> = Vec::new();
        for (id, positions) in &round.positions {
            let Some(active) = self.tasks.get(id) else { continue };
            all.extend(positions.iter().map(|(input, position)| (active.feeds[*input].partition.clone(), position.clone())));
        }
        all
    }

    fn write_positions(&mut self, round: &Round, now: Timestamp) -> Result<(), Error> {
        if round.outbox.is_transactional() {
            round.outbox.commit()?;
        } else {
            let all = self.all_of(round);
            if !all.is_empty() {
                self.member.commit(&round.token, &all)?;
            }
            round.outbox.committed();
        }
        let taken = self.taken(round.scope);
        self.circles.get_mut(round.scope).into_iter().for_each(|circle| circle.batch.committed(taken));
        for (id, positions) in &round.positions {
            if let Some(active) = self.tasks.get_mut(id) {
                active.committed(positions, now + self.recommit);
            }
        }
        Ok(())
    }

    /// The changes are the stores' own from here on. A store that cannot take them over stays where it was, and its task waits until it can.
    fn apply(&mut self, scope: Scope, acked: &BTreeMap<TopicPartition, i64>) {
        let mut unwritten = Vec::new();
        #[cfg(test)]
        let unwritable = self.unwritable;
        for (id, active) in self.tasks.iter_mut().filter(|(id, active)| is_in(scope, **id) && active.commits()) {
            #[cfg(test)]
            if unwritable == Some(*id) {
                unwritten
                    .push((*id, Error::new(crate::error::ErrorKind::CorruptState, Place::default(), "full, as the test asked".into())));
                continue;
            }
            // The offset to restore from, should it come to that: past the last record of this commit.
            let offset = |topic: &str| acked.get(&TopicPartition::new(topic, id.partition)).map(|last| last + 1);
            match active.task.apply(&offset) {
                Ok(()) => active.failed = 0,
                Err(error) => unwritten.push((*id, error)),
            }
        }
        unwritten.into_iter().for_each(|(id, error)| self.suspend(id, &error));
    }

    /// What was read from repartition topics and committed is of no use to anybody.
    fn purge(&mut self, scope: Scope) -> Result<(), Error> {
        let tasks = self.tasks.iter().filter(|(id, _)| is_in(scope, **id));
        let feeds = tasks.flat_map(|(_, active)| &active.feeds).filter(|feed| feed.internal);
        let below: Vec<(TopicPartition, i64)> =
            feeds.filter_map(|feed| Some((feed.partition.clone(), feed.committed.as_ref()?.offset))).collect();
        if !below.is_empty()
            && let Err(error) = self.admin.delete_records(&below)
        {
            // Nothing depends on it; the next purge deletes more.
            tracing::warn!(%error, "repartition topics were not purged");
        }
        Ok(())
    }

    /// Tasks that had told the end of their input are finished once that is committed.
    fn end_tasks(&mut self, scope: Scope) {
        for (_, active) in self.tasks.iter_mut().filter(|(id, active)| is_in(scope, **id) && active.is_done()) {
            self.member.unassign(&active.partitions());
            active.become_state(TaskState::Finished, &self.board);
        }
    }

    /// Does something with each task of the circle that takes part in commits; one that fails is stopped.
    fn for_each_committing(&mut self, scope: Scope, mut act: impl FnMut(&mut super::ActiveTask) -> Result<(), Error>) {
        let mut failed = Vec::new();
        for (id, active) in self.tasks.iter_mut().filter(|(id, active)| is_in(scope, **id) && active.commits()) {
            if let Err(error) = act(active) {
                failed.push((*id, error));
            }
        }
        for (id, error) in failed {
            if self.tasks.get(&id).is_some_and(|active| active.lease.is_damaged()) {
                self.rebuild(id, &error);
            } else {
                self.fail_unless_swept_away(id, error);
            }
        }
    }
}

/// Whether the group was between two generations.
fn is_unsettled(error: &Error) -> bool {
    matches!(LogError::behind(error), Some(LogError::GroupUnsettled(_)))
}

impl super::ActiveTask {
    /// Its input has ended and everything that closes is closed, or its gate wants no more of it: only a commit is missing.
    pub(super) fn is_done(&self) -> bool {
        let ended = self.ending && !self.more_to_close;
        self.state == TaskState::Running && (ended || self.passage == Passage::Ends)
    }
}
