//! What a cluster says of a topic.

use std::time::Duration;

use rdkafka::client::{Client, ClientContext};
use rdkafka::error::RDKafkaErrorCode;

use super::ANSWER_WITHIN;
use super::error::{failed, said};
use crate::clock::let_others_go_on;
use crate::kafka::LogError;

/// A topic that was just made has no leader for a moment.
const LOOKS: u32 = 20;
const BETWEEN_LOOKS: Duration = Duration::from_millis(100);

/// How many partitions a topic has.
pub(super) fn partition_count<C: ClientContext>(client: &Client<C>, topic: &str) -> Result<i32, LogError> {
    shape(client, topic).map(|(partitions, _)| partitions)
}

/// A broker that is there.
pub(super) fn any_broker<C: ClientContext>(client: &Client<C>) -> Result<i32, LogError> {
    /// Every cluster with groups has it; whether it may be seen does not matter.
    const SOME_TOPIC: &str = "__consumer_offsets";
    let metadata = client.fetch_metadata(Some(SOME_TOPIC), ANSWER_WITHIN).map_err(|error| failed("the list of brokers", &error))?;
    let first = metadata.brokers().first().map(rdkafka::metadata::MetadataBroker::id);
    first.ok_or_else(|| said("the list of brokers", RDKafkaErrorCode::AllBrokersDown))
}

/// How many partitions a topic has, and how many copies, the fewest of them.
pub(super) fn shape<C: ClientContext>(client: &Client<C>, topic: &str) -> Result<(i32, i32), LogError> {
    for look in 1.. {
        let metadata = client.fetch_metadata(Some(topic), ANSWER_WITHIN);
        let metadata = metadata.map_err(|error| failed(&format!("the topic `{topic}`"), &error))?;
        let found = metadata.topics().iter().find(|found| found.name() == topic);
        let answer = found.map_or(Some(RDKafkaErrorCode::UnknownTopic), |found| found.error().map(RDKafkaErrorCode::from));
        match (answer, found) {
            (None, Some(found)) => {
                let copies = found.partitions().iter().map(|partition| partition.replicas().len()).min();
                let [partitions, copies] = [found.partitions().len(), copies.unwrap_or(0)].map(|n| i32::try_from(n).unwrap_or(i32::MAX));
                return Ok((partitions, copies));
            }
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
