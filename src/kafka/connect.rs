//! Where clients come from.

use std::fmt;
use std::sync::Arc;
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

    /// The same log with clients that hold no more than that. None if clients of this log hold nothing that counts.
    fn within(&self, room: ClientRoom) -> Option<Arc<dyn Connect>> {
        let _ = room;
        None
    }

    /// The same log with clients that go by that name, as far as nobody has said another one: quotas of brokers are given to names, and brokers'
    /// logs and metrics show them. None if clients of this log have no names.
    fn named(&self, name: &str) -> Option<Arc<dyn Connect>> {
        let _ = name;
        None
    }

    /// A consumer that can join `group`, with the usual session and no lasting name. `name` is what tools show; it need not be unique.
    fn member(&self, group: &str, name: &str, isolation: Isolation) -> Result<Box<dyn Group>, LogError> {
        self.member_with(MemberOptions { isolation, ..MemberOptions::new(group, name) })
    }
}

/// What clients may hold in memory of what they read and write, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientRoom {
    /// Of each partition that is read: fetched ahead. As much again may be on its way.
    pub fetched: usize,
    /// Of each producer: sent, and not acknowledged.
    pub sent: usize,
}

/// Where nobody has said how much there is.
impl Default for ClientRoom {
    fn default() -> Self {
        ClientRoom { fetched: ClientRoom::MOST_FETCHED, sent: ClientRoom::MOST_SENT }
    }
}

impl ClientRoom {
    const MOST_FETCHED: usize = 4 << 20;
    /// Less makes more requests than it saves memory.
    const LEAST_FETCHED: usize = 32 << 10;
    const MOST_SENT: usize = 64 << 20;
    /// A record that does not fit in would wait for ever, and some topics take records of several megabytes.
    const LEAST_SENT: usize = 16 << 20;

    /// The share of an instance that may hold `memory` bytes in all: an eighth for what it reads if it reads all `partitions`, a sixteenth for
    /// what its `producers` send.
    pub fn of(memory: usize, partitions: usize, producers: usize) -> Self {
        ClientRoom {
            fetched: (memory / 8 / 2 / partitions.max(1)).clamp(Self::LEAST_FETCHED, Self::MOST_FETCHED),
            sent: (memory / 16 / producers.max(1)).clamp(Self::LEAST_SENT, Self::MOST_SENT),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_share_what_there_is() {
        let room = ClientRoom::of(512 << 20, 64, 1);
        assert_eq!(room, ClientRoom { fetched: 512 << 10, sent: 32 << 20 });
        assert!(2 * 64 * room.fetched + room.sent <= (512 << 20) / 8 + (512 << 20) / 16);
        assert_eq!(ClientRoom::of(512 << 20, 1, 0), ClientRoom { fetched: 4 << 20, sent: 32 << 20 });
        assert_eq!(ClientRoom::of(1 << 20, 1_000, 8), ClientRoom { fetched: 32 << 10, sent: 16 << 20 });
    }
}
