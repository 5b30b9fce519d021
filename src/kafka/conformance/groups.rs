//! Checks of groups: B10, B11, B12, B27, B35.

use std::time::Duration;

use super::{Ground, PATIENCE, STEP, STEPS, numbered, read_to_end};
use crate::kafka::{Group, GroupEvent, Isolation, LogError, Position, TaskInputs};
use crate::record::{TaskId, TopicPartition};

/// Writes positions down, at the latest when the group has settled.
pub(super) fn commit(member: &mut dyn Group, positions: &[(TopicPartition, Position)]) -> Result<(), LogError> {
    for _ in 0..PATIENCE.as_millis() / 10 {
        match member.commit(&member.token(), positions) {
            Err(LogError::GroupUnsettled(_)) => member.poll(Duration::from_millis(10))?,
            done => return done,
        };
    }
    member.commit(&member.token(), positions)
}

/// The positions of a group, asked for again while they are not known: a member that is only joining may not get them in time.
pub(super) fn committed(member: &mut dyn Group, partitions: &[TopicPartition]) -> Vec<Option<Position>> {
    for _ in 0..PATIENCE.as_millis() / 10 {
        match member.committed(partitions) {
            Err(LogError::PositionUndecided { .. }) => member.poll(Duration::from_millis(10)).expect("polled"),
            found => return found.expect("asked"),
        };
    }
    member.committed(partitions).expect("asked")
}

pub(super) fn member(ground: &Ground, name: &str) -> Box<dyn Group> {
    ground.log.member(&ground.name("g"), name, Isolation::ReadCommitted).expect("a member")
}

/// Makes a topic and one task for each of its partitions.
pub(super) fn tasks(ground: &Ground, partitions: i32) -> Vec<TaskInputs> {
    let task = |partition: TopicPartition| TaskInputs {
        task: TaskId { subtopology: 0, partition: partition.partition },
        partitions: vec![partition],
    };
    ground.topic("t", partitions).into_iter().map(task).collect()
}

fn ids(tasks: &[TaskInputs]) -> Vec<TaskId> {
    tasks.iter().map(|inputs| inputs.task).collect()
}

/// Polls `member`, and the others between whiles, until it has an event.
pub(super) fn event(member: &mut dyn Group, others: &mut [&mut dyn Group]) -> GroupEvent {
    for _ in 0..STEPS {
        for other in others.iter_mut() {
            other.poll(Duration::ZERO).expect("polled");
        }
        if let Some(event) = member.next_event() {
            return event;
        }
        member.poll(STEP).expect("polled");
    }
    panic!("no event came");
}

/// What a member is given, in one event or in several, until it is so many tasks.
fn given(member: &mut dyn Group, others: &mut [&mut dyn Group], count: usize) -> Vec<TaskId> {
    let mut all = Vec::new();
    while all.len() < count {
        let GroupEvent::Assigned(tasks) = event(member, others) else { panic!("nothing is to be given up") };
        all.extend(tasks);
    }
    all.sort_unstable();
    all
}

pub(super) fn at(offset: i64) -> Position {
    Position { offset, metadata: format!("clock {offset}") }
}

pub(crate) fn a_position_is_kept_with_its_metadata(ground: &Ground) {
    let tasks = tasks(ground, 2);
    let (first, second) = (&tasks[0].partitions[0], &tasks[1].partitions[0]);
    ground.write(first, &["a", "b", "c"]);
    let mut writer = member(ground, "m");
    writer.join(&tasks).expect("joined");
    event(&mut *writer, &mut []);
    commit(&mut *writer, &[(first.clone(), at(1)), (second.clone(), at(0))]).expect("committed");
    commit(&mut *writer, &[(first.clone(), at(2))]).expect("committed");
    drop(writer);
    let mut reader = member(ground, "m");
    let asked = [first.clone(), second.clone(), TopicPartition::new(ground.name("other"), 0)];
    assert_eq!(committed(&mut *reader, &asked), [Some(at(2)), Some(at(0)), None]);
    reader.assign(&[(first.clone(), 2)]).expect("there");
    assert_eq!(read_to_end(&mut *reader, first).expect("read").0, numbered(&[(2, "c")]), "in the middle of a batch");
}

pub(crate) fn the_first_member_gets_everything(ground: &Ground) {
    let tasks = tasks(ground, 3);
    let mut alone = member(ground, "m");
    assert!(alone.next_event().is_none(), "before it joins there is nothing to tell");
    assert!(matches!(alone.release(&ids(&tasks)), Err(LogError::NotAMember(_))));
    alone.join(&tasks).expect("joined");
    assert!(alone.poll(PATIENCE).expect("polled"), "an event ends a poll");
    assert_eq!(event(&mut *alone, &mut []), GroupEvent::Assigned(ids(&tasks)));
    assert!(alone.next_event().is_none() && alone.assignment().is_empty(), "it reads nothing by itself");
}

/// Two members that share four tasks.
fn two(ground: &Ground, tasks: &[TaskInputs]) -> (Box<dyn Group>, Box<dyn Group>, Vec<TaskId>) {
    let (mut old, mut new) = (member(ground, "old"), member(ground, "new"));
    old.join(tasks).expect("joined");
    event(&mut *old, &mut []);
    new.join(tasks).expect("joined");
    let GroupEvent::RevocationRequested(asked) = event(&mut *old, &mut [&mut *new]) else { panic!("half of the tasks are to move") };
    (old, new, asked)
}

pub(crate) fn a_second_member_gets_half_after_a_release(ground: &Ground) {
    let tasks = tasks(ground, 4);
    let (mut old, mut new, asked) = two(ground, &tasks);
    assert_eq!(asked.len(), 2);
    assert!(new.next_event().is_none(), "not before they are released");
    let moved = &tasks.iter().find(|inputs| inputs.task == asked[0]).expect("one of ours").partitions[0];
    commit(&mut *old, &[(moved.clone(), at(7))]).expect("a commit while asked");
    old.release(&asked).expect("released");
    assert_eq!(event(&mut *new, &mut [&mut *old]), GroupEvent::Assigned(asked));
    assert_eq!(committed(&mut *new, std::slice::from_ref(moved)), [Some(at(7))]);
    assert!(old.next_event().is_none(), "it keeps the rest untold");
}

pub(crate) fn who_leaves_gives_back_everything(ground: &Ground) {
    let tasks = tasks(ground, 4);
    let (mut old, mut new, asked) = two(ground, &tasks);
    old.release(&asked).expect("released");
    event(&mut *new, &mut [&mut *old]);
    old.leave();
    let rest = given(&mut *new, &mut [], 2);
    assert_eq!([asked, rest].concat().len(), 4);
    assert!(old.next_event().is_none());
}

pub(crate) fn who_is_dropped_has_left(ground: &Ground) {
    let tasks = tasks(ground, 2);
    let (old, mut new, _) = two(ground, &tasks);
    drop(old);
    assert_eq!(given(&mut *new, &mut [], 2), ids(&tasks));
}

pub(crate) fn a_stale_token_is_refused(ground: &Ground) {
    let tasks = tasks(ground, 2);
    let partition = &tasks[0].partitions[0];
    let (mut old, mut new, asked) = two(ground, &tasks);
    let before = old.token();
    old.release(&asked).expect("released");
    let refused = old.commit(&before, &[(partition.clone(), at(9))]);
    assert!(matches!(&refused, Err(LogError::Fenced { token, .. }) if *token == before), "{refused:?}");
    event(&mut *new, &mut [&mut *old]);
    let gone = old.token();
    old.leave();
    let refused = old.commit(&gone, &[(partition.clone(), at(9))]);
    assert!(matches!(refused, Err(LogError::Fenced { .. })), "{refused:?}");
    assert_eq!(committed(&mut *new, std::slice::from_ref(partition)), [None], "nothing was written");
}

pub(crate) fn a_stranger_commits_only_to_an_empty_group(ground: &Ground) {
    let tasks = tasks(ground, 1);
    let partition = &tasks[0].partitions[0];
    let mut stranger = member(ground, "tool");
    commit(&mut *stranger, &[(partition.clone(), at(1))]).expect("nobody is there");
    let mut owner = member(ground, "m");
    owner.join(&tasks).expect("joined");
    event(&mut *owner, &mut []);
    assert!(matches!(stranger.commit(&stranger.token(), &[(partition.clone(), at(2))]), Err(LogError::Fenced { .. })));
    assert_eq!(committed(&mut *owner, std::slice::from_ref(partition)), [Some(at(1))]);
}

pub(crate) fn metadata_has_a_limit(ground: &Ground) {
    let tasks = tasks(ground, 1);
    let partition = &tasks[0].partitions[0];
    let mut writer = member(ground, "m");
    writer.join(&tasks).expect("joined");
    event(&mut *writer, &mut []);
    let long = |bytes| Position { offset: 1, metadata: "x".repeat(bytes) };
    commit(&mut *writer, &[(partition.clone(), long(4096))]).expect("committed");
    let refused = writer.commit(&writer.token(), &[(partition.clone(), long(4097))]);
    assert!(matches!(refused, Err(LogError::MetadataTooLarge { bytes: 4097, limit: 4096, .. })), "{refused:?}");
    let nowhere = TopicPartition::new(ground.name("nowhere"), 0);
    assert!(matches!(commit(&mut *writer, &[(nowhere, at(0))]), Err(LogError::UnknownTopic(_))));
}

pub(crate) fn members_must_agree_about_the_tasks(ground: &Ground) {
    let tasks = tasks(ground, 2);
    let (mut first, mut second) = (member(ground, "m"), member(ground, "n"));
    first.join(&tasks).expect("joined");
    // On a cluster it is not in before it hears so, and until then both would find an empty group.
    assert_eq!(event(&mut *first, &mut []), GroupEvent::Assigned(ids(&tasks)));
    assert!(matches!(second.join(&tasks[..1]), Err(LogError::InconsistentTasks(_))));
    first.leave();
    second.join(&tasks[..1]).expect("an empty group may change its tasks");
    assert_eq!(event(&mut *second, &mut []), GroupEvent::Assigned(ids(&tasks[..1])));
}
