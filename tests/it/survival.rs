//! Restarts of the test driver where the stored cases do not look: sliding windows, record caches, what a test has read already.

use std::time::Duration;

use highwater::{
    Consumed, EmitStrategy, KGroupedStream, RawOutput, Settings, SlidingWindows, StreamsBuilder, Suppressed, TimeWindows, Timestamp, Topic,
    Topology, TopologyTestDriver, Watermark, Windowed,
};

type Result = std::result::Result<(), Box<dyn std::error::Error>>;

const IN: Topic<String, String> = Topic::new("in");
const OUT: Topic<Windowed<String>, i64> = Topic::new("out");

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn topology(windowed: impl FnOnce(KGroupedStream<String, String>)) -> Topology {
    let builder = StreamsBuilder::new();
    windowed(
        builder.stream(Consumed::with(IN).watermark(Watermark::bounded(ms(20)).idle_after(ms(500)))).group_by(|_, value| value.clone()),
    );
    builder.build().expect("a valid topology")
}

/// Sliding windows: their rows stay in the store when their results are sent.
fn sliding() -> Topology {
    topology(|grouped| {
        let windows = grouped.windowed_by(SlidingWindows::of(ms(50)).grace(ms(30)));
        windows.emit(EmitStrategy::on_window_close()).count("sliding").to_stream().to(OUT);
    })
}

/// Updates of tumbling windows, cached, then held back until the windows close.
fn suppressed() -> Topology {
    topology(|grouped| {
        let counts = grouped.windowed_by(TimeWindows::of(ms(50)).grace(ms(30))).count("tumbling");
        counts.suppress("held", Suppressed::until_window_closes()).to_stream().to(OUT);
    })
}

fn settings(close_batch: usize) -> Settings {
    let mut settings = Settings::new("app");
    settings.close_batch = close_batch;
    settings.max_future_skew = Duration::MAX;
    settings.watermark_interval = Duration::ZERO;
    settings
}

fn driver(topology: &Topology, close_batch: usize) -> TopologyTestDriver {
    TopologyTestDriver::builder(topology).settings(settings(close_batch)).partitions("in", 2).build().expect("a driver")
}

/// Two partitions, disordered within the bound, with a silence in the middle; `between` runs after each step.
fn play(driver: &mut TopologyTestDriver, mut between: impl FnMut(&mut TopologyTestDriver, i64) -> Result) -> Result {
    for n in 0..60 {
        let time = 1_000 + n * 13 - (n * 7) % 20;
        driver.pipe_to((n % 2) as i32, &IN, "k".to_owned(), format!("v{}", n % 5), Timestamp::from_millis(time))?;
        if n == 30 {
            driver.advance_wall_clock(ms(900))?;
        }
        between(driver, n)?;
    }
    Ok(driver.finish()?)
}

/// What must not depend on crashes: results by task, and what was late.
fn outcome(driver: &mut TopologyTestDriver) -> (Vec<RawOutput>, u64) {
    let mut records = driver.take_records("out");
    records.sort_by_key(|record| record.task);
    (records, driver.late_records())
}

#[test]
fn a_restart_after_any_step_closes_no_window_twice() -> Result {
    for topology in [sliding(), suppressed()] {
        let mut whole = driver(&topology, 1000);
        play(&mut whole, |_, _| Ok(()))?;
        let expected = outcome(&mut whole);
        assert!(expected.0.len() > 30, "{}", expected.0.len());
        let mut crashing = driver(&topology, 1000);
        play(&mut crashing, |driver, _| Ok(driver.restart()?))?;
        assert_eq!(outcome(&mut crashing), expected);
        crashing.restart()?;
        assert_eq!(outcome(&mut crashing).0, [], "after the end nothing is left to be sent");
    }
    Ok(())
}

#[test]
fn a_crash_inside_a_close_pass_repeats_and_loses_nothing() -> Result {
    for topology in [sliding(), suppressed()] {
        let mut whole = driver(&topology, 1000);
        play(&mut whole, |_, _| Ok(()))?;
        let expected = outcome(&mut whole);
        for batch in 1..4 {
            let mut crashing = driver(&topology, batch);
            play(&mut crashing, |driver, n| match n % 3 {
                0 => Ok(driver.crash_in_close(1 + n as usize % 2)?),
                _ => Ok(()),
            })?;
            assert_eq!(outcome(&mut crashing), expected, "close batch {batch}");
        }
    }
    Ok(())
}

#[test]
fn commits_by_hand_show_what_a_crash_takes_back() -> Result {
    let topology = topology(|grouped| {
        grouped.windowed_by(TimeWindows::of(ms(50))).count("tumbling").to_stream().to(OUT);
    });
    let mut driver = TopologyTestDriver::builder(&topology).manual_commits().build()?;
    let pipe = |driver: &mut TopologyTestDriver, value: &str, time| {
        driver.pipe(&IN, "k".to_owned(), value.to_owned(), Timestamp::from_millis(time))
    };
    pipe(&mut driver, "a", 10)?;
    driver.commit()?;
    pipe(&mut driver, "a", 20)?;
    let counts: Vec<i64> = driver.read_all(&OUT).into_iter().map(|(_, count)| count).collect();
    assert_eq!(counts, [1, 2]);
    pipe(&mut driver, "a", 30)?;
    driver.restart()?;
    assert_eq!(driver.take_withdrawn()["out"], 1, "of two that were not committed one had been read");
    let counts: Vec<i64> = driver.read_all(&OUT).into_iter().map(|(_, count)| count).collect();
    assert_eq!(counts, [2, 3], "both records are read again, on the state of the commit");
    assert!(driver.take_withdrawn().is_empty());
    Ok(())
}

#[test]
fn stream_time_says_that_it_cannot_restart() {
    let builder = StreamsBuilder::new();
    builder.stream(IN).to(Topic::<String, String>::new("copy"));
    let mut driver = TopologyTestDriver::new(&builder.build().unwrap());
    assert!(driver.restart().unwrap_err().to_string().contains("stream time"));
}
