//! A topology in a program of one's own: word counts over a log in memory, started, watched and stopped by its handle.
//!
//! `cargo run --example embedded`

#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use highwater::kafka::{Connect, MemoryLog, NewTopic, Outgoing};
use highwater::{Headers, KeyValueStore, Settings, StoreRef, Streams, StreamsBuilder, SystemClock, Timestamp, Topic, TopicPartition};

const LINES: Topic<String, String> = Topic::new("lines");
const COUNTS: StoreRef<KeyValueStore<String, i64>> = StoreRef::new("word-counts");

fn main() -> Result<(), Box<dyn Error>> {
    let builder = StreamsBuilder::new();
    builder
        .stream(LINES)
        .flat_map_values(|line| line.split_whitespace().map(str::to_lowercase).collect::<Vec<_>>())
        .group_by(|_, word| word.clone())
        .count(COUNTS);
    let topology = builder.build()?;

    let log = MemoryLog::new(Arc::new(SystemClock));
    log.admin()?.create_topics(&[NewTopic::new(LINES.name(), 2)])?;
    let mut producer = log.producer()?;
    for (partition, line) in [(0, "to be or not to be"), (1, "Be quick")] {
        let record = Outgoing {
            key: Some(b"hamlet"),
            value: Some(line.as_bytes()),
            timestamp: Timestamp::from_secs(1),
            headers: &Headers::default(),
        };
        producer.send(&TopicPartition::new(LINES.name(), partition), &[record])?;
    }

    let mut settings = Settings::new("word-count");
    settings.threads = 2;
    let streams = Streams::start(&topology, settings, Arc::new(log))?;
    streams.declare_end()?; // what is in the topic now is all there is
    println!("{:?}, {} records read", streams.wait(Duration::from_secs(10)), streams.progress().records_in);
    for (task, counts) in streams.store(&COUNTS)? {
        println!("task {task} has counted `be` {} times", counts.get(&"be".to_owned())?.unwrap_or(0));
    }
    streams.stop(Duration::from_secs(10))?;
    Ok(())
}
