//! What the memory log takes of the end-to-end figure: appending batches of 500 records of 108 bytes, and fetching them.

#![allow(clippy::print_stdout, clippy::unwrap_used, missing_docs)]

mod cpu;

use std::sync::Arc;
use std::time::Duration;

use highwater::kafka::{Connect, FetchLimit, Isolation, MemoryLog, NewTopic, Outgoing};
use highwater::{Headers, SystemClock, Timestamp, TopicPartition};

const BATCH: usize = 500;
const ROUNDS: i64 = 10_000;

fn main() {
    let log = MemoryLog::new(Arc::new(SystemClock));
    let (admin, partition, headers) = (log.admin().unwrap(), TopicPartition::new("in", 0), Headers::default());
    admin.create_topics(&[NewTopic::new("in", 1)]).unwrap();
    let (mut producer, mut reader) = (log.producer().unwrap(), log.consumer(Isolation::ReadCommitted).unwrap());
    reader.assign(&[(partition.clone(), 0)]).unwrap();
    let record = Outgoing { key: Some(&[1; 8]), value: Some(&[2; 100]), timestamp: Timestamp::from_millis(1), headers: &headers };
    let (batch, mut bytes) = ([record; BATCH], 0);
    let (mut appending, mut fetching) = (Duration::ZERO, Duration::ZERO);
    for round in 1..=ROUNDS {
        let start = cpu::time();
        producer.send(&partition, &batch).unwrap();
        let sent = cpu::time();
        let visit = &mut |r: highwater::RawRecord<'_>| bytes += r.key.map_or(0, <[u8]>::len) + r.value.map_or(0, <[u8]>::len);
        reader.fetch(&partition, FetchLimit::default(), visit).unwrap();
        (appending, fetching) = (appending + (sent - start), fetching + (cpu::time() - sent));
        if round % 1000 == 0 {
            admin.delete_records(&[(partition.clone(), BATCH as i64 * (round - 100))]).unwrap();
        }
    }
    let records = BATCH as i64 * ROUNDS;
    assert_eq!(bytes as i64, records * 108, "every record was read");
    let each = |all: Duration| all.as_nanos() as f64 / records as f64;
    println!("append: {:5.1} ns of CPU per record", each(appending));
    println!("fetch:  {:5.1} ns of CPU per record", each(fetching));
}
