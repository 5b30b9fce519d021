//! What a journal adds up to.

use std::collections::BTreeMap;
use std::time::Duration;

use super::entry::{Cleaned, Entry, TopicNumber};
use crate::kafka::Position;
use crate::kafka::embedded::topic_config::TopicConfig;
use crate::kafka::embedded::verdicts::WriterNumber;
use crate::record::{Timestamp, TopicPartition};

/// All that a log is beside its records: the fold of its journal. Kept beside the journal so that a shorter one can be written at any time.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::kafka::embedded) struct Image {
    pub(in crate::kafka::embedded) topics: BTreeMap<TopicNumber, TopicImage>,
    pub(in crate::kafka::embedded) ids: BTreeMap<String, IdImage>,
    /// Open ones, and decided ones that somebody has yet to be told of.
    pub(in crate::kafka::embedded) transactions: BTreeMap<WriterNumber, TransactionImage>,
    pub(in crate::kafka::embedded) groups: BTreeMap<String, GroupImage>,
    /// The highest numbers given out.
    pub(in crate::kafka::embedded) last_topic: TopicNumber,
    pub(in crate::kafka::embedded) last_writer: WriterNumber,
}

#[derive(Clone, Debug, PartialEq)]
pub(in crate::kafka::embedded) struct TopicImage {
    pub(in crate::kafka::embedded) name: String,
    pub(in crate::kafka::embedded) partitions: i32,
    pub(in crate::kafka::embedded) config: BTreeMap<String, String>,
    /// First offsets, where records were deleted.
    pub(in crate::kafka::embedded) begins: BTreeMap<i32, i64>,
    pub(in crate::kafka::embedded) cleaned: BTreeMap<i32, Cleaned>,
}

#[derive(Clone, Debug, PartialEq)]
pub(in crate::kafka::embedded) struct IdImage {
    pub(in crate::kafka::embedded) epoch: u32,
    pub(in crate::kafka::embedded) timed_out: Option<u32>,
    pub(in crate::kafka::embedded) timeout: Duration,
}

#[derive(Clone, Debug, PartialEq)]
pub(in crate::kafka::embedded) struct TransactionImage {
    pub(in crate::kafka::embedded) id: String,
    pub(in crate::kafka::embedded) deadline: Timestamp,
    pub(in crate::kafka::embedded) committed: Option<bool>,
}

/// A position and when it was committed.
pub(in crate::kafka::embedded) type Dated = (Position, Timestamp);

#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::kafka::embedded) struct GroupImage {
    pub(in crate::kafka::embedded) positions: BTreeMap<TopicPartition, Dated>,
    pub(in crate::kafka::embedded) pending: BTreeMap<WriterNumber, BTreeMap<TopicPartition, Dated>>,
}

impl Image {
    /// Takes in one change.
    pub(super) fn fold(&mut self, entry: Entry) {
        let takes_away = matches!(entry, Entry::TopicGone { .. } | Entry::Settled { .. } | Entry::Forgotten { .. });
        self.change(entry);
        if takes_away {
            self.groups.values_mut().for_each(|group| group.pending.retain(|_, positions| !positions.is_empty()));
            self.groups.retain(|_, group| !(group.positions.is_empty() && group.pending.is_empty()));
        }
    }

    fn change(&mut self, entry: Entry) {
        match entry {
            Entry::Numbers { topics, writers } => {
                self.last_topic = self.last_topic.max(topics);
                self.last_writer = self.last_writer.max(writers);
            }
            Entry::Topic { number, name, partitions, config } => {
                let earlier = self.topics.remove(&number);
                let (begins, cleaned) = earlier.map(|earlier| (earlier.begins, earlier.cleaned)).unwrap_or_default();
                self.topics.insert(number, TopicImage { name, partitions, config, begins, cleaned });
                self.last_topic = self.last_topic.max(number);
            }
            Entry::TopicGone { number } => {
                if let Some(topic) = self.topics.remove(&number) {
                    self.groups.values_mut().for_each(|group| group.forget(|partition| *partition.topic == *topic.name));
                }
            }
            Entry::Begin { topic, partition, offset } => {
                if let Some(topic) = self.topics.get_mut(&topic) {
                    topic.begins.insert(partition, offset);
                }
            }
            Entry::Cleaned { topic, partition, cleaned } => {
                if let Some(topic) = self.topics.get_mut(&topic) {
                    topic.cleaned.insert(partition, cleaned);
                }
            }
            Entry::Id { id, epoch, timed_out, timeout } => {
                self.ids.insert(id, IdImage { epoch, timed_out, timeout });
            }
            Entry::Opened { writer, id, deadline } => {
                self.transactions.insert(writer, TransactionImage { id, deadline, committed: None });
                self.last_writer = self.last_writer.max(writer);
            }
            Entry::Decided { writer, committed } => {
                if let Some(transaction) = self.transactions.get_mut(&writer) {
                    transaction.committed = Some(committed);
                }
            }
            Entry::Positions { group, writer, at, positions } => {
                let group = self.groups.entry(group).or_default();
                let into = writer.map_or(&mut group.positions, |writer| group.pending.entry(writer).or_default());
                into.extend(positions.into_iter().map(|(partition, position)| (partition, (position, at))));
            }
            Entry::Settled { group, writer, committed, at } => {
                let group = self.groups.entry(group).or_default();
                let settled = group.pending.remove(&writer).unwrap_or_default();
                if committed {
                    group.positions.extend(settled.into_iter().map(|(partition, (position, _))| (partition, (position, at))));
                }
            }
            Entry::Forgotten { group, partitions } => {
                let gone = |partition: &TopicPartition| partitions.contains(partition);
                if let Some(group) = self.groups.get_mut(&group) {
                    group.positions.retain(|partition, _| !gone(partition));
                }
            }
        }
    }

    /// Entries that add up to this.
    pub(super) fn entries(&self) -> impl Iterator<Item = Entry> {
        let numbers = Entry::Numbers { topics: self.last_topic, writers: self.last_writer };
        let topics = self.topics.iter().flat_map(|(number, topic)| topic.entries(*number));
        let ids = self.ids.iter().map(|(id, known)| {
            let IdImage { epoch, timed_out, timeout } = known.clone();
            Entry::Id { id: id.clone(), epoch, timed_out, timeout }
        });
        let transactions = self.transactions.iter().flat_map(|(writer, transaction)| transaction.entries(*writer));
        let groups = self.groups.iter().flat_map(|(name, group)| group.entries(name));
        std::iter::once(numbers).chain(topics).chain(ids).chain(transactions).chain(groups)
    }
}

impl TopicImage {
    pub(in crate::kafka::embedded) fn of(name: &str, partitions: i32, config: &TopicConfig) -> Self {
        TopicImage { name: name.to_owned(), partitions, config: config.asked_for(), begins: BTreeMap::new(), cleaned: BTreeMap::new() }
    }

    fn entries(&self, number: TopicNumber) -> impl Iterator<Item = Entry> {
        let (name, partitions, config) = (self.name.clone(), self.partitions, self.config.clone());
        let begin = move |(partition, offset): (&i32, &i64)| Entry::Begin { topic: number, partition: *partition, offset: *offset };
        let clean =
            move |(partition, cleaned): (&i32, &Cleaned)| Entry::Cleaned { topic: number, partition: *partition, cleaned: cleaned.clone() };
        let topic = std::iter::once(Entry::Topic { number, name, partitions, config });
        topic.chain(self.begins.iter().map(begin)).chain(self.cleaned.iter().map(clean))
    }
}

impl TransactionImage {
    fn entries(&self, writer: WriterNumber) -> impl Iterator<Item = Entry> {
        let opened = Entry::Opened { writer, id: self.id.clone(), deadline: self.deadline };
        std::iter::once(opened).chain(self.committed.map(|committed| Entry::Decided { writer, committed }))
    }
}

impl GroupImage {
    fn forget(&mut self, gone: impl Fn(&TopicPartition) -> bool) {
        self.positions.retain(|partition, _| !gone(partition));
        self.pending.values_mut().for_each(|positions| positions.retain(|partition, _| !gone(partition)));
    }

    fn entries(&self, name: &str) -> impl Iterator<Item = Entry> {
        let settled = self.positions.iter().map(|position| (None, position));
        let pending = self.pending.iter().flat_map(|(writer, positions)| positions.iter().map(|position| (Some(*writer), position)));
        settled.chain(pending).map(|(writer, (partition, (position, at)))| Entry::Positions {
            group: name.to_owned(),
            writer,
            at: *at,
            positions: vec![(partition.clone(), position.clone())],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::entry::tests::one_of_each;
    use super::*;

    #[test]
    fn the_entries_of_an_image_add_up_to_it_after_every_change() {
        let mut image = Image::default();
        for entry in one_of_each() {
            image.fold(entry);
            let mut again = Image::default();
            image.entries().for_each(|entry| again.fold(entry));
            assert_eq!(again, image);
        }
        assert!(image.topics.is_empty() && image.groups.is_empty(), "the topic is gone, and positions in it");
    }
}
