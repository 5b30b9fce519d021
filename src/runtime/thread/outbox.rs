//! Where the tasks of one thread send: its producer and, exactly once, the transaction that is open and who is in it.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::error::ErrorKind;
use crate::kafka::{Connect, Flushed, LogError, MemberToken, Outgoing, Position, Producer, TransactionalProducer};
use crate::record::{TaskId, Timestamp, TopicPartition};
use crate::runtime::plan::Trouble;

/// What the collectors of one thread share: its producer and the time of the round.
pub(super) struct Outbox {
    writer: Mutex<Writer>,
    now: AtomicI64,
}

enum Writer {
    /// At least once: what is sent is sent.
    Plain(Plain),
    Transactional(Transactions),
}

/// A producer without transactions, and who has sent anything since the last commit.
struct Plain {
    producer: Box<dyn Producer>,
    sent: Sent,
}

/// Who has sent since the last commit, and what is wrong with that.
#[derive(Default)]
struct Sent {
    senders: BTreeSet<TaskId>,
    trouble: Option<Trouble>,
    /// Why, as far as it is known.
    reason: Option<LogError>,
}

/// A transactional id with the producer that has it now.
struct Transactions {
    log: Arc<dyn Connect>,
    id: Arc<str>,
    timeout: Duration,
    /// One that is not initialised yet: the log did not answer.
    coming: Option<Box<dyn TransactionalProducer>>,
    /// None until it is initialised, and after what it had was given up.
    producer: Option<Box<dyn TransactionalProducer>>,
    /// What an earlier producer had was given up, and the next one has yet to settle it.
    owes: bool,
    /// When the open transaction began.
    opened: Option<Timestamp>,
    /// What is in it.
    sent: Sent,
}

impl Sent {
    /// Notes the worst that was heard.
    fn note(&mut self, trouble: Trouble, why: Option<&LogError>) {
        if self.trouble < Some(trouble) {
            (self.trouble, self.reason) = (Some(trouble), why.cloned());
        }
    }

    /// A task asked for something that an outage kept from it, or a producer that has ended meanwhile, on what another task sent: it goes back with
    /// the others.
    fn missed<T>(&mut self, task: TaskId, asked: Result<T, LogError>) -> Result<T, LogError> {
        if let Err(error) = &asked
            && let Some(trouble) = end_of(error).or((error.kind() == ErrorKind::Retriable).then_some(Trouble::Outage))
        {
            self.senders.insert(task);
            self.note(trouble, Some(error));
        }
        asked
    }
}

/// What an error says that ends a producer.
fn end_of(error: &LogError) -> Option<Trouble> {
    match error {
        LogError::ProducerFenced(_) => Some(Trouble::ProducerFenced),
        LogError::TransactionTimedOut(_) => Some(Trouble::TimedOut),
        LogError::CommitUnknown(_) => Some(Trouble::Unknown),
        _ => None,
    }
}

impl Outbox {
    pub(super) fn plain(producer: Box<dyn Producer>) -> Arc<Self> {
        let plain = Plain { producer, sent: Sent::default() };
        Arc::new(Outbox { writer: Mutex::new(Writer::Plain(plain)), now: AtomicI64::new(0) })
    }

    /// Yet to be made [`ready`](Self::ready).
    pub(super) fn transactional(log: Arc<dyn Connect>, id: Arc<str>, timeout: Duration) -> Arc<Self> {
        let writer = Transactions { log, id, timeout, coming: None, producer: None, owes: false, opened: None, sent: Sent::default() };
        Arc::new(Outbox { writer: Mutex::new(Writer::Transactional(writer)), now: AtomicI64::new(0) })
    }

    /// A panic of a producer has left it as it was: the next call says what is wrong with it.
    fn writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set_now(&self, now: Timestamp) {
        self.now.store(now.as_millis(), Ordering::Relaxed);
    }

    pub(super) fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.now.load(Ordering::Relaxed))
    }

    /// How many partitions a topic has that a task wants to send to. Where the log does not answer, the task goes back with the others: what it
    /// would have sent is lost.
    pub(super) fn partition_count(&self, task: TaskId, topic: &str) -> Result<i32, LogError> {
        self.asked(task, |producer| producer.partition_count(topic))
    }

    /// How large a record a topic takes at most, if that is known.
    pub(super) fn largest_record(&self, task: TaskId, topic: &str) -> Result<Option<usize>, LogError> {
        self.asked(task, |producer| producer.largest_record(topic))
    }

    /// Asks something about a topic that a task wants to send to.
    fn asked<T>(&self, task: TaskId, ask: impl FnOnce(&mut dyn Producer) -> Result<T, LogError>) -> Result<T, LogError> {
        match &mut *self.writer() {
            Writer::Plain(writer) => {
                let answer = ask(&mut *writer.producer);
                writer.sent.missed(task, answer)
            }
            Writer::Transactional(writer) => {
                let answer = ask(&mut **writer.producer()?);
                writer.sent.missed(task, answer)
            }
        }
    }

    /// Sends for a task; the first send after a commit begins a transaction.
    pub(super) fn send(&self, task: TaskId, partition: &TopicPartition, records: &[Outgoing<'_>]) -> Result<(), LogError> {
        let now = self.now();
        match &mut *self.writer() {
            Writer::Plain(writer) => {
                writer.sent.senders.insert(task);
                let sent = writer.producer.send(partition, records);
                writer.sent.missed(task, sent)
            }
            Writer::Transactional(writer) => {
                // Also if it fails: what the task has done is not in the log then, and it must go back with the others.
                writer.sent.senders.insert(task);
                writer.within(now, |producer| producer.send(partition, records))
            }
        }
    }

    /// Waits until everything sent is acknowledged.
    pub(super) fn flush(&self, timeout: Duration) -> Flushed {
        match &mut *self.writer() {
            Writer::Plain(writer) => writer.producer.flush(timeout),
            Writer::Transactional(writer) if writer.opened.is_none() => Flushed::default(),
            Writer::Transactional(writer) => writer.producer.as_mut().map(|producer| producer.flush(timeout)).unwrap_or_default(),
        }
    }

    fn transactions<R>(&self, act: impl FnOnce(&mut Transactions) -> R) -> Option<R> {
        match &mut *self.writer() {
            Writer::Plain(_) => None,
            Writer::Transactional(writer) => Some(act(writer)),
        }
    }

    fn sent<R>(&self, look: impl FnOnce(&mut Sent) -> R) -> R {
        match &mut *self.writer() {
            Writer::Plain(writer) => look(&mut writer.sent),
            Writer::Transactional(writer) => look(&mut writer.sent),
        }
    }

    /// Whether what is sent counts only with the positions.
    pub(super) fn is_transactional(&self) -> bool {
        self.transactions(|_| ()).is_some()
    }

    /// Sees to it that there is a producer, initialised: whatever an earlier one of its id left undecided is settled then.
    pub(super) fn ready(&self) -> Result<(), LogError> {
        self.transactions(Transactions::ready).unwrap_or(Ok(()))
    }

    /// Whether something is left undecided that a producer has to settle: others may wait for that.
    pub(super) fn owes(&self) -> bool {
        self.transactions(|writer| writer.owes).unwrap_or(false)
    }

    /// When the open transaction began, if one is.
    pub(super) fn opened(&self) -> Option<Timestamp> {
        self.transactions(|writer| writer.opened).flatten()
    }

    /// The tasks that have sent since the last commit: exactly once those with something in the open transaction.
    pub(super) fn senders(&self) -> BTreeSet<TaskId> {
        self.sent(|sent| sent.senders.clone())
    }

    /// What keeps that from being committed.
    pub(super) fn trouble(&self) -> Option<Trouble> {
        self.sent(|sent| sent.trouble)
    }

    /// Why, as far as it is known.
    pub(super) fn reason(&self) -> Option<LogError> {
        self.sent(|sent| sent.reason.clone())
    }

    /// What was sent must not be committed.
    pub(super) fn spoil(&self, trouble: Trouble, why: Option<&LogError>) {
        self.sent(|sent| sent.note(trouble, why));
    }

    /// At least once: what was sent is committed.
    pub(super) fn committed(&self) {
        if let Writer::Plain(writer) = &mut *self.writer() {
            writer.sent = Sent::default();
        }
    }

    /// Adds positions to the transaction, beginning one if need be. Not called for none.
    pub(super) fn send_offsets(&self, group: &str, token: &MemberToken, positions: &[(TopicPartition, Position)]) -> Result<(), LogError> {
        let now = self.now();
        let sent = self.transactions(|writer| {
            let sent = writer.within(now, |producer| producer.send_offsets(group, token, positions));
            if let Err(error) = &sent {
                let trouble = match error {
                    LogError::Fenced { .. } => Trouble::MemberFenced,
                    LogError::Outrun { .. } => Trouble::Outrun,
                    error if error.kind() == ErrorKind::Retriable => Trouble::Outage,
                    _ => Trouble::Spoilt,
                };
                writer.sent.note(trouble, Some(error));
            }
            sent
        });
        sent.unwrap_or(Ok(()))
    }

    /// Ends the transaction, if one is open, so that all of it counts.
    pub(super) fn commit(&self) -> Result<(), LogError> {
        self.transactions(Transactions::commit).unwrap_or(Ok(()))
    }

    /// Ends the transaction, if one is open, so that nothing of it counts. A producer that cannot do even that is given up. At least once what is
    /// sent stays sent, and nobody remembers who did.
    pub(super) fn abort(&self) {
        self.committed();
        self.transactions(|writer| {
            let open = writer.opened.is_some();
            match writer.producer.as_mut().filter(|_| open).map(|producer| producer.abort()) {
                Some(Err(error)) => {
                    tracing::warn!(id = %writer.id, %error, "not aborted: the next producer of the id does it");
                    writer.forget(None);
                }
                _ => {
                    let producer = writer.producer.take();
                    writer.forget(producer);
                }
            }
        });
    }

    /// Does without this producer from now on.
    pub(super) fn discard(&self) {
        self.transactions(|writer| writer.forget(None));
    }
}

impl Transactions {
    fn ready(&mut self) -> Result<(), LogError> {
        if self.producer.is_some() {
            return Ok(());
        }
        // One that got no answer asks again: a second one of the same id would fence it.
        let mut coming = match self.coming.take() {
            Some(coming) => coming,
            None => self.log.transactional_producer(&self.id, self.timeout)?,
        };
        match coming.init() {
            Ok(()) => self.forget(Some(coming)),
            Err(error) => {
                self.coming = Some(coming).filter(|_| error.kind() == ErrorKind::Retriable);
                return Err(error);
            }
        }
        Ok(())
    }

    fn producer(&mut self) -> Result<&mut Box<dyn TransactionalProducer>, LogError> {
        let id = &self.id;
        self.producer.as_mut().ok_or_else(|| LogError::WrongStep { id: id.clone(), reason: "is not initialised" })
    }

    /// No transaction is open, nothing is wrong.
    fn forget(&mut self, producer: Option<Box<dyn TransactionalProducer>>) {
        self.owes = producer.is_none() && (self.owes || self.producer.is_some());
        (self.producer, self.opened, self.sent) = (producer, None, Sent::default());
    }

    /// Does something in a transaction, and notes what became of the producer.
    fn within(&mut self, now: Timestamp, act: impl FnOnce(&mut dyn TransactionalProducer) -> Result<(), LogError>) -> Result<(), LogError> {
        let begins = self.opened.is_none();
        let producer = self.producer()?;
        let done = if begins { producer.begin().and_then(|()| act(&mut **producer)) } else { act(&mut **producer) };
        self.opened.get_or_insert(now);
        self.note(done)
    }

    fn note(&mut self, done: Result<(), LogError>) -> Result<(), LogError> {
        let Err(error) = &done else { return done };
        let trouble = match (end_of(error), error) {
            (Some(end), _) => end,
            (None, LogError::MustAbort(_)) => {
                let why = self.lost().unwrap_or_else(|| error.clone());
                let outage = why.kind() == ErrorKind::Retriable;
                self.sent.note(if outage { Trouble::Outage } else { Trouble::Spoilt }, Some(&why));
                return done;
            }
            (None, error) if error.kind() == ErrorKind::Retriable => Trouble::Outage,
            _ => return done,
        };
        self.sent.note(trouble, Some(error));
        done
    }

    /// Why it must be aborted: what will not be better next time comes first.
    fn lost(&mut self) -> Option<LogError> {
        let producer = self.producer.as_mut()?;
        let why = producer.spoilt_by();
        let told = producer.flush(Duration::ZERO).failed.into_iter().map(|(_, error)| error);
        let mut all: Vec<LogError> = why.into_iter().chain(told).collect();
        let worst = all.iter().position(|error| error.kind() != ErrorKind::Retriable).unwrap_or(0);
        (worst < all.len()).then(|| all.swap_remove(worst))
    }

    fn commit(&mut self) -> Result<(), LogError> {
        if self.opened.is_none() {
            return Ok(());
        }
        let done = self.producer()?.commit();
        match self.note(done) {
            Ok(()) => {
                let producer = self.producer.take();
                self.forget(producer);
                Ok(())
            }
            Err(error) => {
                let decided = matches!(error, LogError::MustAbort(_) | LogError::ProducerFenced(_) | LogError::TransactionTimedOut(_));
                if !decided {
                    // Whatever else it says, it does not say that nothing was committed.
                    self.sent.note(Trouble::Unknown, Some(&error));
                }
                Err(error)
            }
        }
    }
}
