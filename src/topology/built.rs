//! The built topology, for its users: what it is called, what it reads and writes, and pictures of it.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use crate::error::TopologyError;
use crate::topology::draft::{Draft, SinkTopic};
use crate::topology::internal_topic::{self, SubtopologyInfo};
use crate::topology::node::{NodeKind, Plan};
use crate::topology::{describe, dot, explain, mermaid, replay};

/// A checked topology, ready to run or to test. Cloning it is cheap.
#[derive(Clone)]
pub struct Topology {
    plan: Arc<Plan>,
}

impl Topology {
    /// Decides names, numbers, topics and sub-topologies, or reports every problem.
    pub(crate) fn build(draft: Draft) -> Result<Self, TopologyError> {
        replay::replay(draft).map(|plan| Topology { plan: Arc::new(plan) }).map_err(TopologyError)
    }

    /// Everything that was decided.
    pub(crate) fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }

    /// The text that Kafka Streams prints for the same topology.
    pub fn describe(&self) -> String {
        describe::describe(&self.plan)
    }

    /// A picture for Graphviz.
    pub fn to_dot(&self) -> String {
        dot::dot(&self.plan)
    }

    /// A picture for Mermaid.
    pub fn to_mermaid(&self) -> String {
        mermaid::mermaid(&self.plan)
    }

    /// In words: why each repartition topic exists, which clock runs where, when each window closes.
    pub fn explain(&self) -> String {
        explain::explain(&self.plan)
    }

    /// The topics of each sub-topology, as they are called in an application of this id.
    pub fn subtopologies(&self, application_id: &str) -> Vec<SubtopologyInfo> {
        internal_topic::subtopologies(&self.plan, application_id)
    }

    /// Topics that are read, but for repartition topics; sorted.
    pub fn source_topics(&self) -> Vec<String> {
        let topics = self.plan.nodes.iter().filter_map(|node| match &node.kind {
            NodeKind::Source { topics, internal: false, .. } => Some(topics),
            _ => None,
        });
        topics.flatten().cloned().collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// Topics that are written, but for repartition topics and topics chosen by a function; sorted.
    pub fn sink_topics(&self) -> Vec<String> {
        let topics = self.plan.nodes.iter().filter_map(|node| match &node.kind {
            NodeKind::Sink { topic: SinkTopic::Fixed(topic), internal: false } => Some(topic.clone()),
            _ => None,
        });
        topics.collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// Repartition topics, without the application's id in front; sorted.
    pub fn repartition_topics(&self) -> Vec<String> {
        self.plan.repartition_topics.keys().cloned().collect()
    }

    /// Names of the stores; sorted.
    pub fn stores(&self) -> Vec<String> {
        self.plan.stores.keys().map(ToString::to_string).collect()
    }
}

impl fmt::Debug for Topology {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.describe())
    }
}
