//! Stores that take a while to be restored, with the operating system's threads: who does it, what is shown, and what goes on meanwhile.

#![allow(clippy::unwrap_used, reason = "a test fails where it stands")]

use std::sync::Arc;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use highwater::kafka::{Connect, FetchLimit, Isolation, MemoryLog, NewTopic, Outgoing, Position};
use highwater::{
    Guarantee, Headers, KeyValueStore, Launch, Settings, State, StoreRef, Streams, StreamsBuilder, SystemClock, Timestamp, Topic,
    TopicPartition,
};

const WORDS: Topic<String, String> = Topic::new("words");
const OUT: Topic<String, i64> = Topic::new("out");
const COUNTS: StoreRef<KeyValueStore<String, i64>> = StoreRef::new("counts");
const MANY: usize = 65_000;
const SOON: Duration = Duration::from_secs(120);

fn send(log: &MemoryLog, partition: &TopicPartition, records: &[(String, Vec<u8>)]) {
    let headers = Headers::default();
    let timestamp = Timestamp::from_millis(1);
    let records: Vec<_> = records
        .iter()
        .map(|(key, value)| Outgoing { key: Some(key.as_bytes()), value: Some(value), timestamp, headers: &headers })
        .collect();
    log.producer().unwrap().send(partition, &records).unwrap();
}

/// Counters of many words, as an earlier life left them in the last partition of the changelog, and where it stood.
fn past(log: &MemoryLog, partition: i32) {
    let past: Vec<_> = (0..MANY).map(|n| (format!("word {n}"), 1_i64.to_be_bytes().to_vec())).collect();
    send(log, &TopicPartition::new("app-counts-changelog", partition), &past);
    let position = Position { offset: 0, metadata: String::new() };
    let mut earlier = log.member("app", "earlier", Isolation::ReadCommitted).unwrap();
    earlier.commit(&earlier.token(), &[(TopicPartition::new("words", partition), position)]).unwrap();
}

/// Waits until so many results are committed.
fn results(log: &MemoryLog, count: usize) -> bool {
    let out = [0, 1].map(|partition| TopicPartition::new("out", partition));
    let mut reader = log.consumer(Isolation::ReadCommitted).unwrap();
    reader.assign(&out.clone().map(|partition| (partition, 0))).unwrap();
    let (since, mut found) = (Instant::now(), 0);
    while found < count && since.elapsed() < SOON {
        reader.poll(Duration::from_millis(20)).unwrap();
        for partition in &out {
            reader.fetch(partition, FetchLimit::default(), &mut |_| found += 1).unwrap();
        }
    }
    found == count
}

/// The count of a word in each partition that can be asked.
fn counted(streams: &Streams) -> Vec<Option<i64>> {
    let views = streams.store(&COUNTS).unwrap_or_default();
    views.iter().map(|(_, view)| view.get(&"word 5".to_owned()).unwrap()).collect()
}

fn goes_on_meanwhile(guarantee: Guarantee) {
    let log = Arc::new(MemoryLog::new(Arc::new(SystemClock)));
    let changelog = NewTopic::new("app-counts-changelog", 2).with("cleanup.policy", "compact");
    log.admin().unwrap().create_topics(&[NewTopic::new("words", 2), NewTopic::new("out", 2), changelog]).unwrap();
    past(&log, 1);
    for partition in 0..2 {
        send(&log, &TopicPartition::new("words", partition), &[("word 5".to_owned(), b"x".to_vec())]);
    }
    let builder = StreamsBuilder::new();
    builder.stream(WORDS).group_by_key().count(COUNTS).to_stream().to(OUT);
    let mut settings = Settings::new("app");
    (settings.commit_interval, settings.guarantee) = (Duration::from_millis(50), guarantee);
    // The first piece is told, and then it goes no further until the test has seen what it wants to see.
    let (told, hears) = mpsc::channel();
    let (goes, on) = mpsc::channel::<()>();
    let on = std::sync::Mutex::new(on);
    let slow = move |progress: &highwater::RestoreProgress| {
        let _ = told.send((progress.clone(), thread::current().name().map(str::to_owned)));
        let _ = on.lock().unwrap().recv_timeout(SOON);
    };
    let launch = Launch::new(&builder.build().unwrap(), settings, log.clone());
    let streams = launch.on_restore(slow).start().unwrap();
    let (progress, thread) = hears.recv_timeout(SOON).unwrap();
    assert_eq!(thread.as_deref(), Some("app-1-restore"), "not the thread that runs the tasks");
    assert_eq!((progress.task.partition, progress.begin, progress.end, &*progress.store), (1, 0, MANY as i64, "counts"));
    assert!(results(&log, 1), "the other partition goes on, and its results are committed");
    let shown = streams.progress();
    assert_eq!((shown.restoring.len(), shown.restoring[0].records), (1, progress.records));
    assert!(!shown.restoring[0].is_complete());
    assert!(streams.store(&COUNTS).is_err(), "a store that is not complete is not read");
    drop(goes);
    assert!(results(&log, 2));
    // The result is there before its commit is, and what a store shows is what is committed.
    let began = Instant::now();
    let runs = || streams.state() == State::Running && streams.progress().restoring.is_empty();
    while counted(&streams) != [Some(1), Some(2)] || !runs() {
        assert!(began.elapsed() < SOON, "{:?} {:?}", counted(&streams), streams.progress());
        thread::sleep(Duration::from_millis(5));
    }
    streams.stop(SOON).unwrap();
}

#[test]
fn a_partition_goes_on_while_the_store_of_another_is_restored() {
    goes_on_meanwhile(Guarantee::AtLeastOnce);
}

#[test]
fn and_so_do_its_transactions() {
    goes_on_meanwhile(Guarantee::ExactlyOnce);
}

#[test]
fn an_instance_that_is_stopped_while_it_restores_does_not_finish_first() {
    let log = Arc::new(MemoryLog::new(Arc::new(SystemClock)));
    let changelog = NewTopic::new("app-counts-changelog", 1).with("cleanup.policy", "compact");
    log.admin().unwrap().create_topics(&[NewTopic::new("words", 1), changelog]).unwrap();
    past(&log, 0);
    let builder = StreamsBuilder::new();
    builder.stream(WORDS).group_by_key().count(COUNTS);
    // The first piece is told and lasts until the instance has been asked to stop, and had a while to hear it. Where that was not enough,
    // each further piece lasts far longer than the instance needs.
    let (told, hears) = mpsc::channel();
    let (goes, on) = mpsc::channel::<()>();
    let on = std::sync::Mutex::new(on);
    let slow = move |progress: &highwater::RestoreProgress| {
        let _ = told.send(progress.records);
        if on.lock().unwrap().recv_timeout(SOON).is_err() {
            thread::sleep(Duration::from_secs(5));
        }
    };
    let streams = Launch::new(&builder.build().unwrap(), Settings::new("app"), log).on_restore(slow).start().unwrap();
    let first = hears.recv_timeout(SOON).unwrap();
    assert!(first * 5 < MANY as u64, "there are many pieces");
    streams.stop(Duration::from_millis(300)).unwrap_err();
    drop(goes);
    streams.stop(SOON).unwrap();
    assert!(hears.try_iter().all(|records| records < MANY as u64), "it was interrupted");
}
