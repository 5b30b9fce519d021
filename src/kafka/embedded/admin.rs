//! Topics of the log in memory.

use super::MemoryLog;
use crate::kafka::{Admin, LogError, NewTopic, TopicDescription};
use crate::record::TopicPartition;

/// An administrator.
#[derive(Debug)]
pub(super) struct MemoryAdmin(pub(super) MemoryLog);

impl Admin for MemoryAdmin {
    fn create_topics(&self, topics: &[NewTopic]) -> Result<(), LogError> {
        self.0.online()?;
        self.0.0.begin_upkeep();
        topics.iter().try_for_each(|topic| self.0.0.topics.create(topic))
    }

    fn describe_topics(&self, names: &[&str]) -> Result<Vec<TopicDescription>, LogError> {
        self.0.online()?;
        names.iter().map(|name| Ok(self.0.0.topics.get(name)?.describe(name))).collect()
    }

    fn list_topics(&self) -> Result<Vec<String>, LogError> {
        self.0.online()?;
        Ok(self.0.0.topics.names())
    }

    fn delete_topics(&self, names: &[&str]) -> Result<(), LogError> {
        self.0.online()?;
        for name in names {
            self.0.0.topics.delete(name)?;
            self.0.0.forget_positions(name);
        }
        self.0.0.signal.ring();
        Ok(())
    }

    fn delete_records(&self, before: &[(TopicPartition, i64)]) -> Result<Vec<i64>, LogError> {
        self.0.online()?;
        let deleted = before.iter().map(|(partition, offset)| self.0.0.topics.partition(partition)?.delete_before(*offset)).collect();
        self.0.0.signal.ring();
        deleted
    }
}
