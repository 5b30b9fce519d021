//! Checks of reading: B17, B18, B33, B34, B40.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use super::{Ground, PATIENCE, numbered, read_from, read_to_end, try_write, value_at};
use crate::kafka::{FetchLimit, Isolation, LogError};
use crate::record::{Headers, RawRecord, Timestamp, TopicPartition};

pub(crate) fn a_fetch_goes_on_where_the_last_one_ended(ground: &Ground) {
    let partition = &ground.topic("t", 1)[0];
    let mut reader = ground.consumer();
    reader.assign(&[(partition.clone(), 0)]).expect("there");
    let (read, fetched) = read_to_end(&mut *reader, partition).expect("read");
    assert_eq!((read.len(), fetched.next_offset, fetched.end), (0, 0, 0), "an empty partition is at its end");
    ground.write(partition, &["a", "b"]);
    assert!(reader.poll(PATIENCE).expect("polled"));
    assert_eq!(read_to_end(&mut *reader, partition).expect("read").0, numbered(&[(0, "a"), (1, "b")]));
    ground.write(partition, &["c"]);
    assert!(reader.poll(PATIENCE).expect("polled"));
    let (read, fetched) = read_to_end(&mut *reader, partition).expect("read");
    assert_eq!(read, numbered(&[(2, "c")]));
    assert_eq!((fetched.next_offset, fetched.end, reader.position(partition).expect("assigned")), (3, 3, 3));
    assert_eq!(reader.end_offsets(std::slice::from_ref(partition), Isolation::ReadUncommitted).expect("asked"), [3]);
}

pub(crate) fn a_fetch_keeps_to_its_limits_but_visits_one(ground: &Ground) {
    let partition = &ground.topic("t", 1)[0];
    ground.write(partition, &["aaaa", "bbbb", "cccc", "dddd"]);
    let mut reader = ground.consumer();
    for (records, bytes, expected) in [(3, 100, 3), (9, 8, 2), (9, 7, 1), (9, 1, 1), (0, 100, 0)] {
        reader.assign(&[(partition.clone(), 0)]).expect("there");
        reader.poll(PATIENCE).expect("polled");
        let mut visited = 0;
        let fetched = reader.fetch(partition, FetchLimit { records, bytes }, &mut |_| visited += 1).expect("fetched");
        assert_eq!((visited, fetched.next_offset, fetched.end), (expected, expected, 4), "{records} records, {bytes} bytes");
        assert!(!fetched.at_end());
    }
}

pub(crate) fn a_fetch_ends_where_its_visitor_has_enough(ground: &Ground) {
    let partition = &ground.topic("t", 1)[0];
    ground.write(partition, &["a", "b", "c", "d"]);
    let mut reader = ground.consumer();
    reader.assign(&[(partition.clone(), 0)]).expect("there");
    for (enough, next) in [(1, 1), (2, 3)] {
        reader.poll(PATIENCE).expect("polled");
        let mut visited = 0;
        let visit = &mut |_: RawRecord<'_>| {
            visited += 1;
            visited < enough
        };
        let fetched = reader.fetch_while(partition, FetchLimit::default(), visit).expect("fetched");
        assert_eq!((visited, fetched.next_offset, reader.position(partition).expect("assigned")), (enough, next, next));
        assert!(!fetched.at_end());
    }
    assert!(reader.poll(Duration::ZERO).expect("polled"), "what is left is there at once");
    assert_eq!(read_to_end(&mut *reader, partition).expect("read").0, numbered(&[(3, "d")]));
}

pub(crate) fn a_seek_moves_the_position(ground: &Ground) {
    let partition = &ground.topic("t", 1)[0];
    ground.write(partition, &["a", "b", "c"]);
    let mut reader = ground.consumer();
    reader.assign(&[(partition.clone(), 1)]).expect("there");
    assert_eq!(read_to_end(&mut *reader, partition).expect("read").0, numbered(&[(1, "b"), (2, "c")]), "in the middle of a batch");
    reader.seek(partition, 2).expect("assigned");
    assert_eq!(reader.position(partition).expect("assigned"), 2);
    assert_eq!(read_to_end(&mut *reader, partition).expect("read").0, numbered(&[(2, "c")]));
}

pub(crate) fn an_offset_out_of_range_is_an_error_with_both_ends(ground: &Ground) {
    let partition = &ground.topic("t", 1)[0];
    ground.write(partition, &["a", "b", "c"]);
    let mut open = ground.consumer();
    open.assign(&[(partition.clone(), 0)]).expect("there");
    ground.admin().delete_records(&[(partition.clone(), 1)]).expect("deleted");
    for outside in [0, 4] {
        let refused = read_from(ground, partition, outside);
        let told = matches!(refused, Err(LogError::OffsetOutOfRange { offset, begin: 1, end: 3, .. }) if offset == outside);
        assert!(told, "{outside}: {refused:?}");
    }
    open.seek(partition, 0).expect("assigned"); // what was fetched ahead is given up
    assert!(open.poll(PATIENCE).expect("polled"), "an error is news");
    let lost = read_to_end(&mut *open, partition);
    assert!(matches!(lost, Err(LogError::OffsetOutOfRange { offset: 0, .. })), "an open reader is told, not moved: {lost:?}");
    open.seek(partition, 1).expect("assigned");
    assert_eq!(read_to_end(&mut *open, partition).expect("read").0.len(), 2);
}

pub(crate) fn a_paused_partition_is_silent(ground: &Ground) {
    let partitions = ground.topic("t", 2);
    ground.write(&partitions[0], &["a"]);
    let mut reader = ground.consumer();
    reader.assign(&[(partitions[0].clone(), 0), (partitions[1].clone(), 0)]).expect("there");
    assert_eq!(reader.assignment(), partitions);
    reader.pause(&partitions[..1]).expect("assigned");
    assert!(!reader.poll(Duration::from_millis(20)).expect("polled"));
    let fetched = reader.fetch(&partitions[0], FetchLimit::default(), &mut |_| panic!("it is paused")).expect("fetched");
    assert_eq!(fetched.next_offset, 0);
    reader.resume(&partitions[..1]).expect("assigned");
    assert!(reader.poll(PATIENCE).expect("polled"));
    assert_eq!(read_to_end(&mut *reader, &partitions[0]).expect("read").0.len(), 1);
}

pub(crate) fn a_poll_without_time_does_not_wait(ground: &Ground) {
    let partition = &ground.topic("t", 1)[0];
    let mut reader = ground.consumer();
    assert!(!reader.poll(Duration::ZERO).expect("polled"), "with nothing to read");
    reader.assign(&[(partition.clone(), 0)]).expect("there");
    assert!(!reader.poll(Duration::ZERO).expect("polled"), "at the end");
}

pub(crate) fn new_data_wakes_a_waiting_poll(ground: &Ground) {
    let partition = &ground.topic("t", 1)[0];
    let mut reader = ground.consumer();
    reader.assign(&[(partition.clone(), 0)]).expect("there");
    let (done, told) = mpsc::channel();
    thread::scope(|scope| {
        scope.spawn(move || {
            // Longer than the check waits: only new data can end it in time.
            let woken = reader.poll(3 * PATIENCE).expect("polled");
            done.send(woken).expect("somebody waits");
        });
        assert!(told.recv_timeout(Duration::from_millis(50)).is_err(), "it waits");
        ground.write(partition, &["a"]);
        assert_eq!(told.recv_timeout(PATIENCE), Ok(true));
    });
}

pub(crate) fn what_is_not_assigned_is_not_read(ground: &Ground) {
    let partition = &ground.topic("t", 1)[0];
    ground.write(partition, &["a"]);
    let mut reader = ground.consumer();
    reader.assign(&[(partition.clone(), 0)]).expect("there");
    reader.unassign(&[partition.clone(), TopicPartition::new("never", 3)]);
    let not_assigned = |error: Option<LogError>| matches!(error, Some(LogError::NotAssigned(name)) if name == *partition);
    assert!(not_assigned(reader.fetch(partition, FetchLimit::default(), &mut |_| panic!("not assigned")).err()));
    assert!(not_assigned(reader.position(partition).err()) && not_assigned(reader.seek(partition, 0).err()));
    assert!(not_assigned(reader.pause(std::slice::from_ref(partition)).err()));
    assert!(reader.assignment().is_empty());
    assert!(!reader.poll(Duration::ZERO).expect("polled"));
}

pub(crate) fn assignment_to_nowhere_fails(ground: &Ground) {
    let partition = &ground.topic("t", 1)[0];
    let mut reader = ground.consumer();
    let second = TopicPartition::new(partition.topic.clone(), 1);
    let refused = reader.assign(&[(partition.clone(), 0), (second.clone(), 0)]);
    assert!(matches!(refused, Err(LogError::UnknownPartition { count: 1, .. })), "{refused:?}");
    assert!(reader.assignment().is_empty(), "all or none");
    let nowhere = TopicPartition::new(ground.name("nowhere"), 0);
    assert!(matches!(reader.assign(&[(nowhere.clone(), 0)]), Err(LogError::UnknownTopic(_))));
    assert!(matches!(reader.begin_offsets(std::slice::from_ref(&nowhere)), Err(LogError::UnknownTopic(_))));
    assert!(matches!(reader.end_offsets(&[second], Isolation::ReadCommitted), Err(LogError::UnknownPartition { .. })));
    assert!(matches!(reader.offsets_for_times(&[(nowhere, Timestamp::from_millis(0))]), Err(LogError::UnknownTopic(_))));
}

pub(crate) fn offsets_are_found_by_time(ground: &Ground) {
    let partition = &ground.topic("t", 1)[0];
    let (headers, at) = (Headers::default(), Timestamp::from_millis);
    let mut producer = ground.producer();
    for batch in [&[10, 30, 20][..], &[15, 40, 12]] {
        let records: Vec<_> = batch.iter().map(|millis| value_at("v", at(*millis), &headers)).collect();
        try_write(&mut *producer, partition, &records).expect("written");
    }
    let mut reader = ground.consumer();
    let mut find = |millis| reader.offsets_for_times(&[(partition.clone(), at(millis))]).expect("asked")[0];
    assert_eq!([0, 10, 11, 30, 31, 40, 41].map(&mut find), [Some(0), Some(0), Some(1), Some(1), Some(4), Some(4), None]);
    ground.admin().delete_records(&[(partition.clone(), 2)]).expect("deleted");
    assert_eq!(find(0), Some(2), "what is deleted is not found");
}

pub(crate) fn a_visitor_may_write(ground: &Ground) {
    let partition = &ground.topic("t", 1)[0];
    ground.write(partition, &["a", "b"]);
    let mut reader = ground.consumer();
    let mut producer = ground.producer();
    reader.assign(&[(partition.clone(), 0)]).expect("there");
    while reader.position(partition).expect("assigned") < 2 {
        reader.poll(PATIENCE).expect("polled");
        let visit = &mut |record: RawRecord<'_>| {
            let copy = value_at("copy", record.timestamp, record.headers);
            producer.send(partition, &[copy]).expect("taken");
        };
        reader.fetch(partition, FetchLimit::default(), visit).expect("fetched");
    }
    assert_eq!(producer.flush(PATIENCE).acked, [(partition.clone(), 3)]);
    assert!(reader.poll(PATIENCE).expect("polled"));
    assert_eq!(read_to_end(&mut *reader, partition).expect("read").0, numbered(&[(2, "copy"), (3, "copy")]));
}
