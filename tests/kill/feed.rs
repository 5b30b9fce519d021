//! The input, written while the application runs: plain records, transactions, and transactions that come to nothing.

use std::time::Duration;

use highwater::kafka::{Connect, Isolation, LogError, Outgoing, Producer, TransactionalProducer};
use highwater::{Headers, Timestamp, TopicPartition};

use super::life::Life;
use super::log::{PATIENCE, patiently};
use super::scene::{Kind, PARTITIONS, before_all, first_rows, key, table_change, time, value};
use super::victim::read;

/// How long a transaction may be open.
const WITHIN: Duration = Duration::from_secs(10);

/// Goes on writing where the input ends.
pub(crate) struct Feed {
    plain: Box<dyn Producer>,
    transactional: Box<dyn TransactionalProducer>,
    /// The next record of each partition.
    next: Vec<u64>,
    chunks: u64,
    with_transactions: bool,
    input: String,
    /// The topic of the table, if there is one.
    table: Option<String>,
}

type Row = (String, Vec<u8>, Timestamp);

impl Feed {
    /// Settles what an earlier life left open, and finds out how far it came.
    pub(crate) fn open(log: &dyn Connect, life: &Life) -> Result<Feed, LogError> {
        let mut transactional = log.transactional_producer(&format!("{}feed", life.names.prefix), WITHIN)?;
        patiently(|| transactional.init())?;
        let input = life.names.input();
        let next = (0..PARTITIONS).map(|partition| next(log, &input, partition)).collect::<Result<Vec<u64>, LogError>>()?;
        let table = (life.kind == Kind::Join).then(|| life.names.table());
        let with_transactions = life.transactional_feed;
        let mut feed = Feed { plain: log.producer()?, transactional, chunks: next[0], next, with_transactions, input, table };
        feed.change_table(|partition| first_rows(partition).map(|(key, row)| (key, row, before_all())).collect())?;
        Ok(feed)
    }

    /// Writes rows of the table.
    fn change_table(&mut self, rows: impl Fn(i32) -> Vec<(String, i64, Timestamp)>) -> Result<(), LogError> {
        let Some(table) = &self.table else { return Ok(()) };
        for partition in 0..PARTITIONS {
            let rows: Vec<Row> = rows(partition).into_iter().map(|(key, row, time)| (key, row.to_be_bytes().to_vec(), time)).collect();
            send(&mut *self.plain, table, partition, &rows)?;
        }
        flushed(&mut *self.plain)
    }

    /// The records there are, by partition.
    pub(crate) fn counts(&self) -> &[u64] {
        &self.next
    }

    /// Writes up to `size` records to each partition, none beyond `total`; false if there was nothing left to write.
    pub(crate) fn chunk(&mut self, size: u64, total: u64) -> Result<bool, LogError> {
        self.chunks += 1;
        let before = self.next.clone();
        self.change_table(|partition| {
            let from = before[usize::try_from(partition).expect("it is one of three")];
            let changes =
                (from..from.saturating_add(size).min(total)).filter_map(|number| Some((table_change(partition, number)?, number)));
            changes.map(|((key, row), number)| (key, row, time(number))).collect()
        })?;
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
        let Feed { plain, transactional, next, input, .. } = self;
        let producer: &mut dyn Producer = if in_transaction { &mut **transactional } else { &mut **plain };
        for (partition, next) in (0..).zip(next.iter_mut()) {
            let numbers = *next..(*next + size).min(total);
            let rows: Vec<Row> =
                numbers.clone().map(|number| (key(partition, number), value(partition, number).into_bytes(), time(number))).collect();
            send(producer, input, partition, &rows)?;
            *next = numbers.end.max(*next);
        }
        flushed(producer)
    }

    /// Records that nobody shall ever count.
    fn write_nonsense(&mut self) -> Result<(), LogError> {
        let rows = [("nobody".to_owned(), b"9:9".to_vec(), time(0))];
        (0..PARTITIONS).try_for_each(|partition| send(&mut *self.transactional, &self.input, partition, &rows))?;
        flushed(&mut *self.transactional)
    }
}

fn send(producer: &mut dyn Producer, topic: &str, partition: i32, rows: &[Row]) -> Result<(), LogError> {
    let headers = Headers::default();
    let records: Vec<_> = rows
        .iter()
        .map(|(key, value, timestamp)| Outgoing { key: Some(key.as_bytes()), value: Some(value), timestamp: *timestamp, headers: &headers })
        .collect();
    producer.send(&TopicPartition::new(topic, partition), &records)
}

fn flushed(producer: &mut dyn Producer) -> Result<(), LogError> {
    producer.flush(PATIENCE).failed.into_iter().next().map_or(Ok(()), |(_, error)| Err(error))
}

/// The number after the last record of a partition, found from its end.
fn next(log: &dyn Connect, input: &str, partition: i32) -> Result<u64, LogError> {
    let of = [TopicPartition::new(input, partition)];
    let mut consumer = log.consumer(Isolation::ReadCommitted)?;
    let begin = patiently(|| consumer.begin_offsets(&of))?[0];
    let end = patiently(|| consumer.end_offsets(&of, Isolation::ReadCommitted))?[0];
    let mut behind = 200;
    loop {
        let mut last = None;
        let from = (end - behind).max(begin);
        read(&mut *consumer, &of[0], from, end, &mut |record| last = record.value.map(<[u8]>::to_vec))?;
        match last {
            Some(value) => return Ok(super::scene::sequence(&String::from_utf8_lossy(&value)) + 1),
            None if from == begin => return Ok(0),
            None => behind *= 4,
        }
    }
}
