//! How long a topic keeps what: its settings, read once.

use std::collections::BTreeMap;

use crate::record::Timestamp;

/// What becomes of the records of a topic in time.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Retention {
    /// Whether old records are deleted.
    pub(super) deletes: bool,
    /// Whether only the last record of a key is kept.
    pub(super) compacts: bool,
    /// Age in milliseconds after which a record may go; none for never.
    age: Option<i64>,
    /// Bytes of one partition that stay in any case; none for all.
    bytes: Option<usize>,
    /// How long a tombstone stays after it was first compacted.
    tombstones: i64,
    /// How long a record stays as it is whatever comes after it.
    untouched: i64,
    /// How long a record may wait to be compacted.
    overdue: i64,
    dirty_ratio: f64,
    /// When the last block is closed: at this many bytes, or at this age.
    roll_bytes: usize,
    roll_age: i64,
}

impl Retention {
    /// From all settings of a topic, defaults included.
    pub(super) fn new(all: &BTreeMap<String, String>) -> Self {
        let number = |key: &str| all[key].parse::<i64>().expect("checked, or a default");
        let limit = |key: &str| Some(number(key)).filter(|limit| *limit >= 0);
        let policy = |word: &str| all["cleanup.policy"].split(',').any(|one| one == word);
        let size = |bytes: i64| usize::try_from(bytes).unwrap_or(usize::MAX);
        Retention {
            deletes: policy("delete"),
            compacts: policy("compact"),
            age: limit("retention.ms"),
            bytes: limit("retention.bytes").map(size),
            tombstones: number("delete.retention.ms"),
            untouched: number("min.compaction.lag.ms"),
            overdue: number("max.compaction.lag.ms"),
            dirty_ratio: all["min.cleanable.dirty.ratio"].parse().expect("checked, or a default"),
            roll_bytes: size(number("segment.bytes")),
            roll_age: number("segment.ms"),
        }
    }

    /// Whether what was written last at `written`, with times up to `latest`, is older than the topic keeps.
    pub(super) fn is_over(&self, (written, latest): (Timestamp, Timestamp), now: Timestamp) -> bool {
        self.deletes && self.age.is_some_and(|age| age_of(written.max(latest), now) > age)
    }

    /// Whether a partition that has `rest` bytes beside its oldest block can do without that block.
    pub(super) fn is_plenty(&self, rest: usize) -> bool {
        self.deletes && self.bytes.is_some_and(|bytes| rest >= bytes)
    }

    /// Whether records with these times may be compacted.
    pub(super) fn is_settled(&self, (written, latest): (Timestamp, Timestamp), now: Timestamp) -> bool {
        self.untouched == 0 || age_of(written.max(latest), now) >= self.untouched
    }

    /// Whether it is worth the work to compact so many bytes that never were, the oldest of them written at `since`.
    pub(super) fn is_dirty(&self, clean: usize, dirty: usize, since: Timestamp, now: Timestamp) -> bool {
        let share = dirty as f64 / (clean + dirty) as f64;
        dirty > 0 && (share >= self.dirty_ratio || age_of(since, now) > self.overdue)
    }

    /// Until when tombstones stay that are compacted now for the first time.
    pub(super) fn tombstones_until(&self, now: Timestamp) -> Timestamp {
        Timestamp::from_millis(now.as_millis().saturating_add(self.tombstones))
    }

    /// Whether a block of this weight, last written at `written`, takes no more.
    pub(super) fn is_rolled(&self, weight: usize, written: Timestamp, now: Timestamp) -> bool {
        weight >= self.roll_bytes || age_of(written, now) >= self.roll_age
    }
}

fn age_of(time: Timestamp, now: Timestamp) -> i64 {
    now.as_millis().saturating_sub(time.as_millis())
}
