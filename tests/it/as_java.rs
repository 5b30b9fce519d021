//! Corners of Kafka Streams' behaviour that random scenarios found: one line of story each.

use highwater::serdes::{BigEndian, Nullable, Utf8};
use highwater::{
    BoxError, Buffer, Context, ErrorKind, FixedKeyProcessor, FixedKeyRecord, Materialized, OnError, SessionStore, SessionWindow, Settings,
    StoreRef, StreamsBuilder, Suppressed, TimeWindows, Timestamp, Topic, TopologyTestDriver, Unnamed,
};

const IN: Topic<String, i64> = Topic::new("in");
const ROWS: Topic<String, i64> = Topic::new("rows");
const OUT: Topic<String, i64> = Topic::new("out");

fn at(ms: i64) -> Timestamp {
    Timestamp::from_millis(ms)
}

/// Moves every record ten milliseconds back.
struct Earlier;

impl FixedKeyProcessor for Earlier {
    type Key = String;
    type In = i64;
    type Out = i64;
    fn process(
        &mut self,
        mut record: FixedKeyRecord<String, i64>,
        cx: &mut Context<'_, FixedKeyRecord<String, i64>>,
    ) -> Result<(), BoxError> {
        record.timestamp = Timestamp::from_millis(record.timestamp.as_millis() - 10);
        cx.forward(record);
        Ok(())
    }
}

#[test]
fn a_processor_that_forwards_a_record_before_the_epoch_fails_and_the_policy_decides() {
    let topology = |policy: Option<OnError>| {
        let builder = StreamsBuilder::new();
        let earlier = builder.stream(IN).process_values((), |()| Earlier);
        match policy {
            Some(policy) => earlier.on_error(policy).to(OUT),
            None => earlier.to(OUT),
        };
        TopologyTestDriver::new(&builder.build().expect("valid"))
    };
    let error = topology(None).pipe(&IN, "a".to_owned(), 1, at(3)).expect_err("-7 is before the epoch");
    assert_eq!(error.kind(), ErrorKind::Processing);
    let mut skips = topology(Some(OnError::Skip));
    skips.pipe(&IN, "a".to_owned(), 1, at(3)).expect("skipped");
    skips.pipe(&IN, "a".to_owned(), 2, at(10)).expect("the epoch itself is fine");
    assert_eq!((skips.read_all(&OUT), skips.dropped_records()), (vec![("a".to_owned(), 2)], 1));
}

#[test]
fn a_full_suppression_is_an_error_for_the_policy_and_keeps_the_update() {
    let builder = StreamsBuilder::new();
    let calm =
        Suppressed::until_time_limit(std::time::Duration::from_millis(5)).buffer(Buffer::unbounded().max_records(1).shut_down_when_full());
    builder.table(ROWS).suppress("calm", calm).on_error(OnError::Skip).to(OUT);
    let mut driver = TopologyTestDriver::new(&builder.build().expect("valid"));
    for (key, ms) in [("a", 0), ("b", 1), ("c", 9)] {
        driver.pipe(&ROWS, key.to_owned(), 1, at(ms)).expect("skipped");
    }
    assert_eq!(driver.read_all(&OUT), [("a".to_owned(), 1), ("b".to_owned(), 1)]);
    assert_eq!(driver.dropped_records(), 1, "b was one too many, and is held all the same");
}

#[test]
fn a_view_whose_store_has_no_name_can_be_joined() {
    let builder = StreamsBuilder::new();
    let doubled = builder.table(ROWS).map_values_as(Unnamed, |row| row * 2);
    builder.stream(IN).join_table(&doubled, |value, row| value + row).to(OUT);
    let mut driver = TopologyTestDriver::new(&builder.build().expect("valid"));
    driver.pipe(&ROWS, "a".to_owned(), 20, at(0)).expect("a row");
    driver.pipe(&IN, "a".to_owned(), 2, at(1)).expect("a value");
    assert_eq!(driver.read_all(&OUT), [("a".to_owned(), 42)]);
}

#[test]
fn what_a_type_writes_as_null_is_no_old_row() {
    let rows: Topic<String, Option<i64>> = Topic::with("in", Utf8, Nullable(BigEndian));
    let builder = StreamsBuilder::new();
    let last = builder.stream(rows.clone()).group_by_key().aggregate(
        StoreRef::with("last", Utf8, Nullable(BigEndian)),
        || None,
        |_, value, row: &mut Option<i64>| *row = value,
    );
    last.filter(|_, row| row.is_none_or(|row| row > 10)).to(Topic::with("out", Utf8, Nullable(BigEndian)));
    let topology = builder.build().expect("valid");
    let mut uncached = Settings::new("app");
    uncached.record_cache_bytes = 0;
    let mut driver = TopologyTestDriver::builder(&topology).settings(uncached).build().expect("valid settings");
    driver.pipe(&rows, "a".to_owned(), Some(1), at(0)).expect("filtered out");
    assert!(driver.take_records("out").is_empty(), "there was no row before that could be withdrawn");
}

#[test]
fn a_dead_letter_behind_a_cache_keeps_the_bytes_of_its_source() {
    let builder = StreamsBuilder::new();
    let sums = builder.stream(IN).group_by_key().reduce("sums", |one, other| one + other);
    let fails = sums.to_stream().try_map_values(|row| row.map_or(Ok(0), |row| if row > 1 { Err("too much") } else { Ok(row) }));
    fails.on_error(OnError::dead_letter("dead")).to(OUT);
    let mut driver = TopologyTestDriver::new(&builder.build().expect("valid"));
    driver.pipe(&IN, "a".to_owned(), 7, at(3)).expect("dead-lettered");
    let dead = driver.take_records("dead");
    assert_eq!((dead[0].key.as_deref(), dead[0].value.as_deref()), (Some(b"a".as_slice()), Some(7_i64.to_be_bytes().as_slice())));
}

#[test]
fn a_session_that_ends_before_it_starts_is_refused() {
    struct Writes(SessionStore<String, i64>);
    impl FixedKeyProcessor for Writes {
        type Key = String;
        type In = i64;
        type Out = i64;
        fn process(
            &mut self,
            record: FixedKeyRecord<String, i64>,
            _: &mut Context<'_, FixedKeyRecord<String, i64>>,
        ) -> Result<(), BoxError> {
            Ok(self.0.put(record.key(), SessionWindow { start: at(2), end: at(record.value) }, &1)?)
        }
    }
    let store = StoreRef::<SessionStore<String, i64>>::new("st");
    let builder = StreamsBuilder::new();
    builder.add_store(Materialized::with(store.clone()).retention(std::time::Duration::from_secs(1)));
    builder.stream(IN).process_values::<_, _, i64>((store,), |(st,)| Writes(st));
    let mut driver = TopologyTestDriver::new(&builder.build().expect("valid"));
    driver.pipe(&IN, "a".to_owned(), 2, at(1)).expect("a session of an instant");
    let error = driver.pipe(&IN, "a".to_owned(), 1, at(2)).expect_err("from 2 to 1");
    assert!(error.to_string().contains("a session from 2 to 1"), "{error}");
}

#[test]
fn a_record_that_fails_in_one_window_is_given_up_in_all() {
    let builder = StreamsBuilder::new();
    let hops = TimeWindows::of(std::time::Duration::from_millis(10)).advance_by(std::time::Duration::from_millis(5));
    let fails = |one: i64, other: i64| if other == 2 { Err("two") } else { Ok(one + other) };
    let sums = builder.stream(IN).group_by_key().windowed_by(hops).try_reduce("sums", fails);
    sums.on_error(OnError::Skip).to_stream_as(|window, row| (window.key, row.unwrap_or(0))).to(OUT);
    let mut driver = TopologyTestDriver::new(&builder.build().expect("valid"));
    driver.pipe(&IN, "a".to_owned(), 1, at(7)).expect("into two windows");
    driver.pipe(&IN, "a".to_owned(), 2, at(8)).expect("into none");
    assert_eq!(driver.dropped_records(), 1);
}

#[test]
fn null_keys_pass_every_repartition_topic_before_a_left_join() {
    let nullable: Topic<Option<String>, i64> = Topic::with("in", Nullable(Utf8), BigEndian);
    let builder = StreamsBuilder::new();
    let rows = builder.table(Topic::<Option<String>, i64>::with("rows", Nullable(Utf8), BigEndian));
    let counts = builder.stream(nullable.clone()).select_key(|_, _| None::<String>).group_by_key().count("counts");
    let again = counts.to_stream().filter_map_values(|row| row).select_key(|key, _| key.clone());
    again.left_join_table(&rows, |value, row: Option<i64>| value + row.unwrap_or(0)).to(Topic::with("out", Nullable(Utf8), BigEndian));
    let mut driver = TopologyTestDriver::new(&builder.build().expect("valid"));
    driver.pipe(&nullable, Some("a".to_owned()), 1, at(0)).expect("its key becomes null");
    assert_eq!((driver.take_records("app-counts-repartition").len(), driver.dropped_records()), (1, 1));
}
