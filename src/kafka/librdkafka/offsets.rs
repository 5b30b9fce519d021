//! Where partitions begin and end, asked of a cluster.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use rdkafka::error::RDKafkaErrorCode;

use super::ANSWER_WITHIN;
use super::deadline::Deadline;
use super::error::about_partition;
use super::metadata::Shape;
use super::native::{Native, OffsetSpec, list_offsets};
use crate::error::ErrorKind;
use crate::kafka::{Isolation, LogError};
use crate::record::TopicPartition;

/// How long those have to answer whom the library remembers as leaders, before the cluster is asked who leads.
const SOON: Duration = Duration::from_secs(3);

/// An offset, and the time of the record there.
pub(super) type Found = (i64, i64);

/// Asks for offsets: for each an offset and its time, -1 if there is none, in the order asked. `look` tells what the cluster says of a topic.
pub(super) fn ask(
    client: &Native,
    wanted: &[(TopicPartition, OffsetSpec)],
    isolation: Isolation,
    look: Look<'_>,
) -> Result<Vec<Found>, LogError> {
    let mut found = Vec::with_capacity(wanted.len());
    let mut rest = wanted;
    while !rest.is_empty() {
        let (round, later) = rest.split_at(distinct(rest));
        let answers = asked(round, &|round, within| list_offsets(client, round, isolation, within), look)?;
        for (answer, (partition, _)) in answers.into_iter().zip(round) {
            found.push(answer.map_err(|code| explained(partition, code, &|topic| Ok(look(topic)?.partitions)))?);
        }
        rest = later;
    }
    Ok(found)
}

/// What the cluster says of a topic. When it returns the library has heard it too.
pub(super) type Look<'a> = &'a dyn Fn(&str) -> Result<Shape, LogError>;

/// What the library gives for a partition of which its leader has said nothing: no error, and no offset.
const UNHEARD: i64 = -1001;

/// What was heard of a partition. The library joins the answers of several leaders, and forgets that one of them has not answered: who took what it
/// gives then for the end of a partition would take a store for complete.
pub(super) fn heard(code: Result<(), RDKafkaErrorCode>, offset: i64, time: i64) -> Result<Found, RDKafkaErrorCode> {
    code?;
    if offset == UNHEARD { Err(RDKafkaErrorCode::OperationTimedOut) } else { Ok((offset, time)) }
}

/// What leaders answer to such a question.
type Answers = Vec<Result<Found, RDKafkaErrorCode>>;

/// How leaders are asked.
type Ask<'a> = &'a dyn Fn(&[(TopicPartition, OffsetSpec)], Duration) -> Result<Answers, RDKafkaErrorCode>;

/// Asks the leaders, and if some of them are not what they were or do not answer soon, once more those that the cluster names then. The library asks
/// whom it remembers, for as long as it remembers, and neither a refusal nor silence makes it doubt: without this a broker that was started again
/// would refuse it for many minutes, and one that has died would be asked for as long.
fn asked(round: &[(TopicPartition, OffsetSpec)], ask: Ask<'_>, look: Look<'_>) -> Result<Answers, LogError> {
    let first = of_leaders(round, SOON, ask, look)?;
    if !first.iter().any(|answer| answer.is_err_and(is_doubtful)) {
        return Ok(first);
    }
    match of_leaders(round, ANSWER_WITHIN, ask, look) {
        Err(error) if error.kind() == ErrorKind::Retriable => {
            tracing::debug!(%error, "leaders are not known");
            Ok(first)
        }
        answers => answers,
    }
}

/// Asks the leaders of those partitions that have one.
///
/// The library must not be asked about others. Where it does not know a leader it waits for news of the cluster, and if they come while it is still
/// being asked, its own thread and the asking one both answer the question and both free it: librdkafka 2.12, `rdkafka_partition.c`,
/// `rd_kafka_topic_partition_list_query_leaders_async` (of `ListOffsets` and `DeleteRecords`), which may run on any thread, but shares what it
/// works on with its own from the moment that it begins to wait. Heaps were corrupted by that while brokers were restarted.
fn of_leaders(round: &[(TopicPartition, OffsetSpec)], within: Duration, ask: Ask<'_>, look: Look<'_>) -> Result<Answers, LogError> {
    let leaderless = leaderless(round, look)?;
    let is_led = |partition: &TopicPartition| !leaderless[&*partition.topic].contains(&partition.partition);
    let led: Vec<_> = round.iter().filter(|(partition, _)| is_led(partition)).cloned().collect();
    let none = |code| vec![Err(unanswered(code)); led.len()];
    let mut answers = if led.is_empty() { Vec::new() } else { ask(&led, within).unwrap_or_else(none) }.into_iter();
    let answer = |(partition, _): &(TopicPartition, _)| {
        let answer = if is_led(partition) { answers.next() } else { None };
        answer.unwrap_or(Err(RDKafkaErrorCode::LeaderNotAvailable))
    };
    Ok(round.iter().map(answer).collect())
}

/// Partitions without a leader, by topic. What was seen of the first topic is old when the last one is answered late, as it is in an outage: then all are looked
/// at again, twice at most, since many topics take their time too.
fn leaderless<'a>(round: &'a [(TopicPartition, OffsetSpec)], look: Look<'_>) -> Result<HashMap<&'a str, Vec<i32>>, LogError> {
    const FRESH: Duration = Duration::from_millis(250);
    let mut again = 2;
    loop {
        let (mut fresh, mut leaderless) = (Deadline::after(FRESH), HashMap::new());
        for (partition, _) in round {
            if !leaderless.contains_key(&*partition.topic) {
                let shape = look(&partition.topic)?;
                let mut of_topic = round.iter().filter(|(other, _)| other.topic == partition.topic);
                of_topic.try_for_each(|(partition, _)| is_one_of(partition, shape.partitions))?;
                leaderless.insert(&*partition.topic, shape.leaderless);
            }
        }
        if leaderless.len() == 1 || again == 0 || !fresh.rest().is_zero() {
            return Ok(leaderless);
        }
        again -= 1;
    }
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
    is_one_of(partition, partition_count(&partition.topic)?)
}

/// Refuses a partition that its topic with so many of them does not have.
fn is_one_of(partition: &TopicPartition, count: i32) -> Result<(), LogError> {
    if (0..count).contains(&partition.partition) {
        return Ok(());
    }
    Err(LogError::UnknownPartition { partition: partition.clone(), count })
}

/// Refuses a partition that is not there, or that has no leader now: see [`of_leaders`].
pub(super) fn has_leader(partition: &TopicPartition, look: Look<'_>) -> Result<(), LogError> {
    let shape = look(&partition.topic)?;
    is_one_of(partition, shape.partitions)?;
    if shape.leaderless.contains(&partition.partition) {
        return Err(about_partition(partition, RDKafkaErrorCode::LeaderNotAvailable));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use rdkafka::consumer::Consumer as _;

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

    const ROUND: [(&str, i32); 2] = [("t", 0), ("u", 0)];

    fn round() -> Vec<(TopicPartition, OffsetSpec)> {
        ROUND.map(|(topic, number)| (TopicPartition::new(topic, number), OffsetSpec::End)).to_vec()
    }

    fn led() -> Shape {
        Shape { partitions: 1, ..Shape::default() }
    }

    /// Asks for two ends, of which one is answered like this at first; gives what is heard in the end, and after what the cluster was asked.
    fn ends_while(first: Result<Found, RDKafkaErrorCode>) -> (Answers, Vec<String>) {
        use std::cell::{Cell, RefCell};
        let (times, looked_at, before) = (Cell::new(0), RefCell::new(Vec::new()), Cell::new(0));
        let ask = |_: &[(TopicPartition, OffsetSpec)], within: Duration| {
            times.set(times.get() + 1);
            before.set(looked_at.borrow().len());
            assert_eq!(within, if times.get() > 1 { ANSWER_WITHIN } else { SOON }, "who leads then has all the time");
            Ok(vec![if times.get() > 1 { Ok((7, -1)) } else { first }, Ok((3, -1))])
        };
        let look = |topic: &str| {
            if topic == ROUND[0].0 {
                looked_at.borrow_mut().truncate(before.get()); // on a slow machine what was seen is old at once, and all are looked at again
            }
            looked_at.borrow_mut().push(topic.to_owned());
            Ok(led())
        };
        let answers = asked(&round(), &ask, &look).expect("the cluster answers");
        (answers, looked_at.into_inner())
    }

    /// A restorer was refused for ever after its broker had been away, and asked for minutes a broker that had died.
    #[test]
    fn a_leader_of_long_ago_is_asked_after_before_it_is_asked_again() {
        use RDKafkaErrorCode::{FencedLeaderEpoch, OperationTimedOut, TopicAuthorizationFailed};
        let (now, twice): (Answers, _) = (vec![Ok((7, -1)), Ok((3, -1))], ["t", "u", "t", "u"].map(str::to_owned).to_vec());
        assert_eq!(ends_while(Err(FencedLeaderEpoch)), (now.clone(), twice.clone()));
        assert_eq!(ends_while(heard(Ok(()), UNHEARD, -1)), (now, twice));
        assert_eq!(heard(Ok(()), UNHEARD, -1), Err(OperationTimedOut));
        let refused = (vec![Err(TopicAuthorizationFailed), Ok((3, -1))], ["t", "u"].map(str::to_owned).to_vec());
        assert_eq!(ends_while(Err(TopicAuthorizationFailed)), refused, "whoever leads says the same");
    }

    #[test]
    fn a_cluster_that_tells_of_no_leaders_is_not_asked_again_at_once() {
        let times = std::cell::Cell::new(0);
        let silent_later = |_: &str| {
            if times.get() > 0 { Err(super::super::error::said("the topic", RDKafkaErrorCode::OperationTimedOut)) } else { Ok(led()) }
        };
        let ask = |_: &[(TopicPartition, OffsetSpec)], _: Duration| {
            times.set(times.get() + 1);
            Err(RDKafkaErrorCode::OperationTimedOut)
        };
        let answers = asked(&round(), &ask, &silent_later).expect("what was heard first");
        assert_eq!((answers, times.get()), (vec![Err(RDKafkaErrorCode::OperationTimedOut); 2], 1));
    }

    /// The library frees a question twice if it is asked about a partition without a leader while it hears news of the cluster.
    #[test]
    fn the_library_is_not_asked_about_a_partition_without_a_leader() {
        let look = |topic: &str| Ok(if topic == "t" { Shape { leaderless: vec![0], ..led() } } else { led() });
        let ask = |round: &[(TopicPartition, OffsetSpec)], _: Duration| {
            assert!(round.iter().all(|(partition, _)| &*partition.topic == "u"), "{}", round[0].0);
            Ok(vec![Ok((3, -1))])
        };
        assert_eq!(asked(&round(), &ask, &look).expect("answers"), [Err(RDKafkaErrorCode::LeaderNotAvailable), Ok((3, -1))]);
        let nobody = |_: &[(TopicPartition, OffsetSpec)], _: Duration| panic!("nobody leads");
        assert!(asked(&round()[..1], &nobody, &look).expect("answers")[0].is_err());
        let error = has_leader(&TopicPartition::new("t", 0), &look).expect_err("nobody leads");
        assert_eq!(error.kind(), crate::error::ErrorKind::Retriable);
        let gone = [(TopicPartition::new("u", 1), OffsetSpec::End)];
        assert!(matches!(asked(&gone, &nobody, &look), Err(LogError::UnknownPartition { count: 1, .. })));
    }

    #[test]
    fn what_was_seen_of_one_topic_is_old_when_another_one_is_answered_late() {
        let looks = std::cell::Cell::new(0);
        let late_at_first = |topic: &str| {
            looks.set(looks.get() + 1);
            if looks.get() == 2 {
                std::thread::sleep(Duration::from_millis(300));
            }
            // The first topic has lost its leader meanwhile.
            Ok(if topic == "t" && looks.get() > 2 { Shape { leaderless: vec![0], ..led() } } else { led() })
        };
        let ask = |round: &[(TopicPartition, OffsetSpec)], _: Duration| {
            assert!(round.iter().all(|(partition, _)| &*partition.topic == "u"), "{}", round[0].0);
            Ok(vec![Ok((3, -1))])
        };
        let answers = of_leaders(&round(), SOON, &ask, &late_at_first).expect("answers");
        assert_eq!(answers, [Err(RDKafkaErrorCode::LeaderNotAvailable), Ok((3, -1))]);
        assert!(looks.get() >= 4, "all of them again");
    }

    /// The same with the library itself: without the look the process ends within a second, by one of several assertions or a damaged heap.
    #[test]
    fn questions_while_nobody_leads_do_no_harm() {
        use super::super::{KafkaConfig, admin::KafkaAdmin, context::ReaderContext, metadata, native::Reader};
        use crate::kafka::Admin as _;
        use std::sync::Arc;
        use std::time::Instant;
        let cluster = rdkafka::mocking::MockCluster::new(1).expect("a cluster");
        cluster.create_topic("t", 1, 1).expect("a topic");
        cluster.partition_leader("t", 0, None).expect("nobody leads");
        let config = KafkaConfig::new(cluster.bootstrap_servers());
        let settings = config.client("admin", &[]).expect("settings");
        let reader: Reader = settings.create_with_context(ReaderContext::default()).expect("a client");
        let (reader, admin) = (Arc::new(reader), KafkaAdmin::open(&config).expect("an administrator"));
        let partition = TopicPartition::new("t", 0);
        let until = Instant::now() + Duration::from_secs(2);
        let look = |topic: &str| metadata::shape(reader.client(), topic);
        let ask = || ask(&Native::of_reader(&reader), &[(partition.clone(), OffsetSpec::End)], Isolation::ReadUncommitted, &look).map(drop);
        let delete = || admin.delete_records(&[(partition.clone(), 0)]).map(drop);
        let hear = || look("t").map(drop).and(admin.list_topics().map(drop));
        std::thread::scope(|scope| {
            let news = scope.spawn(|| {
                while Instant::now() < until {
                    hear().expect("news")
                }
            });
            for question in [&ask as &(dyn Fn() -> Result<(), LogError> + Sync), &delete] {
                scope.spawn(move || {
                    while Instant::now() < until {
                        assert_eq!(question().expect_err("nobody leads").kind(), ErrorKind::Retriable);
                    }
                });
            }
            news.join().expect("it was heard");
        });
    }

    /// It stopped a task whose leader had just died.
    #[test]
    fn a_question_that_no_leader_is_there_for_is_asked_again() {
        let error = about_partition(&TopicPartition::new("t", 0), unanswered(RDKafkaErrorCode::NoEnt));
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
