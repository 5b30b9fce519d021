//! Event time and windows: which windows a record falls into, when results come out, how a source bounds disorder.
//!
//! Pure values. Time windows are `[start, end)`; sliding and session windows include both ends (KS-W1, W4, W6).

use std::marker::PhantomData;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::record::{Timestamp, millis};

/// A time span. Time windows are `[start, end)`, sliding ones `[start, end]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TimeWindow {
    /// First instant.
    pub start: Timestamp,
    /// End of the span.
    pub end: Timestamp,
}

/// A session: both ends are events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SessionWindow {
    /// First event.
    pub start: Timestamp,
    /// Last event.
    pub end: Timestamp,
}

/// A key together with the window its value belongs to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Windowed<K, W = TimeWindow> {
    /// The key that was grouped by.
    pub key: K,
    /// The window.
    pub window: W,
}

/// Tumbling and hopping windows, aligned to the epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeWindows {
    pub(crate) size: Duration,
    pub(crate) advance: Duration,
    pub(crate) grace: Duration,
}

impl TimeWindows {
    /// Tumbling windows of this size, with no grace.
    pub const fn of(size: Duration) -> Self {
        TimeWindows { size, advance: size, grace: Duration::ZERO }
    }
    /// Hopping: a new window every `advance`.
    pub const fn advance_by(mut self, advance: Duration) -> Self {
        self.advance = advance;
        self
    }
    /// How long a window accepts records after the watermark passed its end. Delays the first result of emit-on-close.
    pub const fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }
    /// The windows that contain `at`, earliest first; none starts before the epoch (KS-W1).
    pub fn containing(&self, at: Timestamp) -> impl Iterator<Item = TimeWindow> + use<> {
        let (size, advance, at) = (millis(self.size), millis(self.advance).max(1), at.as_millis());
        let first = (at.saturating_sub(size).saturating_add(advance).max(0) / advance) * advance;
        (first..=at)
            .step_by(usize::try_from(advance).unwrap_or(usize::MAX))
            .map(move |start| TimeWindow { start: Timestamp::from_millis(start), end: Timestamp::from_millis(start.saturating_add(size)) })
    }
    pub(crate) fn problem(&self) -> Option<&'static str> {
        match () {
            _ if millis(self.size) == 0 => Some("the window size is zero: give it at least a millisecond"),
            _ if millis(self.advance) == 0 => Some("the advance is zero: give it at least a millisecond"),
            _ if self.advance > self.size => {
                Some("the advance is larger than the window: records between two windows would be lost, make it at most the size")
            }
            _ => None,
        }
    }
}

/// Windows around each record: every pair of records no further apart than the difference shares one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlidingWindows {
    pub(crate) difference: Duration,
    pub(crate) grace: Duration,
}

impl SlidingWindows {
    /// Windows of this length, with no grace.
    pub const fn of(difference: Duration) -> Self {
        SlidingWindows { difference, grace: Duration::ZERO }
    }
    /// How long a window accepts records after the watermark passed its end.
    pub const fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }
    pub(crate) fn problem(&self) -> Option<&'static str> {
        (millis(self.difference) == 0).then_some("the time difference is zero: give it at least a millisecond")
    }
}

/// Windows that grow while records keep coming.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionWindows {
    pub(crate) gap: Duration,
    pub(crate) grace: Duration,
}

impl SessionWindows {
    /// A session ends after this long without a record; two records exactly this far apart share one (KS-W6). With a gap of
    /// zero only records of one instant do.
    pub const fn with_gap(gap: Duration) -> Self {
        SessionWindows { gap, grace: Duration::ZERO }
    }
    /// How long a session accepts records after the watermark passed its end and gap.
    pub const fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }
}

/// One window from a start onward that never ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct UnlimitedWindows {
    pub(crate) start: Timestamp,
}

impl UnlimitedWindows {
    /// From the epoch.
    pub const fn of() -> Self {
        UnlimitedWindows { start: Timestamp::from_millis(0) }
    }
    /// From `start`; earlier records are dropped and counted.
    pub const fn starting_at(mut self, start: Timestamp) -> Self {
        self.start = start;
        self
    }
    pub(crate) fn problem(&self) -> Option<&'static str> {
        (self.start < Timestamp::from_millis(0)).then_some("an unlimited window starts before the epoch: start it at 0 or later")
    }
}

/// When an aggregate speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct EmitStrategy {
    pub(crate) on_close: bool,
}

impl EmitStrategy {
    /// An update for every record: the default, as in Kafka Streams.
    pub const fn on_window_update() -> Self {
        EmitStrategy { on_close: false }
    }
    /// One final result, once time has passed the window's end and grace. Grace delays it (unlike Flink's allowed lateness).
    pub const fn on_window_close() -> Self {
        EmitStrategy { on_close: true }
    }
}

/// How a source knows that no earlier record will come: bounded mode of the event clock.
///
/// Each partition's clock is its largest timestamp; the watermark is the least of `clock − disorder` over the partitions
/// that are not idle, and never goes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watermark {
    pub(crate) disorder: Duration,
    pub(crate) idle_after: Option<Duration>,
    pub(crate) close_when_idle: Option<Duration>,
}

impl Watermark {
    /// Records of one partition are at most this far out of order. Idle after 30 s unless said otherwise.
    pub const fn bounded(disorder: Duration) -> Self {
        Watermark { disorder, idle_after: Some(Duration::from_secs(30)), close_when_idle: None }
    }
    /// Records of one partition are in order: `bounded` by nothing.
    pub const fn in_order() -> Self {
        Watermark::bounded(Duration::ZERO)
    }
    /// A partition that is read to its end and silent for this long, by the wall clock, stops holding the others back.
    pub const fn idle_after(mut self, silence: Duration) -> Self {
        self.idle_after = Some(silence);
        self
    }
    /// A silent partition holds the others back for as long as it is silent.
    pub const fn never_idle(mut self) -> Self {
        self.idle_after = None;
        self
    }
    /// When every partition has been idle for this long, open windows close.
    pub const fn close_when_idle(mut self, silence: Duration) -> Self {
        self.close_when_idle = Some(silence);
        self
    }
}

/// When results held back by `suppress` come out. `K` shows that only windowed tables have an end to wait for.
#[derive(Clone, Debug)]
pub struct Suppressed<K> {
    pub(crate) until: Until,
    pub(crate) buffer: Buffer,
    pub(crate) logging: bool,
    kind: PhantomData<fn(K)>,
}

/// What a suppressed update waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Until {
    WindowCloses,
    TimeLimit(Duration),
}

/// How much a suppression may hold, and what happens when that is exceeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Buffer {
    pub(crate) max_records: Option<usize>,
    pub(crate) max_bytes: Option<usize>,
    pub(crate) when_full: WhenFull,
}

/// What a full suppression buffer does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WhenFull {
    EmitEarly,
    ShutDown,
}

impl Buffer {
    /// As much as there is; bounds follow, as in `Buffer::unbounded().max_records(1_000)`.
    pub const fn unbounded() -> Self {
        Buffer { max_records: None, max_bytes: None, when_full: WhenFull::ShutDown }
    }
    /// At most this many keys.
    pub const fn max_records(mut self, records: usize) -> Self {
        self.max_records = Some(records);
        self
    }
    /// At most this many bytes, counted as Kafka Streams does.
    pub const fn max_bytes(mut self, bytes: usize) -> Self {
        self.max_bytes = Some(bytes);
        self
    }
    /// When full, send the oldest before its time. Not allowed with `until_window_closes`.
    pub const fn emit_early_when_full(mut self) -> Self {
        self.when_full = WhenFull::EmitEarly;
        self
    }
    /// When full, stop the task with an error. The default.
    pub const fn shut_down_when_full(mut self) -> Self {
        self.when_full = WhenFull::ShutDown;
        self
    }
}

impl<K, W> Suppressed<Windowed<K, W>> {
    /// One final result per window.
    pub fn until_window_closes() -> Self {
        Suppressed { until: Until::WindowCloses, buffer: Buffer::unbounded(), logging: true, kind: PhantomData }
    }
}

impl<K> Suppressed<K> {
    /// At most one update per key and time span.
    pub fn until_time_limit(limit: Duration) -> Self {
        Suppressed { until: Until::TimeLimit(limit), buffer: Buffer::unbounded(), logging: true, kind: PhantomData }
    }
    /// How much may be held.
    pub fn buffer(mut self, buffer: Buffer) -> Self {
        self.buffer = buffer;
        self
    }
    /// No changelog: what is held is lost with the task.
    pub fn without_changelog(mut self) -> Self {
        self.logging = false;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn starts(windows: TimeWindows, at: i64) -> Vec<i64> {
        windows.containing(Timestamp::from_millis(at)).map(|window| window.start.as_millis()).collect()
    }

    #[test]
    fn hopping_windows_begin_at_the_epoch() {
        let windows = TimeWindows::of(Duration::from_millis(10)).advance_by(Duration::from_millis(5));
        assert_eq!(starts(windows, 0), [0]);
        assert_eq!(starts(windows, 4), [0]);
        assert_eq!(starts(windows, 5), [0, 5]);
        assert_eq!(starts(windows, 14), [5, 10]);
        assert_eq!(starts(windows, -1), [0; 0], "a time before the epoch has no window");
    }

    #[test]
    fn contradictions_are_problems() {
        assert!(TimeWindows::of(Duration::ZERO).problem().is_some());
        assert!(TimeWindows::of(Duration::from_secs(1)).advance_by(Duration::from_secs(2)).problem().is_some());
        assert!(TimeWindows::of(Duration::from_secs(1)).problem().is_none());
    }
}
