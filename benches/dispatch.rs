//! What one operator costs one record: the same records through a source and a sink with 0 and with 5 operators between.
//!
//! The operators do almost nothing, so the difference is the dispatch. Prints CPU nanoseconds per operator and record, best of
//! several rounds: other work on the machine only ever adds.

#![allow(clippy::print_stdout, clippy::unwrap_used, missing_docs)]

mod cpu;

use std::hint::black_box;

use highwater::{BareTask, Headers, KStream, RawRecord, Settings, StreamsBuilder, Timestamp, Topic, Topology};

const RECORDS: i64 = 2_000_000;
const ROUNDS: usize = 9;
const IN: Topic<i64, i64> = Topic::new("in");
const OUT: Topic<i64, i64> = Topic::new("out");

fn chain(operators: usize) -> Topology {
    let builder = StreamsBuilder::new();
    let mut stream: KStream<i64, i64> = builder.stream(IN);
    for nth in 0..operators {
        stream = match nth % 3 {
            0 => stream.map_values(|value| value + 1),
            1 => stream.filter(|key, _| *key >= 0),
            _ => stream.map(|key, value| (key, value ^ key)),
        };
    }
    stream.to(OUT);
    builder.build().unwrap()
}

fn nanoseconds_per_record(operators: usize) -> f64 {
    let mut task = BareTask::new(&chain(operators), &Settings::new("bench")).unwrap();
    let headers = Headers::default();
    let round = |task: &mut BareTask| {
        let started = cpu::time();
        for n in 0..RECORDS {
            let (key, value) = (n.to_be_bytes(), (n * 7).to_be_bytes());
            let raw = RawRecord {
                topic: "in",
                partition: 0,
                offset: n,
                key: Some(&key),
                value: Some(&value),
                timestamp: Timestamp::from_millis(n),
                headers: &headers,
            };
            black_box(task.process(0, raw)).unwrap();
        }
        (cpu::time() - started).as_nanos() as f64 / RECORDS as f64
    };
    (0..ROUNDS).map(|_| round(&mut task)).fold(f64::MAX, f64::min)
}

fn main() {
    let (none, five) = (nanoseconds_per_record(0), nanoseconds_per_record(5));
    println!("source and sink:              {none:6.1} ns per record");
    println!("with five operators between:  {five:6.1} ns per record");
    println!("dispatch per operator:        {:6.1} ns (aim: at most 10)", (five - none) / 5.0);
}
