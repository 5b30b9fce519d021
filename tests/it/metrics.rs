//! What an application gives to a recorder that the program around it installed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use highwater::kafka::{Connect, MemoryLog, NewTopic, Outgoing};
use highwater::{Headers, Settings, State, Streams, StreamsBuilder, SystemClock, Timestamp, Topic, TopicPartition};
use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};

const LINES: Topic<String, String> = Topic::new("lines");

/// The numbers of one job, by name and labels.
fn numbers(snapshotter: &Snapshotter, job: &str) -> BTreeMap<String, f64> {
    let rows = snapshotter.snapshot().into_vec().into_iter();
    let of_job = rows.filter(|(key, ..)| key.key().labels().any(|label| label.key() == "job" && label.value() == job));
    let named = of_job.map(|(key, _, _, value)| {
        let labels = key.key().labels().filter(|label| label.key() != "job").map(|label| label.value().to_owned());
        let name = std::iter::once(key.key().name().to_owned()).chain(labels).collect::<Vec<_>>().join(" ");
        let value = match value {
            DebugValue::Counter(count) => count as f64,
            DebugValue::Gauge(value) => value.into_inner(),
            DebugValue::Histogram(_) => f64::NAN,
        };
        (name, value)
    });
    named.collect()
}

fn run(log: &Arc<MemoryLog>, job: &str) {
    let builder = StreamsBuilder::new();
    builder.stream(LINES).group_by_key().count("counts");
    let mut settings = Settings::new(job.to_owned());
    settings.commit_interval = Duration::from_millis(20);
    let streams = Streams::start(&builder.build().unwrap(), settings, log.clone()).unwrap();
    // Whose task has committed everything before it is assigned is finished without it, and restores nothing.
    assert_eq!(streams.wait_for(State::Running, Duration::from_secs(120)), State::Running);
    streams.declare_end().unwrap();
    assert_eq!(streams.wait(Duration::from_secs(120)), State::Finished);
    streams.stop(Duration::from_secs(120)).unwrap();
}

#[test]
fn an_installed_recorder_sees_what_was_read_restored_and_how_it_ended() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    recorder.install().expect("no other test of this program installs one");
    highwater::describe_metrics();
    let log = Arc::new(MemoryLog::new(Arc::new(SystemClock)));
    log.admin().unwrap().create_topics(&[NewTopic::new("lines", 1)]).unwrap();
    let (mut producer, headers) = (log.producer().unwrap(), Headers::default());
    for number in 0..30_i64 {
        let (key, timestamp) = (format!("k{number}"), Timestamp::from_secs(number));
        let record = Outgoing { key: Some(key.as_bytes()), value: Some(b"x"), timestamp, headers: &headers };
        producer.send(&TopicPartition::new("lines", 0), &[record]).unwrap();
    }

    run(&log, "measured");
    let first = numbers(&snapshotter, "measured");
    assert_eq!(first["highwater_records_consumed_total"], 30.0, "{first:?}");
    assert!(first["highwater_commits_total"] >= 1.0, "{first:?}");
    assert_eq!(first["highwater_instance_state finished"], 1.0, "{first:?}");
    assert!(!first.contains_key("highwater_restored_records_total 0_0 counts"), "there was nothing to restore: {first:?}");

    // State in memory is gone with its instance: the next one reads it back.
    run(&log, "measured");
    let second = numbers(&snapshotter, "measured");
    assert_eq!(second["highwater_restored_records_total 0_0 counts"], 30.0, "{second:?}");
    assert_eq!(second.get("highwater_restore_records_remaining 0_0 counts").copied().unwrap_or(0.0), 0.0, "{second:?}");
}
