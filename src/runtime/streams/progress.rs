//! What a running application has done so far, as numbers.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use crate::kafka::Occupied;
use crate::record::{TaskId, Timestamp, TopicPartition};
use crate::runtime::board::{Board, Facts, RestoreProgress, TaskMeter};
use crate::runtime::plan::ThreadState;

/// A snapshot. Counts are those of this instance since its start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// Records taken from source topics.
    pub records_in: u64,
    /// Records sent to topics that are not internal.
    pub records_out: u64,
    /// (record, window) pairs that came after the window had closed.
    pub late: u64,
    /// Records dropped: null keys, late ones (per window), undecodable or skipped ones.
    pub dropped: u64,
    /// Records whose time was too far ahead of the wall clock.
    pub bad_time: u64,
    /// Offsets of source topics whose records were deleted before they were read, and that were passed over because
    /// [`on_lost_records`](crate::Settings::on_lost_records) allows it.
    pub lost: u64,
    /// Stores whose rows in `state_dir` could not be trusted or do not fit their changelog: they were restored from its beginning.
    pub rebuilt_stores: u64,
    /// Commits done by all threads.
    pub commits: u64,
    /// What the cluster answered last, while a thread waits for it: nothing is lost, and it goes on by itself. None while all is well.
    pub outage: Option<String>,
    /// The tasks of this instance now.
    pub tasks: BTreeMap<TaskId, TaskProgress>,
    /// The stores that are being read back from their changelogs now, by task and name.
    pub restoring: Vec<RestoreProgress>,
    /// Who has to leave the group before this instance gets anything to do: an application of Kafka Streams runs under the same id.
    pub occupied: Option<Occupied>,
}

/// One task.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TaskProgress {
    /// `running`, `restoring`, `failed` and so on.
    pub state: String,
    /// Bounded mode: its watermark.
    pub watermark: Option<Timestamp>,
    /// The largest timestamp taken; none before the first record.
    pub stream_time: Option<Timestamp>,
    /// Records sent to topics that are not internal.
    pub records_out: u64,
    /// As in [`Progress`].
    pub late: u64,
    /// As in [`Progress`].
    pub dropped: u64,
    /// Its inputs.
    pub inputs: Vec<InputProgress>,
}

/// One input partition of a task.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct InputProgress {
    /// The partition.
    pub partition: TopicPartition,
    /// A repartition topic of this application.
    pub internal: bool,
    /// Records taken from it, control records included.
    pub records: u64,
    /// The next offset to process; none before the first look.
    pub position: Option<i64>,
    /// The end of the partition when it was last looked at.
    pub end: Option<i64>,
    /// As in [`Progress`].
    pub lost: u64,
}

impl InputProgress {
    /// Records that wait; none while unknown.
    pub fn lag(&self) -> Option<i64> {
        Some(self.end?.saturating_sub(self.position?).max(0))
    }
}

impl Progress {
    /// The smallest watermark over the tasks that have one.
    pub fn watermark(&self) -> Option<Timestamp> {
        self.tasks.values().filter_map(|task| task.watermark).min()
    }

    /// How far everything on a board is.
    pub(crate) fn on(board: &Board) -> Self {
        let (rebuilt_stores, commits) = (board.home().rebuilt_stores(), board.commits.load(Ordering::Relaxed));
        let outage = board.outages.first();
        Progress { rebuilt_stores, commits, outage, ..Progress::of(&board.facts()) }
    }

    pub(crate) fn of(facts: &Facts) -> Self {
        let mut progress = Progress { occupied: facts.occupied.clone(), ..Progress::default() };
        for meter in facts.past.iter().chain(facts.tasks.values().map(|listed| &listed.meter)) {
            progress.add(meter);
        }
        for (id, listed) in &facts.tasks {
            progress.tasks.insert(*id, TaskProgress::of(&listed.meter, format!("{:?}", listed.state).to_lowercase()));
        }
        progress.restoring = facts.restoring.values().cloned().collect();
        progress
    }

    fn add(&mut self, meter: &TaskMeter) {
        let sources = meter.inputs.iter().filter(|input| !input.internal);
        self.records_in += sources.map(|input| input.records.load(Ordering::Relaxed)).sum::<u64>();
        self.lost += meter.inputs.iter().map(|input| input.lost.load(Ordering::Relaxed)).sum::<u64>();
        self.records_out += meter.sent.load(Ordering::Relaxed);
        self.late += meter.counters.late.load(Ordering::Relaxed);
        self.dropped += meter.counters.dropped.load(Ordering::Relaxed);
        self.bad_time += meter.counters.bad_time.load(Ordering::Relaxed);
    }
}

impl TaskProgress {
    fn of(meter: &TaskMeter, state: String) -> Self {
        let known = |value: i64, unknown: i64| (value != unknown).then(|| Timestamp::from_millis(value));
        let offset = |value: i64| (value >= 0).then_some(value);
        let input = |input: &crate::runtime::board::InputMeter| InputProgress {
            partition: input.partition.clone(),
            internal: input.internal,
            records: input.records.load(Ordering::Relaxed),
            position: offset(input.position.load(Ordering::Relaxed)),
            end: offset(input.end.load(Ordering::Relaxed)),
            lost: input.lost.load(Ordering::Relaxed),
        };
        TaskProgress {
            state,
            watermark: known(meter.watermark.load(Ordering::Relaxed), i64::MIN),
            stream_time: known(meter.stream_time.load(Ordering::Relaxed), -1),
            records_out: meter.sent.load(Ordering::Relaxed),
            late: meter.counters.late.load(Ordering::Relaxed),
            dropped: meter.counters.dropped.load(Ordering::Relaxed),
            inputs: meter.inputs.iter().map(input).collect(),
        }
    }
}

impl Facts {
    pub(crate) fn all_dead(&self) -> bool {
        self.threads.iter().all(|thread| *thread == ThreadState::Dead)
    }
}
