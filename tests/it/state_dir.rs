//! State in a folder: what a restart reads back, and what it refuses.

#![allow(clippy::unwrap_used, reason = "a test fails where it stands")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use highwater::kafka::{Connect, MemoryLog, NewTopic, Outgoing};
use highwater::{
    ErrorKind, Headers, KeyValueStore, Launch, Settings, State, StoreRef, Streams, StreamsBuilder, SystemClock, Timestamp, Topic,
    TopicPartition, Topology,
};

const WORDS: Topic<String, String> = Topic::new("words");
const COUNTS: StoreRef<KeyValueStore<String, i64>> = StoreRef::new("counts");
const SOON: Duration = Duration::from_secs(20);

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
