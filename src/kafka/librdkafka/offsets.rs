//! Where partitions begin and end, asked of a cluster.

use std::collections::HashSet;
use std::time::Duration;

use rdkafka::error::RDKafkaErrorCode;

use super::ANSWER_WITHIN;
use super::error::{about_partition, said};
use super::native::{Native, OffsetSpec, list_offsets};
use crate::error::ErrorKind;
use crate::kafka::{Isolation, LogError};
use crate::record::TopicPartition;

/// How long those have to answer whom the library remembers as leaders, before the cluster is asked who leads.
const SOON: Duration = Duration::from_secs(3);

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
        match asked(round, &|round, within| list_offsets(client, round, isolation, within), partition_count) {
            Ok(answers) => {
                for (answer, (partition, _)) in answers.into_iter().zip(round) {
                    found.push(answer.map_err(|code| explained(partition, code, partition_count))?);
                }
            }
            Err(code) => {
                // One that is not there spoils the answer for all.
                round.iter().try_for_each(|(partition, _)| exists(partition, partition_count))?;
                return Err(said("offsets of partitions", unanswered(code)));
            }
        }
        rest = later;
    }
    Ok(found)
}

/// What the library gives for a partition of which its leader has said nothing: no error, and no offset.
const UNHEARD: i64 = -1001;

/// What was heard of a partition. The library joins the answers of several leaders, and forgets that one of them has not answered: who took what it
/// gives then for the end of a partition would take a store for complete.
pub(super) fn heard(code: Result<(), RDKafkaErrorCode>, offset: i64, time: i64) -> Result<Found, RDKafkaErrorCode> {
    code?;
    if offset == UNHEARD { Err(RDKafkaErrorCode::OperationTimedOut) } else { Ok((offset, time)) }
}

/// What a leader answers to such a question.
type Answers = Vec<Result<Found, RDKafkaErrorCode>>;

/// Asks the leaders, and if some of them are not what they were or do not answer soon, once more those that the cluster names now. The library asks
/// whom it remembers, for as long as it remembers, and neither a refusal nor silence makes it doubt: without this a broker that was started again
/// would refuse it for many minutes, and one that has died would be asked for as long.
fn asked(
    round: &[(TopicPartition, OffsetSpec)],
    ask: &dyn Fn(&[(TopicPartition, OffsetSpec)], Duration) -> Result<Answers, RDKafkaErrorCode>,
    partition_count: &dyn Fn(&str) -> Result<i32, LogError>,
) -> Result<Answers, RDKafkaErrorCode> {
    let first = ask(round, SOON);
    let doubtful = |number: usize| match &first {
        Ok(answers) => answers[number].is_err_and(is_doubtful),
        Err(code) => is_doubtful(*code),
    };
    let topics: HashSet<&str> = (0..round.len()).filter(|number| doubtful(*number)).map(|number| &*round[number].0.topic).collect();
    if topics.is_empty() {
        return first;
    }
    for topic in topics {
        // The library remembers what it hears. What else is wrong with the topic is told by the second answer.
        if let Err(error) = partition_count(topic) {
            tracing::debug!(topic, %error, "its leaders are not known");
            if error.kind() == ErrorKind::Retriable {
                return first;
            }
        }
    }
    ask(round, ANSWER_WITHIN)
}

/// Why a question as a whole has no answer. Where the library finds no leader to ask it says that there is no such thing.
fn unanswered(code: RDKafkaErrorCode) -> RDKafkaErrorCode {
    if code == RDKafkaErrorCode::NoEnt { RDKafkaErrorCode::LeaderNotAvailable } else { code }
}

/// Whether an answer says that the partition is led by another broker, or by the same one anew; or whether there is none, as from one that is gone.
fn is_doubtful(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode::{
        BrokerTransportFailure, FencedLeaderEpoch, LeaderNotAvailable, NotLeaderForPartition, OperationTimedOut, RequestTimedOut,
        TimedOutQueue, UnknownLeaderEpoch,
    };
    let moved = matches!(code, FencedLeaderEpoch | UnknownLeaderEpoch | NotLeaderForPartition | LeaderNotAvailable);
    moved || matches!(code, OperationTimedOut | RequestTimedOut | TimedOutQueue | BrokerTransportFailure)
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
            // It is there: whoever said no does not know it yet, as a broker that has just started.
            exists(partition, partition_count).err().unwrap_or_else(|| about_partition(partition, RDKafkaErrorCode::LeaderNotAvailable))
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

    /// The end of a changelog was -1001 when its broker had just died, so that nothing seemed to be missing.
    #[test]
    fn a_leader_that_said_nothing_has_not_said_where_a_partition_ends() {
        assert_eq!(heard(Ok(()), -1001, -1), Err(RDKafkaErrorCode::OperationTimedOut));
        assert_eq!(heard(Err(RDKafkaErrorCode::UnknownTopic), -1001, -1), Err(RDKafkaErrorCode::UnknownTopic));
        assert_eq!([heard(Ok(()), -1, -1), heard(Ok(()), 7, 3)], [Ok((-1, -1)), Ok((7, 3))], "there may be no record of that time");
    }

    /// Asks for two ends with a library that remembers a leader of `t` of which it hears this, until the cluster is looked at; gives what it has
    /// heard in the end, and after which topics it looked.
    fn ends_while(first: Result<Found, RDKafkaErrorCode>) -> (Result<Answers, RDKafkaErrorCode>, Vec<String>) {
        use std::cell::RefCell;
        let round = [(TopicPartition::new("t", 0), OffsetSpec::End), (TopicPartition::new("u", 0), OffsetSpec::End)];
        let asked_after = RefCell::new(Vec::new());
        let ask = |_: &[(TopicPartition, OffsetSpec)], within: Duration| {
            let known = !asked_after.borrow().is_empty();
            assert_eq!(within, if known { ANSWER_WITHIN } else { SOON }, "who leads now has all the time");
            Ok(vec![if known { Ok((7, -1)) } else { first }, Ok((3, -1))])
        };
        let count = |topic: &str| {
            asked_after.borrow_mut().push(topic.to_owned());
            Ok(1)
        };
        let answers = asked(&round, &ask, &count);
        (answers, asked_after.into_inner())
    }

    /// A restorer was refused for ever after its broker had been away, and asked for minutes a broker that had died.
    #[test]
    fn a_leader_of_long_ago_is_asked_after_before_it_is_asked_again() {
        use RDKafkaErrorCode::{FencedLeaderEpoch, OperationTimedOut, TopicAuthorizationFailed};
        let now: Answers = vec![Ok((7, -1)), Ok((3, -1))];
        assert_eq!(ends_while(Err(FencedLeaderEpoch)), (Ok(now.clone()), vec!["t".to_owned()]));
        assert_eq!(ends_while(heard(Ok(()), UNHEARD, -1)), (Ok(now), vec!["t".to_owned()]));
        assert_eq!(heard(Ok(()), UNHEARD, -1), Err(OperationTimedOut));
        let refused = (Ok(vec![Err(TopicAuthorizationFailed), Ok((3, -1))]), Vec::new());
        assert_eq!(ends_while(Err(TopicAuthorizationFailed)), refused, "whoever leads says the same");
    }

    #[test]
    fn a_cluster_that_tells_of_no_leaders_is_not_asked_again_at_once() {
        let round = [(TopicPartition::new("t", 0), OffsetSpec::End)];
        let silent = |_: &str| Err(said("the topic", RDKafkaErrorCode::OperationTimedOut));
        let times = std::cell::Cell::new(0);
        let ask = |_: &[(TopicPartition, OffsetSpec)], _: Duration| {
            times.set(times.get() + 1);
            Err(RDKafkaErrorCode::OperationTimedOut)
        };
        assert_eq!(asked(&round, &ask, &silent), Err(RDKafkaErrorCode::OperationTimedOut));
        assert_eq!(times.get(), 1);
    }

    /// It stopped a task whose leader had just died.
    #[test]
    fn a_question_that_no_leader_is_there_for_is_asked_again() {
        let error = said("offsets of partitions", unanswered(RDKafkaErrorCode::NoEnt));
        assert_eq!(error.kind(), crate::error::ErrorKind::Retriable);
        let young = explained(&TopicPartition::new("t", 0), RDKafkaErrorCode::UnknownTopicOrPartition, &|_| Ok(1));
        assert_eq!(young.kind(), crate::error::ErrorKind::Retriable, "the cluster knows it, that broker does not yet");
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
