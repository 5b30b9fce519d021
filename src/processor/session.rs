//! Folds into sessions, which grow and merge while records keep coming.
//!
//! Stream time: KS-W6 to W8, E3. Bounded: DESIGN §3 with D1 (a session ends at `last + gap + 1`), D3 and D8 (a closed session
//! is never merged).

use std::sync::Arc;

use crate::error::{BoxError, Fault, Flow};
use crate::processor::aggregate::{Merge, Step};
use crate::processor::late::{Late, Missed};
use crate::processor::rows::{SessionRows, forward_flushed_sessions};
use crate::processor::{Driven, Next, NodeClock, NodeInfo, Receive, TaskContext};
use crate::record::{Change, Data, Headers, Meta, Timestamp};
use crate::serdes::SharedSerde;
use crate::watermark::Closing;
use crate::window::{SessionWindow, SessionWindows, TimeWindow, Windowed};

/// The fold of a group in sessions.
pub(crate) struct SessionAggregate<S, M, K, V, A> {
    pub(crate) rows: SessionRows<K, A>,
    pub(crate) windows: SessionWindows,
    pub(crate) on_close: bool,
    pub(crate) key: SharedSerde<K>,
    pub(crate) step: Arc<S>,
    pub(crate) merge: Arc<M>,
    pub(crate) sends_old: bool,
    pub(crate) clock: NodeClock,
    pub(crate) late: Late<K, V>,
    pub(crate) node: NodeInfo,
    pub(crate) next: Next<Windowed<K, SessionWindow>, Change<A>>,
}

impl<K: Data, V: Data, A: Data, S: Step<K, V, A>, M: Merge<K, A>> Receive<K, V> for SessionAggregate<S, M, K, V, A> {
    fn receive(&mut self, key: K, value: V, meta: &Meta, cx: &mut TaskContext) -> Flow {
        if self.key.is_null(&key) {
            cx.drop_record(1);
            return Ok(());
        }
        let clock = self.clock.observe(meta.timestamp, cx);
        // Before the fold, as for time windows: a record that moves time cannot reach the sessions that it closes.
        self.close_if_due(clock, meta, cx)?;
        self.rows.select(&key).map_err(|error| cx.corrupt(&self.node, error))?;
        let at = meta.timestamp;
        let near = self.rows.find(at - self.windows.gap, at + self.windows.gap).map_err(|error| cx.corrupt(&self.node, error))?;
        // A session that the watermark has closed is taken out of the state by the pass after this record (D6, D8).
        let near: Vec<_> = near.into_iter().filter(|(session, _)| !(cx.bounded && self.is_late(session.end, clock, cx))).collect();
        let session = near.iter().fold(SessionWindow { start: at, end: at }, |merged, (other, _)| SessionWindow {
            start: merged.start.min(other.start),
            end: merged.end.max(other.end),
        });
        if self.is_late(session.end, clock, cx) {
            return self.report_late(key, value, clock, meta, cx);
        }
        self.fold_into(session, near, key, value, meta, cx)
    }
}

impl<K: Data, V: Data, A: Data, S: Step<K, V, A>, M: Merge<K, A>> SessionAggregate<S, M, K, V, A> {
    fn is_late(&self, end: Timestamp, clock: Option<Timestamp>, cx: &TaskContext) -> bool {
        match clock {
            Some(w) if cx.bounded => self.windows.closing_watermark(end) <= w,
            Some(observed) => end < observed - self.windows.grace - self.windows.gap,
            None => false,
        }
    }

    fn report_late(&mut self, key: K, value: V, clock: Option<Timestamp>, meta: &Meta, cx: &mut TaskContext) -> Flow {
        cx.late_record(&self.node, 1);
        let missed = [TimeWindow { start: meta.timestamp, end: meta.timestamp }];
        let missed = Missed { windows: &missed, clock, partial: false };
        self.late.send(&key, &value, meta, &missed, &self.node, cx)
    }

    /// Sessions that grew together are withdrawn before the user's function sees the new value, as in Kafka Streams (KS-W8).
    fn fold_into(
        &mut self,
        session: SessionWindow,
        near: Vec<(SessionWindow, A)>,
        key: K,
        value: V,
        meta: &Meta,
        cx: &mut TaskContext,
    ) -> Flow {
        let grew = session.start != session.end || session.start != meta.timestamp;
        let row = match self.merged(&key, &near) {
            Ok(row) => row,
            Err(error) => return cx.failed(&self.node, meta, error),
        };
        if grew {
            for (other, row) in near {
                self.write(other, None, meta, cx)?;
                let old = self.sends_old.then_some(row);
                self.forward(&key, other, Change { old, new: None }, cx)?;
            }
        }
        let new = match self.step.apply(&key, value, row) {
            Ok(new) => new,
            Err(error) => return cx.failed(&self.node, meta, error),
        };
        self.write(session, new.as_ref(), meta, cx)?;
        self.forward(&key, session, Change { old: None, new }, cx)
    }

    fn merged(&self, key: &K, near: &[(SessionWindow, A)]) -> Result<Option<A>, BoxError> {
        near.iter().try_fold(self.step.initial(), |row, (_, other)| self.merge.merge(key, row, other.clone()))
    }

    fn write(&mut self, session: SessionWindow, row: Option<&A>, meta: &Meta, cx: &mut TaskContext) -> Flow {
        let written = self.rows.put(session, row, &cx.write_context(meta));
        let evicted = written.map_err(|error| cx.corrupt(&self.node, error))?;
        if self.on_close { Ok(()) } else { forward_flushed_sessions(&self.rows, evicted, &self.node, &mut self.next, cx) }
    }

    /// Sends an update at once, unless the cache or the close of the session will. Its time is the session's last event (D5);
    /// it has no headers, as several records made it.
    fn forward(&mut self, key: &K, session: SessionWindow, change: Change<A>, cx: &mut TaskContext) -> Flow {
        if self.on_close || self.rows.caching() {
            return Ok(());
        }
        let meta = Meta { timestamp: session.end, headers: Headers::default() };
        self.next.receive(Windowed { key: key.clone(), window: session }, change, &meta, cx)
    }

    fn close_if_due(&mut self, clock: Option<Timestamp>, meta: &Meta, cx: &mut TaskContext) -> Flow {
        match clock {
            Some(observed) if self.on_close && !cx.bounded => self.close_by_stream_time(observed, meta, cx),
            _ => Ok(()),
        }
    }

    fn close_by_stream_time(&mut self, observed: Timestamp, meta: &Meta, cx: &mut TaskContext) -> Flow {
        let close = observed - self.windows.grace - self.windows.gap;
        let latest = Timestamp::from_millis(close.as_millis().saturating_sub(1));
        if latest < Timestamp::from_millis(0) {
            return Ok(());
        }
        let Some(before) = self.clock.advance(close) else { return Ok(()) };
        // Sessions whose segment goes with this record are not sent, as in Kafka Streams: a longer retention avoids it, and
        // bounded mode has no such edge.
        let kept = self.rows.oldest_kept(observed).as_millis();
        let earliest = before.map_or(0, |before| before.as_millis().max(0)).max(kept);
        let due = self.rows.ending_in(Timestamp::from_millis(earliest), latest, usize::MAX);
        for (session, key, row) in due.map_err(|error| cx.corrupt(&self.node, error))? {
            self.emit_final(session, key, row, meta, cx)?;
        }
        Ok(())
    }

    fn emit_final(&mut self, session: SessionWindow, key: K, row: A, meta: &Meta, cx: &mut TaskContext) -> Flow {
        let meta = Meta { timestamp: session.end, headers: meta.headers.clone() };
        self.next.receive(Windowed { key, window: session }, Change { old: None, new: Some(row) }, &meta, cx)
    }
}

impl<K: Data, V: Data, A: Data, S: Step<K, V, A>, M: Merge<K, A>> Driven for SessionAggregate<S, M, K, V, A> {
    fn flush(&mut self, cx: &mut TaskContext) -> Flow {
        if !self.rows.caching() {
            return Ok(());
        }
        let flushed = self.rows.flush().map_err(|error| cx.corrupt(&self.node, error))?;
        forward_flushed_sessions(&self.rows, flushed, &self.node, &mut self.next, cx)
    }

    fn on_watermark(&mut self, cx: &mut TaskContext) -> Result<bool, Fault> {
        let Some(w) = cx.watermark else { return Ok(false) };
        if !self.clock.begin_pass(w) {
            return Ok(false);
        }
        let latest = |w: Timestamp| (w - self.windows.grace - self.windows.gap).as_millis().saturating_sub(1);
        let earliest = self.clock.closed().map_or(i64::MIN, |closed| latest(closed).saturating_add(1));
        let due = self.rows.ending_in(Timestamp::from_millis(earliest), Timestamp::from_millis(latest(w)), cx.close_batch);
        let due = due.map_err(|error| cx.corrupt(&self.node, error))?;
        let more = due.len() == cx.close_batch;
        if !due.is_empty() {
            self.flush(cx)?; // the last updates go before their sessions
        }
        for (session, key, row) in due {
            self.rows.remove(&key, session, &cx.write_context(&Meta::default())).map_err(|error| cx.corrupt(&self.node, error))?;
            if self.on_close {
                self.emit_final(session, key, row, &Meta::default(), cx)?;
            }
        }
        if !more {
            self.clock.advance(w);
        }
        Ok(more)
    }

    fn hold(&self, w: Timestamp) -> Option<Timestamp> {
        self.on_close.then(|| self.windows.hold(self.clock.closed_up_to(w)))
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
        self.rows.newest_end().map(|end| self.windows.closing_watermark(end))
    }
}
