//! What a test sees of a cluster: topics, positions, stores, failures.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use super::Cluster;
use super::instance::Instance;
use crate::dsl::Topic;
use crate::error::{Error, ErrorKind, Place};
use crate::kafka::{Connect, FetchLimit, Isolation};
use crate::record::{Data, Headers, Record, TaskId, Timestamp, TopicPartition};
use crate::runtime::{Progress, RestoreProgress, TaskFailure};
use crate::state::{Store, StoreRef};
use crate::testing::{RawOutput, typed};
use crate::watermark::{CommitMetadata, entry};

/// A record as it lies in the log.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct LoggedRecord {
    /// Partition.
    pub partition: i32,
    /// Offset in the partition.
    pub offset: i64,
    /// Key bytes; none for a null key.
    pub key: Option<Vec<u8>>,
    /// Value bytes; none for a tombstone.
    pub value: Option<Vec<u8>>,
    /// Timestamp.
    pub timestamp: Timestamp,
    /// Headers.
    pub headers: Headers,
}

/// What the group has committed for one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CommittedPosition {
    /// The next record to process.
    pub offset: i64,
    /// The largest timestamp read from the partition.
    pub partition_time: Option<Timestamp>,
    /// Bounded mode: the watermark of the task that read it.
    pub watermark: Option<Timestamp>,
}

/// Where one store of one task stands.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoreStanding {
    /// The task.
    pub task: TaskId,
    /// The store.
    pub store: Arc<str>,
    /// The changelog partition that it would be restored from; none if it has none.
    pub changelog: Option<TopicPartition>,
    /// The next record of the changelog that its committed rows do not know of; none before the first.
    pub offset: Option<i64>,
    /// Bytes that only a commit can free.
    pub uncommitted_bytes: usize,
}

impl Cluster {
    /// Everything that lies in a topic, partition by partition, decoded. Control records of bounded mode are left out.
    ///
    /// # Panics
    /// If there is no such topic, or its bytes are not what the topic's serdes write.
    pub fn read<K: Data, V: Data>(&self, topic: &Topic<K, V>) -> Vec<Record<K, V>> {
        let (name, task): (Arc<str>, _) = (topic.name().into(), TaskId { subtopology: 0, partition: 0 });
        let data = self.records(topic.name()).into_iter().filter(|record| record.key.is_some() || record.value.is_some());
        let raw = data.map(|LoggedRecord { partition, key, value, timestamp, headers, .. }| RawOutput {
            topic: name.clone(),
            partition,
            key,
            value,
            timestamp: Some(timestamp),
            headers,
            task,
        });
        raw.map(|raw| typed::decode(topic, raw)).collect()
    }

    /// Everything that lies in a topic, partition by partition, as bytes. Changelogs and repartition topics are topics like any other.
    ///
    /// # Panics
    /// If there is no such topic.
    pub fn records(&self, topic: &str) -> Vec<LoggedRecord> {
        self.try_records(topic).unwrap_or_else(|error| panic!("{error}"))
    }

    fn try_records(&self, topic: &str) -> Result<Vec<LoggedRecord>, Error> {
        let mut records = Vec::new();
        for partition in 0..self.log.producer()?.partition_count(topic)? {
            self.read_into(&mut records, &TopicPartition::new(topic, partition), 0)?;
        }
        Ok(records)
    }

    /// The committed records of one partition from an offset on, and where their reader stands then. A reader that goes on from there sees
    /// each record once, and what was deleted before it came not at all.
    ///
    /// # Panics
    /// If there is no such partition.
    pub fn records_since(&self, topic: &str, partition: i32, offset: i64) -> (Vec<LoggedRecord>, i64) {
        let mut records = Vec::new();
        let read = self.read_into(&mut records, &TopicPartition::new(topic, partition), offset);
        (records, read.unwrap_or_else(|error| panic!("{error}")))
    }

    fn read_into(&self, records: &mut Vec<LoggedRecord>, partition: &TopicPartition, offset: i64) -> Result<i64, Error> {
        let mut consumer = self.log.consumer(Isolation::ReadCommitted)?;
        let begin = consumer.begin_offsets(std::slice::from_ref(partition))?[0];
        consumer.assign(&[(partition.clone(), offset.max(begin))])?;
        let all = FetchLimit { records: usize::MAX, bytes: usize::MAX };
        let fetched = consumer.fetch(partition, all, &mut |raw| {
            let (key, value) = (raw.key.map(<[u8]>::to_vec), raw.value.map(<[u8]>::to_vec));
            let (partition, offset, timestamp, headers) = (partition.partition, raw.offset, raw.timestamp, raw.headers.clone());
            records.push(LoggedRecord { partition, offset, key, value, timestamp, headers });
        })?;
        Ok(fetched.next_offset)
    }

    /// Names of all topics, internal ones among them.
    pub fn topics(&self) -> Vec<String> {
        let mut topics = self.log.admin().and_then(|admin| admin.list_topics()).unwrap_or_default();
        topics.sort();
        topics
    }

    /// Where a partition begins and ends.
    ///
    /// # Panics
    /// If there is no such partition.
    pub fn extent(&self, topic: &str, partition: i32) -> std::ops::Range<i64> {
        let of = [TopicPartition::new(topic, partition)];
        let mut consumer = self.log.consumer(Isolation::ReadCommitted).expect("a log in this process is always there");
        let mut ask =
            || Ok::<_, crate::kafka::LogError>((consumer.begin_offsets(&of)?[0], consumer.end_offsets(&of, Isolation::ReadCommitted)?[0]));
        let (begin, end) = ask().unwrap_or_else(|error| panic!("{error}"));
        begin..end
    }

    /// Where the records of a partition end that are decided, and where all do. They are the same unless a transaction is open, or its marker
    /// waits.
    ///
    /// # Panics
    /// If there is no such partition.
    pub fn ends(&self, topic: &str, partition: i32) -> (i64, i64) {
        let of = [TopicPartition::new(topic, partition)];
        let mut consumer = self.log.consumer(Isolation::ReadCommitted).expect("a log in this process is always there");
        let mut end = |isolation| Ok::<_, crate::kafka::LogError>(consumer.end_offsets(&of, isolation)?[0]);
        let ends = end(Isolation::ReadCommitted).and_then(|stable| Ok((stable, end(Isolation::ReadUncommitted)?)));
        ends.unwrap_or_else(|error| panic!("{error}"))
    }

    /// What the group has committed for a partition; none if nothing was.
    pub fn committed(&self, topic: &str, partition: i32) -> Option<CommittedPosition> {
        let mut member = self.log.member(&self.settings.application_id, "looker", Isolation::ReadUncommitted).ok()?;
        let position = member.committed(&[TopicPartition::new(topic, partition)]).ok()?.pop()??;
        let known = CommitMetadata::decode(&position.metadata).unwrap_or_default();
        Some(CommittedPosition { offset: position.offset, partition_time: known.partition_time, watermark: known.time(entry::WATERMARK) })
    }

    /// The parts of a store in all tasks that run and whose owner is alive for the group, uncommitted changes included.
    ///
    /// # Errors
    /// If the store is of another type.
    pub fn store<S: Store>(&self, store: &StoreRef<S>) -> Result<BTreeMap<TaskId, S::View>, Error> {
        let mut views = BTreeMap::new();
        for (task, running, parts) in self.instances.iter().flat_map(|instance| instance.tasks(&self.expelled)) {
            let named = parts.stores().iter().find(|candidate| store.name().is_some_and(|name| *candidate.name == *name));
            let Some(found) = named.filter(|_| running) else { continue };
            let wrong = |_| Error::new(ErrorKind::InvalidConfig, Place::default(), "the store is of another type".into());
            views.insert(task, (found.handle)().downcast::<S>().map_err(wrong)?.view());
        }
        Ok(views)
    }

    /// Where the stores stand of all tasks that run and whose owner is alive for the group.
    pub fn stores(&self) -> Vec<StoreStanding> {
        let tasks = self.instances.iter().flat_map(|instance| instance.tasks(&self.expelled)).filter(|(_, running, _)| *running);
        let stores = tasks.flat_map(|(id, _, task)| task.stores().iter().map(move |store| (id, store)));
        let standing = stores.map(|(task, store)| StoreStanding {
            task,
            store: store.name.clone(),
            changelog: store.changelog.clone().map(|topic| TopicPartition::new(topic, task.partition)),
            offset: store.control.offset(),
            uncommitted_bytes: store.control.uncommitted_bytes(),
        });
        standing.collect()
    }

    /// Who has which task open, by the number of the instance; owners that the group threw out do not count.
    pub fn owners(&self) -> Vec<(TaskId, usize)> {
        let instances = self.instances.iter().enumerate();
        let mut owners: Vec<_> =
            instances.flat_map(|(number, instance)| instance.tasks(&self.expelled).map(move |(task, _, _)| (task, number))).collect();
        owners.sort();
        owners
    }

    /// Every error that stopped a task or a thread in any life of any instance, killed ones left out: the dead do not complain.
    pub fn failures(&self) -> Vec<Arc<TaskFailure>> {
        let alive = self.instances.iter().filter(|instance| !instance.fate.is_dead()).map(|instance| &instance.board);
        self.past.iter().chain(alive).flat_map(|board| board.facts().failures.clone()).collect()
    }

    /// Whether an error stopped a task or a thread in the present life of an instance.
    pub fn has_failures(&self, instance: usize) -> bool {
        self.instances.get(instance).is_some_and(|instance| !instance.board.facts().failures.is_empty())
    }

    /// Each step of each restore in the present life of an instance.
    pub fn restored(&self, instance: usize) -> Vec<RestoreProgress> {
        self.instances.get(instance).map(Instance::restored).unwrap_or_default()
    }

    /// Counts of each life of each instance, those that are over first.
    pub fn progress(&self) -> Vec<Progress> {
        let boards = self.past.iter().chain(self.instances.iter().map(|instance| &instance.board));
        boards.map(|board| Progress::of(&board.facts())).collect()
    }

    /// Everything there is to see, as text: what was done, then each record and each committed position. Two runs of one seed are equal if
    /// their transcripts are.
    pub fn transcript(&self) -> String {
        let mut text = self.deeds.join("\n");
        for topic in self.topics() {
            let records = self.records(&topic);
            for LoggedRecord { partition, offset, key, value, timestamp, headers } in records {
                let _ = write!(text, "\n{topic}-{partition}@{offset} {timestamp} {key:02x?} {value:02x?}");
                for (name, value) in headers.iter() {
                    let _ = write!(text, " {name}={value:02x?}");
                }
            }
            let count = self.log.producer().and_then(|mut producer| producer.partition_count(&topic)).unwrap_or(0);
            for partition in 0..count {
                let _ = write!(text, "\n{topic}-{partition} {:?} {:?}", self.extent(&topic, partition), self.committed(&topic, partition));
            }
        }
        text
    }
}
