//! Plays one scenario: builds its topology, feeds a test driver, and writes down everything that can be seen from outside.

use std::sync::Arc;

use super::errors;
use super::format::{Event, InternalTopic, Phase, Row, Scenario, Subtopology};
use super::outcome::{Outcome, Problem};
use super::reader::{Built, Reader, Refused, Seen, Types};
use super::settings;
use super::value::{Type, bytes_of, hex, unhex};
use highwater::{StreamsBuilder, Topology};

const APPLICATION: &str = "app";

/// Builds the topology and describes it.
pub(crate) fn play(scenario: &Scenario, every_write: bool) -> Outcome {
    let seen = Seen::default();
    let builder = StreamsBuilder::with_settings(settings::of_build(scenario));
    let mut outcome = Outcome::default();
    let built = match Reader::new(scenario, builder, seen.clone()).read() {
        Ok(built) => built,
        Err(refused) => {
            outcome.error = Some(refused.problem());
            return outcome;
        }
    };
    outcome.describe = Some(built.topology.describe());
    outcome.subtopologies = Some(subtopologies(&built.topology));
    outcome
}

fn subtopologies(topology: &Topology) -> Vec<Subtopology> {
    let internal = |topics: std::collections::BTreeMap<String, highwater::TopicConfig>| {
        topics.into_iter().map(|(name, topic)| (name, InternalTopic { partitions: topic.partitions, config: topic.config })).collect()
    };
    let infos = topology.subtopologies(APPLICATION).into_iter();
    infos
        .map(|info| Subtopology {
            source_topics: info.source_topics,
            sink_topics: info.sink_topics,
            repartition_topics: internal(info.repartition_topics),
            changelog_topics: internal(info.changelog_topics),
        })
        .collect()
}
