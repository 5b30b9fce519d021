//! The topics an application makes for itself: found, checked, or created, before anything runs.

use std::collections::BTreeMap;

use crate::config::CreateTopics;
use crate::error::{Error, ErrorKind, Place};
use crate::failpoint;
use crate::kafka::{Admin, LogError, NewTopic, TopicDescription};
use crate::record::TaskId;
use crate::runtime::assignment::Layout;
use crate::topology::{SubtopologyInfo, Topology};

/// An internal topic that an application needs.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PlannedTopic {
    /// What it is for.
    pub role: TopicRole,
    /// The topic as it has to be. Partitions and `cleanup.policy` must be right; the other settings are the operator's to change.
    pub wanted: NewTopic,
    /// The topic as it is; none if it is not there yet.
    pub found: Option<TopicDescription>,
}

/// What an internal topic is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TopicRole {
    /// Records on their way to the task that has their new key.
    Repartition,
    /// The changes of a store.
    Changelog,
    /// No records: its partitions stand for the tasks that the members of the group share out.
    Tasks,
}

/// How the work is cut, and the internal topics that it needs.
pub(crate) struct Survey {
    pub(crate) layout: Layout,
    pub(crate) topics: Vec<PlannedTopic>,
}

/// What a log needs for the group itself, to share out these tasks.
pub(crate) type TaskTopics<'a> = &'a dyn Fn(&[TaskId]) -> Vec<NewTopic>;

/// Looks up the source topics, cuts the work, and sees to it that every internal topic exists as it must.
pub(crate) fn prepare(admin: &dyn Admin, topology: &Topology, application_id: &str) -> Result<Layout, Error> {
    let mut survey = survey(admin, topology, application_id, &|_| Vec::new(), &[])?;
    provide(admin, &mut survey.topics, CreateTopics::Missing)?;
    Ok(survey.layout)
}

/// Looks up the source topics and cuts the work; makes nothing. Those that are `assumed` count as if they were there.
pub(crate) fn survey(
    admin: &dyn Admin,
    topology: &Topology,
    application_id: &str,
    task_topics: TaskTopics<'_>,
    assumed: &[NewTopic],
) -> Result<Survey, Error> {
    let parts = topology.subtopologies(application_id);
    let existing = admin.list_topics()?;
    let sources = source_counts(admin, topology, &existing, assumed)?;
    let layout = Layout::new(&parts, sources).map_err(|error| refused(None, error.to_string()))?;
    let mut wanted: Vec<_> = internal(&parts, &layout).collect();
    let tasks: Vec<_> = layout.tasks.iter().map(|inputs| inputs.task).collect();
    wanted.extend(task_topics(&tasks).into_iter().map(|topic| (TopicRole::Tasks, topic)));
    let names: Vec<&str> =
        wanted.iter().map(|(_, topic)| topic.name.as_str()).filter(|name| existing.iter().any(|known| known == name)).collect();
    let described = if names.is_empty() { Vec::new() } else { admin.describe_topics(&names)? };
    let mut found: BTreeMap<_, _> = described.into_iter().map(|topic| (topic.name.clone(), topic)).collect();
    let planned = |(role, wanted): (TopicRole, NewTopic)| PlannedTopic { role, found: found.remove(&wanted.name), wanted };
    Ok(Survey { topics: wanted.into_iter().map(planned).collect(), layout })
}

/// Makes the topics that are missing, if that is allowed, and refuses those that are wrong. Those of the tasks are left to the group.
pub(crate) fn provide(admin: &dyn Admin, topics: &mut [PlannedTopic], create: CreateTopics) -> Result<(), Error> {
    if create == CreateTopics::Never {
        all_there(topics)?;
    }
    for topic in topics.iter_mut().filter(|topic| topic.role != TopicRole::Tasks) {
        provide_one(admin, topic)?;
    }
    one_copy(topics);
    Ok(())
}

/// Makes a topic if it is not there, reads back what came of it, and refuses it if that is wrong.
pub(crate) fn provide_one(admin: &dyn Admin, topic: &mut PlannedTopic) -> Result<(), Error> {
    if topic.found.is_none() {
        create(admin, &topic.wanted)?;
        topic.found = Some(made(admin, &topic.wanted.name)?);
    }
    match topic.problem() {
        Some(text) => Err(refused(Some(&topic.wanted.name), text)),
        None => Ok(()),
    }
}

fn all_there(topics: &[PlannedTopic]) -> Result<(), Error> {
    let missing: Vec<_> = topics.iter().filter(|topic| topic.found.is_none()).map(|topic| topic.wanted.line()).collect();
    match missing.len() {
        0 => Ok(()),
        count => Err(refused(
            None,
            format!(
                "{count} internal topics are missing, and this application may not make them: have them made (`highwater plan --apply-topics`)\n  {}",
                missing.join("\n  ")
            ),
        )),
    }
}

/// What is kept once is lost with its broker.
fn one_copy(topics: &[PlannedTopic]) {
    let single = topics.iter().filter(|topic| topic.role != TopicRole::Tasks && topic.has_one_copy());
    for topic in single {
        tracing::warn!(topic = topic.wanted.name, "an internal topic has one copy of its records: they are lost with their broker");
    }
}

fn create(admin: &dyn Admin, topic: &NewTopic) -> Result<(), Error> {
    failpoint::reached("topics.create");
    match admin.create_topics(std::slice::from_ref(topic)) {
        Ok(()) => {
            failpoint::reached("topics.created");
            tracing::info!(topic = topic.name, partitions = topic.partitions, "internal topic created");
            Ok(())
        }
        // Another instance was faster: what it made is checked like any other.
        Err(LogError::TopicExists(_)) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Describes a topic that was just made: that it was made does not say that it is as it was asked for.
fn made(admin: &dyn Admin, name: &str) -> Result<TopicDescription, Error> {
    let found = admin.describe_topics(&[name])?.into_iter().next();
    found.ok_or_else(|| LogError::UnknownTopic(name.into()).into())
}

impl NewTopic {
    /// In one line: name, partitions, settings.
    pub(crate) fn line(&self) -> String {
        let settings: String = self.config.iter().map(|(key, value)| format!(" {key}={value}")).collect();
        format!("{} partitions={}{settings}", self.name, self.partitions)
    }
}

impl PlannedTopic {
    /// Whether its records are lost with one broker.
    pub fn has_one_copy(&self) -> bool {
        self.found.as_ref().is_some_and(|found| found.replication == Some(1))
    }

    /// What is wrong with the topic as it is, and what to do; none if nothing is, or it is not there.
    pub fn problem(&self) -> Option<String> {
        let found = self.found.as_ref()?;
        let NewTopic { name, partitions, config } = &self.wanted;
        let has = found.partitions;
        if self.role == TopicRole::Tasks {
            // Partitions beyond the tasks stand for none.
            return (has < *partitions).then(|| {
                format!(
                    "the topic of the tasks `{name}` has {has} partitions, this topology needs {partitions}: give it as many, or delete it"
                )
            });
        }
        if has != *partitions {
            return Some(format!(
                "the internal topic `{name}` has {has} partitions, this topology needs {partitions}: keys would meet the state of others. Delete it \
                 with its data if the application starts anew, or run under another application id"
            ));
        }
        let (wants, has) = (policies(config), policies(&found.config));
        (wants != has).then(|| {
            format!(
                "the internal topic `{name}` has `cleanup.policy` = `{}`, this topology needs `{}`: alter the topic",
                has.join(","),
                wants.join(",")
            )
        })
    }
}

fn source_counts(
    admin: &dyn Admin,
    topology: &Topology,
    existing: &[String],
    assumed: &[NewTopic],
) -> Result<BTreeMap<String, i32>, Error> {
    let sources = topology.source_topics();
    if sources.is_empty() {
        let text = "the topology reads no topic, so it would wait for ever: begin with `builder.stream(..)` or `builder.table(..)`";
        return Err(refused(None, text.to_owned()));
    }
    let (there, absent): (Vec<&String>, Vec<&String>) = sources.iter().partition(|topic| existing.contains(topic));
    let assumed = |name: &String| assumed.iter().find(|topic| topic.name == *name).map(|topic| topic.partitions);
    let missing: Vec<_> = absent.iter().filter(|topic| assumed(topic).is_none()).collect();
    if let Some(first) = missing.first() {
        let names = missing.iter().map(|topic| format!("`{topic}`")).collect::<Vec<_>>().join(", ");
        let text = format!(
            "the source topics {names} do not exist: create them first, with as many partitions as tasks shall run at once \
             (`kafka-topics.sh --create --topic {first} --partitions 4`, or `Admin::create_topics`), or correct the names"
        );
        return Err(refused(Some(first), text));
    }
    let names: Vec<&str> = there.into_iter().map(String::as_str).collect();
    let found = if names.is_empty() { Vec::new() } else { admin.describe_topics(&names)? };
    let found = found.into_iter().map(|topic| (topic.name, topic.partitions));
    Ok(found.chain(absent.into_iter().filter_map(|name| Some((name.clone(), assumed(name)?)))).collect())
}

fn internal(parts: &[SubtopologyInfo], layout: &Layout) -> impl Iterator<Item = (TopicRole, NewTopic)> {
    parts.iter().flat_map(|part| {
        let number = u32::try_from(part.number).unwrap_or(u32::MAX);
        let tasks = layout.parts.get(&number).map_or(1, |part| part.tasks);
        let count = |name: &String| layout.counts.get(name).copied().unwrap_or(1);
        let repartition = part.repartition_topics.iter().map(move |(name, config)| (TopicRole::Repartition, name, count(name), config));
        let changelogs = part.changelog_topics.iter().map(move |(name, config)| (TopicRole::Changelog, name, tasks, config));
        repartition
            .chain(changelogs)
            .map(|(role, name, partitions, config)| (role, NewTopic { name: name.clone(), partitions, config: config.config.clone() }))
    })
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

    fn tasks_topic(tasks: &[TaskId]) -> Vec<NewTopic> {
        vec![NewTopic::new("app-tasks", i32::try_from(tasks.len()).unwrap())]
    }

    #[test]
    fn nothing_is_made_where_nothing_may_be_and_what_is_missing_is_listed() {
        let log = log(&[NewTopic::new("lines", 2)]);
        let admin = log.admin().unwrap();
        let look = || survey(&*admin, &topology(), "app", &tasks_topic, &[]).unwrap().topics;
        let error = provide(&*admin, &mut look(), CreateTopics::Never).unwrap_err().to_string();
        let lines: Vec<_> = error.lines().map(str::trim).collect();
        assert!(lines[0].contains("3 internal topics are missing") && lines[0].contains("--apply-topics"), "{error}");
        assert!(lines[1].starts_with("app-counts-repartition partitions=2 cleanup.policy=delete"), "{error}");
        assert!(lines[2].starts_with("app-counts-changelog partitions=2 cleanup.policy=compact"), "{error}");
        assert_eq!((lines[3], lines.len()), ("app-tasks partitions=4", 4));
        assert_eq!(admin.list_topics().unwrap(), ["lines"]);

        provide(&*admin, &mut look(), CreateTopics::Missing).unwrap();
        let left = provide(&*admin, &mut look(), CreateTopics::Never).unwrap_err().to_string();
        assert_eq!(left.lines().skip(1).map(str::trim).collect::<Vec<_>>(), ["app-tasks partitions=4"], "the group makes it");
        look().iter_mut().try_for_each(|topic| provide_one(&*admin, topic)).unwrap();
        provide(&*admin, &mut look(), CreateTopics::Never).unwrap();
    }

    #[test]
    fn too_few_partitions_for_the_tasks_are_a_problem_and_more_are_none() {
        let with = |partitions| {
            let log = log(&[NewTopic::new("lines", 2), NewTopic::new("app-tasks", partitions)]);
            let survey = survey(&*log.admin().unwrap(), &topology(), "app", &tasks_topic, &[]).unwrap();
            survey.topics.last().unwrap().problem()
        };
        assert!(with(3).unwrap().contains("has 3 partitions, this topology needs 4"));
        assert_eq!((with(4), with(5)), (None, None));
    }

    #[test]
    fn a_missing_source_is_named_with_the_way_to_make_it() {
        let error = prepared(&log(&[])).unwrap_err();
        assert!(error.contains("`lines` do not exist") && error.contains("--create --topic lines"), "{error}");
    }

    #[test]
    fn a_source_that_will_be_made_is_planned_with() {
        let log = log(&[]);
        let planned = survey(&*log.admin().unwrap(), &topology(), "app", &|_| Vec::new(), &[NewTopic::new("lines", 3)]).unwrap();
        assert_eq!(planned.topics.iter().map(|topic| topic.wanted.partitions).collect::<Vec<_>>(), [3, 3]);
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
