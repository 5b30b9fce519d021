//! The input, written while the application runs: plain records, transactions, and transactions that come to nothing.

use std::time::Duration;

use highwater::kafka::{Connect, FetchLimit, Isolation, LogError, Outgoing, Producer, TransactionalProducer};
use highwater::{Headers, Timestamp, TopicPartition};

use super::scene::{IN, PARTITIONS, key, time, value};

const WITHIN: Duration = Duration::from_secs(10);

/// Goes on writing where the input ends.
pub(crate) struct Feed {
    plain: Box<dyn Producer>,
    transactional: Box<dyn TransactionalProducer>,
    /// The next record of each partition.
    next: Vec<u64>,
    chunks: u64,
    with_transactions: bool,
}

impl Feed {
    /// Settles what an earlier life left open, and finds out how far it came.
    pub(crate) fn open(log: &dyn Connect, with_transactions: bool) -> Result<Feed, LogError> {
        let mut transactional = log.transactional_producer("feed", WITHIN)?;
        transactional.init()?;
        let next = (0..PARTITIONS).map(|partition| next(log, partition)).collect::<Result<Vec<u64>, LogError>>()?;
        Ok(Feed { plain: log.producer()?, transactional, chunks: next[0], next, with_transactions })
    }

    /// The records there are, by partition.
    pub(crate) fn counts(&self) -> &[u64] {
        &self.next
    }

    /// Writes up to `size` records to each partition, none beyond `total`; false if there was nothing left to write.
    pub(crate) fn chunk(&mut self, size: u64, total: u64) -> Result<bool, LogError> {
        self.chunks += 1;
        let before = self.next.clone();
        match self.chunks % 4 {
            _ if !self.with_transactions => self.write(size, total, false)?,
            1 => {
                self.transactional.begin()?;
                self.write(size, total, true)?;
                self.transactional.commit()?;
            }
            2 => {
                self.transactional.begin()?;
                self.write_nonsense()?;
                self.transactional.abort()?;
                self.write(size, total, false)?;
            }
            _ => self.write(size, total, false)?,
        }
        Ok(self.next != before)
    }

    fn write(&mut self, size: u64, total: u64, in_transaction: bool) -> Result<(), LogError> {
        let Feed { plain, transactional, next, .. } = self;
        let producer: &mut dyn Producer = if in_transaction { &mut **transactional } else { &mut **plain };
        for (partition, next) in (0..).zip(next.iter_mut()) {
            let numbers = *next..(*next + size).min(total);
            let rows: Vec<_> = numbers.clone().map(|number| (key(partition, number), value(partition, number), time(number))).collect();
            send(producer, partition, &rows)?;
            *next = numbers.end.max(*next);
        }
        flushed(producer)
    }

    /// Records that nobody shall ever count.
    fn write_nonsense(&mut self) -> Result<(), LogError> {
        let rows = [("nobody".to_owned(), "9:9".to_owned(), time(0))];
        (0..PARTITIONS).try_for_each(|partition| send(&mut *self.transactional, partition, &rows))?;
        flushed(&mut *self.transactional)
    }
}

fn send(producer: &mut dyn Producer, partition: i32, rows: &[(String, String, Timestamp)]) -> Result<(), LogError> {
    let headers = Headers::default();
    let records: Vec<_> = rows
        .iter()
        .map(|(key, value, timestamp)| Outgoing {
            key: Some(key.as_bytes()),
            value: Some(value.as_bytes()),
            timestamp: *timestamp,
            headers: &headers,
        })
        .collect();
    producer.send(&TopicPartition::new(IN.name(), partition), &records)
}

fn flushed(producer: &mut dyn Producer) -> Result<(), LogError> {
    producer.flush(WITHIN).failed.into_iter().next().map_or(Ok(()), |(_, error)| Err(error))
}

/// The number after the last record of a partition, found from its end.
fn next(log: &dyn Connect, partition: i32) -> Result<u64, LogError> {
    let of = [TopicPartition::new(IN.name(), partition)];
    let mut consumer = log.consumer(Isolation::ReadCommitted)?;
    let (begin, end) = (consumer.begin_offsets(&of)?[0], consumer.end_offsets(&of, Isolation::ReadCommitted)?[0]);
    let mut behind = 200;
    loop {
        let mut last = None;
        let from = (end - behind).max(begin);
        consumer.assign(&[(of[0].clone(), from)])?;
        while !consumer.fetch(&of[0], FetchLimit::default(), &mut |record| last = record.value.map(<[u8]>::to_vec))?.at_end() {}
        match last {
            Some(value) => return Ok(super::scene::sequence(&String::from_utf8_lossy(&value)) + 1),
            None if from == begin => return Ok(0),
            None => behind *= 4,
        }
    }
}
