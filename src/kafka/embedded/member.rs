//! A consumer that is a member of a group, on the log in memory.

use super::MemoryLog;
use super::balance::MemberNumber;
use super::consumer::{Alarm, MemoryConsumer};
use super::coordinator::Coordinator;
use crate::kafka::{Group, GroupEvent, LogError, MemberToken, Position, TaskInputs};
use crate::record::{TaskId, TopicPartition};

/// What a broker takes beside an offset.
const LONGEST_METADATA: usize = 4096;

/// A place in a group, taken or not.
#[derive(Debug)]
pub(super) struct Membership {
    log: MemoryLog,
    group: String,
    name: String,
    number: Option<MemberNumber>,
    /// The last one known; stale once the place is lost.
    token: MemberToken,
}

impl Membership {
    pub(super) fn new(log: MemoryLog, group: &str, name: &str) -> Self {
        Membership { log, group: group.to_owned(), name: name.to_owned(), number: None, token: MemberToken::nobody() }
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

    fn leave(&mut self) {
        if let Some(number) = self.number.take() {
            self.change(|group| group.leave(number));
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
        self.number.is_some_and(|number| self.ask(|group| group.has_event(number)))
    }
}

impl Group for MemoryConsumer<Membership> {
    fn join(&mut self, tasks: &[TaskInputs]) -> Result<(), LogError> {
        self.alarm.leave();
        let joined = self.alarm.change(|group| group.join(&self.alarm.name, tasks));
        let (number, token) = joined.ok_or_else(|| LogError::InconsistentTasks(self.alarm.group.clone()))?;
        (self.alarm.number, self.alarm.token) = (Some(number), token);
        Ok(())
    }

    fn next_event(&mut self) -> Option<GroupEvent> {
        let number = self.alarm.number?;
        let (event, token) = self.alarm.ask(|group| (group.next_event(number), group.token(number)));
        match token {
            Some(token) => self.alarm.token = token,
            None => self.alarm.number = None,
        }
        event
    }

    fn token(&self) -> MemberToken {
        self.alarm.token.clone()
    }

    fn release(&mut self, tasks: &[TaskId]) -> Result<(), LogError> {
        let number = self.alarm.number.ok_or_else(|| LogError::NotAMember(self.alarm.group.clone()))?;
        self.alarm.token = self.alarm.change(|group| group.release(number, tasks)).ok_or_else(|| self.alarm.fenced(&self.alarm.token))?;
        Ok(())
    }

    fn commit(&mut self, token: &MemberToken, positions: &[(TopicPartition, Position)]) -> Result<(), LogError> {
        for (partition, position) in positions {
            self.alarm.log.0.topics.partition(partition)?;
            let bytes = position.metadata.len();
            if bytes > LONGEST_METADATA {
                return Err(LogError::MetadataTooLarge { partition: partition.clone(), bytes, limit: LONGEST_METADATA });
            }
        }
        let written = self.alarm.ask(|group| group.commit(token, positions));
        if written { Ok(()) } else { Err(self.alarm.fenced(token)) }
    }

    fn committed(&mut self, partitions: &[TopicPartition]) -> Result<Vec<Option<Position>>, LogError> {
        Ok(self.alarm.ask(|group| partitions.iter().map(|partition| group.committed(partition)).collect()))
    }

    fn leave(&mut self) {
        self.alarm.leave();
    }
}
