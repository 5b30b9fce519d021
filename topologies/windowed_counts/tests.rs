//! The job `windowed-counts` in the test driver: what comes out, what is late, what becomes of bad records.

use highwater::{Headers, Timestamp, TopologyTestDriver};

use super::*;

fn job(window: Window) -> WindowedCounts {
    WindowedCounts {
        application: "test".to_owned(),
        input: Input {
            topic: "in".to_owned(),
            format: Format::Json,
            key: Some("who".to_owned()),
            time_field: "at".to_owned(),
            time_format: TimeFormat::EpochMs,
            watermark: Some(Bound { disorder: Duration::from_millis(5), idle_after: Idle::Never }),
            bad_records: BadRecords::Fail,
        },
        group_by: None,
        window,
        grace: Duration::ZERO,
        emit: Emit::OnClose,
        guarantee: Guarantee::ExactlyOnce,
        commit_interval: Duration::from_millis(100),
        adaptive_commit: false,
        output_topic: "out".to_owned(),
        late_topic: Some("late".to_owned()),
    }
}

const TEN_MS: Window = Window::Tumbling(Duration::from_millis(10));

struct Run {
    job: WindowedCounts,
    driver: TopologyTestDriver,
}

impl Run {
    fn of(job: WindowedCounts) -> Self {
        let driver = TopologyTestDriver::new(&job.topology().expect("a good job"));
        Run { job, driver }
    }

    fn pipe(&mut self, key: &str, value: &str) -> Result<(), highwater::Error> {
        let bytes = (Some(key.as_bytes()), Some(value.as_bytes()));
        self.driver.pipe_bytes("in", bytes.0, bytes.1, Timestamp::from_millis(0), Headers::default())
    }

    fn view(&mut self, who: &str, page: &str, at: i64) {
        self.pipe(who, &format!(r#"{{"who":"{who}","page":"{page}","at":{at}}}"#)).expect("a good record");
    }

    /// Declares the end of input: every window closes.
    fn end(&mut self) {
        self.driver.finish().expect("ends");
    }

    /// Results since the last call, as `key@start-end=count`.
    fn results(&mut self) -> Vec<String> {
        let records = self.driver.take_records("out");
        let told = records.iter().map(|out| {
            let record = RawRecord {
                topic: "out",
                partition: 0,
                offset: 0,
                key: out.key.as_deref(),
                value: out.value.as_deref(),
                timestamp: Timestamp::from_millis(0),
                headers: &out.headers,
            };
            let row = self.job.result(&record).expect("a result");
            let count = row.count.map_or("gone".to_owned(), |count| count.to_string());
            format!("{}@{}-{}={count}", row.key.unwrap_or_default(), row.start, row.end)
        });
        told.collect()
    }

    fn values(&mut self, topic: &str) -> Vec<String> {
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        self.driver.take_records(topic).into_iter().filter_map(|record| record.value).map(text).collect()
    }
}

#[test]
fn a_window_comes_out_once_when_the_watermark_has_passed_it() {
    let mut run = Run::of(job(TEN_MS));
    run.view("ann", "/", 3);
    run.view("bob", "/", 14);
    run.view("ann", "/", 9);
    assert_eq!(run.results(), [""; 0]);
    run.view("bob", "/", 15);
    assert_eq!(run.results(), ["ann@0-10=2"]);
    run.view("ann", "/late", 4);
    assert_eq!(run.values("late"), [r#"{"who":"ann","page":"/late","at":4}"#]);
    run.end();
    assert_eq!(run.results(), ["bob@10-20=2"]);
}

#[test]
fn a_field_that_is_not_the_key_is_counted_through_a_repartition_topic() {
    let mut run = Run::of(WindowedCounts { group_by: Some("page".to_owned()), ..job(TEN_MS) });
    run.view("ann", "/", 1);
    run.view("bob", "/", 2);
    run.view("bob", "/b", 3);
    run.pipe("ann", r#"{"who":"ann","at":4}"#).expect("a record without a page is passed over");
    run.end();
    let mut results = run.results();
    results.sort();
    assert_eq!(results, ["/@0-10=2", "/b@0-10=1"]);
}

#[test]
fn every_kind_of_window_counts() {
    let ms = Duration::from_millis;
    let all = |window| {
        let mut run = Run::of(job(window));
        for at in [2, 8, 30] {
            run.view("ann", "/", at);
        }
        run.end();
        run.results()
    };
    assert_eq!(all(Window::Hopping { size: ms(10), advance: ms(5) }), ["ann@0-10=2", "ann@5-15=1", "ann@25-35=1", "ann@30-40=1"]);
    assert_eq!(all(Window::Session(ms(10))), ["ann@2-8=2", "ann@30-30=1"]);
    let sliding = all(Window::Sliding(ms(10)));
    for expected in ["ann@0-10=2", "ann@20-30=1"] {
        assert!(sliding.iter().any(|row| row == expected), "{sliding:?}");
    }
}

#[test]
fn on_update_tells_each_step_and_takes_back_merged_sessions() {
    let mut run = Run::of(WindowedCounts { emit: Emit::OnUpdate, ..job(Window::Session(Duration::from_millis(10))) });
    run.view("ann", "/", 2);
    run.view("ann", "/", 8);
    run.end();
    let results = run.results();
    assert!(results.contains(&"ann@2-8=2".to_owned()), "{results:?}");
    let taken_back = results.iter().position(|row| row == "ann@2-2=gone");
    assert_eq!(taken_back.is_some(), results.contains(&"ann@2-2=1".to_owned()), "{results:?}");
}

#[test]
fn a_bad_record_meets_its_policy() {
    let run = |bad_records| {
        let mut job = job(TEN_MS);
        job.input.bad_records = bad_records;
        let mut run = Run::of(job);
        (run.pipe("ann", "nonsense").map_err(|error| error.to_string()), run)
    };
    let error = run(BadRecords::Fail).0.expect_err("stops");
    assert!(error.contains("not JSON") && error.contains("in-0@0"), "{error}");

    let (piped, mut skipped) = run(BadRecords::Skip);
    piped.expect("goes on");
    skipped.view("ann", "/", 1);
    skipped.end();
    assert_eq!((skipped.results(), skipped.driver.dropped_records()), (vec!["ann@0-10=1".to_owned()], 1));

    let (piped, mut dead) = run(BadRecords::DeadLetter("dead".to_owned()));
    piped.expect("goes on");
    assert_eq!(dead.values("dead"), ["nonsense"]);
}
