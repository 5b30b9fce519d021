//! A job that was away for an hour and catches up in seconds reports every window that closes meanwhile, with the retention that nobody set.
//!
//! Kafka Streams 4.3.1 looks for windows to report once per second of the wall clock and keeps them for their length and grace of event time:
//! of an hour that goes by in seconds it reports 2 to 5 in a hundred, without a word (docs/benchmarks.md).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use highwater::kafka::{Connect, FetchLimit, Isolation, MemoryLog, NewTopic, Outgoing};
use highwater::{
    Consumed, EmitStrategy, Headers, Settings, Streams, StreamsBuilder, SystemClock, TimeWindows, Timestamp, Topic, TopicPartition,
    Topology, Watermark, Windowed,
};

const IN: Topic<String, String> = Topic::new("in");
const OUT: Topic<Windowed<String>, i64> = Topic::new("out");
const BEGIN: i64 = 1_767_225_600_000;
const HOUR: i64 = 3_600_000;
const SIZE: i64 = 300_000;
const STEP: i64 = 30_000;
const GRACE: Duration = Duration::from_secs(10);

fn counting(bounded: bool) -> Topology {
    let builder = StreamsBuilder::new();
    let from = Consumed::with(IN);
    let from = if bounded { from.watermark(Watermark::bounded(Duration::from_secs(5))) } else { from };
    let windows = TimeWindows::of(Duration::from_millis(SIZE as u64)).advance_by(Duration::from_millis(STEP as u64)).grace(GRACE);
    builder.stream(from).group_by_key().windowed_by(windows).emit(EmitStrategy::on_window_close()).count("counts").to(OUT);
    builder.build().unwrap()
}

/// An hour in which times run backwards by up to five seconds, and one record that is later than every window's end and grace.
fn history() -> Vec<(String, i64)> {
    let hour = (0..HOUR / 500).map(|n| (format!("key-{}", n % 7), BEGIN + (n * 500 - (n % 4) * 1_500).max(0)));
    hour.chain([("last".to_owned(), BEGIN + 2 * HOUR)]).collect()
}

/// Every window of the hour by its begin, and how often each key is in it.
fn expected() -> BTreeMap<(String, i64), i64> {
    let mut counts = BTreeMap::new();
    for (key, at) in history().into_iter().filter(|(key, _)| key != "last") {
        let newest = at - at.rem_euclid(STEP);
        for start in (0..SIZE / STEP).map(|n| newest - n * STEP) {
            *counts.entry((key.clone(), start)).or_default() += 1;
        }
    }
    counts
}

fn log_with_history() -> Arc<MemoryLog> {
    let log = Arc::new(MemoryLog::new(Arc::new(SystemClock)));
    log.admin().unwrap().create_topics(&[NewTopic::new("in", 1), NewTopic::new("out", 1)]).unwrap();
    let (mut producer, headers, history) = (log.producer().unwrap(), Headers::default(), history());
    let records = history.iter().map(|(key, at)| Outgoing {
        key: Some(key.as_bytes()),
        value: Some(b"v"),
        timestamp: Timestamp::from_millis(*at),
        headers: &headers,
    });
    producer.send(&TopicPartition::new("in", 0), &records.collect::<Vec<_>>()).unwrap();
    assert!(producer.flush(Duration::from_secs(120)).failed.is_empty());
    log
}

/// Key and begin of each window reported, with every count that was reported for it.
fn reported(log: &MemoryLog) -> BTreeMap<(String, i64), Vec<i64>> {
    let (out, mut reported) = (TopicPartition::new("out", 0), BTreeMap::<_, Vec<i64>>::new());
    let mut consumer = log.consumer(Isolation::ReadCommitted).unwrap();
    consumer.assign(&[(out.clone(), 0)]).unwrap();
    let limit = FetchLimit { records: usize::MAX, bytes: usize::MAX };
    let fetched = consumer.fetch(&out, limit, &mut |record| {
        let (key, start) = record.key.unwrap().split_last_chunk::<8>().unwrap();
        let window = (String::from_utf8(key.to_vec()).unwrap(), i64::from_be_bytes(*start));
        reported.entry(window).or_default().push(i64::from_be_bytes(record.value.unwrap().try_into().unwrap()));
    });
    let fetched = fetched.unwrap();
    assert_eq!(fetched.next_offset, fetched.end, "all of it was read");
    reported
}

fn catches_up(bounded: bool) {
    let (log, began) = (log_with_history(), Instant::now());
    let streams = Streams::start(&counting(bounded), Settings::new("away"), log.clone()).unwrap();
    let records = history().len() as u64;
    while streams.progress().records_in < records {
        assert!(streams.errors().is_empty() && began.elapsed() < Duration::from_secs(120), "{:?}", streams.errors());
        std::thread::sleep(Duration::from_millis(5));
    }
    streams.stop(Duration::from_secs(120)).unwrap();
    let expected: BTreeMap<_, _> = expected().into_iter().map(|(window, count)| (window, vec![count])).collect();
    assert_eq!(reported(&log), expected);
}

#[test]
fn an_hour_in_seconds_reports_every_window_once() {
    catches_up(false);
}

#[test]
fn and_so_it_does_by_a_bounded_watermark() {
    catches_up(true);
}
