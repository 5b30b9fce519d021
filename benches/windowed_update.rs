//! What an update of a hot window costs: a tumbling count over 1,000 string keys, a commit every 100,000 records.
//!
//! The figure is the CPU time of the whole way of a record through the task (decode, fold, encode, store) less the same records through a
//! source and a sink.

#![allow(clippy::print_stdout, clippy::unwrap_used, missing_docs)]

mod cpu;

use std::time::Duration;

use highwater::{BareTask, EmitStrategy, Headers, RawRecord, Settings, StreamsBuilder, TimeWindows, Timestamp, Topic, Topology, Watermark};

const RECORDS: i64 = 1_000_000;
const KEYS: i64 = 1_000;
const COMMIT_EVERY: i64 = 100_000;
const ROUNDS: usize = 7;
const IN: Topic<String, i64> = Topic::new("in");

fn pass_through() -> Topology {
    let builder = StreamsBuilder::new();
    builder.stream(IN).for_each(|_, _| ());
    builder.build().unwrap()
}

fn counting(bounded: bool, emit: EmitStrategy) -> Topology {
    let builder = StreamsBuilder::new();
    let mut from = highwater::Consumed::with(IN);
    if bounded {
        from = from.watermark(Watermark::in_order());
    }
    builder.stream(from).group_by_key().windowed_by(TimeWindows::of(Duration::from_secs(60))).emit(emit).count("counts");
    builder.build().unwrap()
}

fn nanoseconds_per_record(topology: &Topology, cache: usize) -> f64 {
    let mut settings = Settings::new("bench");
    settings.record_cache_bytes = cache;
    settings.max_future_skew = Duration::MAX;
    let mut task = BareTask::new(topology, &settings).unwrap();
    let keys: Vec<String> = (0..KEYS).map(|n| format!("customer-{n:06}")).collect();
    let headers = Headers::default();
    let mut at = 0;
    let mut round = || {
        let started = cpu::time();
        for n in 0..RECORDS {
            at += 1;
            let value = n.to_be_bytes();
            let raw = RawRecord {
                topic: "in",
                partition: 0,
                offset: n,
                key: Some(keys[(n % KEYS) as usize].as_bytes()),
                value: Some(&value),
                timestamp: Timestamp::from_millis(at / 10),
                headers: &headers,
            };
            task.process(0, raw).unwrap();
            if n % COMMIT_EVERY == COMMIT_EVERY - 1 {
                task.commit().unwrap();
            }
        }
        (cpu::time() - started).as_nanos() as f64 / RECORDS as f64
    };
    (0..ROUNDS).map(|_| round()).fold(f64::MAX, f64::min)
}

fn main() {
    let floor = nanoseconds_per_record(&pass_through(), 0);
    println!("source only:                                 {floor:6.0} ns per record");
    let cases = [
        ("emit on update, no record cache", counting(false, EmitStrategy::on_window_update()), 0),
        ("emit on update, record cache", counting(false, EmitStrategy::on_window_update()), 10 << 20),
        ("emit on close, stream time", counting(false, EmitStrategy::on_window_close()), 0),
        ("emit on close, bounded watermark", counting(true, EmitStrategy::on_window_close()), 0),
    ];
    for (name, topology, cache) in cases {
        let all = nanoseconds_per_record(&topology, cache);
        println!("{name:<44} {all:6.0} ns per record, update {:5.0} ns (aim: at most 200)", all - floor);
    }
}
