//! The topics of a log by name.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, RwLock};

use super::files::{Recovered, Storage, TopicImage, TopicNumber};
use super::partition::Partition;
use super::topic_config::TopicConfig;
use super::verdicts::WriterNumber;
use crate::kafka::{LogError, NewTopic, TopicDescription, TopicIdentity};
use crate::record::TopicPartition;

/// All topics, sorted, and how many were made in this process.
#[derive(Debug, Default)]
pub(super) struct Topics(RwLock<BTreeMap<Arc<str>, Arc<Topic>>>, AtomicU64);

/// One topic.
#[derive(Debug)]
pub(super) struct Topic {
    /// By which its files know it; no other topic of the log has or had it.
    number: TopicNumber,
    pub(super) config: TopicConfig,
    pub(super) partitions: Vec<Arc<Partition>>,
}

impl Topics {
    pub(super) fn create(&self, topic: &NewTopic, storage: &Storage) -> Result<(), LogError> {
        let name: Arc<str> = topic.name.as_str().into();
        if !is_legal(&name) {
            return Err(LogError::IllegalName(topic.name.clone()));
        }
        if topic.partitions < 1 {
            return Err(LogError::InvalidPartitions { topic: topic.name.clone(), partitions: topic.partitions });
        }
        let config = TopicConfig::new(&name, &topic.config)?;
        let mut topics = self.0.write().expect("nobody panics with it");
        if topics.contains_key(&name) {
            return Err(LogError::TopicExists(topic.name.clone()));
        }
        let (number, files) = storage.create_topic(TopicImage::of(&name, topic.partitions, &config))?;
        // Without files nobody else counts.
        let number = if number == 0 { self.1.fetch_add(1, Ordering::Relaxed) + 1 } else { number };
        let partition = |(files, n)| Arc::new(Partition::new(TopicPartition::new(name.clone(), n), files));
        let partitions = files.into_iter().zip(0..).map(partition).collect();
        topics.insert(name, Arc::new(Topic { number, config, partitions }));
        Ok(())
    }

    /// Gives a topic more partitions.
    pub(super) fn grow(&self, name: &str, total: i32, storage: &Storage) -> Result<(), LogError> {
        self.replace(name, |topic| {
            if total <= topic.count() {
                return Err(LogError::InvalidPartitions { topic: name.to_owned(), partitions: total });
            }
            let config = topic.config.clone();
            let files = storage.change_topic(topic.number, topic.count(), TopicImage::of(name, total, &config))?;
            let more =
                files.into_iter().zip(topic.count()..).map(|(files, n)| Arc::new(Partition::new(TopicPartition::new(name, n), files)));
            Ok(Topic { number: topic.number, config, partitions: topic.partitions.iter().cloned().chain(more).collect() })
        })
    }

    /// Changes settings of a topic.
    pub(super) fn alter(&self, name: &str, changes: &[(&str, Option<&str>)], storage: &Storage) -> Result<(), LogError> {
        self.replace(name, |topic| {
            let config = topic.config.changed(name, changes)?;
            storage.change_topic(topic.number, topic.count(), TopicImage::of(name, topic.count(), &config))?;
            Ok(Topic { number: topic.number, config, partitions: topic.partitions.clone() })
        })
    }

    fn replace(&self, name: &str, change: impl FnOnce(&Topic) -> Result<Topic, LogError>) -> Result<(), LogError> {
        let mut topics = self.0.write().expect("nobody panics with it");
        let topic = topics.get_mut(name).ok_or_else(|| LogError::UnknownTopic(name.into()))?;
        *topic = Arc::new(change(topic)?);
        Ok(())
    }

    /// Puts a topic back that files have.
    pub(super) fn restore(&self, number: TopicNumber, topic: &TopicImage, partitions: Vec<Recovered>) -> Result<(), LogError> {
        let name: Arc<str> = topic.name.as_str().into();
        let config = TopicConfig::new(&name, &topic.config)?;
        let partition = |(found, n)| Arc::new(Partition::recovered(TopicPartition::new(name.clone(), n), found));
        let partitions = partitions.into_iter().zip(0..).map(partition).collect();
        self.0.write().expect("nobody panics with it").insert(name, Arc::new(Topic { number, config, partitions }));
        Ok(())
    }

    pub(super) fn delete(&self, name: &str, storage: &Storage) -> Result<(), LogError> {
        let mut topics = self.0.write().expect("nobody panics with it");
        let topic = topics.get(name).ok_or_else(|| LogError::UnknownTopic(name.into()))?;
        storage.delete_topic(topic.number)?;
        let topic = topics.remove(name).expect("just found");
        topic.partitions.iter().for_each(|partition| partition.delete());
        storage.remove_files(topic.number, name);
        Ok(())
    }

    pub(super) fn get(&self, name: &str) -> Result<Arc<Topic>, LogError> {
        let topics = self.0.read().expect("nobody panics with it");
        topics.get(name).cloned().ok_or_else(|| LogError::UnknownTopic(name.into()))
    }

    pub(super) fn partition(&self, partition: &TopicPartition) -> Result<Arc<Partition>, LogError> {
        self.get(&partition.topic)?.partition(partition).cloned()
    }

    /// Transactions whose marker has yet to come, with the partitions to which it has.
    pub(super) fn undecided(&self) -> BTreeMap<WriterNumber, Vec<Arc<Partition>>> {
        let mut undecided: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for partition in self.all().iter().flat_map(|topic| &topic.partitions) {
            partition.undecided().into_iter().for_each(|writer| undecided.entry(writer).or_default().push(partition.clone()));
        }
        undecided
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.0.read().expect("nobody panics with it").keys().map(|name| (**name).to_owned()).collect()
    }

    pub(super) fn all(&self) -> Vec<Arc<Topic>> {
        self.0.read().expect("nobody panics with it").values().cloned().collect()
    }

    pub(super) fn weight(&self) -> usize {
        let topics = self.0.read().expect("nobody panics with it");
        topics.values().flat_map(|topic| &topic.partitions).map(|partition| partition.weight()).sum()
    }
}

impl Topic {
    pub(super) fn partition(&self, partition: &TopicPartition) -> Result<&Arc<Partition>, LogError> {
        let found = usize::try_from(partition.partition).ok().and_then(|n| self.partitions.get(n));
        found.ok_or_else(|| LogError::UnknownPartition { partition: partition.clone(), count: self.count() })
    }

    pub(super) fn identity(&self) -> TopicIdentity {
        TopicIdentity { id: self.number.into(), partitions: self.count() }
    }

    pub(super) fn count(&self) -> i32 {
        i32::try_from(self.partitions.len()).expect("made from an i32")
    }

    pub(super) fn describe(&self, name: &str) -> TopicDescription {
        TopicDescription { name: name.to_owned(), partitions: self.count(), replication: None, config: self.config.all().clone() }
    }
}

fn is_legal(name: &str) -> bool {
    let fits = (1..=249).contains(&name.len()) && name != "." && name != "..";
    fits && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}
