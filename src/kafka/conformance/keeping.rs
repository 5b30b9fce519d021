//! Checks of what a log gives up by itself: B29, B30, B33, B40.

use std::time::Duration;

use super::transactions::producer;
use super::{Ground, PATIENCE, STEP, STEPS, numbered, read_from, read_to_end, try_write};
use crate::clock::{Clock, SystemClock};
use crate::kafka::{Consumer, FetchLimit, Isolation, LogError, NewTopic, Outgoing};
use crate::record::{Headers, Timestamp, TopicPartition};

/// A topic that is compacted as soon as can be.
fn compacted(ground: &Ground, suffix: &str) -> TopicPartition {
    let topic = NewTopic::new(ground.name(suffix), 1).with("cleanup.policy", "compact").with("segment.ms", "100");
    let topic = topic.with("min.cleanable.dirty.ratio", "0.01").with("delete.retention.ms", "100");
    ground.topic_with(topic).remove(0)
}

/// Writes values under keys; no value is a tombstone.
fn write_keyed(ground: &Ground, partition: &TopicPartition, records: &[(&str, Option<&str>)]) -> Result<i64, LogError> {
    let headers = Headers::default();
    let timestamp = SystemClock.now(); // a broker ends a segment by the times of its records
    let record =
        |(key, value)| Outgoing { key: Some(str::as_bytes(key)), value: Option::map(value, str::as_bytes), timestamp, headers: &headers };
    try_write(&mut *ground.producer(), partition, &records.iter().copied().map(record).collect::<Vec<_>>())
}

/// What a reader finds from an offset on: offset, key, value.
fn keyed(ground: &Ground, partition: &TopicPartition, from: i64, isolation: Isolation) -> Vec<(i64, String, Option<String>)> {
    let mut reader = ground.log.consumer(isolation).expect("a consumer");
    reader.assign(&[(partition.clone(), from)]).expect("there");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut read = Vec::new();
    for _ in 0..STEPS {
        let visit = &mut |record: crate::record::RawRecord<'_>| {
            read.push((record.offset, text(record.key.unwrap_or_default()), record.value.map(text)))
        };
        let fetched = reader.fetch(partition, FetchLimit::default(), visit).expect("fetched");
        if fetched.at_end() {
            return read;
        }
        reader.poll(STEP).expect("polled");
    }
    panic!("the end of {partition} was not reached: {read:?}");
}

/// Writes on, so that the log goes to work, until what it holds under other keys than these writes' is as expected.
fn compacted_to(ground: &Ground, partition: &TopicPartition, isolation: Isolation, expected: &[(i64, &str, &str)]) {
    let (mut idle, mut left) = (ground.consumer(), Vec::new());
    for _ in 0..STEPS {
        write_keyed(ground, partition, &[("go on", Some("x"))]).expect("written");
        idle.poll(2 * STEP).expect("polled");
        left = keyed(ground, partition, 0, isolation);
        left.retain(|(_, key, _)| key != "go on");
        let same = |((offset, key, value), expected): (&(i64, String, Option<String>), &(i64, &str, &str))| {
            (*offset, key.as_str(), value.as_deref()) == (expected.0, expected.1, Some(expected.2))
        };
        if left.len() == expected.len() && left.iter().zip(expected).all(same) {
            return;
        }
    }
    panic!("expected {expected:?}, left is {left:?}");
}

pub(crate) fn compaction_leaves_the_last_record_of_each_key_where_it_was(ground: &Ground) {
    let partition = &compacted(ground, "t");
    let records = [("a", Some("1")), ("b", Some("1")), ("a", Some("2")), ("c", Some("1")), ("b", None), ("c", Some("2"))];
    assert_eq!(write_keyed(ground, partition, &records).expect("written"), 5);
    compacted_to(ground, partition, Isolation::ReadCommitted, &[(2, "a", "2"), (5, "c", "2")]);
    assert_eq!(ground.consumer().begin_offsets(std::slice::from_ref(partition)).expect("asked"), [0], "no offset is out of range");
    let from_a_hole = keyed(ground, partition, 3, Isolation::ReadCommitted);
    assert_eq!((from_a_hole[0].0, from_a_hole[0].1.as_str()), (5, "c"), "a hole is a position");
}

pub(crate) fn a_compacted_topic_takes_no_record_without_a_key(ground: &Ground) {
    let partition = &compacted(ground, "t");
    let headers = Headers::default();
    let record = Outgoing { key: None, value: Some(b"v"), timestamp: Timestamp::from_millis(1), headers: &headers };
    let refused = try_write(&mut *ground.producer(), partition, &[Outgoing { key: Some(b"k"), ..record }, record]);
    assert!(matches!(refused, Err(LogError::KeyMissing { index: 1, .. })), "{refused:?}");
    assert_eq!(keyed(ground, partition, 0, Isolation::ReadUncommitted), []);
}

pub(crate) fn what_was_aborted_is_compacted_away(ground: &Ground) {
    let partition = &compacted(ground, "t");
    write_keyed(ground, partition, &[("a", Some("1")), ("b", Some("1"))]).expect("written");
    let mut writer = producer(ground, "x");
    let headers = Headers::default();
    let no = Outgoing { key: Some(b"a"), value: Some(b"no"), timestamp: Timestamp::from_millis(1), headers: &headers };
    writer.begin().expect("begun");
    writer.send(partition, &[no]).expect("taken");
    writer.flush(PATIENCE);
    writer.abort().expect("aborted");
    // An aborted record does not stand for its key.
    compacted_to(ground, partition, Isolation::ReadUncommitted, &[(0, "a", "1"), (1, "b", "1")]);
}

pub(crate) fn compaction_leaves_alone_what_is_not_decided(ground: &Ground) {
    let (partition, witness) = (&compacted(ground, "t"), &compacted(ground, "w"));
    write_keyed(ground, partition, &[("a", Some("1"))]).expect("written");
    let mut writer = producer(ground, "x");
    let headers = Headers::default();
    let maybe = Outgoing { key: Some(b"a"), value: Some(b"2"), timestamp: Timestamp::from_millis(1), headers: &headers };
    writer.begin().expect("begun");
    writer.send(partition, &[maybe]).expect("taken");
    writer.flush(PATIENCE);
    write_keyed(ground, partition, &[("a", Some("3"))]).expect("written");
    // Later than the topic's `segment.ms`, so that what is above is no longer the part being written.
    ground.consumer().poll(Duration::from_millis(200)).expect("polled");
    write_keyed(ground, partition, &[("go on", Some("x"))]).expect("written");
    write_keyed(ground, witness, &[("w", Some("1")), ("w", Some("2"))]).expect("written");
    compacted_to(ground, witness, Isolation::ReadCommitted, &[(1, "w", "2")]);
    let there: Vec<_> = keyed(ground, partition, 0, Isolation::ReadUncommitted).into_iter().filter(|(_, key, _)| key == "a").collect();
    assert_eq!(there.len(), 3, "{there:?}");
    writer.commit().expect("committed");
    compacted_to(ground, partition, Isolation::ReadCommitted, &[(2, "a", "3")]);
}

/// Writes on until the beginning has moved; the extent then.
fn begin_moved(ground: &Ground, partition: &TopicPartition, value: &str) -> (i64, i64) {
    let mut asker = ground.consumer();
    for _ in 0..STEPS {
        let begin = asker.begin_offsets(std::slice::from_ref(partition)).expect("asked")[0];
        if begin > 0 {
            return (begin, asker.end_offsets(std::slice::from_ref(partition), Isolation::ReadUncommitted).expect("asked")[0]);
        }
        ground.write(partition, &[value]);
        asker.poll(2 * STEP).expect("polled");
    }
    panic!("nothing was deleted from {partition}");
}

/// A reader that stood in what was deleted is told so, and by nothing else.
fn told(reader: &mut dyn Consumer, partition: &TopicPartition) {
    reader.seek(partition, 0).expect("assigned"); // what was fetched ahead is given up
    assert!(reader.poll(PATIENCE).expect("polled"), "an error is news");
    let lost = read_to_end(reader, partition);
    assert!(matches!(lost, Err(LogError::OffsetOutOfRange { offset: 0, begin: 1.., .. })), "{lost:?}");
}

pub(crate) fn records_older_than_the_topic_keeps_are_deleted(ground: &Ground) {
    let topic = NewTopic::new(ground.name("t"), 1).with("retention.ms", "200").with("segment.ms", "100");
    let partition = &ground.topic_with(topic)[0];
    ground.write(partition, &["a", "b"]);
    let mut reader = ground.consumer();
    reader.assign(&[(partition.clone(), 0)]).expect("there");
    begin_moved(ground, partition, "more");
    told(&mut *reader, partition);
}

pub(crate) fn more_than_a_topic_keeps_is_deleted(ground: &Ground) {
    let topic = NewTopic::new(ground.name("t"), 1).with("retention.bytes", "3000000").with("segment.bytes", "1048576");
    // A broker looks at the records' own time, which is long ago here.
    let partition = &ground.topic_with(topic.with("retention.ms", "-1"))[0];
    let mut reader = ground.consumer();
    reader.assign(&[(partition.clone(), 0)]).expect("there");
    let large = "x".repeat(900_000);
    let (begin, end) = begin_moved(ground, partition, &large);
    assert!(end - begin >= 3, "what fits stays: {begin} to {end}");
    told(&mut *reader, partition);
    assert_eq!(read_from(ground, partition, end - 1).expect("read"), numbered(&[(end - 1, &large)]));
}

pub(crate) fn compaction_and_deletion_go_together(ground: &Ground) {
    let topic = NewTopic::new(ground.name("t"), 1).with("cleanup.policy", "compact,delete").with("segment.ms", "100");
    let topic = topic.with("min.cleanable.dirty.ratio", "0.01").with("retention.ms", "200");
    let partition = &ground.topic_with(topic)[0];
    write_keyed(ground, partition, &[("a", Some("1")), ("a", Some("2")), ("b", Some("1"))]).expect("written");
    let mut idle = ground.consumer();
    for n in 0..STEPS {
        write_keyed(ground, partition, &[("go on", Some("x"))]).expect("written");
        idle.poll(Duration::from_millis(200)).expect("polled");
        if idle.begin_offsets(std::slice::from_ref(partition)).expect("asked")[0] > 2 {
            return;
        }
        assert!(n < STEPS - 1, "nothing was deleted");
    }
}
