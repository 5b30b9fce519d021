//! One job with its topics, on both logs.

#![allow(clippy::print_stderr, reason = "what was seen is told to whoever runs it")]

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use highwater::kafka::{
    Connect, FileLog, FileLogOptions, Isolation, KafkaConfig, KafkaLog, NewTopic, Outgoing, Producer, TransactionalProducer, partition_of,
};
use highwater::{Headers, SystemClock, Timestamp, TopicPartition};

use crate::broker::Broker;
use crate::reading;

pub(super) const PARTITIONS: i32 = 3;
const PATIENCE: Duration = Duration::from_secs(150);
/// Records of one transaction.
const CHUNK: usize = 10;

/// A record of the input.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Given {
    pub(super) partition: i32,
    pub(super) key: Option<Vec<u8>>,
    pub(super) value: Option<Vec<u8>>,
    pub(super) timestamp: i64,
    pub(super) headers: Headers,
}

impl Given {
    /// In the partition where its key belongs.
    pub(super) fn keyed(key: &str, value: Option<&str>, timestamp: i64) -> Given {
        Given {
            partition: partition_of(key.as_bytes(), PARTITIONS),
            key: Some(key.as_bytes().to_vec()),
            value: value.map(|value| value.as_bytes().to_vec()),
            timestamp,
            headers: Headers::default(),
        }
    }

    fn send(&self, producer: &mut dyn Producer, topic: &str) {
        let Given { key, value, headers, .. } = self;
        let timestamp = Timestamp::from_millis(self.timestamp);
        let record = Outgoing { key: key.as_deref(), value: value.as_deref(), timestamp, headers };
        producer.send(&TopicPartition::new(topic, self.partition), &[record]).unwrap();
    }
}

/// A record of a topic that the job writes: value, timestamp, headers. Where a dead letter was and when it died is left out.
type Written = (Option<Vec<u8>>, i64, Vec<(String, Option<Vec<u8>>)>);

/// Records in their order, and their topic.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Records(pub(super) Vec<Written>, String);

impl Records {
    /// Whether they are of the topic that the job file calls so.
    pub(super) fn topic_is(&self, name: &str) -> bool {
        self.1.starts_with(&format!("{name}."))
    }
}

/// What a job has written, by topic, partition and key.
pub(super) type Found = BTreeMap<(String, i32, Option<Vec<u8>>), Records>;

/// A job, its files and its topics on the shared broker.
pub(super) struct Stage {
    bootstrap: String,
    log: Arc<KafkaLog>,
    folder: PathBuf,
    job: PathBuf,
    application: String,
    at_least_once: bool,
    /// Results are updated, and each commit shows how far they are.
    updates: bool,
    /// Where results go.
    output: String,
    /// The input first.
    topics: Vec<String>,
}

impl Stage {
    /// The job file, with names that no other run has.
    pub(super) fn open(name: &str, text: &str) -> Option<Stage> {
        let bootstrap = Broker::shared()?.bootstrap().to_owned();
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("topologies-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        let (mut application, mut topics, mut output, mut file) = (String::new(), Vec::new(), String::new(), String::new());
        let mut block = "";
        for line in text.lines() {
            if !line.starts_with(' ') {
                block = line;
            }
            let found = ["application: ", "topic: ", "dead-letter: "].into_iter().find(|word| line.trim_start().starts_with(word));
            let Some((before, named)) = found.and_then(|word| line.split_once(word).map(|(space, name)| (format!("{space}{word}"), name)))
            else {
                file += &format!("{line}\n");
                continue;
            };
            let named = format!("{}.{name}.{}", named.trim(), std::process::id());
            file += &format!("{before}{named}\n");
            if before.starts_with("application") {
                application = named;
            } else {
                if block.starts_with("output:") {
                    output.clone_from(&named);
                }
                topics.push(named);
            }
        }
        let job = folder.join("job.yaml");
        fs::write(&job, file).unwrap();
        let log = Arc::new(KafkaLog::new(KafkaConfig::new(bootstrap.clone())));
        let (at_least_once, updates) = (text.contains("guarantee: at-least-once"), text.contains("emit: on-update"));
        Some(Stage { bootstrap, log, folder, job, application, at_least_once, updates, output, topics })
    }

    pub(super) fn input(&self) -> &str {
        &self.topics[0]
    }

    pub(super) fn log(&self) -> &KafkaLog {
        &self.log
    }

    /// On the cluster, with input that is aborted, and some that is undecided while the job runs; and on the embedded log.
    pub(super) fn same_on_both(&self, given: &[Given]) -> Found {
        self.make_topics(&*self.log);
        let mut open = self.write_and_leave_one_open(given);
        let stable = self.settled_ends();
        let whole = self.ends(Isolation::ReadUncommitted);
        assert_ne!(stable, whole, "something is undecided");

        // A first run, which must wait for what is undecided.
        let mut first = self.run("first", &[]);
        self.wait_for_positions(&mut first, &stable);
        thread::sleep(Duration::from_millis(500));
        assert_eq!(self.positions(), stable, "nothing behind an open transaction is read");
        reading::answered(PATIENCE, &mut || open.commit());
        drop(self.transactions(1)); // the markers are written
        let whole_and_decided = self.settled_ends();
        assert!(whole_and_decided.iter().zip(&whole).all(|(now, before)| now >= before), "everything is decided");
        self.wait_for_positions(&mut first, &whole_and_decided);
        first.end();

        self.same_over_what_is_there(given)
    }

    /// The rest of the job on the cluster, and all of it on the embedded log.
    pub(super) fn same_over_what_is_there(&self, given: &[Given]) -> Found {
        self.make_topics(&*self.log);
        self.run("last", &["--until", "end", "--output", "cluster.csv"]).ended_well();
        let on_cluster = self.found(&*self.log);
        assert!(on_cluster.keys().any(|(topic, ..)| *topic == self.output), "there are results");
        let embedded = self.embedded(given);
        if on_cluster != embedded
            && let Some(why) = self.repeats()
        {
            eprintln!("{}: some of it was done twice, as it may be at least once: {why}", self.application);
            self.assert_repeated(&on_cluster, &embedded);
            return on_cluster;
        }
        assert_eq!(on_cluster, embedded, "the cluster first, the embedded log second; the engine said:\n{}", self.all_said());
        assert_eq!(self.rows("cluster.csv"), self.rows("embedded.csv"));
        on_cluster
    }

    /// At least once what was given up before it was committed is done again, and counts twice: where the engine says that it had to, because its
    /// records were not acknowledged in time or it was taken for dead. Exactly once that makes no difference.
    fn repeats(&self) -> Option<String> {
        let signs = ["what was sent since the last commit is given up", "fenced: joining the group again", "event=Lost("];
        let said = self.all_said();
        let line = said.lines().find(|line| signs.iter().any(|sign| line.contains(sign)));
        line.filter(|_| self.at_least_once).map(str::to_owned)
    }

    /// Nothing is missing, and there is nothing that has no cause: results of the same windows, each at least as often.
    fn assert_repeated(&self, found: &Found, expected: &Found) {
        assert!(found.keys().eq(expected.keys()), "other results:\n{found:?}\nnot\n{expected:?}\nthe engine said:\n{}", self.all_said());
        let missing = expected.iter().find(|(key, records)| found[*key].0.len() < records.0.len());
        assert!(missing.is_none(), "results are missing: {missing:?}; the engine said:\n{}", self.all_said());
    }

    /// What the runs on the cluster have said.
    fn all_said(&self) -> String {
        ["first", "last"].map(|run| fs::read_to_string(self.said(run)).unwrap_or_default()).concat()
    }

    /// Over input that it cannot get through on the cluster: what it says then.
    pub(super) fn fails_over(&self, given: &[Given]) -> String {
        self.make_topics(&*self.log);
        self.write_decided(given);
        let mut only = self.run("only", &["--until", "end"]);
        assert!(!only.ended().success(), "it ended well");
        only.said()
    }

    fn rows(&self, file: &str) -> Vec<String> {
        let mut rows: Vec<_> = fs::read_to_string(self.folder.join(file)).unwrap().lines().map(str::to_owned).collect();
        rows.sort();
        rows
    }

    /// The job over the same records on the log of a folder.
    fn embedded(&self, given: &[Given]) -> Found {
        let folder = self.folder.join("embedded");
        let open = || FileLog::open(folder.join("log"), Arc::new(SystemClock), FileLogOptions::default()).unwrap();
        fs::create_dir_all(&folder).unwrap();
        {
            let log = open();
            self.make_topics(&log);
            let mut producer = log.producer().unwrap();
            given.iter().for_each(|record| record.send(&mut *producer, self.input()));
            assert!(producer.flush(PATIENCE).failed.is_empty());
        }
        let mut command = self.command("embedded", &["--until", "end", "--output", "embedded.csv", "--partitions", "3", "--data"]);
        Process::start(command.arg(&folder), self.said("embedded")).ended_well();
        self.found(&open())
    }

    /// Those that are not there yet. Their records stay, however old they say they are.
    fn make_topics(&self, log: &dyn Connect) {
        let admin = log.admin().unwrap();
        let existing = reading::answered(PATIENCE, &mut || admin.list_topics());
        let missing = self.topics.iter().filter(|topic| !existing.contains(topic));
        reading::made(log, &missing.map(|topic| NewTopic::new(topic, PARTITIONS).with("retention.ms", "-1")).collect::<Vec<_>>());
    }

    /// Once it is there, whatever its id has done before is decided, and readers see it: until all markers are written it is refused.
    fn transactions(&self, number: usize) -> Box<dyn TransactionalProducer> {
        let mut producer = self.log.transactional_producer(&format!("{}.writer.{number}", self.application), PATIENCE).unwrap();
        reading::answered(PATIENCE, &mut || producer.init());
        producer
    }

    /// A transaction for every few records; before every third one, the same records in one that is aborted.
    fn write(&self, producer: &mut dyn TransactionalProducer, given: &[Given]) {
        for (number, chunk) in given.chunks(CHUNK).enumerate() {
            for abort in [true, false].into_iter().filter(|abort| !abort || number % 3 == 0) {
                producer.begin().unwrap();
                chunk.iter().for_each(|record| record.send(producer, self.input()));
                assert!(producer.flush(PATIENCE).failed.is_empty());
                reading::answered(PATIENCE, &mut || if abort { producer.abort() } else { producer.commit() });
            }
        }
    }

    /// Everything is committed, or aborted.
    pub(super) fn write_decided(&self, given: &[Given]) {
        self.write(&mut *self.transactions(0), given);
        drop(self.transactions(0));
    }

    /// The same, but for some in the middle, which the producer that is given back has still to decide about.
    fn write_and_leave_one_open(&self, given: &[Given]) -> Box<dyn TransactionalProducer> {
        let (mut decided, mut open) = (self.transactions(0), self.transactions(1));
        let (before, rest) = given.split_at(given.len() / 2);
        let (undecided, after) = rest.split_at(given.len() / 10);
        self.write(&mut *decided, before);
        open.begin().unwrap();
        undecided.iter().for_each(|record| record.send(&mut *open, self.input()));
        assert!(open.flush(PATIENCE).failed.is_empty());
        self.write(&mut *decided, after);
        drop(decided);
        drop(self.transactions(0));
        open
    }

    /// What the input holds and readers of committed records see.
    pub(super) fn given(&self) -> Vec<Given> {
        let mut given = Vec::new();
        reading::committed(&*self.log, self.input(), PARTITIONS, PATIENCE, &mut |record| {
            let owned = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
            let (partition, headers) = (record.partition, record.headers.clone());
            let timestamp = record.timestamp.as_millis();
            given.push(Given { partition, key: owned(record.key), value: owned(record.value), timestamp, headers });
        });
        given
    }

    /// What is in the topics that the job writes.
    fn found(&self, log: &dyn Connect) -> Found {
        let mut found = Found::new();
        for topic in &self.topics[1..] {
            reading::committed(log, topic, PARTITIONS, PATIENCE, &mut |record| {
                let owned = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
                let here_and_now = ["__hw.dlq.offset", "__hw.dlq.failed.at", "__hw.dlq.message"];
                let headers = record.headers.iter().filter(|(name, _)| !here_and_now.contains(name));
                let headers = headers.map(|(name, value)| (name.to_owned(), owned(value))).collect();
                let records = found.entry((topic.clone(), record.partition, owned(record.key))).or_default();
                records.1.clone_from(topic);
                records.0.push((owned(record.value), record.timestamp.as_millis(), headers));
            });
        }
        if self.updates {
            self.keep_last_updates(&mut found);
        }
        found
    }

    /// Between two commits only the last update of a count is sent, and where commits fall is chance: counts rise, and the last one is the result.
    fn keep_last_updates(&self, found: &mut Found) {
        for (key, records) in found.iter_mut().filter(|((topic, ..), _)| *topic == self.output) {
            let rises = records.0.is_sorted_by(|(before, ..), (after, ..)| before < after);
            assert!(rises || self.repeats().is_some(), "{key:?} does not rise: {records:?}; the engine said:\n{}", self.all_said());
            records.0.drain(..records.0.len() - 1);
        }
    }

    fn inputs(&self) -> Vec<TopicPartition> {
        (0..PARTITIONS).map(|number| TopicPartition::new(self.input(), number)).collect()
    }

    fn ends(&self, isolation: Isolation) -> Vec<i64> {
        let mut consumer = self.log.consumer(isolation).unwrap();
        reading::answered(PATIENCE, &mut || consumer.end_offsets(&self.inputs(), isolation))
    }

    /// Where readers of committed records are at the end: it stands still, for markers are written one after the other.
    fn settled_ends(&self) -> Vec<i64> {
        let until = Instant::now() + PATIENCE;
        let (mut before, mut same) = (Vec::new(), 0);
        while same < 5 {
            let ends = self.ends(Isolation::ReadCommitted);
            same = if ends == before { same + 1 } else { 0 };
            assert!(Instant::now() < until, "the input does not stand still: {before:?}, {ends:?}");
            before = ends;
            thread::sleep(Duration::from_millis(50));
        }
        before
    }

    /// What the job has committed; 0 where that is nothing yet.
    fn positions(&self) -> Vec<i64> {
        let committed = reading::answered(PATIENCE, &mut || self.log.admin()?.group_positions(&self.application));
        let of = |partition| committed.iter().find(|(found, _)| *found == partition).map_or(0, |(_, position)| position.offset);
        self.inputs().into_iter().map(of).collect()
    }

    fn wait_for_positions(&self, process: &mut Process, wanted: &[i64]) {
        let until = Instant::now() + PATIENCE;
        while self.positions() != wanted {
            process.runs();
            assert!(Instant::now() < until, "{:?}, not {wanted:?}; it said:\n{}", self.positions(), process.said());
            thread::sleep(Duration::from_millis(50));
        }
    }

    fn said(&self, run: &str) -> PathBuf {
        self.folder.join(format!("{run}.said"))
    }

    fn command(&self, run: &str, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_highwater"));
        command.arg("run").arg(&self.job).args(args).current_dir(&self.folder).stdin(Stdio::null()).stdout(Stdio::null());
        command.env("HIGHWATER_LOG", "highwater=info").stderr(File::create(self.said(run)).unwrap());
        command
    }

    /// The job on the cluster; each run has the state of those before.
    fn run(&self, run: &str, args: &[&str]) -> Process {
        let mut command = self.command(run, args);
        command.args(["--bootstrap", &self.bootstrap, "--state-dir", "state"]);
        Process::start(&mut command, self.said(run))
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if !thread::panicking() {
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}

/// A run of the program. It is killed when it is dropped.
struct Process(Child, PathBuf);

impl Process {
    fn start(command: &mut Command, said: PathBuf) -> Process {
        Process(command.spawn().unwrap(), said)
    }

    fn said(&self) -> String {
        fs::read_to_string(&self.1).unwrap_or_default()
    }

    fn runs(&mut self) {
        let status = self.0.try_wait().unwrap();
        assert!(status.is_none(), "it ended with {status:?}:\n{}", self.said());
    }

    /// As Ctrl-C does.
    fn end(self) {
        let done = Command::new("kill").args(["-TERM", &self.0.id().to_string()]).status().unwrap();
        assert!(done.success());
        self.ended_well();
    }

    fn ended_well(mut self) {
        let status = self.ended();
        assert!(status.success(), "it ended with {status}:\n{}", self.said());
    }

    fn ended(&mut self) -> ExitStatus {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < until, "it does not end:\n{}", self.said());
            thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
