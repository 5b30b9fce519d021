//! What is said at the door: a length of four bytes, then a request or an answer that begins with the version.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::sync::Arc;

use super::Sent;
use crate::kafka::embedded::files::bytes::{Reader, put_text, put_varint, put_zigzag};
use crate::kafka::embedded::reader::{GroupStanding, PartitionStanding, TopicStanding};
use crate::kafka::{FetchLimit, Fetched, Isolation, LogError, Position};
use crate::record::{Headers, RawRecord, Timestamp, TopicPartition};

const VERSION: u8 = 1;
/// No message is longer.
const LONGEST: u32 = 256 << 20;

/// What a caller wants to know.
#[derive(Debug, PartialEq)]
pub(super) enum Request {
    Topics,
    Groups,
    Read { partition: TopicPartition, from: i64, isolation: Isolation, limit: FetchLimit },
}

/// What it is told.
#[derive(Debug)]
pub(super) enum Answer {
    Topics(Vec<TopicStanding>),
    Groups(Vec<GroupStanding>),
    /// Records one after the other.
    Records {
        fetched: Fetched,
        records: Vec<u8>,
    },
    Error(LogError),
    Refused(String),
}

/// The next message; none if the other side has hung up.
pub(super) fn receive(from: &mut impl Read) -> io::Result<Option<Vec<u8>>> {
    let mut length = [0; 4];
    match from.read_exact(&mut length) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        read => read?,
    }
    let length = u32::from_le_bytes(length);
    if length > LONGEST {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a message that is too long"));
    }
    let mut message = vec![0; length as usize];
    from.read_exact(&mut message)?;
    Ok(Some(message))
}

pub(super) fn send(to: &mut impl Write, put: impl FnOnce(&mut Vec<u8>)) -> io::Result<()> {
    let mut message = vec![0; 4];
    message.push(VERSION);
    put(&mut message);
    let length = u32::try_from(message.len() - 4).map_err(io::Error::other)?;
    message[..4].copy_from_slice(&length.to_le_bytes());
    to.write_all(&message)?;
    to.flush()
}

/// The message behind its version.
fn opened(message: &[u8]) -> Option<Reader<'_>> {
    let mut from = Reader::new(message, 0);
    (from.u8()? == VERSION).then_some(from)
}

impl Request {
    pub(super) fn put(&self, into: &mut Vec<u8>) {
        match self {
            Request::Topics => into.push(1),
            Request::Groups => into.push(2),
            Request::Read { partition, from, isolation, limit } => {
                into.push(3);
                put_partition(into, partition);
                put_zigzag(into, *from);
                into.push(u8::from(*isolation == Isolation::ReadCommitted));
                put_varint(into, limit.records as u64);
                put_varint(into, limit.bytes as u64);
            }
        }
    }

    pub(super) fn read(message: &[u8]) -> Option<Self> {
        let mut from = opened(message)?;
        match from.u8()? {
            1 => Some(Request::Topics),
            2 => Some(Request::Groups),
            3 => {
                let (partition, offset) = (partition(&mut from)?, from.zigzag()?);
                let isolation = if from.u8()? == 1 { Isolation::ReadCommitted } else { Isolation::ReadUncommitted };
                let limit = FetchLimit { records: from.length()?, bytes: from.length()? };
                Some(Request::Read { partition, from: offset, isolation, limit })
            }
            _ => None,
        }
    }
}

impl Answer {
    pub(super) fn put(&self, into: &mut Vec<u8>) {
        match self {
            Answer::Topics(topics) => {
                into.push(1);
                put_all(into, topics, put_topic);
            }
            Answer::Groups(groups) => {
                into.push(2);
                put_all(into, groups, |into, group| {
                    put_text(into, &group.name);
                    put_all(into, &group.positions, |into, (partition, position)| {
                        put_partition(into, partition);
                        put_zigzag(into, position.offset);
                        put_text(into, &position.metadata);
                    });
                });
            }
            Answer::Records { fetched, records } => {
                into.push(3);
                put_zigzag(into, fetched.next_offset);
                put_zigzag(into, fetched.end);
                into.extend_from_slice(records);
            }
            Answer::Error(error) => put_error(into, error),
            Answer::Refused(reason) => {
                into.push(0);
                put_text(into, reason);
            }
        }
    }

    pub(super) fn read(message: &[u8]) -> Option<Self> {
        let mut from = opened(message)?;
        Some(match from.u8()? {
            0 => Answer::Refused(from.text()?.to_owned()),
            1 => Answer::Topics(all(&mut from, topic)?),
            2 => Answer::Groups(all(&mut from, |from| {
                let name = from.text()?.to_owned();
                let position = |from: &mut Reader<'_>| Some(Position { offset: from.zigzag()?, metadata: from.text()?.to_owned() });
                Some(GroupStanding { name, positions: all(from, |from| Some((partition(from)?, position(from)?)))? })
            })?),
            3 => {
                let fetched = Fetched { next_offset: from.zigzag()?, end: from.zigzag()? };
                Answer::Records { fetched, records: message[from.position()..].to_vec() }
            }
            4 => Answer::Error(LogError::UnknownTopic(from.text()?.into())),
            5 => Answer::Error(LogError::UnknownPartition { partition: partition(&mut from)?, count: number(&mut from)? }),
            6 => {
                let (partition, offset) = (partition(&mut from)?, from.zigzag()?);
                Answer::Error(LogError::OffsetOutOfRange { partition, offset, begin: from.zigzag()?, end: from.zigzag()? })
            }
            _ => return None,
        })
    }
}

fn put_error(into: &mut Vec<u8>, error: &LogError) {
    match error {
        LogError::UnknownTopic(topic) => {
            into.push(4);
            put_text(into, topic);
        }
        LogError::UnknownPartition { partition, count } => {
            into.push(5);
            put_partition(into, partition);
            put_zigzag(into, i64::from(*count));
        }
        LogError::OffsetOutOfRange { partition, offset, begin, end } => {
            into.push(6);
            put_partition(into, partition);
            [offset, begin, end].into_iter().for_each(|offset| put_zigzag(into, *offset));
        }
        other => Answer::Refused(other.to_string()).put(into),
    }
}

fn put_topic(into: &mut Vec<u8>, topic: &TopicStanding) {
    put_text(into, &topic.name);
    put_all(into, &topic.partitions, |into, partition| {
        [partition.begin, partition.end, partition.stable_end].into_iter().for_each(|offset| put_zigzag(into, offset));
        put_varint(into, partition.bytes);
    });
    put_varint(into, topic.config.len() as u64);
    for (key, value) in &topic.config {
        put_text(into, key);
        put_text(into, value);
    }
}

fn topic(from: &mut Reader<'_>) -> Option<TopicStanding> {
    let name = from.text()?.to_owned();
    let partitions = all(from, |from| {
        let (begin, end, stable_end) = (from.zigzag()?, from.zigzag()?, from.zigzag()?);
        Some(PartitionStanding { begin, end, stable_end, bytes: from.varint()? })
    })?;
    let config = all(from, |from| Some((from.text()?.to_owned(), from.text()?.to_owned())))?;
    Some(TopicStanding { name, partitions, config: BTreeMap::from_iter(config) })
}

/// Adds a record to those of an answer.
pub(super) fn put_record(into: &mut Vec<u8>, record: &RawRecord<'_>) {
    put_zigzag(into, record.offset);
    put_zigzag(into, record.timestamp.as_millis());
    put_part(into, record.key);
    put_part(into, record.value);
    put_varint(into, record.headers.len() as u64);
    for (name, value) in record.headers.iter() {
        put_text(into, name);
        put_part(into, value);
    }
}

/// Visits the records of an answer; `None` if they are none.
pub(super) fn visit_records(records: &[u8], visit: &mut dyn FnMut(Sent<'_>)) -> Option<()> {
    let mut from = Reader::new(records, 0);
    while !from.is_at_end() {
        let (offset, timestamp) = (from.zigzag()?, Timestamp::from_millis(from.zigzag()?));
        let (key, value) = (part(&mut from)?, part(&mut from)?);
        let mut headers = Headers::default();
        for _ in 0..from.varint()? {
            let name = from.text()?;
            match part(&mut from)? {
                Some(value) => headers.add(name, value),
                None => headers.add_null(name),
            }
        }
        visit(Sent { offset, timestamp, key, value, headers });
    }
    Some(())
}

fn put_part(into: &mut Vec<u8>, part: Option<&[u8]>) {
    put_varint(into, part.map_or(0, |bytes| bytes.len() as u64 + 1));
    into.extend_from_slice(part.unwrap_or_default());
}

fn part<'a>(from: &mut Reader<'a>) -> Option<Option<&'a [u8]>> {
    match from.length()?.checked_sub(1) {
        Some(length) => from.take(length).map(Some),
        None => Some(None),
    }
}

fn put_partition(into: &mut Vec<u8>, partition: &TopicPartition) {
    put_text(into, &partition.topic);
    put_zigzag(into, i64::from(partition.partition));
}

fn partition(from: &mut Reader<'_>) -> Option<TopicPartition> {
    let topic: Arc<str> = from.text()?.into();
    Some(TopicPartition::new(topic, number(from)?))
}

fn number(from: &mut Reader<'_>) -> Option<i32> {
    i32::try_from(from.zigzag()?).ok()
}

fn put_all<T>(into: &mut Vec<u8>, items: &[T], mut put: impl FnMut(&mut Vec<u8>, &T)) {
    put_varint(into, items.len() as u64);
    items.iter().for_each(|item| put(into, item));
}

fn all<T>(from: &mut Reader<'_>, mut one: impl FnMut(&mut Reader<'_>) -> Option<T>) -> Option<Vec<T>> {
    (0..from.varint()?).map(|_| one(from)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn over_the_wire(put: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut wire = Vec::new();
        send(&mut wire, put).expect("a vector takes everything");
        receive(&mut wire.as_slice()).expect("whole").expect("a message")
    }

    #[test]
    fn requests_come_as_they_were_sent() {
        let limit = FetchLimit { records: 7, bytes: 99 };
        let read = Request::Read { partition: TopicPartition::new("t", 3), from: 1 << 40, isolation: Isolation::ReadUncommitted, limit };
        for request in [Request::Topics, Request::Groups, read] {
            assert_eq!(Request::read(&over_the_wire(|into| request.put(into))), Some(request));
        }
        assert_eq!(Request::read(&[VERSION + 1, 1]), None, "of another version");
    }

    #[test]
    fn answers_say_what_is_wrong() {
        let partition = TopicPartition::new("t", 1);
        for error in [
            LogError::UnknownTopic("t".into()),
            LogError::UnknownPartition { partition: partition.clone(), count: 1 },
            LogError::OffsetOutOfRange { partition, offset: -1, begin: 0, end: 9 },
        ] {
            let told = error.to_string();
            let read = Answer::read(&over_the_wire(|into| Answer::Error(error).put(into)));
            assert!(matches!(&read, Some(Answer::Error(error)) if error.to_string() == told), "{read:?}");
        }
        assert!(matches!(Answer::read(&over_the_wire(|into| put_error(into, &LogError::CutOff))), Some(Answer::Refused(_))));
    }
}
