//! A windowed count from topic to topic on the memory log: records per CPU second, and whether memory grows.
//!
//! `cargo bench --bench end_to_end` feeds 2 M records with string keys and prints CPU seconds per million for one thread, at least once and
//! exactly once.
//! `cargo bench --bench end_to_end -- memory` feeds 10 M records over 1,000 keys while it deletes what was read, and prints
//! the slope of the resident size over the last 5 M. CPU time and size come from `/proc`; elsewhere it says so and stops.

#![allow(clippy::print_stdout, clippy::unwrap_used, missing_docs)]

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use highwater::kafka::{Connect, MemoryLog, NewTopic, Outgoing};
use highwater::{
    Consumed, EmitStrategy, Guarantee, Headers, Settings, Streams, StreamsBuilder, SystemClock, TimeWindows, Timestamp, Topic,
    TopicPartition, Topology, Watermark, Windowed,
};

const IN: Topic<String, i64> = Topic::new("in");
const OUT: Topic<Windowed<String>, i64> = Topic::new("out");
const KEYS: i64 = 1_000;
const BATCH: i64 = 1_000;

fn counting(bounded: bool) -> Topology {
    let builder = StreamsBuilder::new();
    let mut from = Consumed::with(IN);
    if bounded {
        from = from.watermark(Watermark::bounded(Duration::from_secs(5)));
    }
    builder
        .stream(from)
        .group_by_key()
        .windowed_by(TimeWindows::of(Duration::from_secs(10)))
        .emit(EmitStrategy::on_window_close())
        .count("counts")
        .to(OUT);
    builder.build().unwrap()
}

/// User and system time of this process in seconds.
fn cpu_seconds() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").expect("this bench reads /proc");
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: f64 = fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap();
    ticks / 100.0
}

fn resident_mb() -> f64 {
    let status = fs::read_to_string("/proc/self/status").expect("this bench reads /proc");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
}

fn log_with_topics() -> Arc<MemoryLog> {
    let log = Arc::new(MemoryLog::new(Arc::new(SystemClock)));
    log.admin().unwrap().create_topics(&[NewTopic::new("in", 1), NewTopic::new("out", 1)]).unwrap();
    log
}

/// Appends records of event times 1 ms apart, from the `from`th on.
fn feed(log: &MemoryLog, from: i64, records: i64) {
    let (mut producer, partition, headers) = (log.producer().unwrap(), TopicPartition::new("in", 0), Headers::default());
    let keys: Vec<String> = (0..KEYS).map(|n| format!("customer-{n:06}")).collect();
    for start in (from..from + records).step_by(BATCH as usize) {
        let values: Vec<[u8; 8]> = (start..start + BATCH).map(|n: i64| n.to_be_bytes()).collect();
        let batch: Vec<Outgoing<'_>> = (start..start + BATCH)
            .zip(&values)
            .map(|(n, value)| Outgoing {
                key: Some(keys[(n.wrapping_mul(7_919) % KEYS) as usize].as_bytes()),
                value: Some(value),
                timestamp: Timestamp::from_millis(1_700_000_000_000 + n),
                headers: &headers,
            })
            .collect();
        producer.send(&partition, &batch).unwrap();
    }
    assert!(producer.flush(Duration::from_secs(10)).failed.is_empty());
}

fn position(streams: &Streams) -> i64 {
    let progress = streams.progress();
    progress.tasks.values().flat_map(|task| &task.inputs).filter_map(|input| input.position).max().unwrap_or(0)
}

fn wait_for(streams: &Streams, offset: i64) {
    while position(streams) < offset {
        assert!(streams.errors().is_empty(), "{:?}", streams.errors());
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn throughput(name: &str, bounded: bool, guarantee: Guarantee, commit_interval: Duration) {
    const RECORDS: i64 = 2_000_000;
    let log = log_with_topics();
    feed(&log, 0, RECORDS);
    let best = (0..3)
        .map(|round| {
            let mut settings = Settings::new(format!("bench-{round}"));
            settings.threads = 1;
            settings.guarantee = guarantee;
            settings.commit_interval = commit_interval;
            let before = cpu_seconds();
            let streams = Streams::start(&counting(bounded), settings, log.clone()).unwrap();
            wait_for(&streams, RECORDS);
            streams.stop(Duration::from_secs(10)).unwrap();
            cpu_seconds() - before
        })
        .fold(f64::MAX, f64::min);
    let per_million = best / (RECORDS as f64 / 1e6);
    println!("{name:<40} {per_million:5.2} CPU s per million, {:5.2} M records per CPU s (aim: at least 1)", 1.0 / per_million);
}

fn memory() {
    const STEP: i64 = 100_000;
    const STEPS: i64 = 100;
    let log = log_with_topics();
    let mut settings = Settings::new("bench");
    // Ten million records take a few seconds here: with the usual interval nothing would be committed, and so freed, before the end.
    settings.commit_interval = Duration::from_millis(200);
    let streams = Streams::start(&counting(true), settings, log.clone()).unwrap();
    let admin = log.admin().unwrap();
    let mut half = 0.0;
    for step in 0..STEPS {
        feed(&log, step * STEP, STEP);
        wait_for(&streams, (step + 1) * STEP);
        // What was read half a million records ago is committed by now.
        let keep_from = ((step - 5) * STEP).max(0);
        admin.delete_records(&[(TopicPartition::new("in", 0), keep_from)]).unwrap();
        purge(&log, "out");
        purge(&log, "bench-counts-changelog");
        if step == STEPS / 2 - 1 {
            half = resident_mb();
        }
        if step % 10 == 9 {
            println!("{:4.1} M records: {:7.1} MB resident", ((step + 1) * STEP) as f64 / 1e6, resident_mb());
        }
    }
    println!("slope over the last 5 M: {:.3} MB per million records (aim: below 1)", (resident_mb() - half) / 5.0);
    streams.stop(Duration::from_secs(10)).unwrap();
}

/// Deletes all of a topic but the newest records, as retention would.
fn purge(log: &MemoryLog, topic: &str) {
    let partition = TopicPartition::new(topic, 0);
    let mut consumer = log.consumer(highwater::kafka::Isolation::ReadUncommitted).unwrap();
    let Ok(ends) = consumer.end_offsets(std::slice::from_ref(&partition), highwater::kafka::Isolation::ReadUncommitted) else { return };
    log.admin().unwrap().delete_records(&[(partition, (ends[0] - 100_000).max(0))]).unwrap();
}

fn main() {
    if std::env::args().any(|argument| argument == "memory") {
        return memory();
    }
    let (second, tenth) = (Duration::from_secs(1), Duration::from_millis(100));
    throughput("bounded, on close", true, Guarantee::AtLeastOnce, second);
    throughput("stream time, on close", false, Guarantee::AtLeastOnce, second);
    throughput("bounded, at least once, every 100 ms", true, Guarantee::AtLeastOnce, tenth);
    throughput("bounded, exactly once, every 100 ms", true, Guarantee::ExactlyOnce, tenth);
}
