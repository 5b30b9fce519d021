//! Keys that carry a window, byte for byte as Kafka Streams writes them (K3.11).

use std::time::Duration;

use crate::error::SerdeError;
use crate::record::{Headers, Timestamp};
use crate::serdes::{DefaultSerde, Serde, Slot};
use crate::window::{SessionWindow, TimeWindow, Windowed};

/// A time-windowed key in a topic: the key bytes, then eight bytes of window start, big-endian.
///
/// The end is not in the bytes. It reads back as the far future unless the size is told with [`TimeWindowed::of`].
#[derive(Clone, Copy, Debug, Default)]
pub struct TimeWindowed<S> {
    key: S,
    size: Option<Duration>,
}

impl<S> TimeWindowed<S> {
    /// Keys of windows of this size.
    pub const fn of(key: S, size: Duration) -> Self {
        TimeWindowed { key, size: Some(size) }
    }
    /// Keys of windows whose size is not known: fine for writing, reads back with an end in the far future.
    pub const fn sizeless(key: S) -> Self {
        TimeWindowed { key, size: None }
    }
}

impl<K, S: Serde<K>> Serde<Windowed<K>> for TimeWindowed<S> {
    fn serialize(&self, value: &Windowed<K>, slot: Slot<'_>, headers: &mut Headers, out: &mut Vec<u8>) -> Result<(), SerdeError> {
        self.key.serialize(&value.key, slot, headers, out)?;
        out.extend_from_slice(&value.window.start.as_millis().to_be_bytes());
        Ok(())
    }
    fn deserialize(&self, bytes: &[u8], slot: Slot<'_>, headers: &Headers) -> Result<Windowed<K>, SerdeError> {
        let (key, start) =
            bytes.split_last_chunk::<8>().ok_or_else(|| SerdeError::malformed("windowed key", "shorter than a window start"))?;
        let start = Timestamp::from_millis(i64::from_be_bytes(*start));
        let end = self.size.map_or(Timestamp::MAX, |size| start + size);
        Ok(Windowed { key: self.key.deserialize(key, slot, headers)?, window: TimeWindow { start, end } })
    }
    fn partition_bytes<'b>(&self, bytes: &'b [u8]) -> &'b [u8] {
        self.key.partition_bytes(&bytes[..bytes.len().saturating_sub(8)])
    }
    fn source_problem(&self) -> Option<&'static str> {
        self.size.is_none().then_some(
            "a windowed key in a topic does not say how long its window is, so every window would read back as endless: \
             make the topic with `Topic::with(name, TimeWindowed::of(key_serde, size), value_serde)`",
        )
    }
}

impl<K: DefaultSerde> DefaultSerde for Windowed<K> {
    type Serde = TimeWindowed<K::Serde>;
}

/// A session-windowed key, in topics and in stores: the key bytes, then the session's end, then its start.
#[derive(Clone, Copy, Debug, Default)]
pub struct SessionWindowed<S>(pub S);

impl<K, S: Serde<K>> Serde<Windowed<K, SessionWindow>> for SessionWindowed<S> {
    fn serialize(
        &self,
        value: &Windowed<K, SessionWindow>,
        slot: Slot<'_>,
        headers: &mut Headers,
        out: &mut Vec<u8>,
    ) -> Result<(), SerdeError> {
        self.0.serialize(&value.key, slot, headers, out)?;
        out.extend_from_slice(&value.window.end.as_millis().to_be_bytes());
        out.extend_from_slice(&value.window.start.as_millis().to_be_bytes());
        Ok(())
    }
    fn deserialize(&self, bytes: &[u8], slot: Slot<'_>, headers: &Headers) -> Result<Windowed<K, SessionWindow>, SerdeError> {
        let short = || SerdeError::malformed("session key", "shorter than a session's end and start");
        let (rest, start) = bytes.split_last_chunk::<8>().ok_or_else(short)?;
        let (key, end) = rest.split_last_chunk::<8>().ok_or_else(short)?;
        let at = |bytes: &[u8; 8]| Timestamp::from_millis(i64::from_be_bytes(*bytes));
        Ok(Windowed { key: self.0.deserialize(key, slot, headers)?, window: SessionWindow { start: at(start), end: at(end) } })
    }
    fn partition_bytes<'b>(&self, bytes: &'b [u8]) -> &'b [u8] {
        self.0.partition_bytes(&bytes[..bytes.len().saturating_sub(16)])
    }
}

impl<K: DefaultSerde> DefaultSerde for Windowed<K, SessionWindow> {
    type Serde = SessionWindowed<K::Serde>;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serdes::{Role, Utf8};

    const SLOT: Slot<'_> = Slot { topic: "t", role: Role::Key };

    #[test]
    fn a_session_key_is_key_end_start() {
        let key =
            Windowed { key: "ab".to_owned(), window: SessionWindow { start: Timestamp::from_millis(1), end: Timestamp::from_millis(2) } };
        let (serde, mut bytes) = (SessionWindowed(Utf8), Vec::new());
        serde.serialize(&key, SLOT, &mut Headers::default(), &mut bytes).expect("text serializes");
        assert_eq!(bytes, *b"ab\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0\x01");
        assert_eq!(serde.deserialize(&bytes, SLOT, &Headers::default()).expect("reads back"), key);
        assert_eq!(serde.partition_bytes(&bytes), b"ab");
    }

    #[test]
    fn truncated_keys_are_errors_not_panics() {
        for cut in 0..8 {
            assert!(TimeWindowed::sizeless(Utf8).deserialize(&vec![0; cut], SLOT, &Headers::default()).is_err());
        }
        for cut in 0..16 {
            assert!(SessionWindowed(Utf8).deserialize(&vec![0; cut], SLOT, &Headers::default()).is_err());
        }
    }
}
