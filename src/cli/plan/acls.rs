//! What the principal of a job must be allowed, entry by entry.
//!
//! `READ` and `WRITE` include `DESCRIBE` in Kafka, so that it stands only where neither does.

use std::collections::{BTreeMap, BTreeSet};

use highwater::{Guarantee, PlannedTopic, SubtopologyInfo, TopicRole};

use crate::cli::job::{Create, JobFile};
use crate::topologies::windowed_counts::BadRecords;

/// What may be done with one resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) kind: Kind,
    pub(super) name: String,
    /// The name is what the names of the resources begin with.
    pub(super) prefixed: bool,
    pub(super) operations: Vec<&'static str>,
    /// Why, in a few words.
    pub(super) reason: &'static str,
}

/// Kinds of resources.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Topic,
    Group,
    TransactionalId,
    Cluster,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::Topic => "Topic",
            Kind::Group => "Group",
            Kind::TransactionalId => "TransactionalId",
            Kind::Cluster => "Cluster",
        }
    }
}

/// The whole list.
pub(super) fn entries(file: &JobFile, parts: &[SubtopologyInfo], topics: &[PlannedTopic]) -> Vec<Entry> {
    let application = &file.job.application;
    let mut entries = vec![entry(Kind::Group, application, &["Read"], "membership and positions")];
    entries.extend(named_topics(file, parts));
    entries.extend(topics.iter().map(|topic| internal(topic, file.create)));
    entries.extend(feeding(file));
    if file.job.guarantee == Guarantee::ExactlyOnce {
        let prefix = format!("{application}-");
        entries.push(Entry { prefixed: true, ..entry(Kind::TransactionalId, &prefix, &["Write", "Describe"], "transactions") });
    }
    entries.push(entry(Kind::Cluster, "kafka-cluster", &["IdempotentWrite"], "only for brokers before 3.0"));
    entries
}

fn entry(kind: Kind, name: &str, operations: &[&'static str], reason: &'static str) -> Entry {
    Entry { kind, name: name.to_owned(), prefixed: false, operations: operations.to_vec(), reason }
}

/// The topics that the job file names.
fn named_topics(file: &JobFile, parts: &[SubtopologyInfo]) -> Vec<Entry> {
    let internal: BTreeSet<_> = parts.iter().flat_map(|part| part.repartition_topics.keys()).collect();
    let mut uses: BTreeMap<&str, (Vec<&'static str>, &'static str)> = BTreeMap::new();
    for topic in parts.iter().flat_map(|part| &part.source_topics).filter(|topic| !internal.contains(topic)) {
        uses.entry(topic).or_insert((vec!["Read", "DescribeConfigs"], "input"));
    }
    let dead = match &file.job.input.bad_records {
        BadRecords::DeadLetter(topic) => Some(topic),
        BadRecords::Fail | BadRecords::Skip => None,
    };
    let sinks = parts.iter().flat_map(|part| &part.sink_topics).filter(|topic| !internal.contains(topic));
    for topic in sinks.chain(&file.job.late_topic).chain(dead) {
        let (operations, _) = uses.entry(topic).or_insert((Vec::new(), "results"));
        if !operations.contains(&"Write") {
            operations.push("Write");
        }
    }
    let create = (file.create == Create::All).then_some("Create");
    let of = |(topic, (operations, reason)): (&str, (Vec<&'static str>, &'static str))| Entry {
        operations: operations.into_iter().chain(create).collect(),
        ..entry(Kind::Topic, topic, &[], reason)
    };
    uses.into_iter().map(of).collect()
}

fn internal(topic: &PlannedTopic, create: Create) -> Entry {
    let (operations, reason): (&[_], _) = match topic.role {
        TopicRole::Repartition => (&["Read", "Write", "Delete", "DescribeConfigs"], "repartition; what was read is deleted"),
        TopicRole::Changelog => (&["Read", "Write", "DescribeConfigs"], "changelog"),
        _ => (&["Read", "DescribeConfigs"], "tasks of the group"),
    };
    let may_make = create != Create::Never;
    let create = may_make.then_some("Create");
    // The group widens it when the input has more partitions.
    let alter = (may_make && topic.role == TopicRole::Tasks).then_some("Alter");
    let operations = operations.iter().copied().chain(create).chain(alter).collect();
    Entry { operations, ..entry(Kind::Topic, &topic.wanted.name, &[], reason) }
}

/// What `run --feed` needs beside.
fn feeding(file: &JobFile) -> Vec<Entry> {
    let reason = "only for `run --feed`";
    let ledger = format!("{}-fed", file.job.application);
    let mut entries = vec![
        entry(Kind::Topic, &file.job.input.topic, &["Write"], reason),
        entry(Kind::Topic, &ledger, if file.create == Create::Never { &["Read", "Write"] } else { &["Read", "Write", "Create"] }, reason),
    ];
    if file.job.guarantee != Guarantee::ExactlyOnce {
        entries.push(entry(Kind::TransactionalId, &format!("{ledger}-load"), &["Write", "Describe"], reason));
    }
    entries
}

impl Entry {
    /// The command that makes it so.
    pub(super) fn command(&self, bootstrap: &str, principal: &str) -> String {
        let operations: String = self.operations.iter().map(|operation| format!(" --operation {operation}")).collect();
        let resource = match self.kind {
            Kind::Topic => format!("--topic {}", self.name),
            Kind::Group => format!("--group {}", self.name),
            Kind::TransactionalId => format!("--transactional-id {}", self.name),
            Kind::Cluster => "--cluster".to_owned(),
        };
        let pattern = if self.prefixed { " --resource-pattern-type prefixed" } else { "" };
        format!("kafka-acls.sh --bootstrap-server {bootstrap} --add --allow-principal {principal}{operations} {resource}{pattern}")
    }
}
