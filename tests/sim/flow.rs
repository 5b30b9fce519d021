//! What has come into a run and out of it so far, read record by record as it is committed.

use std::collections::BTreeMap;

use highwater::{Cluster, LoggedRecord};

use crate::choices::PARTITIONS;
use crate::topologies::Kind;

/// The first repartition topic of the topologies that have one.
pub(crate) const BETWEEN: &str = "app-windows-repartition";

/// A record that came in, or went through a repartition topic.
#[derive(Clone, Debug)]
pub(crate) struct Passed {
    pub(crate) offset: i64,
    pub(crate) key: String,
    pub(crate) value: String,
    pub(crate) at: i64,
}

/// What has been read so far.
#[derive(Debug, Default)]
pub(crate) struct Flow {
    cursors: BTreeMap<(String, i32), i64>,
    /// Of the input, by partition.
    pub(crate) input: Vec<Vec<Passed>>,
    /// Of the first repartition topic.
    pub(crate) between: Vec<Vec<Passed>>,
    /// Records of it were deleted before they were read.
    pub(crate) has_gaps: bool,
    /// Whether every record in the log counts or does not, and everybody can see that.
    pub(crate) is_decided: bool,
    /// Results by key.
    pub(crate) out: BTreeMap<String, Vec<String>>,
    /// Results that came with the last look, as keys and values.
    pub(crate) news: Vec<(String, String)>,
    /// The committed positions of the input and of the repartition topic, as of the last look and of the one before it.
    pub(crate) read: Positions,
    pub(crate) read_before: Positions,
}

/// How far a topic is processed, by partition.
#[derive(Clone, Debug, Default)]
pub(crate) struct Positions {
    pub(crate) input: Vec<i64>,
    pub(crate) between: Vec<i64>,
}

impl Flow {
    /// Reads on.
    pub(crate) fn look(&mut self, cluster: &Cluster, kind: Kind) {
        let news = self.read_on(cluster, "in");
        self.input.resize(PARTITIONS as usize, Vec::new());
        news.into_iter().for_each(|record| self.input[record.partition as usize].push(passed(record)));
        let through = kind.repartitions();
        if through {
            let news = self.read_on(cluster, BETWEEN);
            self.between.resize(PARTITIONS as usize, Vec::new());
            let data = news.into_iter().filter(|record| record.key.is_some());
            data.for_each(|record| self.between[record.partition as usize].push(passed(record)));
        }
        let news: Vec<Passed> = self.read_on(cluster, "out").into_iter().map(passed).collect();
        self.news = news.into_iter().map(|record| (record.key, record.value)).collect();
        for (key, value) in &self.news {
            self.out.entry(key.clone()).or_default().push(value.clone());
        }
        let topics = ["in", BETWEEN, "out"].into_iter().filter(|topic| through || *topic != BETWEEN);
        let mut ends = topics.flat_map(|topic| (0..PARTITIONS).map(move |partition| cluster.ends(topic, partition)));
        self.is_decided = cluster.waiting_markers() == 0 && ends.all(|(stable, end)| stable == end);
        let read = |topic: &str| (0..PARTITIONS).map(|partition| cluster.committed(topic, partition).map_or(0, |at| at.offset)).collect();
        let now = Positions { input: read("in"), between: if through { read(BETWEEN) } else { Vec::new() } };
        self.read_before = std::mem::replace(&mut self.read, now);
        self.read_before.input.resize(PARTITIONS as usize, 0);
    }

    fn read_on(&mut self, cluster: &Cluster, topic: &str) -> Vec<LoggedRecord> {
        let mut news = Vec::new();
        for partition in 0..PARTITIONS {
            let cursor = self.cursors.entry((topic.to_owned(), partition)).or_default();
            self.has_gaps |= topic == BETWEEN && cluster.extent(topic, partition).start > *cursor;
            let (records, next) = cluster.records_since(topic, partition, *cursor);
            *cursor = next;
            news.extend(records);
        }
        news
    }

    /// The input that was processed and committed, partition by partition.
    pub(crate) fn processed(&self) -> impl Iterator<Item = &Passed> {
        let pairs = self.input.iter().zip(&self.read.input);
        pairs.flat_map(|(records, position)| records.iter().filter(move |record| record.offset < *position))
    }

    /// What the reader of the repartition topic has processed and committed.
    pub(crate) fn processed_between(&self) -> impl Iterator<Item = &Passed> {
        let pairs = self.between.iter().zip(&self.read.between);
        pairs.flat_map(|(records, position)| records.iter().filter(move |record| record.offset < *position))
    }
}

fn passed(record: LoggedRecord) -> Passed {
    let text = |bytes: Option<Vec<u8>>| String::from_utf8(bytes.unwrap_or_default()).unwrap();
    Passed { offset: record.offset, key: text(record.key), value: text(record.value), at: record.timestamp.as_millis() }
}
