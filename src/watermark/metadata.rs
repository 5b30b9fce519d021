//! What is committed beside an offset: Kafka Streams' metadata blob, with our own entries in it.
//!
//! The blob is base64 of: version byte 2, partition time (8 bytes, -1 for none), and if there are entries their number (4 bytes) and each one's
//! name length (4 bytes), name in UTF-8 and value (8 bytes); all integers big-endian (K3.11). Version 1 ends after the partition time.
//! A Java application reads our blobs and we read its, whatever else stands in them.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::record::Timestamp;

/// Names of our entries. All begin with `__hw.`, as our headers do.
pub(crate) mod entry {
    /// The largest timestamp of the partition that moved its clock.
    pub(crate) const CLOCK: &str = "__hw.clock";
    /// The watermark of the task. Written with each of its partitions; the largest one counts.
    pub(crate) const WATERMARK: &str = "__hw.w";
    /// 1 if the last announcement of the task said idle.
    pub(crate) const SENT_IDLE: &str = "__hw.sent.idle";
    /// Repartition partitions: how many tasks write there. Nothing is known of them without it.
    pub(crate) const UPSTREAM_TASKS: &str = "__hw.up.tasks";
    /// The epoch of that number; 0 if absent.
    pub(crate) const UPSTREAM_EPOCH: &str = "__hw.up.epoch";

    /// Which topic of its name the position is of.
    pub(crate) const TOPIC: &str = "__hw.topic";

    /// Which topic of its name a changelog of the task was. Short, as there may be many.
    pub(crate) fn changelog(topic: &str) -> String {
        format!("__hw.log.{:08x}", crc32c::crc32c(topic.as_bytes()))
    }
    /// The last value that an upstream task announced.
    pub(crate) fn upstream_value(task: usize) -> String {
        format!("__hw.up.{task}")
    }
    /// Which of 64 upstream tasks are idle: bit `n` is task `64 * word + n`.
    pub(crate) fn upstream_idle(word: usize) -> String {
        format!("__hw.up.idle.{word}")
    }
    /// What a node keeps under a name of its own.
    pub(crate) fn of_node(what: &str, node: &str) -> String {
        format!("__hw.node.{what}.{node}")
    }
}

/// What is known of a partition and its task beside the offset.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct CommitMetadata {
    /// Kafka Streams' partition time: the largest timestamp read.
    pub(crate) partition_time: Option<Timestamp>,
    /// Named numbers, ours and those of others, which are kept as they are.
    pub(crate) entries: BTreeMap<String, i64>,
}

/// Why a blob cannot be read. Nothing is known then; a wrong guess would make records late or on time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum MetadataError {
    /// Another program's metadata.
    #[error("the metadata of a committed offset is not base64: another program commits under this group")]
    NotBase64,
    /// A version that this program does not know.
    #[error("the metadata of a committed offset has version {0}, this program reads 1 and 2")]
    UnknownVersion(u8),
    /// Cut off, or with bytes that its own lengths do not explain.
    #[error("the metadata of a committed offset is damaged")]
    Damaged,
}

impl CommitMetadata {
    /// An entry as a time, such as [`entry::CLOCK`].
    pub(crate) fn time(&self, name: &str) -> Option<Timestamp> {
        self.entries.get(name).copied().map(Timestamp::from_millis)
    }
    /// Writes an entry, or removes it if nothing is known.
    pub(crate) fn set_time(&mut self, name: &str, time: Option<Timestamp>) {
        match time {
            Some(time) => self.entries.insert(name.to_owned(), time.as_millis()),
            None => self.entries.remove(name),
        };
    }
    /// How many bytes the blob has with these entries, whatever their values.
    pub(crate) fn length_of(names: impl IntoIterator<Item = String>) -> usize {
        let entries = names.into_iter().map(|name| (name, 0)).collect();
        CommitMetadata { partition_time: None, entries }.encode().len()
    }
    /// The blob.
    pub(crate) fn encode(&self) -> String {
        let mut bytes = vec![2];
        bytes.extend(self.partition_time.unwrap_or(Timestamp::UNKNOWN).as_millis().to_be_bytes());
        if !self.entries.is_empty() {
            bytes.extend(length(self.entries.len()));
        }
        for (name, value) in &self.entries {
            bytes.extend(length(name.len()));
            bytes.extend(name.as_bytes());
            bytes.extend(value.to_be_bytes());
        }
        STANDARD.encode(bytes)
    }
    /// Reads a blob. An empty one says that nothing is known.
    pub(crate) fn decode(blob: &str) -> Result<CommitMetadata, MetadataError> {
        let bytes = STANDARD.decode(blob).map_err(|_| MetadataError::NotBase64)?;
        let Some((version, mut rest)) = bytes.split_first() else { return Ok(CommitMetadata::default()) };
        if !(1..=2).contains(version) {
            return Err(MetadataError::UnknownVersion(*version));
        }
        let time = Timestamp::from_millis(i64::from_be_bytes(take(&mut rest)?));
        let mut read = CommitMetadata { partition_time: (time != Timestamp::UNKNOWN).then_some(time), entries: BTreeMap::new() };
        if *version == 2 && !rest.is_empty() {
            for _ in 0..u32::from_be_bytes(take(&mut rest)?) {
                let (name, value) = take_entry(&mut rest)?;
                read.entries.insert(name, value);
            }
        }
        if rest.is_empty() { Ok(read) } else { Err(MetadataError::Damaged) }
    }
}

/// A length as it is written.
fn length(count: usize) -> [u8; 4] {
    u32::try_from(count).expect("a commit's metadata has at most 4096 bytes").to_be_bytes()
}

/// The next `N` bytes.
fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], MetadataError> {
    let (taken, left) = rest.split_first_chunk().ok_or(MetadataError::Damaged)?;
    *rest = left;
    Ok(*taken)
}

/// The next entry.
fn take_entry(rest: &mut &[u8]) -> Result<(String, i64), MetadataError> {
    let length = u32::from_be_bytes(take(rest)?) as usize;
    let (name, left) = rest.split_at_checked(length).ok_or(MetadataError::Damaged)?;
    *rest = left;
    let name = String::from_utf8(name.to_vec()).map_err(|_| MetadataError::Damaged)?;
    Ok((name, i64::from_be_bytes(take(rest)?)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn golden_blobs() {
        assert_eq!(CommitMetadata::default().encode(), "Av//////////", "what Kafka Streams writes while it knows nothing");
        let mut known = CommitMetadata { partition_time: Some(Timestamp::from_millis(1_000)), ..CommitMetadata::default() };
        assert_eq!(known.encode(), "AgAAAAAAAAPo");
        known.set_time(entry::WATERMARK, Some(Timestamp::from_millis(-2)));
        // 02 | 00000000000003e8 | 00000001 | 00000006 "__hw.w" fffffffffffffffe
        assert_eq!(known.encode(), "AgAAAAAAAAPoAAAAAQAAAAZfX2h3Lnf//////////g==");
        assert_eq!(CommitMetadata::decode("AgAAAAAAAAPoAAAAAQAAAAZfX2h3Lnf//////////g=="), Ok(known.clone()));
        known.set_time(entry::WATERMARK, None);
        assert_eq!(known.encode(), "AgAAAAAAAAPo");
    }

    #[test]
    fn older_blobs_and_entries_of_others() {
        assert_eq!(CommitMetadata::decode(""), Ok(CommitMetadata::default()));
        let first = CommitMetadata::decode("AQAAAAAAAAPo").expect("version 1 is a time alone");
        assert_eq!((first.partition_time, first.entries.len()), (Some(Timestamp::from_millis(1_000)), 0));
        let theirs = CommitMetadata { partition_time: None, entries: BTreeMap::from([("KSTREAM-AGGREGATE-0".to_owned(), 7)]) };
        assert_eq!(CommitMetadata::decode(&theirs.encode()), Ok(theirs.clone()), "an entry of another is kept");
        assert_eq!(theirs.time(entry::CLOCK), None);
    }

    #[test]
    fn damage_is_an_error() {
        assert_eq!(CommitMetadata::decode("not ours!"), Err(MetadataError::NotBase64));
        assert_eq!(CommitMetadata::decode(&STANDARD.encode([3, 0])), Err(MetadataError::UnknownVersion(3)));
        let whole = CommitMetadata { partition_time: None, entries: BTreeMap::from([("a".to_owned(), 1), ("b".to_owned(), 2)]) };
        let bytes = STANDARD.decode(whole.encode()).expect("our own base64");
        for cut in (1..bytes.len()).filter(|cut| *cut != 9) {
            assert_eq!(CommitMetadata::decode(&STANDARD.encode(&bytes[..cut])), Err(MetadataError::Damaged), "cut at {cut}");
        }
        let longer: Vec<u8> = bytes.into_iter().chain([0]).collect();
        assert_eq!(CommitMetadata::decode(&STANDARD.encode(longer)), Err(MetadataError::Damaged));
        assert!([entry::CLOCK, entry::WATERMARK, entry::SENT_IDLE].iter().all(|name| name.starts_with("__hw.")));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(time in prop::option::of(0..i64::MAX), entries in prop::collection::btree_map(".{0,12}", any::<i64>(), 0..6)) {
            let metadata = CommitMetadata { partition_time: time.map(Timestamp::from_millis), entries };
            prop_assert_eq!(CommitMetadata::decode(&metadata.encode()), Ok(metadata));
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..60), version in 1..4u8) {
            let bytes: Vec<u8> = [version].into_iter().chain(bytes).collect();
            let _ = CommitMetadata::decode(&STANDARD.encode(bytes));
        }
    }
}
