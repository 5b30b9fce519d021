//! What a count costs per record: 10,000 keys of eight bytes in no order, values of a hundred bytes, a commit every million records.
//!
//! Whole way of a record through the task (decode, look up, fold, encode, store; where nothing is held back, encode again and send). With a
//! part of a case's name and a number of rounds as arguments only that runs: for `perf record`, or `valgrind --tool=callgrind` to count instructions.

#![allow(clippy::print_stdout, clippy::unwrap_used, missing_docs)]

mod cpu;

use highwater::{BareTask, Headers, RawRecord, Settings, StreamsBuilder, Timestamp, Topic, Topology};

const RECORDS: i64 = 1_000_000;
const KEYS: u64 = 10_000;
const ROUNDS: i64 = 10;

type Bytes = Vec<u8>;
const IN: Topic<Bytes, Bytes> = Topic::new("in");

fn read_only() -> Topology {
    let builder = StreamsBuilder::new();
    builder.stream(IN).for_each(|_, _| ());
    builder.build().unwrap()
}

fn pass_through() -> Topology {
    let builder = StreamsBuilder::new();
    builder.stream(IN).to(Topic::<Bytes, Bytes>::new("out"));
    builder.build().unwrap()
}

fn counting() -> Topology {
    let builder = StreamsBuilder::new();
    builder.stream(IN).group_by_key().count("counts").to(Topic::<Bytes, i64>::new("out"));
    builder.build().unwrap()
}

fn nanoseconds_per_record(topology: &Topology, cache: usize, rounds: i64) -> f64 {
    let mut settings = Settings::new("bench");
    settings.record_cache_bytes = cache;
    let mut task = BareTask::new(topology, &settings).unwrap();
    let (headers, value, mut chance) = (Headers::default(), [7_u8; 100], 1_u64);
    let mut round = |nth: i64| {
        let started = cpu::time();
        for n in 0..RECORDS {
            chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let key = ((chance >> 33) % KEYS).to_be_bytes();
            let at = nth * RECORDS + n;
            let raw = RawRecord {
                topic: "in",
                partition: 0,
                offset: at,
                key: Some(&key),
                value: Some(&value),
                timestamp: Timestamp::from_millis(at / 10),
                headers: &headers,
            };
            task.process(0, raw).unwrap();
        }
        task.commit().unwrap();
        (cpu::time() - started).as_nanos() as f64 / RECORDS as f64
    };
    (0..rounds).map(&mut round).fold(f64::MAX, f64::min)
}

fn main() {
    let cases = [
        ("read only", read_only(), 0),
        ("pass through", pass_through(), 0),
        ("count, each update sent", counting(), 0),
        ("count, cached", counting(), 10 << 20),
    ];
    let mut arguments = std::env::args().skip(1).filter(|argument| !argument.starts_with('-'));
    let (only, rounds) = (arguments.next().unwrap_or_default(), arguments.next().map_or(ROUNDS, |rounds| rounds.parse().unwrap()));
    for (name, topology, cache) in cases.iter().filter(|(name, ..)| name.contains(only.as_str())) {
        println!("{name:<44} {:6.0} ns per record", nanoseconds_per_record(topology, *cache, rounds));
    }
}
