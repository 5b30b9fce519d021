//! Writing records out: the sink node, and the port through which a task's records leave it.

use std::sync::Arc;

use crate::error::{BoxError, Flow, SerdeError};
use crate::processor::{NodeInfo, Receive, TaskContext};
use crate::record::{Data, Headers, Meta, Timestamp};
use crate::serdes::{Role, SharedSerde, Slot};

/// Where a task's records go. The runtime sends them to the log, the test driver keeps them.
pub(crate) trait Output: Send {
    /// Whether records may have any timestamp. Brokers refuse those that are far ahead of their clock.
    fn takes_any_time(&self) -> bool {
        true
    }

    /// A short name for a topic, asked for once per node.
    fn topic(&mut self, name: &str) -> u32;
    /// How many partitions the topic has, for partitioners of the user's own.
    fn partitions(&mut self, topic: u32) -> i32;
    /// Takes a record. The bytes are borrowed only for the call. [`TooLarge`] says that it was not taken, and that others may be.
    fn send(&mut self, topic: u32, record: Outgoing<'_>) -> Result<(), BoxError>;
    /// Time of the last data that this task sent to the partition, if it sent any: the time of the control records that follow it.
    fn last_sent(&self, _topic: u32, _partition: i32) -> Option<Timestamp> {
        None
    }
    /// Hands on what was taken and still waits. An output that keeps nothing back has nothing to do.
    fn drain(&mut self) -> Result<(), BoxError> {
        Ok(())
    }
}

/// A record that its topic does not take, now or later.
#[derive(Debug, thiserror::Error)]
#[error(
    "a record for `{topic}` has {bytes} bytes, and the topic takes {limit}: raise its `max.message.bytes` (the brokers' `message.max.bytes` where the \
     topic has none of its own), or let the record be smaller"
)]
pub(crate) struct TooLarge {
    pub(crate) topic: String,
    pub(crate) bytes: usize,
    pub(crate) limit: usize,
}

/// A record on its way out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outgoing<'a> {
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) value: Option<&'a [u8]>,
    pub(crate) timestamp: Timestamp,
    pub(crate) headers: &'a Headers,
    pub(crate) target: Target<'a>,
}

/// Which partition a record goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target<'a> {
    /// Chosen by these bytes, with Kafka's default partitioner.
    ByKey(&'a [u8]),
    /// This one.
    Partition(i32),
    /// Any: the record has no key.
    Any,
    /// The partition of the task: changelogs.
    OwnPartition,
}

/// A value that may be written to a topic of `T`: itself, or `Option<T>` where none is a tombstone.
#[diagnostic::on_unimplemented(message = "a stream of `{Self}` cannot be written to a topic of `{T}`")]
pub trait SinkValue<T>: Data {
    #[doc(hidden)]
    fn as_written(&self) -> Option<&T>;
}
impl<T: Data> SinkValue<T> for T {
    fn as_written(&self) -> Option<&T> {
        Some(self)
    }
}
impl<T: Data> SinkValue<T> for Option<T> {
    fn as_written(&self) -> Option<&T> {
        self.as_ref()
    }
}

/// Chooses a partition from key, value and the number of partitions.
pub(crate) type PartitionBy<K, V> = Arc<dyn Fn(&K, Option<&V>, i32) -> i32 + Send + Sync>;

/// Writes a topic.
pub(crate) struct Sink<K, T> {
    topic: Arc<str>,
    codec: Codec<K, T>,
    slot: Option<u32>,
    partition_by: Option<PartitionBy<K, T>>,
    node: NodeInfo,
}

impl<K: Data, T: Data> Sink<K, T> {
    pub(crate) fn new(
        topic: Arc<str>,
        key: SharedSerde<K>,
        value: SharedSerde<T>,
        partition_by: Option<PartitionBy<K, T>>,
        node: NodeInfo,
    ) -> Self {
        Sink { topic, codec: Codec::new(key, value), slot: None, partition_by, node }
    }
}

impl<K: Data, T: Data, V: SinkValue<T>> Receive<K, V> for Sink<K, T> {
    fn receive(&mut self, key: K, value: V, meta: &Meta, cx: &mut TaskContext) -> Flow {
        let slot = *self.slot.get_or_insert_with(|| cx.output.topic(&self.topic));
        self.codec.write(&self.topic, slot, (&key, value.as_written()), self.partition_by.as_ref(), meta, &self.node, cx)
    }
}

/// Chooses a topic from a record: key, value and where the record came from.
pub(crate) type ChooseTopic<K, T> = Arc<dyn Fn(&K, Option<&T>, &RecordContext<'_>) -> String + Send + Sync>;

/// Where the record came from, for functions that choose a topic.
#[derive(Clone, Copy, Debug)]
pub struct RecordContext<'a> {
    /// Topic of the source record; empty in a punctuation.
    pub topic: &'a str,
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// Event time of the record being written.
    pub timestamp: Timestamp,
    /// Headers of the record being written.
    pub headers: &'a Headers,
}

/// Writes the topic that a function chooses for each record.
pub(crate) struct DynamicSink<K, T> {
    choose: ChooseTopic<K, T>,
    codec: Codec<K, T>,
    partition_by: Option<PartitionBy<K, T>>,
    node: NodeInfo,
}

impl<K: Data, T: Data> DynamicSink<K, T> {
    pub(crate) fn new(
        choose: ChooseTopic<K, T>,
        key: SharedSerde<K>,
        value: SharedSerde<T>,
        partition_by: Option<PartitionBy<K, T>>,
        node: NodeInfo,
    ) -> Self {
        DynamicSink { choose, codec: Codec::new(key, value), partition_by, node }
    }
}

impl<K: Data, T: Data, V: SinkValue<T>> Receive<K, V> for DynamicSink<K, T> {
    fn receive(&mut self, key: K, value: V, meta: &Meta, cx: &mut TaskContext) -> Flow {
        let origin = &cx.origin;
        let context = RecordContext {
            topic: &origin.topic,
            partition: origin.partition,
            offset: origin.offset,
            timestamp: meta.timestamp,
            headers: &meta.headers,
        };
        let topic = (self.choose)(&key, value.as_written(), &context);
        let slot = cx.output.topic(&topic);
        self.codec.write(&topic, slot, (&key, value.as_written()), self.partition_by.as_ref(), meta, &self.node, cx)
    }
}

/// The two serdes of a topic and the buffers they write into, reused between records.
struct Codec<K, T> {
    key: SharedSerde<K>,
    value: SharedSerde<T>,
    key_bytes: Vec<u8>,
    value_bytes: Vec<u8>,
}

impl<K: Data, T: Data> Codec<K, T> {
    fn new(key: SharedSerde<K>, value: SharedSerde<T>) -> Self {
        Codec { key, value, key_bytes: Vec::new(), value_bytes: Vec::new() }
    }

    #[allow(clippy::too_many_arguments)] // one call site per sink kind; a struct would only be taken apart again
    fn write(
        &mut self,
        topic: &str,
        slot: u32,
        (key, value): (&K, Option<&T>),
        partition_by: Option<&PartitionBy<K, T>>,
        meta: &Meta,
        node: &NodeInfo,
        cx: &mut TaskContext,
    ) -> Flow {
        let mut headers = meta.headers.clone();
        let (has_key, has_value) = match self.encode(topic, key, value, &mut headers) {
            Ok(has) => has,
            Err(error) => return cx.failed(node, meta, error),
        };
        let target = match partition_by {
            Some(choose) => Target::Partition(choose(key, value, cx.output.partitions(slot))),
            None if has_key => Target::ByKey(self.key.partition_bytes(&self.key_bytes)),
            None => Target::Any,
        };
        let (key, value) = (has_key.then_some(&*self.key_bytes), has_value.then_some(&*self.value_bytes));
        let sent = cx.output.send(slot, Outgoing { key, value, timestamp: meta.timestamp, headers: &headers, target });
        sent.or_else(|error| cx.unsendable(node, meta, error))
    }

    fn encode(&mut self, topic: &str, key: &K, value: Option<&T>, headers: &mut Headers) -> Result<(bool, bool), SerdeError> {
        let slot = |role| Slot { topic, role };
        self.key_bytes.clear();
        self.value_bytes.clear();
        let has_key = !self.key.is_null(key);
        if has_key {
            self.key.serialize(key, slot(Role::Key), headers, &mut self.key_bytes)?;
        }
        let value = value.filter(|value| !self.value.is_null(value));
        if let Some(value) = value {
            self.value.serialize(value, slot(Role::Value), headers, &mut self.value_bytes)?;
        }
        Ok((has_key, value.is_some()))
    }
}
