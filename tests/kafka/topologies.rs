//! Every job file of `topologies/jobs` with both guarantees, as the built program runs it: on a real broker with RocksDB, over input of which some is aborted and
//! some undecided for a while; and on the embedded log over what was committed. Both must write the same records into the same topics.

mod stage;

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use highwater::Headers;
use highwater::kafka::NewTopic;

use crate::reading;
use stage::{Given, Stage};

/// The lines of the sample as records with this part of the line as the key; every third one says that it happened in 1970.
fn lines(key: fn(&str) -> &str) -> Vec<Given> {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("topologies/jobs/sample.log")).unwrap();
    let of = |(number, line): (usize, &str)| {
        let timestamp = if number % 3 == 0 { 0 } else { 1_600_000_000_000 + number as i64 };
        Given::keyed(key(line), Some(line), timestamp)
    };
    text.lines().enumerate().map(of).collect()
}

fn client(line: &str) -> &str {
    line.split(' ').next().unwrap()
}

fn status(line: &str) -> &str {
    line.split("\" ").nth(1).and_then(|rest| rest.split(' ').next()).unwrap()
}

fn job_file(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("topologies/jobs").join(format!("{name}.yaml"))).unwrap()
}

/// The job over the sample on both logs.
fn same_on_both(name: &str, guarantee: &str, key: fn(&str) -> &str) {
    let text = format!("{}\nguarantee: {guarantee}\n", job_file(name));
    let Some(stage) = Stage::open(&format!("{name}-{guarantee}"), &text) else { return };
    stage.same_on_both(&lines(key));
}

macro_rules! job_files {
    ($($test:ident: $name:literal $guarantee:literal by $key:ident;)+) => {
        $(#[test] fn $test() {
            same_on_both($name, $guarantee, $key);
        })+

        #[test]
        fn no_job_file_is_left_out() {
            let mut named = vec!["demo", $($name),+];
            named.sort_unstable();
            named.dedup();
            let folder = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("topologies/jobs")).unwrap();
            let mut found: Vec<_> = folder.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
            found.retain(|name| name.ends_with(".yaml"));
            found.sort_unstable();
            let mut named: Vec<_> = named.iter().map(|name| format!("{name}.yaml")).collect();
            named.sort_unstable();
            assert_eq!(found, named);
        }
    };
}

job_files! {
    hopping_windows_exactly_once: "access-log-client-hopping" "exactly-once" by client;
    sessions_exactly_once: "access-log-client-sessions" "exactly-once" by client;
    minutes_exactly_once: "access-log-status-1m" "exactly-once" by status;
    hopping_windows_at_least_once: "access-log-client-hopping" "at-least-once" by client;
    sessions_at_least_once: "access-log-client-sessions" "at-least-once" by client;
    minutes_at_least_once: "access-log-status-1m" "at-least-once" by status;
    re_keyed_exactly_once: "access-log-status-rekeyed" "exactly-once" by client;
    re_keyed_at_least_once: "access-log-status-rekeyed" "at-least-once" by client;
    sliding_windows_exactly_once: "access-log-status-sliding" "exactly-once" by status;
    ten_seconds_exactly_once: "access-log-status" "exactly-once" by status;
    sliding_windows_at_least_once: "access-log-status-sliding" "at-least-once" by status;
    ten_seconds_at_least_once: "access-log-status" "at-least-once" by status;
}

/// Page views as the demo makes them up: up to two seconds out of order. None is late: through the repartition topic that would depend on how
/// far the other partitions are.
fn demo(guarantee: &str) {
    let Some(stage) = Stage::open(&format!("demo-{guarantee}"), &format!("{}\nguarantee: {guarantee}\n", job_file("demo"))) else { return };
    let view = |n: i64| {
        let (user, at) = (format!("user-{}", n % 17), 1_600_000_000_000 + n * 100 - (n * 7 % 19) * 100);
        Given::keyed(&user, Some(&format!(r#"{{"user":"{user}","page":"/{}","at":{at}}}"#, n * n % 5)), at)
    };
    stage.same_on_both(&(0..300).map(view).collect::<Vec<_>>());
}

#[test]
fn demo_exactly_once() {
    demo("exactly-once");
}

#[test]
fn demo_at_least_once() {
    demo("at-least-once");
}

/// What the demo makes up, and everything that a record can be beside: no key, no value, nonsense, repeated and null headers, a time of 0,
/// before 1970, or far in the future.
fn odd_views() -> Vec<Given> {
    let view = |who: &str, at: i64| format!(r#"{{"user":"{who}","page":"/{}","at":{at}}}"#, at % 3);
    let mut given = Vec::new();
    for n in 0..240_i64 {
        let who = format!("user-{}", n % 5);
        let timestamp = [0, 1, 1_000_000_000_000][(n % 3) as usize];
        let mut record = match n % 12 {
            3 => Given::keyed(&who, None, timestamp),
            4 => Given::keyed(&who, Some("nonsense"), timestamp),
            5 => Given { key: None, ..Given::keyed(&who, Some(&view(&who, n * 100)), timestamp) },
            6 => Given::keyed(&who, Some(&view(&who, 0)), timestamp),
            7 => Given::keyed(&who, Some(&view(&who, -5)), timestamp),
            8 => Given::keyed(&who, Some(&view(&who, 99_999_999_999_999)), timestamp),
            9 => Given::keyed("", Some(&view(&who, n * 100)), timestamp),
            _ => Given::keyed(&who, Some(&view(&who, n * 100)), timestamp),
        };
        record.headers = headers(n);
        given.push(record);
    }
    given
}

fn headers(n: i64) -> Headers {
    let mut headers = Headers::default();
    if n % 2 == 0 {
        headers.add("trace", "1");
        headers.add_null("trace");
        headers.add("trace", "");
        headers.add("é", n.to_be_bytes());
    }
    headers
}

fn odd_job(emit: &str, guarantee: &str) -> String {
    format!(
        "job: windowed-counts\napplication: odd-views\ninput:\n  topic: views\n  format: json\n  key: user\n  \
         event-time: {{field: at, format: epoch-ms}}\n  watermark:\n    disorder: 1s\n    idle-after: never\n  bad-records:\n    \
         dead-letter: bad-views\nwindow:\n  tumbling: 1s\nemit: {emit}\noutput:\n  topic: counts\nlate:\n  topic: late-views\nguarantee: {guarantee}\n"
    )
}

#[test]
fn odd_records_exactly_once() {
    let Some(stage) = Stage::open("odd-eos", &odd_job("on-close", "exactly-once")) else { return };
    let found = stage.same_on_both(&odd_views());
    let dead = found.values().filter(|records| records.topic_is("bad-views")).flat_map(|records| &records.0).count();
    assert_eq!(dead, 60, "no value, nonsense, and far ahead, each 20 times");
}

#[test]
fn odd_records_at_least_once() {
    let Some(stage) = Stage::open("odd-alos", &odd_job("on-update", "at-least-once")) else { return };
    stage.same_on_both(&odd_views());
}

/// By stream time the far future is a time like any other, but no broker takes results from there: the job stops, and says why.
fn results_from_the_far_future(guarantee: &str) {
    let job = odd_job("on-update", guarantee).replace("  watermark:\n    disorder: 1s\n    idle-after: never\n", "");
    let Some(stage) = Stage::open(&format!("far-{guarantee}"), &job) else { return };
    let mut given: Vec<_> = (0..30).map(|n| Given::keyed("ann", Some(&format!(r#"{{"user":"ann","at":{n}}}"#)), 0)).collect();
    given.push(Given::keyed("ann", Some(r#"{"user":"ann","at":99999999999999}"#), 0));
    let said = stage.fails_over(&given);
    assert!(said.contains("timestamp 99999999999999") && said.contains("`message.timestamp.after.max.ms`"), "{said}");
}

#[test]
fn results_from_the_far_future_exactly_once() {
    results_from_the_far_future("exactly-once");
}

#[test]
fn results_from_the_far_future_at_least_once() {
    results_from_the_far_future("at-least-once");
}

/// A topic of which compaction has removed most: offsets have holes, what is gone is not counted, and the end is reached.
#[test]
fn compacted_input() {
    // The brokers may compact once more while the job reads: then it has read something else than was seen, and there is nothing to compare.
    for attempt in 1..=3 {
        let Some(stage) = Stage::open(&format!("compacted-{attempt}"), &odd_job("on-close", "exactly-once")) else { return };
        let left = compacted(&stage);
        let whole = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| stage.same_over_what_is_there(&left)));
        match whole {
            Err(_) if attempt < 3 && stage.given() != left => {}
            Err(why) => std::panic::resume_unwind(why),
            Ok(_) => return,
        }
    }
}

/// Writes odd views into the input, and waits until compaction has removed most and has nothing more to do.
fn compacted(stage: &Stage) -> Vec<Given> {
    let input = NewTopic::new(stage.input(), stage::PARTITIONS)
        .with("cleanup.policy", "compact")
        .with("segment.ms", "100")
        .with("min.cleanable.dirty.ratio", "0.01")
        .with("delete.retention.ms", "100");
    reading::made(stage.log(), &[input]);
    let mut given = odd_views();
    given.retain(|record| record.key.is_some());
    stage.write_decided(&given[..given.len() - 15]);
    thread::sleep(Duration::from_millis(300)); // the next one begins another segment: only closed ones are compacted
    stage.write_decided(&given[given.len() - 15..]);
    let until = Instant::now() + Duration::from_secs(150);
    let (mut left, mut same) = (stage.given(), 0);
    while same < 3 {
        thread::sleep(Duration::from_millis(1_500));
        let now = stage.given();
        same = if now == left && now.len() < given.len() / 2 { same + 1 } else { 0 };
        assert!(Instant::now() < until, "the topic is not compacted: {} records of {}", now.len(), given.len());
        left = now;
    }
    left
}
