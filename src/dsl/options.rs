//! The option objects: each made from the thing it decorates, and the bare thing converts into it.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use crate::dsl::{KTable, Topic};
use crate::error::{BoxError, OnError};
use crate::processor::{Extract, InvalidTimestamp, PartitionBy, RawDecode};
use crate::record::{Data, RawRecord, Timestamp};
use crate::serdes::{DefaultSerde, Serde, SharedSerde, shared_default};
use crate::topology::draft::OffsetReset;
use crate::window::Watermark;

/// How a topic is read.
pub struct Consumed<K, V> {
    pub(crate) topics: Vec<Cow<'static, str>>,
    pub(crate) decode: Decode<K, V>,
    pub(crate) invalid: InvalidTimestamp,
    pub(crate) watermark: Option<Watermark>,
    pub(crate) bad_time_to: Option<Cow<'static, str>>,
    pub(crate) reset: Option<OffsetReset>,
    pub(crate) on_error: Option<OnError>,
}

pub(crate) enum Decode<K, V> {
    Serdes { key: SharedSerde<K>, value: SharedSerde<V>, timestamps: Option<Extract<K, V>> },
    Raw(RawDecode<K, V>),
}

impl<K: Data, V: Data> Consumed<K, V> {
    fn new(topic: Cow<'static, str>, decode: Decode<K, V>) -> Self {
        Consumed {
            topics: vec![topic],
            decode,
            invalid: InvalidTimestamp::default(),
            watermark: None,
            bad_time_to: None,
            reset: None,
            on_error: None,
        }
    }
    /// Read this topic.
    pub fn with(topic: Topic<K, V>) -> Self {
        let (key, value) = topic.serdes();
        Consumed::new(topic.name().to_owned().into(), Decode::Serdes { key, value, timestamps: None })
    }
    /// Read the bytes yourself, borrowed from the fetch buffer: what you do not return is never copied.
    pub fn raw<E: Into<BoxError> + 'static>(
        topic: impl Into<Cow<'static, str>>,
        decode: impl Fn(RawRecord<'_>) -> Result<Option<(K, V)>, E> + Send + Sync + 'static,
    ) -> Self {
        Consumed::new(topic.into(), Decode::Raw(Arc::new(move |raw| decode(raw).map_err(Into::into))))
    }
    /// Read this topic as well; it holds the same types.
    pub fn and(mut self, topic: impl Into<Cow<'static, str>>) -> Self {
        self.topics.push(topic.into());
        self
    }
    /// Take event time from the value instead of the record's own timestamp. Records with a negative time are dropped and counted.
    pub fn timestamps(self, at: impl Fn(&V) -> Timestamp + Send + Sync + 'static) -> Self {
        self.timestamps_from(move |_, _, _, value| at(value))
    }
    /// Take event time from the whole record. The second argument is the largest time taken from its partition so far, -1 at first.
    pub fn timestamps_from(mut self, at: impl Fn(&RawRecord<'_>, Timestamp, &K, &V) -> Timestamp + Send + Sync + 'static) -> Self {
        if let Decode::Serdes { timestamps, .. } = &mut self.decode {
            *timestamps = Some(Arc::new(at));
        }
        self
    }
    /// What happens to a record whose own timestamp is negative.
    pub fn on_invalid_timestamp(mut self, policy: InvalidTimestamp) -> Self {
        self.invalid = policy;
        self
    }
    /// How far out of order the records of one partition may be: bounded mode of the event clock. Without it, stream time.
    pub fn watermark(mut self, watermark: Watermark) -> Self {
        self.watermark = Some(watermark);
        self
    }
    /// Where records go whose time is too far ahead of the wall clock (bounded mode); they are only counted otherwise. They keep their own
    /// timestamp. Where it is the one that is too far ahead, a running application writes them with the wall clock's, as brokers refuse such.
    pub fn bad_time_to(mut self, topic: impl Into<Cow<'static, str>>) -> Self {
        self.bad_time_to = Some(topic.into());
        self
    }
    /// Where reading begins when the application has no committed offset.
    pub fn reset(mut self, reset: OffsetReset) -> Self {
        self.reset = Some(reset);
        self
    }
    /// What happens to records that do not decode.
    pub fn on_error(mut self, policy: OnError) -> Self {
        self.on_error = Some(policy);
        self
    }
}

impl<K: Data, V: Data> From<Topic<K, V>> for Consumed<K, V> {
    fn from(topic: Topic<K, V>) -> Self {
        Consumed::with(topic)
    }
}

/// How a topic is written.
pub struct Produced<K, V> {
    pub(crate) topic: Topic<K, V>,
    pub(crate) partition_by: Option<PartitionBy<K, V>>,
}

impl<K, V> Produced<K, V> {
    /// Write this topic.
    pub fn with(topic: Topic<K, V>) -> Self {
        Produced { topic, partition_by: None }
    }
    /// Choose the partition from key, value (none is a tombstone) and the number of partitions; murmur2 of the key otherwise, as in Java.
    pub fn partition_by(mut self, choose: impl Fn(&K, Option<&V>, i32) -> i32 + Send + Sync + 'static) -> Self {
        self.partition_by = Some(Arc::new(choose));
        self
    }
}

impl<K, V> From<Topic<K, V>> for Produced<K, V> {
    fn from(topic: Topic<K, V>) -> Self {
        Produced::with(topic)
    }
}

/// A topic of the application's own between two operators: its name, codecs and partitions.
pub struct Repartitioned<K, V> {
    pub(crate) name: Option<Cow<'static, str>>,
    pub(crate) key: SharedSerde<K>,
    pub(crate) value: SharedSerde<V>,
    pub(crate) partitions: Option<i32>,
    pub(crate) partition_by: Option<PartitionBy<K, V>>,
}

/// A grouping: codecs for the repartition topic it may need, and its name, which its aggregates then share.
pub type Grouped<K, V> = Repartitioned<K, V>;

impl<K: 'static, V: 'static> Repartitioned<K, V> {
    /// With codecs of its own. The topic is called `<application>-<name>-repartition`.
    pub fn with(name: impl Into<Cow<'static, str>>, key: impl Serde<K>, value: impl Serde<V>) -> Self {
        Repartitioned { name: Some(name.into()), ..Repartitioned::unnamed(key, value) }
    }
    /// With codecs of its own and a generated name, which changes when an operator is inserted before it.
    pub fn unnamed(key: impl Serde<K>, value: impl Serde<V>) -> Self {
        Repartitioned { name: None, key: Arc::new(key), value: Arc::new(value), partitions: None, partition_by: None }
    }
    /// How many partitions; as many as the widest input otherwise.
    pub fn partitions(mut self, partitions: i32) -> Self {
        self.partitions = Some(partitions);
        self
    }
    /// Choose the partition yourself; murmur2 of the key otherwise.
    pub fn partition_by(mut self, choose: impl Fn(&K, Option<&V>, i32) -> i32 + Send + Sync + 'static) -> Self {
        self.partition_by = Some(Arc::new(choose));
        self
    }
}

impl<K: DefaultSerde, V: DefaultSerde> Repartitioned<K, V> {
    /// With the default serdes of its types.
    pub fn named(name: impl Into<Cow<'static, str>>) -> Self {
        Repartitioned { name: Some(name.into()), ..Repartitioned::default() }
    }
}

impl<K: DefaultSerde, V: DefaultSerde> Default for Repartitioned<K, V> {
    fn default() -> Self {
        Repartitioned { name: None, key: shared_default(), value: shared_default(), partitions: None, partition_by: None }
    }
}

impl<K: DefaultSerde, V: DefaultSerde> From<&str> for Repartitioned<K, V> {
    fn from(name: &str) -> Self {
        Repartitioned::named(name.to_owned())
    }
}

impl<K: DefaultSerde, V: DefaultSerde> From<String> for Repartitioned<K, V> {
    fn from(name: String) -> Self {
        Repartitioned::named(name)
    }
}

/// The table side of a stream-table join, and the codecs for the repartition topic that the stream side may need.
pub struct Joined<'t, K, V, T> {
    pub(crate) table: &'t KTable<K, T>,
    pub(crate) name: Option<Cow<'static, str>>,
    pub(crate) key: SharedSerde<K>,
    pub(crate) value: SharedSerde<V>,
    pub(crate) grace: Option<Duration>,
}

impl<'t, K: 'static, V: 'static, T> Joined<'t, K, V, T> {
    /// Join with this table, with codecs of its own for the stream.
    pub fn with(table: &'t KTable<K, T>, key: impl Serde<K>, value: impl Serde<V>) -> Self {
        Joined { table, name: None, key: Arc::new(key), value: Arc::new(value), grace: None }
    }
    /// Names the join and the repartition topic it may need.
    pub fn named(mut self, name: impl Into<Cow<'static, str>>) -> Self {
        self.name = Some(name.into());
        self
    }
    /// Hold stream records this long, so that the table can catch up. Needs a versioned table; a problem at `build` otherwise.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = Some(grace);
        self
    }
}

impl<'t, K: DefaultSerde + 'static, V: DefaultSerde + 'static, T> From<&'t KTable<K, T>> for Joined<'t, K, V, T> {
    fn from(table: &'t KTable<K, T>) -> Self {
        Joined { table, name: None, key: shared_default(), value: shared_default(), grace: None }
    }
}
