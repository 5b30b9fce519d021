//! Folds into sliding windows: one window for every distinct set of records no further apart than the difference.
//!
//! For a record at `t` (KS-W4, W5), with `d` the difference, newest window first:
//! 1. existing windows that contain `t` take the record;
//! 2. `[p + 1, p + 1 + d]`, right of the record before it at `p`, is made if `t` falls in it and it is not there;
//! 3. `[t - d, t]`, left of the record, is made if it is not there;
//! 4. `[t + 1, t + 1 + d]`, right of the record, is made from the rows of later records if there are any.
//!
//! A row's timestamp is the newest record in its window, which tells step 4 whether later records exist. Records before `d`
//! share `[0, d]`, since no window starts before the epoch.

use std::collections::HashSet;
use std::sync::Arc;

use crate::error::{Fault, Flow};
use crate::processor::aggregate::Step;
use crate::processor::late::{Late, Missed};
use crate::processor::rows::{WindowRows, forward_flushed_windows};
use crate::processor::windowed::kept;
use crate::processor::{Driven, Next, NodeClock, NodeInfo, Receive, TaskContext};
use crate::record::{Change, Data, Meta, Timestamp, millis};
use crate::serdes::SharedSerde;
use crate::state::Stamped;
use crate::watermark::Closing;
use crate::window::{SlidingWindows, TimeWindow, Windowed};

/// The fold of a group in sliding windows.
pub(crate) struct SlidingAggregate<S, K, V, A> {
    pub(crate) rows: WindowRows<K, A>,
    pub(crate) windows: SlidingWindows,
    pub(crate) on_close: bool,
    pub(crate) key: SharedSerde<K>,
    pub(crate) value: SharedSerde<V>,
    pub(crate) step: Arc<S>,
    pub(crate) sends_old: bool,
    pub(crate) clock: NodeClock,
    /// Bounded: where a cut pass goes on, a start and how many results of windows with that start are sent.
    pub(crate) cursor: Option<(Timestamp, usize)>,
    pub(crate) late: Late<K, V>,
    pub(crate) node: NodeInfo,
    pub(crate) next: Next<Windowed<K>, Change<A>>,
}

/// The record being folded.
struct Arrival<'a, K, V> {
    key: K,
    value: V,
    at: i64,
    /// Windows that end before this are closed; none while a bounded task has no watermark.
    close: Option<i64>,
    clock: Option<Timestamp>,
    meta: &'a Meta,
    missed: Vec<TimeWindow>,
    entered: bool,
    /// The user's function failed and the policy gave the record up: it enters no other window either.
    given_up: bool,
}

/// What the scan of existing windows found.
struct Found<A> {
    starts: HashSet<i64>,
    left: Option<Stamped<A>>,
    right: Option<Stamped<A>>,
    has_left: bool,
    has_right: bool,
    /// Time of the newest record before this one, if it is in reach.
    previous: Option<i64>,
}

impl<A> Default for Found<A> {
    fn default() -> Self {
        Found { starts: HashSet::new(), left: None, right: None, has_left: false, has_right: false, previous: None }
    }
}

impl<K: Data, V: Data, A: Data, S: Step<K, V, A>> Receive<K, V> for SlidingAggregate<S, K, V, A> {
    fn receive(&mut self, key: K, value: V, meta: &Meta, cx: &mut TaskContext) -> Flow {
        if self.key.is_null(&key) || self.value.is_null(&value) {
            cx.drop_record(1);
            return Ok(());
        }
        let clock = self.clock.observe(meta.timestamp, cx);
        let close = clock.map(|clock| (clock - self.windows.grace).as_millis());
        let at = meta.timestamp.as_millis();
        let mut arrival = Arrival { key, value, at, close, clock, meta, missed: Vec::new(), entered: false, given_up: false };
        let last_end = at.saturating_add(self.difference());
        if self.is_closed(last_end, &arrival, cx) {
            arrival.missed.push(self.window(at.saturating_sub(self.difference())));
            return self.report_late(&arrival, cx);
        }
        self.rows.select(&arrival.key).map_err(|error| cx.corrupt(&self.node, error))?;
        if at < self.difference() { self.fold_early(&mut arrival, cx) } else { self.fold_usual(&mut arrival, cx) }?;
        if !arrival.missed.is_empty() {
            self.report_late(&arrival, cx)?;
        }
        if self.on_close && !cx.bounded && !arrival.given_up {
            self.close_by_stream_time(clock.unwrap_or(meta.timestamp), meta, cx)?;
        }
        Ok(())
    }
}

impl<K: Data, V: Data, A: Data, S: Step<K, V, A>> SlidingAggregate<S, K, V, A> {
    fn difference(&self) -> i64 {
        millis(self.windows.difference)
    }
    fn window(&self, start: i64) -> TimeWindow {
        window_at(&self.windows, start)
    }
    /// Stream time closes a window whose end lies before the close time (KS-W5); bounded, one that the watermark has reached (D1).
    fn is_closed(&self, end: i64, arrival: &Arrival<'_, K, V>, cx: &TaskContext) -> bool {
        match (cx.bounded, arrival.clock, arrival.close) {
            (true, Some(w), _) => self.windows.closing_watermark(Timestamp::from_millis(end)) <= w,
            (false, _, Some(close)) => end < close,
            _ => false,
        }
    }

    fn report_late(&mut self, arrival: &Arrival<'_, K, V>, cx: &mut TaskContext) -> Flow {
        cx.late_record(&self.node, arrival.missed.len());
        let missed = Missed { windows: &arrival.missed, clock: arrival.clock, partial: arrival.entered };
        self.late.send(&arrival.key, &arrival.value, arrival.meta, &missed, &self.node, cx)
    }

    fn fold_usual(&mut self, arrival: &mut Arrival<'_, K, V>, cx: &mut TaskContext) -> Flow {
        let (at, difference) = (arrival.at, self.difference());
        let mut found = Found::default();
        let cursor = self.rows.newest_first((at - 2 * difference).max(0), at.saturating_add(1));
        let mut cursor = cursor.map_err(|error| cx.corrupt(&self.node, error))?;
        while let Some((start, row)) = self.rows.next_window(&mut cursor).map_err(|error| cx.corrupt(&self.node, error))? {
            found.starts.insert(start);
            let (end, newest) = (start + difference, row.timestamp.as_millis());
            if start == at.saturating_add(1) {
                found.has_right = true;
            } else if end > at {
                if found.right.is_none() {
                    found.right = Some(row.clone());
                }
                self.fold_into(start, Some(row), arrival, cx)?;
            } else if end == at {
                found.has_left = true;
                self.fold_into(start, Some(row), arrival, cx)?;
                if newest >= at {
                    return Ok(()); // a record of the same instant was here: every window it needs exists
                }
                found.previous = Some(newest);
            } else {
                found.left = Some(row);
                found.previous = Some(newest);
                break;
            }
        }
        self.make_windows(found, arrival, cx)
    }

    fn make_windows(&mut self, found: Found<A>, arrival: &mut Arrival<'_, K, V>, cx: &mut TaskContext) -> Flow {
        let (at, difference) = (arrival.at, self.difference());
        if let Some(previous) = found.previous {
            let start = previous + 1;
            if !found.starts.contains(&start) && start + difference >= at {
                self.fold_into(start, None, arrival, cx)?;
            }
        }
        if !found.has_left {
            let reaches = found.previous.is_some_and(|previous| at - difference <= previous);
            let row = found.left.filter(|_| reaches).map(|row| Stamped { value: row.value, timestamp: arrival.meta.timestamp });
            self.fold_into(at - difference, row, arrival, cx)?;
        }
        match found.right {
            Some(right) if !found.has_right && right.timestamp.as_millis() > at => self.copy_right(right, arrival, cx),
            _ => Ok(()),
        }
    }

    /// Records younger than the difference share the window `[0, d]`.
    fn fold_early(&mut self, arrival: &mut Arrival<'_, K, V>, cx: &mut TaskContext) -> Flow {
        let at = arrival.at;
        let mut found = Found::default();
        let mut shared: Option<Stamped<A>> = None;
        let cursor = self.rows.oldest_first(0, at.saturating_add(1));
        let mut cursor = cursor.map_err(|error| cx.corrupt(&self.node, error))?;
        while let Some((start, row)) = self.rows.next_window(&mut cursor).map_err(|error| cx.corrupt(&self.node, error))? {
            found.starts.insert(start);
            if start == 0 {
                let newest = row.timestamp.as_millis();
                found.previous = (newest < at).then_some(newest);
                shared = Some(row);
            } else if start <= at {
                found.right = Some(row.clone());
                self.fold_into(start, Some(row), arrival, cx)?;
            } else {
                found.has_right = true;
            }
        }
        let right = found.right.or_else(|| shared.clone().filter(|row| row.timestamp.as_millis() > at));
        if let Some(right) = right.filter(|right| !found.has_right && right.timestamp.as_millis() > at) {
            self.copy_right(right, arrival, cx)?;
        }
        if let Some(start) = found.previous.map(|previous| previous + 1).filter(|start| !found.starts.contains(start)) {
            self.fold_into(start, None, arrival, cx)?;
        }
        self.fold_into(0, shared, arrival, cx)
    }

    fn fold_into(&mut self, start: i64, row: Option<Stamped<A>>, arrival: &mut Arrival<'_, K, V>, cx: &mut TaskContext) -> Flow {
        if arrival.given_up {
            return Ok(());
        }
        let window = self.window(start);
        if self.is_closed(window.end.as_millis(), arrival, cx) {
            arrival.missed.push(window);
            return Ok(());
        }
        arrival.entered = true;
        let timestamp = row.as_ref().map_or(arrival.meta.timestamp, |row| row.timestamp.max(arrival.meta.timestamp));
        let before = row.map(|row| row.value).or_else(|| self.step.initial());
        let old = before.clone().filter(|before| self.sends_old && self.rows.is_row(before));
        let new = match self.step.apply(&arrival.key, arrival.value.clone(), before) {
            Ok(new) => new,
            Err(error) => {
                arrival.given_up = true;
                return cx.failed(&self.node, arrival.meta, error);
            }
        };
        self.put_and_forward(window, Change { old, new }, timestamp, arrival, cx)
    }

    /// The window right of the record holds only later records: it gets their row as it is.
    fn copy_right(&mut self, right: Stamped<A>, arrival: &mut Arrival<'_, K, V>, cx: &mut TaskContext) -> Flow {
        if arrival.given_up {
            return Ok(());
        }
        let window = self.window(arrival.at + 1);
        self.put_and_forward(window, Change { old: None, new: Some(right.value) }, right.timestamp, arrival, cx)
    }

    fn put_and_forward(
        &mut self,
        window: TimeWindow,
        change: Change<A>,
        timestamp: Timestamp,
        arrival: &Arrival<'_, K, V>,
        cx: &mut TaskContext,
    ) -> Flow {
        let written = self.rows.put(window.start, change.new.as_ref(), timestamp, &cx.write_context(arrival.meta));
        let evicted = written.map_err(|error| cx.corrupt(&self.node, error))?;
        if self.on_close {
            return Ok(());
        }
        if self.rows.caching() {
            let windows = self.windows;
            return forward_flushed_windows(
                &self.rows,
                evicted,
                |start| window_at(&windows, start.as_millis()),
                &self.node,
                &mut self.next,
                cx,
            );
        }
        let meta = Meta { timestamp, headers: arrival.meta.headers.clone() };
        self.next.receive(Windowed { key: arrival.key.clone(), window }, change, &meta, cx)
    }

    /// Emit on close in stream time (KS-E3).
    fn close_by_stream_time(&mut self, clock: Timestamp, meta: &Meta, cx: &mut TaskContext) -> Flow {
        let close = clock - self.windows.grace;
        let latest = (close - self.windows.difference).as_millis() - 1;
        if latest < 0 {
            return Ok(());
        }
        let Some(before) = self.clock.advance(close) else { return Ok(()) };
        let earliest = before.map_or(0, |before| (before - self.windows.difference).as_millis().max(0));
        let due = self.rows.starting_in(Timestamp::from_millis(earliest), Timestamp::from_millis(latest), usize::MAX);
        for (start, key, row) in due.map_err(|error| cx.corrupt(&self.node, error))? {
            self.emit_final(start, key, row, meta, cx)?;
        }
        Ok(())
    }

    /// The latest start of a window that is closed at `w`.
    fn latest_closed(&self, w: Timestamp) -> Timestamp {
        Timestamp::from_millis((w - self.windows.grace - self.windows.difference).as_millis().saturating_sub(1))
    }

    /// Bounded: sends what `w` closes and was not sent before. True if the batch was full before the end.
    fn send_closed(&mut self, w: Timestamp, cx: &mut TaskContext) -> Result<bool, Fault> {
        let closed = self.latest_closed(self.clock.closed_up_to(w));
        let first = Timestamp::from_millis(closed.as_millis().saturating_add(1));
        let (from, sent) = self.cursor.take().unwrap_or((first, 0));
        let limit = cx.close_batch.saturating_add(sent);
        let due = self.rows.starting_in(from, self.latest_closed(w), limit).map_err(|error| cx.corrupt(&self.node, error))?;
        let full = due.len() == limit;
        let mut cursor = (from, sent);
        for (start, key, row) in due.into_iter().skip(sent) {
            cursor = if start == cursor.0 { (start, cursor.1 + 1) } else { (start, 1) };
            self.emit_final(start, key, row, &Meta::default(), cx)?;
        }
        self.cursor = full.then_some(cursor);
        Ok(full)
    }

    /// Bounded: rows that no record reads any more since the watermark went from `before` to `w` leave the state.
    fn forget_closed(&mut self, before: Timestamp, w: Timestamp, cx: &mut TaskContext) -> Flow {
        let last_gone = |w: Timestamp| self.latest_closed(w - self.windows.difference);
        let first = Timestamp::from_millis(last_gone(before).as_millis().saturating_add(1));
        let gone = self.rows.starting_in(first, last_gone(w), usize::MAX);
        let gone = gone.map_err(|error| cx.corrupt(&self.node, error))?;
        if !gone.is_empty() {
            self.flush(cx)?; // the last updates go before their windows
        }
        for (start, key, _) in gone {
            self.rows.remove(&key, start, &cx.write_context(&Meta::default())).map_err(|error| cx.corrupt(&self.node, error))?;
        }
        Ok(())
    }

    fn emit_final(&mut self, start: Timestamp, key: K, row: Stamped<A>, meta: &Meta, cx: &mut TaskContext) -> Flow {
        let meta = Meta { timestamp: row.timestamp, headers: meta.headers.clone() };
        let window = self.window(start.as_millis());
        self.next.receive(Windowed { key, window }, Change { old: None, new: Some(row.value) }, &meta, cx)
    }
}

fn window_at(windows: &SlidingWindows, start: i64) -> TimeWindow {
    let start = Timestamp::from_millis(start);
    TimeWindow { start, end: start + windows.difference }
}

impl<K: Data, V: Data, A: Data, S: Step<K, V, A>> Driven for SlidingAggregate<S, K, V, A> {
    fn flush(&mut self, cx: &mut TaskContext) -> Flow {
        if !self.rows.caching() {
            return Ok(());
        }
        let windows = self.windows;
        let flushed = self.rows.flush().map_err(|error| cx.corrupt(&self.node, error))?;
        forward_flushed_windows(&self.rows, flushed, |start| window_at(&windows, start.as_millis()), &self.node, &mut self.next, cx)
    }

    /// Bounded: sends what the watermark closes. A row stays one difference longer than its window: a later record still
    /// reads it to know whether its own left and right windows are empty.
    fn on_watermark(&mut self, cx: &mut TaskContext) -> Result<bool, Fault> {
        let Some(w) = cx.watermark.filter(|w| self.clock.begin_pass(*w)) else { return Ok(false) };
        if self.on_close && self.send_closed(w, cx)? {
            return Ok(true);
        }
        let before = self.clock.closed_up_to(w);
        self.clock.advance(w);
        self.forget_closed(before, w, cx)?;
        Ok(false)
    }

    fn hold(&self, w: Timestamp) -> Option<Timestamp> {
        self.on_close.then(|| self.windows.hold(self.clock.closed_up_to(w)))
    }

    fn keep(&self) -> Vec<(&'static str, i64)> {
        let cursor = self.cursor.map(|(start, passed)| {
            let passed = i64::try_from(passed).expect("fewer results than numbers");
            [(kept::CURSOR, start.as_millis()), (kept::PASSED, passed)]
        });
        self.clock.keep().into_iter().chain(cursor.into_iter().flatten()).collect()
    }

    fn resume(&mut self, kept: &dyn Fn(&str) -> Option<i64>) {
        self.clock.resume(kept);
        let passed = kept(kept::PASSED).and_then(|passed| usize::try_from(passed).ok());
        self.cursor = kept(kept::CURSOR).map(Timestamp::from_millis).zip(passed);
    }

    fn holds_rows(&self) -> bool {
        self.on_close && self.last_closing().is_some_and(|closing| self.clock.closed().is_none_or(|closed| closing > closed))
    }

    fn last_closing(&self) -> Option<Timestamp> {
        self.rows.newest_start().map(|start| self.windows.closing_watermark(start + self.windows.difference))
    }
}
