//! What the log does by itself from time to time: retention, compaction, and the end of positions that nobody commits any more.
//!
//! It has no thread of its own. Whoever calls when it is due does it, so the same calls at the same times give the same log.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, TryLockError};
use std::time::Duration;

use super::files::Entry;
use super::partition::Reach;
use super::topics::Topic;
use super::{MemoryLog, Shared, lock};
use crate::kafka::LogError;
use crate::record::{Timestamp, millis};

/// From one round to the next.
const EVERY: Duration = Duration::from_secs(1);
/// For ever.
const NEVER: i64 = i64::MAX;

/// When the next round is due, and who does it.
#[derive(Debug)]
pub(super) struct Upkeep {
    next: AtomicI64,
    /// How long a position stays that nobody commits, in milliseconds.
    positions_stay: AtomicI64,
    /// Held by the one who compacts.
    compacting: Mutex<()>,
}

impl Default for Upkeep {
    fn default() -> Self {
        Upkeep { next: AtomicI64::new(NEVER), positions_stay: AtomicI64::new(NEVER), compacting: Mutex::default() }
    }
}

impl Shared {
    /// There is something to look after from now on.
    pub(super) fn begin_upkeep(&self) {
        let first = self.clock.now() + EVERY;
        let _ = self.upkeep.next.compare_exchange(NEVER, first.as_millis(), Ordering::SeqCst, Ordering::SeqCst);
        self.deadlines.add(Timestamp::from_millis(self.upkeep.next.load(Ordering::SeqCst)));
    }

    /// A round, if one is due.
    pub(super) fn upkeep(&self, now: Timestamp) {
        let due = self.upkeep.next.load(Ordering::SeqCst);
        if due == NEVER {
            return;
        }
        if due <= now.as_millis() {
            self.upkeep.next.store((now + EVERY).as_millis(), Ordering::SeqCst);
            self.look_after_topics(now);
            self.look_after_positions(now);
        }
        self.deadlines.add(Timestamp::from_millis(self.upkeep.next.load(Ordering::SeqCst)));
    }

    fn look_after_topics(&self, now: Timestamp) {
        // Whoever compacts already will see to the rest.
        let turn = match self.upkeep.compacting.try_lock() {
            Ok(turn) => Some(turn),
            Err(TryLockError::WouldBlock) => None,
            Err(TryLockError::Poisoned(_)) => panic!("no user code runs under a lock of the log"),
        };
        for topic in self.topics.all() {
            let retention = topic.config.retention();
            for partition in &topic.partitions {
                partition.expire(retention, now);
                if retention.compacts && turn.is_some() {
                    partition.compact(retention, Reach::Due, now);
                }
            }
        }
    }

    fn look_after_positions(&self, now: Timestamp) {
        let stay = self.upkeep.positions_stay.load(Ordering::SeqCst);
        for (name, group) in lock(&self.groups).iter_mut() {
            let partitions = group.expire_positions(now, stay);
            if partitions.is_empty() {
                continue;
            }
            if let Err(error) = self.storage.note(|| Entry::Forgotten { group: name.clone(), partitions }) {
                tracing::warn!(%error, group = name, "positions that are over will be there again when the log is opened");
            }
        }
    }

    fn compact(&self, topic: &Topic) {
        let _turn = lock(&self.upkeep.compacting);
        let now = self.clock.now();
        topic.partitions.iter().for_each(|partition| partition.compact(topic.config.retention(), Reach::Everything, now));
    }
}

impl MemoryLog {
    /// Compacts all partitions of a topic now, whatever its `cleanup.policy` says, as far as transactions are decided and records are
    /// older than its `min.compaction.lag.ms`. A topic with the policy `compact` is compacted from time to time by itself.
    pub fn compact(&self, topic: &str) -> Result<(), LogError> {
        self.online()?;
        self.0.compact(&*self.0.topics.get(topic)?);
        Ok(())
    }

    /// How long a position stays that nobody commits again, as a broker's `offsets.retention.minutes` says: for ever if not said. It
    /// counts from the commit, and in a group without members not before the last one has left.
    pub fn keep_positions(&self, stay: Option<Duration>) {
        self.0.upkeep.positions_stay.store(stay.map_or(NEVER, millis), Ordering::SeqCst);
        self.0.begin_upkeep();
    }
}
