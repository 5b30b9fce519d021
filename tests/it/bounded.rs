//! Bounded watermarks through the public API, where the stored cases do not look: stacked windows, caches, sources' own rules, the
//! driver's several partitions.

use std::time::Duration;

use highwater::{
    Buffer, Consumed, EmitStrategy, Headers, KStream, Repartitioned, SessionWindows, Settings, SlidingWindows, StreamsBuilder, Suppressed,
    TaskId, TimeWindows, Timestamp, Topic, Topology, TopologyTestDriver, Watermark, Windowed,
};

type Result = std::result::Result<(), Box<dyn std::error::Error>>;

const IN: Topic<String, String> = Topic::new("in");
const OUT: Topic<String, Option<i64>> = Topic::new("out");
const LATE: Topic<String, i64> = Topic::new("late");
const READER: TaskId = TaskId { subtopology: 1, partition: 0 };

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}
const fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}
fn source(builder: &StreamsBuilder, watermark: Watermark) -> KStream<String, String> {
    builder.stream(Consumed::with(IN).watermark(watermark))
}
fn pipe(driver: &mut TopologyTestDriver, partition: i32, time: i64) -> Result {
    Ok(driver.pipe_to(partition, &IN, "k".to_owned(), "v".to_owned(), at(time))?)
}
fn times(driver: &mut TopologyTestDriver, topic: &str) -> Vec<i64> {
    driver.take_records(topic).iter().map(|record| record.timestamp.expect("a time").as_millis()).collect()
}

/// Windows over the results of windows: counts per 10 ms with grace, summed per 100 ms without any.
fn stacked(first_emits: EmitStrategy) -> Topology {
    let builder = StreamsBuilder::new();
    let counts = source(&builder, Watermark::bounded(ms(5)))
        .group_by_key()
        .windowed_by(TimeWindows::of(ms(10)).grace(ms(20)))
        .emit(first_emits)
        .count("per-10");
    counts
        .to_stream()
        .flat_map(|key: Windowed<String>, count: Option<i64>| count.map(|count| (key.key, count)))
        .repartition(Repartitioned::<String, i64>::named("counts").partitions(1))
        .group_by_key()
        .windowed_by(TimeWindows::of(ms(100)))
        .emit(EmitStrategy::on_window_close())
        .late_to(LATE)
        .aggregate("per-100", || 0, |_, count, sum: &mut i64| *sum += count)
        .named("sums")
        .to_stream()
        .map(|key: Windowed<String>, sum: Option<i64>| (key.key, sum))
        .to(OUT);
    builder.build().expect("a valid topology")
}

/// A partition in order, one 15 ms behind its own clock at most, and one that jumps; none is late within grace and disorder.
fn feed(driver: &mut TopologyTestDriver) -> Result {
    for step in 0..60 {
        pipe(driver, 0, step * 7)?;
        pipe(driver, 1, (step * 9 - (step % 4) * 5).max(0))?;
        pipe(driver, 2, (step / 10) * 80)?;
    }
    Ok(driver.finish()?)
}

#[test]
fn two_stacked_windows_with_grace_lose_nothing() -> Result {
    let topology = stacked(EmitStrategy::on_window_close());
    let mut driver = TopologyTestDriver::builder(&topology).partitions("in", 3).build()?;
    feed(&mut driver)?;
    assert_eq!(driver.late_records(), 0);
    assert_eq!(driver.read_all(&OUT).iter().filter_map(|(_, sum)| *sum).sum::<i64>(), 180, "every record is counted, once");
    assert_eq!(driver.watermark(READER), Some(Timestamp::MAX));
    Ok(())
}

#[test]
fn results_on_update_may_be_late_one_stage_on_d4() -> Result {
    let topology = stacked(EmitStrategy::on_window_update());
    let mut driver = TopologyTestDriver::builder(&topology).partitions("in", 1).build()?;
    pipe(&mut driver, 0, 106)?;
    pipe(&mut driver, 0, 95)?; // within the grace of the first stage; the second has closed its window at 100
    assert_eq!((driver.late_records(), driver.late_records_of("sums")), (1, 1));
    let late = driver.take_records("late");
    assert_eq!(late.len(), 1);
    assert_eq!(late[0].headers.last("__hw.late.watermark"), Some(b"101".as_slice()));
    Ok(())
}

fn updates(windows: TimeWindows) -> Topology {
    let builder = StreamsBuilder::new();
    source(&builder, Watermark::in_order()).group_by_key().windowed_by(windows).count("counts").to(Topic::new("updates"));
    builder.build().expect("a valid topology")
}

#[test]
fn closing_a_cached_window_withdraws_nothing() -> Result {
    let mut driver = TopologyTestDriver::new(&updates(TimeWindows::of(ms(10))));
    for time in [1, 2, 11, 25] {
        pipe(&mut driver, 0, time)?;
    }
    driver.finish()?;
    let values: Vec<_> = driver.take_records("updates").into_iter().map(|record| record.value.is_some()).collect();
    assert_eq!(values, [true; 4], "an update for each record and no tombstone when its window closes");
    assert_eq!(driver.store_len("counts"), Some(0), "closed windows leave the state");
    Ok(())
}

#[test]
fn closing_cached_sessions_and_sliding_windows_withdraws_nothing() -> Result {
    let builder = StreamsBuilder::new();
    let grouped = source(&builder, Watermark::in_order()).group_by_key();
    grouped.windowed_by(SessionWindows::with_gap(ms(5))).count("sessions").to(Topic::new("of-sessions"));
    grouped.windowed_by(SlidingWindows::of(ms(10))).count("sliding").to(Topic::new("of-sliding"));
    let mut driver = TopologyTestDriver::new(&builder.build()?);
    for time in [100, 200, 300] {
        pipe(&mut driver, 0, time)?;
    }
    driver.finish()?;
    for topic in ["of-sessions", "of-sliding"] {
        let values: Vec<_> = driver.take_records(topic).into_iter().map(|record| record.value.is_some()).collect();
        assert_eq!(values, [true; 3], "{topic}");
    }
    Ok(())
}

#[test]
fn the_shortest_close_when_idle_counts_of_source_and_application() -> Result {
    for (of_application, closes_after) in [(None, 300), (Some(ms(500)), 300), (Some(ms(200)), 200)] {
        let builder = StreamsBuilder::new();
        let rule = Watermark::in_order().idle_after(ms(100)).close_when_idle(ms(300));
        let windows = source(&builder, rule).group_by_key().windowed_by(TimeWindows::of(Duration::from_secs(60)));
        windows.emit(EmitStrategy::on_window_close()).count("counts").to(Topic::new("closed"));
        let mut settings = Settings::new("app");
        settings.close_when_idle = of_application;
        let mut driver = TopologyTestDriver::with_settings(&builder.build()?, &settings, at(0))?;
        pipe(&mut driver, 0, 7)?;
        driver.advance_wall_clock(ms(100 + closes_after - 1))?;
        assert_eq!(times(&mut driver, "closed"), [0; 0], "{of_application:?}");
        driver.advance_wall_clock(ms(1))?;
        assert_eq!(times(&mut driver, "closed"), [7], "{of_application:?}");
    }
    Ok(())
}

#[test]
fn a_session_withdrawn_from_a_suppression_takes_no_room() -> Result {
    let builder = StreamsBuilder::new();
    let sessions = source(&builder, Watermark::in_order()).group_by_key().windowed_by(SessionWindows::with_gap(ms(5)));
    let room_for_one = Suppressed::until_window_closes().buffer(Buffer::unbounded().max_records(1));
    sessions.count("sessions").suppress("held", room_for_one).to(Topic::new("finals"));
    let mut driver = TopologyTestDriver::new(&builder.build()?);
    pipe(&mut driver, 0, 10)?;
    pipe(&mut driver, 0, 14)?; // one session [10, 14]; that of [10, 10] is withdrawn
    driver.finish()?;
    assert_eq!(times(&mut driver, "finals"), [14]);
    Ok(())
}

#[test]
fn a_cached_update_is_said_before_its_window_closes() -> Result {
    let builder = StreamsBuilder::new();
    let first = source(&builder, Watermark::in_order()).group_by_key().windowed_by(TimeWindows::of(ms(10)));
    let again = first.emit(EmitStrategy::on_window_close()).count("first").to_stream().map(|key: Windowed<String>, count| (key.key, count));
    let regrouped = again.repartition(Repartitioned::<String, Option<i64>>::named("again")).group_by_key();
    // The result of a window and the watermark that closes the same window here come in one go.
    regrouped.windowed_by(TimeWindows::of(ms(10))).count("second").to(Topic::new("updates"));
    let mut driver = TopologyTestDriver::new(&builder.build()?);
    for time in [3, 14, 25] {
        pipe(&mut driver, 0, time)?;
    }
    assert_eq!(times(&mut driver, "updates"), [3, 14]);
    Ok(())
}

#[test]
fn records_of_a_raw_source_too_far_ahead_keep_their_bytes() -> Result {
    let builder = StreamsBuilder::new();
    let decode = |raw: highwater::RawRecord<'_>| Ok::<_, std::str::Utf8Error>(Some(((), raw.value.unwrap_or_default().len() as i64)));
    builder.stream(Consumed::raw("in", decode).watermark(Watermark::in_order()).bad_time_to("bad")).for_each(|_, _| ());
    let mut settings = Settings::new("app");
    settings.max_future_skew = ms(1000);
    let mut driver = TopologyTestDriver::with_settings(&builder.build()?, &settings, at(0))?;
    driver.pipe_bytes("in", Some(b"k"), Some(b"1001 is too far"), at(1001), Headers::default())?;
    driver.pipe_bytes("in", Some(b"k"), Some(b"1000 is not"), at(1000), Headers::default())?;
    assert_eq!(driver.bad_time_records(), 1);
    let bad = driver.take_records("bad");
    assert_eq!(bad.len(), 1);
    assert_eq!((bad[0].key.as_deref(), bad[0].value.as_deref()), (Some(b"k".as_slice()), Some(b"1001 is too far".as_slice())));
    assert_eq!(driver.watermark(TaskId { subtopology: 0, partition: 0 }), Some(at(1000)));
    Ok(())
}

#[test]
fn a_partition_or_topic_that_is_not_there_is_an_error() -> Result {
    let mut driver = TopologyTestDriver::new(&updates(TimeWindows::of(ms(10))));
    let error = driver.pipe_to(1, &IN, "k".to_owned(), "v".to_owned(), at(1)).unwrap_err().to_string();
    assert!(error.contains("`in` has no partition 1, it has 1"), "{error}");
    assert!(driver.pause("nowhere", 0).unwrap_err().to_string().contains("no source reads"));

    let builder = StreamsBuilder::new();
    builder.stream(IN).to(Topic::new("copy"));
    let in_stream_time = builder.build()?;
    assert!(TopologyTestDriver::builder(&in_stream_time).partitions("in", 2).build().is_err());
    assert!(TopologyTestDriver::builder(&in_stream_time).partitions("in", 0).build().is_err());
    Ok(())
}

#[test]
fn in_stream_time_a_pause_holds_records_and_the_end_closes_nothing() -> Result {
    let builder = StreamsBuilder::new();
    let windows = builder.stream(IN).group_by_key().windowed_by(TimeWindows::of(ms(10))).emit(EmitStrategy::on_window_close());
    windows.count("counts").to(Topic::new("closed"));
    let mut driver = TopologyTestDriver::new(&builder.build()?);
    driver.pause("in", 0)?;
    pipe(&mut driver, 0, 3)?;
    assert_eq!(driver.store_len("counts"), Some(0));
    driver.finish()?;
    assert_ne!(driver.store_len("counts"), Some(0), "what was paused is processed");
    assert_eq!(times(&mut driver, "closed"), [0; 0]);
    assert_eq!(driver.watermark(driver.tasks()[0]), None);
    Ok(())
}

#[test]
fn the_batch_of_a_close_pass_does_not_show() -> Result {
    let results = |close_batch: usize, jump: i64| -> std::result::Result<_, Box<dyn std::error::Error>> {
        let builder = StreamsBuilder::new();
        let grouped = source(&builder, Watermark::in_order()).group_by_key();
        let on_close = EmitStrategy::on_window_close;
        grouped.windowed_by(TimeWindows::of(ms(10))).emit(on_close()).count("time").to(Topic::new("of-time"));
        grouped.windowed_by(SessionWindows::with_gap(ms(3))).emit(on_close()).count("sessions").to(Topic::new("of-sessions"));
        grouped.windowed_by(SlidingWindows::of(ms(10))).emit(on_close()).count("sliding").to(Topic::new("of-sliding"));
        let mut settings = Settings::new("app");
        settings.close_batch = close_batch;
        let mut driver = TopologyTestDriver::with_settings(&builder.build()?, &settings, at(0))?;
        for step in 0..20 {
            driver.pipe(&IN, ["a", "b", "c"][step as usize % 3].to_owned(), "v".to_owned(), at(step / 3 * jump))?;
        }
        driver.finish()?;
        Ok(["of-time", "of-sessions", "of-sliding"].map(|topic| driver.take_records(topic)))
    };
    for jump in [0, 1, 7] {
        let whole = results(usize::MAX, jump)?;
        assert!(whole.iter().all(|records| records.len() >= 3));
        for close_batch in [1, 2, 3, 5] {
            assert_eq!(results(close_batch, jump)?, whole, "batches of {close_batch}, {jump} ms apart");
        }
    }
    Ok(())
}

#[test]
fn of_equal_times_the_first_topic_of_the_topology_goes_first() -> Result {
    let builder = StreamsBuilder::new();
    let [one, two] = ["b-first", "a-second"]
        .map(|topic| builder.stream(Consumed::with(Topic::<String, String>::named(topic)).watermark(Watermark::in_order())));
    one.merge(&two).to(Topic::new("merged"));
    let mut driver = TopologyTestDriver::builder(&builder.build()?).partitions("a-second", 2).build()?;
    let waiting = [("a-second", 1), ("a-second", 0), ("b-first", 0)];
    for (topic, partition) in waiting {
        driver.pause(topic, partition)?;
        driver.pipe_to(partition, &Topic::named(topic), "k".to_owned(), format!("{topic} {partition}"), at(7))?;
    }
    driver.finish()?;
    let values = driver.read_all(&Topic::<String, String>::new("merged"));
    assert_eq!(values.iter().map(|(_, value)| value.as_str()).collect::<Vec<_>>(), ["b-first 0", "a-second 0", "a-second 1"]);
    Ok(())
}

#[test]
fn control_records_follow_the_data_in_every_partition() -> Result {
    let builder = StreamsBuilder::new();
    let numbered = Repartitioned::<String, String>::named("r").partitions(2);
    source(&builder, Watermark::bounded(ms(5))).repartition(numbered).to(Topic::new("copy"));
    let mut driver = TopologyTestDriver::new(&builder.build()?);
    pipe(&mut driver, 0, 40)?;
    let sent = driver.take_records("app-r-repartition");
    let (data, control): (Vec<_>, Vec<_>) = sent.iter().partition(|record| record.value.is_some());
    assert_eq!((data.len(), control.len()), (1, 2));
    assert_eq!(sent[0].value, data[0].value, "the data comes first");
    for record in control {
        assert!(record.key.is_none() && record.headers.last("__hw.wm").is_some());
        let expected = if record.partition == data[0].partition { 40 } else { 35 };
        assert_eq!(record.timestamp, Some(at(expected)), "the last data's time, or before any the watermark");
    }
    assert_eq!(driver.watermark(READER), Some(at(35)));
    Ok(())
}
