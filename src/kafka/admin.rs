//! The port for topics as such.

use std::collections::BTreeMap;

use super::LogError;
use crate::record::TopicPartition;

/// A topic to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewTopic {
    /// Its name.
    pub name: String,
    /// How many partitions it gets.
    pub partitions: i32,
    /// Settings by Kafka's names, `cleanup.policy` say; the others keep their defaults.
    pub config: BTreeMap<String, String>,
}

impl NewTopic {
    /// A topic with default settings.
    pub fn new(name: impl Into<String>, partitions: i32) -> Self {
        NewTopic { name: name.into(), partitions, config: BTreeMap::new() }
    }
    /// The same with one setting more.
    pub fn with(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.config.insert(key.into(), value.into());
        self
    }
}

/// A topic as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicDescription {
    /// Its name.
    pub name: String,
    /// How many partitions it has.
    pub partitions: i32,
    /// All of its settings in force, defaults included.
    pub config: BTreeMap<String, String>,
}

/// Makes, describes and deletes topics.
///
/// A call about several topics goes through them in order and stops at the first error; what came before it stays done.
pub trait Admin: Send + Sync {
    /// Makes topics. Success does not promise the settings on every cluster: read them back where they matter.
    fn create_topics(&self, topics: &[NewTopic]) -> Result<(), LogError>;

    /// Describes topics, in the order of the names given.
    fn describe_topics(&self, names: &[&str]) -> Result<Vec<TopicDescription>, LogError>;

    /// The names of all topics, sorted.
    fn list_topics(&self) -> Result<Vec<String>, LogError>;

    /// Deletes topics with all their records. A topic made later under the same name is another one.
    fn delete_topics(&self, names: &[&str]) -> Result<(), LogError>;

    /// Deletes the records of each partition below an offset; gives the first offset left in each. An offset below the first one changes
    /// nothing, one beyond the end is [`LogError::OffsetOutOfRange`].
    fn delete_records(&self, before: &[(TopicPartition, i64)]) -> Result<Vec<i64>, LogError>;
}
