//! What a cluster does when it is told to.

use super::*;
use crate::dsl::StreamsBuilder;
use crate::kafka::partition_of;
use crate::record::TaskId;
use crate::state::{Batch, KeyValueStore, StoreBackend, StoreRef};

const WORDS: Topic<String, String> = Topic::new("words");
const OUT: Topic<String, String> = Topic::new("out");
const COUNTS: StoreRef<KeyValueStore<String, i64>> = StoreRef::new("counts");
const SECOND: Duration = Duration::from_secs(1);

fn cluster(instances: usize) -> Cluster {
    let builder = StreamsBuilder::new();
    builder.stream(WORDS).group_by_key().count(COUNTS).to_stream().map_values(|count| count.unwrap_or_default().to_string()).to(OUT);
    Cluster::builder(&builder.build().unwrap()).usual_partitions(4).instances(instances).session_timeout(5 * SECOND).build().unwrap()
}

impl Cluster {
    fn say(&mut self, word: &str) {
        self.pipe(&WORDS, word.to_owned(), String::new(), Timestamp::from_secs(1)).unwrap();
    }
    fn count(&self, word: &str) -> i64 {
        let parts = self.store(&COUNTS).unwrap();
        parts.values().filter_map(|part| part.get(&word.to_owned()).unwrap()).sum()
    }
}

#[test]
fn instances_share_the_tasks_and_a_killed_one_is_missed_after_its_session() {
    let mut cluster = cluster(2);
    cluster.settle().unwrap();
    let of = |cluster: &Cluster, number| cluster.owners().iter().filter(|(_, owner)| *owner == number).count();
    assert_eq!((of(&cluster, 0), of(&cluster, 1)), (2, 2));
    cluster.kill(0);
    cluster.run_for(4 * SECOND).unwrap();
    assert_eq!((of(&cluster, 0), of(&cluster, 1)), (0, 2), "the group does not know yet");
    cluster.run_for(2 * SECOND).unwrap();
    assert_eq!(of(&cluster, 1), 4);
}

#[test]
fn who_dies_before_the_commit_leaves_its_work_to_the_next() {
    let mut cluster = cluster(1);
    cluster.settle().unwrap();
    cluster.say("a");
    cluster.settle().unwrap();
    cluster.kill(0);
    cluster.restart(0).unwrap();
    cluster.run_for(7 * SECOND).unwrap();
    assert_eq!((cluster.count("a"), cluster.instances()), (1, 2));
    assert!(cluster.failures().is_empty() && cluster.take_trespasses().is_empty());
    assert_eq!(cluster.progress().iter().map(|progress| progress.records_in).sum::<u64>(), 2, "taken by the dead, and again");
}

#[test]
fn a_paused_instance_is_replaced_and_comes_back() {
    let mut cluster = cluster(2);
    cluster.settle().unwrap();
    cluster.pause(0);
    cluster.say("a");
    cluster.run_for(6 * SECOND).unwrap();
    assert!(cluster.owners().iter().all(|(_, owner)| *owner == 1));
    cluster.resume(0).unwrap();
    cluster.run_for(6 * SECOND).unwrap();
    assert_eq!(cluster.owners().iter().filter(|(_, owner)| *owner == 0).count(), 2);
    assert_eq!((cluster.count("a"), cluster.take_trespasses()), (1, Vec::new()));
}

#[test]
fn a_clean_restart_repeats_nothing_and_the_end_of_input_is_reached() {
    let mut cluster = cluster(2);
    cluster.settle().unwrap();
    ["a", "b", "a"].iter().for_each(|word| cluster.say(word));
    cluster.run_for(2 * SECOND).unwrap();
    cluster.restart(0).unwrap();
    cluster.say("a");
    cluster.finish().unwrap();
    let mut out: Vec<_> = cluster.read(&OUT).into_iter().map(|record| (record.key, record.value)).collect();
    out.sort();
    assert_eq!(out.last(), Some(&("b".to_owned(), "1".to_owned())));
    assert_eq!((cluster.count("a"), cluster.count("b")), (3, 1));
    assert!(cluster.stores().iter().all(|store| store.uncommitted_bytes == 0));
    let committed: i64 = (0..4).filter_map(|partition| cluster.committed("words", partition)).map(|position| position.offset).sum();
    assert_eq!(committed, 4);
    assert!(cluster.transcript().contains("app-counts-changelog-"));
}

#[test]
fn a_commit_of_somebody_thrown_out_is_told() {
    let mut cluster = cluster(1);
    cluster.settle().unwrap();
    let member = cluster.members(0).into_iter().next().unwrap();
    cluster.expelled.insert(member);
    cluster.run_for(2 * SECOND).unwrap();
    assert!(cluster.take_trespasses()[0].contains("was thrown out, and its commit was taken"), "the auditor sees what the log did not");
}

#[test]
fn somebody_dies_in_the_middle_of_a_round() {
    let mut cluster = cluster(1);
    cluster.settle().unwrap();
    cluster.say("a");
    cluster.kill_after(0, 1);
    assert!(cluster.is_running(0));
    cluster.run_for(SECOND).unwrap();
    assert!(!cluster.is_running(0));
    cluster.start().unwrap();
    cluster.run_for(7 * SECOND).unwrap();
    assert!(cluster.count("a") >= 1);
}

#[test]
fn what_stands_still_in_the_middle_of_a_round_lets_others_in() {
    let mut cluster = cluster(2);
    cluster.settle().unwrap();
    cluster.say("a");
    let owner = cluster.owners().iter().find(|(task, _)| task.partition == partition_of(b"a", 4)).unwrap().1;
    cluster.pause_after(owner, 2);
    cluster.run_for(SECOND).unwrap();
    assert!(!cluster.is_running(owner), "it stands");
    cluster.run_for(6 * SECOND).unwrap();
    assert!(cluster.owners().iter().all(|(_, number)| *number != owner), "its session is over");
    assert_eq!(cluster.count("a"), 1);
    cluster.resume(owner).unwrap();
    assert!(cluster.is_running(owner));
    cluster.run_for(6 * SECOND).unwrap();
    assert_eq!((cluster.count("a"), cluster.take_trespasses()), (1, Vec::new()), "it was too late");
    assert_eq!(cluster.owners().iter().filter(|(_, number)| *number == owner).count(), 2);
}

#[test]
fn who_is_killed_while_it_stands_is_dead_and_who_is_forgotten_does_no_harm() {
    let mut cluster = cluster(2);
    cluster.settle().unwrap();
    cluster.pause_after(0, 0);
    cluster.pause_after(1, 0);
    cluster.say("a");
    cluster.run_for(SECOND).unwrap();
    assert!(!cluster.is_running(0) && !cluster.is_running(1));
    cluster.kill(0);
    assert!(matches!(cluster.resume(0), Ok(())) && !cluster.is_running(0), "the dead do not rise");
    drop(cluster);
}

#[test]
fn a_lasting_name_keeps_its_tasks_through_a_restart_and_not_for_ever() {
    let builder = StreamsBuilder::new();
    builder.stream(WORDS).to(OUT);
    let mut cluster =
        Cluster::builder(&builder.build().unwrap()).usual_partitions(4).lasting_names().session_timeout(5 * SECOND).build().unwrap();
    cluster.settle().unwrap();
    let before = cluster.owners();
    for instance in [0, 1] {
        cluster.restart(instance).unwrap();
        cluster.run_for(SECOND).unwrap();
        assert_eq!(cluster.owners(), before);
    }
    cluster.kill(1);
    cluster.restart(1).unwrap();
    cluster.run_for(SECOND).unwrap();
    assert_eq!(cluster.owners(), before, "after a kill too, at once");
    cluster.stop(0).unwrap();
    cluster.run_for(4 * SECOND).unwrap();
    assert_eq!(cluster.owners().len(), 2, "its place is kept");
    cluster.run_for(2 * SECOND).unwrap();
    assert_eq!(cluster.owners().iter().map(|(_, owner)| *owner).collect::<Vec<_>>(), [1; 4]);
}

#[test]
fn markers_wait_until_they_are_written_and_are_written_in_the_end() {
    let mut cluster = cluster(1);
    cluster.hold_markers(true);
    let mut producer = cluster.log.transactional_producer("id", SECOND).unwrap();
    producer.init().unwrap();
    producer.begin().unwrap();
    for partition in 0..3 {
        let record = Outgoing { key: None, value: Some(b"v"), timestamp: Timestamp::from_secs(1), headers: &Headers::default() };
        producer.send(&TopicPartition::new("out", partition), &[record]).unwrap();
    }
    producer.commit().unwrap();
    assert_eq!((cluster.waiting_markers(), cluster.ends("out", 0)), (3, (0, 1)));
    assert!(cluster.write_marker() && cluster.waiting_markers() == 2);
    let seen: usize = (0..3).map(|partition| cluster.records_since("out", partition, 0).0.len()).sum();
    assert_eq!(seen, 1, "one partition has heard of it");
    cluster.settle().unwrap();
    assert_eq!((cluster.waiting_markers(), cluster.records("out").len(), cluster.ends("out", 0)), (0, 3, (2, 2)));
    assert!(!cluster.write_marker());
}

#[test]
fn kept_state_outlives_a_kill_and_torn_state_is_found() {
    let builder = StreamsBuilder::new();
    builder.stream(WORDS).group_by_key().count(COUNTS);
    let mut cluster = Cluster::builder(&builder.build().unwrap()).usual_partitions(1).instances(1).keep_state().build().unwrap();
    cluster.settle().unwrap();
    ["a", "b", "a"].iter().for_each(|word| cluster.say(word));
    cluster.run_for(2 * SECOND).unwrap();
    cluster.kill(0);
    assert_eq!(cluster.torn_stores(true), Vec::<String>::new());
    let (_, slot) = cluster.kept[&0].slots().pop().unwrap();
    assert_eq!((slot.offset(), slot.rows().len()), (Some(2), 2), "one record per key and commit");
    cluster.restart(0).unwrap();
    cluster.run_for(60 * SECOND).unwrap();
    assert_eq!(cluster.count("a"), 2);
    let restored: u64 = cluster.restored(0).iter().map(|progress| progress.records).sum();
    assert_eq!(restored, 0, "nothing was committed since");

    let gone = cluster.kept[&0].open(TaskId { subtopology: 0, partition: 0 }, "counts", &SharedFate::new(0, false));
    { gone }.apply(&Batch { rows: &[(b"a", None)], ..Batch::default() }).unwrap();
    assert!(cluster.torn_stores(false)[0].starts_with("counts of 0_0 in instance 0 has 1 rows that are not the 2"), "what nobody logged");
}

#[test]
fn who_was_to_stand_still_twice_in_one_round_runs_when_it_is_resumed() {
    let mut cluster = cluster(1);
    cluster.settle().unwrap();
    cluster.say("a");
    cluster.pause_after(0, 0);
    cluster.step().unwrap();
    assert!(!cluster.is_running(0));
    cluster.pause_after(0, 1);
    cluster.resume(0).unwrap();
    assert!(cluster.is_running(0));
}
