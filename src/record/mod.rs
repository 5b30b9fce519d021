//! Plain values that every room speaks: records, headers, timestamps, changes, identities. Imports nothing.

mod headers;
mod id;
mod timestamp;

pub use headers::Headers;
pub use id::{TaskId, TopicPartition};
pub use timestamp::Timestamp;
pub(crate) use timestamp::millis;

/// What a key or a value must be able to do: be copied to a second reader, and move between threads.
///
/// Implemented for every type that can; nobody writes this impl.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot travel through a topology",
    note = "keys and values must be `Clone + Send + 'static`; wrap heavy values in `Arc`"
)]
pub trait Data: Clone + Send + 'static {}
impl<T: Clone + Send + 'static> Data for T {}

/// One record on its way through a topology.
#[derive(Clone, Debug, PartialEq)]
pub struct Record<K, V> {
    /// Decides the partition, and with it the task that sees the record.
    pub key: K,
    /// The payload.
    pub value: V,
    /// Event time.
    pub timestamp: Timestamp,
    /// Kept through every operator that does not aggregate.
    pub headers: Headers,
}

impl<K, V> Record<K, V> {
    /// A record without headers.
    pub fn new(key: K, value: V, timestamp: Timestamp) -> Self {
        Record { key, value, timestamp, headers: Headers::default() }
    }
    /// The same record under another key.
    pub fn with_key<K2>(self, key: K2) -> Record<K2, V> {
        Record { key, value: self.value, timestamp: self.timestamp, headers: self.headers }
    }
    /// The same record with another value.
    pub fn with_value<V2>(self, value: V2) -> Record<K, V2> {
        Record { key: self.key, value, timestamp: self.timestamp, headers: self.headers }
    }
    /// The same record at another event time.
    pub fn at(mut self, timestamp: Timestamp) -> Self {
        self.timestamp = timestamp;
        self
    }
}

/// What travels beside key and value. Operators that keep it pass the reference on; nothing is copied.
#[derive(Clone, Debug, Default)]
pub(crate) struct Meta {
    pub(crate) timestamp: Timestamp,
    pub(crate) headers: Headers,
}

/// A record as it lies in the log, borrowed from the fetch buffer.
#[derive(Clone, Copy, Debug)]
pub struct RawRecord<'a> {
    /// Source topic.
    pub topic: &'a str,
    /// Source partition.
    pub partition: i32,
    /// Source offset.
    pub offset: i64,
    /// Key bytes; none for a null key.
    pub key: Option<&'a [u8]>,
    /// Value bytes; none for a tombstone.
    pub value: Option<&'a [u8]>,
    /// Timestamp the log carries.
    pub timestamp: Timestamp,
    /// Headers the log carries.
    pub headers: &'a Headers,
}

/// How a table row changed. A `new` of `None` is a deletion.
#[derive(Clone, Debug, PartialEq)]
pub struct Change<V> {
    /// The row before, if something downstream asked for it and it is known.
    pub old: Option<V>,
    /// The row now.
    pub new: Option<V>,
}
