//! What the log in a folder takes beside the one in memory: appending batches of 500 records of 108 bytes, fetching them at once and again from
//! the files, opening the folder, and waiting for the disk alone and together. `-- <folder>` says where; a folder for temporary files if not.

#![allow(clippy::print_stdout, clippy::unwrap_used, missing_docs)]

mod cpu;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use highwater::kafka::{Connect, Consumer, Durability, FetchLimit, FileLog, FileLogOptions, Isolation, MemoryLog, NewTopic, Outgoing};
use highwater::{Headers, SystemClock, Timestamp, TopicPartition};

const BATCH: usize = 500;
const ROUNDS: i64 = 4_000;
const FLUSHES: usize = 200;

fn main() {
    let given = std::env::args().skip(1).find(|argument| !argument.starts_with("--")).map(PathBuf::from);
    let folder = given.unwrap_or_else(std::env::temp_dir).join(format!("highwater-file-log-{}", std::process::id()));
    let memory = MemoryLog::new(Arc::new(SystemClock));
    write_and_read("memory", &memory);
    drop(memory);
    let log = open(&folder.join("kill"), Durability::ProcessKill);
    write_and_read("files", &log);
    reread(&log);
    drop(log);
    let start = cpu::time();
    let log = open(&folder.join("kill"), Durability::ProcessKill);
    println!("open:   {:5.1} ms of CPU for {} MB", (cpu::time() - start).as_secs_f64() * 1e3, ROUNDS * BATCH as i64 * 115 / 1_000_000);
    drop(log);
    for writers in [1, 2, 8, 32] {
        flush_together(&folder.join(format!("power-{writers}")), writers);
    }
    std::fs::remove_dir_all(folder).unwrap();
}

fn open(folder: &Path, durability: Durability) -> FileLog {
    FileLog::open(folder, Arc::new(SystemClock), FileLogOptions { durability, ..FileLogOptions::default() }).unwrap()
}

fn write_and_read(name: &str, log: &dyn Connect) {
    let (admin, partition, headers) = (log.admin().unwrap(), TopicPartition::new("in", 0), Headers::default());
    admin.create_topics(&[NewTopic::new("in", 1)]).unwrap();
    let (mut producer, mut reader) = (log.producer().unwrap(), log.consumer(Isolation::ReadCommitted).unwrap());
    reader.assign(&[(partition.clone(), 0)]).unwrap();
    let record = Outgoing { key: Some(&[1; 8]), value: Some(&[2; 100]), timestamp: Timestamp::from_millis(1), headers: &headers };
    let batch = [record; BATCH];
    let (mut appending, mut fetching) = (Duration::ZERO, Duration::ZERO);
    for _ in 0..ROUNDS {
        let start = cpu::time();
        producer.send(&partition, &batch).unwrap();
        let sent = cpu::time();
        reader.fetch(&partition, FetchLimit::default(), &mut |_| {}).unwrap();
        (appending, fetching) = (appending + (sent - start), fetching + (cpu::time() - sent));
    }
    println!("{name}: append {}, fetch {}", each(appending), each(fetching));
}

/// From the first record on, when memory holds none of them any more.
fn reread(log: &FileLog) {
    let partition = TopicPartition::new("in", 0);
    let mut reader = log.consumer(Isolation::ReadCommitted).unwrap();
    reader.assign(&[(partition.clone(), 0)]).unwrap();
    let start = cpu::time();
    let mut records = 0;
    while !fetch(&mut *reader, &partition, &mut records) {}
    assert_eq!(records, BATCH as i64 * ROUNDS);
    println!("files: fetch of what is no longer in memory {}", each(cpu::time() - start));
}

fn fetch(reader: &mut dyn Consumer, partition: &TopicPartition, records: &mut i64) -> bool {
    reader.fetch(partition, FetchLimit::default(), &mut |_| *records += 1).unwrap().at_end()
}

fn each(all: Duration) -> String {
    let records = BATCH as f64 * ROUNDS as f64;
    format!(
        "{:.1} ns of CPU per record ({:.1} M records per CPU second)",
        all.as_nanos() as f64 / records,
        records / all.as_secs_f64() / 1e6
    )
}

/// Several producers, each with a partition of its own, that send one record and flush, again and again.
fn flush_together(folder: &Path, writers: usize) {
    let log = open(folder, Durability::PowerLoss);
    log.admin().unwrap().create_topics(&[NewTopic::new("t", writers as i32)]).unwrap();
    let before = log.disk_waits();
    let start = Instant::now();
    std::thread::scope(|scope| {
        for writer in 0..writers {
            let log = log.clone();
            scope.spawn(move || {
                let (partition, headers) = (TopicPartition::new("t", writer as i32), Headers::default());
                let mut producer = log.producer().unwrap();
                for _ in 0..FLUSHES {
                    let record = Outgoing { key: None, value: Some(b"value"), timestamp: Timestamp::from_millis(1), headers: &headers };
                    producer.send(&partition, &[record]).unwrap();
                    assert!(producer.flush(Duration::from_secs(60)).failed.is_empty());
                }
            });
        }
    });
    let (flushes, waits) = (writers * FLUSHES, log.disk_waits() - before);
    let seconds = start.elapsed().as_secs_f64();
    println!("{writers:2} producers: {flushes} flushes in {waits} waits for the disk, {:.0} flushes per second", flushes as f64 / seconds);
}
