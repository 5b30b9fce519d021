//! The record by which an announcement travels through a repartition topic. `docs/formats/watermark-control.md` describes its bytes.

use super::Announcement;
use crate::record::{Headers, RawRecord, TaskId, Timestamp};

/// The header that makes a record without key and value a control record.
pub(crate) const WATERMARK_HEADER: &str = "__hw.wm";

const VERSION: u8 = 1;
const LENGTH: usize = 26;
const IDLE: u8 = 1;
const VALUE: u8 = 2;
/// More upstream tasks than any cluster has: a larger count is damage, and must not become an allocation.
const MOST_TASKS: u32 = 1 << 20;

/// An announcement on the wire, with who makes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ControlRecord {
    /// The task that writes.
    pub(crate) task: TaskId,
    /// How many tasks its sub-topology has: the reader waits for all of them.
    pub(crate) tasks: u32,
    /// Grows when the number of tasks changes; announcements of an earlier epoch are ignored.
    pub(crate) epoch: u32,
    /// What it says.
    pub(crate) announcement: Announcement,
}

/// Why the bytes of a control record say nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ControlRecordError {
    /// The header is there, its value is null or has no byte.
    #[error("a watermark control record is empty")]
    Empty,
    /// A version that this program does not know.
    #[error("a watermark control record has version {0}, this program reads version {VERSION}: upgrade the reader before the writer")]
    UnknownVersion(u8),
    /// Cut off, or followed by something.
    #[error("a watermark control record has {0} bytes instead of {LENGTH}")]
    Length(usize),
    /// Flags that version 1 does not have, or a task outside its own count.
    #[error("a watermark control record contradicts itself: {0}")]
    Contradiction(&'static str),
}

impl ControlRecord {
    /// What a record of a repartition partition says about time: none for data. Data has a key or a value, or no such header.
    pub(crate) fn read(record: &RawRecord<'_>) -> Option<Result<ControlRecord, ControlRecordError>> {
        if record.key.is_some() || record.value.is_some() {
            return None;
        }
        let named = record.headers.iter().any(|(name, _)| name == WATERMARK_HEADER);
        named.then(|| ControlRecord::decode(record.headers.last(WATERMARK_HEADER).unwrap_or_default()))
    }
    /// The headers of the record; its key and value are null.
    pub(crate) fn headers(&self) -> Headers {
        let mut headers = Headers::default();
        headers.add(WATERMARK_HEADER, self.encode());
        headers
    }
    /// The value of the header.
    pub(crate) fn encode(&self) -> [u8; LENGTH] {
        let Announcement { watermark, idle } = self.announcement;
        let flags = if idle { IDLE } else { 0 } | if watermark.is_some() { VALUE } else { 0 };
        let mut bytes = [0; LENGTH];
        bytes[0] = VERSION;
        bytes[1..5].copy_from_slice(&self.task.subtopology.to_be_bytes());
        bytes[5..9].copy_from_slice(&self.task.partition.to_be_bytes());
        bytes[9..13].copy_from_slice(&self.tasks.to_be_bytes());
        bytes[13..17].copy_from_slice(&self.epoch.to_be_bytes());
        bytes[17] = flags;
        bytes[18..].copy_from_slice(&watermark.unwrap_or_default().as_millis().to_be_bytes());
        bytes
    }
    /// Reads the value of the header.
    pub(crate) fn decode(bytes: &[u8]) -> Result<ControlRecord, ControlRecordError> {
        let version = *bytes.first().ok_or(ControlRecordError::Empty)?;
        if version != VERSION {
            return Err(ControlRecordError::UnknownVersion(version));
        }
        let bytes: &[u8; LENGTH] = bytes.try_into().map_err(|_| ControlRecordError::Length(bytes.len()))?;
        let flags = bytes[17];
        if flags & !(IDLE | VALUE) != 0 {
            return Err(ControlRecordError::Contradiction("it has flags of a later version"));
        }
        let watermark = (flags & VALUE != 0).then(|| Timestamp::from_millis(i64::from_be_bytes(field(bytes, 18))));
        let read = ControlRecord {
            task: TaskId { subtopology: u32::from_be_bytes(field(bytes, 1)), partition: i32::from_be_bytes(field(bytes, 5)) },
            tasks: u32::from_be_bytes(field(bytes, 9)),
            epoch: u32::from_be_bytes(field(bytes, 13)),
            announcement: Announcement { watermark, idle: flags & IDLE != 0 },
        };
        match () {
            _ if read.tasks > MOST_TASKS => Err(ControlRecordError::Contradiction("its number of tasks is impossible")),
            _ if read.place() >= read.tasks as usize => Err(ControlRecordError::Contradiction("its task is not one of its tasks")),
            _ => Ok(read),
        }
    }
    /// Place of the task among its siblings; past all of them if it has none.
    pub(super) fn place(&self) -> usize {
        usize::try_from(self.task.partition).unwrap_or(usize::MAX)
    }
}

/// `N` bytes of a record from `start` on.
fn field<const N: usize>(bytes: &[u8; LENGTH], start: usize) -> [u8; N] {
    let mut field = [0; N];
    field.copy_from_slice(&bytes[start..start + N]);
    field
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GOLDEN: [u8; LENGTH] = [1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 8, 0, 0, 0, 5, 2, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe];

    fn golden() -> ControlRecord {
        let announcement = Announcement { watermark: Some(Timestamp::from_millis(-2)), idle: false };
        ControlRecord { task: TaskId { subtopology: 2, partition: 3 }, tasks: 8, epoch: 5, announcement }
    }

    #[test]
    fn the_bytes_are_those_of_the_page() {
        assert_eq!(golden().encode(), GOLDEN);
        assert_eq!(ControlRecord::decode(&GOLDEN), Ok(golden()));
        let unseen = ControlRecord { announcement: Announcement { watermark: None, idle: true }, ..golden() };
        assert_eq!(unseen.encode()[17..], [1, 0, 0, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn damage_is_an_error() {
        assert_eq!(ControlRecord::decode(&[]), Err(ControlRecordError::Empty));
        assert_eq!(ControlRecord::decode(&[9, 1]), Err(ControlRecordError::UnknownVersion(9)), "a later version may be shorter");
        for cut in 1..LENGTH {
            assert_eq!(ControlRecord::decode(&GOLDEN[..cut]), Err(ControlRecordError::Length(cut)));
        }
        let with = |at: usize, byte: u8| {
            let mut bytes = GOLDEN;
            bytes[at] = byte;
            ControlRecord::decode(&bytes)
        };
        assert!(matches!(with(17, 4), Err(ControlRecordError::Contradiction(_))), "an unknown flag");
        assert!(matches!(with(8, 8), Err(ControlRecordError::Contradiction(_))), "partition 8 of 8");
        assert!(matches!(with(5, 0x80), Err(ControlRecordError::Contradiction(_))), "a negative partition");
        assert!(matches!(with(9, 0x7f), Err(ControlRecordError::Contradiction(_))), "two billion tasks");
    }

    #[test]
    fn only_null_key_null_value_and_the_header_make_a_control_record() {
        let (ours, none) = (golden().headers(), Headers::default());
        let raw = RawRecord { topic: "t", partition: 0, offset: 0, key: None, value: None, timestamp: Timestamp::MAX, headers: &ours };
        assert_eq!(ControlRecord::read(&raw), Some(Ok(golden())));
        assert_eq!(ControlRecord::read(&RawRecord { headers: &none, ..raw }), None, "a null data record");
        assert_eq!(ControlRecord::read(&RawRecord { key: Some(b""), ..raw }), None, "an empty key is a key");
        assert_eq!(ControlRecord::read(&RawRecord { value: Some(b"v"), ..raw }), None);
        let mut null = Headers::default();
        null.add_null(WATERMARK_HEADER);
        assert_eq!(ControlRecord::read(&RawRecord { headers: &null, ..raw }), Some(Err(ControlRecordError::Empty)));
        assert!(WATERMARK_HEADER.starts_with("__hw."));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(subtopology: u32, tasks in 1..MOST_TASKS, place: u32, epoch: u32, value: Option<i64>, idle: bool) {
            let task = TaskId { subtopology, partition: i32::try_from(place % tasks).expect("below the most tasks") };
            let announcement = Announcement { watermark: value.map(Timestamp::from_millis), idle };
            let record = ControlRecord { task, tasks, epoch, announcement };
            prop_assert_eq!(ControlRecord::decode(&record.encode()), Ok(record));
        }

        #[test]
        fn any_bytes_are_read_or_refused(mut bytes in prop::collection::vec(any::<u8>(), 0..40), version: bool) {
            if version && !bytes.is_empty() {
                bytes[0] = VERSION;
                bytes.resize(LENGTH, 0);
            }
            if let Ok(record) = ControlRecord::decode(&bytes) {
                prop_assert!(record.place() < record.tasks as usize);
            }
        }
    }
}
