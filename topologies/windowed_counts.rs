//! The job `windowed-counts`: how many records per key fall into each window of event time.

use std::time::Duration;

use highwater::serdes::{BigEndian, Nullable, Serde, SessionWindowed, Slot, TimeWindowed, Utf8};
use highwater::{
    BuildSettings, Consumed, EmitStrategy, Grouped, Guarantee, OnError, RawRecord, Role, SerdeError, SessionWindowedKStream,
    SessionWindows, SlidingWindows, StoreRef, StreamsBuilder, TimeWindowedKStream, TimeWindows, Topic, Topology, TopologyError, Watermark,
};
use serde::Serialize;

use super::row::{Format, Row, RowCodec};
use super::time_format::TimeFormat;

/// What a job file calls this job.
pub(crate) const NAME: &str = "windowed-counts";

/// The job as its file says it.
#[derive(Clone, Debug)]
pub(crate) struct WindowedCounts {
    /// Application id: the first part of the names of internal topics.
    pub(crate) application: String,
    pub(crate) input: Input,
    /// Count by this field instead of the record key: makes a repartition topic.
    pub(crate) group_by: Option<String>,
    pub(crate) window: Window,
    pub(crate) grace: Duration,
    pub(crate) emit: Emit,
    /// What a crash may do to the counts.
    pub(crate) guarantee: Guarantee,
    /// The longest time between two commits.
    pub(crate) commit_interval: Duration,
    /// Commits come as soon as there is something to commit.
    pub(crate) adaptive_commit: bool,
    pub(crate) output_topic: String,
    pub(crate) late_topic: Option<String>,
}

/// What is read, and how.
#[derive(Clone, Debug)]
pub(crate) struct Input {
    pub(crate) topic: String,
    pub(crate) format: Format,
    /// The field that is the record key; a fed file is partitioned by it.
    pub(crate) key: Option<String>,
    pub(crate) time_field: String,
    pub(crate) time_format: TimeFormat,
    /// How far out of order records may be; none runs by stream time.
    pub(crate) watermark: Option<Bound>,
    pub(crate) bad_records: BadRecords,
}

/// A bounded watermark.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Bound {
    pub(crate) disorder: Duration,
    pub(crate) idle_after: Idle,
}

/// When a partition without records stops holding the others back.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Idle {
    Default,
    After(Duration),
    Never,
}

/// Which windows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Window {
    Tumbling(Duration),
    Hopping { size: Duration, advance: Duration },
    Sliding(Duration),
    Session(Duration),
}

/// When results come out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Emit {
    OnClose,
    OnUpdate,
}

/// What happens to a record that cannot be read.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum BadRecords {
    Fail,
    Skip,
    DeadLetter(String),
}

/// One result: the window is `[start, end)`, for sessions and sliding windows `[start, end]`; milliseconds since the epoch.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct ResultRow {
    /// None where records without a key were counted.
    pub(crate) key: Option<String>,
    pub(crate) start: i64,
    pub(crate) end: i64,
    /// None takes the row back: a session that became part of a longer one.
    pub(crate) count: Option<i64>,
}

/// Keys are text, or null.
type KeySerde = Nullable<Utf8>;
const KEY: KeySerde = Nullable(Utf8);

/// The store, and the first part of its changelog's name.
const STORE: &str = "counts";
/// The repartition topic of `group-by`.
const REGROUPED: &str = "regrouped";

impl Bound {
    fn watermark(self) -> Watermark {
        let bounded = Watermark::bounded(self.disorder);
        match self.idle_after {
            Idle::Default => bounded,
            Idle::After(silence) => bounded.idle_after(silence),
            Idle::Never => bounded.never_idle(),
        }
    }
}

impl Emit {
    fn strategy(self) -> EmitStrategy {
        match self {
            Emit::OnClose => EmitStrategy::on_window_close(),
            Emit::OnUpdate => EmitStrategy::on_window_update(),
        }
    }
}

impl Window {
    /// From a window's start to its end, for the windows that have one length.
    fn length(self) -> Option<Duration> {
        match self {
            Window::Tumbling(size) | Window::Hopping { size, .. } | Window::Sliding(size) => Some(size),
            Window::Session(_) => None,
        }
    }
}

impl WindowedCounts {
    /// The topology of this job.
    pub(crate) fn topology(&self) -> Result<Topology, TopologyError> {
        let mut settings = BuildSettings::default();
        settings.require_explicit_names = true; // a generated name would change with the next version of this file
        let builder = StreamsBuilder::with_settings(settings);
        let rows = self.rows();
        let input = builder.stream(self.source(&rows)).named("read");
        let grouped = match &self.group_by {
            None => input.group_by_key_with(Grouped::with(REGROUPED, KEY, rows.clone())),
            Some(_) => input.group_by_with(Grouped::with(REGROUPED, KEY, rows.clone()), |_, row| row.fields[1].clone()),
        };
        let late = self.late_topic.clone().map(|topic| Topic::with(topic, KEY, rows));
        match self.window {
            Window::Tumbling(size) => self.count(grouped.windowed_by(TimeWindows::of(size).grace(self.grace)), late),
            Window::Hopping { size, advance } => {
                self.count(grouped.windowed_by(TimeWindows::of(size).advance_by(advance).grace(self.grace)), late);
            }
            Window::Sliding(difference) => self.count(grouped.windowed_by(SlidingWindows::of(difference).grace(self.grace)), late),
            Window::Session(gap) => self.count_sessions(grouped.windowed_by(SessionWindows::with_gap(gap).grace(self.grace)), late),
        }
        builder.build()
    }

    fn source(&self, rows: &RowCodec) -> Consumed<Option<String>, Row> {
        let consumed = Consumed::with(Topic::with(self.input.topic.clone(), KEY, rows.clone())).timestamps(|row: &Row| row.at);
        let consumed = match &self.input.bad_records {
            BadRecords::Fail => consumed,
            BadRecords::Skip => consumed.on_error(OnError::Skip),
            // A time far in the future is a bad record too: it must not move the clock.
            BadRecords::DeadLetter(topic) => consumed.bad_time_to(topic.clone()).on_error(OnError::dead_letter(topic.clone())),
        };
        match self.input.watermark {
            None => consumed,
            Some(bound) => consumed.watermark(bound.watermark()),
        }
    }

    fn count(&self, windows: TimeWindowedKStream<Option<String>, Row>, late: Option<Topic<Option<String>, Row>>) {
        let length = self.window.length().expect("time windows have one length");
        let windows = late.into_iter().fold(windows.emit(self.emit.strategy()), TimeWindowedKStream::late_to);
        let counts = windows.count(StoreRef::with(STORE, KEY, BigEndian)).named("count");
        counts
            .to_stream()
            .named("results")
            .to(Topic::with(self.output_topic.clone(), TimeWindowed::of(KEY, length), Nullable(BigEndian)))
            .named("write");
    }

    fn count_sessions(&self, windows: SessionWindowedKStream<Option<String>, Row>, late: Option<Topic<Option<String>, Row>>) {
        let windows = late.into_iter().fold(windows.emit(self.emit.strategy()), SessionWindowedKStream::late_to);
        let counts = windows.count(StoreRef::with(STORE, KEY, BigEndian)).named("count");
        counts
            .to_stream()
            .named("results")
            .to(Topic::with(self.output_topic.clone(), SessionWindowed(KEY), Nullable(BigEndian)))
            .named("write");
    }

    /// Reads a record of the output topic.
    pub(crate) fn result(&self, record: &RawRecord<'_>) -> Result<ResultRow, SerdeError> {
        let slot = |role| Slot { topic: record.topic, role };
        let key = record.key.ok_or(SerdeError::UnexpectedNull)?;
        let (key, start, end) = match self.window.length() {
            Some(length) => {
                let windowed = TimeWindowed::of(KEY, length).deserialize(key, slot(Role::Key), record.headers)?;
                (windowed.key, windowed.window.start, windowed.window.end)
            }
            None => {
                let windowed = SessionWindowed(KEY).deserialize(key, slot(Role::Key), record.headers)?;
                (windowed.key, windowed.window.start, windowed.window.end)
            }
        };
        let count = record.value.map(|bytes| BigEndian.deserialize(bytes, slot(Role::Value), record.headers)).transpose()?;
        Ok(ResultRow { key, start: start.as_millis(), end: end.as_millis(), count })
    }

    /// Reads and writes the rows of this job. Field 0 is the record key, field 1 the one to group by.
    pub(crate) fn rows(&self) -> RowCodec {
        let key = self.input.key.clone().unwrap_or_default();
        let fields = [key].into_iter().chain(self.group_by.clone()).collect();
        RowCodec::new(self.input.format.clone(), self.input.time_field.clone(), self.input.time_format.clone(), fields)
    }
}

#[cfg(test)]
mod tests;
