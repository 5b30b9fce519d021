//! An application of the real Kafka Streams goes on as one of Highwater, and back again: same application id, same topics, same state.
//!
//! The Java program (`java/`) counts each key, and after a re-key each value per minute; so does the topology here. Java processes the first
//! part of the records, Highwater the second, Java the third, Highwater the fourth. The results must be those of one application that was
//! never stopped: the counts of every key, and of every value and minute, are 1, 2, 3 and so on, without a gap or a repetition.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use highwater::kafka::{Connect, Isolation, KafkaConfig, KafkaLog, NewTopic, Occupied, Outgoing, partition_of};
use highwater::{
    Clock, Grouped, Guarantee, Headers, Launch, Materialized, Settings, State, StoreRef, Streams, StreamsBuilder, SystemClock, TimeWindows,
    Timestamp, Topic, TopicPartition, Topology, WindowStore, Windowed,
};

use super::broker::{self, Broker};
use super::java::{self, Java, JavaOptions};
use super::reading;

const PARTITIONS: i32 = 3;
const KEYS: usize = 40;
const VALUES: usize = 7;
/// No multiple of 60: the minutes at the seams get counts from both sides.
const PART: usize = 1_990;
const PATIENCE: Duration = Duration::from_secs(150);

#[test]
fn java_hands_over_at_least_once_and_gets_it_back() {
    let Some(shop) = Shop::open("takeover-alos", Guarantee::AtLeastOnce) else { return };
    shop.hand_over_and_back(CLASSIC);
}

#[test]
fn java_hands_over_exactly_once_and_gets_it_back() {
    let Some(shop) = Shop::open("takeover-eos", Guarantee::ExactlyOnce) else { return };
    shop.hand_over_and_back(CLASSIC);
}

/// The group protocol of Kafka 4.2 (KIP-1071), in which the broker shares out the tasks.
#[test]
fn java_hands_over_from_the_streams_protocol_and_gets_it_back() {
    let Some(shop) = Shop::open("takeover-streams", Guarantee::ExactlyOnce) else { return };
    shop.hand_over_and_back(STREAMS);
}

/// How the Java application is a group.
#[derive(Clone, Copy)]
struct Protocol {
    setting: &'static str,
    /// How many members others see.
    seen: usize,
    /// What it says when it meets members of another kind.
    refused: &'static str,
}

const CLASSIC: Protocol = Protocol { setting: "group.protocol=classic", seen: 1, refused: "InconsistentGroupProtocolException" };
const STREAMS: Protocol = Protocol { setting: "group.protocol=streams", seen: 0, refused: "GroupIdNotFoundException" };

/// Restored records by task and store.
type Restored = Arc<Mutex<BTreeMap<(String, String), u64>>>;

/// One application with its topics on the shared broker.
struct Shop {
    bootstrap: String,
    log: Arc<KafkaLog>,
    program: PathBuf,
    name: String,
    guarantee: Guarantee,
    folder: PathBuf,
}

impl Shop {
    fn open(name: &str, guarantee: Guarantee) -> Option<Self> {
        let bootstrap = Broker::shared()?.bootstrap().to_owned();
        let program = match java::program() {
            Ok(program) => program,
            Err(why) => return broker::do_without(&why),
        };
        let name = format!("{name}-{}", std::process::id());
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(&name);
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        let log = Arc::new(KafkaLog::new(KafkaConfig::new(bootstrap.clone())));
        let shop = Shop { bootstrap, log, program, name, guarantee, folder };
        let topics = ["in", "counts", "per-minute"].map(|topic| NewTopic::new(shop.topic(topic), PARTITIONS));
        reading::made(&*shop.log, &topics);
        Some(shop)
    }

    fn hand_over_and_back(&self, protocol: Protocol) {
        // Java, and Highwater waits for it to leave.
        let mut java = self.java("java-1", protocol);
        self.send(0);
        java.wait_until_running();
        self.judge(1);
        let restored = Restored::default();
        let streams = self.highwater(&restored);
        within("it says what it waits for", || streams.progress().occupied.is_some());
        thread::sleep(Duration::from_secs(1));
        let expected = Occupied { group: self.name.clone(), members: protocol.seen };
        within("it says whom it waits for", || streams.progress().occupied.as_ref() == Some(&expected));
        assert_eq!((streams.state(), streams.errors().len()), (State::Rebalancing, 0), "{:?}", streams.errors());
        java.leave();

        // Highwater goes on, with the state and the times that Java left behind.
        let logged = self.changelog_records();
        within("it is in", || streams.state() == State::Running && streams.progress().tasks.len() == 2 * PARTITIONS as usize);
        assert_eq!(streams.progress().occupied, None);
        assert_eq!(logged, 2 * PART as u64, "Java wrote every change");
        assert_eq!(sum(&restored), logged, "state that was never here: {restored:?}");
        let times = self.times(1);
        self.assert_committed(&times);
        for (task, progress) in streams.progress().tasks.iter().filter(|(task, _)| task.subtopology == 0) {
            let expected = Timestamp::from_millis(times[task.partition as usize]);
            assert_eq!(progress.stream_time, Some(expected), "{task} goes on at another time than Java had");
        }
        self.send(1);
        self.judge(2);

        // Java cannot come in meanwhile, and does no harm.
        let mut early = self.java("java-early", protocol);
        assert_eq!(early.ended().code(), Some(3), "{}", early.log());
        assert!(early.log().contains(protocol.refused), "{}", early.log());
        assert_eq!((streams.state(), streams.errors().len()), (State::Running, 0), "{:?}", streams.errors());
        streams.stop(PATIENCE).unwrap();
        self.assert_committed(&self.times(2));

        // Back: with what Java kept, or with nothing.
        let logged = self.changelog_records();
        let state = if self.guarantee == Guarantee::AtLeastOnce { "java-1" } else { "java-2" };
        let mut java = self.java(state, protocol);
        java.wait_until_running();
        for (partition, time) in self.times(2).into_iter().enumerate() {
            let expected = format!("time {partition} {time}");
            assert!(java.said().contains(&expected), "Java does not go on at our time, `{expected}`: {:?}", java.said());
        }
        self.send(2);
        self.judge(3);
        java.leave();

        // And again, with what Highwater kept.
        let restored = Restored::default();
        let streams = self.highwater(&restored);
        within("it is in", || streams.state() == State::Running && streams.progress().tasks.len() == 2 * PARTITIONS as usize);
        assert_eq!(sum(&restored), self.changelog_records() - logged, "what Java wrote, and nothing else: {restored:?}");
        self.send(3);
        self.judge(4);
        streams.stop(PATIENCE).unwrap();
    }

    fn topic(&self, suffix: &str) -> String {
        format!("{}-{suffix}", self.name)
    }

    /// Writes one of the parts, a record a second in event time.
    fn send(&self, part: usize) {
        let mut producer = self.log.producer().unwrap();
        let headers = Headers::default();
        for n in part * PART..(part + 1) * PART {
            let (key, value) = (key(n), value(n));
            let partition = TopicPartition::new(self.topic("in"), partition_of(key.as_bytes(), PARTITIONS));
            let record = Outgoing {
                key: Some(key.as_bytes()),
                value: Some(value.as_bytes()),
                timestamp: Timestamp::from_millis(time(n)),
                headers: &headers,
            };
            reading::answered(PATIENCE, &mut || producer.send(&partition, &[record]));
        }
        assert!(producer.flush(PATIENCE).failed.is_empty());
    }

    fn topology(&self) -> Topology {
        let builder = StreamsBuilder::new();
        let stream = builder.stream(Topic::<String, String>::named(self.topic("in")));
        stream.group_by_key().count("counts").to(Topic::<String, i64>::named(self.topic("counts")));
        let per_minute = Materialized::with(StoreRef::<WindowStore<String, i64>>::new("per-minute"));
        stream
            .group_by_with(Grouped::named("by-value"), |_, value| value.clone())
            .windowed_by(TimeWindows::of(Duration::from_mins(1)).grace(Duration::from_hours(24)))
            .count(per_minute)
            .to(Topic::<Windowed<String>, i64>::named(self.topic("per-minute")));
        builder.build().unwrap()
    }

    fn highwater(&self, restored: &Restored) -> Streams {
        let mut settings = Settings::new(self.name.clone());
        settings.guarantee = self.guarantee;
        settings.record_cache_bytes = 0;
        settings.commit_interval = Duration::from_millis(100);
        settings.state_dir = Some(self.folder.join("highwater"));
        let restored = restored.clone();
        let count = move |progress: &highwater::RestoreProgress| {
            restored.lock().unwrap().insert((progress.task.to_string(), progress.store.to_string()), progress.records);
        };
        Launch::new(&self.topology(), settings, self.log.clone()).on_restore(count).start().unwrap()
    }

    fn java(&self, state: &str, protocol: Protocol) -> Java {
        let guarantee = match self.guarantee {
            Guarantee::ExactlyOnce => "processing.guarantee=exactly_once_v2",
            _ => "processing.guarantee=at_least_once",
        };
        let (state, settings) = (self.folder.join(state), [guarantee, protocol.setting]);
        let options = JavaOptions { bootstrap: &self.bootstrap, application: &self.name, state: &state, settings: &settings };
        Java::start(&self.program, &options)
    }

    /// The largest time in each input partition after so many parts.
    fn times(&self, parts: usize) -> Vec<i64> {
        let mut times = vec![-1; PARTITIONS as usize];
        for n in 0..parts * PART {
            times[partition_of(key(n).as_bytes(), PARTITIONS) as usize] = time(n);
        }
        times
    }

    /// What is committed beside the positions of the input: version 2 and the partition's time. What Highwater has put there for itself may stand
    /// behind it; Java carries it along.
    fn assert_committed(&self, times: &[i64]) {
        let partitions: Vec<_> = (0..PARTITIONS).map(|number| TopicPartition::new(self.topic("in"), number)).collect();
        let mut desk = self.log.member(&self.name, "test", Isolation::ReadCommitted).unwrap();
        let committed = reading::answered(PATIENCE, &mut || desk.committed(&partitions));
        for ((partition, position), time) in partitions.iter().zip(committed).zip(times) {
            let expected = STANDARD.encode([&[2][..], &time.to_be_bytes()].concat());
            // Nine bytes: what follows begins with a character of its own.
            let found = position.unwrap().metadata;
            assert!(found.starts_with(&expected), "beside the position of {partition}: {found} does not begin with {expected}");
        }
    }

    /// Waits until both result topics hold what they must when `parts` parts were counted; then that must be all.
    fn judge(&self, parts: usize) {
        let (mut counts, mut minutes) = (BTreeMap::new(), BTreeMap::new());
        let (mut expected, mut expected_minutes) = (BTreeMap::<Vec<u8>, i64>::new(), BTreeMap::<Vec<u8>, i64>::new());
        for n in 0..parts * PART {
            let minute = time(n) - time(n) % 60_000;
            *expected.entry(key(n).into_bytes()).or_default() += 1;
            *expected_minutes.entry([value(n).as_bytes(), &minute.to_be_bytes()].concat()).or_default() += 1;
        }
        let all = |counts: &BTreeMap<Vec<u8>, Vec<i64>>| counts.values().map(Vec::len).sum::<usize>() >= parts * PART;
        let until = Instant::now() + PATIENCE;
        while !(all(&counts) && all(&minutes)) && Instant::now() < until {
            thread::sleep(Duration::from_millis(50));
            counts = self.read("counts");
            minutes = self.read("per-minute");
        }
        for (what, seen, expected) in [("counts", counts, expected), ("per-minute", minutes, expected_minutes)] {
            let expected: BTreeMap<_, Vec<i64>> = expected.into_iter().map(|(key, count)| (key, (1..=count).collect())).collect();
            for (key, counts) in &expected {
                assert_eq!(seen.get(key), Some(counts), "{what} of {} after {parts} parts", String::from_utf8_lossy(key));
            }
            assert_eq!(seen.len(), expected.len(), "{what}: other keys after {parts} parts");
        }
    }

    /// The values of each key, in order.
    fn read(&self, topic: &str) -> BTreeMap<Vec<u8>, Vec<i64>> {
        let mut found: BTreeMap<_, Vec<i64>> = BTreeMap::new();
        reading::committed(&*self.log, &self.topic(topic), PARTITIONS, PATIENCE, &mut |record| {
            let count = i64::from_be_bytes(record.value.unwrap().try_into().unwrap());
            found.entry(record.key.unwrap().to_vec()).or_default().push(count);
        });
        found
    }

    fn changelog_records(&self) -> u64 {
        let mut records = 0;
        for store in ["counts", "per-minute"] {
            let changelog = self.topic(&format!("{store}-changelog"));
            reading::committed(&*self.log, &changelog, PARTITIONS, PATIENCE, &mut |_| records += 1);
        }
        records
    }
}

impl Drop for Shop {
    fn drop(&mut self) {
        if !thread::panicking() {
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}

fn key(n: usize) -> String {
    format!("key-{}", n % KEYS)
}

fn value(n: usize) -> String {
    format!("value-{}", n % VALUES)
}

/// A record a second, up to a while ago: a broker deletes at once what is older than its topic keeps.
fn time(n: usize) -> i64 {
    static BEGIN: LazyLock<i64> = LazyLock::new(|| SystemClock.now().as_millis() / 1_000 - 5 * PART as i64);
    (*BEGIN + n as i64) * 1_000
}

fn sum(restored: &Restored) -> u64 {
    restored.lock().unwrap().values().sum()
}

fn within(what: &str, is_so: impl Fn() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < until, "not within {PATIENCE:?}: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}
