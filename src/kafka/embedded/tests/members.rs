//! Members of groups on the log in memory that die, and members that come again under a lasting name.

use std::sync::Arc;
use std::time::Duration;

use super::{assigned, log_with, tasks};
use crate::clock::ManualClock;
use crate::kafka::{Connect, Group, GroupEvent, LogError, MemberOptions, MemoryLog, NewTopic, Position, TaskInputs};
use crate::record::{TaskId, Timestamp, TopicPartition};

const SESSION: Duration = Duration::from_secs(6);

fn timed_log(partitions: i32) -> (MemoryLog, ManualClock, Vec<TaskInputs>) {
    let clock = ManualClock::at(Timestamp::from_millis(1_000));
    let log = MemoryLog::new(Arc::new(clock.clone()));
    log.admin().expect("admin").create_topics(&[NewTopic::new("t", partitions)]).expect("a new topic");
    let partitions: Vec<_> = (0..partitions).map(|n| TopicPartition::new("t", n)).collect();
    (log, clock, tasks(&partitions))
}

fn join(log: &MemoryLog, name: &str, instance: Option<&str>, tasks: &[TaskInputs]) -> Box<dyn Group> {
    let instance = instance.map(str::to_owned);
    let options = MemberOptions { instance, session_timeout: SESSION, ..MemberOptions::new("g", name) };
    let mut member = log.member_with(options).expect("a member");
    member.join(tasks).expect("joined");
    member
}

fn poll(member: &mut dyn Group) {
    member.poll(Duration::ZERO).expect("polled");
}

fn ids(partitions: &[i32]) -> Vec<TaskId> {
    partitions.iter().map(|&partition| TaskId { subtopology: 0, partition }).collect()
}

fn commit(member: &mut dyn Group, tasks: &[TaskInputs]) -> Result<(), LogError> {
    member.commit(&member.token(), &[(tasks[0].partitions[0].clone(), Position { offset: 1, metadata: String::new() })])
}

/// Two members with two tasks each: 0 and 1, 2 and 3.
fn pair(log: &MemoryLog, instances: [Option<&str>; 2], tasks: &[TaskInputs]) -> [Box<dyn Group>; 2] {
    let mut pair = [join(log, "a", instances[0], tasks), join(log, "b", instances[1], tasks)];
    assert_eq!((assigned(&mut *pair[0]), assigned(&mut *pair[1])), (vec![0, 1], vec![2, 3]));
    pair
}

#[test]
fn a_silent_members_tasks_go_to_the_others_when_its_session_is_over() {
    let (log, clock, tasks) = timed_log(4);
    let [mut lives, mut silent] = pair(&log, [None, None], &tasks);
    let step = SESSION / 2;
    clock.advance(step);
    poll(&mut *lives);
    clock.advance(step - Duration::from_millis(1));
    poll(&mut *lives);
    assert_eq!(lives.next_event(), None, "not a moment too early");
    clock.advance(Duration::from_millis(1));
    poll(&mut *lives);
    assert_eq!(assigned(&mut *lives), [2, 3]);
    assert!(matches!(commit(&mut *silent, &tasks), Err(LogError::Fenced { .. })));
    assert!(silent.poll(Duration::ZERO).expect("polled"), "it is told when it comes back");
    assert_eq!(silent.next_event(), Some(GroupEvent::Lost(ids(&[2, 3]))));
    silent.join(&tasks).expect("it may come again");
    assert_eq!(lives.next_event(), Some(GroupEvent::RevocationRequested(ids(&[2, 3]))));
}

#[test]
fn a_poll_is_a_sign_of_life_and_a_commit_is_none() {
    let (log, clock, tasks) = timed_log(4);
    let [mut polls, mut commits] = pair(&log, [None, None], &tasks);
    let committed = [(); 2].map(|()| {
        clock.advance(SESSION / 2);
        poll(&mut *polls);
        commit(&mut *commits, &tasks)
    });
    let [Ok(()), Err(LogError::Fenced { .. })] = committed else { panic!("silent for too long, whatever it commits: {committed:?}") };
    commit(&mut *polls, &tasks).expect("committed");
    let (log, clock, tasks) = timed_log(4);
    let [mut late, _] = pair(&log, [None, None], &tasks);
    clock.advance(2 * SESSION);
    poll(&mut *late);
    assert_eq!(assigned(&mut *late), [2, 3], "who comes late before anybody has noticed is in still");
}

#[test]
fn an_instance_that_comes_back_in_time_gets_its_own_tasks_and_moves_nothing() {
    let (log, clock, tasks) = timed_log(4);
    let [mut stays, mut restarts] = pair(&log, [Some("one"), Some("two")], &tasks);
    let generation = stays.token().generation;
    restarts.leave();
    drop(restarts);
    clock.advance(SESSION / 2);
    poll(&mut *stays);
    assert_eq!(stays.next_event(), None, "its place is kept");
    let mut back = join(&log, "b", Some("two"), &tasks);
    assert_eq!(assigned(&mut *back), [2, 3]);
    poll(&mut *stays);
    assert_eq!((stays.next_event(), stays.token().generation), (None, generation), "nobody else has noticed");
    commit(&mut *back, &tasks).expect("committed");
    commit(&mut *stays, &tasks).expect("committed");
    clock.advance(SESSION / 2);
    poll(&mut *stays);
    assert_eq!(stays.next_event(), None, "its session has begun anew");
}

#[test]
fn an_instance_that_stays_away_loses_its_tasks() {
    let (log, clock, tasks) = timed_log(4);
    let [mut stays, restarts] = pair(&log, [Some("one"), Some("two")], &tasks);
    drop(restarts);
    clock.advance(SESSION / 2);
    poll(&mut *stays);
    clock.advance(SESSION / 2);
    poll(&mut *stays);
    assert_eq!(assigned(&mut *stays), [2, 3]);
}

#[test]
fn the_second_holder_of_a_name_fences_the_first() {
    let (log, _, tasks) = timed_log(4);
    let [mut first, mut other] = pair(&log, [Some("one"), None], &tasks);
    let mut second = join(&log, "a", Some("one"), &tasks);
    assert!(matches!(commit(&mut *first, &tasks), Err(LogError::Fenced { .. })));
    assert!(first.poll(Duration::ZERO).expect("polled"));
    assert_eq!(first.next_event(), Some(GroupEvent::Lost(ids(&[0, 1]))), "it is told");
    assert!(matches!(first.release(&ids(&[0])), Err(LogError::NotAMember(_))));
    assert_eq!(assigned(&mut *second), [0, 1]);
    drop(first);
    poll(&mut *other);
    assert_eq!((other.next_event(), second.next_event()), (None, None), "the first one's end changes nothing");
    commit(&mut *second, &tasks).expect("committed");
}

#[test]
fn what_an_instance_was_asked_for_moves_when_it_comes_again() {
    let (log, _, tasks) = timed_log(4);
    let mut first = join(&log, "a", Some("one"), &tasks);
    assert_eq!(assigned(&mut *first), [0, 1, 2, 3]);
    let mut other = join(&log, "b", None, &tasks);
    let Some(GroupEvent::RevocationRequested(asked)) = first.next_event() else { panic!("half of the tasks are to move") };
    assert_eq!(other.next_event(), None);
    drop(first);
    let mut second = join(&log, "a", Some("one"), &tasks);
    assert_eq!(other.next_event(), Some(GroupEvent::Assigned(asked)), "nobody holds them any more");
    assert_eq!(assigned(&mut *second).len(), 2);
    commit(&mut *second, &tasks).expect("committed");
}

#[test]
fn a_member_without_a_name_leaves_when_it_is_dropped() {
    let (log, partitions) = log_with(2);
    let tasks = tasks(&partitions);
    drop(join(&log, "a", None, &tasks));
    assert_eq!(assigned(&mut *join(&log, "b", None, &tasks)), [0, 1]);
}
