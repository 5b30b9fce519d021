//! Tasks that move disturb nobody but themselves: what a killed instance leaves to others, and what a rolling restart leaves where it is.

use std::collections::BTreeMap;
use std::time::Duration;

use highwater::{Cluster, Guarantee, KeyValueStore, Settings, StoreRef, StreamsBuilder, TaskId, Timestamp, Topology};

use crate::topologies::{IN, OUT};

const PARTITIONS: i32 = 6;
const COMMIT: Duration = Duration::from_millis(100);
const TICK: Duration = Duration::from_millis(10);
/// What a killed instance has left open hides the results of its partitions until then.
const TIMEOUT: Duration = Duration::from_millis(600);
const SESSION: Duration = Duration::from_secs(1);
const COUNTS: StoreRef<KeyValueStore<String, i64>> = StoreRef::new("counts");

/// Three instances that count keys, one key per partition, with a record for each of them every ten milliseconds.
struct Stage {
    cluster: Cluster,
    ticks: i64,
    /// When something of each partition was last seen, as ticks, and the longest time between two.
    seen: BTreeMap<i32, i64>,
    longest: BTreeMap<i32, i64>,
    /// How far results were read.
    cursors: BTreeMap<i32, i64>,
    results: BTreeMap<i32, Vec<i64>>,
    owners: BTreeMap<TaskId, usize>,
    moves: usize,
}

fn topology() -> Topology {
    let builder = StreamsBuilder::new();
    let counts = builder.stream(IN).group_by_key().count(COUNTS).to_stream();
    counts.map_values(|count| count.unwrap_or_default().to_string()).to(OUT);
    builder.build().unwrap()
}

impl Stage {
    fn new(seed: u64, lasting_names: bool) -> Stage {
        let mut settings = Settings::new("app");
        settings.transaction_timeout = TIMEOUT;
        (settings.guarantee, settings.commit_interval, settings.record_cache_bytes) = (Guarantee::ExactlyOnce, COMMIT, 0);
        let topology = topology();
        let builder =
            Cluster::builder(&topology).usual_partitions(PARTITIONS).settings(settings).seed(seed).instances(3).session_timeout(SESSION);
        let cluster = if lasting_names { builder.lasting_names() } else { builder }.build().unwrap();
        let (seen, longest, cursors, results) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        let mut stage = Stage { cluster, ticks: 0, seen, longest, cursors, results, owners: BTreeMap::new(), moves: 0 };
        stage.run(100);
        stage.longest.clear();
        stage.moves = 0;
        stage
    }

    /// So many ticks: records come, everybody does what there is to do, and results are looked at.
    fn run(&mut self, ticks: usize) {
        for _ in 0..ticks {
            for partition in 0..PARTITIONS {
                self.cluster.pipe_to(partition, &IN, key(partition), String::new(), Timestamp::from_millis(self.ticks)).unwrap();
            }
            self.cluster.advance(TICK);
            self.cluster.settle().unwrap();
            self.ticks += 1;
            self.look();
        }
    }

    fn look(&mut self) {
        for partition in 0..PARTITIONS {
            let cursor = self.cursors.entry(partition).or_default();
            // Results go where their keys belong.
            let (records, next) = self.cluster.records_since("out", partition, *cursor);
            *cursor = next;
            for record in records {
                let key = String::from_utf8(record.key.unwrap()).unwrap();
                let from: i32 = key.trim_start_matches('k').parse().unwrap();
                let count = String::from_utf8(record.value.unwrap()).unwrap().parse().unwrap();
                self.results.entry(from).or_default().push(count);
                let before = self.seen.insert(from, self.ticks).unwrap_or(self.ticks);
                let longest = self.longest.entry(from).or_default();
                *longest = (*longest).max(self.ticks - before);
            }
        }
        for (task, owner) in self.cluster.owners() {
            let before = self.owners.insert(task, owner);
            self.moves += usize::from(before.is_some_and(|before| before != owner));
        }
    }

    fn owned_by(&self, instance: usize) -> Vec<i32> {
        self.owners.iter().filter(|(_, owner)| **owner == instance).map(|(task, _)| task.partition).collect()
    }

    /// The longest time between two results of a partition.
    fn gap(&self, partition: i32) -> Duration {
        TICK * u32::try_from(self.longest[&partition]).unwrap()
    }

    /// Ends the input: each count came once, in order.
    fn nothing_is_lost_or_doubled(&mut self) {
        self.cluster.finish().unwrap();
        self.cluster.run_for(TIMEOUT).unwrap();
        self.look();
        for (partition, counts) in &self.results {
            assert!(
                counts.iter().copied().eq(1..=self.ticks),
                "partition {partition}: {} results for {} records",
                counts.len(),
                self.ticks
            );
        }
        assert_eq!((self.results.len(), self.cluster.failures().len()), (6, 0));
    }
}

fn key(partition: i32) -> String {
    format!("k{partition}")
}

#[test]
fn a_killed_instance_holds_up_nobody_s_results_but_those_of_its_own_partitions() {
    for seed in 0..5 {
        let mut stage = Stage::new(seed, false);
        let orphans = stage.owned_by(1);
        assert_eq!(orphans.len(), 2);
        stage.cluster.kill_after(1, seed * 7);
        stage.run(300);
        assert!(!stage.cluster.is_running(1) && stage.owned_by(1).is_empty(), "the others have taken over");
        assert_eq!(stage.moves, 2);
        for partition in 0..PARTITIONS {
            let (gap, limit) = (stage.gap(partition), if orphans.contains(&partition) { SESSION + COMMIT * 3 } else { COMMIT * 2 });
            assert!(gap <= limit, "seed {seed}: {gap:?} between two results of partition {partition}; {orphans:?} were orphans");
        }
        stage.nothing_is_lost_or_doubled();
    }
}

#[test]
fn a_newcomer_holds_up_nobody_either() {
    let mut stage = Stage::new(1, false);
    stage.cluster.start().unwrap();
    stage.run(200);
    assert_eq!((stage.moves, stage.owned_by(3).len()), (1, 1), "six tasks for four instances: one gives one up");
    assert!((0..PARTITIONS).all(|partition| stage.gap(partition) <= COMMIT * 2), "{:?}", stage.longest);
    stage.nothing_is_lost_or_doubled();
}

#[test]
fn a_rolling_restart_with_lasting_names_moves_nothing() {
    let mut stage = Stage::new(2, true);
    let before = stage.owners.clone();
    for instance in 0..3 {
        stage.cluster.restart(instance).unwrap();
        stage.run(50);
        assert_eq!((stage.moves, &stage.owners), (0, &before), "instance {instance} was restarted");
    }
    assert!((0..PARTITIONS).all(|partition| stage.gap(partition) <= COMMIT * 2), "{:?}", stage.longest);
    stage.nothing_is_lost_or_doubled();
}

#[test]
fn a_rolling_kill_with_lasting_names_moves_nothing_either() {
    let mut stage = Stage::new(3, true);
    let before = stage.owners.clone();
    for instance in 0..3 {
        stage.cluster.kill(instance);
        stage.run(20);
        stage.cluster.restart(instance).unwrap();
        stage.run(50);
        assert_eq!((stage.moves, &stage.owners), (0, &before), "instance {instance} was killed and is back");
    }
    stage.nothing_is_lost_or_doubled();
}
