//! Applications on the log in memory, through the public API: threads, partitions, commits, restarts, failures.

#![allow(clippy::unwrap_used, reason = "a test fails where it stands")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use highwater::kafka::{Connect, FetchLimit, Isolation, MemoryLog, NewTopic, Outgoing, RoundRobin, partition_of};
use highwater::{
    Consumed, EmitStrategy, Headers, KeyValueStore, Launch, Settings, State, StoreRef, Streams, StreamsBuilder, SystemClock, TimeWindows,
    Timestamp, Topic, TopicPartition, Topology, Watermark,
};

const LINES: Topic<Option<String>, String> = Topic::new("lines");
const COUNTS: StoreRef<KeyValueStore<String, i64>> = StoreRef::new("counts");
const SOON: Duration = Duration::from_secs(120);

/// A log with some topics.
fn log(topics: &[(&str, i32)]) -> Arc<MemoryLog> {
    let log = MemoryLog::new(Arc::new(SystemClock));
    let topics: Vec<NewTopic> = topics.iter().map(|(name, partitions)| NewTopic::new(*name, *partitions)).collect();
    log.admin().unwrap().create_topics(&topics).unwrap();
    Arc::new(log)
}

/// Writes records by key, those without one in turn.
fn write(log: &MemoryLog, topic: &str, records: impl IntoIterator<Item = (Option<String>, String, i64)>) {
    let (mut producer, headers, mut turns) = (log.producer().unwrap(), Headers::default(), RoundRobin::default());
    let count = producer.partition_count(topic).unwrap();
    for (key, value, at) in records {
        let key = key.as_ref().map(String::as_bytes);
        let partition = key.map_or_else(|| turns.turn(count), |key| partition_of(key, count));
        let record = Outgoing { key, value: Some(value.as_bytes()), timestamp: Timestamp::from_millis(at), headers: &headers };
        producer.send(&TopicPartition::new(topic, partition), &[record]).unwrap();
    }
}

/// Key and value.
type Bytes = (Option<Vec<u8>>, Option<Vec<u8>>);

/// Keys and values of a topic, partition by partition.
fn read(log: &MemoryLog, topic: &str) -> Vec<Bytes> {
    let count = log.producer().unwrap().partition_count(topic).unwrap();
    let (mut consumer, mut records) = (log.consumer(Isolation::ReadCommitted).unwrap(), Vec::new());
    for number in 0..count {
        let partition = TopicPartition::new(topic, number);
        consumer.assign(&[(partition.clone(), 0)]).unwrap();
        let all = FetchLimit { records: usize::MAX, bytes: usize::MAX };
        let mut visit = |record: highwater::RawRecord<'_>| records.push((record.key.map(<[u8]>::to_vec), record.value.map(<[u8]>::to_vec)));
        consumer.fetch(&partition, all, &mut visit).unwrap();
    }
    records
}

fn text(bytes: Option<Vec<u8>>) -> String {
    bytes.map_or_else(|| "null".to_owned(), |bytes| String::from_utf8(bytes).unwrap())
}

/// Counts the words of all lines.
fn word_count() -> Topology {
    let builder = StreamsBuilder::new();
    builder
        .stream(LINES)
        .flat_map_values(|line| line.split(' ').map(str::to_owned).collect::<Vec<_>>())
        .group_by(|_, word| word.clone())
        .count(COUNTS);
    builder.build().unwrap()
}

fn numbered(range: std::ops::Range<i64>) -> impl Iterator<Item = (Option<String>, String, i64)> {
    range.map(|n| (Some(format!("k{}", n % 17)), format!("w{} w{} all", n % 5, n % 3), n * 10))
}

/// Ends the input, waits for the end, and gives the counts over all tasks.
fn finished_counts(streams: &Streams) -> BTreeMap<String, i64> {
    streams.declare_end().unwrap();
    assert_eq!(streams.wait(SOON), State::Finished, "{:?}", streams.errors());
    counts(streams)
}

fn counts(streams: &Streams) -> BTreeMap<String, i64> {
    counts_if_any(streams).unwrap()
}

/// An error while the instance has no tasks, which may come and go from one look to the next.
fn counts_if_any(streams: &Streams) -> Result<BTreeMap<String, i64>, highwater::Error> {
    let views = streams.store(&COUNTS)?;
    Ok(views.iter().flat_map(|(_, view)| view.all().unwrap().collect::<Result<Vec<_>, _>>().unwrap()).collect())
}

fn settings(threads: usize) -> Settings {
    let mut settings = Settings::new("app");
    settings.threads = threads;
    settings.commit_interval = Duration::from_millis(20);
    settings.watermark_interval = Duration::from_millis(5);
    settings
}

#[test]
fn threads_and_partitions_change_no_total() {
    let run = |partitions, threads| {
        let log = log(&[("lines", partitions)]);
        write(&log, "lines", numbered(0..3000));
        finished_counts(&Streams::start(&word_count(), settings(threads), log).unwrap())
    };
    let alone = run(1, 1);
    assert_eq!((alone["all"], alone["w4"]), (3000, 600));
    assert_eq!(run(4, 3), alone);
}

#[test]
fn a_restart_goes_on_from_the_commit_with_the_state_restored() {
    let log = log(&[("lines", 2)]);
    write(&log, "lines", numbered(0..500));
    let first = Streams::start(&word_count(), settings(1), log.clone()).unwrap();
    first.wait_for(State::Running, SOON);
    wait_until(|| {
        let tasks = first.progress().tasks;
        tasks.len() == 4 && tasks.values().flat_map(|task| &task.inputs).all(|input| input.lag() == Some(0))
    });
    first.stop(SOON).unwrap();
    assert_eq!(first.state(), State::Stopped);
    write(&log, "lines", numbered(500..800));
    let restored = Arc::new(Mutex::new(Vec::new()));
    let seen = restored.clone();
    let again = Launch::new(&word_count(), settings(2), log.clone())
        .on_restore(move |progress| seen.lock().unwrap().push(progress.clone()))
        .start()
        .unwrap();
    let counts = finished_counts(&again);
    assert_eq!(counts["all"], 800, "nothing lost, nothing twice after a clean stop");
    assert_eq!(again.progress().records_in, 300, "what was committed is not read again");
    let restored = restored.lock().unwrap();
    assert!(restored.iter().any(|progress| &*progress.store == "counts" && progress.position == progress.end), "{restored:?}");
}

fn wait_until(mut ready: impl FnMut() -> bool) {
    let begun = std::time::Instant::now();
    while !ready() {
        assert!(begun.elapsed() < SOON, "not within {SOON:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_missing_topic_is_named_with_the_way_to_make_it() {
    let error = Streams::start(&word_count(), settings(1), log(&[])).unwrap_err().to_string();
    assert!(error.contains("`lines`") && error.contains("--create"), "{error}");
}

#[test]
fn an_empty_topic_ends_at_once() {
    let streams = Streams::start(&word_count(), settings(2), log(&[("lines", 3)])).unwrap();
    assert_eq!(finished_counts(&streams), BTreeMap::new());
}

#[test]
fn states_are_told_in_order() {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let ears = heard.clone();
    let streams = Launch::new(&word_count(), settings(2), log(&[("lines", 2)]))
        .on_state(move |before, after| {
            if after == State::Stopped {
                std::thread::sleep(Duration::from_millis(100)); // whoever stops it waits until this was heard
            }
            ears.lock().unwrap().push((before, after));
        })
        .start()
        .unwrap();
    assert_eq!(streams.wait_for(State::Running, SOON), State::Running);
    streams.stop(SOON).unwrap();
    let heard = heard.lock().unwrap();
    assert_eq!(heard.first(), Some(&(State::Created, State::Rebalancing)));
    assert_eq!(heard.last(), Some(&(State::Stopping, State::Stopped)));
    assert!(heard.windows(2).all(|pair| pair[0].1 == pair[1].0), "{heard:?}");
}

const WINDOW: i64 = 1000;

/// Counts of values in windows of a second, on close, behind a shuffle.
fn windowed_count() -> Topology {
    let builder = StreamsBuilder::new();
    builder
        .stream(Consumed::from(LINES).watermark(Watermark::bounded(Duration::from_millis(300))))
        .group_by(|_, value| value.clone())
        .windowed_by(TimeWindows::of(Duration::from_millis(WINDOW as u64)))
        .emit(EmitStrategy::on_window_close())
        .count("windowed")
        .to_stream()
        .map(|window, count| (format!("{}@{}", window.key, window.window.start), count.unwrap_or_default().to_string()))
        .to(Topic::<String, String>::new("out"));
    builder.build().unwrap()
}

fn disordered(n: i64) -> (Option<String>, String, i64) {
    let at = (n * 7 - (n * 31) % 300).max(0);
    (Some(format!("client{}", n % 13)), format!("s{}", n % 4), at)
}

fn expected(range: std::ops::Range<i64>) -> BTreeMap<String, i64> {
    let mut expected: BTreeMap<String, i64> = BTreeMap::new();
    for (_, value, at) in range.map(disordered) {
        *expected.entry(format!("{value}@{}", at / WINDOW * WINDOW)).or_default() += 1;
    }
    expected
}

/// Ends the input of the last instance and compares all rows with the batch answer.
fn equals_the_batch(streams: &Streams, log: &MemoryLog, expected: &BTreeMap<String, i64>) {
    streams.declare_end().unwrap();
    assert_eq!(streams.wait(SOON), State::Finished, "{:?}", streams.errors());
    assert_eq!((streams.progress().late, streams.progress().dropped), (0, 0));
    let rows = read(log, "out");
    assert_eq!(rows.len(), expected.len(), "each window once");
    let out: BTreeMap<String, i64> = rows.into_iter().map(|(key, value)| (text(key), text(value).parse().unwrap())).collect();
    assert_eq!(out, *expected);
}

#[test]
fn a_rekeyed_bounded_window_count_equals_the_batch_with_nothing_late() {
    let log = log(&[("lines", 4), ("out", 1)]);
    write(&log, "lines", (0..8000).map(disordered));
    let streams = Streams::start(&windowed_count(), settings(2), log.clone()).unwrap();
    equals_the_batch(&streams, &log, &expected(0..8000));
}

#[test]
fn a_clean_restart_in_the_middle_changes_no_window() {
    let log = log(&[("lines", 4), ("out", 1)]);
    write(&log, "lines", (0..4000).map(disordered));
    let first = Streams::start(&windowed_count(), settings(1), log.clone()).unwrap();
    wait_until(|| !read(&log, "out").is_empty());
    first.stop(SOON).unwrap();
    write(&log, "lines", (4000..8000).map(disordered));
    let again = Streams::start(&windowed_count(), settings(2), log.clone()).unwrap();
    equals_the_batch(&again, &log, &expected(0..8000));
}

#[test]
fn stops_at_any_moment_repeat_no_window_and_make_nothing_late() {
    let log = log(&[("lines", 4), ("out", 1)]);
    let mut settings = settings(1);
    (settings.close_batch, settings.commit_interval) = (3, Duration::from_millis(5));
    for part in 0..10 {
        write(&log, "lines", (part * 800..(part + 1) * 800).map(disordered));
        settings.threads = 1 + part as usize % 2;
        let streams = Streams::start(&windowed_count(), settings.clone(), log.clone()).unwrap();
        streams.wait_for(State::Running, SOON);
        std::thread::sleep(Duration::from_millis(part as u64 * 7));
        streams.stop(SOON).unwrap();
        assert_eq!((streams.progress().late, streams.errors().len()), (0, 0), "part {part}");
    }
    let last = Streams::start(&windowed_count(), settings, log.clone()).unwrap();
    equals_the_batch(&last, &log, &expected(0..8000));
}

/// Copies lines; `boom` makes it panic.
fn fragile() -> Topology {
    let builder = StreamsBuilder::new();
    let checked = builder.stream(LINES).map_values(|line| if line == "boom" { panic!("no such line") } else { line });
    checked.to(Topic::<Option<String>, String>::new("out"));
    builder.build().unwrap()
}

#[test]
fn a_panic_in_a_closure_stops_one_task_and_is_told() {
    let log = log(&[("lines", 3), ("out", 1)]);
    let streams = Streams::start(&fragile(), settings(2), log.clone()).unwrap();
    write(&log, "lines", ["a", "boom", "c"].map(|line| (None, line.to_owned(), 1)));
    wait_until(|| !streams.errors().is_empty());
    write(&log, "lines", ["lost with its task", "not read", "d"].map(|line| (None, line.to_owned(), 1)));
    wait_until(|| read(&log, "out").len() == 4);
    assert_eq!(streams.state(), State::Running, "the others go on");
    let failure = &streams.errors()[0];
    assert_eq!(failure.task.map(|task| task.partition), Some(1));
    assert_eq!((failure.error.kind(), failure.error.place().topic.as_deref()), (highwater::ErrorKind::Panic, Some("lines")));
    wait_until(|| streams.progress().tasks.values().filter(|task| task.state == "failed").count() == 1);
    streams.declare_end().unwrap();
    assert_eq!(streams.wait(SOON), State::Error, "not everything up to the end could be processed");
}

#[test]
fn with_no_task_left_the_instance_is_in_error() {
    let log = log(&[("lines", 1), ("out", 1)]);
    write(&log, "lines", [(None, "boom".to_owned(), 1)]);
    let streams = Streams::start(&fragile(), settings(2), log).unwrap();
    assert_eq!(streams.wait(SOON), State::Error);
    assert!(streams.stop(SOON).is_ok(), "stopping what has ended is no error");
}

#[test]
fn a_failed_task_behind_a_shuffle_does_not_keep_the_end_waiting() {
    let builder = StreamsBuilder::new();
    let checked = builder.stream(LINES).map_values(|line| if line == "boom" { panic!("no such line") } else { line });
    checked.group_by(|_, line| line.clone()).count(COUNTS);
    let log = log(&[("lines", 2)]);
    write(&log, "lines", ["a", "boom"].map(|line| (None, line.to_owned(), 1)));
    let streams = Streams::start(&builder.build().unwrap(), settings(1), log).unwrap();
    streams.declare_end().unwrap();
    assert_eq!(streams.wait(SOON), State::Error);
}

#[test]
fn null_keys_are_dropped_at_a_grouping_and_counted() {
    let builder = StreamsBuilder::new();
    builder.stream(LINES).group_by_key().count("by-key");
    let log = log(&[("lines", 2)]);
    write(&log, "lines", (0..10).map(|n| ((n % 2 == 0).then(|| "k".to_owned()), "line".to_owned(), n)));
    let streams = Streams::start(&builder.build().unwrap(), settings(1), log).unwrap();
    streams.declare_end().unwrap();
    assert_eq!(streams.wait(SOON), State::Finished, "{:?}", streams.errors());
    assert_eq!((streams.progress().records_in, streams.progress().dropped), (10, 5));
}

#[test]
fn two_instances_share_the_work() {
    let log = log(&[("lines", 4)]);
    let start = || Streams::start(&word_count(), settings(1), log.clone()).unwrap();
    let (one, two) = (start(), start());
    wait_until(|| [&one, &two].iter().all(|streams| streams.progress().tasks.len() == 4));
    write(&log, "lines", numbered(0..400));
    wait_until(|| {
        let sums = [&one, &two].map(|streams| counts_if_any(streams).map_or(0, |counts| counts.values().sum::<i64>()));
        sums.iter().sum::<i64>() == 1200
    });
    one.stop(SOON).unwrap();
    wait_until(|| two.progress().tasks.len() == 8 && two.state() == State::Running && counts_if_any(&two).is_ok());
    assert_eq!(counts(&two).values().sum::<i64>(), 1200, "the other takes over with the state");
}

#[test]
fn instances_are_finished_when_all_of_them_are() {
    let builder = StreamsBuilder::new();
    let source = Consumed::from(LINES).watermark(Watermark::bounded(Duration::ZERO).never_idle());
    let windows = TimeWindows::of(Duration::from_millis(100));
    let counts = builder.stream(source).group_by(|_, line| line.clone()).windowed_by(windows);
    let counts = counts.emit(EmitStrategy::on_window_close()).count("windowed").to_stream();
    counts.map(|window, count| (window.key.clone(), count.unwrap_or_default().to_string())).to(Topic::<String, String>::new("out"));
    let topology = builder.build().unwrap();
    let log = log(&[("lines", 4), ("out", 1)]);
    let start = || Streams::start(&topology, settings(1), log.clone()).unwrap();
    let (one, two) = (start(), start());
    wait_until(|| [&one, &two].iter().all(|streams| streams.progress().tasks.len() == 4));
    write(&log, "lines", (0..400).map(|n| (Some(format!("k{}", n % 17)), format!("w{}", n % 5), n * 10)));
    one.declare_end().unwrap();
    two.declare_end().unwrap();
    assert_eq!((one.wait(SOON), two.wait(SOON)), (State::Finished, State::Finished), "{:?} {:?}", one.progress(), two.progress());
    let sum: i64 = read(&log, "out").into_iter().map(|(_, count)| text(count).parse::<i64>().unwrap()).sum();
    assert_eq!((sum, one.progress().late + two.progress().late), (400, 0));
}

#[test]
fn a_store_is_asked_for_by_name_and_type() {
    let streams = Streams::start(&word_count(), settings(1), log(&[("lines", 1)])).unwrap();
    assert_eq!(streams.wait_for(State::Running, SOON), State::Running);
    assert_eq!(streams.store(&COUNTS).unwrap().len(), 1);
    let other: StoreRef<KeyValueStore<String, String>> = StoreRef::new("counts");
    assert_eq!(streams.store(&other).err().unwrap().kind(), highwater::ErrorKind::InvalidConfig);
    let none: StoreRef<KeyValueStore<String, i64>> = StoreRef::new("elsewhere");
    assert_eq!(streams.store(&none).err().unwrap().kind(), highwater::ErrorKind::NotAvailable);
}
