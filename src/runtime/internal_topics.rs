//! The topics an application makes for itself: found, checked, or created, before anything runs.

use std::collections::BTreeMap;

use crate::error::{Error, ErrorKind, Place};
use crate::failpoint;
use crate::kafka::{Admin, LogError, NewTopic, TopicDescription};
use crate::runtime::assignment::Layout;
use crate::topology::{SubtopologyInfo, Topology};

/// An internal topic as it has to be.
struct Wanted<'a> {
    name: &'a str,
    partitions: i32,
    config: &'a BTreeMap<String, String>,
}

/// Looks up the source topics, cuts the work, and sees to it that every internal topic exists as it must.
pub(crate) fn prepare(admin: &dyn Admin, topology: &Topology, application_id: &str) -> Result<Layout, Error> {
    let parts = topology.subtopologies(application_id);
    let existing = admin.list_topics()?;
    let sources = source_counts(admin, topology, &existing)?;
    let layout = Layout::new(&parts, sources).map_err(|error| refused(None, error.to_string()))?;
    for wanted in internal(&parts, &layout) {
        provide(admin, &wanted, existing.iter().any(|name| name == wanted.name))?;
    }
    Ok(layout)
}

fn source_counts(admin: &dyn Admin, topology: &Topology, existing: &[String]) -> Result<BTreeMap<String, i32>, Error> {
    let sources = topology.source_topics();
    if sources.is_empty() {
        let text = "the topology reads no topic, so it would wait for ever: begin with `builder.stream(..)` or `builder.table(..)`";
        return Err(refused(None, text.to_owned()));
    }
    let missing: Vec<&String> = sources.iter().filter(|topic| !existing.contains(topic)).collect();
    if let Some(first) = missing.first() {
        let names = missing.iter().map(|topic| format!("`{topic}`")).collect::<Vec<_>>().join(", ");
        let text = format!(
            "the source topics {names} do not exist: create them first, with as many partitions as tasks shall run at once \
             (`kafka-topics.sh --create --topic {first} --partitions 4`, or `Admin::create_topics`), or correct the names"
        );
        return Err(refused(Some(first), text));
    }
    let names: Vec<&str> = sources.iter().map(String::as_str).collect();
    Ok(admin.describe_topics(&names)?.into_iter().map(|topic| (topic.name, topic.partitions)).collect())
}

fn internal<'a>(parts: &'a [SubtopologyInfo], layout: &'a Layout) -> impl Iterator<Item = Wanted<'a>> {
    parts.iter().flat_map(|part| {
        let number = u32::try_from(part.number).unwrap_or(u32::MAX);
        let tasks = layout.parts.get(&number).map_or(1, |part| part.tasks);
        let repartition =
            part.repartition_topics.iter().map(|(name, config)| (name, layout.counts.get(name).copied().unwrap_or(1), config));
        let changelogs = part.changelog_topics.iter().map(move |(name, config)| (name, tasks, config));
        repartition.chain(changelogs).map(|(name, partitions, config)| Wanted { name, partitions, config: &config.config })
    })
}

fn provide(admin: &dyn Admin, wanted: &Wanted<'_>, exists: bool) -> Result<(), Error> {
    if !exists {
        let topic = NewTopic { name: wanted.name.to_owned(), partitions: wanted.partitions, config: wanted.config.clone() };
        failpoint::reached("topics.create");
        match admin.create_topics(&[topic]) {
            Ok(()) => {
                failpoint::reached("topics.created");
                tracing::info!(topic = wanted.name, partitions = wanted.partitions, "internal topic created");
                return Ok(());
            }
            // Another instance was faster: what it made is checked like any other.
            Err(LogError::TopicExists(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    admin.describe_topics(&[wanted.name])?.iter().try_for_each(|found| verify(wanted, found))
}

/// Partitions and policy must be right; the other settings are the operator's to change.
fn verify(wanted: &Wanted<'_>, found: &TopicDescription) -> Result<(), Error> {
    let Wanted { name, partitions, config } = wanted;
    if found.partitions != *partitions {
        let text = format!(
            "the internal topic `{name}` has {} partitions, this topology needs {partitions}: keys would meet the state of others. Delete it \
             with its data if the application starts anew, or run under another application id",
            found.partitions
        );
        return Err(refused(Some(name), text));
    }
    let (wants, has) = (policies(config), policies(&found.config));
    if wants != has {
        let text = format!(
            "the internal topic `{name}` has `cleanup.policy` = `{}`, this topology needs `{}`: alter the topic",
            has.join(","),
            wants.join(",")
        );
        return Err(refused(Some(name), text));
    }
    Ok(())
}

fn policies(config: &BTreeMap<String, String>) -> Vec<&str> {
    let mut policies: Vec<&str> = config.get("cleanup.policy").map_or("delete", String::as_str).split(',').map(str::trim).collect();
    policies.sort_unstable();
    policies
}

fn refused(topic: Option<&str>, text: String) -> Error {
    Error::new(ErrorKind::InvalidConfig, Place { topic: topic.map(str::to_owned), ..Place::default() }, text.into())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::clock::SystemClock;
    use crate::dsl::{StreamsBuilder, Topic};
    use crate::kafka::{Connect, MemoryLog};

    fn topology() -> Topology {
        let builder = StreamsBuilder::new();
        let lines = builder.stream(Topic::<String, String>::new("lines"));
        lines.group_by(|_, value| value.clone()).count("counts");
        builder.build().unwrap()
    }

    fn log(topics: &[NewTopic]) -> MemoryLog {
        let log = MemoryLog::new(Arc::new(SystemClock));
        log.admin().unwrap().create_topics(topics).unwrap();
        log
    }

    fn prepared(log: &MemoryLog) -> Result<Layout, String> {
        prepare(&*log.admin().unwrap(), &topology(), "app").map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_missing_is_made_and_made_once() {
        let log = log(&[NewTopic::new("lines", 2)]);
        prepared(&log).unwrap();
        prepared(&log).unwrap();
        let made = log.admin().unwrap().describe_topics(&["app-counts-changelog", "app-counts-repartition"]).unwrap();
        let facts =
            |topic: &TopicDescription| (topic.partitions, topic.config["cleanup.policy"].clone(), topic.config["retention.ms"].clone());
        assert_eq!(facts(&made[0]), (2, "compact".to_owned(), "604800000".to_owned()));
        assert_eq!(facts(&made[1]), (2, "delete".to_owned(), "-1".to_owned()));
    }

    #[test]
    fn a_missing_source_is_named_with_the_way_to_make_it() {
        let error = prepared(&log(&[])).unwrap_err();
        assert!(error.contains("`lines` do not exist") && error.contains("--create --topic lines"), "{error}");
    }

    #[test]
    fn wrong_ones_are_refused_with_both_facts() {
        let narrow = log(&[NewTopic::new("lines", 2), NewTopic::new("app-counts-repartition", 1)]);
        let error = prepared(&narrow).unwrap_err();
        assert!(error.contains("has 1 partitions, this topology needs 2"), "{error}");
        let changelog = NewTopic::new("app-counts-changelog", 2).with("cleanup.policy", "delete");
        let error = prepared(&log(&[NewTopic::new("lines", 2), changelog])).unwrap_err();
        assert!(error.contains("`cleanup.policy` = `delete`, this topology needs `compact`"), "{error}");
    }
}
