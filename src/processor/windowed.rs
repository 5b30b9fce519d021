//! Folds into tumbling, hopping and unlimited windows.
//!
//! Two clocks. Stream time: the node's own largest timestamp, moved by each record before it is judged (KS-T3, T4).
//! Bounded: the task's watermark, which the task moves. In both a window takes no record and closes at the same instant,
//! `end + grace <= clock`. Rules: KS-W1 to W3, E1 to E4, A1, A2; DESIGN §3.

use std::sync::Arc;

use crate::error::{Fault, Flow};
use crate::processor::aggregate::Step;
use crate::processor::late::{Late, Missed};
use crate::processor::rows::{WindowRows, forward_flushed_windows};
use crate::processor::{Driven, Next, NodeInfo, Receive, TaskContext};
use crate::record::{Change, Data, Meta, Timestamp, millis};
use crate::serdes::SharedSerde;
use crate::state::Stamped;
use crate::watermark::Closing;
use crate::window::{TimeWindow, TimeWindows, UnlimitedWindows, Windowed};

/// Which windows a record falls into, and when one closes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum WindowBounds {
    Aligned(TimeWindows),
    Unlimited(UnlimitedWindows),
}

/// The end that Kafka Streams gives an unlimited window.
const UNLIMITED_END: Timestamp = Timestamp::MAX;

impl WindowBounds {
    fn containing(&self, at: Timestamp, out: &mut Vec<TimeWindow>) {
        out.clear();
        match self {
            WindowBounds::Aligned(windows) => out.extend(windows.containing(at)),
            WindowBounds::Unlimited(windows) if at >= windows.start => out.push(TimeWindow { start: windows.start, end: UNLIMITED_END }),
            WindowBounds::Unlimited(_) => {}
        }
    }
    fn window(&self, start: Timestamp) -> TimeWindow {
        match self {
            WindowBounds::Aligned(windows) => TimeWindow { start, end: start + windows.size },
            WindowBounds::Unlimited(_) => TimeWindow { start, end: UNLIMITED_END },
        }
    }
    fn is_closed(&self, end: Timestamp, clock: Timestamp) -> bool {
        match self {
            WindowBounds::Aligned(windows) => end + windows.grace <= clock,
            WindowBounds::Unlimited(_) => false,
        }
    }
}

/// The fold of a group in time windows.
pub(crate) struct TimeAggregate<S, K, V, A> {
    pub(crate) rows: WindowRows<K, A>,
    pub(crate) windows: WindowBounds,
    pub(crate) on_close: bool,
    pub(crate) key: SharedSerde<K>,
    pub(crate) step: Arc<S>,
    pub(crate) sends_old: bool,
    pub(crate) clock: NodeClock,
    pub(crate) late: Late<K, V>,
    pub(crate) node: NodeInfo,
    pub(crate) next: Next<Windowed<K>, Change<A>>,
    pub(crate) scratch: Vec<TimeWindow>,
}

/// The time a windowed node judges by, and how far it has closed.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct NodeClock {
    /// Stream time of this node; -1 at first.
    observed: Option<Timestamp>,
    /// Windows that close at or before this watermark have been sent (on close) and taken from the state (bounded).
    closed: Option<Timestamp>,
}

/// Names of what windowed nodes keep over a restart.
pub(crate) mod kept {
    /// Windows that close at or before this are dealt with.
    pub(crate) const CLOSED: &str = "closed";
    /// A cut pass goes on with the windows that start here...
    pub(crate) const CURSOR: &str = "cursor";
    /// ...after so many of them.
    pub(crate) const PASSED: &str = "passed";
    /// All of them, to count what they may need.
    pub(crate) const ALL: [&str; 3] = [CLOSED, CURSOR, PASSED];
}

impl NodeClock {
    /// Moves the node's own time by a record and gives the time to judge it by; none while a bounded task has no watermark.
    pub(crate) fn observe(&mut self, at: Timestamp, cx: &TaskContext) -> Option<Timestamp> {
        if cx.bounded {
            return cx.watermark;
        }
        self.observed = Some(self.observed.map_or(at, |observed| observed.max(at)));
        self.observed
    }
    /// Everything that closes at or before this has been dealt with.
    pub(crate) fn closed(&self) -> Option<Timestamp> {
        self.closed
    }
    /// How far it has closed, for the next owner of the task.
    pub(crate) fn keep(&self) -> Vec<(&'static str, i64)> {
        self.closed.iter().map(|closed| (kept::CLOSED, closed.as_millis())).collect()
    }
    /// Goes on from there.
    pub(crate) fn resume(&mut self, kept: &dyn Fn(&str) -> Option<i64>) {
        self.closed = kept(kept::CLOSED).map(Timestamp::from_millis).max(self.closed);
    }
    /// Whether a pass is due that closes up to `w`. Till it is through, nothing new counts as closed.
    pub(crate) fn begin_pass(&mut self, w: Timestamp) -> bool {
        *self.closed.get_or_insert(Timestamp::from_millis(i64::MIN)) < w
    }
    /// How far closing has come towards the watermark `w`: less than `w` while a pass is cut.
    pub(crate) fn closed_up_to(&self, w: Timestamp) -> Timestamp {
        self.closed.map_or(w, |closed| closed.min(w))
    }
    /// The time up to which everything was closed before, if `clock` is later.
    pub(crate) fn advance(&mut self, clock: Timestamp) -> Option<Option<Timestamp>> {
        let before = self.closed;
        if before.is_some_and(|before| before >= clock) {
            return None;
        }
        self.closed = Some(clock);
        Some(before)
    }
}

/// Starts of the windows that close when the clock goes from `closed` to `now`; none if no window has such a start, which is
/// the case for nearly every record.
fn closing_starts(windows: TimeWindows, closed: Option<Timestamp>, now: Timestamp) -> Option<(Timestamp, Timestamp)> {
    let latest_at = |clock: Timestamp| (clock - windows.grace - windows.size).as_millis();
    let advance = millis(windows.advance).max(1);
    let latest = latest_at(now).div_euclid(advance).saturating_mul(advance);
    let earliest = closed.map_or(i64::MIN, |closed| latest_at(closed).saturating_add(1));
    (latest >= earliest.max(0)).then(|| (Timestamp::from_millis(earliest), Timestamp::from_millis(latest)))
}

impl<K: Data, V: Data, A: Data, S: Step<K, V, A>> Receive<K, V> for TimeAggregate<S, K, V, A> {
    fn receive(&mut self, key: K, value: V, meta: &Meta, cx: &mut TaskContext) -> Flow {
        if self.key.is_null(&key) {
            cx.drop_record(1);
            return Ok(());
        }
        let clock = self.clock.observe(meta.timestamp, cx);
        if self.on_close && !cx.bounded {
            // Kafka Streams sends what a record closes at that record, with its headers. Before the fold: the fold moves the
            // store's own time, behind which a jump would hide the windows that it closes; it cannot touch them itself.
            self.close_by_stream_time(clock.unwrap_or(meta.timestamp), meta, cx)?;
        }
        let mut windows = std::mem::take(&mut self.scratch);
        self.windows.containing(meta.timestamp, &mut windows);
        let done = self.fold_all(&windows, key, value, clock, meta, cx);
        self.scratch = windows;
        done
    }
}

impl<K: Data, V: Data, A: Data, S: Step<K, V, A>> TimeAggregate<S, K, V, A> {
    fn fold_all(&mut self, windows: &[TimeWindow], key: K, value: V, clock: Option<Timestamp>, meta: &Meta, cx: &mut TaskContext) -> Flow {
        self.rows.select(&key).map_err(|error| cx.corrupt(&self.node, error))?;
        let open = |window: &TimeWindow| clock.is_none_or(|clock| !self.windows.is_closed(window.end, clock));
        let missed: Vec<TimeWindow> = windows.iter().filter(|window| !open(window)).copied().collect();
        let entered: Vec<TimeWindow> =
            if missed.is_empty() { Vec::new() } else { windows.iter().filter(|window| open(window)).copied().collect() };
        let entered = if missed.is_empty() { windows } else { &entered[..] };
        let mut rest = Some((key, value));
        if !missed.is_empty() {
            let (key, value) = rest.as_ref().expect("not taken yet");
            cx.late_record(&self.node, missed.len());
            let missed = Missed { windows: &missed, clock, partial: !entered.is_empty() };
            self.late.send(key, value, meta, &missed, &self.node, cx)?;
        }
        for (nth, window) in entered.iter().enumerate() {
            let last = nth + 1 == entered.len();
            let (key, value) = if last { rest.take() } else { rest.clone() }.expect("taken only for the last window");
            if !self.fold_into(*window, key, value, meta, cx)? {
                break; // given up: the record enters no other window either
            }
        }
        Ok(())
    }

    /// False: the user's function failed, and the policy gave the record up.
    fn fold_into(&mut self, window: TimeWindow, key: K, value: V, meta: &Meta, cx: &mut TaskContext) -> Result<bool, Fault> {
        let stored = self.rows.get(window.start).map_err(|error| cx.corrupt(&self.node, error))?;
        let timestamp = stored.as_ref().map_or(meta.timestamp, |row| row.timestamp.max(meta.timestamp));
        let before = stored.map(|row| row.value).or_else(|| self.step.initial());
        let old = before.clone().filter(|before| self.sends_old && self.rows.is_row(before));
        let new = match self.step.apply(&key, value, before) {
            Ok(new) => new,
            Err(error) => return cx.failed(&self.node, meta, error).map(|()| false),
        };
        let written = self.rows.put(window.start, new.as_ref(), timestamp, &cx.write_context(meta));
        let evicted = written.map_err(|error| cx.corrupt(&self.node, error))?;
        if self.on_close {
            return Ok(true);
        }
        if self.rows.caching() {
            let windows = self.windows;
            forward_flushed_windows(&self.rows, evicted, |start| windows.window(start), &self.node, &mut self.next, cx)?;
            return Ok(true);
        }
        let meta = Meta { timestamp, headers: meta.headers.clone() };
        self.next.receive(Windowed { key, window }, Change { old, new }, &meta, cx).map(|()| true)
    }

    /// Emit on close in stream time (KS-E2, E3).
    fn close_by_stream_time(&mut self, clock: Timestamp, meta: &Meta, cx: &mut TaskContext) -> Flow {
        let WindowBounds::Aligned(windows) = self.windows else { return Ok(()) };
        if self.clock.closed.is_some_and(|closed| closed >= clock) {
            return Ok(());
        }
        let Some((earliest, latest)) = closing_starts(windows, self.clock.closed, clock) else { return Ok(()) };
        self.clock.closed = Some(clock);
        let due = self.rows.starting_in(earliest, latest, usize::MAX);
        for (start, key, row) in due.map_err(|error| cx.corrupt(&self.node, error))? {
            self.emit_final(start, key, row, meta, cx)?;
        }
        Ok(())
    }

    fn emit_final(&mut self, start: Timestamp, key: K, row: Stamped<A>, meta: &Meta, cx: &mut TaskContext) -> Flow {
        let meta = Meta { timestamp: row.timestamp, headers: meta.headers.clone() };
        let window = self.windows.window(start);
        self.next.receive(Windowed { key, window }, Change { old: None, new: Some(row.value) }, &meta, cx)
    }
}

impl<K: Data, V: Data, A: Data, S: Step<K, V, A>> Driven for TimeAggregate<S, K, V, A> {
    fn flush(&mut self, cx: &mut TaskContext) -> Flow {
        if !self.rows.caching() {
            return Ok(());
        }
        let windows = self.windows;
        let flushed = self.rows.flush().map_err(|error| cx.corrupt(&self.node, error))?;
        forward_flushed_windows(&self.rows, flushed, |start| windows.window(start), &self.node, &mut self.next, cx)
    }

    /// Takes every window that the watermark closes out of the state, in the order of its end; sends it if asked to (D7).
    fn on_watermark(&mut self, cx: &mut TaskContext) -> Result<bool, Fault> {
        let (WindowBounds::Aligned(windows), Some(w)) = (self.windows, cx.watermark) else { return Ok(false) };
        if !self.clock.begin_pass(w) {
            return Ok(false);
        }
        let Some((earliest, latest)) = closing_starts(windows, self.clock.closed, w) else {
            self.clock.closed = Some(w);
            return Ok(false);
        };
        let due = self.rows.starting_in(earliest, latest, cx.close_batch);
        let due = due.map_err(|error| cx.corrupt(&self.node, error))?;
        let more = due.len() == cx.close_batch;
        if !due.is_empty() {
            self.flush(cx)?; // the last updates go before their windows
        }
        for (start, key, row) in due {
            self.rows.remove(&key, start, &cx.write_context(&Meta::default())).map_err(|error| cx.corrupt(&self.node, error))?;
            if self.on_close {
                self.emit_final(start, key, row, &Meta::default(), cx)?;
            }
        }
        if !more {
            self.clock.closed = Some(w);
        }
        Ok(more)
    }

    fn hold(&self, w: Timestamp) -> Option<Timestamp> {
        match self.windows {
            WindowBounds::Aligned(windows) if self.on_close => Some(windows.hold(self.clock.closed_up_to(w))),
            _ => None,
        }
    }

    fn keep(&self) -> Vec<(&'static str, i64)> {
        self.clock.keep()
    }

    fn resume(&mut self, kept: &dyn Fn(&str) -> Option<i64>) {
        self.clock.resume(kept);
    }

    fn holds_rows(&self) -> bool {
        self.on_close && self.rows.any()
    }

    fn last_closing(&self) -> Option<Timestamp> {
        let WindowBounds::Aligned(windows) = self.windows else { return None };
        self.rows.newest_start().map(|start| windows.closing_watermark(start + windows.size))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn while_a_pass_is_cut_nothing_new_counts_as_closed() {
        let [at_50, at_70] = [50, 70].map(Timestamp::from_millis);
        let mut clock = NodeClock::default();
        assert!(clock.begin_pass(at_50));
        assert_eq!(clock.closed_up_to(at_50), Timestamp::from_millis(i64::MIN), "what the first pass has not sent is held");
        clock.advance(at_50);
        assert_eq!(clock.closed_up_to(at_50), at_50);
        assert!(!clock.begin_pass(at_50), "once");
        assert!(clock.begin_pass(at_70));
        assert_eq!(clock.closed_up_to(at_70), at_50);
    }
}
