//! The ports to a partitioned log, and the log in memory that stands behind them by default.
//!
//! The engine speaks to five traits, and opens their implementations through [`Connect`]:
//!
//! * [`Consumer`] reads the partitions it is told to, at the offsets it is told to. A fetch visits borrowed records of one partition.
//! * [`Producer`] takes slices of borrowed records for one partition and tells at [`flush`](Producer::flush) what was acknowledged.
//! * [`TransactionalProducer`] does so in transactions, which may hold positions of a group as well, with the [`MemberToken`] as proof.
//! * [`Admin`] makes, describes and deletes topics and groups, and deletes records.
//! * [`Group`] is a consumer that is a member of a group. It speaks of tasks: assigned, revocation requested, release, lost, commit.
//!
//! Nothing asynchronous, no channel and no allocation per record crosses a port, and only [`Consumer::poll`] and
//! [`Producer::flush`] wait for anything but an answer.
//!
//! [`FileLog`] is the same log in a folder, where a killed process finds it again. [`MemoryLog`] lives in this process and needs nothing
//! installed:
//!
//! ```
//! use std::sync::Arc;
//! use std::time::Duration;
//!
//! use highwater::kafka::{Connect, FetchLimit, Isolation, MemoryLog, NewTopic, Outgoing, Position, TaskInputs};
//! use highwater::{Headers, SystemClock, TaskId, Timestamp, TopicPartition};
//!
//! # fn main() -> Result<(), highwater::kafka::LogError> {
//! let log = MemoryLog::new(Arc::new(SystemClock));
//! log.admin()?.create_topics(&[NewTopic::new("orders", 1)])?;
//! let orders = TopicPartition::new("orders", 0);
//!
//! let mut producer = log.producer()?;
//! let record = Outgoing { key: Some(b"anna"), value: Some(b"3 pears"), timestamp: Timestamp::from_millis(0), headers: &Headers::default() };
//! producer.send(&orders, &[record])?;
//! assert_eq!(producer.flush(Duration::from_secs(1)).acked, [(orders.clone(), 0)]);
//!
//! let task = TaskId { subtopology: 0, partition: 0 };
//! let mut member = log.member("shop", "thread-1", Isolation::ReadCommitted)?;
//! member.join(&[TaskInputs { task, partitions: vec![orders.clone()] }])?;
//! member.poll(Duration::from_secs(1))?;
//! assert!(member.next_event().is_some(), "the task is ours");
//!
//! member.assign(&[(orders.clone(), 0)])?;
//! let fetched = member.fetch(&orders, FetchLimit::default(), &mut |record| assert_eq!(record.value, Some(&b"3 pears"[..])))?;
//! assert_eq!((fetched.next_offset, fetched.end), (1, 1));
//!
//! let position = Position { offset: fetched.next_offset, metadata: String::new() };
//! member.commit(&member.token(), &[(orders.clone(), position.clone())])?;
//! assert_eq!(member.committed(&[orders])?, [Some(position)]);
//! # Ok(())
//! # }
//! ```

mod admin;
#[cfg(test)]
mod conformance;
mod connect;
mod consumer;
mod embedded;
mod error;
mod group;
#[cfg(feature = "kafka")]
mod librdkafka;
mod partitioner;
mod producer;
mod task_topic;
mod transaction;

pub use admin::{Admin, GroupDescription, GroupState, MemberDescription, NewTopic, TopicDescription, TopicIdentity};
pub use connect::{ClientRoom, Connect};
pub use consumer::{Consumer, FetchLimit, Fetched, Isolation};
pub use embedded::{
    Durability, FileLog, FileLogOptions, GroupStanding, LogReader, LostCommit, MarkerPlace, MemoryLog, PartitionStanding, PendingMarker,
    TopicStanding,
};
pub use error::LogError;
pub use group::{Group, GroupEvent, MemberOptions, MemberToken, Occupied, Position, TaskInputs};
#[cfg(feature = "kafka")]
pub use librdkafka::{KafkaConfig, KafkaConfigError, KafkaLog};
pub use partitioner::{RoundRobin, partition_of};
pub use producer::{Flushed, Outgoing, Producer};
pub use task_topic::task_topics;
pub use transaction::TransactionalProducer;
