//! Counters, gauges, and the page that lists them.

use std::collections::BTreeMap;
use std::fs;

use metrics::with_local_recorder;
use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};

use super::*;

fn values(snapshotter: &Snapshotter) -> BTreeMap<String, f64> {
    let read = |value: DebugValue| match value {
        DebugValue::Counter(count) => count as f64,
        DebugValue::Gauge(value) => value.into_inner(),
        DebugValue::Histogram(_) => f64::NAN,
    };
    let named = |key: &Key| {
        let labels: Vec<String> = key.labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
        format!("{} {}", key.name(), labels.join(" "))
    };
    let rows = snapshotter.snapshot().into_vec();
    rows.into_iter().map(|(key, _, _, value)| (named(key.key()), read(value))).collect()
}

#[test]
fn counters_grow_by_what_was_counted_and_gauges_of_what_is_gone_go_to_nothing() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    with_local_recorder(&recorder, || {
        let mut meters = Meters::new("app");
        let task = |name: &str| [("task", name.to_owned())];
        meters.count(&CONSUMED, &[], 5);
        meters.set(&WATERMARK, &task("0_0"), 3.5);
        meters.set(&WATERMARK, &task("0_1"), 7.0);
        meters.end_round();
        meters.count(&CONSUMED, &[], 12);
        meters.set(&WATERMARK, &task("0_1"), 8.0);
        meters.end_round();
    });
    let wanted = [
        ("highwater_records_consumed_total job=app", 12.0),
        ("highwater_watermark_timestamp_seconds job=app task=0_0", 0.0),
        ("highwater_watermark_timestamp_seconds job=app task=0_1", 8.0),
    ];
    assert_eq!(values(&snapshotter), wanted.map(|(name, value)| (name.to_owned(), value)).into());
}

#[test]
fn what_is_counted_anew_is_added() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    with_local_recorder(&recorder, || {
        let mut meters = Meters::new("app");
        [40, 100].into_iter().for_each(|total| meters.count(&RESTORED, &[], total));
        meters.forget(&RESTORED, &[]);
        [150, 30].into_iter().for_each(|total| meters.count(&RESTORED, &[], total));
    });
    assert_eq!(values(&snapshotter)["highwater_restored_records_total job=app"], 280.0);
}

#[test]
fn every_metric_has_its_row_in_the_documentation() {
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/metrics.md")).unwrap();
    let rows: Vec<&str> = page.lines().filter_map(|line| line.strip_prefix("| `highwater_")).collect();
    assert_eq!(rows.len(), ALL.len(), "rows of what is not there");
    for metric in ALL {
        let name = metric.name.strip_prefix("highwater_").unwrap();
        let row = rows.iter().find(|row| row.starts_with(&format!("{name}`"))).unwrap_or_else(|| panic!("no row for {name}"));
        assert!(row.contains(metric.text), "{row} does not say: {}", metric.text);
        assert_eq!(metric.kind == Kind::Counter, name.ends_with("_total"), "{name}");
    }
}
