//! The writing ports of one instance: what is sent may arrive later than told, and what waits when the process dies never was.

use std::collections::VecDeque;
use std::time::Duration;

use super::fate::{Accepted, SharedFate};
use crate::kafka::{Flushed, LogError, LostCommit, MemberToken, MemoryLog, Outgoing, Position, Producer, TransactionalProducer};
use crate::record::{Headers, Timestamp, TopicPartition};

/// A producer that keeps what it is given for a while, as network clients do. What it keeps when it dies never was.
pub(super) struct FatefulProducer<P: Producer + ?Sized> {
    client: Box<P>,
    fate: SharedFate,
    waiting: VecDeque<(TopicPartition, Kept)>,
    failed: Vec<(TopicPartition, LogError)>,
}

/// One record on its way.
struct Kept {
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    timestamp: Timestamp,
    headers: Headers,
}

impl<P: Producer + ?Sized> FatefulProducer<P> {
    pub(super) fn new(client: Box<P>, fate: SharedFate) -> Self {
        FatefulProducer { client, fate, waiting: VecDeque::new(), failed: Vec::new() }
    }

    /// The oldest of what waits reaches the log.
    fn deliver(&mut self, count: usize) {
        for (partition, Kept { key, value, timestamp, headers }) in self.waiting.drain(..count) {
            let record = Outgoing { key: key.as_deref(), value: value.as_deref(), timestamp, headers: &headers };
            if let Err(error) = self.client.send(&partition, &[record]) {
                self.failed.push((partition, error));
            }
        }
    }
}

impl<P: Producer + ?Sized> Producer for FatefulProducer<P> {
    fn send(&mut self, partition: &TopicPartition, records: &[Outgoing<'_>]) -> Result<(), LogError> {
        // A topic or partition that is not there is refused at once.
        self.client.send(partition, &[])?;
        let kept = records.iter().map(|record| {
            let Outgoing { key, value, timestamp, headers } = *record;
            let (key, value) = (key.map(<[u8]>::to_vec), value.map(<[u8]>::to_vec));
            (partition.clone(), Kept { key, value, timestamp, headers: headers.clone() })
        });
        self.waiting.extend(kept);
        let arriving = self.fate.arrives(self.waiting.len());
        let fate = self.fate.clone();
        fate.call(|| {
            self.deliver(arriving);
            Ok(())
        })
    }

    fn flush(&mut self, timeout: Duration) -> Flushed {
        let fate = self.fate.clone();
        let flushed = fate.call(|| {
            self.deliver(self.waiting.len());
            let Flushed { acked, mut failed } = self.client.flush(timeout);
            failed.append(&mut self.failed);
            Ok(Flushed { acked, failed })
        });
        flushed.unwrap_or_else(|error| {
            let lost = self.waiting.iter().map(|(partition, _)| (partition.clone(), error.clone()));
            Flushed { acked: Vec::new(), failed: lost.collect() }
        })
    }

    fn partition_count(&mut self, topic: &str) -> Result<i32, LogError> {
        self.client.partition_count(topic)
    }

    fn largest_record(&mut self, topic: &str) -> Result<Option<usize>, LogError> {
        self.client.largest_record(topic)
    }
}

/// A producer of transactions that keeps what it is given for a while, and whose commits may be lost on the way there or back.
pub(super) struct FatefulTransactions {
    producer: FatefulProducer<dyn TransactionalProducer>,
    log: MemoryLog,
    id: String,
    /// What the open transaction would write into its groups.
    shown: Vec<(TopicPartition, Position)>,
}

impl FatefulTransactions {
    pub(super) fn new(client: Box<dyn TransactionalProducer>, log: &MemoryLog, id: &str, fate: SharedFate) -> Self {
        let producer = FatefulProducer::new(client, fate);
        FatefulTransactions { producer, log: log.clone(), id: id.to_owned(), shown: Vec::new() }
    }

    fn forget(&mut self) {
        self.producer.waiting.clear();
        self.producer.failed.clear();
        self.shown.clear();
    }
}

impl Producer for FatefulTransactions {
    fn send(&mut self, partition: &TopicPartition, records: &[Outgoing<'_>]) -> Result<(), LogError> {
        self.producer.send(partition, records)
    }
    fn flush(&mut self, timeout: Duration) -> Flushed {
        self.producer.flush(timeout)
    }
    fn partition_count(&mut self, topic: &str) -> Result<i32, LogError> {
        self.producer.partition_count(topic)
    }
    fn largest_record(&mut self, topic: &str) -> Result<Option<usize>, LogError> {
        self.producer.largest_record(topic)
    }
}

impl TransactionalProducer for FatefulTransactions {
    fn init(&mut self) -> Result<(), LogError> {
        let FatefulProducer { client, fate, .. } = &mut self.producer;
        fate.call(|| client.init())
    }
    fn begin(&mut self) -> Result<(), LogError> {
        self.producer.client.begin()
    }
    fn send_offsets(&mut self, group: &str, token: &MemberToken, positions: &[(TopicPartition, Position)]) -> Result<(), LogError> {
        let (FatefulProducer { client, fate, .. }, shown) = (&mut self.producer, &mut self.shown);
        fate.call(|| {
            client.send_offsets(group, token, positions)?;
            // Whoever is a member now may commit later, whatever becomes of it: until then nobody else gets these positions.
            fate.accept(Accepted { token: token.clone(), positions: Vec::new() });
            shown.extend_from_slice(positions);
            Ok(())
        })
    }
    fn commit(&mut self) -> Result<(), LogError> {
        let FatefulTransactions { producer, log, id, shown } = self;
        let lost = producer.fate.take_loss();
        if let Some(lost) = lost {
            log.lose_next_commit(id, lost);
        }
        let (client, fate, shown) = (&mut producer.client, producer.fate.clone(), std::mem::take(shown));
        fate.call(|| {
            let committed = client.commit();
            let counts = match &committed {
                Ok(()) => true,
                Err(LogError::CommitUnknown(_)) => lost == Some(LostCommit::Answer),
                Err(_) => false,
            };
            if counts {
                fate.accept(Accepted { token: MemberToken::nobody(), positions: shown });
            }
            committed
        })
    }
    fn abort(&mut self) -> Result<(), LogError> {
        self.forget();
        let FatefulProducer { client, fate, .. } = &mut self.producer;
        fate.call(|| client.abort())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::ports::FatefulLog;
    use super::*;
    use crate::clock::ManualClock;
    use crate::kafka::{Connect, Isolation, NewTopic};

    const PATIENCE: Duration = Duration::from_secs(10);

    fn log() -> MemoryLog {
        let log = MemoryLog::new(Arc::new(ManualClock::at(Timestamp::from_secs(1))));
        log.admin().unwrap().create_topics(&[NewTopic::new("t", 1)]).unwrap();
        log
    }

    fn begun(log: &MemoryLog, fate: &SharedFate) -> Box<dyn TransactionalProducer> {
        let ports = FatefulLog { log: log.clone(), fate: fate.clone(), lasting: None };
        let mut producer = ports.transactional_producer("id", PATIENCE).unwrap();
        producer.init().unwrap();
        producer.begin().unwrap();
        let record = Outgoing { key: None, value: Some(b"v"), timestamp: Timestamp::from_secs(1), headers: &Headers::default() };
        producer.send(&TopicPartition::new("t", 0), &[record, record]).unwrap();
        producer
    }

    /// How many records are there, and how many of them count.
    fn written(log: &MemoryLog) -> (i64, i64) {
        let of = [TopicPartition::new("t", 0)];
        let mut consumer = log.consumer(Isolation::ReadCommitted).unwrap();
        let mut end = |isolation| consumer.end_offsets(&of, isolation).unwrap()[0];
        (end(Isolation::ReadUncommitted), end(Isolation::ReadCommitted))
    }

    #[test]
    fn what_waits_arrives_with_the_flush_and_what_is_aborted_never_was() {
        let (log, fate) = (log(), SharedFate::new(3, true));
        let mut producer = begun(&log, &fate);
        producer.flush(PATIENCE);
        assert_eq!(written(&log), (2, 0));
        producer.commit().unwrap();
        assert_eq!(written(&log), (3, 3), "two records and a marker");
        producer.begin().unwrap();
        producer.abort().unwrap();
        assert_eq!(written(&log), (3, 3));
    }

    #[test]
    fn a_lost_commit_ends_the_producer_and_counts_only_if_the_answer_was_lost() {
        for (lost, counts) in [(LostCommit::Request, false), (LostCommit::Answer, true)] {
            let (log, fate) = (log(), SharedFate::new(3, false));
            let mut producer = begun(&log, &fate);
            producer.send_offsets("g", &MemberToken::nobody(), &[]).unwrap();
            producer.flush(PATIENCE);
            fate.lose_commit(lost);
            assert!(matches!(producer.commit(), Err(LogError::CommitUnknown(_))));
            assert_eq!((written(&log).1 == 3, fate.take_accepted().len() == 2), (counts, counts), "{lost:?}");
        }
    }

    #[test]
    fn who_dies_in_a_transaction_leaves_it_open() {
        let (log, fate) = (log(), SharedFate::new(3, false));
        let mut producer = begun(&log, &fate);
        producer.flush(PATIENCE);
        fate.die();
        assert!(producer.commit().is_err() && producer.abort().is_err());
        drop(producer);
        assert_eq!(written(&log), (2, 0));
    }
}
