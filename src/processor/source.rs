//! Reading records in: bytes and timestamps to typed records.

use std::sync::Arc;

use crate::error::{BoxError, ErrorKind, Fault, Flow, SerdeError};
use crate::processor::context::Origin;
use crate::processor::{Next, NodeInfo, ReceiveRaw, Staged, TaskContext};
use crate::record::{Data, Meta, RawRecord, Timestamp};
use crate::serdes::{Role, SharedSerde, Slot};

/// Takes event time from a record; the timestamp given beside it is the partition's time so far, -1 at first.
pub(crate) type Extract<K, V> = Arc<dyn Fn(&RawRecord<'_>, Timestamp, &K, &V) -> Timestamp + Send + Sync>;

/// What happens to a record whose own timestamp is negative, where no function gives event time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum InvalidTimestamp {
    /// Stop the task. Kafka Streams: `FailOnInvalidTimestamp`.
    #[default]
    Fail,
    /// Drop the record and count it. Kafka Streams: `LogAndSkipOnInvalidTimestamp`.
    Skip,
    /// Take the largest time seen in the partition; an error while there is none. Kafka Streams: `UsePartitionTimeOnInvalidTimestamp`.
    UsePartitionTime,
}

/// A decoded record and where it came from. It waits while the task compares heads; the task may run another record in
/// between, so the origin waits with it.
pub(crate) struct StagedRecord<K, V> {
    record: Option<(K, V, Meta)>,
    origin: Origin,
}

impl<K, V> Default for StagedRecord<K, V> {
    fn default() -> Self {
        StagedRecord { record: None, origin: Origin::default() }
    }
}

impl<K, V> StagedRecord<K, V> {
    /// Reads a record. The context becomes its if `read` fails or panics, and is what it was otherwise.
    fn read<R, E>(&mut self, raw: &RawRecord<'_>, cx: &mut TaskContext, read: impl FnOnce() -> Result<R, E>) -> Result<R, E> {
        self.origin.set(raw, cx.keeps_bytes);
        let blamed = Blamed(&mut self.origin, &mut cx.origin);
        let read = read()?;
        std::mem::forget(blamed); // it borrows what it holds
        Ok(read)
    }
    /// Puts the record aside that was read.
    fn keep(&mut self, record: (K, V, Meta)) {
        self.record = Some(record);
    }
    /// The record is taken, and the context is its.
    fn take(&mut self, cx: &mut TaskContext) -> Option<(K, V, Meta)> {
        let record = self.record.take()?;
        std::mem::swap(&mut self.origin, &mut cx.origin);
        cx.at(record.2.timestamp);
        Some(record)
    }
    /// The record is dropped, and the context is its: with the timestamp that the log carries.
    fn refuse(&mut self, cx: &mut TaskContext) {
        if self.record.take().is_some() {
            std::mem::swap(&mut self.origin, &mut cx.origin);
        }
    }
    /// The record goes on to `next`, if one waits.
    fn send(&mut self, next: &mut Next<K, V>, cx: &mut TaskContext) -> Flow {
        match self.take(cx) {
            Some((key, value, meta)) => next.receive(key, value, &meta, cx),
            None => Ok(()),
        }
    }
}

/// Where a record came from that cannot be read: that is the context when it is let go.
struct Blamed<'a>(&'a mut Origin, &'a mut Origin);

impl Drop for Blamed<'_> {
    fn drop(&mut self) {
        std::mem::swap(self.0, self.1);
    }
}

/// Why a record is not staged.
enum Refused {
    Undecodable(BoxError),
    Timeless(BoxError),
    /// Its time is before the epoch.
    Negative(Timestamp),
    /// Its reader wants nothing of it.
    Unwanted,
}

impl Refused {
    fn settle(self, node: &NodeInfo, cx: &mut TaskContext) -> Result<Staged, Fault> {
        match self {
            Refused::Undecodable(error) => cx.undecodable(node, error)?,
            Refused::Timeless(error) => return Err(cx.fatal(node, ErrorKind::Processing, error)),
            Refused::Negative(timestamp) => {
                let Origin { topic, partition, offset, .. } = &cx.origin;
                tracing::warn!(%topic, partition, offset, %timestamp, "negative timestamp: record dropped");
                cx.drop_record(1);
            }
            Refused::Unwanted => {}
        }
        Ok(Staged::Dropped)
    }
}

/// How records of a topic are read: what the heads of all its partitions share.
pub(crate) struct Reading<K, V> {
    pub(crate) key: SharedSerde<K>,
    pub(crate) value: SharedSerde<V>,
    pub(crate) timestamps: Option<Extract<K, V>>,
    pub(crate) invalid: InvalidTimestamp,
    pub(crate) bad_time_to: Option<Arc<str>>,
}

impl<K, V> Clone for Reading<K, V> {
    fn clone(&self) -> Self {
        Reading {
            key: self.key.clone(),
            value: self.value.clone(),
            timestamps: self.timestamps.clone(),
            invalid: self.invalid,
            bad_time_to: self.bad_time_to.clone(),
        }
    }
}

impl<K: Data, V: Data> Reading<K, V> {
    fn decode(&self, raw: &RawRecord<'_>) -> Result<(K, V), SerdeError> {
        let slot = |role| Slot { topic: raw.topic, role };
        let key = match raw.key {
            Some(bytes) => self.key.deserialize(bytes, slot(Role::Key), raw.headers)?,
            None => self.key.deserialize_null()?,
        };
        let value = match raw.value {
            Some(bytes) => self.value.deserialize(bytes, slot(Role::Value), raw.headers)?,
            None => self.value.deserialize_null()?,
        };
        Ok((key, value))
    }

    fn read(&self, raw: &RawRecord<'_>, partition_time: Timestamp) -> Result<(K, V, Timestamp), Refused> {
        let (key, value) = self.decode(raw).map_err(|error| Refused::Undecodable(error.into()))?;
        let timestamp = self.time_of(raw, partition_time, &key, &value).map_err(Refused::Timeless)?;
        if timestamp < Timestamp::from_millis(0) { Err(Refused::Negative(timestamp)) } else { Ok((key, value, timestamp)) }
    }

    fn time_of(&self, raw: &RawRecord<'_>, partition_time: Timestamp, key: &K, value: &V) -> Result<Timestamp, BoxError> {
        match &self.timestamps {
            Some(extract) => Ok(extract(raw, partition_time, key, value)),
            None => own_timestamp(raw, partition_time, self.invalid),
        }
    }
}

/// The head of a sub-topology for one input partition.
pub(crate) struct Source<K, V> {
    reading: Reading<K, V>,
    node: NodeInfo,
    staged: StagedRecord<K, V>,
    next: Next<K, V>,
}

impl<K: Data, V: Data> Source<K, V> {
    pub(crate) fn new(reading: Reading<K, V>, node: NodeInfo, next: Next<K, V>) -> Self {
        Source { reading, node, staged: StagedRecord::default(), next }
    }
}

impl<K: Data, V: Data> ReceiveRaw for Source<K, V> {
    fn stage(&mut self, raw: RawRecord<'_>, partition_time: Timestamp, cx: &mut TaskContext) -> Result<Staged, Fault> {
        let reading = &self.reading;
        match self.staged.read(&raw, cx, || reading.read(&raw, partition_time)) {
            Ok((key, value, timestamp)) => {
                self.staged.keep((key, value, Meta { timestamp, headers: raw.headers.clone() }));
                Ok(Staged::Ready(timestamp))
            }
            Err(refused) => refused.settle(&self.node, cx),
        }
    }

    fn run(&mut self, cx: &mut TaskContext) -> Flow {
        self.staged.send(&mut self.next, cx)
    }

    fn refuse(&mut self, cx: &mut TaskContext) {
        self.staged.refuse(cx);
    }

    fn bad_time_topic(&self) -> Option<&str> {
        self.reading.bad_time_to.as_deref()
    }
}

fn own_timestamp(raw: &RawRecord<'_>, partition_time: Timestamp, invalid: InvalidTimestamp) -> Result<Timestamp, BoxError> {
    if raw.timestamp >= Timestamp::from_millis(0) {
        return Ok(raw.timestamp);
    }
    match invalid {
        InvalidTimestamp::Skip => Ok(raw.timestamp),
        InvalidTimestamp::UsePartitionTime if partition_time >= Timestamp::from_millis(0) => Ok(partition_time),
        InvalidTimestamp::UsePartitionTime => {
            Err(format!("the record's timestamp {} is negative and its partition has no time yet to use instead", raw.timestamp).into())
        }
        InvalidTimestamp::Fail => Err(format!(
            "the record's timestamp {} is negative: take event time from the value with `.timestamps(..)`, or skip such records with \
             `.on_invalid_timestamp(InvalidTimestamp::Skip)`",
            raw.timestamp
        )
        .into()),
    }
}

/// Reads the bytes of a record itself.
pub(crate) type RawDecode<K, V> = Arc<dyn Fn(RawRecord<'_>) -> Result<Option<(K, V)>, BoxError> + Send + Sync>;

/// A source whose closure reads the bytes itself: nothing is copied for records it drops.
pub(crate) struct RawSource<K, V> {
    decode: RawDecode<K, V>,
    bad_time_to: Option<Arc<str>>,
    node: NodeInfo,
    staged: StagedRecord<K, V>,
    next: Next<K, V>,
}

impl<K: Data, V: Data> RawSource<K, V> {
    pub(crate) fn new(decode: RawDecode<K, V>, bad_time_to: Option<Arc<str>>, node: NodeInfo, next: Next<K, V>) -> Self {
        RawSource { decode, bad_time_to, node, staged: StagedRecord::default(), next }
    }
}

impl<K: Data, V: Data> ReceiveRaw for RawSource<K, V> {
    fn stage(&mut self, raw: RawRecord<'_>, _: Timestamp, cx: &mut TaskContext) -> Result<Staged, Fault> {
        let (decode, timestamp) = (&self.decode, raw.timestamp);
        let read = self.staged.read(&raw, cx, || match decode(raw) {
            Ok(Some(_)) if timestamp < Timestamp::from_millis(0) => Err(Refused::Negative(timestamp)),
            Ok(Some(pair)) => Ok(pair),
            Ok(None) => Err(Refused::Unwanted),
            Err(error) => Err(Refused::Undecodable(error)),
        });
        match read {
            Ok((key, value)) => {
                self.staged.keep((key, value, Meta { timestamp, headers: raw.headers.clone() }));
                Ok(Staged::Ready(timestamp))
            }
            Err(refused) => refused.settle(&self.node, cx),
        }
    }

    fn run(&mut self, cx: &mut TaskContext) -> Flow {
        self.staged.send(&mut self.next, cx)
    }

    fn refuse(&mut self, cx: &mut TaskContext) {
        self.staged.refuse(cx);
    }

    fn bad_time_topic(&self) -> Option<&str> {
        self.bad_time_to.as_deref()
    }
}
