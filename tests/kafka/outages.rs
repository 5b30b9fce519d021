//! Brokers that die under a running application: it waits, and goes on by itself. Exactly once stays exactly once, at least once loses nothing.
//!
//! Those that take minutes are left out of `cargo test`: `make outages` runs them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use highwater::kafka::{Connect, KafkaConfig, KafkaLog, LogError, NewTopic, Outgoing, TransactionalProducer};
use highwater::{
    Clock, ErrorKind, Guarantee, Headers, Launch, RawRecord, Settings, State, Streams, StreamsBuilder, SystemClock, Topic, TopicPartition,
};

use super::broker::{Broker, BrokerOptions};
use super::{journal, reading};

const IN: Topic<String, String> = Topic::new("in");
const COPIES: Topic<String, String> = Topic::new("copies");
const COUNTS: Topic<String, i64> = Topic::new("counts");
const PARTITIONS: i32 = 3;
const KEYS: u64 = 7;
const PATIENCE: Duration = Duration::from_secs(150);

/// What runs while something happens to its cluster.
#[derive(Clone, Copy)]
struct Run {
    /// Of the application.
    name: &'static str,
    guarantee: Guarantee,
    per_partition: u64,
    /// How long each record takes: the whole is to last longer than what happens.
    slowness: Duration,
}

impl Run {
    /// A few seconds of work.
    fn short(name: &'static str, guarantee: Guarantee) -> Run {
        Run { name, guarantee, per_partition: 3_000, slowness: Duration::from_micros(300) }
    }

    /// A minute of work.
    fn long(name: &'static str, guarantee: Guarantee) -> Run {
        Run { name, guarantee, per_partition: 4_000, slowness: Duration::from_millis(5) }
    }

    fn settings(self) -> Settings {
        let mut settings = Settings::new(self.name);
        settings.guarantee = self.guarantee;
        settings.commit_interval = Duration::from_millis(50);
        settings.session_timeout = Duration::from_secs(6);
        settings.start_timeout = 2 * PATIENCE;
        settings.record_cache_bytes = 0; // every count is sent
        settings
    }

    fn start(self, log: &Arc<dyn Connect>) -> Result<Streams, highwater::Error> {
        journal::remember();
        let builder = StreamsBuilder::new();
        let slowed = builder.stream(IN).peek(move |_, _| thread::sleep(self.slowness));
        slowed.to(COPIES);
        slowed.group_by_key().count("counts").to_stream().map_values(Option::unwrap_or_default).to(COUNTS);
        Launch::new(&builder.build().unwrap(), self.settings(), log.clone()).start()
    }
}

fn key(partition: i32, number: u64) -> String {
    format!("p{partition}-k{}", number % KEYS)
}

/// Each record has a value of its own.
fn load(log: &dyn Connect, per_partition: u64) {
    let topics = [IN.name(), COPIES.name(), COUNTS.name()].map(|name| NewTopic::new(name, PARTITIONS));
    reading::made(log, &topics);
    let (mut producer, headers) = (log.producer().unwrap(), Headers::default());
    for partition in 0..PARTITIONS {
        let rows: Vec<_> = (0..per_partition).map(|number| (key(partition, number), format!("{partition}/{number}"))).collect();
        for chunk in rows.chunks(500) {
            let now = SystemClock.now();
            let record = |(key, value)| Outgoing {
                key: Some(str::as_bytes(key)),
                value: Some(str::as_bytes(value)),
                timestamp: now,
                headers: &headers,
            };
            let records: Vec<_> = chunk.iter().map(|(key, value)| record((key, value))).collect();
            // A broker that has just started may have other things to do on a machine that is busy.
            retried(|| producer.send(&TopicPartition::new(IN.name(), partition), &records));
        }
    }
    assert!(producer.flush(PATIENCE).failed.is_empty());
}

/// Visits what was sent to a topic and committed.
fn read(log: &dyn Connect, topic: &str, mut visit: impl FnMut(&RawRecord<'_>)) {
    reading::committed(log, topic, PARTITIONS, PATIENCE, &mut |record| visit(&record));
}

fn text(bytes: Option<&[u8]>) -> String {
    String::from_utf8(bytes.unwrap().to_vec()).unwrap()
}

/// Every record was copied and counted: once, or at least once.
fn check(log: &dyn Connect, run: Run) {
    let exact = run.guarantee == Guarantee::ExactlyOnce;
    let mut copies: BTreeMap<String, u64> = BTreeMap::new();
    read(log, COPIES.name(), |record| *copies.entry(text(record.value)).or_default() += 1);
    assert_eq!(copies.len() as u64, run.per_partition * PARTITIONS.unsigned_abs() as u64, "records were lost");
    let doubled = copies.iter().filter(|(_, copies)| **copies > 1).count();
    assert!(!exact || doubled == 0, "{doubled} records were copied more than once");

    let mut counts: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    read(log, COUNTS.name(), |record| {
        counts.entry(text(record.key)).or_default().push(i64::from_be_bytes(record.value.unwrap().try_into().unwrap()));
    });
    for partition in 0..PARTITIONS {
        for nth in 0..KEYS {
            let (key, expected) = (key(partition, nth), (nth..run.per_partition).step_by(KEYS as usize).count());
            let counts = &counts[&key];
            if exact {
                assert_eq!(*counts, (1..=expected as i64).collect::<Vec<_>>(), "the counts of {key} are not 1, 2, 3");
            } else {
                assert!(counts.iter().max() >= Some(&(expected as i64)), "{key}: {:?} of {expected}", counts.iter().max());
            }
        }
    }
}

/// An application that runs while something happens to its cluster.
struct Running {
    run: Run,
    log: Arc<dyn Connect>,
    streams: Streams,
}

/// The application runs, something happens to its cluster, and it gets to the end.
fn survives(mut broker: Broker, run: Run, disturb: impl FnOnce(&mut Broker, &Running)) {
    let log: Arc<dyn Connect> = Arc::new(KafkaLog::new(KafkaConfig::new(broker.bootstrap())));
    load(&*log, run.per_partition);
    let streams = run.start(&log).unwrap();
    let running = Running { run, log, streams };
    running.until("it does not begin", |streams| streams.progress().records_in > 900);
    disturb(&mut broker, &running);
    running.ends();
}

impl Running {
    /// What is there is processed, and all is as it must be.
    fn ends(&self) {
        let until = Instant::now() + PATIENCE;
        while let Err(error) = self.streams.declare_end() {
            let goes_on = error.kind() == ErrorKind::Retriable && Instant::now() < until;
            assert!(goes_on, "{}", self.report(&format!("the end cannot be declared: {error}")));
            thread::sleep(Duration::from_millis(100));
        }
        let finished = self.streams.wait(PATIENCE) == State::Finished && self.streams.errors().is_empty();
        assert!(finished, "{}", self.report(&format!("it is not finished {PATIENCE:?} after its end was declared")));
        self.streams.stop(PATIENCE).unwrap();
        check(&*self.log, self.run);
    }

    fn until(&self, what: &str, mut is_so: impl FnMut(&Streams) -> bool) {
        let until = Instant::now() + PATIENCE;
        while !is_so(&self.streams) {
            assert!(self.streams.errors().is_empty() && Instant::now() < until, "{}", self.report(what));
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// All that helps to find out why, and what matters most at its end.
    fn report(&self, what: &str) -> String {
        let (progress, errors) = (self.streams.progress(), self.streams.errors());
        let said = journal::about(&[self.run.name, "the broker "], 60);
        let of = |(task, progress): (_, &highwater::TaskProgress)| {
            let inputs = progress.inputs.iter().map(|input| format!(" {:?}/{:?}", input.position, input.end));
            format!("{task} {}{}", progress.state, inputs.collect::<String>())
        };
        let tasks: Vec<String> = progress.tasks.iter().map(of).collect();
        format!(
            "{said}\n{what}: {:?}, {} records in, {} commits, tasks {tasks:?}, restoring {:?}, outage {:?}, errors {errors:?}",
            self.streams.state(),
            progress.records_in,
            progress.commits,
            progress.restoring,
            progress.outage
        )
    }
}

/// The broker is away for a moment: less than anybody's patience.
fn a_moment(broker: &mut Broker, _: &Running) {
    broker.kill_hard(0);
    thread::sleep(Duration::from_secs(2));
    broker.start_again(0);
}

/// The broker is away for longer than records wait (9 s), transactions (10 s) and the session (6 s).
fn longer_than_anybody_waits(broker: &mut Broker, running: &Running) {
    broker.kill_hard(0);
    running.until("it does not say that it waits", |streams| streams.progress().outage.is_some());
    let said = journal::lines(&[""]);
    thread::sleep(Duration::from_secs(20));
    assert!(running.streams.errors().is_empty(), "{}", running.report("an outage stops nothing"));
    // It runs alone: `make outages` lets one test run at a time.
    let said = journal::lines(&[""]) - said;
    assert!(said <= 20, "{}", running.report(&format!("{said} lines were said in twenty seconds of waiting")));
    broker.start_again(0);
    running.until("it goes on waiting", |streams| streams.progress().outage.is_none());
}

/// Each of three is away for a while, and with it the leaders, the coordinator of the group and that of the transactions which it was.
fn one_after_the_other(away: fn(&mut Broker, usize)) -> impl FnOnce(&mut Broker, &Running) {
    move |cluster, _| {
        for node in 0..3 {
            away(cluster, node);
            thread::sleep(Duration::from_secs(1));
            cluster.start_again(node);
            thread::sleep(Duration::from_secs(4));
        }
    }
}

fn single() -> Option<Broker> {
    Broker::start(BrokerOptions::default())
}

fn three() -> Option<Broker> {
    Broker::start(BrokerOptions { nodes: 3, ..BrokerOptions::default() })
}

#[test]
fn a_broker_that_is_killed_and_comes_back_is_waited_for() {
    let Some(broker) = single() else { return };
    survives(broker, Run::short("moment-eos", Guarantee::ExactlyOnce), a_moment);
}

#[test]
fn a_broker_that_comes_back_is_waited_for_at_least_once_too() {
    let Some(broker) = single() else { return };
    survives(broker, Run::short("moment-alos", Guarantee::AtLeastOnce), a_moment);
}

#[test]
fn leaders_that_die_are_followed_by_others() {
    let Some(cluster) = three() else { return };
    // Three partitions, three nodes: each leads something.
    survives(cluster, Run::short("leaders", Guarantee::ExactlyOnce), |cluster, _| cluster.kill_hard(1));
}

#[test]
fn a_start_waits_for_a_broker_that_is_not_there_yet() {
    let Some(mut broker) = single() else { return };
    let log: Arc<dyn Connect> = Arc::new(KafkaLog::new(KafkaConfig::new(broker.bootstrap())));
    let run = Run { per_partition: 300, ..Run::short("late", Guarantee::ExactlyOnce) };
    load(&*log, run.per_partition);
    broker.kill_hard(0);
    // Clients that know the cluster from before shall not help.
    let log: Arc<dyn Connect> = Arc::new(KafkaLog::new(KafkaConfig::new(broker.bootstrap())));
    let starting = thread::spawn({
        let log = log.clone();
        move || run.start(&log)
    });
    thread::sleep(Duration::from_secs(3));
    assert!(!starting.is_finished(), "it has to wait");
    broker.start_again(0);
    let streams = starting.join().unwrap().unwrap();
    Running { run, log, streams }.ends();
}

#[test]
fn a_start_gives_up_when_its_time_is_over_and_names_the_broker() {
    // Nobody listens on it.
    let log: Arc<dyn Connect> = Arc::new(KafkaLog::new(KafkaConfig::new("127.0.0.1:9")));
    let builder = StreamsBuilder::new();
    builder.stream(IN).to(COPIES);
    let topology = builder.build().unwrap();
    // The client has to get round to a first try within that time.
    let mut said = [1, 5, 30].map(Duration::from_secs).into_iter().map(|within| {
        let mut settings = Settings::new("app");
        settings.start_timeout = within;
        let refused = Launch::new(&topology, settings, log.clone()).start().unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Retriable);
        let text = refused.to_string();
        assert!(text.contains("127.0.0.1:9") && text.contains("`start_timeout`"), "{text}");
        text
    });
    assert!(said.any(|text| text.contains("Connection refused")), "why is left out");
}

#[test]
#[ignore = "a minute: make outages"]
fn an_outage_longer_than_anybody_waits_is_waited_for_exactly_once() {
    let Some(broker) = single() else { return };
    survives(broker, Run::short("long-eos", Guarantee::ExactlyOnce), longer_than_anybody_waits);
}

#[test]
#[ignore = "a minute: make outages"]
fn an_outage_longer_than_anybody_waits_is_waited_for_at_least_once() {
    let Some(broker) = single() else { return };
    survives(broker, Run::short("long-alos", Guarantee::AtLeastOnce), longer_than_anybody_waits);
}

/// Partitions without a leader are told nothing of the end of a transaction by coordinators that take them for deleted (KAFKA-20734), and the next
/// commit of the same producer committed what had been aborted.
#[test]
#[ignore = "half a minute: make outages"]
fn what_a_transaction_has_left_in_partitions_without_a_leader_is_aborted_by_the_next_producer_of_its_id() {
    let single_copies = BrokerOptions { nodes: 3, ..BrokerOptions::default() }.with("default.replication.factor", "1");
    let Some(mut cluster) = Broker::start(single_copies.with("min.insync.replicas", "1")) else { return };
    let log = KafkaLog::new(KafkaConfig::new(cluster.bootstrap()));
    reading::made(&log, &[NewTopic::new("t", 6)]);
    let (mut first, mut second) = (writer(&log), writer(&log));
    retried(|| first.init());
    first.begin().unwrap();
    put(&mut *first, "aborted");
    cluster.stop(1);
    // It may be open for five, and is aborted then.
    thread::sleep(Duration::from_secs(8));
    cluster.start_again(1);
    first.commit().unwrap_err();
    retried(|| second.init());
    second.begin().unwrap();
    put(&mut *second, "committed");
    second.commit().unwrap();
    let mut found = Vec::new();
    reading::committed(&log, "t", 6, PATIENCE, &mut |record| found.push(text(record.value)));
    assert_eq!(found, ["committed"; 6]);
}

fn writer(log: &KafkaLog) -> Box<dyn TransactionalProducer> {
    log.transactional_producer("id", Duration::from_secs(5)).unwrap()
}

fn retried(mut call: impl FnMut() -> Result<(), LogError>) {
    let until = Instant::now() + PATIENCE;
    while let Err(error) = call() {
        assert!(error.kind() == ErrorKind::Retriable && Instant::now() < until, "{error}");
        thread::sleep(Duration::from_millis(50));
    }
}

/// One record into each partition.
fn put(producer: &mut dyn TransactionalProducer, value: &str) {
    let headers = Headers::default();
    let record = Outgoing { key: None, value: Some(value.as_bytes()), timestamp: SystemClock.now(), headers: &headers };
    (0..6).for_each(|partition| producer.send(&TopicPartition::new("t", partition), &[record]).unwrap());
    let lost = producer.flush(PATIENCE).failed;
    assert!(lost.is_empty(), "{lost:?}");
}

#[test]
#[ignore = "two minutes: make outages"]
fn a_rolling_restart_is_survived_exactly_once() {
    let Some(cluster) = three() else { return };
    survives(cluster, Run::long("rolling-eos", Guarantee::ExactlyOnce), one_after_the_other(Broker::stop));
}

#[test]
#[ignore = "two minutes: make outages"]
fn a_rolling_restart_is_survived_at_least_once() {
    let Some(cluster) = three() else { return };
    survives(cluster, Run::long("rolling-alos", Guarantee::AtLeastOnce), one_after_the_other(Broker::stop));
}

#[test]
#[ignore = "two minutes: make outages"]
fn each_leader_and_coordinator_is_killed_in_turn_exactly_once() {
    let Some(cluster) = three() else { return };
    survives(cluster, Run::long("turn-eos", Guarantee::ExactlyOnce), one_after_the_other(Broker::kill_hard));
}

#[test]
#[ignore = "two minutes: make outages"]
fn each_leader_and_coordinator_is_killed_in_turn_at_least_once() {
    let Some(cluster) = three() else { return };
    survives(cluster, Run::long("turn-alos", Guarantee::AtLeastOnce), one_after_the_other(Broker::kill_hard));
}
