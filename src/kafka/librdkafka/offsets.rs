//! Where partitions begin and end, asked of a cluster.

use std::collections::HashSet;

use rdkafka::error::RDKafkaErrorCode;

use super::ANSWER_WITHIN;
use super::error::{about_partition, said};
use super::native::{Native, OffsetSpec, list_offsets};
use crate::kafka::{Isolation, LogError};
use crate::record::TopicPartition;

/// An offset, and the time of the record there.
pub(super) type Found = (i64, i64);

/// Asks for offsets: for each an offset and its time, -1 if there is none, in the order asked. Where a partition is not there,
/// `partition_count` tells what is wrong with it.
pub(super) fn ask(
    client: &Native,
    wanted: &[(TopicPartition, OffsetSpec)],
    isolation: Isolation,
    partition_count: &dyn Fn(&str) -> Result<i32, LogError>,
) -> Result<Vec<Found>, LogError> {
    let mut found = Vec::with_capacity(wanted.len());
    let mut rest = wanted;
    while !rest.is_empty() {
        let (round, later) = rest.split_at(distinct(rest));
        match list_offsets(client, round, isolation, ANSWER_WITHIN) {
            Ok(answers) => {
                for (answer, (partition, _)) in answers.into_iter().zip(round) {
                    found.push(answer.map_err(|code| explained(partition, code, partition_count))?);
                }
            }
            Err(code) => {
                // One that is not there spoils the answer for all.
                round.iter().try_for_each(|(partition, _)| exists(partition, partition_count))?;
                return Err(said("offsets of partitions", code));
            }
        }
        rest = later;
    }
    Ok(found)
}

/// How many of the first ones are of different partitions: a request may name each once.
fn distinct(wanted: &[(TopicPartition, OffsetSpec)]) -> usize {
    let mut seen = HashSet::new();
    wanted.iter().take_while(|(partition, _)| seen.insert(partition)).count()
}

/// An error code about a partition, which may not be there.
pub(super) fn explained(
    partition: &TopicPartition,
    code: RDKafkaErrorCode,
    partition_count: &dyn Fn(&str) -> Result<i32, LogError>,
) -> LogError {
    use RDKafkaErrorCode::{UnknownPartition, UnknownTopic, UnknownTopicId, UnknownTopicOrPartition};
    match code {
        UnknownTopicOrPartition | UnknownPartition | UnknownTopic | UnknownTopicId => {
            exists(partition, partition_count).err().unwrap_or_else(|| about_partition(partition, code))
        }
        code => about_partition(partition, code),
    }
}

/// Refuses a partition that is not there.
pub(super) fn exists(partition: &TopicPartition, partition_count: &dyn Fn(&str) -> Result<i32, LogError>) -> Result<(), LogError> {
    let count = partition_count(&partition.topic)?;
    if (0..count).contains(&partition.partition) {
        return Ok(());
    }
    Err(LogError::UnknownPartition { partition: partition.clone(), count })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_names_each_partition_once() {
        let of = |numbers: &[i32]| distinct(&numbers.iter().map(|n| (TopicPartition::new("t", *n), OffsetSpec::End)).collect::<Vec<_>>());
        assert_eq!([of(&[]), of(&[0, 1, 2]), of(&[0, 1, 0, 1]), of(&[3, 3])], [0, 3, 2, 1]);
    }

    #[test]
    fn what_is_not_there_is_named() {
        let partition = TopicPartition::new("t", 3);
        let code = RDKafkaErrorCode::UnknownTopicOrPartition;
        assert!(matches!(explained(&partition, code, &|_| Ok(3)), LogError::UnknownPartition { count: 3, .. }));
        assert!(matches!(explained(&partition, code, &|_| Err(LogError::UnknownTopic("t".into()))), LogError::UnknownTopic(_)));
        let moving = explained(&partition, RDKafkaErrorCode::NotLeaderForPartition, &|_| panic!("it is there"));
        assert_eq!(moving.kind(), crate::error::ErrorKind::Retriable);
    }
}
