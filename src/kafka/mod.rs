//! The ports to a partitioned log, and the log in memory that stands behind them by default.
//!
//! The engine speaks to four traits, and opens their implementations through [`Connect`]:
//!
//! * [`Consumer`] reads the partitions it is told to, at the offsets it is told to. A fetch visits borrowed records of one partition.
//! * [`Producer`] takes slices of borrowed records for one partition and tells at [`flush`](Producer::flush) what was acknowledged.
//!   Transactions will be methods of this trait, between `send` and `flush`; the offsets of a transaction carry the [`MemberToken`].
//! * [`Admin`] makes, describes and deletes topics, and deletes records.
//! * [`Group`] is a consumer that is a member of a group. It speaks of tasks: assigned, revocation requested, release, lost, commit.
//!
//! Nothing asynchronous, no channel and no allocation per record crosses a port, and only [`Consumer::poll`] and
//! [`Producer::flush`] wait for anything but an answer.

mod admin;
mod connect;
mod consumer;
mod error;
mod group;
mod partitioner;
mod producer;

pub use admin::{Admin, NewTopic, TopicDescription};
pub use connect::Connect;
pub use consumer::{Consumer, FetchLimit, Fetched, Isolation};
pub use error::LogError;
pub use group::{Group, GroupEvent, MemberToken, Position, TaskInputs};
pub use partitioner::{RoundRobin, partition_of};
pub use producer::{Flushed, Outgoing, Producer};
