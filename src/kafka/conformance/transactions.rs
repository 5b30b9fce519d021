//! Checks of transactions: B21 to B28, B36, B39, B40.

use std::time::Duration;

use super::groups::{self, at, commit, event, member, tasks};
use super::{Ground, PATIENCE, STEP, STEPS, numbered, read_to_end, value_at};
use crate::clock::{Clock, SystemClock};
use crate::error::ErrorKind;
use crate::kafka::{Consumer, FetchLimit, Group, Isolation, LogError, Position, TaskInputs, TransactionalProducer};
use crate::record::{Headers, Timestamp, TopicPartition};

/// Longer than any check.
const LONG: Duration = Duration::from_secs(300);

/// A producer of this id, initialised.
pub(super) fn producer(ground: &Ground, id: &str) -> Box<dyn TransactionalProducer> {
    producer_for(ground, id, LONG)
}

fn producer_for(ground: &Ground, id: &str, timeout: Duration) -> Box<dyn TransactionalProducer> {
    let mut producer = ground.log.transactional_producer(&ground.name(id), timeout).expect("a producer");
    initialised(&mut *producer);
    producer
}

/// What takes a while on a cluster is gone on with by the same call.
pub(in crate::kafka) fn initialised(producer: &mut dyn TransactionalProducer) {
    let until = SystemClock.now() + PATIENCE;
    while let Err(error) = producer.init() {
        assert!(error.kind() == ErrorKind::Retriable && SystemClock.now() < until, "not initialised: {error}");
    }
}

/// Sends values and waits for them.
fn put(producer: &mut dyn TransactionalProducer, partition: &TopicPartition, values: &[&str]) {
    try_put(producer, partition, values).expect("written");
}

fn try_put(producer: &mut dyn TransactionalProducer, partition: &TopicPartition, values: &[&str]) -> Result<(), LogError> {
    let headers = Headers::default();
    let records: Vec<_> = values.iter().map(|value| value_at(value, Timestamp::from_millis(1), &headers)).collect();
    producer.send(partition, &records)?;
    producer.flush(PATIENCE).failed.into_iter().next().map_or(Ok(()), |(_, error)| Err(error))
}

/// One whole transaction.
fn transact(producer: &mut dyn TransactionalProducer, partition: &TopicPartition, values: &[&str], commit: bool) {
    producer.begin().expect("begun");
    put(producer, partition, values);
    if commit { producer.commit().expect("committed") } else { producer.abort().expect("aborted") }
}

fn reader(ground: &Ground, partition: &TopicPartition, isolation: Isolation) -> Box<dyn Consumer> {
    let mut reader = ground.log.consumer(isolation).expect("a consumer");
    reader.assign(&[(partition.clone(), 0)]).expect("there");
    reader
}

/// Reads from the beginning, until the position is at `end`: what a log with late markers needs.
fn read_past(ground: &Ground, partition: &TopicPartition, isolation: Isolation, end: i64) -> Vec<(i64, String)> {
    let mut reader = reader(ground, partition, isolation);
    let mut read = Vec::new();
    for _ in 0..STEPS {
        let (more, fetched) = read_to_end(&mut *reader, partition).expect("read");
        read.extend(more);
        assert_eq!(fetched.next_offset, reader.position(partition).expect("assigned"));
        if fetched.next_offset >= end {
            assert_eq!((fetched.next_offset, fetched.end), (end, end), "{isolation:?}");
            return read;
        }
        reader.poll(STEP).expect("polled");
    }
    panic!("{partition} was not read up to {end}: {read:?}");
}

fn ends(ground: &Ground, partition: &TopicPartition) -> (i64, i64) {
    let mut asker = ground.consumer();
    let mut end = |isolation| asker.end_offsets(std::slice::from_ref(partition), isolation).expect("asked")[0];
    (end(Isolation::ReadCommitted), end(Isolation::ReadUncommitted))
}

/// Asks until the log has settled. A broker looks for transactions that are open for too long every ten seconds.
fn eventually<T: PartialEq + std::fmt::Debug>(ground: &Ground, expected: &T, mut ask: impl FnMut() -> T) {
    let (mut idle, mut asked) = (ground.consumer(), ask());
    for _ in 0..10 * STEPS {
        if asked == *expected {
            return;
        }
        idle.poll(STEP / 10).expect("polled");
        asked = ask();
    }
    assert_eq!(asked, *expected);
}

/// The only member of a group, with its tasks.
fn owner(ground: &Ground, partitions: i32) -> (Box<dyn Group>, Vec<TaskInputs>) {
    let tasks = tasks(ground, partitions);
    let mut owner = member(ground, "m");
    owner.join(&tasks).expect("joined");
    event(&mut *owner, &mut []);
    (owner, tasks)
}

/// The stable position of one partition.
fn committed(member: &mut dyn Group, partition: &TopicPartition) -> Option<Position> {
    groups::committed(member, std::slice::from_ref(partition)).remove(0)
}

pub(crate) fn a_partition_that_ends_in_a_commit_marker_is_read_to_its_end(ground: &Ground) {
    let partition = &ground.topic("t", 1)[0];
    let mut writer = producer(ground, "x");
    transact(&mut *writer, partition, &["a", "b"], true);
    for isolation in [Isolation::ReadCommitted, Isolation::ReadUncommitted] {
        assert_eq!(read_past(ground, partition, isolation, 3), numbered(&[(0, "a"), (1, "b")]));
    }
    assert_eq!(ends(ground, partition), (3, 3), "the marker has an offset");
}

pub(crate) fn a_partition_that_ends_in_an_abort_marker_is_read_to_its_end(ground: &Ground) {
    let partition = &ground.topic("t", 1)[0];
    ground.write(partition, &["before"]);
    let mut writer = producer(ground, "x");
    transact(&mut *writer, partition, &["a", "b"], false);
    assert_eq!(read_past(ground, partition, Isolation::ReadCommitted, 4), numbered(&[(0, "before")]));
    let everything = numbered(&[(0, "before"), (1, "a"), (2, "b")]);
    assert_eq!(read_past(ground, partition, Isolation::ReadUncommitted, 4), everything);
}

pub(crate) fn nothing_but_aborted_data_is_passed_over(ground: &Ground) {
    let partition = &ground.topic("t", 1)[0];
    let mut writer = producer(ground, "x");
    for _ in 0..3 {
        transact(&mut *writer, partition, &["no", "nor this"], false);
    }
    assert_eq!(read_past(ground, partition, Isolation::ReadCommitted, 9), []);
    let mut middle = reader(ground, partition, Isolation::ReadCommitted);
    middle.seek(partition, 4).expect("assigned");
    let (read, fetched) = read_to_end(&mut *middle, partition).expect("read");
    assert_eq!((read, fetched.next_offset), (vec![], 9), "from the middle of an aborted transaction as well");
}

pub(crate) fn a_fetch_limit_counts_visible_records_only(ground: &Ground) {
    let partition = &ground.topic("t", 1)[0];
    let mut writer = producer(ground, "x");
    transact(&mut *writer, partition, &["no", "no"], false);
    transact(&mut *writer, partition, &["a"], true);
    transact(&mut *writer, partition, &["no"], false);
    transact(&mut *writer, partition, &["b", "c"], true);
    eventually(ground, &(10, 10), || ends(ground, partition));
    let mut reader = reader(ground, partition, Isolation::ReadCommitted);
    let mut read = Vec::new();
    while reader.position(partition).expect("assigned") < 10 {
        reader.poll(10 * STEP).expect("polled");
        let before = read.len();
        let limit = FetchLimit { records: 1, bytes: 100 };
        let visit = &mut |r: crate::record::RawRecord<'_>| read.push(r.offset);
        let fetched = reader.fetch(partition, limit, visit).expect("fetched");
        assert!(read.len() <= before + 1 && fetched.end == 10);
    }
    assert_eq!(read, [3, 7, 8]);
}

pub(crate) fn transactions_follow_each_other(ground: &Ground) {
    let partition = &ground.topic("t", 1)[0];
    let mut writer = producer(ground, "x");
    for value in ["a", "b", "c"] {
        transact(&mut *writer, partition, &[value], true);
    }
    writer.begin().expect("begun");
    writer.commit().expect("an empty one is committed too");
    writer.begin().expect("begun");
    writer.abort().expect("or aborted");
    assert_eq!(read_past(ground, partition, Isolation::ReadCommitted, 6), numbered(&[(0, "a"), (2, "b"), (4, "c")]));
}

pub(crate) fn two_transactions_mix_in_one_partition(ground: &Ground) {
    let partition = &ground.topic("t", 1)[0];
    let (mut keeps, mut drops) = (producer(ground, "keeps"), producer(ground, "drops"));
    keeps.begin().expect("begun");
    drops.begin().expect("begun");
    put(&mut *keeps, partition, &["a"]);
    put(&mut *drops, partition, &["no"]);
    put(&mut *keeps, partition, &["b"]);
    put(&mut *drops, partition, &["no", "no"]);
    put(&mut *keeps, partition, &["c"]);
    ground.write(partition, &["plain"]);
    keeps.commit().expect("committed");
    let before_the_other = numbered(&[(0, "a")]);
    eventually(ground, &(1, 8), || ends(ground, partition));
    assert_eq!(read_past(ground, partition, Isolation::ReadCommitted, 1), before_the_other, "up to what is undecided");
    drops.abort().expect("aborted");
    let read = read_past(ground, partition, Isolation::ReadCommitted, 9);
    assert_eq!(read, numbered(&[(0, "a"), (2, "b"), (5, "c"), (6, "plain")]));
}

pub(crate) fn an_open_transaction_holds_back_what_comes_after_it(ground: &Ground) {
    let partition = &ground.topic("t", 1)[0];
    ground.write(partition, &["before"]);
    let mut writer = producer(ground, "x");
    writer.begin().expect("begun");
    put(&mut *writer, partition, &["a"]);
    ground.write(partition, &["after"]);
    assert_eq!(ends(ground, partition), (1, 3));
    let mut waiting = reader(ground, partition, Isolation::ReadCommitted);
    let (read, fetched) = read_to_end(&mut *waiting, partition).expect("read");
    assert_eq!((read, fetched.next_offset, fetched.end), (numbered(&[(0, "before")]), 1, 1));
    assert!(!waiting.poll(Duration::from_millis(20)).expect("polled"), "there is nothing for it");
    let everything = numbered(&[(0, "before"), (1, "a"), (2, "after")]);
    assert_eq!(read_past(ground, partition, Isolation::ReadUncommitted, 3), everything);
    waiting.seek(partition, 2).expect("assigned");
    let (read, fetched) = read_to_end(&mut *waiting, partition).expect("a position beyond the last stable offset is one");
    assert_eq!((read.len(), fetched.next_offset, fetched.end), (0, 2, 1));
    writer.commit().expect("committed");
    assert!(waiting.poll(PATIENCE).expect("polled"), "the decision is news");
    assert_eq!(read_past(ground, partition, Isolation::ReadCommitted, 4), everything);
}

pub(crate) fn a_search_by_time_ends_at_the_last_stable_offset(ground: &Ground) {
    let partition = &ground.topic("t", 1)[0];
    let mut writer = producer(ground, "x");
    writer.begin().expect("begun");
    put(&mut *writer, partition, &["a"]);
    let times = [(partition.clone(), Timestamp::from_millis(0))];
    assert_eq!(ground.consumer().offsets_for_times(&times).expect("asked"), [None]);
    let mut sees_all = ground.log.consumer(Isolation::ReadUncommitted).expect("a consumer");
    assert_eq!(sees_all.offsets_for_times(&times).expect("asked"), [Some(0)]);
    writer.commit().expect("committed");
    eventually(ground, &vec![Some(0)], || ground.consumer().offsets_for_times(&times).expect("asked"));
}

pub(crate) fn a_transaction_counts_in_all_partitions_or_in_none(ground: &Ground) {
    let partitions = ground.topic("t", 9);
    let mut writer = producer(ground, "x");
    for round in 0..20 {
        let commit = round % 3 != 0;
        writer.begin().expect("begun");
        for partition in &partitions {
            put(&mut *writer, partition, &[if commit { "yes" } else { "no" }]);
        }
        if commit { writer.commit().expect("committed") } else { writer.abort().expect("aborted") }
    }
    for partition in &partitions {
        let read = read_past(ground, partition, Isolation::ReadCommitted, 40);
        assert_eq!((read.len(), read.iter().all(|(_, value)| value == "yes")), (13, true), "{partition}");
    }
}

pub(crate) fn records_deleted_under_an_open_transaction_hold_nobody_back(ground: &Ground) {
    let partition = &ground.topic("t", 1)[0];
    let mut writer = producer(ground, "x");
    writer.begin().expect("begun");
    put(&mut *writer, partition, &["a", "b", "c"]);
    assert_eq!(ground.admin().delete_records(&[(partition.clone(), 2)]).expect("deleted"), [2]);
    assert_eq!(ends(ground, partition), (2, 3), "the last stable offset is not before the first one");
    writer.commit().expect("committed");
    eventually(ground, &(4, 4), || ends(ground, partition));
    let mut rest = ground.consumer();
    rest.assign(&[(partition.clone(), 2)]).expect("there");
    assert_eq!(read_to_end(&mut *rest, partition).expect("read").0, numbered(&[(2, "c")]));
}

pub(crate) fn a_new_producer_of_an_id_fences_the_older_one(ground: &Ground) {
    let partition = &ground.topic("out", 1)[0];
    let (mut group, tasks) = owner(ground, 1);
    let input = &tasks[0].partitions[0];
    let mut old = producer(ground, "x");
    old.begin().expect("begun");
    put(&mut *old, partition, &["zombie"]);
    old.send_offsets(&ground.name("g"), &group.token(), &[(input.clone(), at(9))]).expect("sent");
    let mut new = producer(ground, "x");
    eventually(ground, &(2, 2), || ends(ground, partition));
    let refused = old.commit();
    assert!(matches!(&refused, Err(error @ LogError::ProducerFenced(_)) if error.ends_producer()), "{refused:?}");
    assert!(matches!(old.abort(), Err(LogError::ProducerFenced(_))), "for good");
    assert!(matches!(old.begin(), Err(LogError::ProducerFenced(_))));
    assert_eq!(committed(&mut *group, input), None);
    transact(&mut *new, partition, &["a"], true);
    assert_eq!(read_past(ground, partition, Isolation::ReadCommitted, 4), numbered(&[(2, "a")]));
}

pub(crate) fn a_zombie_can_neither_write_nor_commit_positions(ground: &Ground) {
    let partition = &ground.topic("out", 1)[0];
    let (mut group, tasks) = owner(ground, 1);
    let input = &tasks[0].partitions[0];
    let (mut sends, mut commits) = (producer(ground, "x"), producer(ground, "y"));
    let _successors = (producer(ground, "x"), producer(ground, "y"));
    let begin_fails = |zombie: &mut dyn TransactionalProducer| matches!(zombie.begin(), Err(LogError::ProducerFenced(_)));
    if !begin_fails(&mut *sends) {
        let refused = try_put(&mut *sends, partition, &["zombie"]);
        assert!(refused.is_err(), "{refused:?}");
        assert!(matches!(sends.commit(), Err(LogError::ProducerFenced(_) | LogError::MustAbort(_))));
    }
    if !begin_fails(&mut *commits) {
        let refused = commits.send_offsets(&ground.name("g"), &group.token(), &[(input.clone(), at(9))]);
        assert!(matches!(refused, Err(LogError::ProducerFenced(_))), "{refused:?}");
    }
    assert_eq!(committed(&mut *group, input), None);
    assert_eq!(ends(ground, partition), (0, 0), "nothing was written");
}

pub(crate) fn positions_appear_with_the_commit(ground: &Ground) {
    let (mut group, tasks) = owner(ground, 2);
    let [first, second] = [&tasks[0].partitions[0], &tasks[1].partitions[0]];
    commit(&mut *group, &[(first.clone(), at(1))]).expect("committed");
    let mut writer = producer(ground, "x");
    writer.begin().expect("begun");
    let name = ground.name("g");
    writer.send_offsets(&name, &group.token(), &[(first.clone(), at(5))]).expect("sent");
    writer.send_offsets(&name, &group.token(), &[(first.clone(), at(6)), (second.clone(), at(7))]).expect("sent");
    let mut impatient = ground.log.member(&name, "tool", Isolation::ReadUncommitted).expect("a member");
    let both = [first.clone(), second.clone()];
    assert_eq!(impatient.committed(&both).expect("it does not wait"), [Some(at(1)), None]);
    writer.commit().expect("committed");
    assert_eq!(committed(&mut *group, first), Some(at(6)), "the last one sent");
    assert_eq!(committed(&mut *group, second), Some(at(7)));
    writer.begin().expect("begun");
    writer.send_offsets(&name, &group.token(), &[(first.clone(), at(99))]).expect("sent");
    writer.abort().expect("aborted");
    assert_eq!(committed(&mut *group, first), Some(at(6)));
}

pub(crate) fn positions_of_a_stale_token_spoil_the_transaction(ground: &Ground) {
    let partition = &ground.topic("out", 1)[0];
    let (mut group, tasks) = owner(ground, 2);
    let (input, name) = (&tasks[0].partitions[0], ground.name("g"));
    let stale = group.token();
    group.release(&[tasks[1].task]).expect("released");
    event(&mut *group, &mut []);
    let mut writer = producer(ground, "x");
    writer.begin().expect("begun");
    put(&mut *writer, partition, &["a"]);
    let refused = writer.send_offsets(&name, &stale, &[(input.clone(), at(9))]);
    assert!(matches!(&refused, Err(LogError::Fenced { token, .. }) if *token == stale), "{refused:?}");
    assert!(matches!(writer.commit(), Err(LogError::MustAbort(_))), "without its positions it must not count");
    writer.abort().expect("aborted");
    writer.begin().expect("and it goes on");
    put(&mut *writer, partition, &["b"]);
    writer.send_offsets(&name, &group.token(), &[(input.clone(), at(3))]).expect("sent");
    writer.commit().expect("committed");
    assert_eq!(committed(&mut *group, input), Some(at(3)));
    assert_eq!(read_past(ground, partition, Isolation::ReadCommitted, 4), numbered(&[(2, "b")]));
}

pub(crate) fn positions_sent_before_a_rebalance_are_committed_after_it(ground: &Ground) {
    let (mut group, tasks) = owner(ground, 2);
    let (input, name) = (&tasks[0].partitions[0], ground.name("g"));
    let mut writer = producer(ground, "x");
    writer.begin().expect("begun");
    writer.send_offsets(&name, &group.token(), &[(input.clone(), at(4))]).expect("sent");
    group.release(&[tasks[1].task]).expect("released");
    writer.commit().expect("the token was asked for when they were sent");
    assert_eq!(committed(&mut *group, input), Some(at(4)));
}

pub(crate) fn a_transaction_open_for_too_long_is_aborted(ground: &Ground) {
    let partition = &ground.topic("t", 1)[0];
    let mut writer = left_open(ground, partition);
    assert_eq!(decided(ground, partition), Vec::<String>::new());
    let refused = writer.commit();
    assert!(matches!(refused, Err(LogError::TransactionTimedOut(_) | LogError::ProducerFenced(_))), "{refused:?}");
    assert!(writer.begin().is_err(), "for good");
    let mut next = producer(ground, "x");
    transact(&mut *next, partition, &["a"], true);
    assert_eq!(decided(ground, partition), ["a"]);
}

/// A producer whose transaction may not be open for long, with a record in it: on a slow machine the first one's time may be over before that is written.
fn left_open(ground: &Ground, partition: &TopicPartition) -> Box<dyn TransactionalProducer> {
    for longer in [1, 5, 25] {
        let mut writer = producer_for(ground, "x", longer * Duration::from_millis(300));
        writer.begin().expect("begun");
        if try_put(&mut *writer, partition, &["late"]).is_ok() {
            return writer;
        }
    }
    panic!("nothing is written in time");
}

/// What is committed in a partition, once nothing of it is undecided. How often an abort was made sure of is the log's own matter.
fn decided(ground: &Ground, partition: &TopicPartition) -> Vec<String> {
    eventually(ground, &true, || {
        let (decided, end) = ends(ground, partition);
        decided == end
    });
    let end = ends(ground, partition).1;
    read_past(ground, partition, Isolation::ReadCommitted, end).into_iter().map(|(_, value)| value).collect()
}

pub(crate) fn a_dropped_producer_leaves_its_transaction_to_the_next_init(ground: &Ground) {
    let partition = &ground.topic("t", 1)[0];
    let mut killed = producer(ground, "x");
    killed.begin().expect("begun");
    put(&mut *killed, partition, &["lost"]);
    drop(killed);
    assert_eq!(ends(ground, partition), (0, 1), "still open");
    let _other = producer(ground, "y");
    assert_eq!(ends(ground, partition), (0, 1), "another id changes nothing");
    let _next = producer(ground, "x");
    assert_eq!(decided(ground, partition), Vec::<String>::new());
}

pub(crate) fn a_committed_transaction_is_seen_up_to_the_high_watermark(ground: &Ground) {
    let partition = &ground.topic("changelog", 1)[0];
    let (mut group, tasks) = owner(ground, 1);
    let input = &tasks[0].partitions[0];
    let mut writer = producer(ground, "x");
    for n in 1..=10 {
        writer.begin().expect("begun");
        put(&mut *writer, partition, &[&n.to_string()]);
        writer.send_offsets(&ground.name("g"), &group.token(), &[(input.clone(), at(n))]).expect("sent");
        writer.commit().expect("committed");
        assert_eq!(committed(&mut *group, input), Some(at(n)));
        let (_, high) = ends(ground, partition);
        let mut restorer = reader(ground, partition, Isolation::ReadCommitted);
        let mut last = String::new();
        while restorer.position(partition).expect("assigned") < high {
            restorer.poll(STEP).expect("polled");
            read_to_end(&mut *restorer, partition).expect("read").0.into_iter().for_each(|(_, value)| last = value);
        }
        assert_eq!(last, n.to_string(), "everything the positions stand for");
    }
}

pub(crate) fn steps_out_of_order_are_refused(ground: &Ground) {
    let partition = &ground.topic("t", 1)[0];
    let wrong = |step: Result<(), LogError>| assert!(matches!(step, Err(LogError::WrongStep { .. })), "{step:?}");
    let mut writer = ground.log.transactional_producer(&ground.name("x"), LONG).expect("a producer");
    wrong(writer.begin());
    wrong(try_put(&mut *writer, partition, &["early"]));
    initialised(&mut *writer);
    wrong(writer.init());
    wrong(writer.commit());
    wrong(writer.abort());
    wrong(try_put(&mut *writer, partition, &["early"]));
    writer.begin().expect("begun");
    wrong(writer.begin());
    let nowhere = TopicPartition::new(ground.name("nowhere"), 0);
    assert!(matches!(try_put(&mut *writer, &nowhere, &["x"]), Err(LogError::UnknownTopic(_))));
    put(&mut *writer, partition, &["a"]);
    writer.commit().expect("what was not taken does no harm");
    assert_eq!(read_past(ground, partition, Isolation::ReadCommitted, 2), numbered(&[(0, "a")]));
}
