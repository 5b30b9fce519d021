//! Groups on a real broker: the checks of the port, for both ways in which a group can be run, and what only a broker can show.
//!
//! One check of the port is not here, `positions_of_a_stale_token_spoil_the_transaction`: it gives up a task that nobody asked for, which moves no
//! group on a cluster. What it is about is shown with a rebalance that happens.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::kafka::conformance::{self, Ground};
use crate::kafka::librdkafka::{KafkaConfig, KafkaLog};
use crate::kafka::{Connect, Group, GroupEvent, LogError, MemberOptions, NewTopic, Position, TaskInputs};
use crate::record::{TaskId, TopicPartition};

/// How long anything may take that is expected.
const PATIENCE: Duration = Duration::from_secs(60);

/// The cluster of this run with settings of a test; none, after a loud line, where there is no broker and none can be started.
fn cluster(settings: &[(&str, &str)]) -> Option<Arc<dyn Connect>> {
    let config = KafkaConfig::new(crate::kafka::librdkafka::tests::bootstrap()?);
    let config = settings.iter().fold(config, |config, (key, value)| config.with(*key, *value));
    Some(Arc::new(KafkaLog::new(config)))
}

/// Groups whose sessions and shares are the broker's (KIP-848).
const BY_BROKER: &[(&str, &str)] = &[("group.protocol", "consumer")];

macro_rules! on_a_broker {
    ($room:ident $settings:expr; $($check:ident)+) => {
        mod $room {
            use super::*;
            $(#[test] fn $check() {
                if let Some(log) = cluster($settings) {
                    conformance::$check(&Ground::new(log, concat!(stringify!($room), ".", stringify!($check))));
                }
            })+
        }
    };
}

on_a_broker!(among_members &[];
    the_first_member_gets_everything a_second_member_gets_half_after_a_release who_leaves_gives_back_everything who_is_dropped_has_left
    a_stale_token_is_refused a_stranger_commits_only_to_an_empty_group metadata_has_a_limit members_must_agree_about_the_tasks
    groups_are_listed_and_described a_position_is_kept_with_its_metadata positions_appear_with_the_commit
    positions_sent_before_a_rebalance_are_committed_after_it a_zombie_can_neither_write_nor_commit_positions);

on_a_broker!(by_broker BY_BROKER;
    the_first_member_gets_everything a_second_member_gets_half_after_a_release who_leaves_gives_back_everything who_is_dropped_has_left
    a_stale_token_is_refused a_stranger_commits_only_to_an_empty_group metadata_has_a_limit members_must_agree_about_the_tasks
    groups_are_listed_and_described a_position_is_kept_with_its_metadata positions_appear_with_the_commit
    positions_sent_before_a_rebalance_are_committed_after_it a_zombie_can_neither_write_nor_commit_positions);

/// A group of its own with some tasks.
struct Scene {
    log: Arc<dyn Connect>,
    group: String,
    tasks: Vec<TaskInputs>,
}

impl Scene {
    fn new(log: Arc<dyn Connect>, name: &str, count: i32) -> Self {
        let nanos = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_nanos();
        let group = format!("member.{name}.{nanos:x}");
        let input = format!("{group}.in");
        log.admin().expect("an administrator").create_topics(&[NewTopic::new(&*input, count)]).expect("made");
        let task = |partition| TaskInputs {
            task: TaskId { subtopology: 0, partition },
            partitions: vec![TopicPartition::new(&*input, partition)],
        };
        Scene { log, group, tasks: (0..count).map(task).collect() }
    }

    fn member(&self, options: impl Fn(MemberOptions) -> MemberOptions) -> Box<dyn Group> {
        let mut member = self.log.member_with(options(MemberOptions::new(&*self.group, "m"))).expect("a member");
        member.join(&self.tasks).expect("joined");
        member
    }

    fn commit(&self, member: &mut dyn Group, offset: i64) -> Result<(), LogError> {
        let position = [(self.tasks[0].partitions[0].clone(), Position { offset, metadata: String::new() })];
        let begun = Instant::now();
        loop {
            match member.commit(&member.token(), &position) {
                Err(LogError::GroupUnsettled(_)) if begun.elapsed() < PATIENCE => {
                    member.poll(Duration::from_millis(10))?;
                }
                done => return done,
            }
        }
    }
}

/// Polls all until one of them has an event, which comes with its number.
fn event(members: &mut [&mut dyn Group]) -> (usize, GroupEvent) {
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        for (number, member) in members.iter_mut().enumerate() {
            member.poll(Duration::from_millis(10)).expect("polled");
            if let Some(event) = member.next_event() {
                return (number, event);
            }
        }
    }
    panic!("no event came");
}

fn count(event: &GroupEvent) -> usize {
    match event {
        GroupEvent::Assigned(tasks) | GroupEvent::RevocationRequested(tasks) | GroupEvent::Lost(tasks) => tasks.len(),
    }
}

fn a_held_revocation_keeps_everybody_in(log: Arc<dyn Connect>, name: &str) {
    let scene = Scene::new(log, name, 4);
    let (mut old, mut new) = (scene.member(|options| options), scene.member(|options| options));
    // Whoever was first has some or all; the other one gets its half when it is released.
    let mut held = None;
    let (mut has, begun) = ([0, 0], Instant::now());
    while has != [2, 2] || held.is_none() {
        assert!(begun.elapsed() < PATIENCE, "{has:?} {held:?}");
        let (number, what) = event(&mut [&mut *old, &mut *new]);
        match what {
            GroupEvent::Assigned(tasks) => has[number] += tasks.len(),
            GroupEvent::RevocationRequested(tasks) if held.is_none() => {
                // Three seconds: longer than a heartbeat, and both go on committing.
                let until = Instant::now() + Duration::from_secs(3);
                while Instant::now() < until {
                    for member in [&mut old, &mut new] {
                        member.poll(Duration::from_millis(50)).expect("polled");
                        assert!(!matches!(member.next_event(), Some(GroupEvent::Lost(_))), "nobody is thrown out");
                    }
                    let holder: &mut dyn Group = if number == 0 { &mut *old } else { &mut *new };
                    scene.commit(holder, 5).expect("still its own");
                }
                let holder: &mut dyn Group = if number == 0 { &mut *old } else { &mut *new };
                holder.release(&tasks).expect("released");
                has[number] -= tasks.len();
                held = Some(number);
            }
            other => panic!("{number}: {other:?} after {has:?}"),
        }
        if held.is_none() && has.iter().sum::<usize>() == 4 && has.contains(&2) {
            return; // They came in together, and nothing had to move.
        }
    }
}

#[test]
fn a_held_revocation_keeps_everybody_in_among_members() {
    if let Some(log) = cluster(&[]) {
        a_held_revocation_keeps_everybody_in(log, "held");
    }
}

#[test]
fn a_held_revocation_keeps_everybody_in_by_broker() {
    if let Some(log) = cluster(BY_BROKER) {
        a_held_revocation_keeps_everybody_in(log, "held-848");
    }
}

/// The one who is silent has the first log, with a short patience; the other one must not be thrown out for a stall of the machine.
fn who_is_silent_loses_everything_and_may_come_back(impatient: Arc<dyn Connect>, log: Arc<dyn Connect>, name: &str) {
    let mut scene = Scene::new(impatient, name, 2);
    let mut silent = scene.member(|options| MemberOptions { session_timeout: Duration::from_secs(3), ..options });
    assert_eq!(count(&event(&mut [&mut *silent]).1), 2);
    scene.commit(&mut *silent, 1).expect("its own");
    let before = silent.token();
    // Longer than it may be silent: others get its tasks.
    scene.log = log;
    let mut other = scene.member(|options| options);
    let mut got = 0;
    while got < 2 {
        let (_, what) = event(&mut [&mut *other]);
        assert!(matches!(what, GroupEvent::Assigned(_)), "{what:?}");
        got += count(&what);
    }
    let position = |offset| (scene.tasks[0].partitions[0].clone(), Position { offset, metadata: String::new() });
    other.commit(&other.token(), &[position(7)]).expect("its own now");
    let refused = silent.commit(&before, &[position(2)]);
    assert!(matches!(refused, Err(LogError::Fenced { .. })), "{refused:?}");
    let (_, what) = event(&mut [&mut *silent]);
    assert!(matches!(&what, GroupEvent::Lost(tasks) if tasks.len() == 2), "{what:?}");
    assert_eq!(other.committed(&[scene.tasks[0].partitions[0].clone()]).expect("asked"), [Some(position(7).1)]);
    silent.join(&scene.tasks).expect("it may come back");
    let mut members: [&mut dyn Group; 2] = [&mut *other, &mut *silent];
    let begun = Instant::now();
    loop {
        assert!(begun.elapsed() < PATIENCE, "it gets nothing back");
        match event(&mut members) {
            (0, GroupEvent::RevocationRequested(tasks)) => members[0].release(&tasks).expect("released"),
            (1, GroupEvent::Assigned(_)) => return,
            // The machine kept it silent once more.
            (1, GroupEvent::Lost(_)) => members[1].join(&scene.tasks).expect("it may come back"),
            (0, GroupEvent::Assigned(_)) => {}
            (number, what) => panic!("{number}: {what:?}"),
        }
    }
}

/// The silent one may be busy for this long.
const IMPATIENT: (&str, &str) = ("max.poll.interval.ms", "4000");

#[test]
fn who_is_silent_loses_everything_among_members() {
    if let (Some(impatient), Some(log)) = (cluster(&[IMPATIENT]), cluster(&[])) {
        who_is_silent_loses_everything_and_may_come_back(impatient, log, "silent");
    }
}

#[test]
fn who_is_silent_loses_everything_by_broker() {
    if let (Some(impatient), Some(log)) = (cluster(&[IMPATIENT, BY_BROKER[0]]), cluster(BY_BROKER)) {
        who_is_silent_loses_everything_and_may_come_back(impatient, log, "silent-848");
    }
}

fn a_token_from_before_a_rebalance_spoils_the_transaction(log: Arc<dyn Connect>, name: &str) {
    let scene = Scene::new(log, name, 4);
    let mut old = scene.member(|options| options);
    assert_eq!(count(&event(&mut [&mut *old]).1), 4);
    let mut new = scene.member(|options| options);
    let (_, asked) = event(&mut [&mut *old, &mut *new]);
    let GroupEvent::RevocationRequested(asked) = asked else { panic!("{asked:?}") };
    let stale = old.token();
    old.release(&asked).expect("released");
    let (number, given) = event(&mut [&mut *old, &mut *new]);
    assert!(number == 1 && matches!(given, GroupEvent::Assigned(_)), "{number}: {given:?}");
    let positions = [(scene.tasks[0].partitions[0].clone(), Position { offset: 3, metadata: String::new() })];
    let mut writer = scene.log.transactional_producer(&format!("{}.x", scene.group), Duration::from_secs(10)).expect("a producer");
    conformance::initialised(&mut *writer);
    writer.begin().expect("begun");
    let refused = writer.send_offsets(&scene.group, &stale, &positions);
    assert!(matches!(&refused, Err(LogError::Outrun { token, .. }) if *token == stale), "{refused:?}");
    writer.abort().expect("aborted");
    let begun = Instant::now();
    loop {
        // The new one may have heard of its tasks before the old one has heard of the generation.
        old.poll(Duration::from_millis(10)).expect("polled");
        writer.begin().expect("and it goes on");
        match writer.send_offsets(&scene.group, &old.token(), &positions) {
            Err(LogError::Outrun { .. }) if begun.elapsed() < PATIENCE => writer.abort().expect("aborted"),
            sent => break sent.expect("its token of now"),
        }
    }
    writer.commit().expect("committed");
}

#[test]
fn a_token_from_before_a_rebalance_spoils_the_transaction_among_members() {
    if let Some(log) = cluster(&[]) {
        a_token_from_before_a_rebalance_spoils_the_transaction(log, "stale");
    }
}

#[test]
fn a_token_from_before_a_rebalance_spoils_the_transaction_by_broker() {
    if let Some(log) = cluster(BY_BROKER) {
        a_token_from_before_a_rebalance_spoils_the_transaction(log, "stale-848");
    }
}

fn a_restart_under_the_same_name_moves_nothing(log: Arc<dyn Connect>, name: &str) {
    let scene = Scene::new(log, name, 4);
    let named = |name: &'static str| move |options| MemberOptions { instance: Some(name.to_owned()), ..options };
    let mut stays = scene.member(named("a"));
    assert_eq!(count(&event(&mut [&mut *stays]).1), 4);
    let mut goes = scene.member(named("b"));
    let (_, asked) = event(&mut [&mut *stays, &mut *goes]);
    let GroupEvent::RevocationRequested(moved) = asked else { panic!("{asked:?}") };
    stays.release(&moved).expect("released");
    let mut has = Vec::new();
    while has.len() < 2 {
        let (number, GroupEvent::Assigned(tasks)) = event(&mut [&mut *stays, &mut *goes]) else { panic!("given") };
        assert_eq!(number, 1);
        has.extend(tasks);
    }
    goes.leave();
    let mut back = scene.member(named("b"));
    let mut again = Vec::new();
    while again.len() < 2 {
        let (number, what) = event(&mut [&mut *stays, &mut *back]);
        let GroupEvent::Assigned(tasks) = what else { panic!("{number}: {what:?}") };
        assert_eq!(number, 1, "{tasks:?}");
        again.extend(tasks);
    }
    has.sort_unstable();
    again.sort_unstable();
    assert_eq!(again, has, "exactly what it had");
    assert!(stays.next_event().is_none(), "the other one hears nothing of it");
}

#[test]
fn a_restart_under_the_same_name_moves_nothing_among_members() {
    if let Some(log) = cluster(&[]) {
        a_restart_under_the_same_name_moves_nothing(log, "named");
    }
}

#[test]
fn a_restart_under_the_same_name_moves_nothing_by_broker() {
    if let Some(log) = cluster(BY_BROKER) {
        a_restart_under_the_same_name_moves_nothing(log, "named-848");
    }
}

#[test]
fn whoever_came_in_with_other_tasks_goes_again() {
    let Some(log) = cluster(&[]) else { return };
    let scene = Scene::new(log, "disagreed", 2);
    let mut first = scene.member(|options| options);
    // Somebody else writes another mark before the first is in: as one who joins at the same moment with other tasks does.
    let mut stranger = scene.log.member_with(MemberOptions::new(&*scene.group, "s")).expect("a member");
    let place = TopicPartition::new(format!("{}-tasks-0", scene.group), 0);
    let mark = Position { offset: 0, metadata: "highwater-tasks-1 0 0_0+1".to_owned() };
    if stranger.commit(&stranger.token(), &[(place, mark)]).is_err() {
        return; // The first was in already.
    }
    let begun = Instant::now();
    let refused = loop {
        assert!(begun.elapsed() < PATIENCE && first.next_event().is_none(), "it must not begin");
        if let Err(error) = first.poll(Duration::from_millis(100)) {
            break error;
        }
    };
    assert!(matches!(refused, LogError::InconsistentTasks(_)), "{refused:?}");
}

#[test]
fn tasks_may_change_while_nobody_is_in() {
    let Some(log) = cluster(&[]) else { return };
    let mut scene = Scene::new(log, "wider", 2);
    let mut first = scene.member(|options| options);
    assert_eq!(count(&event(&mut [&mut *first]).1), 2);
    scene.log.admin().expect("an administrator").create_partitions(&scene.tasks[0].partitions[0].topic, 3).expect("wider");
    let wider = TopicPartition::new(scene.tasks[0].partitions[0].topic.clone(), 2);
    scene.tasks.push(TaskInputs { task: TaskId { subtopology: 0, partition: 2 }, partitions: vec![wider] });
    let mut second = scene.log.member_with(MemberOptions::new(&*scene.group, "m")).expect("a member");
    let refused = second.join(&scene.tasks);
    assert!(matches!(refused, Err(LogError::InconsistentTasks(_))), "{refused:?}");
    first.leave();
    second.join(&scene.tasks).expect("nobody is in");
    assert_eq!(count(&event(&mut [&mut *second]).1), 3);
    second.leave();
    scene.tasks.truncate(1);
    second.join(&scene.tasks).expect("and with fewer");
    assert_eq!(count(&event(&mut [&mut *second]).1), 1);
}
