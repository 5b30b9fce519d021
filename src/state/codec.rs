//! From typed keys and values to the bytes of a store and back.

use std::sync::Arc;

use crate::error::{SerdeError, StoreError};
use crate::record::{Headers, Timestamp};
use crate::serdes::{Role, SharedSerde, Slot};

/// A value with the event time of its last change.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stamped<V> {
    /// The value.
    pub value: V,
    /// Event time of the change; [`Timestamp::UNKNOWN`] in a plain store.
    pub timestamp: Timestamp,
}

/// The codecs of one store.
pub(crate) struct Codecs<K, V> {
    store: Arc<str>,
    changelog_topic: Arc<str>,
    pub(crate) key: SharedSerde<K>,
    pub(crate) value: SharedSerde<V>,
    stamped: bool,
}

impl<K: 'static, V: 'static> Codecs<K, V> {
    pub(crate) fn new(store: Arc<str>, changelog_topic: &str, serdes: &(SharedSerde<K>, SharedSerde<V>), stamped: bool) -> Self {
        Codecs { store, changelog_topic: changelog_topic.into(), key: serdes.0.clone(), value: serdes.1.clone(), stamped }
    }
    /// Whether rows begin with eight bytes of event time.
    pub(crate) fn stamped(&self) -> bool {
        self.stamped
    }
    fn slot(&self, role: Role) -> Slot<'_> {
        Slot { topic: &self.changelog_topic, role }
    }
    fn fault(&self, source: SerdeError) -> StoreError {
        StoreError::Serde { store: self.store.to_string(), source }
    }
    /// Whether the value is written as null, that is, not at all.
    pub(crate) fn is_null(&self, value: &V) -> bool {
        self.value.is_null(value)
    }
    /// What was asked of the store cannot be.
    pub(crate) fn refused(&self, why: String) -> StoreError {
        StoreError::Backend { store: self.store.to_string(), source: why.into() }
    }
    /// Appends the key.
    pub(crate) fn write_key(&self, key: &K, out: &mut Vec<u8>) -> Result<(), StoreError> {
        self.key.serialize(key, self.slot(Role::Key), &mut Headers::default(), out).map_err(|e| self.fault(e))
    }
    pub(crate) fn key_bytes(&self, key: &K) -> Result<Vec<u8>, StoreError> {
        let mut out = Vec::with_capacity(32);
        self.write_key(key, &mut out)?;
        Ok(out)
    }
    pub(crate) fn read_key(&self, bytes: &[u8]) -> Result<K, StoreError> {
        self.key.deserialize(bytes, self.slot(Role::Key), &Headers::default()).map_err(|e| self.fault(e))
    }
    /// Appends the plain value; false if it is a null, which has no row.
    pub(crate) fn write_value(&self, value: &V, out: &mut Vec<u8>) -> Result<bool, StoreError> {
        if self.value.is_null(value) {
            return Ok(false);
        }
        self.value.serialize(value, self.slot(Role::Value), &mut Headers::default(), out).map_err(|e| self.fault(e))?;
        Ok(true)
    }
    pub(crate) fn read_value(&self, bytes: &[u8]) -> Result<V, StoreError> {
        self.value.deserialize(bytes, self.slot(Role::Value), &Headers::default()).map_err(|e| self.fault(e))
    }
    /// Appends a row: the time if the store is stamped, then the value; false if the value is a null, which has no row.
    pub(crate) fn write_row(&self, value: &V, at: Timestamp, out: &mut Vec<u8>) -> Result<bool, StoreError> {
        if self.stamped {
            out.extend_from_slice(&at.as_millis().to_be_bytes());
        }
        self.write_value(value, out)
    }
    /// A row's bytes; none for a null.
    pub(crate) fn row_bytes(&self, value: &V, at: Timestamp) -> Result<Option<Vec<u8>>, StoreError> {
        let mut out = Vec::with_capacity(32);
        Ok(self.write_row(value, at, &mut out)?.then_some(out))
    }
    pub(crate) fn read_row(&self, row: &[u8]) -> Result<Stamped<V>, StoreError> {
        if !self.stamped {
            return Ok(Stamped { value: self.read_value(row)?, timestamp: Timestamp::UNKNOWN });
        }
        let (timestamp, value) =
            split_stamp(row).ok_or_else(|| self.fault(SerdeError::malformed("stamped row", "shorter than its time")))?;
        Ok(Stamped { value: self.read_value(value)?, timestamp })
    }
}

/// The time in front of a stamped row, and the plain value.
fn split_stamp(row: &[u8]) -> Option<(Timestamp, &[u8])> {
    let (stamp, value) = row.split_first_chunk::<8>()?;
    Some((Timestamp::from_millis(i64::from_be_bytes(*stamp)), value))
}
