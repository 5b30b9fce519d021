//! The topics of each sub-topology, and the settings with which internal ones are created.

use std::collections::{BTreeMap, BTreeSet};

use crate::record::millis;
use crate::state::StoreKind;
use crate::topology::draft::SinkTopic;
use crate::topology::node::{NodeKind, Plan, StoreNode, Subtopology};

/// The topics of one sub-topology, with full names.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct SubtopologyInfo {
    /// The first number of its task ids.
    pub number: usize,
    /// Topics it reads, sorted; repartition topics among them.
    pub source_topics: Vec<String>,
    /// Topics it writes, sorted, but for those that a function chooses.
    pub sink_topics: Vec<String>,
    /// Repartition topics it reads.
    pub repartition_topics: BTreeMap<String, TopicConfig>,
    /// Changelogs of its stores.
    pub changelog_topics: BTreeMap<String, TopicConfig>,
    /// Groups of its source topics that must have equally many partitions.
    pub copartitioned: Vec<Vec<String>>,
    /// Whether its clock is a bounded watermark, and not stream time.
    pub bounded: bool,
}

/// How an internal topic is created.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct TopicConfig {
    /// Said by the author; else as many as the widest input.
    pub partitions: Option<i32>,
    /// Topic settings.
    pub config: BTreeMap<String, String>,
}

/// The full name of an internal topic.
pub(crate) fn full_name(application_id: &str, name: &str) -> String {
    format!("{application_id}-{name}")
}

/// The topics of all sub-topologies, by number.
pub(crate) fn subtopologies(plan: &Plan, application_id: &str) -> Vec<SubtopologyInfo> {
    plan.subtopologies.iter().map(|part| info(plan, part, application_id)).collect()
}

fn info(plan: &Plan, part: &Subtopology, application_id: &str) -> SubtopologyInfo {
    let full = |name: &str| full_name(application_id, name);
    let named = |name: &String| if plan.repartition_topics.contains_key(name) { full(name) } else { name.clone() };
    let (mut sources, mut sinks, mut repartition_topics) = (BTreeSet::new(), BTreeSet::new(), BTreeMap::new());
    for node in &part.nodes {
        match &plan.nodes[*node].kind {
            NodeKind::Source { topics, .. } => {
                sources.extend(topics.iter().map(named));
                let shuffles = topics.iter().filter_map(|topic| plan.repartition_topics.get(topic));
                repartition_topics.extend(shuffles.map(|topic| (full(&topic.name), repartition_config(topic.partitions))));
            }
            NodeKind::Sink { topic: SinkTopic::Fixed(topic), .. } => {
                sinks.insert(named(topic));
            }
            NodeKind::Sink { .. } | NodeKind::Processor => {}
        }
    }
    let stores = part.stores.iter().filter_map(|store| plan.stores.get(store));
    let changelogs = stores.filter_map(|store| Some((full(store.changelog.as_deref()?), changelog_config(plan, store))));
    SubtopologyInfo {
        number: part.number,
        source_topics: sources.into_iter().collect(),
        sink_topics: sinks.into_iter().collect(),
        repartition_topics,
        changelog_topics: changelogs.collect(),
        copartitioned: part.copartitioned.iter().map(|group| group.iter().map(named).collect()).collect(),
        bounded: part.bounded,
    }
}

fn settings<const N: usize>(pairs: [(&str, &str); N]) -> BTreeMap<String, String> {
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

fn repartition_config(partitions: Option<i32>) -> TopicConfig {
    let created =
        [("cleanup.policy", "delete"), ("message.timestamp.type", "CreateTime"), ("retention.ms", "-1"), ("segment.bytes", "52428800")];
    TopicConfig { partitions, config: settings(created) }
}

/// Defaults of the kind, then what the author said for this store.
fn changelog_config(plan: &Plan, store: &StoreNode) -> TopicConfig {
    // Compaction would lose the duplicates of a store that keeps them; Kafka Streams sees to it in plain stores only.
    let (windowed, policy) = match store.spec.kind {
        StoreKind::Window { duplicates: true, .. } if !store.spec.stamped => (true, "delete"),
        StoreKind::Window { .. } | StoreKind::Session => (true, "compact,delete"),
        StoreKind::KeyValue | StoreKind::Buffer => (false, "compact"),
    };
    let mut config = settings([("cleanup.policy", policy), ("message.timestamp.type", "CreateTime")]);
    if windowed {
        let extra = millis(plan.settings.window_changelog_extra_retention);
        let retention = store.spec.retention_ms.unwrap_or(0).saturating_add(extra);
        config.insert(String::from("retention.ms"), retention.to_string());
    }
    config.extend(store.spec.topic_config.clone());
    TopicConfig { partitions: None, config }
}
