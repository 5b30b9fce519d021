//! Checks of membership over time: B11 to B15, B27.

use std::time::Duration;

use super::groups::{at, event, tasks};
use super::{Ground, PATIENCE};
use crate::kafka::{Group, GroupEvent, LogError, MemberOptions, TaskInputs};
use crate::record::TaskId;

/// The shortest session that a broker for tests takes.
const SHORT: Duration = Duration::from_secs(1);
const LONG: Duration = Duration::from_secs(45);

fn join(ground: &Ground, name: &str, instance: Option<&str>, session_timeout: Duration, tasks: &[TaskInputs]) -> Box<dyn Group> {
    let instance = instance.map(str::to_owned);
    let options = MemberOptions { instance, session_timeout, ..MemberOptions::new(ground.name("g"), name) };
    let mut member = ground.log.member_with(options).expect("a member");
    member.join(tasks).expect("joined");
    member
}

/// A member with what it owns.
struct Owner {
    member: Box<dyn Group>,
    owns: Vec<TaskId>,
}

impl Owner {
    fn new(member: Box<dyn Group>) -> Self {
        Owner { member, owns: Vec::new() }
    }

    /// Does what it is told, if it is told something; true if it was.
    fn follow(&mut self) -> bool {
        self.member.poll(PATIENCE / 1000).expect("polled");
        let Some(event) = self.member.next_event() else { return false };
        match event {
            GroupEvent::Assigned(tasks) => self.owns.extend(tasks),
            GroupEvent::RevocationRequested(tasks) => {
                self.owns.retain(|task| !tasks.contains(task));
                self.member.release(&tasks).expect("released");
            }
            GroupEvent::Lost(tasks) => panic!("{tasks:?} were lost"),
        }
        self.owns.sort();
        true
    }
}

/// All do what they are told until each has as much as expected and nobody is told anything more.
fn settle(owners: &mut [Owner], expected: &[usize]) {
    let mut quiet = 0;
    for _ in 0..1000 {
        let told = owners.iter_mut().map(Owner::follow).fold(false, |any, told| any | told);
        let there = owners.iter().map(|owner| owner.owns.len()).eq(expected.iter().copied());
        quiet = if there && !told { quiet + 1 } else { 0 };
        if quiet == 3 {
            return;
        }
    }
    panic!("expected {expected:?}: {:?}", owners.iter().map(|owner| &owner.owns).collect::<Vec<_>>());
}

pub(crate) fn members_come_and_go_and_only_what_must_move_moves(ground: &Ground) {
    let tasks = tasks(ground, 6);
    let mut owners: Vec<_> = ["a", "b"].iter().map(|name| Owner::new(join(ground, name, None, LONG, &tasks))).collect();
    settle(&mut owners, &[3, 3]);
    let before: Vec<_> = owners.iter().map(|owner| owner.owns.clone()).collect();
    owners.push(Owner::new(join(ground, "c", None, LONG, &tasks)));
    settle(&mut owners, &[2, 2, 2]);
    for (owner, before) in owners.iter().zip(before) {
        assert!(owner.owns.iter().all(|task| before.contains(task)), "{:?} were {before:?}", owner.owns);
    }
    let before = owners[0].owns.clone();
    owners.remove(1).member.leave();
    settle(&mut owners, &[3, 3]);
    assert!(before.iter().all(|task| owners[0].owns.contains(task)), "who stays keeps everything");
}

pub(crate) fn who_keeps_its_tasks_goes_on_committing_through_a_rebalance(ground: &Ground) {
    let tasks = tasks(ground, 3);
    let mut owners: Vec<_> = ["a", "b"].iter().map(|name| Owner::new(join(ground, name, None, LONG, &tasks))).collect();
    settle_any(&mut owners, 3);
    let keeps = owners.iter().position(|owner| owner.owns.len() == 1).expect("three among two");
    let input = tasks.iter().find(|inputs| inputs.task == owners[keeps].owns[0]).expect("ours").partitions[0].clone();
    let mut offset = 0;
    let mut commit = |owner: &mut Owner| {
        offset += 1;
        let token = owner.member.token();
        owner.member.commit(&token, &[(input.clone(), at(offset))]).expect("committed");
        assert_eq!(owner.member.committed(std::slice::from_ref(&input)).expect("asked"), [Some(at(offset))]);
    };
    commit(&mut owners[keeps]);
    owners.push(Owner::new(join(ground, "c", None, LONG, &tasks)));
    for _ in 0..1000 {
        for n in 0..owners.len() {
            owners[n].follow();
            commit(&mut owners[keeps]);
        }
        if owners[2].owns.len() == 1 {
            return;
        }
    }
    panic!("the third one got nothing");
}

fn settle_any(owners: &mut [Owner], total: usize) {
    for _ in 0..1000 {
        for owner in owners.iter_mut() {
            owner.follow();
        }
        if owners.iter().map(|owner| owner.owns.len()).sum::<usize>() == total && owners.iter().all(|owner| !owner.owns.is_empty()) {
            return;
        }
    }
    panic!("{total} tasks were not shared out");
}

pub(crate) fn a_silent_members_tasks_are_taken_over(ground: &Ground) {
    let tasks = tasks(ground, 4);
    let mut owners: Vec<_> = ["lives", "falls silent"].iter().map(|name| Owner::new(join(ground, name, None, SHORT, &tasks))).collect();
    settle(&mut owners, &[2, 2]);
    let Owner { member: mut silent, owns: lost } = owners.remove(1);
    let token = silent.token();
    settle(&mut owners, &[4]);
    let input = &tasks[0].partitions[0];
    let refused = silent.commit(&token, &[(input.clone(), at(9))]);
    assert!(matches!(refused, Err(LogError::Fenced { .. })), "{refused:?}");
    assert_eq!(owners[0].member.committed(std::slice::from_ref(input)).expect("asked"), [None]);
    assert_eq!(event(&mut *silent, &mut [&mut *owners[0].member]), GroupEvent::Lost(lost), "it is told when it comes back");
    silent.join(&tasks).expect("and may come in again");
    owners.push(Owner::new(silent));
    settle(&mut owners, &[2, 2]);
}

pub(crate) fn a_second_holder_of_a_name_fences_the_first(ground: &Ground) {
    let tasks = tasks(ground, 2);
    let mut owners = vec![Owner::new(join(ground, "m", Some("one"), LONG, &tasks))];
    settle(&mut owners, &[2]);
    let mut first = owners.remove(0);
    owners.push(Owner::new(join(ground, "m", Some("one"), LONG, &tasks)));
    settle(&mut owners, &[2]);
    let token = first.member.token();
    let refused = first.member.commit(&token, &[(tasks[0].partitions[0].clone(), at(9))]);
    assert!(matches!(refused, Err(LogError::Fenced { .. })), "{refused:?}");
    assert_eq!(event(&mut *first.member, &mut [&mut *owners[0].member]), GroupEvent::Lost(first.owns), "it is told");
    let shown = ground.admin().describe_group(&ground.name("g")).expect("there").members;
    assert_eq!(shown.iter().map(|member| member.instance.as_deref()).collect::<Vec<_>>(), [Some("one")]);
}

pub(crate) fn a_rolling_restart_of_named_members_moves_nothing(ground: &Ground) {
    let tasks = tasks(ground, 6);
    let names = ["one", "two", "three"];
    let mut owners: Vec<_> = names.iter().map(|name| Owner::new(join(ground, name, Some(name), LONG, &tasks))).collect();
    settle(&mut owners, &[2, 2, 2]);
    let before: Vec<_> = owners.iter().map(|owner| owner.owns.clone()).collect();
    for n in 0..names.len() {
        let mut stopped = std::mem::replace(&mut owners[n], Owner::new(join_nobody(ground)));
        stopped.member.leave();
        drop(stopped);
        for (other, owner) in owners.iter_mut().enumerate().filter(|(other, _)| *other != n) {
            assert!(!owner.follow(), "{} is told of it when {} stops", names[other], names[n]);
        }
        owners[n] = Owner::new(join(ground, names[n], Some(names[n]), LONG, &tasks));
        settle(&mut owners, &[2, 2, 2]);
        assert_eq!(owners.iter().map(|owner| owner.owns.clone()).collect::<Vec<_>>(), before, "after the restart of {}", names[n]);
    }
}

/// Keeps a place in a list.
fn join_nobody(ground: &Ground) -> Box<dyn Group> {
    ground.log.member_with(MemberOptions::new(ground.name("g"), "nobody")).expect("a member that never joins")
}
