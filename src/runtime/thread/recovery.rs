//! After a failure: what the transaction held is taken back, and whoever was in it goes back to where it was committed.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::error::{Error, ErrorKind, Place};
use crate::failpoint;
use crate::kafka::LogError;
use crate::record::TaskId;
use crate::runtime::plan::{Command, Exposure, Shrunk, TaskState, Trouble, patience, remedies};
use crate::runtime::thread::StreamThread;
use crate::runtime::thread::circle::{Scope, is_in};
use crate::runtime::thread::restoring::Awaiting;

/// Transactions with something of a task in it that may fail one after the other, with none committed in between, before the task is stopped.
const SETBACKS: u32 = 3;

impl StreamThread {
    /// Does what has to be done about open transactions; true if one is gone, and what was in it.
    pub(super) fn mend(&mut self) -> Result<bool, Error> {
        let mut mended = false;
        for scope in self.circles.scopes() {
            mended |= self.mend_circle(scope)?;
        }
        Ok(mended)
    }

    /// The same for the transaction of one circle.
    pub(super) fn mend_circle(&mut self, scope: Scope) -> Result<bool, Error> {
        let Some(circle) = self.circles.get_mut(scope) else { return Ok(false) };
        let (trouble, sent) = (circle.outbox.trouble(), circle.outbox.senders());
        if trouble.is_none() && !circle.outbox.is_transactional() {
            return Ok(false);
        }
        if trouble == Some(Trouble::Spoilt) && circle.outbox.reason().is_some() {
            sent.iter().for_each(|id| *circle.setbacks.entry(*id).or_default() += 1);
        }
        if let (Some(Trouble::Outage), Some(why)) = (trouble, circle.outbox.reason()) {
            self.board.outages.begin(&self.name, &why);
        }
        self.give_up_hopeless(scope, trouble);
        let commands = remedies(trouble, &self.exposure(scope, sent));
        if commands.is_empty() {
            return Ok(false);
        }
        let reason = self.circles.get(scope).and_then(|circle| circle.outbox.reason()).map(|reason| reason.to_string());
        tracing::warn!(thread = %self.name, ?trouble, reason, ?commands, "what was sent since the last commit is given up");
        for command in commands {
            match command {
                Command::Abort => self.abort(scope),
                Command::Discard => self.discard(scope),
                Command::Shrink => self.shrink(scope),
                // It may have to be tried more than once, and nothing that was to be done before counts any more.
                Command::Join => self.commands = [Command::Join].into(),
                command => self.carry_out(&command, self.now)?,
            }
        }
        Ok(true)
    }

    /// What was lost for the third time, and for no outage, will be lost again: whoever sent it each time stops.
    fn give_up_hopeless(&mut self, scope: Scope, trouble: Option<Trouble>) {
        let Some(circle) = self.circles.get_mut(scope).filter(|_| trouble == Some(Trouble::Spoilt)) else { return };
        let Some(reason) = circle.outbox.reason() else { return };
        let hopeless: Vec<TaskId> = circle.setbacks.extract_if(.., |_, times| *times >= SETBACKS).map(|(id, _)| id).collect();
        hopeless.into_iter().for_each(|id| self.fail(id, reason.clone().into()));
    }

    fn exposure(&self, scope: Scope, sent: BTreeSet<TaskId>) -> Exposure {
        let here = || self.tasks.iter().filter(|(id, _)| is_in(scope, **id));
        let of = |wanted: TaskState| here().filter(|(_, active)| active.state == wanted).map(|(id, _)| *id).collect();
        Exposure { owned: self.owned(), running: of(TaskState::Running), failed: of(TaskState::Failed), sent }
    }

    /// Nothing that is not committed yet counts.
    pub(super) fn abort_all(&mut self) {
        self.circles.scopes().into_iter().for_each(|scope| self.abort(scope));
    }

    /// Nothing of the open transaction counts.
    fn abort(&mut self, scope: Scope) {
        if let Some(circle) = self.circles.get(scope) {
            failpoint::reached("abort.begin");
            circle.outbox.abort();
            failpoint::reached("abort.done");
            self.acked.clear();
        }
    }

    /// The transaction is not this producer's any more.
    fn discard(&mut self, scope: Scope) {
        if let Some(circle) = self.circles.get(scope) {
            circle.outbox.discard();
            self.acked.clear();
        }
    }

    /// Takes a task back to where it is committed: it is assembled anew over its committed rows.
    pub(super) fn reopen(&mut self, id: TaskId) {
        if self.tasks.get(&id).is_none_or(|active| active.state == TaskState::Failed) {
            return;
        }
        let awaiting =
            self.take_down(id).map(|active| Awaiting { lease: Some(active.lease), failed: active.failed, ..Awaiting::default() });
        self.board.set_task(id, TaskState::Restoring);
        self.awaiting.insert(id, awaiting.unwrap_or_default());
    }

    /// The stores of a task could not take over what is committed, or be read: they stand where they stood, and the task stands still. The tail
    /// of its changelogs is restored when that is possible.
    pub(super) fn suspend(&mut self, id: TaskId, error: &Error) {
        let Some(active) = self.take_down(id) else { return };
        let after = patience(active.failed);
        tracing::error!(task = %id, %error, ?after, "the local state cannot be used: the task stands still and tries again");
        self.board.set_task(id, TaskState::Restoring);
        let awaiting = Awaiting { lease: Some(active.lease), not_before: Some(self.now + after), failed: active.failed + 1, asked: None };
        self.awaiting.insert(id, awaiting);
    }

    /// Rows on disk cannot be read. They are forgotten as the task is opened anew, that store's alone, and restored from the beginning.
    pub(super) fn rebuild(&mut self, id: TaskId, error: &Error) {
        match self.circles.outbox(id).filter(|outbox| outbox.is_transactional() && outbox.senders().contains(&id)) {
            Some(outbox) => {
                tracing::error!(task = %id, %error, "the local state cannot be read: the transaction is given up");
                outbox.spoil(Trouble::Spoilt, None);
            }
            None => self.suspend(id, error),
        }
    }

    /// The transaction took too long: the next one is to hold less. Tasks whose single record is too much are stopped.
    fn shrink(&mut self, scope: Scope) {
        let (taken, setting) = (self.taken(scope), self.settings.transaction_timeout);
        let Some(circle) = self.circles.get_mut(scope) else { return };
        match circle.batch.timed_out(taken) {
            Shrunk::To { records, first: true } => tracing::warn!(
                thread = %self.name, taken, records, ?setting,
                "a transaction was open for too long: the next ones take fewer records; raise `transaction_timeout`, or lower `commit_interval`"
            ),
            Shrunk::To { records, first: false } => tracing::info!(thread = %self.name, taken, records, "a smaller transaction is tried"),
            Shrunk::TooLarge => {
                let sent = circle.outbox.senders();
                self.give_up_senders(sent, setting);
            }
        }
    }

    fn give_up_senders(&mut self, sent: BTreeSet<TaskId>, timeout: Duration) {
        let took = |id: &TaskId| self.tasks.get(id).is_some_and(|active| active.taken > 0);
        let guilty: Vec<TaskId> =
            if sent.iter().any(took) { sent.into_iter().filter(|id| took(id)).collect() } else { sent.into_iter().collect() };
        for id in guilty {
            let text = format!(
                "one record alone keeps its transaction open for more than {timeout:?}: raise `transaction_timeout`, or let it do less"
            );
            let place = self.tasks.get(&id).map(|active| active.next_record()).unwrap_or_default();
            self.fail(id, Error::new(ErrorKind::TransactionTooLarge, place, text.into()));
        }
    }

    /// Records were not acknowledged: who sent them sends them again, if that can help.
    pub(super) fn lost(&mut self, scope: Scope, error: &LogError, place: &Place, text: &str) {
        let outage = error.kind() == ErrorKind::Retriable;
        if let Some(circle) = self.circles.get(scope).filter(|circle| circle.outbox.is_transactional() || outage) {
            tracing::debug!(thread = %self.name, "{text}");
            return circle.outbox.spoil(if outage { Trouble::Outage } else { Trouble::Spoilt }, Some(error));
        }
        // Which task sent them is not known to the producer; all that commit here are in doubt.
        let here = self.tasks.iter().filter(|(id, active)| is_in(scope, **id) && active.commits());
        let all: Vec<TaskId> = here.map(|(id, _)| *id).collect();
        all.into_iter().for_each(|id| self.fail(id, Error::new(error.kind(), place.clone(), text.into())));
    }
}
