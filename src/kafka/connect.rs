//! Where clients come from.

use std::fmt;
use std::time::Duration;

use super::{Admin, Consumer, Group, Isolation, LogError, MemberOptions, NewTopic, Producer, TransactionalProducer};
use crate::record::TaskId;

/// A log that clients can be opened to: one cluster with its addresses and credentials, or a log in this process.
pub trait Connect: Send + Sync + fmt::Debug {
    /// A consumer outside of any group.
    fn consumer(&self, isolation: Isolation) -> Result<Box<dyn Consumer>, LogError>;

    /// A producer.
    fn producer(&self) -> Result<Box<dyn Producer>, LogError>;

    /// A producer of transactions, yet to be [initialised](TransactionalProducer::init). Of all producers that were given one `id` only the
    /// one initialised last can write. A transaction open for longer than `timeout` is aborted.
    fn transactional_producer(&self, id: &str, timeout: Duration) -> Result<Box<dyn TransactionalProducer>, LogError>;

    /// An administrator.
    fn admin(&self) -> Result<Box<dyn Admin>, LogError>;

    /// A consumer that can join a group.
    fn member_with(&self, options: MemberOptions) -> Result<Box<dyn Group>, LogError>;

    /// The topics that `group` needs for itself on this log, to share out these tasks. A member makes those that are not there.
    fn task_topics(&self, group: &str, tasks: &[TaskId]) -> Vec<NewTopic> {
        let _ = (group, tasks);
        Vec::new()
    }

    /// A consumer that can join `group`, with the usual session and no lasting name. `name` is what tools show; it need not be unique.
    fn member(&self, group: &str, name: &str, isolation: Isolation) -> Result<Box<dyn Group>, LogError> {
        self.member_with(MemberOptions { isolation, ..MemberOptions::new(group, name) })
    }
}
