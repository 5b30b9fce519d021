//! Which topics an application works with. A name does not tell: a topic can be deleted and made again under the same one.

use std::collections::{BTreeMap, BTreeSet};

use crate::error::{Error, ErrorKind, Place};
use crate::kafka::{Admin, LogError};
use crate::record::{Timestamp, TopicPartition};
use crate::runtime::internal_topics::{PlannedTopic, TopicRole};

/// The topics as they were when the instance started.
#[derive(Debug, Default)]
pub(crate) struct Identities {
    known: BTreeMap<String, (i64, i32)>,
    /// Changelogs that keep the last record of each key for ever: nothing is ever missing at their beginnings.
    whole: BTreeSet<String>,
    /// How long the others keep their records.
    kept: BTreeMap<String, Kept>,
}

/// How long a changelog of time windows keeps its records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Kept {
    /// How long windows live, in event time.
    windows_ms: i64,
    /// How long after its time a record may be deleted, by the wall clock.
    records_ms: i64,
}

/// What has become of a topic since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Alteration {
    /// There is no topic of that name.
    Gone,
    /// There is another one.
    Remade,
    /// It has more partitions.
    Widened {
        /// Then.
        from: i32,
        /// Now.
        to: i32,
    },
}

impl Identities {
    /// Asks for the ids of the sources and of all internal topics. Where the log does not tell, nothing is compared later.
    pub(crate) fn look_up(admin: &dyn Admin, sources: impl Iterator<Item = String>, internal: &[PlannedTopic]) -> Self {
        let internal = internal.iter().filter(|topic| topic.role != TopicRole::Tasks);
        let whole = internal.clone().filter(|topic| is_whole(topic)).map(|topic| topic.wanted.name.clone()).collect();
        let kept = internal.clone().filter_map(|topic| Some((topic.wanted.name.clone(), kept(topic)?))).collect();
        let names: Vec<String> = sources.chain(internal.map(|topic| topic.wanted.name.clone())).collect();
        let asked: Vec<&str> = names.iter().map(String::as_str).collect();
        let found = admin.identify(&asked).unwrap_or_else(|error| {
            tracing::warn!(%error, "whether topics are deleted and made again will not be noticed");
            Vec::new()
        });
        let known = names.into_iter().zip(found).filter_map(|(name, found)| Some((name, (short(found?.id), found?.partitions)))).collect();
        Identities { known, whole, kept }
    }

    /// What tells a topic from others of its name, in the length of a committed number.
    pub(crate) fn of(&self, topic: &str) -> Option<i64> {
        self.known.get(topic).map(|(id, _)| *id)
    }

    /// Whether a changelog has each key's last change, however old.
    pub(crate) fn is_whole(&self, changelog: &str) -> bool {
        self.whole.contains(changelog)
    }

    /// Whether a changelog may have lost windows that are open or within their grace: it deletes by the wall clock, and the application is behind it.
    pub(crate) fn has_outlived(&self, changelog: &str, stream_time: Timestamp, now: Timestamp) -> bool {
        let Some(Kept { windows_ms, records_ms }) = self.kept.get(changelog) else { return false };
        let (alive, deleted) = (stream_time.as_millis().saturating_sub(*windows_ms), now.as_millis().saturating_sub(*records_ms));
        stream_time != Timestamp::UNKNOWN && alive < deleted
    }

    /// Those that are not what they were.
    pub(crate) fn altered(&self, admin: &dyn Admin) -> Result<BTreeMap<String, Alteration>, LogError> {
        let names: Vec<&str> = self.known.keys().map(String::as_str).collect();
        let found = admin.identify(&names)?;
        let altered = self.known.iter().zip(found).filter_map(|((name, (id, from)), found)| {
            let alteration = match found {
                None => Alteration::Gone,
                Some(found) if short(found.id) != *id => Alteration::Remade,
                Some(found) if found.partitions != *from => Alteration::Widened { from: *from, to: found.partitions },
                Some(_) => return None,
            };
            Some((name.clone(), alteration))
        });
        Ok(altered.collect())
    }
}

fn is_whole(topic: &PlannedTopic) -> bool {
    topic.role == TopicRole::Changelog && topic.wanted.config.get("cleanup.policy").is_some_and(|policy| policy == "compact")
}

/// Of a changelog that deletes by age.
fn kept(topic: &PlannedTopic) -> Option<Kept> {
    /// What changelogs keep beyond the life of their windows, as Kafka Streams' do.
    const ADDED_MS: i64 = 24 * 3600 * 1000;
    let number = |config: &BTreeMap<String, String>| config.get("retention.ms")?.parse::<i64>().ok();
    let wanted = number(&topic.wanted.config).filter(|_| topic.role == TopicRole::Changelog && !is_whole(topic))?;
    let found = topic.found.as_ref().and_then(|found| number(&found.config)).unwrap_or(wanted);
    (found >= 0).then_some(Kept { windows_ms: wanted.saturating_sub(ADDED_MS).max(0), records_ms: found })
}

fn short(id: u128) -> i64 {
    let [high, low] = [id >> 64, id & u128::from(u64::MAX)].map(|half| u64::try_from(half).expect("half of it"));
    (high ^ low).cast_signed()
}

/// An input is another topic than the one whose records were counted up to the committed position.
pub(crate) fn input_remade(partition: &TopicPartition) -> Error {
    let text = format!(
        "the topic `{}` was deleted and made again: the committed position counts the records of the old one. Delete the positions of the application \
         and, if it has state, its changelogs and local state, to begin anew; or set `on_missing_position` to `Reset` to keep the state and read the \
         new topic from where the source says",
        partition.topic
    );
    refused(partition, text)
}

/// An input of a running task is not what it was.
pub(crate) fn input_changed(partition: &TopicPartition, alteration: Alteration) -> Error {
    let topic = &partition.topic;
    let text = match alteration {
        Alteration::Remade => return input_remade(partition),
        Alteration::Gone => format!("the topic `{topic}` was deleted: make it again, or take it out of the topology"),
        Alteration::Widened { from, to } => format!(
            "the topic `{topic}` has {to} partitions now, and had {from} when the application started: keys go to other partitions than those whose              tasks have their state. Stop all instances. Then begin anew (delete the positions of the application, its changelogs and its local              state), or go on with a copy of the topic that has {from} partitions"
        ),
    };
    refused(partition, text)
}

/// A changelog of a running task is not what it was.
pub(crate) fn changelog_changed(partition: &TopicPartition, alteration: Alteration) -> Error {
    let what = match alteration {
        Alteration::Gone => "was deleted".to_owned(),
        Alteration::Remade => "was deleted and made again".to_owned(),
        Alteration::Widened { from, to } => format!("was widened from {from} to {to} partitions"),
    };
    refused(partition, format!("the changelog `{}` {what} under the running application. {CHANGELOG_ADVICE}", partition.topic))
}

/// What can be done about a changelog that does not hold the state any more.
pub(crate) const CHANGELOG_ADVICE: &str = "Nothing was changed. Bring its records back, or delete the positions of the application, its changelogs and its \
     local state to begin anew; or set `on_lost_changelog` to `Rebuild` to go on with what the changelog holds now";

fn refused(partition: &TopicPartition, text: String) -> Error {
    let place = Place { topic: Some(partition.topic.to_string()), partition: Some(partition.partition), ..Place::default() };
    Error::new(ErrorKind::InvalidConfig, place, text.into())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::clock::SystemClock;
    use crate::kafka::{Connect, MemoryLog, NewTopic};

    #[test]
    fn a_topic_made_again_is_noticed_and_one_that_stays_is_not() {
        let log = MemoryLog::new(Arc::new(SystemClock));
        let admin = log.admin().unwrap();
        admin.create_topics(&["a", "b", "c"].map(|name| NewTopic::new(name, 1))).unwrap();
        let known = Identities::look_up(&*admin, ["a", "b", "c"].map(str::to_owned).into_iter(), &[]);
        assert!(known.altered(&*admin).unwrap().is_empty());
        admin.delete_topics(&["a", "b"]).unwrap();
        admin.create_topics(&[NewTopic::new("b", 1)]).unwrap();
        let altered = known.altered(&*admin).unwrap();
        assert_eq!(altered, BTreeMap::from([("a".to_owned(), Alteration::Gone), ("b".to_owned(), Alteration::Remade)]));
        admin.create_partitions("c", 3).unwrap();
        assert_eq!(known.altered(&*admin).unwrap()["c"], Alteration::Widened { from: 1, to: 3 });
    }
}
