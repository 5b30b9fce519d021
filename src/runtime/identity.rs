//! Which topics an application works with. A name does not tell: a topic can be deleted and made again under the same one.

use std::collections::{BTreeMap, BTreeSet};

use crate::error::{Error, ErrorKind, Place};
use crate::kafka::{Admin, LogError};
use crate::record::{Timestamp, TopicPartition};
use crate::runtime::internal_topics::{PlannedTopic, TopicRole};
use crate::topology::node::StoreNode;
use crate::topology::{Topology, full_name};

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
    pub(crate) fn look_up(admin: &dyn Admin, topology: &Topology, application_id: &str, internal: &[PlannedTopic]) -> Self {
        let internal = internal.iter().filter(|topic| topic.role != TopicRole::Tasks);
        let whole = internal.clone().filter(|topic| is_whole(topic)).map(|topic| topic.wanted.name.clone()).collect();
        let lives = window_lives(topology, application_id);
        let kept = internal.clone().filter_map(|topic| Some((topic.wanted.name.clone(), kept(topic, &lives)?))).collect();
        let names: Vec<String> = topology.source_topics().into_iter().chain(internal.map(|topic| topic.wanted.name.clone())).collect();
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

/// How long the rows of stores live that have windows, by the names of their changelogs.
fn window_lives(topology: &Topology, application_id: &str) -> BTreeMap<String, i64> {
    let life = |store: &StoreNode| Some((full_name(application_id, store.changelog.as_deref()?), store.spec.retention_ms?));
    topology.plan().stores.values().filter_map(life).collect()
}

/// Of a changelog that deletes by age.
fn kept(topic: &PlannedTopic, lives: &BTreeMap<String, i64>) -> Option<Kept> {
    let number = |config: &BTreeMap<String, String>| config.get("retention.ms")?.parse::<i64>().ok();
    let windows_ms = *lives.get(&topic.wanted.name)?;
    let found = topic.found.as_ref().and_then(|found| number(&found.config));
    let records_ms = found.or_else(|| number(&topic.wanted.config)).filter(|kept| *kept >= 0)?;
    Some(Kept { windows_ms, records_ms })
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
            "the topic `{topic}` has {to} partitions now, and had {from} when the application started: keys go to other partitions than those whose \
             tasks have their state. Stop all instances. Then begin anew (delete the positions of the application, its changelogs and its local \
             state), or go on with a copy of the topic that has {from} partitions"
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
    use std::time::Duration;

    use super::*;
    use crate::clock::SystemClock;
    use crate::config::BuildSettings;
    use crate::dsl::{StreamsBuilder, Topic};
    use crate::kafka::{Connect, MemoryLog, NewTopic};
    use crate::runtime::internal_topics::survey;
    use crate::window::TimeWindows;

    fn log(topics: &[&str]) -> MemoryLog {
        let log = MemoryLog::new(Arc::new(SystemClock));
        log.admin().unwrap().create_topics(&topics.iter().map(|name| NewTopic::new(*name, 1)).collect::<Vec<_>>()).unwrap();
        log
    }

    #[test]
    fn a_topic_made_again_is_noticed_and_one_that_stays_is_not() {
        let log = log(&["a", "b", "c"]);
        let admin = log.admin().unwrap();
        let builder = StreamsBuilder::new();
        for name in ["a", "b", "c"] {
            builder.stream(Topic::<String, String>::new(name)).for_each(|_, _| ());
        }
        let known = Identities::look_up(&*admin, &builder.build().unwrap(), "app", &[]);
        assert!(known.altered(&*admin).unwrap().is_empty());
        admin.delete_topics(&["a", "b"]).unwrap();
        admin.create_topics(&[NewTopic::new("b", 1)]).unwrap();
        let altered = known.altered(&*admin).unwrap();
        assert_eq!(altered, BTreeMap::from([("a".to_owned(), Alteration::Gone), ("b".to_owned(), Alteration::Remade)]));
        admin.create_partitions("c", 3).unwrap();
        assert_eq!(known.altered(&*admin).unwrap()["c"], Alteration::Widened { from: 1, to: 3 });
    }

    /// Whether a count per hour, without grace, may have lost open windows when the application is so far behind the wall clock.
    fn has_outlived(extra: Duration, behind: Duration) -> bool {
        let log = log(&["in"]);
        let admin = log.admin().unwrap();
        let settings = BuildSettings { window_changelog_extra_retention: extra, ..BuildSettings::default() };
        let builder = StreamsBuilder::with_settings(settings);
        let groups = builder.stream(Topic::<String, String>::new("in")).group_by_key();
        groups.windowed_by(TimeWindows::of(HOUR)).count("counts");
        let topology = builder.build().unwrap();
        let internal = survey(&*admin, &topology, "app", &|_| Vec::new(), &[]).unwrap().topics;
        let now = Timestamp::from_secs(1_700_000_000);
        let then = Timestamp::from_millis(now.as_millis() - i64::try_from(behind.as_millis()).unwrap());
        Identities::look_up(&*admin, &topology, "app", &internal).has_outlived("app-counts-changelog", then, now)
    }

    const HOUR: Duration = Duration::from_hours(1);
    const DAY: Duration = Duration::from_hours(24);

    /// A day was taken for what every changelog keeps beyond its windows, whatever the topology had said.
    #[test]
    fn a_changelog_is_outlived_by_what_it_keeps_beyond_its_windows() {
        assert!(!has_outlived(DAY, HOUR * 23) && has_outlived(DAY, HOUR * 25), "a day unless it is said");
        assert!(has_outlived(Duration::ZERO, HOUR), "nothing is kept beyond: every hour counts");
        assert!(!has_outlived(DAY * 10, DAY * 9) && has_outlived(DAY * 10, DAY * 11));
    }
}
