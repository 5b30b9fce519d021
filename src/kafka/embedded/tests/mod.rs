//! The log in memory against the conformance suite of the ports, and what is its own: expulsion, accounting, threads.

mod files;
mod kills;
mod members;
mod transactions;
mod upkeep;

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::MemoryLog;
use crate::clock::{ManualClock, SystemClock};
use crate::kafka::conformance::port_conformance;
use crate::kafka::{Connect, FetchLimit, Group, GroupEvent, Isolation, LogError, NewTopic, Outgoing, Position, TaskInputs, partition_of};
use crate::record::{Headers, RawRecord, TaskId, Timestamp, TopicPartition};

port_conformance!(Arc::new(MemoryLog::new(Arc::new(SystemClock))));

fn log_with(partitions: i32) -> (MemoryLog, Vec<TopicPartition>) {
    let log = MemoryLog::new(Arc::new(ManualClock::at(Timestamp::from_millis(77))));
    let topic = NewTopic::new("t", partitions).with("message.timestamp.type", "LogAppendTime");
    log.admin().expect("admin").create_topics(&[topic]).expect("a new topic");
    (log, (0..partitions).map(|n| TopicPartition::new("t", n)).collect())
}

fn tasks(partitions: &[TopicPartition]) -> Vec<TaskInputs> {
    let id = |partition| TaskId { subtopology: 0, partition };
    partitions.iter().map(|p| TaskInputs { task: id(p.partition), partitions: vec![p.clone()] }).collect()
}

fn member(log: &MemoryLog, name: &str, tasks: &[TaskInputs]) -> Box<dyn Group> {
    let mut member = log.member("g", name, Isolation::ReadCommitted).expect("a member");
    member.join(tasks).expect("joined");
    member
}

fn assigned(member: &mut dyn Group) -> Vec<i32> {
    match member.next_event() {
        Some(GroupEvent::Assigned(tasks)) => tasks.iter().map(|task| task.partition).collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_expelled_member_learns_what_it_lost() {
    let (log, partitions) = log_with(2);
    let tasks = tasks(&partitions);
    let mut silent = member(&log, "silent", &tasks);
    assert_eq!(assigned(&mut *silent), [0, 1]);
    let mut other = member(&log, "other", &tasks);
    let token = silent.token();
    assert!(log.expel("g", &token.member) && !log.expel("g", &token.member));
    assert_eq!(assigned(&mut *other), [0, 1], "at once");
    let position = Position { offset: 5, metadata: String::new() };
    let late = [(partitions[0].clone(), position)];
    assert!(matches!(silent.commit(&token, &late), Err(LogError::Fenced { .. })));
    assert!(matches!(silent.release(&[tasks[0].task]), Err(LogError::Fenced { .. })));
    assert!(silent.poll(Duration::ZERO).expect("polled"));
    let lost = tasks.iter().map(|inputs| inputs.task).collect();
    assert_eq!(silent.next_event(), Some(GroupEvent::Lost(lost)));
    assert!(matches!(silent.commit(&silent.token(), &late), Err(LogError::Fenced { .. })));
    drop(other);
    assert!(matches!(silent.commit(&silent.token(), &late), Err(LogError::Fenced { .. })), "an empty group knows a stale token too");
    silent.join(&tasks).expect("it may come again");
    assert_eq!(assigned(&mut *silent), [0, 1]);
}

#[test]
fn members_that_start_together_do_not_pass_tasks_around() {
    let (log, partitions) = log_with(4);
    let tasks = tasks(&partitions);
    let mut members: Vec<_> = ["a", "b", "c", "d"].iter().map(|name| member(&log, name, &tasks)).collect();
    let mut owned: Vec<_> = members.iter_mut().flat_map(|member| assigned(&mut **member)).collect();
    owned.sort();
    assert_eq!(owned, [0, 1, 2, 3]);
    assert!(members.iter_mut().all(|member| member.next_event().is_none()), "nobody is asked to give up what it has just been given");
}

#[test]
fn a_request_that_was_not_told_is_taken_back() {
    let (log, partitions) = log_with(2);
    let tasks = tasks(&partitions);
    let mut stays = member(&log, "stays", &tasks);
    assigned(&mut *stays);
    drop(member(&log, "goes", &tasks));
    assert_eq!(stays.next_event(), None, "nothing has changed for it");
    let mut second = member(&log, "second", &tasks);
    assert!(matches!(stays.next_event(), Some(GroupEvent::RevocationRequested(_))));
    second.leave();
    assert_eq!(stays.next_event(), None, "a request once told stands");
    stays.release(&[tasks[1].task]).expect("released");
    assert_eq!(assigned(&mut *stays), [1], "and what is released comes back");
}

#[test]
fn a_commit_during_anothers_join_holds_until_the_member_has_heard_of_it() {
    let (log, partitions) = log_with(2);
    let tasks = tasks(&partitions);
    let mut first = member(&log, "first", &tasks);
    assigned(&mut *first);
    let cut = first.token();
    let _second = member(&log, "second", &tasks);
    let position = [(partitions[0].clone(), Position { offset: 1, metadata: String::new() })];
    first.commit(&cut, &position).expect("it does not know yet");
    first.next_event();
    assert!(matches!(first.commit(&cut, &position), Err(LogError::Fenced { .. })), "now it does");
    first.commit(&first.token(), &position).expect("and has the new generation");
}

#[test]
fn what_is_deleted_is_no_longer_paid_for() {
    let (log, partitions) = log_with(1);
    let headers = Headers::default();
    let record = Outgoing { key: Some(b"key"), value: Some(&[0; 1000]), timestamp: Timestamp::from_millis(1), headers: &headers };
    let mut producer = log.producer().expect("a producer");
    for _ in 0..100 {
        producer.send(&partitions[0], &[record; 10]).expect("taken");
    }
    assert!((1_003_000..1_100_000).contains(&log.bytes()), "{}", log.bytes());
    log.admin().expect("admin").delete_records(&[(partitions[0].clone(), 1000)]).expect("deleted");
    assert_eq!(log.bytes(), 0);
}

#[test]
fn the_append_time_is_the_logs_own_clock() {
    let (log, partitions) = log_with(1);
    let headers = Headers::default();
    let record = Outgoing { key: None, value: None, timestamp: Timestamp::from_millis(1), headers: &headers };
    log.producer().expect("a producer").send(&partitions[0], &[record]).expect("taken");
    let mut reader = log.consumer(Isolation::ReadUncommitted).expect("a consumer");
    reader.assign(&[(partitions[0].clone(), 0)]).expect("there");
    let mut times = Vec::new();
    reader.fetch(&partitions[0], FetchLimit::default(), &mut |record| times.push(record.timestamp.as_millis())).expect("fetched");
    assert_eq!(times, [77]);
}

#[test]
fn threads_write_and_read_at_once_and_nothing_is_lost() {
    let (log, partitions) = log_with(3);
    let (writers, each) = (4, 2000);
    thread::scope(|scope| {
        for writer in 0..writers {
            let (log, partitions) = (log.clone(), partitions.clone());
            scope.spawn(move || {
                let (mut producer, headers) = (log.producer().expect("a producer"), Headers::default());
                for n in 0..each {
                    let key = format!("{writer}/{n:05}");
                    let to = &partitions[partition_of(key.as_bytes(), 3) as usize];
                    let record =
                        Outgoing { key: Some(key.as_bytes()), value: None, timestamp: Timestamp::from_millis(n), headers: &headers };
                    producer.send(to, &[record]).expect("taken");
                }
            });
        }
        let mut reader = log.consumer(Isolation::ReadCommitted).expect("a consumer");
        reader.assign(&partitions.iter().map(|p| (p.clone(), 0)).collect::<Vec<_>>()).expect("there");
        let mut read: Vec<String> = Vec::new();
        while (read.len() as i64) < writers * each {
            assert!(reader.poll(Duration::from_secs(60)).expect("polled"), "a ring was missed");
            for partition in &partitions {
                let limit = FetchLimit { records: 100, ..FetchLimit::default() };
                let visit = &mut |r: RawRecord<'_>| read.push(String::from_utf8_lossy(r.key.expect("a key")).into_owned());
                reader.fetch(partition, limit, visit).expect("fetched");
            }
        }
        read.sort();
        read.dedup();
        assert_eq!(read.len() as i64, writers * each);
    });
}
