//! Checks of sends: B5, B7, B8 and what a topic refuses.

use super::{Ground, PATIENCE, read_from, try_write, value_at};
use crate::kafka::{FetchLimit, LogError, NewTopic, Outgoing};
use crate::record::{Headers, RawRecord, Timestamp, TopicPartition};

type Parts<'a> = (Option<&'a [u8]>, Option<&'a [u8]>, i64);

pub(crate) fn records_come_back_as_they_were_sent(ground: &Ground) {
    let partition = &ground.topic("t", 1)[0];
    let mut headers = Headers::default();
    headers.add("a", "1");
    headers.add("a", "");
    headers.add_null("b");
    let none = Headers::default();
    let parts: [Parts<'_>; 4] = [(Some(b"k"), Some(b"v"), 5), (None, Some(b""), 3), (Some(b""), None, 4), (None, None, 1_700_000_000_000)];
    let sent = parts.map(|(key, value, at)| {
        let headers = if value.is_some() { &headers } else { &none };
        Outgoing { key, value, timestamp: Timestamp::from_millis(at), headers }
    });
    let mut producer = ground.producer();
    assert_eq!(try_write(&mut *producer, partition, &sent[..3]).expect("written"), 2);
    assert_eq!(try_write(&mut *producer, partition, &sent[3..]).expect("written"), 3);
    let mut reader = ground.consumer();
    reader.assign(&[(partition.clone(), 0)]).expect("there");
    let mut seen = 0;
    while seen < sent.len() {
        reader.poll(PATIENCE).expect("polled");
        let visit = &mut |record: RawRecord<'_>| {
            let expected = &sent[seen];
            assert_eq!((record.topic, record.partition, record.offset), (&*partition.topic, 0, seen as i64));
            assert_eq!((record.key, record.value, record.timestamp), (expected.key, expected.value, expected.timestamp));
            assert_eq!(record.headers, expected.headers);
            seen += 1;
        };
        reader.fetch(partition, FetchLimit::default(), visit).expect("fetched");
    }
}

pub(crate) fn a_large_record_comes_back(ground: &Ground) {
    let partition = &ground.topic("t", 1)[0];
    let large = "x".repeat(900_000);
    ground.write(partition, &["small", &large, "small"]);
    let read = read_from(ground, partition, 0).expect("read");
    assert_eq!(read.iter().map(|(_, value)| value.len()).collect::<Vec<_>>(), [5, 900_000, 5]);
}

pub(crate) fn an_oversized_record_is_refused_and_nothing_with_it(ground: &Ground) {
    let partition = &ground.topic_with(NewTopic::new(ground.name("t"), 1).with("max.message.bytes", "1000"))[0];
    let headers = Headers::default();
    let at = Timestamp::from_millis(1);
    let large = "x".repeat(1000);
    let records = [value_at("fits", at, &headers), value_at(&large, at, &headers)];
    let refused = try_write(&mut *ground.producer(), partition, &records);
    assert!(matches!(refused, Err(LogError::RecordTooLarge { index: 1, limit: 1000, .. })), "{refused:?}");
    assert_eq!(read_from(ground, partition, 0).expect("read"), []);
    ground.write(partition, &["fits"]);
}

pub(crate) fn negative_times_are_refused_and_zero_is_kept(ground: &Ground) {
    let partition = &ground.topic("t", 1)[0];
    let headers = Headers::default();
    let mut producer = ground.producer();
    for millis in [-1, i64::MIN] {
        let refused = try_write(&mut *producer, partition, &[value_at("v", Timestamp::from_millis(millis), &headers)]);
        assert!(matches!(refused, Err(LogError::InvalidTimestamp { index: 0, .. })), "{refused:?}");
    }
    try_write(&mut *producer, partition, &[value_at("v", Timestamp::from_millis(0), &headers)]).expect("written");
    let mut reader = ground.consumer();
    let times = [(partition.clone(), Timestamp::from_millis(0)), (partition.clone(), Timestamp::from_millis(1))];
    assert_eq!(reader.offsets_for_times(&times).expect("asked"), [Some(0), None], "the time is still zero");
}

pub(crate) fn the_log_may_stamp_the_time(ground: &Ground) {
    let stamped = &ground.topic_with(NewTopic::new(ground.name("t"), 1).with("message.timestamp.type", "LogAppendTime"))[0];
    let ahead = Timestamp::from_millis(i64::MAX / 2);
    try_write(&mut *ground.producer(), stamped, &[value_at("v", ahead, &Headers::default())]).expect("written");
    assert_eq!(ground.consumer().offsets_for_times(&[(stamped.clone(), ahead)]).expect("asked"), [None], "its own time is gone");
}

pub(crate) fn sends_to_nowhere_fail(ground: &Ground) {
    let partition = &ground.topic("t", 2)[0];
    let headers = Headers::default();
    let record = [value_at("v", Timestamp::from_millis(1), &headers)];
    let mut producer = ground.producer();
    for n in [2, -1] {
        let refused = try_write(&mut *producer, &TopicPartition::new(partition.topic.clone(), n), &record);
        assert!(matches!(refused, Err(LogError::UnknownPartition { count: 2, .. })), "{n}: {refused:?}");
    }
    let nowhere = ground.name("nowhere");
    let refused = try_write(&mut *producer, &TopicPartition::new(nowhere.as_str(), 0), &record);
    assert!(matches!(&refused, Err(LogError::UnknownTopic(topic)) if **topic == *nowhere), "{refused:?}");
    assert!(matches!(producer.partition_count(&nowhere), Err(LogError::UnknownTopic(_))));
    try_write(&mut *producer, partition, &record).expect("and the producer still works");
}

pub(crate) fn a_flush_tells_the_highest_offset_of_each_partition(ground: &Ground) {
    let partitions = ground.topic("t", 2);
    let headers = Headers::default();
    let record = value_at("v", Timestamp::from_millis(1), &headers);
    let mut producer = ground.producer();
    for (partition, count) in [(&partitions[1], 3), (&partitions[0], 1), (&partitions[1], 2)] {
        producer.send(partition, &[record; 3][..count]).expect("taken");
    }
    let flushed = producer.flush(PATIENCE);
    assert_eq!(flushed.acked, [(partitions[0].clone(), 0), (partitions[1].clone(), 4)]);
    assert!(flushed.failed.is_empty());
    assert!(producer.flush(PATIENCE).acked.is_empty(), "each is told once");
}
