//! The log as one instance sees it: through ports that can die at any call, bring less than there is, and send later than told.

use std::fmt;
use std::time::Duration;

use super::fate::{Accepted, SharedFate};
use super::writing::{FatefulProducer, FatefulTransactions};
use crate::kafka::{
    Admin, Connect, Consumer, FetchLimit, Fetched, Group, GroupDescription, GroupEvent, Isolation, LogError, MemberOptions, MemberToken,
    MemoryLog, NewTopic, Position, Producer, TaskInputs, TopicDescription, TopicIdentity, TransactionalProducer,
};
use crate::record::{RawRecord, TaskId, Timestamp, TopicPartition};

/// Ten years.
const FOR_EVER: Duration = Duration::from_secs(315_360_000);

/// The log, reached with the fate of one instance.
pub(super) struct FatefulLog {
    pub(super) log: MemoryLog,
    pub(super) fate: SharedFate,
    /// What its members are called in all of its lives, if they have lasting names.
    pub(super) lasting: Option<String>,
}

/// A client with the fate of its instance.
struct Fateful<C> {
    client: C,
    fate: SharedFate,
}

impl FatefulLog {
    fn with<C>(&self, client: C) -> Box<Fateful<C>> {
        Box::new(Fateful { client, fate: self.fate.clone() })
    }
}

impl fmt::Debug for FatefulLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.log.fmt(f)
    }
}

impl Connect for FatefulLog {
    fn consumer(&self, isolation: Isolation) -> Result<Box<dyn Consumer>, LogError> {
        Ok(self.with(self.log.consumer(isolation)?))
    }
    fn producer(&self) -> Result<Box<dyn Producer>, LogError> {
        Ok(Box::new(FatefulProducer::new(self.log.producer()?, self.fate.clone())))
    }
    fn admin(&self) -> Result<Box<dyn Admin>, LogError> {
        Ok(self.with(self.log.admin()?))
    }
    fn transactional_producer(&self, id: &str, timeout: Duration) -> Result<Box<dyn TransactionalProducer>, LogError> {
        let client = self.log.transactional_producer(id, timeout)?;
        Ok(Box::new(FatefulTransactions::new(client, &self.log, id, self.fate.clone())))
    }
    fn member_with(&self, options: MemberOptions) -> Result<Box<dyn Group>, LogError> {
        // Who is silent for too long the cluster decides: the clock may be moved far between two rounds of a living instance.
        let instance = self.lasting.as_ref().map(|lasting| format!("{lasting}-{}", options.name)).or(options.instance.clone());
        Ok(self.with(self.log.member_with(MemberOptions { session_timeout: FOR_EVER, instance, ..options })?))
    }
}

impl<C: Consumer + ?Sized> Consumer for Fateful<Box<C>> {
    fn assign(&mut self, partitions: &[(TopicPartition, i64)]) -> Result<(), LogError> {
        self.client.assign(partitions)
    }
    fn unassign(&mut self, partitions: &[TopicPartition]) {
        self.client.unassign(partitions);
    }
    fn assignment(&self) -> Vec<TopicPartition> {
        self.client.assignment()
    }
    fn seek(&mut self, partition: &TopicPartition, offset: i64) -> Result<(), LogError> {
        self.client.seek(partition, offset)
    }
    fn position(&self, partition: &TopicPartition) -> Result<i64, LogError> {
        self.client.position(partition)
    }
    fn pause(&mut self, partitions: &[TopicPartition]) -> Result<(), LogError> {
        self.client.pause(partitions)
    }
    fn resume(&mut self, partitions: &[TopicPartition]) -> Result<(), LogError> {
        self.client.resume(partitions)
    }
    fn poll(&mut self, _timeout: Duration) -> Result<bool, LogError> {
        self.client.poll(Duration::ZERO)
    }
    fn fetch_while(
        &mut self,
        partition: &TopicPartition,
        limit: FetchLimit,
        visit: &mut dyn FnMut(RawRecord<'_>) -> bool,
    ) -> Result<Fetched, LogError> {
        let limit = FetchLimit { records: self.fate.share(limit.records), ..limit };
        self.fate.call(|| self.client.fetch_while(partition, limit, visit))
    }
    fn begin_offsets(&mut self, partitions: &[TopicPartition]) -> Result<Vec<i64>, LogError> {
        self.fate.call(|| self.client.begin_offsets(partitions))
    }
    fn end_offsets(&mut self, partitions: &[TopicPartition], isolation: Isolation) -> Result<Vec<i64>, LogError> {
        self.fate.call(|| self.client.end_offsets(partitions, isolation))
    }
    fn offsets_for_times(&mut self, times: &[(TopicPartition, Timestamp)]) -> Result<Vec<Option<i64>>, LogError> {
        self.fate.call(|| self.client.offsets_for_times(times))
    }
}

impl Group for Fateful<Box<dyn Group>> {
    fn join(&mut self, tasks: &[TaskInputs]) -> Result<(), LogError> {
        let Fateful { client, fate } = self;
        let joined = fate.call(|| {
            client.join(tasks)?;
            fate.joined(client.token().member);
            Ok(())
        });
        fate.deafen(0);
        joined
    }
    fn next_event(&mut self) -> Option<GroupEvent> {
        if self.fate.hears() { self.client.next_event() } else { None }
    }
    fn token(&self) -> MemberToken {
        self.client.token()
    }
    fn release(&mut self, tasks: &[TaskId]) -> Result<(), LogError> {
        self.fate.call(|| self.client.release(tasks))
    }
    fn commit(&mut self, token: &MemberToken, positions: &[(TopicPartition, Position)]) -> Result<(), LogError> {
        let Fateful { client, fate } = self;
        fate.call(|| {
            client.commit(token, positions)?;
            fate.accept(Accepted { token: token.clone(), positions: positions.to_vec() });
            Ok(())
        })
    }
    fn committed(&mut self, partitions: &[TopicPartition]) -> Result<Vec<Option<Position>>, LogError> {
        self.fate.call(|| self.client.committed(partitions))
    }
    fn leave(&mut self) {
        // The dead do not say good-bye.
        if !self.fate.is_dead() {
            self.client.leave();
        }
    }
}

impl Admin for Fateful<Box<dyn Admin>> {
    fn create_topics(&self, topics: &[NewTopic]) -> Result<(), LogError> {
        self.fate.call(|| self.client.create_topics(topics))
    }
    fn describe_topics(&self, names: &[&str]) -> Result<Vec<TopicDescription>, LogError> {
        self.fate.call(|| self.client.describe_topics(names))
    }
    fn identify(&self, names: &[&str]) -> Result<Vec<Option<TopicIdentity>>, LogError> {
        self.fate.call(|| self.client.identify(names))
    }
    fn list_topics(&self) -> Result<Vec<String>, LogError> {
        self.fate.call(|| self.client.list_topics())
    }
    fn delete_topics(&self, names: &[&str]) -> Result<(), LogError> {
        self.fate.call(|| self.client.delete_topics(names))
    }
    fn delete_records(&self, before: &[(TopicPartition, i64)]) -> Result<Vec<i64>, LogError> {
        self.fate.call(|| self.client.delete_records(before))
    }
    fn create_partitions(&self, topic: &str, total: i32) -> Result<(), LogError> {
        self.fate.call(|| self.client.create_partitions(topic, total))
    }
    fn alter_topic(&self, topic: &str, changes: &[(&str, Option<&str>)]) -> Result<(), LogError> {
        self.fate.call(|| self.client.alter_topic(topic, changes))
    }
    fn latest_times(&self, partitions: &[TopicPartition]) -> Result<Vec<Option<(i64, Timestamp)>>, LogError> {
        self.fate.call(|| self.client.latest_times(partitions))
    }
    fn list_groups(&self) -> Result<Vec<String>, LogError> {
        self.fate.call(|| self.client.list_groups())
    }
    fn describe_group(&self, group: &str) -> Result<GroupDescription, LogError> {
        self.fate.call(|| self.client.describe_group(group))
    }
    fn group_positions(&self, group: &str) -> Result<Vec<(TopicPartition, Position)>, LogError> {
        self.fate.call(|| self.client.group_positions(group))
    }
    fn delete_positions(&self, group: &str, partitions: &[TopicPartition]) -> Result<(), LogError> {
        self.fate.call(|| self.client.delete_positions(group, partitions))
    }
    fn delete_group(&self, group: &str) -> Result<(), LogError> {
        self.fate.call(|| self.client.delete_group(group))
    }
}
