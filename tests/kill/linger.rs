//! A producer as those of real clusters are: what it is given leaves the process when it is flushed, and not before. On request some of it
//! gets lost on the way.

use std::sync::Arc;
use std::time::Duration;

use highwater::kafka::{
    Admin, Connect, Consumer, Flushed, Group, Isolation, LogError, MemberOptions, MemberToken, Outgoing, Position, Producer,
    TransactionalProducer,
};
use highwater::{Headers, Timestamp, TopicPartition};

/// A log whose producers are like that.
#[derive(Debug)]
pub(crate) struct Lingering {
    pub(crate) log: Arc<dyn Connect>,
    /// Every so many flushes, what was meant for one partition gets lost.
    pub(crate) loses: Option<u64>,
}

impl Connect for Lingering {
    fn consumer(&self, isolation: Isolation) -> Result<Box<dyn Consumer>, LogError> {
        self.log.consumer(isolation)
    }
    fn producer(&self) -> Result<Box<dyn Producer>, LogError> {
        Ok(Box::new(Waiting::new(self.log.producer()?, self.loses)))
    }
    fn transactional_producer(&self, id: &str, timeout: Duration) -> Result<Box<dyn TransactionalProducer>, LogError> {
        Ok(Box::new(Waiting::new(self.log.transactional_producer(id, timeout)?, self.loses)))
    }
    fn admin(&self) -> Result<Box<dyn Admin>, LogError> {
        self.log.admin()
    }
    fn member_with(&self, options: MemberOptions) -> Result<Box<dyn Group>, LogError> {
        self.log.member_with(options)
    }
}

/// What waits for the next flush, before a producer of the log.
struct Waiting<P: ?Sized> {
    records: Vec<(TopicPartition, Record)>,
    flushes: u64,
    loses: Option<u64>,
    producer: Box<P>,
}

struct Record {
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    timestamp: Timestamp,
    headers: Headers,
}

impl<P: Producer + ?Sized> Waiting<P> {
    fn new(producer: Box<P>, loses: Option<u64>) -> Self {
        Waiting { records: Vec::new(), flushes: 0, loses, producer }
    }

    /// Loses records, if it is time to; of which partition.
    fn lose(&mut self) -> Option<TopicPartition> {
        self.flushes += u64::from(!self.records.is_empty());
        let unlucky = self.loses.is_some_and(|every| self.flushes.is_multiple_of(every));
        let lost = self.records.first().filter(|_| unlucky).map(|(partition, _)| partition.clone())?;
        self.records.retain(|(partition, _)| *partition != lost);
        Some(lost)
    }
}

impl<P: Producer + ?Sized> Producer for Waiting<P> {
    fn send(&mut self, partition: &TopicPartition, records: &[Outgoing<'_>]) -> Result<(), LogError> {
        let copied = |record: &Outgoing<'_>| Record {
            key: record.key.map(<[u8]>::to_vec),
            value: record.value.map(<[u8]>::to_vec),
            timestamp: record.timestamp,
            headers: record.headers.clone(),
        };
        self.records.extend(records.iter().map(|record| (partition.clone(), copied(record))));
        Ok(())
    }

    fn flush(&mut self, timeout: Duration) -> Flushed {
        let lost = self.lose();
        let mut failed: Vec<(TopicPartition, LogError)> = lost.into_iter().map(|lost| (lost, LogError::CutOff)).collect();
        let records = std::mem::take(&mut self.records);
        for run in records.chunk_by(|(one, _), (next, _)| one == next) {
            let batch: Vec<Outgoing<'_>> = run
                .iter()
                .map(|(_, record)| Outgoing {
                    key: record.key.as_deref(),
                    value: record.value.as_deref(),
                    timestamp: record.timestamp,
                    headers: &record.headers,
                })
                .collect();
            if let Err(error) = self.producer.send(&run[0].0, &batch) {
                failed.push((run[0].0.clone(), error));
            }
        }
        let mut flushed = self.producer.flush(timeout);
        flushed.failed.extend(failed);
        flushed
    }

    fn partition_count(&mut self, topic: &str) -> Result<i32, LogError> {
        self.producer.partition_count(topic)
    }
}

impl TransactionalProducer for Waiting<dyn TransactionalProducer> {
    fn init(&mut self) -> Result<(), LogError> {
        self.producer.init()
    }
    fn begin(&mut self) -> Result<(), LogError> {
        self.producer.begin()
    }
    fn send_offsets(&mut self, group: &str, token: &MemberToken, positions: &[(TopicPartition, Position)]) -> Result<(), LogError> {
        self.producer.send_offsets(group, token, positions)
    }
    fn commit(&mut self) -> Result<(), LogError> {
        self.producer.commit()
    }
    fn abort(&mut self) -> Result<(), LogError> {
        self.records.clear();
        self.producer.abort()
    }
}
