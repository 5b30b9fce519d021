//! Checks of topics as such: B1, B2, B18, B19.

use super::{Ground, numbered, read_from, read_until_refused};
use crate::kafka::{LogError, NewTopic};
use crate::record::TopicPartition;

pub(crate) fn topics_are_made_described_and_deleted(ground: &Ground) {
    let (admin, name) = (ground.admin(), ground.name("t"));
    ground.topic_with(NewTopic::new(&name, 3).with("cleanup.policy", "compact"));
    let described = admin.describe_topics(&[&name]).expect("described");
    assert_eq!((described[0].name.as_str(), described[0].partitions), (name.as_str(), 3));
    assert_eq!(described[0].config["cleanup.policy"], "compact");
    assert_eq!(described[0].config["delete.retention.ms"], "86400000", "a default that nobody set");
    assert_eq!(ground.producer().partition_count(&name).expect("there"), 3);
    assert!(admin.list_topics().expect("listed").contains(&name));
    admin.delete_topics(&[&name]).expect("deleted");
    assert!(!admin.list_topics().expect("listed").contains(&name));
    assert!(matches!(admin.describe_topics(&[&name]), Err(LogError::UnknownTopic(topic)) if *topic == *name));
    assert!(matches!(admin.delete_topics(&[&name]), Err(LogError::UnknownTopic(_))));
}

pub(crate) fn topics_that_cannot_be_are_refused(ground: &Ground) {
    let (admin, name) = (ground.admin(), ground.name("t"));
    ground.topic("t", 1);
    assert!(matches!(admin.create_topics(&[NewTopic::new(&name, 2)]), Err(LogError::TopicExists(topic)) if topic == name));
    assert_eq!(admin.describe_topics(&[&name]).expect("there")[0].partitions, 1, "and the old one stays as it was");
    let none = NewTopic::new(ground.name("none"), 0);
    assert!(matches!(admin.create_topics(&[none]), Err(LogError::InvalidPartitions { partitions: 0, .. })));
    for illegal in ["", "..", "white space", "ünder", &"x".repeat(250)] {
        assert!(matches!(admin.create_topics(&[NewTopic::new(illegal, 1)]), Err(LogError::IllegalName(_))), "{illegal}");
    }
    let odd = NewTopic::new(ground.name("odd"), 1).with("retention.ms", "a week");
    assert!(matches!(admin.create_topics(&[odd]), Err(LogError::InvalidConfig { key, .. }) if key == "retention.ms"));
    let listed = admin.list_topics().expect("listed");
    assert!(!listed.contains(&ground.name("none")) && !listed.contains(&ground.name("odd")));
}

pub(crate) fn whoever_makes_a_topic_second_finds_it(ground: &Ground) {
    let admins: Vec<_> = (0..4).map(|_| ground.admin()).collect();
    for round in 0..10 {
        let name = &ground.name(&format!("t{round}"));
        std::thread::scope(|scope| {
            for admin in &admins {
                scope.spawn(move || match admin.create_topics(&[NewTopic::new(name, 2)]) {
                    Ok(()) | Err(LogError::TopicExists(_)) => {
                        assert_eq!(admin.describe_topics(&[name]).expect("somebody made it")[0].partitions, 2);
                    }
                    Err(error) => panic!("{error}"),
                });
            }
        });
    }
}

pub(crate) fn a_topic_made_again_is_another_one(ground: &Ground) {
    let partition = &ground.topic("t", 1)[0];
    let id = || ground.admin().identify(&[&partition.topic]).expect("told")[0];
    let old = id();
    assert!(old.is_some() && id() == old, "the same for as long as it lives");
    ground.write(partition, &["old", "older"]);
    let mut reader = ground.consumer();
    reader.assign(&[(partition.clone(), 0)]).expect("there");
    ground.admin().delete_topics(&[&partition.topic]).expect("deleted");
    let told = read_until_refused(&mut *reader, partition);
    assert!(matches!(told, LogError::UnknownTopic(_)), "a reader of the old one is told: {told:?}");
    assert_eq!(id(), None);
    ground.topic("t", 1);
    assert!(id().is_some() && id() != old);
    ground.write(partition, &["new"]);
    assert_eq!(read_from(ground, partition, 0).expect("read"), numbered(&[(0, "new")]));
}

pub(crate) fn records_are_deleted_up_to_an_offset(ground: &Ground) {
    let partition = &ground.topic("t", 1)[0];
    ground.write(partition, &["a", "b", "c"]);
    let admin = ground.admin();
    assert_eq!(admin.delete_records(&[(partition.clone(), 2)]).expect("deleted"), [2]);
    assert_eq!(admin.delete_records(&[(partition.clone(), 1)]).expect("nothing to do"), [2]);
    assert_eq!(ground.consumer().begin_offsets(std::slice::from_ref(partition)).expect("there"), [2]);
    assert_eq!(read_from(ground, partition, 2).expect("read"), numbered(&[(2, "c")]));
    assert_eq!(admin.delete_records(&[(partition.clone(), 3)]).expect("all of it"), [3]);
    ground.write(partition, &["d"]);
    assert_eq!(read_from(ground, partition, 3).expect("read"), numbered(&[(3, "d")]), "offsets go on");
}

pub(crate) fn deletion_beyond_the_end_is_refused(ground: &Ground) {
    let partition = &ground.topic("t", 1)[0];
    ground.write(partition, &["a"]);
    let beyond = ground.admin().delete_records(&[(partition.clone(), 2)]);
    assert!(matches!(beyond, Err(LogError::OffsetOutOfRange { offset: 2, begin: 0, end: 1, .. })), "{beyond:?}");
    assert_eq!(read_from(ground, partition, 0).expect("read").len(), 1);
    let nowhere = ground.admin().delete_records(&[(TopicPartition::new(partition.topic.clone(), 1), 0)]);
    assert!(matches!(nowhere, Err(LogError::UnknownPartition { count: 1, .. })), "{nowhere:?}");
}
