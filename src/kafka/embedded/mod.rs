//! The log in this process: topics, offsets and groups as Kafka has them, in memory, with nothing to install.

mod admin;
mod balance;
mod block;
mod consumer;
mod coordinator;
mod member;
mod partition;
mod producer;
mod signal;
#[cfg(test)]
mod tests;
mod topic_config;
mod topics;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};

use self::admin::MemoryAdmin;
use self::consumer::{MemoryConsumer, NoAlarm};
use self::coordinator::Coordinator;
use self::member::Membership;
use self::producer::MemoryProducer;
use self::signal::Signal;
use self::topics::Topics;
use super::{Admin, Connect, Consumer, Group, Isolation, LogError, Producer};
use crate::clock::Clock;

/// A log in this process, gone when its last handle is. Handles are cheap to clone and share one log.
///
/// It keeps everything until it is deleted: retention and compaction do not run. Every append is acknowledged at once and nothing is
/// ever undecided, so both [`Isolation`]s see the same. It draws no lots and reads no other clock than the one it is given: the same
/// calls give the same log.
#[derive(Clone)]
pub struct MemoryLog(Arc<Shared>);

struct Shared {
    clock: Arc<dyn Clock>,
    topics: Topics,
    groups: Mutex<BTreeMap<String, Coordinator>>,
    signal: Signal,
}

impl MemoryLog {
    /// An empty log that takes the time from `clock`.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        MemoryLog(Arc::new(Shared { clock, topics: Topics::default(), groups: Mutex::default(), signal: Signal::default() }))
    }

    /// Bytes of all records it holds, their headers aside.
    pub fn bytes(&self) -> usize {
        self.0.topics.weight()
    }

    /// Throws a member out of its group, as a broker does with one that was silent for too long: its tasks go to the others at once, its
    /// commits are refused, and it is told when it asks for events. `member` is what its token says. False if it is no member.
    pub fn expel(&self, group: &str, member: &str) -> bool {
        let expelled = self.0.group(group, |group| group.expel(member));
        self.0.signal.ring();
        expelled
    }
}

impl Shared {
    /// Does something with a group, which comes to be by being spoken of.
    fn group<T>(&self, name: &str, act: impl FnOnce(&mut Coordinator) -> T) -> T {
        let mut groups = lock(&self.groups);
        if !groups.contains_key(name) {
            groups.insert(name.to_owned(), Coordinator::default());
        }
        act(groups.get_mut(name).expect("just made"))
    }

    fn forget_positions(&self, topic: &str) {
        lock(&self.groups).values_mut().for_each(|group| group.forget(topic));
    }
}

impl Connect for MemoryLog {
    fn consumer(&self, _isolation: Isolation) -> Result<Box<dyn Consumer>, LogError> {
        Ok(Box::new(MemoryConsumer::new(self.clone(), NoAlarm)))
    }

    fn producer(&self) -> Result<Box<dyn Producer>, LogError> {
        Ok(Box::new(MemoryProducer::new(self.clone())))
    }

    fn admin(&self) -> Result<Box<dyn Admin>, LogError> {
        Ok(Box::new(MemoryAdmin(self.clone())))
    }

    fn member(&self, group: &str, name: &str, _isolation: Isolation) -> Result<Box<dyn Group>, LogError> {
        Ok(Box::new(MemoryConsumer::new(self.clone(), Membership::new(self.clone(), group, name))))
    }
}

impl fmt::Debug for MemoryLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("MemoryLog").field(&self.0.topics.names()).finish()
    }
}

/// The lock of a structure that no code of this room leaves half changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no user code runs under a lock of the log")
}
