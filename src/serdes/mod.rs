//! Bytes to values and back.
//!
//! A [`Serde`] is a codec *value* (`Utf8`, `Json`, `BigEndian`); a type names its usual codec through [`DefaultSerde`].
//! Law: `deserialize(serialize(x)) == x`, and `is_null(x)` exactly when `deserialize_null` gives `x`.

mod windowed;

use std::sync::Arc;

pub use windowed::{SessionWindowed, TimeWindowed};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::SerdeError;
use crate::record::Headers;

/// Is this the key or the value? Schema registries name their subjects by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The record key.
    Key,
    /// The record value.
    Value,
}

/// Where the bytes come from or go to.
#[derive(Clone, Copy, Debug)]
pub struct Slot<'a> {
    /// Topic, or changelog topic for a store.
    pub topic: &'a str,
    /// Key or value.
    pub role: Role,
}

/// Turns `T` into bytes and back.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot read and write `{T}`",
    note = "`Json` needs `T: serde::Serialize + DeserializeOwned`; `Utf8` reads and writes `String`"
)]
pub trait Serde<T>: Send + Sync + 'static {
    /// Appends the bytes of `value` to `out`, which is reused between records; may add headers.
    fn serialize(&self, value: &T, slot: Slot<'_>, headers: &mut Headers, out: &mut Vec<u8>) -> Result<(), SerdeError>;
    /// Reads a value. The bytes are borrowed from the fetch buffer: copy what must stay.
    fn deserialize(&self, bytes: &[u8], slot: Slot<'_>, headers: &Headers) -> Result<T, SerdeError>;
    /// What a Kafka null means. Most types have none.
    fn deserialize_null(&self) -> Result<T, SerdeError> {
        Err(SerdeError::UnexpectedNull)
    }
    /// Whether this value is written as a Kafka null.
    fn is_null(&self, _value: &T) -> bool {
        false
    }
    /// The part of a serialized key that decides its partition: all of it, but for windowed keys (KS-H2).
    fn partition_bytes<'b>(&self, bytes: &'b [u8]) -> &'b [u8] {
        bytes
    }
    /// Why a topic with this codec should not be read as a source, if so: `build` reports it.
    fn source_problem(&self) -> Option<&'static str> {
        None
    }
}

impl<T: 'static> Serde<T> for Arc<dyn Serde<T>> {
    fn serialize(&self, value: &T, slot: Slot<'_>, headers: &mut Headers, out: &mut Vec<u8>) -> Result<(), SerdeError> {
        (**self).serialize(value, slot, headers, out)
    }
    fn deserialize(&self, bytes: &[u8], slot: Slot<'_>, headers: &Headers) -> Result<T, SerdeError> {
        (**self).deserialize(bytes, slot, headers)
    }
    fn deserialize_null(&self) -> Result<T, SerdeError> {
        (**self).deserialize_null()
    }
    fn is_null(&self, value: &T) -> bool {
        (**self).is_null(value)
    }
    fn partition_bytes<'b>(&self, bytes: &'b [u8]) -> &'b [u8] {
        (**self).partition_bytes(bytes)
    }
    fn source_problem(&self) -> Option<&'static str> {
        (**self).source_problem()
    }
}

/// The codec a type is written with unless a topic or store says otherwise.
///
/// Implement it with [`default_serde!`](crate::default_serde).
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no default serde, so it cannot be written to a topic or a store",
    label = "needs a serde here",
    note = "add `highwater::default_serde!({Self} => Json);` beside the type",
    note = "or name the codecs where the topic or store is named: `Topic::with(name, Utf8, Json)`, `StoreRef::with(..)`"
)]
pub trait DefaultSerde: Sized {
    /// The codec.
    type Serde: Serde<Self> + Default;
}

/// Names the usual codec of one or more types: `default_serde!(PageView, Order => Json);`
#[macro_export]
macro_rules! default_serde {
    ($($type:ty),+ => $serde:ty) => {
        $(impl $crate::DefaultSerde for $type { type Serde = $serde; })+
    };
}

pub(crate) type SharedSerde<T> = Arc<dyn Serde<T>>;

pub(crate) fn shared_default<T: DefaultSerde>() -> SharedSerde<T> {
    Arc::new(T::Serde::default())
}

/// UTF-8 text.
#[derive(Clone, Copy, Debug, Default)]
pub struct Utf8;

impl Serde<String> for Utf8 {
    fn serialize(&self, value: &String, _: Slot<'_>, _: &mut Headers, out: &mut Vec<u8>) -> Result<(), SerdeError> {
        out.extend_from_slice(value.as_bytes());
        Ok(())
    }
    fn deserialize(&self, bytes: &[u8], _: Slot<'_>, _: &Headers) -> Result<String, SerdeError> {
        std::str::from_utf8(bytes).map(str::to_owned).map_err(|e| SerdeError::malformed("utf-8", e))
    }
}

/// Numbers as Java writes them: big-endian, fixed width.
#[derive(Clone, Copy, Debug, Default)]
pub struct BigEndian;

macro_rules! big_endian {
    ($($number:ty),+) => {$(
        impl Serde<$number> for BigEndian {
            fn serialize(&self, value: &$number, _: Slot<'_>, _: &mut Headers, out: &mut Vec<u8>) -> Result<(), SerdeError> {
                out.extend_from_slice(&value.to_be_bytes());
                Ok(())
            }
            fn deserialize(&self, bytes: &[u8], _: Slot<'_>, _: &Headers) -> Result<$number, SerdeError> {
                let bytes = bytes.try_into().map_err(|e: std::array::TryFromSliceError| SerdeError::malformed(stringify!($number), e))?;
                Ok(<$number>::from_be_bytes(bytes))
            }
        }
        default_serde!($number => BigEndian);
    )+};
}
big_endian!(i16, i32, i64, f32, f64);

/// Bytes as they are.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bytes;

impl Serde<Vec<u8>> for Bytes {
    fn serialize(&self, value: &Vec<u8>, _: Slot<'_>, _: &mut Headers, out: &mut Vec<u8>) -> Result<(), SerdeError> {
        out.extend_from_slice(value);
        Ok(())
    }
    fn deserialize(&self, bytes: &[u8], _: Slot<'_>, _: &Headers) -> Result<Vec<u8>, SerdeError> {
        Ok(bytes.to_vec())
    }
}

/// Reads anything as `()`, writes null: for topics whose key or value carries nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Nothing;

impl Serde<()> for Nothing {
    fn serialize(&self, _: &(), _: Slot<'_>, _: &mut Headers, _: &mut Vec<u8>) -> Result<(), SerdeError> {
        Ok(())
    }
    fn deserialize(&self, _: &[u8], _: Slot<'_>, _: &Headers) -> Result<(), SerdeError> {
        Ok(())
    }
    fn deserialize_null(&self) -> Result<(), SerdeError> {
        Ok(())
    }
    fn is_null(&self, _: &()) -> bool {
        true
    }
}

/// Any serde type as JSON.
#[derive(Clone, Copy, Debug, Default)]
pub struct Json;

impl<T: Serialize + DeserializeOwned> Serde<T> for Json {
    fn serialize(&self, value: &T, _: Slot<'_>, _: &mut Headers, out: &mut Vec<u8>) -> Result<(), SerdeError> {
        serde_json::to_writer(out, value).map_err(|e| SerdeError::malformed("json", e))
    }
    fn deserialize(&self, bytes: &[u8], _: Slot<'_>, _: &Headers) -> Result<T, SerdeError> {
        serde_json::from_slice(bytes).map_err(|e| SerdeError::malformed("json", e))
    }
}

/// A serde that also accepts null: how a topic with tombstones is read, as `Option<T>`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Nullable<S>(pub S);

impl<T: Send + Sync + 'static, S: Serde<T>> Serde<Option<T>> for Nullable<S> {
    fn serialize(&self, value: &Option<T>, slot: Slot<'_>, headers: &mut Headers, out: &mut Vec<u8>) -> Result<(), SerdeError> {
        value.as_ref().map_or(Ok(()), |value| self.0.serialize(value, slot, headers, out))
    }
    fn deserialize(&self, bytes: &[u8], slot: Slot<'_>, headers: &Headers) -> Result<Option<T>, SerdeError> {
        self.0.deserialize(bytes, slot, headers).map(Some)
    }
    fn deserialize_null(&self) -> Result<Option<T>, SerdeError> {
        Ok(None)
    }
    fn is_null(&self, value: &Option<T>) -> bool {
        value.as_ref().is_none_or(|value| self.0.is_null(value))
    }
    fn partition_bytes<'b>(&self, bytes: &'b [u8]) -> &'b [u8] {
        self.0.partition_bytes(bytes)
    }
    fn source_problem(&self) -> Option<&'static str> {
        self.0.source_problem()
    }
}

default_serde!(String => Utf8);
default_serde!(Vec<u8> => Bytes);
default_serde!(() => Nothing);

impl<T: DefaultSerde + Send + Sync + 'static> DefaultSerde for Option<T> {
    type Serde = Nullable<T::Serde>;
}
