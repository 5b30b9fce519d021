//! Positions on their way to the client library and back.

use std::collections::HashMap;

use rdkafka::error::RDKafkaErrorCode;
use rdkafka::{Offset, TopicPartitionList};

use crate::kafka::librdkafka::error::{about_partition, failed, said};
use crate::kafka::librdkafka::native::Committed;
use crate::kafka::{LogError, Position};
use crate::record::TopicPartition;

/// What a broker takes beside an offset unless its operator says otherwise (`offset.metadata.max.bytes`).
const LONGEST_METADATA: usize = 4096;

/// Positions as the library takes them.
pub(super) fn list_of(positions: &[(TopicPartition, Position)]) -> Result<TopicPartitionList, LogError> {
    let mut list = TopicPartitionList::with_capacity(positions.len());
    for (partition, position) in positions {
        let mut element = list.add_partition(&partition.topic, partition.partition);
        let set = element.set_offset(Offset::Offset(position.offset));
        set.map_err(|error| failed(&format!("the offset {} of `{partition}`", position.offset), &error))?;
        element.set_metadata(&position.metadata);
    }
    Ok(list)
}

/// Positions as the library has them, in the order of `partitions`.
pub(super) fn of_list(list: &TopicPartitionList, partitions: &[TopicPartition]) -> Result<Vec<Option<Position>>, LogError> {
    let mut found = HashMap::with_capacity(partitions.len());
    for element in list.elements() {
        let partition = TopicPartition::new(element.topic(), element.partition());
        if let Some(code) = element.error().err().and_then(|error| error.rdkafka_error_code()) {
            return Err(about_partition(&partition, code));
        }
        if let Offset::Offset(offset) = element.offset() {
            found.insert(partition, Position { offset, metadata: element.metadata().to_owned() });
        }
    }
    Ok(partitions.iter().map(|partition| found.get(partition).cloned()).collect())
}

/// What became of a commit.
#[derive(Debug)]
pub(super) enum Outcome {
    Done,
    /// The group is between two generations: the same may be sent again.
    Later,
    /// Not a member, or one of long ago.
    Refused,
    Failed(RDKafkaErrorCode, Option<TopicPartition>),
}

impl From<Committed> for Outcome {
    fn from(answer: Committed) -> Self {
        let single = answer.single.into_iter().next().map(|(partition, code)| (code, Some(partition)));
        let Some((code, partition)) = single.or(answer.all.map(|code| (code, None))) else { return Outcome::Done };
        match code {
            RDKafkaErrorCode::RebalanceInProgress | RDKafkaErrorCode::IllegalGeneration | RDKafkaErrorCode::StaleMemberEpoch => {
                Outcome::Later
            }
            RDKafkaErrorCode::UnknownMemberId | RDKafkaErrorCode::FencedInstanceId | RDKafkaErrorCode::FencedMemberEpoch => {
                Outcome::Refused
            }
            code => Outcome::Failed(code, partition),
        }
    }
}

/// A commit that failed, in the words of the port.
pub(super) fn failure(code: RDKafkaErrorCode, partition: Option<TopicPartition>, positions: &[(TopicPartition, Position)]) -> LogError {
    let longest = positions.iter().max_by_key(|(_, position)| position.metadata.len());
    match (code, partition, longest) {
        (RDKafkaErrorCode::OffsetMetadataTooLarge, partition, Some((longest, position))) => LogError::MetadataTooLarge {
            partition: partition.unwrap_or_else(|| longest.clone()),
            bytes: position.metadata.len(),
            limit: LONGEST_METADATA,
        },
        (code, Some(partition), _) => about_partition(&partition, code),
        (code, None, _) => said("a commit of positions", code),
    }
}
