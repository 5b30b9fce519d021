//! A consumer that is a member of a group, on the log in memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use super::MemoryLog;
use super::balance::MemberNumber;
use super::consumer::{Alarm, MemoryConsumer};
use super::coordinator::{Applicant, Coordinator};
use crate::kafka::{Group, GroupEvent, Isolation, LogError, MemberOptions, MemberToken, Position, TaskInputs};
use crate::record::{TaskId, Timestamp, TopicPartition};

/// What a broker takes beside an offset.
const LONGEST_METADATA: usize = 4096;

/// A place in a group, taken or not.
#[derive(Debug)]
pub(super) struct Membership {
    log: MemoryLog,
    group: String,
    life: Applicant,
    joined: bool,
    /// The last one known; stale once the place is lost.
    token: MemberToken,
}

impl Membership {
    pub(super) fn new(log: MemoryLog, options: MemberOptions) -> Self {
        let MemberOptions { group, name, instance, session_timeout, .. } = options;
        let life = Applicant { name, instance, session: session_timeout, heard: Arc::new(AtomicI64::new(0)) };
        Membership { log, group, life, joined: false, token: MemberToken::nobody() }
    }
}

impl Membership {
    /// Does something with the group, then wakes whom that may concern.
    fn change<T>(&self, act: impl FnOnce(&mut Coordinator) -> T) -> T {
        let done = self.log.0.group(&self.group, act);
        self.log.0.signal.ring();
        done
    }

    fn ask<T>(&self, ask: impl FnOnce(&mut Coordinator) -> T) -> T {
        self.log.0.group(&self.group, ask)
    }

    fn fenced(&self, token: &MemberToken) -> LogError {
        LogError::Fenced { group: self.group.clone(), token: token.clone() }
    }

    /// Its number, while the group knows it.
    fn number(&self, group: &Coordinator) -> Option<MemberNumber> {
        if self.joined { group.number(&self.token.member) } else { None }
    }

    fn leave(&mut self) {
        let was_in = std::mem::take(&mut self.joined);
        if was_in && self.log.online().is_ok() {
            self.change(|group| group.number(&self.token.member).into_iter().for_each(|number| group.leave(number)));
        }
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.leave();
    }
}

impl Alarm for Membership {
    fn is_due(&self) -> bool {
        self.joined && self.ask(|group| group.number(&self.token.member).is_some_and(|number| group.has_event(number)))
    }

    fn polled(&self, now: Timestamp) {
        self.life.heard.store(now.as_millis(), Ordering::SeqCst);
    }
}

impl Group for MemoryConsumer<Membership> {
    fn join(&mut self, tasks: &[TaskInputs]) -> Result<(), LogError> {
        self.alarm.leave();
        self.alarm.log.online()?;
        let shared = &self.alarm.log.0;
        self.alarm.polled(shared.clock.now());
        shared.keep_time();
        let joined = self.alarm.change(|group| group.join(self.alarm.life.clone(), tasks));
        shared.deadlines.add(self.alarm.life.deadline());
        self.alarm.token = joined.ok_or_else(|| LogError::InconsistentTasks(self.alarm.group.clone()))?;
        self.alarm.joined = true;
        Ok(())
    }

    fn next_event(&mut self) -> Option<GroupEvent> {
        self.alarm.log.online().ok()?;
        let alarm = &self.alarm;
        let (event, token) = alarm.ask(|group| {
            let number = alarm.number(group)?;
            Some((group.next_event(number), group.token(number)))
        })?;
        match token {
            Some(token) => self.alarm.token = token,
            None => self.alarm.joined = false,
        }
        event
    }

    fn token(&self) -> MemberToken {
        self.alarm.token.clone()
    }

    fn release(&mut self, tasks: &[TaskId]) -> Result<(), LogError> {
        self.alarm.log.online()?;
        let alarm = &self.alarm;
        if !alarm.joined {
            return Err(LogError::NotAMember(alarm.group.clone()));
        }
        let released = alarm.change(|group| group.release(alarm.number(group)?, tasks));
        self.alarm.token = released.ok_or_else(|| alarm.fenced(&alarm.token))?;
        Ok(())
    }

    fn commit(&mut self, token: &MemberToken, positions: &[(TopicPartition, Position)]) -> Result<(), LogError> {
        self.alarm.log.online()?;
        self.alarm.log.check_positions(positions)?;
        self.alarm.log.0.keep_time();
        let shared = &self.alarm.log.0;
        if !shared.put_positions(&self.alarm.group, None, token, positions)? {
            return Err(self.alarm.fenced(token));
        }
        shared.storage.settle()
    }

    fn committed(&mut self, partitions: &[TopicPartition]) -> Result<Vec<Option<Position>>, LogError> {
        self.alarm.log.online()?;
        self.alarm.log.0.keep_time();
        let stable = self.isolation == Isolation::ReadCommitted;
        self.alarm.ask(|group| {
            let undecided = partitions.iter().find(|partition| stable && group.is_undecided(partition));
            match undecided {
                Some(partition) => Err(LogError::PositionUndecided { group: self.alarm.group.clone(), partition: partition.clone() }),
                None => Ok(partitions.iter().map(|partition| group.committed(partition)).collect()),
            }
        })
    }

    fn leave(&mut self) {
        self.alarm.leave();
    }
}

impl MemoryLog {
    /// Refuses positions that no broker would take.
    pub(super) fn check_positions(&self, positions: &[(TopicPartition, Position)]) -> Result<(), LogError> {
        for (partition, position) in positions {
            self.0.topics.partition(partition)?;
            let bytes = position.metadata.len();
            if bytes > LONGEST_METADATA {
                return Err(LogError::MetadataTooLarge { partition: partition.clone(), bytes, limit: LONGEST_METADATA });
            }
        }
        Ok(())
    }
}
