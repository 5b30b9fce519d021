//! Folds of a keyed stream into one row per key: `count`, `reduce`, `aggregate` without windows.

use std::sync::Arc;

use crate::error::{BoxError, Flow};
use crate::processor::rows::{KeyValueRows, forward_flushed};
use crate::processor::{Driven, Next, NodeInfo, Outcome, Receive, Row, TaskContext};
use crate::record::{Change, Data, Meta};
use crate::serdes::SharedSerde;

/// One step of any aggregate, adapted from the user's functions: the row before, the row after; none is no row.
pub(crate) trait Step<K, V, A>: Send + Sync + 'static {
    /// The row that the first record of a key finds; none if the first record is the row.
    fn initial(&self) -> Option<A>;
    fn apply(&self, key: &K, value: V, row: Option<A>) -> Result<Option<A>, BoxError>;
}

/// `aggregate` as a step: start from `init`, change in place.
pub(crate) struct Fold<I, F> {
    pub(crate) init: I,
    pub(crate) fold: F,
}

impl<K, V, A, O, I, F> Step<K, V, A> for Fold<I, F>
where
    O: Outcome,
    I: Fn() -> A + Send + Sync + 'static,
    F: Fn(&K, V, &mut A) -> O + Send + Sync + 'static,
{
    fn initial(&self) -> Option<A> {
        Some((self.init)())
    }
    fn apply(&self, key: &K, value: V, row: Option<A>) -> Result<Option<A>, BoxError> {
        let mut row = row.unwrap_or_else(&self.init);
        Ok(match (self.fold)(key, value, &mut row).outcome()? {
            Row::Keep => Some(row),
            Row::Delete => None,
        })
    }
}

/// `reduce` as a step: the first value is the row. A result that is written as null deletes it.
pub(crate) struct Reduce<F, V> {
    pub(crate) reduce: F,
    pub(crate) value: SharedSerde<V>,
}

impl<K, V: 'static, F> Step<K, V, V> for Reduce<F, V>
where
    F: Fn(V, V) -> Result<V, BoxError> + Send + Sync + 'static,
{
    fn initial(&self) -> Option<V> {
        None
    }
    fn apply(&self, _: &K, value: V, row: Option<V>) -> Result<Option<V>, BoxError> {
        let value = match row {
            Some(row) => (self.reduce)(row, value)?,
            None => value,
        };
        Ok((!self.value.is_null(&value)).then_some(value))
    }
}

/// Merges two sessions into one row.
pub(crate) trait Merge<K, A>: Send + Sync + 'static {
    fn merge(&self, key: &K, one: Option<A>, other: A) -> Result<Option<A>, BoxError>;
}

/// The fold of an unwindowed group. Rules: KS-A1, A3, W3.
pub(crate) struct Aggregate<S, K, V, A> {
    pub(crate) rows: KeyValueRows<K, A>,
    pub(crate) key: SharedSerde<K>,
    pub(crate) value: SharedSerde<V>,
    pub(crate) step: Arc<S>,
    pub(crate) sends_old: bool,
    pub(crate) node: NodeInfo,
    pub(crate) next: Next<K, Change<A>>,
}

impl<K: Data, V: Data, A: Data, S: Step<K, V, A>> Receive<K, V> for Aggregate<S, K, V, A> {
    fn receive(&mut self, key: K, value: V, meta: &Meta, cx: &mut TaskContext) -> Flow {
        if self.key.is_null(&key) || self.value.is_null(&value) {
            cx.drop_record(1);
            return Ok(());
        }
        let stored = self.rows.get(&key).map_err(|error| cx.corrupt(&self.node, error))?;
        let timestamp = stored.as_ref().map_or(meta.timestamp, |row| row.timestamp.max(meta.timestamp));
        let before = stored.map(|row| row.value).or_else(|| self.step.initial());
        let old = before.clone().filter(|before| self.sends_old && self.rows.is_row(before));
        let new = match self.step.apply(&key, value, before) {
            Ok(new) => new,
            Err(error) => return cx.failed(&self.node, meta, error),
        };
        let written = self.rows.put(new.as_ref(), timestamp, &cx.write_context(meta));
        let evicted = written.map_err(|error| cx.corrupt(&self.node, error))?;
        if self.rows.caching() {
            return forward_flushed(&self.rows, evicted, &self.node, &mut self.next, cx);
        }
        self.next.receive(key, Change { old, new }, &Meta { timestamp, headers: meta.headers.clone() }, cx)
    }
}

impl<K: Data, V: Data, A: Data, S: Step<K, V, A>> Driven for Aggregate<S, K, V, A> {
    fn flush(&mut self, cx: &mut TaskContext) -> Flow {
        let flushed = self.rows.flush().map_err(|error| cx.corrupt(&self.node, error))?;
        forward_flushed(&self.rows, flushed, &self.node, &mut self.next, cx)
    }
}
