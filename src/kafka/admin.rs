//! The port for topics and groups as such.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{LogError, Position};
use crate::record::{TaskId, Timestamp, TopicPartition};

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
    /// How many copies its partitions have, the fewest of them; none in a log that has no copies.
    pub replication: Option<i32>,
    /// All of its settings in force, defaults included.
    pub config: BTreeMap<String, String>,
}

/// Which topic of its name it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopicIdentity {
    /// What tells it from any other that had its name before or will have it later.
    pub id: u128,
    /// How many partitions it has.
    pub partitions: i32,
}

/// A group as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupDescription {
    /// Its name.
    pub name: String,
    /// What it is about.
    pub state: GroupState,
    /// Who is in, in the order of their ids. None in a group that only has positions.
    pub members: Vec<MemberDescription>,
    /// How they share out their tasks, by Kafka's name (`cooperative-sticky`; `stream` for applications of Kafka Streams). None while that
    /// is not settled, and in a log that has one way only.
    pub assignor: Option<String>,
}

/// What a group is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GroupState {
    /// Nobody is in.
    Empty,
    /// Its tasks are being shared out: some may be nobody's for a moment.
    Rebalancing,
    /// Everybody has what is theirs.
    Stable,
}

/// A member as its group knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberDescription {
    /// Its id, as its token has it.
    pub id: String,
    /// Its lasting name, if it has one.
    pub instance: Option<String>,
    /// What it calls itself; others may call themselves the same.
    pub client: String,
    /// Where it comes from, if the group knows.
    pub host: Option<String>,
    /// The tasks that are its own.
    pub tasks: Vec<TaskId>,
}

/// Makes, describes, changes and deletes topics and groups.
///
/// A call about several topics goes through them in order and stops at the first error; what came before it stays done.
pub trait Admin: Send + Sync {
    /// Makes topics. Success does not promise the settings on every cluster: read them back where they matter.
    fn create_topics(&self, topics: &[NewTopic]) -> Result<(), LogError>;

    /// Describes topics, in the order of the names given.
    fn describe_topics(&self, names: &[&str]) -> Result<Vec<TopicDescription>, LogError>;

    /// Which topic has each name now; none if there is none.
    fn identify(&self, names: &[&str]) -> Result<Vec<Option<TopicIdentity>>, LogError>;

    /// The names of all topics, sorted.
    fn list_topics(&self) -> Result<Vec<String>, LogError>;

    /// Deletes topics with all their records. A topic made later under the same name is another one.
    fn delete_topics(&self, names: &[&str]) -> Result<(), LogError>;

    /// Deletes the records of each partition below an offset; gives the first offset left in each. An offset below the first one changes
    /// nothing, one beyond the end is [`LogError::OffsetOutOfRange`].
    fn delete_records(&self, before: &[(TopicPartition, i64)]) -> Result<Vec<i64>, LogError>;

    /// Gives a topic more partitions, `total` of them; it cannot have less. Keys go to other partitions from then on.
    fn create_partitions(&self, topic: &str, total: i32) -> Result<(), LogError>;

    /// Changes settings of a topic and leaves the others as they are; a setting without a value gets its default again. All or none.
    fn alter_topic(&self, topic: &str, changes: &[(&str, Option<&str>)]) -> Result<(), LogError>;

    /// The latest time among the records of each partition, and the first offset that has it; none in an empty one. It need not be the
    /// time of the last record.
    fn latest_times(&self, partitions: &[TopicPartition]) -> Result<Vec<Option<(i64, Timestamp)>>, LogError>;

    /// The names of all groups that have members or positions, sorted.
    fn list_groups(&self) -> Result<Vec<String>, LogError>;

    /// Describes a group.
    fn describe_group(&self, group: &str) -> Result<GroupDescription, LogError>;

    /// All positions of a group, in the order of topic and partition. Those of transactions that are not decided do not show.
    fn group_positions(&self, group: &str) -> Result<Vec<(TopicPartition, Position)>, LogError>;

    /// How long a position is kept that nobody commits again, where the log forgets some and says so. A cluster forgets those of topics that the
    /// members of a group do not subscribe to, even while the group runs.
    fn positions_kept(&self) -> Result<Option<Duration>, LogError> {
        Ok(None)
    }

    /// Deletes positions of a group without members. Those that are not there are passed over.
    fn delete_positions(&self, group: &str, partitions: &[TopicPartition]) -> Result<(), LogError>;

    /// Deletes a group without members, with all of its positions.
    fn delete_group(&self, group: &str) -> Result<(), LogError>;
}
