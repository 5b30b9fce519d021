//! State in a folder: what a restart reads back, and what it refuses.

#![allow(clippy::unwrap_used, reason = "a test fails where it stands")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use highwater::kafka::{Connect, MemoryLog, NewTopic, Outgoing};
use highwater::{
    Consumed, EmitStrategy, ErrorKind, Guarantee, Headers, KeyValueStore, Launch, Settings, State, StoreRef, Streams, StreamsBuilder,
    SystemClock, TimeWindows, Timestamp, Topic, TopicPartition, Topology, Watermark, Windowed,
};

const WORDS: Topic<String, String> = Topic::new("words");
const COUNTS: StoreRef<KeyValueStore<String, i64>> = StoreRef::new("counts");
const SOON: Duration = Duration::from_secs(120);

/// A folder that is empty now.
fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("state-{name}"));
    let _ = std::fs::remove_dir_all(&folder);
    folder
}

fn log() -> Arc<MemoryLog> {
    let log = MemoryLog::new(Arc::new(SystemClock));
    log.admin().unwrap().create_topics(&[NewTopic::new("words", 2)]).unwrap();
    Arc::new(log)
}

fn counting() -> Topology {
    let builder = StreamsBuilder::new();
    builder.stream(WORDS).group_by_key().count(COUNTS);
    builder.build().unwrap()
}

fn write(log: &MemoryLog, words: &[&str]) {
    let headers = Headers::default();
    for word in words {
        let record = Outgoing { key: Some(word.as_bytes()), value: Some(b"x"), timestamp: Timestamp::from_secs(1), headers: &headers };
        let partition = i32::from(word.as_bytes()[0] % 2);
        log.producer().unwrap().send(&TopicPartition::new("words", partition), &[record]).unwrap();
    }
}

/// An instance that has counted everything, and how many changelog records it read back for that.
fn run(log: &Arc<MemoryLog>, state_dir: Option<&Path>) -> (Streams, u64) {
    let mut settings = Settings::new("app");
    settings.state_dir = state_dir.map(Path::to_path_buf);
    let restored = Arc::new(AtomicU64::new(0));
    let told = restored.clone();
    // Progress comes in steps, and only the last one of a store says how many records it took.
    let launch = Launch::new(&counting(), settings, log.clone()).on_restore(move |progress| {
        if progress.position >= progress.end {
            told.fetch_add(progress.records, Ordering::SeqCst);
        }
    });
    let streams = launch.start().unwrap();
    // Whose tasks have committed everything before they are assigned is finished without them, and has nothing to show.
    assert_eq!(streams.wait_for(State::Running, SOON), State::Running, "{:?}", streams.errors());
    streams.declare_end().unwrap();
    assert_eq!(streams.wait(SOON), State::Finished, "{:?}", streams.errors());
    (streams, restored.load(Ordering::SeqCst))
}

fn counts(streams: &Streams) -> BTreeMap<String, i64> {
    let views = streams.store(&COUNTS).unwrap();
    views.iter().flat_map(|(_, view)| view.all().unwrap().map(Result::unwrap).collect::<Vec<_>>()).collect()
}

fn expected(counts: &[(&str, i64)]) -> BTreeMap<String, i64> {
    counts.iter().map(|(word, count)| ((*word).to_owned(), *count)).collect()
}

#[test]
fn a_restart_reads_back_only_what_was_written_since() {
    let (log, folder) = (log(), folder("tail"));
    write(&log, &["a", "b", "c", "a"]);
    let (first, restored) = run(&log, Some(&folder));
    assert_eq!((restored, counts(&first)), (0, expected(&[("a", 2), ("b", 1), ("c", 1)])));
    first.stop(SOON).unwrap();
    let (again, restored) = run(&log, Some(&folder));
    assert_eq!((restored, counts(&again)), (0, expected(&[("a", 2), ("b", 1), ("c", 1)])), "everything was there");
    again.stop(SOON).unwrap();
    write(&log, &["b", "d"]);
    let (elsewhere, restored) = run(&log, None);
    assert_eq!(restored, 3, "an instance with nothing reads everything back");
    elsewhere.stop(SOON).unwrap();
    let (back, restored) = run(&log, Some(&folder));
    assert_eq!((restored, counts(&back)), (2, expected(&[("a", 2), ("b", 2), ("c", 1), ("d", 1)])), "the tail alone");
}

#[test]
fn stores_of_a_changelog_that_is_another_one_are_built_anew() {
    let folder = folder("another-log");
    let first = log();
    write(&first, &["a", "b", "c", "a", "d", "e"]);
    run(&first, Some(&folder)).0.stop(SOON).unwrap();
    let second = log();
    write(&second, &["b"]);
    let (streams, _) = run(&second, Some(&folder));
    assert_eq!(counts(&streams), expected(&[("b", 1)]));
    assert!(streams.progress().rebuilt_stores > 0);
}

#[test]
fn a_folder_in_use_is_refused_at_start() {
    let (log, folder) = (log(), folder("in-use"));
    let (owner, _) = run(&log, Some(&folder));
    let mut settings = Settings::new("app");
    settings.state_dir = Some(folder.clone());
    let error = Streams::start(&counting(), settings.clone(), log.clone()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfig);
    assert!(error.to_string().contains("is in use by another instance in this process"), "{error}");
    owner.stop(SOON).unwrap();
    assert!(owner.store(&COUNTS).unwrap()[0].1.get(&"a".to_owned()).is_err(), "a stopped instance has closed its files");
    Streams::start(&counting(), settings, log).unwrap().stop(SOON).unwrap();
}

#[test]
fn state_of_another_topology_is_refused_at_start() {
    let (log, folder) = (log(), folder("foreign"));
    write(&log, &["a"]);
    run(&log, Some(&folder)).0.stop(SOON).unwrap();
    let builder = StreamsBuilder::new();
    builder.stream(WORDS).group_by_key().count(StoreRef::<KeyValueStore<String, i64>>::new("totals"));
    let mut settings = Settings::new("app");
    settings.state_dir = Some(folder);
    let error = Streams::start(&builder.build().unwrap(), settings, log).unwrap_err().to_string();
    assert!(error.contains("it has      store counts: key-value"), "{error}");
    assert!(error.contains("needed is   store totals: key-value"), "{error}");
}

/// Everything closes at the last record, in passes that commits fall between: more windows than may be uncommitted at a time.
fn close_at_once(windows: usize, guarantee: Guarantee, name: &str) {
    const OUT: Topic<Windowed<String>, i64> = Topic::new("out");
    let log = log();
    log.admin().unwrap().create_topics(&[NewTopic::new("out", 1)]).unwrap();
    let builder = StreamsBuilder::new();
    builder
        .stream(Consumed::with(WORDS).watermark(Watermark::bounded(Duration::ZERO).never_idle()))
        .group_by_key()
        .windowed_by(TimeWindows::of(Duration::from_secs(60)))
        .emit(EmitStrategy::on_window_close())
        .count("windowed")
        .to(OUT);
    let keys: Vec<String> = (0..windows).map(|n| format!("k{:06}", n * 7919 % windows)).collect();
    let (headers, mut producer) = (Headers::default(), log.producer().unwrap());
    let record = |key: &'_ str, at: i64| (key.to_owned(), Timestamp::from_secs(at));
    let records: Vec<_> = keys.iter().map(|key| record(key, 30)).chain([record("far", 3600)]).collect();
    let outgoing = |(key, at): &'_ (String, Timestamp)| (key.as_bytes().to_vec(), *at);
    for (key, timestamp) in records.iter().map(outgoing) {
        let record = Outgoing { key: Some(&key), value: Some(b"x"), timestamp, headers: &headers };
        producer.send(&TopicPartition::new("words", 0), &[record]).unwrap();
    }
    let mut settings = Settings::new("app");
    (settings.guarantee, settings.state_dir, settings.close_batch) = (guarantee, Some(folder(name)), 1_000);
    settings.commit_interval = Duration::from_secs(3600); // only the budget asks for commits
    settings.memory = 16 << 20;
    let streams = Streams::start(&builder.build().unwrap(), settings, log.clone()).unwrap();
    let begun = Instant::now();
    while streams.progress().records_out < windows as u64 {
        assert!(streams.errors().is_empty() && begun.elapsed() < SOON, "{:?}", streams.errors());
        std::thread::sleep(Duration::from_millis(5));
    }
    let commits = streams.progress().commits;
    streams.stop(SOON).unwrap();
    // A megabyte holds some eleven thousand rows, and a round may add a thousand; each window is written once and taken out once.
    assert!(commits >= windows as u64 * 2 / 13_000, "{commits} commits for {windows} windows");
    let mut seen = BTreeMap::new();
    let (mut consumer, partition) = (log.consumer(highwater::kafka::Isolation::ReadCommitted).unwrap(), TopicPartition::new("out", 0));
    consumer.assign(&[(partition.clone(), 0)]).unwrap();
    let all = highwater::kafka::FetchLimit { records: usize::MAX, bytes: usize::MAX };
    let mut count = |record: highwater::RawRecord<'_>| *seen.entry(record.key.unwrap()[..7].to_vec()).or_insert(0) += 1;
    consumer.fetch(&partition, all, &mut count).unwrap();
    assert_eq!(seen.len(), windows);
    assert!(seen.values().all(|times| *times == 1), "each window once");
}

#[test]
fn fifty_thousand_windows_close_in_several_commits() {
    close_at_once(50_000, Guarantee::AtLeastOnce, "many-windows");
}

#[test]
fn windows_close_in_several_transactions() {
    close_at_once(20_000, Guarantee::ExactlyOnce, "many-windows-exactly-once");
}
