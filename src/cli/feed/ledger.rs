//! What was loaded of which file, written down in the log itself, in the same transaction as the records: a load that is killed goes on
//! where it stood, and a file is never loaded twice.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use highwater::kafka::{Connect, Isolation, LogError, NewTopic, Outgoing, TransactionalProducer};
use highwater::{Clock, Error, Headers, SystemClock, TopicPartition};

use super::{Fed, Intake, acknowledged};
use crate::cli::cluster::waited_for;
use crate::cli::tail::Tail;

/// Lines of one transaction: few enough that little is loaded again after a kill.
const TRANSACTION_LINES: u64 = 50_000;

/// A transaction may wait for a slow reader of the file.
const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(300);

/// What was loaded so far, file by file.
pub(crate) struct Ledger {
    partition: TopicPartition,
    files: BTreeMap<String, Fed>,
}

impl Ledger {
    /// Reads it, or begins it. `owner`: the application whose input it is about.
    pub(crate) fn open(log: &dyn Connect, owner: &str) -> Result<Self> {
        let topic = format!("{owner}-fed");
        let admin = log.admin()?;
        if !admin.list_topics()?.contains(&topic) {
            match admin.create_topics(&[NewTopic::new(topic.as_str(), 1).with("cleanup.policy", "compact")]) {
                Ok(()) | Err(LogError::TopicExists(_)) => {}
                Err(error) => return Err(error).context("the topic of what was loaded cannot be made"),
            }
        }
        let mut ledger = Ledger { partition: TopicPartition::new(topic, 0), files: BTreeMap::new() };
        ledger.read(log)?;
        Ok(ledger)
    }

    fn read(&mut self, log: &dyn Connect) -> Result<()> {
        let Ledger { partition, files } = self;
        let foreign = || format!("`{partition}` does not hold what a load writes there: use another folder");
        Tail::of(log, &partition.topic)?.visit_rest(Isolation::ReadCommitted, &mut |record| {
            if let (Some(file), Some(fed)) = (record.key, record.value) {
                files.insert(String::from_utf8_lossy(file).into_owned(), serde_json::from_slice(fed).with_context(foreign)?);
            }
            Ok(())
        })?;
        Ok(())
    }

    /// What was loaded of one file.
    pub(crate) fn of(&self, file: &Path) -> Fed {
        self.files.get(&*file.to_string_lossy()).copied().unwrap_or_default()
    }

    /// Lines loaded of all files.
    pub(crate) fn total(&self) -> Fed {
        self.files.values().fold(Fed::default(), |sum, fed| Fed {
            lines: sum.lines + fed.lines,
            keyless: sum.keyless + fed.keyless,
            bytes: sum.bytes + fed.bytes,
            number: sum.number + fed.number,
        })
    }

    /// What comes of one file was loaded up to here.
    pub(crate) fn note(&mut self, file: &Path, fed: Fed) {
        self.files.insert(file.to_string_lossy().into_owned(), fed);
    }

    /// An intake that writes down what it takes of `file`. A cluster that is not ready for it is waited for.
    pub(crate) fn intake(&self, log: &dyn Connect, file: &Path, before: Fed) -> Result<Recorded> {
        let id = format!("{}-load", self.partition.topic);
        let mut producer = log.transactional_producer(&id, TRANSACTION_TIMEOUT)?;
        // The first transaction of a new cluster: who looks after it is not decided yet.
        waited_for(|| producer.init().map_err(Error::from)).context("the load cannot begin")?;
        let file = file.to_string_lossy().into_owned();
        Ok(Recorded { producer, ledger: self.partition.clone(), file: file.into(), open: false, committed: before })
    }
}

/// Takes lines in transactions, each with what it stands for.
pub(crate) struct Recorded {
    producer: Box<dyn TransactionalProducer>,
    ledger: TopicPartition,
    file: Arc<str>,
    /// A transaction has begun.
    open: bool,
    committed: Fed,
}

impl Intake for Recorded {
    fn send(&mut self, partition: &TopicPartition, records: &[Outgoing<'_>]) -> Result<(), LogError> {
        if records.is_empty() {
            return Ok(());
        }
        if !self.open {
            self.producer.begin()?;
            self.open = true;
        }
        self.producer.send(partition, records)
    }

    fn mark(&mut self, fed: Fed, last: bool) -> Result<()> {
        if !self.open || !(last || fed.number - self.committed.number >= TRANSACTION_LINES) {
            return Ok(());
        }
        let (value, headers) = (serde_json::to_vec(&fed)?, Headers::default());
        let record = Outgoing { key: Some(self.file.as_bytes()), value: Some(&value), timestamp: SystemClock.now(), headers: &headers };
        self.producer.send(&self.ledger, &[record])?;
        acknowledged(&mut *self.producer)?;
        self.producer.commit().context("what was loaded last does not count: run the same command again")?;
        (self.open, self.committed) = (false, fed);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use highwater::ErrorKind;
    use highwater::kafka::{Consumer, Flushed, Group, MemberOptions, MemberToken, MemoryLog, Position, Producer};

    /// A cluster that has just begun: for some time it does not know who looks after transactions.
    #[derive(Debug)]
    struct Young(MemoryLog);

    struct Unready {
        refusals: u32,
        producer: Box<dyn TransactionalProducer>,
    }

    impl Connect for Young {
        fn consumer(&self, isolation: Isolation) -> Result<Box<dyn Consumer>, LogError> {
            self.0.consumer(isolation)
        }
        fn producer(&self) -> Result<Box<dyn Producer>, LogError> {
            self.0.producer()
        }
        fn transactional_producer(&self, id: &str, timeout: Duration) -> Result<Box<dyn TransactionalProducer>, LogError> {
            Ok(Box::new(Unready { refusals: 2, producer: self.0.transactional_producer(id, timeout)? }))
        }
        fn admin(&self) -> Result<Box<dyn highwater::kafka::Admin>, LogError> {
            self.0.admin()
        }
        fn member_with(&self, options: MemberOptions) -> Result<Box<dyn Group>, LogError> {
            self.0.member_with(options)
        }
    }

    impl TransactionalProducer for Unready {
        fn init(&mut self) -> Result<(), LogError> {
            if self.refusals == 0 {
                return self.producer.init();
            }
            self.refusals -= 1;
            Err(LogError::Client { kind: ErrorKind::Retriable, source: Arc::new("not coordinator".into()) })
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
            self.producer.abort()
        }
    }

    impl Producer for Unready {
        fn send(&mut self, partition: &TopicPartition, records: &[Outgoing<'_>]) -> Result<(), LogError> {
            self.producer.send(partition, records)
        }
        fn flush(&mut self, timeout: Duration) -> Flushed {
            self.producer.flush(timeout)
        }
        fn partition_count(&mut self, topic: &str) -> Result<i32, LogError> {
            self.producer.partition_count(topic)
        }
    }

    /// `run --feed` against a cluster whose first transaction it was ended with "not coordinator".
    #[test]
    fn the_first_load_of_a_new_cluster_waits_until_that_can_take_it() {
        let log = Young(MemoryLog::new(Arc::new(SystemClock)));
        log.admin().unwrap().create_topics(&[NewTopic::new("clicks", 1)]).unwrap();
        let (file, headers) = (Path::new("clicks.log"), Headers::default());
        let mut intake = Ledger::open(&log, "app").unwrap().intake(&log, file, Fed::default()).unwrap();
        let record = Outgoing { key: None, value: Some(b"line"), timestamp: SystemClock.now(), headers: &headers };
        intake.send(&TopicPartition::new("clicks", 0), &[record]).unwrap();
        intake.mark(Fed { lines: 1, ..Fed::default() }, true).unwrap();
        assert_eq!(Ledger::open(&log, "app").unwrap().of(file).lines, 1);
    }
}
