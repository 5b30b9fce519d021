//! Where the tasks of one thread send: its producer and, exactly once, the transaction that is open and who is in it.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

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
    Plain(Box<dyn Producer>),
    Transactional(Transactions),
}

/// A transactional id with the producer that has it now.
struct Transactions {
    log: Arc<dyn Connect>,
    id: Arc<str>,
    timeout: Duration,
    /// None until it is initialised, and after what it had was given up.
    producer: Option<Box<dyn TransactionalProducer>>,
    /// When the open transaction began.
    opened: Option<Timestamp>,
    /// Tasks with something in it.
    senders: BTreeSet<TaskId>,
    trouble: Option<Trouble>,
}

impl Outbox {
    pub(super) fn plain(producer: Box<dyn Producer>) -> Arc<Self> {
        Arc::new(Outbox { writer: Mutex::new(Writer::Plain(producer)), now: AtomicI64::new(0) })
    }

    /// Yet to be made [`ready`](Self::ready).
    pub(super) fn transactional(log: Arc<dyn Connect>, id: Arc<str>, timeout: Duration) -> Arc<Self> {
        let writer = Transactions { log, id, timeout, producer: None, opened: None, senders: BTreeSet::new(), trouble: None };
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

    pub(super) fn partition_count(&self, topic: &str) -> Result<i32, LogError> {
        match &mut *self.writer() {
            Writer::Plain(producer) => producer.partition_count(topic),
            Writer::Transactional(writer) => writer.producer()?.partition_count(topic),
        }
    }

    /// How large a record a topic takes at most, if that is known.
    pub(super) fn largest_record(&self, topic: &str) -> Result<Option<usize>, LogError> {
        match &mut *self.writer() {
            Writer::Plain(producer) => producer.largest_record(topic),
            Writer::Transactional(writer) => writer.producer()?.largest_record(topic),
        }
    }

    /// Sends for a task; the first send after a commit begins a transaction.
    pub(super) fn send(&self, task: TaskId, partition: &TopicPartition, records: &[Outgoing<'_>]) -> Result<(), LogError> {
        let now = self.now();
        match &mut *self.writer() {
            Writer::Plain(producer) => producer.send(partition, records),
            Writer::Transactional(writer) => {
                // Also if it fails: what the task has done is not in the log then, and it must go back with the others.
                writer.senders.insert(task);
                writer.within(now, |producer| producer.send(partition, records))
            }
        }
    }

    /// Waits until everything sent is acknowledged.
    pub(super) fn flush(&self, timeout: Duration) -> Flushed {
        match &mut *self.writer() {
            Writer::Plain(producer) => producer.flush(timeout),
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

    /// Whether what is sent counts only with the positions.
    pub(super) fn is_transactional(&self) -> bool {
        self.transactions(|_| ()).is_some()
    }

    /// Sees to it that there is a producer, initialised: whatever an earlier one of its id left undecided is settled then.
    pub(super) fn ready(&self) -> Result<(), LogError> {
        self.transactions(Transactions::ready).unwrap_or(Ok(()))
    }

    /// When the open transaction began, if one is.
    pub(super) fn opened(&self) -> Option<Timestamp> {
        self.transactions(|writer| writer.opened).flatten()
    }

    /// The tasks with something in the open transaction.
    pub(super) fn senders(&self) -> BTreeSet<TaskId> {
        self.transactions(|writer| writer.senders.clone()).unwrap_or_default()
    }

    /// What keeps the open transaction from being committed.
    pub(super) fn trouble(&self) -> Option<Trouble> {
        self.transactions(|writer| writer.trouble).flatten()
    }

    /// The transaction must not be committed.
    pub(super) fn spoil(&self) {
        self.transactions(|writer| writer.trouble = writer.trouble.max(Some(Trouble::Spoilt)));
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
                    _ => Trouble::Spoilt,
                };
                writer.trouble = writer.trouble.max(Some(trouble));
            }
            sent
        });
        sent.unwrap_or(Ok(()))
    }

    /// Ends the transaction, if one is open, so that all of it counts.
    pub(super) fn commit(&self) -> Result<(), LogError> {
        self.transactions(Transactions::commit).unwrap_or(Ok(()))
    }

    /// Ends the transaction, if one is open, so that nothing of it counts. A producer that cannot do even that is given up.
    pub(super) fn abort(&self) {
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
        if self.producer.is_none() {
            let mut producer = self.log.transactional_producer(&self.id, self.timeout)?;
            producer.init()?;
            self.forget(Some(producer));
        }
        Ok(())
    }

    fn producer(&mut self) -> Result<&mut Box<dyn TransactionalProducer>, LogError> {
        let id = &self.id;
        self.producer.as_mut().ok_or_else(|| LogError::WrongStep { id: id.clone(), reason: "is not initialised" })
    }

    /// No transaction is open, nothing is wrong.
    fn forget(&mut self, producer: Option<Box<dyn TransactionalProducer>>) {
        (self.producer, self.opened, self.trouble) = (producer, None, None);
        self.senders.clear();
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
        let trouble = match &done {
            Err(LogError::ProducerFenced(_)) => Some(Trouble::ProducerFenced),
            Err(LogError::TransactionTimedOut(_)) => Some(Trouble::TimedOut),
            Err(LogError::CommitUnknown(_)) => Some(Trouble::Unknown),
            Err(LogError::MustAbort(_)) => Some(Trouble::Spoilt),
            _ => None,
        };
        self.trouble = self.trouble.max(trouble);
        done
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
                // Whatever else it says, it does not say that nothing was committed.
                self.trouble = self.trouble.or(Some(Trouble::Unknown));
                Err(error)
            }
        }
    }
}
