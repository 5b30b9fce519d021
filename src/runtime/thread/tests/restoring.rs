//! Tasks whose stores take a while, beside tasks that run.

use super::rig::Rig;
use super::*;
use crate::kafka::{Outgoing, Position};

const MANY: i64 = 35_000;

/// Counters of many words, as an earlier life left them in the changelog of a partition.
fn past(rig: &Rig, partition: i32) {
    let (headers, one) = (Headers::default(), 1_i64.to_be_bytes());
    let keys: Vec<String> = (0..MANY).map(|n| format!("word {n}")).collect();
    let records: Vec<_> = keys
        .iter()
        .map(|key| Outgoing { key: Some(key.as_bytes()), value: Some(&one), timestamp: Timestamp::from_millis(1), headers: &headers })
        .collect();
    rig.log.producer().unwrap().send(&TopicPartition::new("app-counts-changelog", partition), &records).unwrap();
    let position = Position { offset: 0, metadata: String::new() };
    let mut earlier = rig.log.member("app", "earlier", Isolation::ReadCommitted).unwrap();
    earlier.commit(&earlier.token(), &[(TopicPartition::new("left", partition), position)]).unwrap();
}

fn state(rig: &Rig, thread: usize, task: &str) -> Option<TaskState> {
    rig.threads[thread].tasks.iter().find(|(id, _)| id.to_string() == task).map(|(_, active)| active.state)
}

fn guarantees() -> [Rig; 2] {
    [Rig::new(counting(), 2), Rig::new(counting(), 2).exactly_once()]
}

#[test]
fn a_task_runs_and_commits_while_another_one_is_restored() {
    for mut rig in guarantees() {
        past(&rig, 1);
        rig.write("left", 0, Some("a"), "x", 1);
        rig.join();
        rig.round();
        rig.round();
        rig.clock.advance(Duration::from_millis(200));
        rig.round();
        assert_eq!((state(&rig, 0, "0_0"), state(&rig, 0, "0_1")), (Some(TaskState::Running), Some(TaskState::Restoring)));
        assert_eq!(rig.committed("left", 0).map(|(offset, _)| offset), Some(1));
        let progress = rig.board.facts().restoring.values().next().cloned().unwrap();
        assert!(progress.task.to_string() == "0_1" && (1..MANY).contains(&progress.position) && progress.end == MANY, "{progress:?}");
        rig.write("left", 1, Some("word 7"), "x", 1);
        rig.settle();
        rig.commit();
        assert_eq!((rig.count("a"), rig.count("word 7"), rig.count("word 34999")), (Some(1), Some(2), Some(1)));
        assert!(rig.board.facts().restoring.is_empty());
    }
}

#[test]
fn a_task_that_is_asked_for_while_it_is_restored_is_given_up_and_restored_elsewhere() {
    for mut rig in guarantees() {
        past(&rig, 0);
        past(&rig, 1);
        rig.write("left", 1, Some("word 7"), "x", 1);
        rig.join();
        rig.round();
        rig.round();
        assert_eq!((state(&rig, 0, "0_0"), state(&rig, 0, "0_1")), (Some(TaskState::Restoring), Some(TaskState::Restoring)));
        rig.join();
        rig.round();
        assert_eq!(rig.board.facts().restoring.len(), 1, "nobody restores what is given up");
        rig.settle();
        rig.commit();
        assert_eq!((rig.owned(0), rig.owned(1)), (vec!["0_0".to_owned()], vec!["0_1".to_owned()]));
        assert_eq!((rig.count("word 7"), rig.count("word 34999")), (Some(3), Some(2)), "complete in both");
    }
}

#[test]
fn a_changelog_that_cannot_be_read_stops_its_task_and_no_other() {
    let mut rig = Rig::new(counting(), 2);
    rig.log.admin().unwrap().delete_topics(&["app-counts-changelog"]).unwrap();
    rig.log.admin().unwrap().create_topics(&[crate::kafka::NewTopic::new("app-counts-changelog", 1)]).unwrap();
    rig.join();
    rig.settle();
    assert_eq!(state(&rig, 0, "0_1"), Some(TaskState::Failed), "its changelog has no such partition");
    assert_eq!(state(&rig, 0, "0_0"), Some(TaskState::Running));
}
