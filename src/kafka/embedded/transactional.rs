//! Writing to the log in memory in transactions.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::producer::Acked;
use super::transactions::Ledger;
use super::{LostCommit, MemoryLog, lock};
use crate::failpoint::reached;
use crate::kafka::{Flushed, LogError, MemberToken, Outgoing, Position, Producer, TransactionalProducer};
use crate::record::TopicPartition;

/// A producer with a transactional id.
#[derive(Debug)]
pub(super) struct MemoryTransactions {
    log: MemoryLog,
    id: Arc<str>,
    timeout: Duration,
    step: Step,
    acked: Acked,
}

/// Where in its life it is.
#[derive(Clone, Debug)]
enum Step {
    New,
    Ready(Place),
    Begun(Place),
    /// It has begun, and something failed.
    Spoilt(Place),
    Ended(LogError),
}

/// What it has got from the log.
#[derive(Clone, Debug)]
struct Place {
    ledger: Arc<Mutex<Ledger>>,
    epoch: u32,
}

impl MemoryTransactions {
    pub(super) fn new(log: MemoryLog, id: &str, timeout: Duration) -> Self {
        MemoryTransactions { log, id: id.into(), timeout, step: Step::New, acked: Acked::default() }
    }

    /// Does something as the producer of the open transaction. What ends the producer is remembered.
    fn within<T>(&mut self, act: impl FnOnce(&MemoryLog, &mut Ledger) -> Result<T, LogError>) -> Result<T, LogError> {
        self.log.online()?;
        let place = match &self.step {
            Step::Begun(place) | Step::Spoilt(place) => place,
            Step::Ended(error) => return Err(error.clone()),
            Step::New => return Err(self.wrong("is not initialised")),
            Step::Ready(_) => return Err(self.wrong("has not begun a transaction")),
        };
        self.log.0.keep_time();
        let done = {
            let mut ledger = lock(&place.ledger);
            ledger.admit(place.epoch).and_then(|()| act(&self.log, &mut ledger))
        };
        self.log.0.signal.ring();
        if let Err(error) = &done
            && error.ends_producer()
        {
            self.step = Step::Ended(error.clone());
        }
        done
    }

    /// The transaction is over and the producer ready for another.
    fn finished(&mut self) {
        if let Step::Begun(place) | Step::Spoilt(place) = &self.step {
            self.step = Step::Ready(place.clone());
        }
    }

    fn wrong(&self, reason: &'static str) -> LogError {
        LogError::WrongStep { id: self.id.clone(), reason }
    }
}

impl Producer for MemoryTransactions {
    fn send(&mut self, partition: &TopicPartition, records: &[Outgoing<'_>]) -> Result<(), LogError> {
        let last = self.within(|log, ledger| {
            let shared = &log.0;
            let topic = shared.topics.get(&partition.topic)?;
            let target = topic.partition(partition)?;
            if records.is_empty() {
                return Ok(None);
            }
            let now = shared.clock.now();
            topic.config.check(partition, records, now)?;
            ledger.enter(shared, partition, target)?;
            target.append_in(ledger.writer(), records, topic.config.arrival(now)).map(Some)
        })?;
        last.into_iter().for_each(|last| self.acked.note(partition, last));
        Ok(())
    }

    fn flush(&mut self, _timeout: Duration) -> Flushed {
        self.acked.flush(&self.log.0.storage)
    }

    fn partition_count(&mut self, topic: &str) -> Result<i32, LogError> {
        self.log.online()?;
        Ok(self.log.0.topics.get(topic)?.count())
    }

    fn largest_record(&mut self, topic: &str) -> Result<Option<usize>, LogError> {
        self.log.online()?;
        Ok(Some(self.log.0.topics.get(topic)?.config.max_message_bytes()))
    }
}

impl TransactionalProducer for MemoryTransactions {
    fn init(&mut self) -> Result<(), LogError> {
        self.log.online()?;
        match &self.step {
            Step::New => {}
            Step::Ended(error) => return Err(error.clone()),
            Step::Ready(_) | Step::Begun(_) | Step::Spoilt(_) => return Err(self.wrong("is initialised already")),
        }
        self.log.0.keep_time();
        let ledger = self.log.0.transactions.ledger(&self.id);
        let epoch = lock(&ledger).take_over(&self.log.0, self.timeout)?;
        self.log.0.signal.ring();
        self.step = Step::Ready(Place { ledger, epoch });
        Ok(())
    }

    fn begin(&mut self) -> Result<(), LogError> {
        match &self.step {
            Step::Ready(place) => self.step = Step::Begun(place.clone()),
            Step::New => return Err(self.wrong("is not initialised")),
            Step::Ended(error) => return Err(error.clone()),
            Step::Begun(_) | Step::Spoilt(_) => return Err(self.wrong("has begun a transaction already")),
        }
        Ok(())
    }

    fn send_offsets(&mut self, group: &str, token: &MemberToken, positions: &[(TopicPartition, Position)]) -> Result<(), LogError> {
        let sent = self.within(|log, ledger| {
            log.check_positions(positions)?;
            ledger.enter_group(&log.0, group)?;
            reached("log.offsets");
            let taken = log.0.put_positions(group, Some(ledger.writer()), token, positions)?;
            if taken { Ok(()) } else { Err(LogError::Fenced { group: group.to_owned(), token: token.clone() }) }
        });
        if let (Err(_), Step::Begun(place)) = (&sent, &self.step) {
            self.step = Step::Spoilt(place.clone());
        }
        sent
    }

    fn commit(&mut self) -> Result<(), LogError> {
        if let Step::Spoilt(_) = self.step {
            return Err(LogError::MustAbort(self.id.clone()));
        }
        let id = self.id.clone();
        self.within(|log, ledger| {
            let lost = log.0.take_loss(&id);
            if lost != Some(LostCommit::Request) {
                ledger.end(&log.0, true)?;
            }
            if lost.is_some() { Err(LogError::CommitUnknown(id)) } else { Ok(()) }
        })?;
        self.finished();
        Ok(())
    }

    fn abort(&mut self) -> Result<(), LogError> {
        self.within(|log, ledger| ledger.end(&log.0, false))?;
        self.acked = Acked::default();
        self.finished();
        Ok(())
    }
}
