//! Updates of a table held back until their window closes, or for a while. Rules: KS-E6 to E8.

use std::sync::Arc;

use crate::error::{Fault, Flow};
use crate::processor::rows::{Held, SuppressRows};
use crate::processor::{Driven, Lookup, Next, NodeInfo, Receive, TaskContext};
use crate::record::{Change, Data, Meta, Timestamp, millis};
use crate::window::{Buffer, Until, WhenFull};

/// Until when an update of this key is held: its window's end, with the watermark at which that window closes.
pub(crate) type EndOf<K> = Arc<dyn Fn(&K) -> Timestamp + Send + Sync>;

/// What a suppression waits for.
pub(crate) struct Wait<K> {
    pub(crate) until: Until,
    /// The end of a key's window; for keys without one, never called.
    pub(crate) end_of: EndOf<K>,
    /// How long after its end a window closes, in ms: grace, and for sessions gap and one more in bounded mode.
    pub(crate) grace_ms: i64,
    /// What a session's end lacks to the first instant that cannot join it (bounded mode, D1).
    pub(crate) bounded_extra_ms: i64,
    /// The hold of the windows above, bounded mode.
    pub(crate) hold: Option<Arc<dyn Fn(Timestamp) -> Timestamp + Send + Sync>>,
}

/// The suppression node.
pub(crate) struct Suppress<K, V> {
    pub(crate) rows: SuppressRows<K, V>,
    pub(crate) wait: Wait<K>,
    pub(crate) buffer: Buffer,
    /// Stream time of this node (KS-T3).
    pub(crate) observed: Timestamp,
    pub(crate) node: NodeInfo,
    pub(crate) next: Next<K, Change<V>>,
}

impl<K: Data, V: Data> Receive<K, Change<V>> for Suppress<K, V> {
    fn receive(&mut self, key: K, change: Change<V>, meta: &Meta, cx: &mut TaskContext) -> Flow {
        self.observed = self.observed.max(meta.timestamp);
        if change.new.is_none() && self.bounded_final(cx) {
            // Withdrawn before it closed: nothing is left to be sent, and the task may say so (D12).
            return self.rows.withdraw(&key).map_err(|error| cx.corrupt(&self.node, error));
        }
        let at = match self.wait.until {
            Until::WindowCloses => (self.wait.end_of)(&key),
            Until::TimeLimit(_) => meta.timestamp,
        };
        let held = self.rows.put(at, &key, &change, &cx.write_context(meta));
        held.map_err(|error| cx.corrupt(&self.node, error))?;
        if !self.bounded_final(cx) {
            self.release_until(self.observed.as_millis().saturating_sub(self.wait_ms(cx)), cx)?;
        }
        self.mind_capacity(meta, cx)
    }
}

impl<K: Data, V: Data> Suppress<K, V> {
    /// In bounded mode final results follow the task's watermark and not the records.
    fn bounded_final(&self, cx: &TaskContext) -> bool {
        cx.bounded && self.wait.until == Until::WindowCloses
    }

    fn wait_ms(&self, cx: &TaskContext) -> i64 {
        match self.wait.until {
            Until::TimeLimit(limit) => millis(limit),
            Until::WindowCloses if cx.bounded => self.wait.grace_ms.saturating_add(self.wait.bounded_extra_ms),
            Until::WindowCloses => self.wait.grace_ms,
        }
    }

    /// How far a pass over what `w` closes has come.
    fn closed_up_to(&self, w: Timestamp) -> Timestamp {
        let wait = self.wait.grace_ms.saturating_add(self.wait.bounded_extra_ms);
        let next = self.rows.earliest().map(|at| at.saturating_add(wait).saturating_sub(1));
        next.map_or(w, |next| w.min(Timestamp::from_millis(next)))
    }

    fn release_until(&mut self, time: i64, cx: &mut TaskContext) -> Flow {
        while let Some(held) = self.rows.pop_until(time).map_err(|error| cx.corrupt(&self.node, error))? {
            self.emit(held, cx)?;
        }
        Ok(())
    }

    fn emit(&mut self, held: Held<K, V>, cx: &mut TaskContext) -> Flow {
        if held.change.new.is_none() && self.wait.until == Until::WindowCloses {
            return Ok(()); // a window that was withdrawn before it closed was never announced
        }
        let meta = Meta { timestamp: held.context.timestamp, headers: held.context.headers.clone() };
        let Self { next, .. } = self;
        cx.within(&held.context, |cx| next.receive(held.key, held.change, &meta, cx))
    }

    fn is_over(&self) -> bool {
        self.buffer.max_records.is_some_and(|most| self.rows.len() > most)
            || self.buffer.max_bytes.is_some_and(|most| self.rows.bytes() > most)
    }

    fn mind_capacity(&mut self, meta: &Meta, cx: &mut TaskContext) -> Flow {
        while self.is_over() {
            if self.buffer.when_full == WhenFull::ShutDown {
                return cx.failed(&self.node, meta, self.full()); // the update stays in the buffer, as in Kafka Streams
            }
            match self.rows.pop_until(i64::MAX).map_err(|error| cx.corrupt(&self.node, error))? {
                Some(held) => self.emit(held, cx)?,
                None => return Ok(()),
            }
        }
        Ok(())
    }

    fn full(&self) -> String {
        let limit = |limit: Option<usize>| limit.map_or("any".to_owned(), |limit| limit.to_string());
        format!(
            "the suppression buffer holds {} records ({} allowed) and {} bytes ({} allowed): raise its bounds, or let it emit early when full",
            self.rows.len(),
            limit(self.buffer.max_records),
            self.rows.bytes(),
            limit(self.buffer.max_bytes),
        )
    }
}

impl<K: Data, V: Data> Driven for Suppress<K, V> {
    fn on_watermark(&mut self, cx: &mut TaskContext) -> Result<bool, Fault> {
        let Some(w) = cx.watermark.filter(|_| self.bounded_final(cx)) else { return Ok(false) };
        let due = w.as_millis().saturating_sub(self.wait_ms(cx));
        for _ in 0..cx.close_batch {
            match self.rows.pop_until(due).map_err(|error| cx.corrupt(&self.node, error))? {
                Some(held) => self.emit(held, cx)?,
                None => return Ok(false),
            }
        }
        Ok(true) // full to the row, as every pass: the next one finds out whether that was all
    }

    fn hold(&self, w: Timestamp) -> Option<Timestamp> {
        match self.wait.until {
            Until::WindowCloses => self.wait.hold.as_ref().map(|hold| hold(self.closed_up_to(w))),
            Until::TimeLimit(_) => self.rows.earliest().map(|oldest| Timestamp::from_millis(oldest).min(w)),
        }
    }

    fn holds_rows(&self) -> bool {
        self.rows.len() > 0
    }

    fn last_closing(&self) -> Option<Timestamp> {
        let wait = self.wait.grace_ms.saturating_add(self.wait.bounded_extra_ms);
        self.rows.latest().filter(|_| self.wait.until == Until::WindowCloses).map(|at| Timestamp::from_millis(at.saturating_add(wait)))
    }
}

/// Reads the table as those below the suppression see it: the row before the first update that is held.
pub(crate) struct SuppressLookup<K, V> {
    pub(crate) buffer: SuppressRows<K, V>,
    pub(crate) upstream: Box<dyn Lookup<K, V>>,
}

impl<K: Data, V: Data> Lookup<K, V> for SuppressLookup<K, V> {
    fn get(&mut self, key: &K) -> Result<Option<V>, crate::error::StoreError> {
        match self.buffer.prior(key)? {
            Some(prior) => Ok(prior),
            None => self.upstream.get(key),
        }
    }
}
