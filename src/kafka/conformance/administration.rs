//! Checks of what administrators do: B3, B4, B16, B17, B35.

use super::groups::{at, commit, committed, event, member, tasks};
use super::{Ground, numbered, read_from, try_write, value_at};
use crate::kafka::{Group, LogError, NewTopic, TaskInputs};
use crate::record::{Headers, Timestamp, TopicPartition};

pub(crate) fn a_topic_gets_more_partitions(ground: &Ground) {
    let (admin, old) = (ground.admin(), ground.topic("t", 1).remove(0));
    ground.write(&old, &["a"]);
    admin.create_partitions(&old.topic, 3).expect("two more");
    assert_eq!(admin.describe_topics(&[&old.topic]).expect("there")[0].partitions, 3);
    assert_eq!(ground.producer().partition_count(&old.topic).expect("there"), 3);
    let new = TopicPartition::new(old.topic.clone(), 2);
    ground.write(&new, &["b"]);
    assert_eq!(read_from(ground, &new, 0).expect("read"), numbered(&[(0, "b")]));
    assert_eq!(read_from(ground, &old, 0).expect("read"), numbered(&[(0, "a")]), "the old ones stay as they were");
    for total in [3, 2, 0] {
        let refused = admin.create_partitions(&old.topic, total);
        assert!(matches!(refused, Err(LogError::InvalidPartitions { partitions, .. }) if partitions == total), "{refused:?}");
    }
    assert!(matches!(admin.create_partitions(&ground.name("nowhere"), 2), Err(LogError::UnknownTopic(_))));
}

pub(crate) fn settings_of_a_topic_are_changed_and_taken_back(ground: &Ground) {
    let admin = ground.admin();
    let topic = NewTopic::new(ground.name("t"), 1).with("retention.ms", "5000").with("max.message.bytes", "1000");
    let partition = &ground.topic_with(topic)[0];
    let usual =
        admin.describe_topics(&[&ground.topic_with(NewTopic::new(ground.name("usual"), 1))[0].topic]).expect("there").remove(0).config;
    let config = || admin.describe_topics(&[&partition.topic]).expect("there").remove(0).config;
    admin.alter_topic(&partition.topic, &[("retention.ms", None), ("max.message.bytes", Some("2000"))]).expect("altered");
    assert_eq!([&config()["retention.ms"], &config()["max.message.bytes"]], [&usual["retention.ms"], "2000"]);
    ground.write(partition, &[&"x".repeat(1500)]);
    let refused = admin.alter_topic(&partition.topic, &[("segment.ms", Some("1000")), ("retention.ms", Some("soon"))]);
    assert!(matches!(&refused, Err(LogError::InvalidConfig { key, .. }) if key == "retention.ms"), "{refused:?}");
    assert_eq!([&config()["segment.ms"], &config()["max.message.bytes"]], ["604800000", "2000"], "all or none");
    assert!(matches!(admin.alter_topic(&ground.name("nowhere"), &[]), Err(LogError::UnknownTopic(_))));
}

pub(crate) fn the_latest_time_need_not_be_the_last(ground: &Ground) {
    let partitions = ground.topic("t", 2);
    let headers = Headers::default();
    let mut producer = ground.producer();
    for batch in [&[10, 40, 20][..], &[40, 12]] {
        let records: Vec<_> = batch.iter().map(|millis| value_at("v", Timestamp::from_millis(*millis), &headers)).collect();
        try_write(&mut *producer, &partitions[0], &records).expect("written");
    }
    let latest = ground.admin().latest_times(&partitions).expect("asked");
    assert_eq!(latest, [Some((1, Timestamp::from_millis(40))), None]);
}

/// A member with all tasks.
fn joined(ground: &Ground, tasks: &[TaskInputs]) -> Box<dyn Group> {
    let mut owner = member(ground, "m");
    owner.join(tasks).expect("joined");
    event(&mut *owner, &mut []);
    owner
}

pub(crate) fn groups_are_listed_and_described(ground: &Ground) {
    let (admin, tasks, group) = (ground.admin(), tasks(ground, 2), ground.name("g"));
    assert!(matches!(admin.describe_group(&group), Err(LogError::UnknownGroup(name)) if name == group));
    let mut owner = joined(ground, &tasks);
    assert!(admin.list_groups().expect("listed").contains(&group));
    let described = admin.describe_group(&group).expect("there");
    assert_eq!((described.name.as_str(), described.members.len()), (group.as_str(), 1));
    let shown = &described.members[0];
    assert_eq!((shown.id.as_str(), shown.instance.as_deref()), (&*owner.token().member, None));
    assert_eq!(shown.tasks, tasks.iter().map(|inputs| inputs.task).collect::<Vec<_>>());
    let input = &tasks[1].partitions[0];
    commit(&mut *owner, &[(input.clone(), at(3))]).expect("committed");
    assert_eq!(admin.group_positions(&group).expect("there"), [(input.clone(), at(3))]);
    owner.leave();
    assert_eq!(admin.describe_group(&group).expect("it has positions").members, []);
}

pub(crate) fn positions_are_deleted_from_empty_groups_only(ground: &Ground) {
    let (admin, tasks, group) = (ground.admin(), tasks(ground, 3), ground.name("g"));
    let inputs: Vec<_> = tasks.iter().map(|inputs| inputs.partitions[0].clone()).collect();
    let mut owner = joined(ground, &tasks);
    let positions: Vec<_> = inputs.iter().map(|input| (input.clone(), at(1))).collect();
    commit(&mut *owner, &positions).expect("committed");
    let refused = [admin.delete_positions(&group, &inputs[..1]), admin.delete_group(&group)];
    assert!(refused.iter().all(|refused| matches!(refused, Err(LogError::GroupNotEmpty(name)) if *name == group)), "{refused:?}");
    owner.leave();
    admin.delete_positions(&group, &[inputs[0].clone(), TopicPartition::new(ground.name("other"), 0)]).expect("deleted");
    assert_eq!(admin.group_positions(&group).expect("there"), positions[1..]);
    admin.delete_group(&group).expect("deleted");
    assert!(!admin.list_groups().expect("listed").contains(&group));
    assert!(matches!(admin.delete_group(&group), Err(LogError::UnknownGroup(_))));
    assert_eq!(committed(&mut *member(ground, "m"), &inputs), [None, None, None]);
}
