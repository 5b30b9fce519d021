//! What writing to a cluster takes: CPU of the whole process per record sent in slices, and how long commits take. Needs `KAFKA_BOOTSTRAP`.

#![allow(clippy::print_stdout, clippy::unwrap_used, missing_docs)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use highwater::kafka::{Connect, KafkaConfig, KafkaLog, NewTopic, Outgoing};
use highwater::{Headers, Timestamp, TopicPartition};

const RECORDS: usize = 2_000_000;
const PATIENCE: Duration = Duration::from_secs(30);

fn main() {
    let Ok(bootstrap) = std::env::var("KAFKA_BOOTSTRAP") else {
        println!("NOT RUN: no broker, set KAFKA_BOOTSTRAP");
        return;
    };
    let log: Arc<dyn Connect> = Arc::new(KafkaLog::new(KafkaConfig::new(bootstrap)));
    let topic = format!("bench.writes.{}", std::process::id());
    let admin = log.admin().unwrap();
    admin.create_topics(&[NewTopic::new(&topic, 4)]).unwrap();
    let partitions: Vec<_> = (0..4).map(|n| TopicPartition::new(topic.as_str(), n)).collect();
    for slice in [1, 10, 100, 1000] {
        throughput(&*log, &partitions, slice);
    }
    for records in [0, 1, 1000] {
        commits(&*log, &partitions, records);
    }
    admin.delete_topics(&[&topic]).unwrap();
}

fn throughput(log: &dyn Connect, partitions: &[TopicPartition], slice: usize) {
    let headers = Headers::default();
    let record =
        Outgoing { key: Some(&[1; 8]), value: Some(&[2; 100]), timestamp: Timestamp::from_millis(1_700_000_000_000), headers: &headers };
    let (mut producer, batch) = (log.producer().unwrap(), vec![record; slice]);
    partitions.iter().for_each(|partition| producer.send(partition, &batch).unwrap());
    assert!(producer.flush(PATIENCE).failed.is_empty());
    let (start, cpu) = (Instant::now(), cpu_time());
    for round in 0..RECORDS / slice {
        producer.send(&partitions[round % partitions.len()], &batch).unwrap();
    }
    let flushed = producer.flush(PATIENCE);
    assert!(flushed.failed.is_empty(), "{:?}", flushed.failed);
    let (took, used) = (start.elapsed(), cpu_time() - cpu);
    let each = used.as_nanos() as f64 / RECORDS as f64 / 1000.0;
    println!(
        "slices of {slice:4}: {each:.3} µs of CPU per record, {:.2} million records per second",
        RECORDS as f64 / took.as_secs_f64() / 1e6
    );
}

fn commits(log: &dyn Connect, partitions: &[TopicPartition], records: usize) {
    let headers = Headers::default();
    let record =
        Outgoing { key: Some(&[1; 8]), value: Some(&[2; 100]), timestamp: Timestamp::from_millis(1_700_000_000_000), headers: &headers };
    let batch = vec![record; records / partitions.len() + usize::from(records == 1)];
    let mut producer = log.transactional_producer(&format!("bench-{}", std::process::id()), Duration::from_secs(10)).unwrap();
    producer.init().unwrap();
    let mut took = Vec::new();
    for _ in 0..200 {
        producer.begin().unwrap();
        let targets = if records == 1 { &partitions[..1] } else { partitions };
        for partition in targets.iter().filter(|_| records > 0) {
            producer.send(partition, &batch).unwrap();
        }
        let start = Instant::now();
        assert!(producer.flush(PATIENCE).failed.is_empty());
        let flushed = start.elapsed();
        producer.commit().unwrap();
        took.push((start.elapsed(), flushed));
    }
    took.sort();
    let at = |percent: usize| took[took.len() * percent / 100];
    println!(
        "commit of {records:4} records: half within {:.1?} (acknowledged after {:.1?}), 99 % within {:.1?}",
        at(50).0,
        at(50).1,
        at(99).0
    );
}

/// CPU time of all threads so far. Linux only.
fn cpu_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("this bench reads CPU time from /proc");
    let fields: Vec<_> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = [11, 12].map(|field: usize| fields[field].parse::<u64>().expect("a number of ticks"));
    Duration::from_millis(ticks.iter().sum::<u64>() * 10)
}
