//! Bad input: each kind gets a clear error that names what to change, and nothing else is lost.

use std::sync::Arc;
use std::time::Duration;

use highwater::kafka::{Connect, MemoryLog, NewTopic};
use highwater::serdes::{Json, Nullable, Utf8};
use highwater::{
    BoxError, Consumed, Context, ErrorKind, Headers, InvalidTimestamp, KeyValueStore, OnError, Processor, Punctuate, Record, Settings,
    StoreRef, Streams, StreamsBuilder, SystemClock, TimeWindows, Timer, Timestamp, Topic, Topology, TopologyProblem, TopologyTestDriver,
    Watermark,
};

const NUMBERS: Topic<String, i64> = Topic::new("numbers");
const OUT: Topic<String, i64> = Topic::new("out");

fn at(ms: i64) -> Timestamp {
    Timestamp::from_millis(ms)
}

fn copy(from: Consumed<String, i64>) -> Topology {
    let builder = StreamsBuilder::new();
    builder.stream(from).to(OUT);
    builder.build().expect("a copy is a valid topology")
}

fn pipe(driver: &mut TopologyTestDriver, key: Option<&[u8]>, value: Option<&[u8]>, ms: i64) -> Result<(), highwater::Error> {
    driver.pipe_bytes("numbers", key, value, at(ms), Headers::default())
}

#[test]
fn a_null_key_to_a_grouping_is_dropped_and_counted_where_the_type_allows_it() {
    let nullable: Topic<Option<String>, i64> = Topic::with("numbers", Nullable(Utf8), highwater::serdes::BigEndian);
    let builder = StreamsBuilder::new();
    builder.stream(nullable).group_by_key().count("counts");
    let mut driver = TopologyTestDriver::new(&builder.build().expect("valid"));
    pipe(&mut driver, None, Some(&1_i64.to_be_bytes()), 1).expect("a null key is no failure");
    pipe(&mut driver, Some(b"a"), Some(&1_i64.to_be_bytes()), 2).expect("a key");
    let counts = driver.store(&StoreRef::<KeyValueStore<Option<String>, i64>>::new("counts")).expect("the store");
    assert_eq!(counts.get(&Some("a".to_owned())).expect("readable"), Some(1));
    assert_eq!(driver.dropped_records(), 1);
}

#[test]
fn a_null_key_where_the_type_has_none_is_an_error_that_tells_both_ways_out() {
    let mut driver = TopologyTestDriver::new(&copy(NUMBERS.into()));
    let error = pipe(&mut driver, None, Some(&1_i64.to_be_bytes()), 1).expect_err("a String is never null");
    assert_eq!(error.kind(), ErrorKind::Serde);
    let text = error.to_string();
    assert!(text.contains("Option") && text.contains("Skip") && text.contains("numbers-0@0"), "{text}");
}

#[test]
fn a_tombstone_into_a_stream_fails_or_goes_to_the_policy() {
    let mut driver = TopologyTestDriver::new(&copy(NUMBERS.into()));
    assert_eq!(pipe(&mut driver, Some(b"a"), None, 1).expect_err("no value").kind(), ErrorKind::Serde);

    let mut driver = TopologyTestDriver::new(&copy(Consumed::with(NUMBERS).on_error(OnError::Skip)));
    pipe(&mut driver, Some(b"a"), None, 1).expect("skipped");
    pipe(&mut driver, Some(b"a"), Some(&7_i64.to_be_bytes()), 2).expect("goes on");
    assert_eq!((driver.read_all(&OUT), driver.dropped_records()), (vec![("a".to_owned(), 7)], 1));
}

#[test]
fn undecodable_bytes_become_a_dead_letter_byte_for_byte() {
    let mut driver = TopologyTestDriver::new(&copy(Consumed::with(NUMBERS).on_error(OnError::dead_letter("bad-numbers"))));
    let mut headers = Headers::default();
    headers.add("trace", "42");
    driver.pipe_bytes("numbers", Some(b"\xff\xfe"), Some(b"short"), at(5), headers).expect("a poison record stops nothing");
    pipe(&mut driver, Some(b"a"), Some(&7_i64.to_be_bytes()), 6).expect("the next record");
    assert_eq!(driver.read_all(&OUT), [("a".to_owned(), 7)]);

    let letters = driver.take_records("bad-numbers");
    let letter = letters.first().expect("one letter");
    assert_eq!((letter.key.as_deref(), letter.value.as_deref()), (Some(&b"\xff\xfe"[..]), Some(&b"short"[..])));
    assert_eq!(letter.timestamp, Some(at(5)));
    assert_eq!(letter.headers.last("trace"), Some(&b"42"[..]));
    assert_eq!(letter.headers.last("__hw.dlq.topic"), Some(&b"numbers"[..]));
    assert_eq!(letter.headers.last("__hw.dlq.offset"), Some(&b"0"[..]));
}

#[test]
fn negative_and_far_future_timestamps() {
    let mut driver = TopologyTestDriver::new(&copy(NUMBERS.into()));
    let error = pipe(&mut driver, Some(b"a"), Some(&1_i64.to_be_bytes()), -5).expect_err("no log takes it");
    assert!(error.to_string().contains("negative"), "{error}");

    // Event time from the value: a negative one drops the record, 2200 is a time like any other in stream time.
    let mut driver = TopologyTestDriver::new(&copy(Consumed::with(NUMBERS).timestamps(|value| at(*value))));
    pipe(&mut driver, Some(b"a"), Some(&(-1_i64).to_be_bytes()), 1).expect("dropped");
    pipe(&mut driver, Some(b"b"), Some(&7_258_118_400_000_i64.to_be_bytes()), 2).expect("the year 2200");
    assert_eq!((driver.read(&OUT).expect("one record").timestamp, driver.dropped_records()), (at(7_258_118_400_000), 1));

    // Bounded: a record a year ahead of the wall clock moves no watermark and goes to the bad-time topic.
    let builder = StreamsBuilder::new();
    builder
        .stream(Consumed::with(NUMBERS).watermark(Watermark::in_order()).bad_time_to("bad-time"))
        .group_by_key()
        .windowed_by(TimeWindows::of(Duration::from_secs(10)))
        .count("windows");
    let settings = Settings::new("app");
    let mut driver = TopologyTestDriver::with_settings(&builder.build().expect("valid"), &settings, at(1_000_000)).expect("starts");
    pipe(&mut driver, Some(b"a"), Some(&1_i64.to_be_bytes()), 999_000).expect("in time");
    pipe(&mut driver, Some(b"a"), Some(&2_i64.to_be_bytes()), 40_000_000_000).expect("diverted");
    pipe(&mut driver, Some(b"a"), Some(&3_i64.to_be_bytes()), 999_500).expect("still in time");
    let bad = driver.take_records("bad-time");
    assert_eq!((driver.late_records(), bad.len()), (0, 1));
    assert_eq!(bad[0].timestamp, Some(at(40_000_000_000)), "its own: there is no broker that would refuse it");
}

/// A broker refuses records from the far future, so those whose event time is not their timestamp keep that.
#[test]
fn a_far_future_event_time_is_not_the_time_of_the_bad_record() {
    let builder = StreamsBuilder::new();
    let source = Consumed::with(NUMBERS).timestamps(|value| at(*value)).watermark(Watermark::in_order()).bad_time_to("bad-time");
    builder.stream(source).to(OUT);
    let mut driver =
        TopologyTestDriver::with_settings(&builder.build().expect("valid"), &Settings::new("app"), at(1_000_000)).expect("starts");
    pipe(&mut driver, Some(b"a"), Some(&40_000_000_000_i64.to_be_bytes()), 7).expect("diverted");
    let bad = driver.take_records("bad-time");
    assert_eq!((bad.len(), bad[0].timestamp), (1, Some(at(7))));
}

#[test]
fn a_record_whose_own_time_is_unknown_follows_the_policy() {
    let policy = |policy| TopologyTestDriver::new(&copy(Consumed::with(NUMBERS).on_invalid_timestamp(policy)));
    for kind in [InvalidTimestamp::Fail, InvalidTimestamp::Skip, InvalidTimestamp::UsePartitionTime] {
        pipe(&mut policy(kind), Some(b"a"), Some(&1_i64.to_be_bytes()), 0).expect("the epoch is a valid time");
    }
}

#[test]
fn a_topic_that_nobody_reads_is_named_with_those_that_are_read() {
    let mut driver = TopologyTestDriver::new(&copy(NUMBERS.into()));
    let error = driver.pipe_bytes("nowhere", None, None, at(0), Headers::default()).expect_err("unknown");
    assert!(error.to_string().contains("nowhere") && error.to_string().contains("numbers"), "{error}");
}

#[test]
fn a_closure_that_panics_stops_the_task_and_not_the_process() {
    let builder = StreamsBuilder::new();
    builder.stream(NUMBERS).map_values(|value| 10 / value).to(OUT);
    let mut driver = TopologyTestDriver::new(&builder.build().expect("valid"));
    let error = pipe(&mut driver, Some(b"a"), Some(&0_i64.to_be_bytes()), 1).expect_err("divides by zero");
    assert_eq!(error.kind(), ErrorKind::Panic);
    assert_eq!((error.place().topic.as_deref(), error.place().offset), (Some("numbers"), Some(0)));
    assert!(error.to_string().contains("divide by zero"), "{error}");
}

/// Looks at the clock each second, and does not like what it sees.
struct Clockwatcher;

impl Processor for Clockwatcher {
    type In = Record<String, i64>;
    type Out = Record<String, i64>;
    fn init(&mut self, cx: &mut Context<'_, Self::Out>) -> Result<(), BoxError> {
        cx.schedule(Punctuate::WallClock(Duration::from_secs(1))).map(drop)
    }
    fn process(&mut self, _: Self::In, _: &mut Context<'_, Self::Out>) -> Result<(), BoxError> {
        Ok(())
    }
    fn punctuate(&mut self, _: Timer, _: Timestamp, _: &mut Context<'_, Self::Out>) -> Result<(), BoxError> {
        panic!("so late already")
    }
}

#[test]
fn a_panic_names_its_operator_in_a_schedule_and_in_a_source_too() {
    let builder = StreamsBuilder::new();
    let source = Consumed::from(NUMBERS).timestamps(|value| at(10 / *value));
    builder.stream(source).process((), |()| Clockwatcher).named("watcher").to(OUT);
    let topology = builder.build().expect("valid");
    let extractor = pipe(&mut TopologyTestDriver::new(&topology), Some(b"a"), Some(&0_i64.to_be_bytes()), 1).expect_err("divides by zero");
    let schedule = TopologyTestDriver::new(&topology).advance_wall_clock(Duration::from_secs(2)).expect_err("panics");
    assert_eq!((extractor.kind(), schedule.kind()), (ErrorKind::Panic, ErrorKind::Panic));
    let place = extractor.place();
    assert_eq!(
        (place.node.as_deref(), place.topic.as_deref(), place.offset),
        (Some("KSTREAM-SOURCE-0000000000"), Some("numbers"), Some(0))
    );
    assert_eq!((schedule.place().node.as_deref(), schedule.place().topic.as_deref()), (Some("watcher"), None));
}

#[test]
fn every_fault_of_a_topology_is_reported_at_once_with_its_fix() {
    let builder = StreamsBuilder::new();
    let numbers = builder.stream(NUMBERS);
    numbers.filter(|_, _| true).named("twice").map_values(|value| value).named("twice");
    numbers.group_by_key().windowed_by(TimeWindows::of(Duration::ZERO)).count("windows");
    numbers.group_by_key().count("a store");
    builder.stream(NUMBERS);
    let error = builder.build().expect_err("four faults");
    let has = |test: fn(&TopologyProblem) -> bool| error.problems().iter().any(test);
    assert!(has(|p| matches!(p, TopologyProblem::DuplicateNode(name) if name == "twice")), "{error}");
    assert!(has(|p| matches!(p, TopologyProblem::InvalidWindow { .. })), "{error}");
    assert!(has(|p| matches!(p, TopologyProblem::IllegalName(name) if name.contains("a store"))), "{error}");
    assert!(error.to_string().contains("give one of them another name"), "{error}");
}

#[test]
fn json_that_is_cut_off_is_an_error_with_its_place() {
    let topic: Topic<String, Vec<i64>> = Topic::with("numbers", Utf8, Json);
    let builder = StreamsBuilder::new();
    builder.stream(topic.clone()).to(Topic::with("copy", Utf8, Json) as Topic<String, Vec<i64>>);
    let mut driver = TopologyTestDriver::new(&builder.build().expect("valid"));
    let error = pipe(&mut driver, Some(b"a"), Some(b"[1, 2"), 1).expect_err("cut off");
    assert!(error.to_string().contains("json") && error.to_string().contains("numbers-0@0"), "{error}");
}

/// An empty id started, and made internal topics that begin with `-`.
#[test]
fn an_application_id_that_cannot_begin_a_topic_is_refused_at_start() {
    let log = MemoryLog::new(Arc::new(SystemClock));
    log.admin().expect("a log").create_topics(&[NewTopic::new("numbers", 1), NewTopic::new("out", 1)]).expect("new topics");
    let log = Arc::new(log);
    for id in ["", "my app", "a/b"] {
        let error = Streams::start(&copy(Consumed::with(NUMBERS)), Settings::new(id), log.clone()).expect_err("no legal id");
        assert_eq!(error.kind(), ErrorKind::InvalidConfig);
        assert!(error.to_string().contains(&format!("`{id}` is not a legal application id")), "{error}");
    }
}

/// It started, and a program that waited for its end waited for ever.
#[test]
fn a_topology_without_a_source_is_refused_at_start() {
    let log = Arc::new(MemoryLog::new(Arc::new(SystemClock)));
    let empty = StreamsBuilder::new().build().expect("nothing is wrong in nothing");
    let error = Streams::start(&empty, Settings::new("app"), log).expect_err("nothing to read");
    assert_eq!(error.kind(), ErrorKind::InvalidConfig);
    assert!(error.to_string().contains("reads no topic") && error.to_string().contains("builder.stream"), "{error}");
}
