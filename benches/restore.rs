//! What it costs to read a store back from its changelog, in memory and on disk: `cargo bench --bench restore`, and with
//! `--no-default-features --features cli` for fjall. CPU of the whole process, so that files merged beside it count, and reading the log does.

#![allow(clippy::print_stdout, clippy::unwrap_used, missing_docs)]

mod cpu;

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use highwater::kafka::{Connect, Isolation, MemoryLog, NewTopic, Outgoing, Position};
use highwater::{
    Headers, KeyValueStore, Launch, RestoreProgress, Settings, StoreRef, StreamsBuilder, SystemClock, Timestamp, Topic, TopicPartition,
};

const WORDS: Topic<String, String> = Topic::new("words");
const LATEST: StoreRef<KeyValueStore<String, String>> = StoreRef::new("latest");
const RECORDS: usize = 5_000_000;

fn main() {
    let folder = std::env::temp_dir().join(format!("highwater-restore-{}", std::process::id()));
    restore("memory", None, RECORDS);
    restore("memory, 1,000 keys", None, 1_000);
    restore("disk", Some(&folder), RECORDS);
    restore("disk, 1,000 keys", Some(&folder.join("few")), 1_000);
    let _ = std::fs::remove_dir_all(folder);
}

fn restore(name: &str, folder: Option<&Path>, keys: usize) {
    let log = Arc::new(MemoryLog::new(Arc::new(SystemClock)));
    let changelog = NewTopic::new("app-latest-changelog", 1).with("cleanup.policy", "compact").with("min.compaction.lag.ms", "86400000");
    log.admin().unwrap().create_topics(&[NewTopic::new("words", 1), changelog]).unwrap();
    fill(&log, keys);
    let builder = StreamsBuilder::new();
    builder.stream(WORDS).group_by_key().reduce(LATEST, |_, new| new);
    let mut settings = Settings::new("app");
    settings.state_dir = folder.map(Path::to_owned);
    let (told, hears) = mpsc::channel();
    let listener = move |progress: &RestoreProgress| drop(told.send((progress.clone(), cpu::process_time())));
    let streams = Launch::new(&builder.build().unwrap(), settings, log).on_restore(listener).start().unwrap();
    let (first, began) = hears.recv().unwrap();
    let (last, ended) = loop {
        let (progress, at) = hears.recv().unwrap();
        if progress.is_complete() {
            break (progress, at);
        }
    };
    let (records, cpu) = ((last.records - first.records) as f64, (ended - began).as_secs_f64());
    let wall = (last.elapsed - first.elapsed).as_secs_f64();
    println!("{name:<20} {:5.2} CPU s per million records, {:4.2} M/s on the clock", cpu / records * 1e6, records / wall / 1e6);
    streams.stop(Duration::from_secs(60)).unwrap();
}

/// Records with keys and values of eight bytes in an order that is none, and the position that says that the state is known.
fn fill(log: &MemoryLog, keys: usize) {
    let (mut producer, headers) = (log.producer().unwrap(), Headers::default());
    let changelog = TopicPartition::new("app-latest-changelog", 0);
    let names: Vec<String> = (0..keys).map(|n| format!("{:08}", n * 7_919 % keys)).collect();
    for from in (0..RECORDS).step_by(1_000) {
        let record = |n: usize| Outgoing {
            key: Some(names[n % keys].as_bytes()),
            value: Some(b"8 bytes!"),
            timestamp: Timestamp::from_millis(1),
            headers: &headers,
        };
        producer.send(&changelog, &(from..from + 1_000).map(record).collect::<Vec<_>>()).unwrap();
    }
    let mut earlier = log.member("app", "earlier", Isolation::ReadCommitted).unwrap();
    let position = Position { offset: 0, metadata: String::new() };
    earlier.commit(&earlier.token(), &[(TopicPartition::new("words", 0), position)]).unwrap();
}
