//! Typed records to bytes and back, with the serdes of a topic.

use crate::dsl::Topic;
use crate::error::{Error, ErrorKind, Place};
use crate::record::{Data, Headers, Record, Timestamp};
use crate::serdes::{Role, SharedSerde, Slot};
use crate::testing::RawOutput;

/// Key, value and headers as a producer would write them.
pub(crate) type Encoded = (Option<Vec<u8>>, Option<Vec<u8>>, Headers);

/// Encodes a record for a topic.
pub(crate) fn encode<K: Data, V: Data>(topic: &Topic<K, V>, key: &K, value: &V) -> Result<Encoded, Error> {
    let (key_serde, value_serde) = topic.serdes();
    let mut headers = Headers::default();
    let key = encode_one(&key_serde, key, topic.name(), Role::Key, &mut headers)?;
    let value = encode_one(&value_serde, value, topic.name(), Role::Value, &mut headers)?;
    Ok((key, value, headers))
}

/// Decodes what was written to a topic. Panics where the bytes are of another type: the test reads another topic than it thinks.
pub(crate) fn decode<K: Data, V: Data>(topic: &Topic<K, V>, out: RawOutput) -> Record<K, V> {
    let (key_serde, value_serde) = topic.serdes();
    let key = decode_one(&key_serde, out.key.as_deref(), topic.name(), Role::Key, &out.headers);
    let value = decode_one(&value_serde, out.value.as_deref(), topic.name(), Role::Value, &out.headers);
    Record { key, value, timestamp: out.timestamp.unwrap_or(Timestamp::UNKNOWN), headers: out.headers }
}

fn encode_one<T: 'static>(
    serde: &SharedSerde<T>,
    value: &T,
    topic: &str,
    role: Role,
    headers: &mut Headers,
) -> Result<Option<Vec<u8>>, Error> {
    if serde.is_null(value) {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    let written = serde.serialize(value, Slot { topic, role }, headers, &mut bytes);
    written.map_err(|error| Error::new(ErrorKind::Serde, Place { topic: Some(topic.to_owned()), ..Place::default() }, error.into()))?;
    Ok(Some(bytes))
}

fn decode_one<T: 'static>(serde: &SharedSerde<T>, bytes: Option<&[u8]>, topic: &str, role: Role, headers: &Headers) -> T {
    let decoded = match bytes {
        Some(bytes) => serde.deserialize(bytes, Slot { topic, role }, headers),
        None => serde.deserialize_null(),
    };
    decoded.unwrap_or_else(|error| panic!("a record in `{topic}` does not read back with the topic's serdes: {error}"))
}
