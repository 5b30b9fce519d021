//! What a cluster says of a topic.

use std::time::Duration;

use rdkafka::client::{Client, ClientContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::metadata::{MetadataBroker, MetadataPartition, MetadataTopic};

use super::ANSWER_WITHIN;
use super::context::Connects;
use super::error::{failed, refused, said, unheard};
use crate::clock::let_others_go_on;
use crate::error::ErrorKind;
use crate::kafka::LogError;

/// A topic that was just made has no leader for a moment.
const LOOKS: u32 = 20;
const BETWEEN_LOOKS: Duration = Duration::from_millis(100);

/// Why nothing was heard of something: with what the client's connections came to, where that is known.
pub(super) fn unreachable<C: Connects>(what: &str, error: &KafkaError, client: &Client<C>) -> LogError {
    match (failed(what, error), C::failure(client)) {
        (said, Some(failure)) if said.kind() == ErrorKind::Retriable => match failure.is_refusal {
            true => refused(what, &failure.text),
            false => unheard(what, &failure.text),
        },
        (said, _) => said,
    }
}

/// How many partitions a topic has.
pub(super) fn partition_count<C: Connects>(client: &Client<C>, topic: &str) -> Result<i32, LogError> {
    shape(client, topic).map(|shape| shape.partitions)
}

/// What a topic is made of.
#[derive(Debug, Default)]
pub(super) struct Shape {
    /// How many partitions it has.
    pub(super) partitions: i32,
    /// How many copies, the fewest of its partitions.
    pub(super) copies: i32,
    /// The partitions that nobody leads now, as far as the cluster knows.
    pub(super) leaderless: Vec<i32>,
}

impl Shape {
    fn of(topic: &MetadataTopic, brokers: &[MetadataBroker]) -> Self {
        let partitions = topic.partitions();
        let copies = partitions.iter().map(|partition| partition.replicas().len()).min().unwrap_or(0);
        let is_led = |partition: &&MetadataPartition| brokers.iter().any(|broker| broker.id() == partition.leader());
        let leaderless = partitions.iter().filter(|partition| !is_led(partition)).map(MetadataPartition::id).collect();
        let [partitions, copies] = [partitions.len(), copies].map(|n| i32::try_from(n).unwrap_or(i32::MAX));
        Shape { partitions, copies, leaderless }
    }
}

/// A broker that is there.
pub(super) fn any_broker<C: ClientContext>(client: &Client<C>) -> Result<i32, LogError> {
    /// Every cluster with groups has it; whether it may be seen does not matter.
    const SOME_TOPIC: &str = "__consumer_offsets";
    let metadata = client.fetch_metadata(Some(SOME_TOPIC), ANSWER_WITHIN).map_err(|error| failed("the list of brokers", &error))?;
    let first = metadata.brokers().first().map(MetadataBroker::id);
    first.ok_or_else(|| said("the list of brokers", RDKafkaErrorCode::AllBrokersDown))
}

/// What a topic is made of. The library knows as much when this returns.
pub(super) fn shape<C: Connects>(client: &Client<C>, topic: &str) -> Result<Shape, LogError> {
    for look in 1.. {
        let metadata = client.fetch_metadata(Some(topic), ANSWER_WITHIN);
        let metadata = metadata.map_err(|error| unreachable(&format!("the topic `{topic}`"), &error, client))?;
        let found = metadata.topics().iter().find(|found| found.name() == topic);
        let answer = found.map_or(Some(RDKafkaErrorCode::UnknownTopic), |found| found.error().map(RDKafkaErrorCode::from));
        match (answer, found) {
            (None, Some(found)) => return Ok(Shape::of(found, metadata.brokers())),
            (Some(RDKafkaErrorCode::LeaderNotAvailable), _) if look < LOOKS => let_others_go_on(BETWEEN_LOOKS),
            (Some(RDKafkaErrorCode::InvalidTopic), _) => return Err(LogError::IllegalName(topic.to_owned())),
            (None | Some(RDKafkaErrorCode::UnknownTopic | RDKafkaErrorCode::UnknownTopicOrPartition), _) => {
                return Err(LogError::UnknownTopic(topic.into()));
            }
            (Some(code), _) => return Err(said(&format!("the topic `{topic}`"), code)),
        }
    }
    unreachable!("the loop ends by its answers")
}
