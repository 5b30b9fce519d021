//! The numbers an application gives to whoever collects them: their names, and what they mean.
//!
//! They go through the [`metrics`](https://docs.rs/metrics) facade. The program that embeds the engine installs a recorder of its choice (Prometheus,
//! StatsD …) or none; the engine installs nothing. Labels are bounded: the job (the application id), a task, a topic and its partition, a store; never
//! a key. Names follow the rules of Prometheus.

use std::collections::{HashMap, HashSet};

use metrics::{Key, KeyName, Label, Level, Metadata, SharedString, Unit, with_recorder};

/// A kind of number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It only grows.
    Counter,
    /// It goes up and down.
    Gauge,
}

/// One name, and what stands behind it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Metric {
    /// As collectors see it.
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    /// What it is measured in.
    unit: Unit,
    /// One sentence.
    pub(crate) text: &'static str,
}

const fn counter(name: &'static str, text: &'static str) -> Metric {
    Metric { name, kind: Kind::Counter, unit: Unit::Count, text }
}

const fn gauge(name: &'static str, unit: Unit, text: &'static str) -> Metric {
    Metric { name, kind: Kind::Gauge, unit, text }
}

pub(crate) const CONSUMED: Metric = counter("highwater_records_consumed_total", "Records taken from source topics.");
pub(crate) const PRODUCED: Metric = counter("highwater_records_produced_total", "Records sent to topics that are not internal.");
pub(crate) const LATE: Metric = counter("highwater_late_records_total", "(record, window) pairs that came after the window had closed.");
pub(crate) const DROPPED: Metric =
    counter("highwater_dropped_records_total", "Records dropped: null keys, late ones (per window), undecodable or skipped ones.");
pub(crate) const BAD_TIME: Metric = counter("highwater_bad_time_records_total", "Records whose time was too far ahead of the wall clock.");
pub(crate) const LOST: Metric = counter(
    "highwater_lost_records_total",
    "Offsets of source topics that were deleted before they were read, and passed over as `on_lost_records` allows.",
);
pub(crate) const COMMITS: Metric = counter("highwater_commits_total", "Commits done by all threads.");
pub(crate) const REBUILT: Metric =
    counter("highwater_stores_rebuilt_total", "Local stores that could not be trusted and were restored from the beginning.");
pub(crate) const RESTORED: Metric = counter("highwater_restored_records_total", "Records read back from changelogs, by task and store.");
pub(crate) const RESTORE_LEFT: Metric = gauge(
    "highwater_restore_records_remaining",
    Unit::Count,
    "Offsets of a changelog that are still to be read back before the store is complete, by task and store.",
);
pub(crate) const RESTORE_RATE: Metric =
    gauge("highwater_restore_records_per_second", Unit::CountPerSecond, "How fast a store is being read back, by task and store.");
pub(crate) const INSTANCE_STATE: Metric = gauge("highwater_instance_state", Unit::Count, "1 for the state that this instance is in.");
pub(crate) const TASK_STATE: Metric = gauge("highwater_task_state", Unit::Count, "1 for the state that a task of this instance is in.");
pub(crate) const LAG: Metric = gauge(
    "highwater_consumer_lag_records",
    Unit::Count,
    "Offsets between what a task has processed and the end of the partition, by task, topic and partition.",
);
pub(crate) const WATERMARK: Metric =
    gauge("highwater_watermark_timestamp_seconds", Unit::Seconds, "The watermark of a task with bounded time, as seconds since 1970.");

/// Every number there is.
pub(crate) const ALL: [Metric; 15] = [
    CONSUMED,
    PRODUCED,
    LATE,
    DROPPED,
    BAD_TIME,
    LOST,
    COMMITS,
    REBUILT,
    RESTORED,
    RESTORE_LEFT,
    RESTORE_RATE,
    INSTANCE_STATE,
    TASK_STATE,
    LAG,
    WATERMARK,
];

/// Tells the installed recorder what each metric means, for its help texts. Call it once, after installing the recorder.
///
/// ```
/// # use highwater::describe_metrics;
/// // metrics_exporter_prometheus::PrometheusBuilder::new().install()?;
/// describe_metrics();
/// ```
pub fn describe_metrics() {
    with_recorder(|recorder| {
        for metric in ALL {
            let (name, text) = (KeyName::from(metric.name), SharedString::from(metric.text));
            match metric.kind {
                Kind::Counter => recorder.describe_counter(name, Some(metric.unit), text),
                Kind::Gauge => recorder.describe_gauge(name, Some(metric.unit), text),
            }
        }
    });
}

static METADATA: Metadata<'static> = Metadata::new("highwater", Level::INFO, Some(module_path!()));

/// The numbers of one application, as they were last given.
#[derive(Debug)]
pub(crate) struct Meters {
    job: SharedString,
    /// What counters stood at.
    counted: HashMap<Key, u64>,
    /// Gauges that were set, and those of the round that goes on.
    shown: HashSet<Key>,
    now: HashSet<Key>,
}

impl Meters {
    /// For the application of that id.
    pub(crate) fn new(job: &str) -> Self {
        Meters { job: job.to_owned().into(), counted: HashMap::new(), shown: HashSet::new(), now: HashSet::new() }
    }

    fn key(&self, metric: &Metric, labels: &[(&'static str, String)]) -> Key {
        let labels = labels.iter().map(|(name, value)| Label::new(*name, value.clone()));
        let all: Vec<Label> = std::iter::once(Label::new("job", self.job.clone())).chain(labels).collect();
        Key::from_parts(metric.name, all)
    }

    /// Brings a counter to what was counted since the start of the instance. Less than before means that it was counted anew.
    pub(crate) fn count(&mut self, metric: &Metric, labels: &[(&'static str, String)], total: u64) {
        let key = self.key(metric, labels);
        let before = self.counted.insert(key.clone(), total).unwrap_or(0);
        let more = if total >= before { total - before } else { total };
        with_recorder(|recorder| recorder.register_counter(&key, &METADATA).increment(more));
    }

    /// The next count of it begins anew.
    pub(crate) fn forget(&mut self, metric: &Metric, labels: &[(&'static str, String)]) {
        self.counted.remove(&self.key(metric, labels));
    }

    /// Sets a gauge.
    pub(crate) fn set(&mut self, metric: &Metric, labels: &[(&'static str, String)], value: f64) {
        let key = self.key(metric, labels);
        with_recorder(|recorder| recorder.register_gauge(&key, &METADATA).set(value));
        self.now.insert(key);
    }

    /// Ends a round: gauges that it did not set belong to something that is gone, and go to 0.
    pub(crate) fn end_round(&mut self) {
        for key in self.shown.difference(&self.now) {
            with_recorder(|recorder| recorder.register_gauge(key, &METADATA).set(0.0));
        }
        self.shown = std::mem::take(&mut self.now);
    }
}

#[cfg(test)]
mod tests;
