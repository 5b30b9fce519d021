//! Topics of the log in memory.

use super::MemoryLog;
use crate::kafka::{Admin, LogError, NewTopic, TopicDescription};
use crate::record::TopicPartition;

/// An administrator.
#[derive(Debug)]
pub(super) struct MemoryAdmin(pub(super) MemoryLog);

impl Admin for MemoryAdmin {
    fn create_topics(&self, topics: &[NewTopic]) -> Result<(), LogError> {
        topics.iter().try_for_each(|topic| self.0.0.topics.create(topic))
    }

    fn describe_topics(&self, names: &[&str]) -> Result<Vec<TopicDescription>, LogError> {
        names.iter().map(|name| Ok(self.0.0.topics.get(name)?.describe(name))).collect()
    }

    fn list_topics(&self) -> Result<Vec<String>, LogError> {
        Ok(self.0.0.topics.names())
    }

    fn delete_topics(&self, names: &[&str]) -> Result<(), LogError> {
        for name in names {
            self.0.0.topics.delete(name)?;
            self.0.0.forget_positions(name);
        }
        self.0.0.signal.ring();
        Ok(())
    }

    fn delete_records(&self, before: &[(TopicPartition, i64)]) -> Result<Vec<i64>, LogError> {
        let deleted = before.iter().map(|(partition, offset)| self.0.0.topics.partition(partition)?.delete_before(*offset)).collect();
        self.0.0.signal.ring();
        deleted
    }
}
