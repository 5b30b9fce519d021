//! What the journal says, one entry per change of anything that is not a record.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::bytes::{Reader, put_text, put_varint, put_zigzag};
use crate::kafka::Position;
use crate::kafka::embedded::verdicts::WriterNumber;
use crate::record::{Timestamp, TopicPartition, millis};

/// Stands for one topic for ever, also when its name is used again.
pub(in crate::kafka::embedded) type TopicNumber = u64;

/// Positions of one group.
pub(in crate::kafka::embedded) type Positions = Vec<(TopicPartition, Position)>;

/// What compaction has done to a partition.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::kafka::embedded) struct Cleaned {
    /// Below this offset each key is there once.
    pub(in crate::kafka::embedded) below: i64,
    /// Until when the tombstones below an offset are kept: oldest first, from the end of the one before.
    pub(in crate::kafka::embedded) tombstones: VecDeque<(i64, Timestamp)>,
}

/// One change.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::kafka::embedded) enum Entry {
    /// A topic was made, or has other settings or more partitions now.
    Topic { number: TopicNumber, name: String, partitions: i32, config: BTreeMap<String, String> },
    /// A topic is no more, and with it the positions in it.
    TopicGone { number: TopicNumber },
    /// Records below this offset are deleted.
    Begin { topic: TopicNumber, partition: i32, offset: i64 },
    /// A partition is compacted up to here.
    Cleaned { topic: TopicNumber, partition: i32, cleaned: Cleaned },
    /// A transactional id has this epoch now.
    Id { id: String, epoch: u32, timed_out: Option<u32>, timeout: Duration },
    /// A transaction of an id is open, until its end or this time.
    Opened { writer: WriterNumber, id: String, deadline: Timestamp },
    /// A transaction is decided.
    Decided { writer: WriterNumber, committed: bool },
    /// Positions of a group: committed, or with a transaction to be so.
    Positions { group: String, writer: Option<WriterNumber>, at: Timestamp, positions: Positions },
    /// A group has learnt how a transaction came out.
    Settled { group: String, writer: WriterNumber, committed: bool, at: Timestamp },
    /// Positions that a group no longer has.
    Forgotten { group: String, partitions: Vec<TopicPartition> },
    /// Numbers up to these were given out. Begins a journal.
    Numbers { topics: TopicNumber, writers: WriterNumber },
}

impl Entry {
    pub(super) fn put(&self, into: &mut Vec<u8>) {
        into.push(self.tag());
        match self {
            Entry::Topic { number, name, partitions, config } => {
                put_varint(into, *number);
                put_text(into, name);
                put_zigzag(into, i64::from(*partitions));
                put_varint(into, config.len() as u64);
                config.iter().for_each(|(key, value)| {
                    put_text(into, key);
                    put_text(into, value);
                });
            }
            Entry::TopicGone { number } => put_varint(into, *number),
            Entry::Begin { topic, partition, offset } => {
                put_varint(into, *topic);
                put_zigzag(into, i64::from(*partition));
                put_zigzag(into, *offset);
            }
            Entry::Cleaned { topic, partition, cleaned } => {
                put_varint(into, *topic);
                put_zigzag(into, i64::from(*partition));
                put_cleaned(into, cleaned);
            }
            Entry::Id { id, epoch, timed_out, timeout } => {
                put_text(into, id);
                put_varint(into, u64::from(*epoch));
                put_varint(into, timed_out.map_or(0, |epoch| u64::from(epoch) + 1));
                put_zigzag(into, millis(*timeout));
            }
            Entry::Opened { writer, id, deadline } => {
                put_varint(into, *writer);
                put_text(into, id);
                put_zigzag(into, deadline.as_millis());
            }
            Entry::Decided { writer, committed } => {
                put_varint(into, *writer);
                into.push(u8::from(*committed));
            }
            Entry::Positions { group, writer, at, positions } => {
                put_text(into, group);
                put_varint(into, writer.unwrap_or(0));
                put_zigzag(into, at.as_millis());
                put_positions(into, positions);
            }
            Entry::Settled { group, writer, committed, at } => {
                put_text(into, group);
                put_varint(into, *writer);
                into.push(u8::from(*committed));
                put_zigzag(into, at.as_millis());
            }
            Entry::Forgotten { group, partitions } => {
                put_text(into, group);
                put_varint(into, partitions.len() as u64);
                partitions.iter().for_each(|partition| put_partition(into, partition));
            }
            Entry::Numbers { topics, writers } => {
                put_varint(into, *topics);
                put_varint(into, *writers);
            }
        }
    }

    fn tag(&self) -> u8 {
        match self {
            Entry::Topic { .. } => 1,
            Entry::TopicGone { .. } => 2,
            Entry::Begin { .. } => 3,
            Entry::Id { .. } => 4,
            Entry::Opened { .. } => 5,
            Entry::Decided { .. } => 6,
            Entry::Positions { .. } => 7,
            Entry::Settled { .. } => 8,
            Entry::Forgotten { .. } => 9,
            Entry::Numbers { .. } => 10,
            Entry::Cleaned { .. } => 11,
        }
    }

    /// The entry that is written here; `None` if it is none of this version.
    pub(super) fn read(body: &[u8]) -> Option<Self> {
        let mut from = Reader::new(body, 0);
        let entry = match from.u8()? {
            1 => {
                Entry::Topic { number: from.varint()?, name: text(&mut from)?, partitions: number(&mut from)?, config: config(&mut from)? }
            }
            2 => Entry::TopicGone { number: from.varint()? },
            3 => Entry::Begin { topic: from.varint()?, partition: number(&mut from)?, offset: from.zigzag()? },
            4 => Entry::Id {
                id: text(&mut from)?,
                epoch: epoch(from.varint()?)?,
                timed_out: from.varint()?.checked_sub(1).and_then(epoch),
                timeout: Duration::from_millis(from.zigzag()?.unsigned_abs()),
            },
            5 => Entry::Opened { writer: from.varint()?, id: text(&mut from)?, deadline: time(&mut from)? },
            6 => Entry::Decided { writer: from.varint()?, committed: from.u8()? == 1 },
            7 => Entry::Positions {
                group: text(&mut from)?,
                writer: Some(from.varint()?).filter(|writer| *writer > 0),
                at: time(&mut from)?,
                positions: positions(&mut from)?,
            },
            8 => {
                let (group, writer, committed) = (text(&mut from)?, from.varint()?, from.u8()? == 1);
                Entry::Settled { group, writer, committed, at: time(&mut from)? }
            }
            9 => {
                let (group, count) = (text(&mut from)?, from.varint()?);
                Entry::Forgotten { group, partitions: (0..count).map(|_| partition(&mut from)).collect::<Option<_>>()? }
            }
            11 => Entry::Cleaned { topic: from.varint()?, partition: number(&mut from)?, cleaned: cleaned(&mut from)? },
            10 => Entry::Numbers { topics: from.varint()?, writers: from.varint()? },
            _ => return None,
        };
        from.is_at_end().then_some(entry)
    }
}

fn put_partition(into: &mut Vec<u8>, partition: &TopicPartition) {
    put_text(into, &partition.topic);
    put_zigzag(into, i64::from(partition.partition));
}

fn put_positions(into: &mut Vec<u8>, positions: &[(TopicPartition, Position)]) {
    put_varint(into, positions.len() as u64);
    for (partition, position) in positions {
        put_partition(into, partition);
        put_zigzag(into, position.offset);
        put_text(into, &position.metadata);
    }
}

fn put_cleaned(into: &mut Vec<u8>, cleaned: &Cleaned) {
    put_zigzag(into, cleaned.below);
    put_varint(into, cleaned.tombstones.len() as u64);
    for (below, until) in &cleaned.tombstones {
        put_zigzag(into, *below);
        put_zigzag(into, until.as_millis());
    }
}

fn text(from: &mut Reader<'_>) -> Option<String> {
    from.text().map(str::to_owned)
}

fn number(from: &mut Reader<'_>) -> Option<i32> {
    i32::try_from(from.zigzag()?).ok()
}

fn epoch(number: u64) -> Option<u32> {
    u32::try_from(number).ok()
}

fn time(from: &mut Reader<'_>) -> Option<Timestamp> {
    from.zigzag().map(Timestamp::from_millis)
}

fn partition(from: &mut Reader<'_>) -> Option<TopicPartition> {
    Some(TopicPartition::new(from.text()?, number(from)?))
}

fn config(from: &mut Reader<'_>) -> Option<BTreeMap<String, String>> {
    (0..from.varint()?).map(|_| Some((text(from)?, text(from)?))).collect()
}

fn cleaned(from: &mut Reader<'_>) -> Option<Cleaned> {
    let below = from.zigzag()?;
    let tombstones = (0..from.varint()?).map(|_| Some((from.zigzag()?, time(from)?))).collect::<Option<_>>()?;
    Some(Cleaned { below, tombstones })
}

fn positions(from: &mut Reader<'_>) -> Option<Positions> {
    let position = |from: &mut Reader<'_>| Some(Position { offset: from.zigzag()?, metadata: text(from)? });
    (0..from.varint()?).map(|_| Some((partition(from)?, position(from)?))).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::kafka::embedded::files) fn one_of_each() -> Vec<Entry> {
        let partition = TopicPartition::new("orders", 3);
        let positions = vec![(partition.clone(), Position { offset: 77, metadata: "ü".to_owned() })];
        let config = BTreeMap::from([("cleanup.policy".to_owned(), "compact".to_owned())]);
        let at = Timestamp::from_millis(1_000_000_000_000);
        let (group, id) = ("shop".to_owned(), "shop-1".to_owned());
        vec![
            Entry::Numbers { topics: 5, writers: 900 },
            Entry::Topic { number: 5, name: "orders".to_owned(), partitions: 4, config },
            Entry::Begin { topic: 5, partition: 3, offset: 12 },
            Entry::Cleaned { topic: 5, partition: 3, cleaned: Cleaned { below: 15, tombstones: VecDeque::from([(13, at), (15, at)]) } },
            Entry::Id { id: id.clone(), epoch: 7, timed_out: Some(0), timeout: Duration::from_secs(10) },
            Entry::Opened { writer: 901, id, deadline: at },
            Entry::Positions { group: group.clone(), writer: Some(901), at, positions: positions.clone() },
            Entry::Decided { writer: 901, committed: true },
            Entry::Settled { group: group.clone(), writer: 901, committed: true, at },
            Entry::Positions { group: group.clone(), writer: None, at, positions },
            Entry::Forgotten { group, partitions: vec![partition] },
            Entry::TopicGone { number: 5 },
        ]
    }

    #[test]
    fn every_entry_comes_back_and_no_part_of_one_does() {
        for entry in one_of_each() {
            let mut bytes = Vec::new();
            entry.put(&mut bytes);
            assert_eq!(Entry::read(&bytes), Some(entry.clone()));
            assert!((0..bytes.len()).all(|cut| Entry::read(&bytes[..cut]) != Some(entry.clone())));
        }
    }
}
