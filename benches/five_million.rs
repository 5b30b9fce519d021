//! Five million windows that close at one instant, with state on disk and 256 MB: `make five-million`.
//!
//! Three processes one after the other, so that the figure is that of the engine alone: one writes the input to a log in a folder, one runs the
//! count (its log in the folder included), one reads the results. It fails if a window is missing or there twice, if fewer than ten commits
//! fall into the closing, or if more than the budget was resident at any time.
//!
//! `cargo bench --bench five_million -- 200000` closes fewer windows; `exactly-once` as a further word does it in transactions.

#![allow(clippy::print_stdout, clippy::unwrap_used, missing_docs)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use highwater::kafka::{Connect, Durability, FetchLimit, FileLog, FileLogOptions, Isolation, NewTopic, Outgoing};
use highwater::{
    Consumed, EmitStrategy, Guarantee, Headers, Materialized, Settings, State, StoreRef, Streams, StreamsBuilder, SystemClock, TimeWindows,
    Timestamp, Topic, TopicPartition, Topology, Watermark, WindowStore, Windowed,
};

const IN: Topic<String, i64> = Topic::new("in");
const OUT: Topic<Windowed<String>, i64> = Topic::new("out");
const COUNTS: StoreRef<WindowStore<String, i64>> = StoreRef::new("counts");
const BUDGET: usize = 256 << 20;
const BATCH: u64 = 10_000;

fn counting() -> Topology {
    let builder = StreamsBuilder::new();
    builder
        .stream(Consumed::with(IN).watermark(Watermark::bounded(Duration::from_secs(5)).never_idle()))
        .group_by_key()
        .windowed_by(TimeWindows::of(Duration::from_secs(3600)))
        .emit(EmitStrategy::on_window_close())
        // The log would compact the changelog, in this process and in memory: a broker's work, which is not to be measured here.
        .count(Materialized::with(COUNTS).changelog_config("cleanup.policy", "delete"))
        .to(OUT);
    builder.build().unwrap()
}

fn log(folder: &Path) -> Arc<FileLog> {
    let options = FileLogOptions { durability: Durability::ProcessKill, read_cache: 4 << 20, ..FileLogOptions::default() };
    Arc::new(FileLog::open(folder.join("log"), Arc::new(SystemClock), options).unwrap())
}

fn key(n: u64) -> String {
    format!("sensor-{n:08}")
}

/// One record per window, all in one hour, and one a day later.
fn write(folder: &Path, windows: u64) {
    const HOUR: i64 = 1_700_000_000_000 / 3_600_000 * 3_600_000;
    let log = log(folder);
    log.admin().unwrap().create_topics(&[NewTopic::new("in", 1), NewTopic::new("out", 1)]).unwrap();
    let (mut producer, partition, headers) = (log.producer().unwrap(), TopicPartition::new("in", 0), Headers::default());
    let value = 1_i64.to_be_bytes();
    for start in (0..windows).step_by(usize::try_from(BATCH).unwrap()) {
        let keys: Vec<String> = (start..(start + BATCH).min(windows)).map(|n| key(n.wrapping_mul(7_919) % windows)).collect();
        let record = |(n, key): (u64, &'_ String)| (n, key.clone());
        let keys: Vec<(u64, String)> = (start..).zip(&keys).map(record).collect();
        let batch: Vec<Outgoing<'_>> = keys
            .iter()
            .map(|(n, key)| Outgoing {
                key: Some(key.as_bytes()),
                value: Some(&value),
                timestamp: Timestamp::from_millis(HOUR + i64::try_from(n * 3_000_000 / windows).unwrap()),
                headers: &headers,
            })
            .collect();
        producer.send(&partition, &batch).unwrap();
        assert!(producer.flush(Duration::from_secs(60)).failed.is_empty());
    }
    let far = Timestamp::from_millis(HOUR + 24 * 3_600_000);
    let record = Outgoing { key: Some(b"far"), value: Some(&value), timestamp: far, headers: &headers };
    producer.send(&partition, &[record]).unwrap();
    assert!(producer.flush(Duration::from_secs(60)).failed.is_empty());
    println!("written, peak {} MB", peak() >> 20);
}

/// Peak resident size so far, in bytes.
fn peak() -> usize {
    let status = fs::read_to_string("/proc/self/status").expect("this bench reads /proc");
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() << 10
}

/// Counts, waits till every window is closed, and tells how that went.
fn run(folder: &Path, windows: u64, guarantee: Guarantee) {
    let mut settings = Settings::new("bench");
    settings.state_dir = Some(folder.join("state"));
    settings.memory = BUDGET;

    settings.guarantee = guarantee;
    let began = Instant::now();
    let streams = Streams::start(&counting(), settings, log(folder)).unwrap();
    let (mut read, mut commits_before) = (None, 0);
    loop {
        assert!(streams.errors().is_empty(), "{:?}", streams.errors());
        let progress = streams.progress();
        let position = progress.tasks.values().flat_map(|task| &task.inputs).filter_map(|input| input.position).max().unwrap_or(0);
        if read.is_none() && position > i64::try_from(windows).unwrap() {
            read = Some(began.elapsed());
            commits_before = progress.commits;
            println!("read     {:7.1} s  peak {:4} MB  {commits_before} commits", began.elapsed().as_secs_f64(), peak() >> 20);
        }
        if progress.records_out >= windows {
            break;
        }
        if std::env::var_os("TIMELINE").is_some() {
            let status = fs::read_to_string("/proc/self/status").unwrap();
            let rss = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
            println!("{:6.1} s {position} {} out {} commits {rss}", began.elapsed().as_secs_f64(), progress.records_out, progress.commits);
            std::thread::sleep(Duration::from_millis(490));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let commits = streams.progress().commits - commits_before;
    streams.stop(Duration::from_secs(60)).unwrap();
    let closing = began.elapsed() - read.unwrap();
    assert_eq!(streams.state(), State::Stopped);
    println!("closed   {windows} windows in {:.1} s with {commits} commits, peak {} MB", closing.as_secs_f64(), peak() >> 20);
    let enough = if windows >= 1_000_000 { 10 } else { 2 };
    assert!(commits >= enough, "only {commits} commits fell into the closing");
    assert!(peak() <= BUDGET, "{} bytes were resident, the budget is {BUDGET}", peak());
}

/// Every window once.
fn check(folder: &Path, windows: u64) {
    let log = log(folder);
    let mut seen = vec![false; usize::try_from(windows).unwrap()];
    let (mut consumer, partition) = (log.consumer(Isolation::ReadCommitted).unwrap(), TopicPartition::new("out", 0));
    consumer.assign(&[(partition.clone(), 0)]).unwrap();
    loop {
        let fetched = consumer.fetch(&partition, FetchLimit { records: 100_000, bytes: 16 << 20 }, &mut |record| {
            let key = std::str::from_utf8(&record.key.unwrap()[7..15]).unwrap().parse::<usize>().unwrap();
            assert!(!std::mem::replace(&mut seen[key], true), "the window of {key} came twice");
            assert_eq!(record.value, Some(1_i64.to_be_bytes().as_slice()));
        });
        let fetched = fetched.unwrap();
        if fetched.next_offset >= fetched.end {
            break;
        }
    }
    println!("peak {} MB", peak() >> 20);
    let missing = seen.iter().filter(|seen| !**seen).count();
    assert_eq!(missing, 0, "windows are missing");
    println!("checked  {windows} windows, each of them once");
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let windows = words.iter().find_map(|word| word.parse().ok()).unwrap_or(5_000_000);
    let exactly_once = words.iter().any(|word| word == "exactly-once");
    let guarantee = if exactly_once { Guarantee::ExactlyOnce } else { Guarantee::AtLeastOnce };
    if let Some(folder) = std::env::var_os("FIVE_MILLION_FOLDER").map(PathBuf::from) {
        return match words.first().map(String::as_str) {
            Some("write") => write(&folder, windows),
            Some("run") => run(&folder, windows, guarantee),
            _ => check(&folder, windows),
        };
    }
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("five-million");
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    for step in ["write", "run", "check"] {
        let mut child = Command::new(std::env::current_exe().unwrap());
        child.arg(step).arg(windows.to_string()).env("FIVE_MILLION_FOLDER", &folder);
        if exactly_once {
            child.arg("exactly-once");
        }
        assert!(child.status().unwrap().success(), "`{step}` failed");
    }
    fs::remove_dir_all(&folder).unwrap();
}
