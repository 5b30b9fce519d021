//! Topics and groups of the log in memory, from outside.

use super::coordinator::Coordinator;
use super::files::Entry;
use super::{MemoryLog, lock};
use crate::kafka::{Admin, GroupDescription, GroupState, LogError, NewTopic, Position, TopicDescription, TopicIdentity};
use crate::record::{Timestamp, TopicPartition};

/// An administrator.
#[derive(Debug)]
pub(super) struct MemoryAdmin(pub(super) MemoryLog);

impl Admin for MemoryAdmin {
    fn create_topics(&self, topics: &[NewTopic]) -> Result<(), LogError> {
        self.0.online()?;
        self.0.0.begin_upkeep();
        topics.iter().try_for_each(|topic| self.0.0.topics.create(topic, &self.0.0.storage))?;
        self.0.0.storage.settle()
    }

    fn describe_topics(&self, names: &[&str]) -> Result<Vec<TopicDescription>, LogError> {
        self.0.online()?;
        names.iter().map(|name| Ok(self.0.0.topics.get(name)?.describe(name))).collect()
    }

    fn identify(&self, names: &[&str]) -> Result<Vec<Option<TopicIdentity>>, LogError> {
        self.0.online()?;
        Ok(names.iter().map(|name| self.0.0.topics.get(name).ok().map(|topic| topic.identity())).collect())
    }

    fn list_topics(&self) -> Result<Vec<String>, LogError> {
        self.0.online()?;
        Ok(self.0.0.topics.names())
    }

    fn delete_topics(&self, names: &[&str]) -> Result<(), LogError> {
        self.0.online()?;
        for name in names {
            self.0.0.topics.delete(name, &self.0.0.storage)?;
            self.0.0.forget_positions(name);
        }
        self.0.0.signal.ring();
        self.0.0.storage.settle()
    }

    fn delete_records(&self, before: &[(TopicPartition, i64)]) -> Result<Vec<i64>, LogError> {
        self.0.online()?;
        let delete = |(partition, offset): &(TopicPartition, i64)| self.0.0.topics.partition(partition)?.delete_before(*offset);
        let deleted = before.iter().map(delete).collect::<Result<_, _>>();
        self.0.0.signal.ring();
        self.0.0.storage.settle()?;
        deleted
    }

    fn create_partitions(&self, topic: &str, total: i32) -> Result<(), LogError> {
        self.0.online()?;
        self.0.0.topics.grow(topic, total, &self.0.0.storage)?;
        self.0.0.storage.settle()
    }

    fn alter_topic(&self, topic: &str, changes: &[(&str, Option<&str>)]) -> Result<(), LogError> {
        self.0.online()?;
        self.0.0.topics.alter(topic, changes, &self.0.0.storage)?;
        self.0.0.storage.settle()
    }

    fn latest_times(&self, partitions: &[TopicPartition]) -> Result<Vec<Option<(i64, Timestamp)>>, LogError> {
        self.0.online()?;
        partitions.iter().map(|partition| self.0.0.topics.partition(partition)?.latest()).collect()
    }

    fn list_groups(&self) -> Result<Vec<String>, LogError> {
        self.0.online()?;
        self.0.0.keep_time();
        Ok(lock(&self.0.0.groups).iter().filter(|(_, group)| group.is_known()).map(|(name, _)| name.clone()).collect())
    }

    fn describe_group(&self, group: &str) -> Result<GroupDescription, LogError> {
        self.in_group(group, |known| {
            let members = known.members();
            let state = if members.is_empty() { GroupState::Empty } else { GroupState::Stable };
            Ok(GroupDescription { name: group.to_owned(), state, members, assignor: None })
        })
    }

    fn group_positions(&self, group: &str) -> Result<Vec<(TopicPartition, Position)>, LogError> {
        self.in_group(group, |known| Ok(known.positions()))
    }

    fn delete_positions(&self, group: &str, partitions: &[TopicPartition]) -> Result<(), LogError> {
        self.delete_from(group, |partition| partitions.contains(partition))
    }

    fn delete_group(&self, group: &str) -> Result<(), LogError> {
        self.delete_from(group, |_| true)
    }
}

impl MemoryAdmin {
    /// Deletes positions of a group that nobody is in.
    fn delete_from(&self, group: &str, which: impl Fn(&TopicPartition) -> bool) -> Result<(), LogError> {
        let storage = &self.0.0.storage;
        self.in_group(group, |known| {
            let known = empty(group, known)?;
            let partitions = known.positions().into_iter().map(|(partition, _)| partition).filter(|partition| which(partition)).collect();
            storage.note(|| Entry::Forgotten { group: group.to_owned(), partitions })?;
            known.delete_positions(which);
            Ok(())
        })?;
        storage.settle()
    }

    /// Does something with a group that there is.
    fn in_group<T>(&self, name: &str, act: impl FnOnce(&mut Coordinator) -> Result<T, LogError>) -> Result<T, LogError> {
        self.0.online()?;
        self.0.0.keep_time();
        let mut groups = lock(&self.0.0.groups);
        let known = groups.get_mut(name).filter(|group| group.is_known());
        act(known.ok_or_else(|| LogError::UnknownGroup(name.to_owned()))?)
    }
}

fn empty<'a>(name: &str, group: &'a mut Coordinator) -> Result<&'a mut Coordinator, LogError> {
    if group.is_empty() { Ok(group) } else { Err(LogError::GroupNotEmpty(name.to_owned())) }
}
