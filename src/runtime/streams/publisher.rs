//! Gives the numbers of a running application to the installed recorder of metrics, once a second.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::record::Timestamp;
use crate::runtime::board::RestoreProgress;
use crate::runtime::plan::State;
use crate::runtime::streams::{Progress, TaskProgress};
use crate::telemetry::{self, Meters};

/// From one publication to the next, in milliseconds.
const EVERY: i64 = 1_000;

/// What the threads of an instance share for it.
#[derive(Debug)]
pub(crate) struct Publisher {
    next: AtomicI64,
    meters: Mutex<Meters>,
}

impl Publisher {
    pub(crate) fn new(application_id: &str) -> Self {
        Publisher { next: AtomicI64::new(i64::MIN), meters: Mutex::new(Meters::new(application_id)) }
    }

    /// Whether it is time again. Whoever is told so publishes; the others go on.
    pub(crate) fn is_due(&self, now: Timestamp) -> bool {
        let (now, next) = (now.as_millis(), self.next.load(Ordering::Relaxed));
        // A clock that was set back must not silence it.
        let due = now >= next || next - now > 2 * EVERY;
        due && self.next.compare_exchange(next, now + EVERY, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// Gives everything to the recorder.
    pub(crate) fn publish(&self, state: State, progress: &Progress) {
        let meters = &mut *self.meters.lock().unwrap_or_else(PoisonError::into_inner);
        totals(meters, progress);
        meters.set(&telemetry::INSTANCE_STATE, &[("state", format!("{state:?}").to_lowercase())], 1.0);
        progress.tasks.iter().for_each(|(task, standing)| of_task(meters, &task.to_string(), standing));
        progress.restoring.iter().for_each(|store| of_restore(meters, store));
        meters.end_round();
    }

    /// How far the restoring of a store is, also when it is over between two publications.
    pub(crate) fn restored(&self, store: &RestoreProgress) {
        let meters = &mut *self.meters.lock().unwrap_or_else(PoisonError::into_inner);
        let labels = [("task", store.task.to_string()), ("store", store.store.to_string())];
        meters.count(&telemetry::RESTORED, &labels, store.records);
        if store.is_complete() {
            meters.forget(&telemetry::RESTORED, &labels);
        }
    }
}

fn totals(meters: &mut Meters, progress: &Progress) {
    let of = [
        (&telemetry::CONSUMED, progress.records_in),
        (&telemetry::PRODUCED, progress.records_out),
        (&telemetry::LATE, progress.late),
        (&telemetry::DROPPED, progress.dropped),
        (&telemetry::BAD_TIME, progress.bad_time),
        (&telemetry::LOST, progress.lost),
        (&telemetry::COMMITS, progress.commits),
        (&telemetry::REBUILT, progress.rebuilt_stores),
    ];
    of.into_iter().for_each(|(metric, total)| meters.count(metric, &[], total));
}

fn of_task(meters: &mut Meters, task: &str, standing: &TaskProgress) {
    let named = || ("task", task.to_owned());
    meters.set(&telemetry::TASK_STATE, &[named(), ("state", standing.state.clone())], 1.0);
    if let Some(watermark) = standing.watermark {
        meters.set(&telemetry::WATERMARK, &[named()], watermark.as_millis() as f64 / 1_000.0);
    }
    for input in &standing.inputs {
        let Some(lag) = input.lag() else { continue };
        let labels = [named(), ("topic", input.partition.topic.to_string()), ("partition", input.partition.partition.to_string())];
        meters.set(&telemetry::LAG, &labels, lag as f64);
    }
}

fn of_restore(meters: &mut Meters, store: &RestoreProgress) {
    let labels = [("task", store.task.to_string()), ("store", store.store.to_string())];
    meters.set(&telemetry::RESTORE_LEFT, &labels, (store.end - store.position).max(0) as f64);
    meters.set(&telemetry::RESTORE_RATE, &labels, store.records_per_second().unwrap_or(0) as f64);
}
