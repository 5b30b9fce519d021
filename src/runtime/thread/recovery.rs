//! After a failure: what the transaction held is taken back, and whoever was in it goes back to where it was committed.

use crate::error::{Error, ErrorKind, Place};
use crate::failpoint;
use crate::record::TaskId;
use crate::runtime::plan::{Command, Exposure, Shrunk, TaskState, Trouble, patience, remedies};
use crate::runtime::thread::StreamThread;
use crate::runtime::thread::restoring::Awaiting;

/// Transactions that may fail one after the other, with nothing committed in between, before their tasks are stopped.
const SETBACKS: u32 = 3;

impl StreamThread {
    /// Does what has to be done about the open transaction; true if it is gone, and what was in it.
    pub(super) fn mend(&mut self) -> Result<bool, Error> {
        if !self.outbox.is_transactional() {
            return Ok(false);
        }
        let trouble = self.outbox.trouble();
        let commands = remedies(trouble, &self.exposure());
        if commands.is_empty() {
            return Ok(false);
        }
        tracing::warn!(thread = %self.name, ?trouble, ?commands, "the transaction is given up");
        self.setbacks += u32::from(trouble == Some(Trouble::Spoilt));
        for command in commands {
            match command {
                // It may have to be tried more than once, and nothing that was to be done before counts any more.
                Command::Join => self.commands = [Command::Join].into(),
                command => self.carry_out(&command, self.outbox.now())?,
            }
        }
        Ok(true)
    }

    fn exposure(&self) -> Exposure {
        let of =
            |wanted: &dyn Fn(TaskState) -> bool| self.tasks.iter().filter(|(_, active)| wanted(active.state)).map(|(id, _)| *id).collect();
        Exposure {
            owned: self.owned(),
            running: of(&|state| state == TaskState::Running),
            failed: of(&|state| state == TaskState::Failed),
            sent: self.outbox.senders(),
        }
    }

    /// Whether it is worth another try, after a transaction that could not be committed.
    pub(super) fn may_try_again(&self) -> bool {
        self.setbacks < SETBACKS
    }

    /// Nothing of the open transaction counts.
    pub(super) fn abort(&mut self) {
        failpoint::reached("abort.begin");
        self.outbox.abort();
        failpoint::reached("abort.done");
        self.forget_unfinished();
    }

    /// The transaction is not this producer's any more.
    pub(super) fn discard(&mut self) {
        self.outbox.discard();
        self.forget_unfinished();
    }

    fn forget_unfinished(&mut self) {
        if self.outbox.is_transactional() {
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

    /// The stores of a task could not take over what is committed: they stand where they stood, and the task stands still. The tail of its changelogs is
    /// restored when that is possible.
    pub(super) fn suspend(&mut self, id: TaskId, error: &Error) {
        let Some(active) = self.take_down(id) else { return };
        let after = patience(active.failed);
        tracing::error!(task = %id, %error, ?after, "the local state cannot be written: the task stands still and tries again");
        self.board.set_task(id, TaskState::Restoring);
        let awaiting = Awaiting { lease: Some(active.lease), not_before: Some(self.now + after), failed: active.failed + 1, asked: None };
        self.awaiting.insert(id, awaiting);
    }

    /// The transaction took too long: the next one is to hold less. Tasks whose single record is too much are stopped.
    pub(super) fn shrink(&mut self) {
        let taken = self.tasks.values().map(|active| active.taken).sum();
        let setting = self.settings.transaction_timeout;
        match self.batch.timed_out(taken) {
            Shrunk::To { records, first: true } => tracing::warn!(
                thread = %self.name, taken, records, ?setting,
                "a transaction was open for too long: the next ones take fewer records; raise `transaction_timeout`, or lower `commit_interval`"
            ),
            Shrunk::To { records, first: false } => tracing::info!(thread = %self.name, taken, records, "a smaller transaction is tried"),
            Shrunk::TooLarge => self.give_up_senders(setting),
        }
    }

    fn give_up_senders(&mut self, timeout: std::time::Duration) {
        let sent = self.outbox.senders();
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

    /// Records were not acknowledged.
    pub(super) fn lost(&mut self, error: &crate::kafka::LogError, place: &Place, text: &str) {
        if self.outbox.is_transactional() && (self.may_try_again() || error.kind() == ErrorKind::Retriable) {
            tracing::warn!(thread = %self.name, "{text}");
            return self.outbox.spoil();
        }
        // Which task sent them is not known to the producer; all that commit here are in doubt.
        let all: Vec<TaskId> = self.tasks.iter().filter(|(_, active)| active.commits()).map(|(id, _)| *id).collect();
        all.into_iter().for_each(|id| self.fail(id, Error::new(error.kind(), place.clone(), text.into())));
    }
}
