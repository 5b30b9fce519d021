//! What is resident with state on disk that is far larger than memory: `make memory`.
//!
//! `keys`: twenty million distinct keys with `memory` 256 MB. `partitions`: four million keys in 64 partitions with 512 MB. For each one process writes the
//! input to a log in a folder and another counts by key (its log in the folder included), then updates every key once more, so that rows are
//! read back from the disk. It fails if more than the budget and 64 MB were resident at any time.
//!
//! `cargo bench --bench budget -- keys 1000000` takes fewer keys.

#![allow(clippy::print_stdout, clippy::unwrap_used, missing_docs)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use highwater::kafka::{Connect, Durability, FileLog, FileLogOptions, NewTopic, Outgoing};
use highwater::{
    Headers, KeyValueStore, Materialized, Settings, StoreRef, Streams, StreamsBuilder, SystemClock, Timestamp, Topic, TopicPartition,
    Topology,
};

/// As the `highwater` binary has it.
#[cfg(all(feature = "jemalloc", not(target_env = "msvc")))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const IN: Topic<String, i64> = Topic::new("in");
const COUNTS: StoreRef<KeyValueStore<String, i64>> = StoreRef::new("counts");
const BATCH: u64 = 10_000;
/// Every key comes so often.
const TIMES: u64 = 2;

#[derive(Clone, Copy)]
struct Scene {
    name: &'static str,
    keys: u64,
    partitions: i32,
    memory: usize,
}

const SCENES: [Scene; 2] = [
    Scene { name: "keys", keys: 20_000_000, partitions: 1, memory: 256 << 20 },
    Scene { name: "partitions", keys: 4_000_000, partitions: 64, memory: 512 << 20 },
];

fn counting() -> Topology {
    let builder = StreamsBuilder::new();
    // The log would compact the changelog, in this process and in memory: a broker's work, which is not to be measured here.
    builder.stream(IN).group_by_key().count(Materialized::with(COUNTS).changelog_config("cleanup.policy", "delete"));
    builder.build().unwrap()
}

fn log(folder: &Path) -> Arc<FileLog> {
    let options = FileLogOptions { durability: Durability::ProcessKill, read_cache: 4 << 20, ..FileLogOptions::default() };
    Arc::new(FileLog::open(folder.join("log"), Arc::new(SystemClock), options).unwrap())
}

/// Every key as often as it is to come, in an order that is none.
fn write(folder: &Path, scene: Scene) {
    let log = log(folder);
    log.admin().unwrap().create_topics(&[NewTopic::new("in", scene.partitions)]).unwrap();
    let (mut producer, headers, value) = (log.producer().unwrap(), Headers::default(), 1_i64.to_be_bytes());
    let partitions = u64::try_from(scene.partitions).unwrap();
    for time in 0..TIMES {
        for start in (0..scene.keys).step_by(usize::try_from(BATCH).unwrap()) {
            for partition in 0..partitions {
                let of_partition = (start..(start + BATCH).min(scene.keys)).filter(|n| n % partitions == partition);
                let keys: Vec<String> = of_partition.map(|n| format!("{:010}", n.wrapping_mul(7_919) % scene.keys)).collect();
                let timestamp = Timestamp::from_millis(1_700_000_000_000 + i64::try_from(time).unwrap());
                let record = |key| Outgoing { key: Some(key), value: Some(&value), timestamp, headers: &headers };
                let batch: Vec<Outgoing<'_>> = keys.iter().map(|key| record(key.as_bytes())).collect();
                producer.send(&TopicPartition::new("in", i32::try_from(partition).unwrap()), &batch).unwrap();
            }
            assert!(producer.flush(Duration::from_secs(60)).failed.is_empty());
        }
    }
}

/// A number of `/proc/self/status`, in MB.
fn status(what: &str) -> usize {
    let status = fs::read_to_string("/proc/self/status").expect("this bench reads /proc");
    let line = status.lines().find(|line| line.starts_with(what)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() >> 10
}

fn run(folder: &Path, scene: Scene) {
    let mut settings = Settings::new("bench");
    settings.state_dir = Some(folder.join("state"));
    settings.memory = scene.memory;
    let began = Instant::now();
    let streams = Streams::start(&counting(), settings, log(folder)).unwrap();
    let mut told = Instant::now();
    loop {
        assert!(streams.errors().is_empty(), "{:?}", streams.errors());
        let progress = streams.progress();
        let read: i64 = progress.tasks.values().flat_map(|task| &task.inputs).filter_map(|input| input.position).sum();
        let over = u64::try_from(read).unwrap() >= scene.keys * TIMES;
        if over || told.elapsed() > Duration::from_secs(10) {
            let seconds = began.elapsed().as_secs_f64();
            println!(
                "{:<10} {seconds:6.1} s  {read:9} records, resident {:4} MB, peak {:4} MB",
                scene.name,
                status("VmRSS:"),
                status("VmHWM:")
            );
            told = Instant::now();
        }
        if over {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    streams.stop(Duration::from_secs(120)).unwrap();
    let (peak, most) = (status("VmHWM:"), (scene.memory >> 20) + 64);
    println!("{:<10} stopped after {:.1} s, peak {peak} MB, at most {most} MB", scene.name, began.elapsed().as_secs_f64());
    assert!(peak <= most, "too much was resident");
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let keys: Option<u64> = words.iter().find_map(|word| word.parse().ok());
    let wanted =
        |scene: &Scene| words.iter().any(|word| word == scene.name) || !words.iter().any(|word| SCENES.iter().any(|s| s.name == word));
    for scene in SCENES.into_iter().filter(wanted).map(|scene| Scene { keys: keys.unwrap_or(scene.keys), ..scene }) {
        if let Some(folder) = std::env::var_os("BUDGET_FOLDER").map(PathBuf::from) {
            return if words[0] == "write" { write(&folder, scene) } else { run(&folder, scene) };
        }
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("budget");
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        for step in ["write", "run"] {
            let mut child = Command::new(std::env::current_exe().unwrap());
            child.args([step, scene.name, &scene.keys.to_string()]).env("BUDGET_FOLDER", &folder);
            assert!(child.status().unwrap().success(), "`{step}` failed");
        }
        fs::remove_dir_all(&folder).unwrap();
    }
}
