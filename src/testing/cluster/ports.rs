//! The log as one instance sees it: through ports that can die at any call, bring less than there is, and send later than told.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use super::fate::SharedFate;
use crate::kafka::{
    Admin, Connect, Consumer, FetchLimit, Fetched, Flushed, Group, GroupDescription, GroupEvent, Isolation, LogError, MemberOptions,
    MemberToken, MemoryLog, NewTopic, Outgoing, Position, Producer, TaskInputs, TopicDescription, TransactionalProducer,
};
use crate::record::{Headers, RawRecord, TaskId, Timestamp, TopicPartition};

/// Ten years.
const FOR_EVER: Duration = Duration::from_secs(315_360_000);

/// The log, reached with the fate of one instance.
pub(super) struct FatefulLog {
    pub(super) log: MemoryLog,
    pub(super) fate: SharedFate,
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
        let (client, fate) = (self.log.producer()?, self.fate.clone());
        Ok(Box::new(FatefulProducer { client, fate, waiting: VecDeque::new(), failed: Vec::new() }))
    }
    fn admin(&self) -> Result<Box<dyn Admin>, LogError> {
        Ok(self.with(self.log.admin()?))
    }
    fn transactional_producer(&self, id: &str, timeout: Duration) -> Result<Box<dyn TransactionalProducer>, LogError> {
        self.log.transactional_producer(id, timeout)
    }
    fn member_with(&self, options: MemberOptions) -> Result<Box<dyn Group>, LogError> {
        // Who is silent for too long the cluster decides: the clock may be moved far between two rounds of a living instance.
        Ok(self.with(self.log.member_with(MemberOptions { session_timeout: FOR_EVER, ..options })?))
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
    fn fetch(&mut self, partition: &TopicPartition, limit: FetchLimit, visit: &mut dyn FnMut(RawRecord<'_>)) -> Result<Fetched, LogError> {
        let limit = FetchLimit { records: self.fate.share(limit.records), ..limit };
        self.fate.call(|| self.client.fetch(partition, limit, visit))
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
        let joined = self.fate.call(|| self.client.join(tasks));
        self.fate.deafen(0);
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
            fate.accept(token, positions);
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

/// A producer that keeps what it is given for a while, as network clients do. What it keeps when it dies never was.
struct FatefulProducer {
    client: Box<dyn Producer>,
    fate: SharedFate,
    waiting: VecDeque<(TopicPartition, Kept)>,
    failed: Vec<(TopicPartition, LogError)>,
}

/// One record on its way.
struct Kept {
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    timestamp: Timestamp,
    headers: Headers,
}

impl FatefulProducer {
    /// The oldest of what waits reaches the log.
    fn deliver(&mut self, count: usize) {
        for (partition, Kept { key, value, timestamp, headers }) in self.waiting.drain(..count) {
            let record = Outgoing { key: key.as_deref(), value: value.as_deref(), timestamp, headers: &headers };
            if let Err(error) = self.client.send(&partition, &[record]) {
                self.failed.push((partition, error));
            }
        }
    }
}

impl Producer for FatefulProducer {
    fn send(&mut self, partition: &TopicPartition, records: &[Outgoing<'_>]) -> Result<(), LogError> {
        // A topic or partition that is not there is refused at once.
        self.client.send(partition, &[])?;
        let kept = records.iter().map(|record| {
            let Outgoing { key, value, timestamp, headers } = *record;
            let (key, value) = (key.map(<[u8]>::to_vec), value.map(<[u8]>::to_vec));
            (partition.clone(), Kept { key, value, timestamp, headers: headers.clone() })
        });
        self.waiting.extend(kept);
        let arriving = self.fate.arrives(self.waiting.len());
        let fate = self.fate.clone();
        fate.call(|| {
            self.deliver(arriving);
            Ok(())
        })
    }

    fn flush(&mut self, timeout: Duration) -> Flushed {
        let fate = self.fate.clone();
        let flushed = fate.call(|| {
            self.deliver(self.waiting.len());
            let Flushed { acked, mut failed } = self.client.flush(timeout);
            failed.append(&mut self.failed);
            Ok(Flushed { acked, failed })
        });
        flushed.unwrap_or_else(|error| {
            let lost = self.waiting.iter().map(|(partition, _)| (partition.clone(), error.clone()));
            Flushed { acked: Vec::new(), failed: lost.collect() }
        })
    }

    fn partition_count(&mut self, topic: &str) -> Result<i32, LogError> {
        self.client.partition_count(topic)
    }
}
