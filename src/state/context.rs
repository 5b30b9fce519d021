//! Where the record that causes a write came from: kept by caches and suppression buffers, forwarded with what they emit.

use std::sync::Arc;

use crate::record::{Headers, Timestamp};

/// The record being processed, borrowed: what every write to a core is given.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WriteContext<'a> {
    pub(crate) timestamp: Timestamp,
    pub(crate) offset: i64,
    pub(crate) partition: i32,
    /// None inside a punctuation.
    pub(crate) topic: Option<&'a Arc<str>>,
    pub(crate) headers: &'a Headers,
    /// The source record's own bytes, if a dead letter may want them.
    pub(crate) source: (Option<&'a [u8]>, Option<&'a [u8]>),
}

impl WriteContext<'_> {
    /// A copy to keep.
    pub(crate) fn keep(&self) -> RecordContext {
        RecordContext {
            timestamp: self.timestamp,
            offset: self.offset,
            partition: self.partition,
            topic: self.topic.cloned(),
            headers: self.headers.clone(),
            source: Source::of(self.source).map(Box::new),
        }
    }
}

/// The same, kept.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RecordContext {
    pub(crate) timestamp: Timestamp,
    pub(crate) offset: i64,
    pub(crate) partition: i32,
    pub(crate) topic: Option<Arc<str>>,
    pub(crate) headers: Headers,
    /// Of the source record, where they are kept; never written to a changelog.
    pub(crate) source: Option<Box<Source>>,
}

/// Key and value of a source record.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Source {
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
}

impl Source {
    /// None where there is neither.
    fn of((key, value): (Option<&[u8]>, Option<&[u8]>)) -> Option<Self> {
        (key.is_some() || value.is_some()).then(|| Source { key: key.map(<[u8]>::to_vec), value: value.map(<[u8]>::to_vec) })
    }
}

impl Default for RecordContext {
    /// No record: what a row read into a cache has.
    fn default() -> Self {
        RecordContext { timestamp: Timestamp::UNKNOWN, offset: -1, partition: -1, topic: None, headers: Headers::default(), source: None }
    }
}

impl RecordContext {
    /// Becomes that of another record; what both have is kept.
    pub(crate) fn keep(&mut self, cx: &WriteContext<'_>) {
        (self.timestamp, self.offset, self.partition) = (cx.timestamp, cx.offset, cx.partition);
        let same = self.topic.as_ref().zip(cx.topic).is_some_and(|(one, other)| Arc::ptr_eq(one, other));
        if !same {
            self.topic = cx.topic.cloned();
        }
        self.headers.clone_from(cx.headers);
        match (&mut self.source, cx.source) {
            (source, (None, None)) => *source = None,
            (Some(source), (key, value)) => {
                keep_bytes(&mut source.key, key);
                keep_bytes(&mut source.value, value);
            }
            (source @ None, bytes) => *source = Source::of(bytes).map(Box::new),
        }
    }
    /// Lent to a write.
    pub(crate) fn lend(&self) -> WriteContext<'_> {
        WriteContext {
            timestamp: self.timestamp,
            offset: self.offset,
            partition: self.partition,
            topic: self.topic.as_ref(),
            headers: &self.headers,
            source: self.source.as_ref().map_or((None, None), |source| (source.key.as_deref(), source.value.as_deref())),
        }
    }
    /// What Kafka Streams reckons that it occupies: it decides what a small cache or buffer evicts.
    pub(crate) fn java_size(&self) -> usize {
        let headers: usize = self.headers.iter().map(|(name, value)| name.len() + value.map_or(0, <[u8]>::len)).sum();
        8 + 8 + 4 + self.topic.as_ref().map_or(0, |topic| topic.len()) + headers
    }
    /// The layout of suppression changelogs (K3.11, "Record context").
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let bytes = |out: &mut Vec<u8>, bytes: &[u8]| {
            out.extend_from_slice(&length(bytes.len()));
            out.extend_from_slice(bytes);
        };
        out.extend_from_slice(&self.timestamp.as_millis().to_be_bytes());
        out.extend_from_slice(&self.offset.to_be_bytes());
        bytes(out, self.topic.as_deref().unwrap_or_default().as_bytes());
        out.extend_from_slice(&self.partition.to_be_bytes());
        out.extend_from_slice(&length(self.headers.len()));
        for (name, value) in self.headers.iter() {
            bytes(out, name.as_bytes());
            match value {
                Some(value) => bytes(out, value),
                None => out.extend_from_slice(&(-1_i32).to_be_bytes()),
            }
        }
    }
    /// Reads it back, moving `input` past it.
    pub(crate) fn decode(input: &mut &[u8]) -> Option<Self> {
        let timestamp = Timestamp::from_millis(take_i64(input)?);
        let offset = take_i64(input)?;
        let topic = String::from_utf8(take_bytes(input)??.to_vec()).ok()?;
        let partition = take_i32(input)?;
        let mut headers = Headers::default();
        for _ in 0..take_i32(input)? {
            let name = String::from_utf8(take_bytes(input)??.to_vec()).ok()?;
            match take_bytes(input)? {
                Some(value) => headers.add(name, value),
                None => headers.add_null(name),
            }
        }
        Some(RecordContext { timestamp, offset, partition, topic: Some(topic.into()), headers, source: None })
    }
}

fn keep_bytes(kept: &mut Option<Vec<u8>>, bytes: Option<&[u8]>) {
    match (kept, bytes) {
        (Some(kept), Some(bytes)) => {
            kept.clear();
            kept.extend_from_slice(bytes);
        }
        (kept, bytes) => *kept = bytes.map(<[u8]>::to_vec),
    }
}

/// A length as Java writes it.
pub(crate) fn length(length: usize) -> [u8; 4] {
    i32::try_from(length).expect("a record is smaller than 2 GiB").to_be_bytes()
}
pub(crate) fn take_i64(input: &mut &[u8]) -> Option<i64> {
    let (head, rest) = input.split_first_chunk::<8>()?;
    *input = rest;
    Some(i64::from_be_bytes(*head))
}
pub(crate) fn take_i32(input: &mut &[u8]) -> Option<i32> {
    let (head, rest) = input.split_first_chunk::<4>()?;
    *input = rest;
    Some(i32::from_be_bytes(*head))
}
/// Bytes behind their length; the inner none is a null, the outer one bytes that end too soon.
pub(crate) fn take_bytes<'a>(input: &mut &'a [u8]) -> Option<Option<&'a [u8]>> {
    let length = take_i32(input)?;
    if length == -1 {
        return Some(None);
    }
    let (head, rest) = input.split_at_checked(usize::try_from(length).ok()?)?;
    *input = rest;
    Some(Some(head))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_context_reads_back() {
        let mut headers = Headers::default();
        headers.add("a", "1");
        headers.add_null("b");
        let context = RecordContext {
            timestamp: Timestamp::from_millis(7),
            offset: 3,
            partition: 1,
            topic: Some("in".into()),
            headers,
            source: None,
        };
        let mut bytes = Vec::new();
        context.encode(&mut bytes);
        let mut input = bytes.as_slice();
        assert_eq!(RecordContext::decode(&mut input), Some(context.clone()));
        assert!(input.is_empty());
        for cut in 0..bytes.len() {
            assert_eq!(RecordContext::decode(&mut &bytes[..cut]), None, "cut at {cut}");
        }
        assert_eq!(context.java_size(), 8 + 8 + 4 + 2 + 1 + 1 + 1);
    }
}
