//! The settings of a topic: Kafka's names and defaults, and the few that this log acts upon.

use std::collections::BTreeMap;

use super::partition::Arrival;
use super::retention::Retention;
use crate::kafka::{LogError, Outgoing};
use crate::record::{Timestamp, TopicPartition};

/// Kafka 4.3's settings of a topic and their defaults, but for `message.timestamp.after.max.ms`: Kafka's is one hour, which would
/// refuse data as soon as a simulated clock stands before it. Set it to have it checked.
const DEFAULTS: [(&str, &str); 33] = [
    ("cleanup.policy", "delete"),
    ("compression.gzip.level", "-1"),
    ("compression.lz4.level", "9"),
    ("compression.type", "producer"),
    ("compression.zstd.level", "3"),
    ("delete.retention.ms", "86400000"),
    ("file.delete.delay.ms", "60000"),
    ("flush.messages", "9223372036854775807"),
    ("flush.ms", "9223372036854775807"),
    ("follower.replication.throttled.replicas", ""),
    ("index.interval.bytes", "4096"),
    ("leader.replication.throttled.replicas", ""),
    ("local.retention.bytes", "-2"),
    ("local.retention.ms", "-2"),
    ("max.compaction.lag.ms", "9223372036854775807"),
    (MAX_MESSAGE_BYTES, "1048588"),
    (AFTER_MAX, "9223372036854775807"),
    (BEFORE_MAX, "9223372036854775807"),
    (TIMESTAMP_TYPE, "CreateTime"),
    ("min.cleanable.dirty.ratio", "0.5"),
    ("min.compaction.lag.ms", "0"),
    ("min.insync.replicas", "1"),
    ("preallocate", "false"),
    ("remote.copy.disable", "false"),
    ("remote.log.delete.on.disable", "false"),
    ("remote.storage.enable", "false"),
    ("retention.bytes", "-1"),
    ("retention.ms", "604800000"),
    ("segment.bytes", "1073741824"),
    ("segment.index.bytes", "10485760"),
    ("segment.jitter.ms", "0"),
    ("segment.ms", "604800000"),
    ("unclean.leader.election.enable", "false"),
];
const MAX_MESSAGE_BYTES: &str = "max.message.bytes";
const AFTER_MAX: &str = "message.timestamp.after.max.ms";
const BEFORE_MAX: &str = "message.timestamp.before.max.ms";
const TIMESTAMP_TYPE: &str = "message.timestamp.type";

/// What a setting may be, where that is neither a number nor a yes or no.
const CHOICES: [(&str, &[&str]); 2] =
    [("cleanup.policy", &["delete", "compact", "compact,delete", "delete,compact"]), (TIMESTAMP_TYPE, &["CreateTime", "LogAppendTime"])];

/// The settings in force.
#[derive(Clone, Debug)]
pub(super) struct TopicConfig {
    all: BTreeMap<String, String>,
    /// Those that are not the default.
    asked: BTreeMap<String, String>,
    retention: Retention,
    max_message_bytes: usize,
    before_max: i64,
    after_max: i64,
    append_time: bool,
}

impl TopicConfig {
    /// The defaults, and over them what was asked for.
    pub(super) fn new(topic: &str, asked: &BTreeMap<String, String>) -> Result<Self, LogError> {
        let mut all: BTreeMap<String, String> = DEFAULTS.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        for (key, value) in asked {
            let refused = |reason| LogError::InvalidConfig { topic: topic.to_owned(), key: key.clone(), value: value.clone(), reason };
            let slot = all.get_mut(key).ok_or_else(|| refused("Kafka has no such setting"))?;
            check(key, slot, value).map_err(refused)?;
            slot.clone_from(value);
        }
        let number = |key: &str| all[key].parse::<i64>().expect("checked above, or a default");
        Ok(TopicConfig {
            max_message_bytes: usize::try_from(number(MAX_MESSAGE_BYTES).min(i32::MAX.into())).unwrap_or(0),
            before_max: number(BEFORE_MAX),
            after_max: number(AFTER_MAX),
            append_time: all[TIMESTAMP_TYPE] == "LogAppendTime",
            retention: Retention::new(&all),
            asked: asked.clone(),
            all,
        })
    }

    /// The same with some settings changed, or taken back to their defaults.
    pub(super) fn changed(&self, topic: &str, changes: &[(&str, Option<&str>)]) -> Result<Self, LogError> {
        let mut asked = self.asked.clone();
        for (key, value) in changes {
            match value {
                Some(value) => asked.insert((*key).to_owned(), (*value).to_owned()),
                None => asked.remove(*key),
            };
        }
        TopicConfig::new(topic, &asked)
    }

    /// All settings, defaults included.
    pub(super) fn all(&self) -> &BTreeMap<String, String> {
        &self.all
    }

    /// The settings that are not the defaults.
    pub(super) fn asked_for(&self) -> BTreeMap<String, String> {
        let is_default = |key: &str, value: &str| DEFAULTS.contains(&(key, value));
        self.all.iter().filter(|(key, value)| !is_default(key, value)).map(|(key, value)| (key.clone(), value.clone())).collect()
    }

    /// How large a record it takes.
    pub(super) fn max_message_bytes(&self) -> usize {
        self.max_message_bytes
    }

    /// How long it keeps what.
    pub(super) fn retention(&self) -> &Retention {
        &self.retention
    }

    /// What a partition has to know of records that come now.
    pub(super) fn arrival(&self, now: Timestamp) -> Arrival<'_> {
        Arrival { now, stamp: self.append_time.then_some(now), retention: &self.retention }
    }

    /// Refuses a batch with a record that the topic does not take.
    pub(super) fn check(&self, partition: &TopicPartition, records: &[Outgoing<'_>], now: Timestamp) -> Result<(), LogError> {
        for (index, record) in records.iter().enumerate() {
            let bytes = record.size_on_wire();
            if bytes > self.max_message_bytes {
                return Err(LogError::RecordTooLarge { partition: partition.clone(), index, bytes, limit: self.max_message_bytes });
            }
            if record.key.is_none() && self.retention.compacts {
                return Err(LogError::KeyMissing { partition: partition.clone(), index });
            }
            if let Some(reason) = self.wrong_time(record.timestamp, now) {
                return Err(LogError::InvalidTimestamp { partition: partition.clone(), index, timestamp: record.timestamp, reason });
            }
        }
        Ok(())
    }

    fn wrong_time(&self, timestamp: Timestamp, now: Timestamp) -> Option<&'static str> {
        let age = now.as_millis().saturating_sub(timestamp.as_millis());
        match timestamp.as_millis() {
            ..0 => Some("a record's time cannot be negative"),
            _ if self.append_time => None,
            _ if age > self.before_max => Some("older than the topic's `message.timestamp.before.max.ms`"),
            _ if age < -self.after_max => Some("further ahead than the topic's `message.timestamp.after.max.ms`"),
            _ => None,
        }
    }
}

fn check(key: &str, default: &str, value: &str) -> Result<(), &'static str> {
    if let Some((_, choices)) = CHOICES.iter().find(|(name, _)| *name == key) {
        return if choices.contains(&value) { Ok(()) } else { Err("not one of its values") };
    }
    match default {
        "true" | "false" if !matches!(value, "true" | "false") => Err("say true or false"),
        _ if default.parse::<i64>().is_ok() && value.parse::<i64>().is_err() => Err("not a whole number"),
        _ if default.parse::<f64>().is_ok() && value.parse::<f64>().is_err() => Err("not a number"),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(key: &str, value: &str) -> Result<TopicConfig, LogError> {
        TopicConfig::new("t", &BTreeMap::from([(key.to_owned(), value.to_owned())]))
    }

    #[test]
    fn defaults_are_there_and_nonsense_is_refused() {
        let all = config("retention.ms", "-1").expect("a legal setting");
        assert_eq!((all.all().len(), all.all()["retention.ms"].as_str(), all.all()["cleanup.policy"].as_str()), (33, "-1", "delete"));
        for (key, value) in [("retention.msec", "1"), ("retention.ms", "week"), ("cleanup.policy", "none"), ("preallocate", "1")] {
            assert!(matches!(config(key, value), Err(LogError::InvalidConfig { .. })), "{key}={value}");
        }
    }

    #[test]
    fn times_are_compared_with_now_where_the_topic_says_so() {
        let at = Timestamp::from_millis;
        let hour = config(AFTER_MAX, "3600000").expect("legal");
        assert_eq!(hour.wrong_time(at(3_600_005), at(5)), None);
        assert!(hour.wrong_time(at(3_600_006), at(5)).is_some());
        let young = config(BEFORE_MAX, "10").expect("legal");
        assert!(young.wrong_time(at(4), at(15)).is_some());
        assert_eq!(young.wrong_time(at(5), at(15)), None);
        assert_eq!(config(TIMESTAMP_TYPE, "CreateTime").expect("legal").wrong_time(Timestamp::MAX, at(0)), None);
        assert!(young.wrong_time(Timestamp::UNKNOWN, at(0)).is_some());
    }
}
