//! The job `windowed-counts`: how many records per key fall into each window of event time.

use std::time::Duration;

use highwater::serdes::{BigEndian, Nullable, Serde, SessionWindowed, Slot, TimeWindowed, Utf8};
use highwater::{RawRecord, Role, SerdeError};
use serde::Serialize;

use super::row::{Format, RowCodec};
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
