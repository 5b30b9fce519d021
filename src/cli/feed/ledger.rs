//! What was loaded of which file, written down in the log itself, in the same transaction as the records: a load that is killed goes on
//! where it stood, and a file is never loaded twice.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use highwater::kafka::{Connect, Isolation, LogError, NewTopic, Outgoing, TransactionalProducer};
use highwater::{Clock, Headers, SystemClock, TopicPartition};

use super::{Fed, Intake, acknowledged};
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

    /// An intake that writes down what it takes of `file`.
    pub(crate) fn intake(&self, log: &dyn Connect, file: &Path, before: Fed) -> Result<Recorded> {
        let id = format!("{}-load", self.partition.topic);
        let mut producer = log.transactional_producer(&id, TRANSACTION_TIMEOUT)?;
        producer.init().context("the load cannot begin")?;
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
