//! Looking into a log from outside, without changing anything: that of a folder, whether a process has it or not, or a cluster.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use highwater::kafka::{
    Admin, Connect, Consumer, FetchLimit, Fetched, FileLog, Isolation, LogError, LogReader, PartitionStanding, TopicDescription,
    TopicStanding,
};
use highwater::{ErrorKind, RawRecord, TopicPartition};

use super::failure::UsageError;

/// How long a cluster may send nothing of what it has.
const PATIENCE: Duration = Duration::from_secs(30);
/// One wait for it.
const WAIT: Duration = Duration::from_millis(100);

/// What is looked into.
pub(crate) enum Sight {
    /// The log in a folder, or in the folder of a job.
    Folder(PathBuf),
    Cluster(Arc<dyn Connect>),
}

impl Sight {
    /// As messages call it.
    pub(crate) fn name(&self) -> String {
        match self {
            Sight::Folder(folder) => format!("`{}`", folder.display()),
            Sight::Cluster(_) => "the cluster".to_owned(),
        }
    }

    pub(crate) fn open(&self, isolation: Isolation) -> Result<Look> {
        match self {
            Sight::Folder(folder) => Ok(Look::Folder(in_folder(folder)?)),
            Sight::Cluster(log) => Ok(Look::Cluster(OnCluster { admin: log.admin()?, consumer: log.consumer(isolation)? })),
        }
    }
}

/// A reader of the log in a folder, or in the folder of a job (`run --data`), where it lies beside the state.
pub(crate) fn in_folder(folder: &Path) -> Result<LogReader> {
    let opened = match FileLog::open_or_ask(folder) {
        Err(LogError::NoLog(_)) if folder.join("log").is_dir() => FileLog::open_or_ask(folder.join("log")),
        opened => opened,
    };
    opened.map_err(|error| match error {
        LogError::NoLog(_) => UsageError(error.to_string()).into(),
        other => other.into(),
    })
}

/// An open look.
pub(crate) enum Look {
    Folder(LogReader),
    Cluster(OnCluster),
}

impl Look {
    /// All topics by name.
    pub(crate) fn topics(&mut self) -> Result<Vec<TopicStanding>, LogError> {
        match self {
            Look::Folder(reader) => reader.topics(),
            Look::Cluster(cluster) => {
                let names = cluster.admin.list_topics()?;
                cluster.standing(&names)
            }
        }
    }

    /// One topic, or the names of those that there are.
    pub(crate) fn topic(&mut self, name: &str) -> Result<Result<TopicStanding, Vec<String>>, LogError> {
        let topics = match self {
            Look::Folder(reader) => reader.topics()?,
            Look::Cluster(cluster) => {
                let names = cluster.admin.list_topics()?;
                if !names.iter().any(|there| there == name) {
                    return Ok(Err(names));
                }
                cluster.standing(&[name.to_owned()])?
            }
        };
        let names = topics.iter().map(|topic| topic.name.clone()).collect();
        Ok(topics.into_iter().find(|topic| topic.name == name).ok_or(names))
    }

    /// Visits records of a partition from an offset on, as [`LogReader::read`] does.
    pub(crate) fn read(
        &mut self,
        partition: &TopicPartition,
        from: i64,
        isolation: Isolation,
        limit: FetchLimit,
        visit: &mut dyn FnMut(RawRecord<'_>),
    ) -> Result<Fetched, LogError> {
        match self {
            Look::Folder(reader) => reader.read(partition, from, isolation, limit, visit),
            Look::Cluster(cluster) => cluster.read(partition, from, isolation, limit, visit),
        }
    }

    /// Whether it can be kept open: one at the files of a folder would keep out whoever wants to have them.
    pub(crate) fn may_stay(&self) -> bool {
        match self {
            Look::Folder(reader) => reader.is_live(),
            Look::Cluster(_) => true,
        }
    }
}

/// A look at a cluster.
pub(crate) struct OnCluster {
    admin: Box<dyn Admin>,
    consumer: Box<dyn Consumer>,
}

impl OnCluster {
    fn standing(&mut self, names: &[String]) -> Result<Vec<TopicStanding>, LogError> {
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        let described = self.admin.describe_topics(&names)?;
        let of = |topic: &TopicDescription| {
            (0..topic.partitions).map(|number| TopicPartition::new(topic.name.as_str(), number)).collect::<Vec<_>>()
        };
        let partitions: Vec<_> = described.iter().flat_map(of).collect();
        let begins = self.consumer.begin_offsets(&partitions)?;
        let ends = self.consumer.end_offsets(&partitions, Isolation::ReadUncommitted)?;
        let stable = self.consumer.end_offsets(&partitions, Isolation::ReadCommitted)?;
        let mut found: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (((partition, begin), end), stable_end) in partitions.into_iter().zip(begins).zip(ends).zip(stable) {
            found.entry(partition.topic.to_string()).or_default().push(PartitionStanding { begin, end, stable_end, bytes: 0 });
        }
        let standing = |topic: TopicDescription| {
            let partitions = found.remove(&topic.name).unwrap_or_default();
            TopicStanding { name: topic.name, partitions, config: topic.config }
        };
        Ok(described.into_iter().map(standing).collect())
    }

    /// One partition is assigned at a time: what is waited for is a record of this one.
    fn read(
        &mut self,
        partition: &TopicPartition,
        from: i64,
        isolation: Isolation,
        limit: FetchLimit,
        visit: &mut dyn FnMut(RawRecord<'_>),
    ) -> Result<Fetched, LogError> {
        let assigned = self.consumer.assignment();
        if assigned != [partition.clone()] || self.consumer.position(partition)? != from {
            self.consumer.unassign(&assigned);
            self.consumer.assign(&[(partition.clone(), from)])?;
        }
        let end = self.consumer.end_offsets(std::slice::from_ref(partition), isolation)?[0];
        let begun = Instant::now();
        loop {
            let fetched = self.consumer.fetch(partition, limit, visit)?;
            if fetched.next_offset > from || fetched.next_offset >= end {
                return Ok(Fetched { end, ..fetched });
            }
            if begun.elapsed() > PATIENCE {
                let text = format!("`{partition}` has records up to {end}, and none came for {} s", PATIENCE.as_secs());
                return Err(LogError::Client { kind: ErrorKind::Log, source: Arc::new(text.into()) });
            }
            self.consumer.poll(WAIT)?;
        }
    }
}
