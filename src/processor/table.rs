//! Tables: topic to table, filter and map over rows, changes as a stream.

use std::sync::Arc;

use crate::error::{BoxError, Flow};
use crate::processor::rows::{KeyValueRows, forward_flushed};
use crate::processor::{Driven, Next, NodeInfo, Receive, SinkValue, TaskContext};
use crate::record::{Change, Data, Meta};
use crate::serdes::SharedSerde;

/// Topic (or stream) to table: keeps the row if anything needs it kept, forwards the change. Rules: KS-A7, A8, A10.
pub(crate) struct TableSource<K, V> {
    pub(crate) rows: Option<KeyValueRows<K, V>>,
    pub(crate) key: SharedSerde<K>,
    pub(crate) value: SharedSerde<V>,
    pub(crate) sends_old: bool,
    pub(crate) node: NodeInfo,
    pub(crate) next: Next<K, Change<V>>,
}

impl<K: Data, V: Data, T: SinkValue<V>> Receive<K, T> for TableSource<K, V> {
    fn receive(&mut self, key: K, new: T, meta: &Meta, cx: &mut TaskContext) -> Flow {
        if self.key.is_null(&key) {
            cx.drop_record(1);
            return Ok(());
        }
        let new = new.as_written().filter(|row| !self.value.is_null(row)).cloned();
        let Some(rows) = &mut self.rows else {
            return self.next.receive(key, Change { old: None, new }, meta, cx);
        };
        let stored = rows.get(&key).map_err(|error| cx.corrupt(&self.node, error))?;
        if stored.as_ref().is_some_and(|row| meta.timestamp < row.timestamp) {
            tracing::warn!(node = %self.node.name, offset = cx.origin.offset, "a table update is older than the row it replaces");
        }
        let written = rows.put(new.as_ref(), meta.timestamp, &cx.write_context(meta));
        let evicted = written.map_err(|error| cx.corrupt(&self.node, error))?;
        if rows.caching() {
            return forward_flushed(rows, evicted, &self.node, &mut self.next, cx);
        }
        let old = if self.sends_old { stored.map(|row| row.value) } else { None };
        self.next.receive(key, Change { old, new }, meta, cx)
    }
}

impl<K: Data, V: Data> Driven for TableSource<K, V> {
    fn flush(&mut self, cx: &mut TaskContext) -> Flow {
        let Some(rows) = &mut self.rows else { return Ok(()) };
        let flushed = rows.flush().map_err(|error| cx.corrupt(&self.node, error))?;
        forward_flushed(rows, flushed, &self.node, &mut self.next, cx)
    }
}

/// `filter`, `filter_not` and `map_values` of a table: a row becomes another row, or none. Rule: KS-A9.
pub(crate) struct TableFilterMap<F, K, V, V2> {
    pub(crate) apply: Arc<F>,
    /// A filter: with old values asked for, a change from nothing to nothing goes nowhere.
    pub(crate) is_filter: bool,
    pub(crate) rows: Option<KeyValueRows<K, V2>>,
    pub(crate) sends_old: bool,
    pub(crate) node: NodeInfo,
    pub(crate) next: Next<K, Change<V2>>,
    pub(crate) types: std::marker::PhantomData<fn(V)>,
}

impl<K: Data, V: Data, V2: Data, F> TableFilterMap<F, K, V, V2>
where
    F: Fn(&K, V) -> Result<Option<V2>, BoxError> + Send + Sync,
{
    fn rows_of(&mut self, key: &K, change: Change<V>) -> Result<(Option<V2>, Option<V2>), BoxError> {
        let new = change.new.map(|row| (self.apply)(key, row)).transpose()?.flatten();
        let old = match (&mut self.rows, self.sends_old) {
            (_, false) => None,
            (Some(rows), true) => rows.get(key)?.map(|row| row.value),
            (None, true) => change.old.map(|row| (self.apply)(key, row)).transpose()?.flatten(),
        };
        Ok((old, new))
    }
}

impl<K: Data, V: Data, V2: Data, F> Receive<K, Change<V>> for TableFilterMap<F, K, V, V2>
where
    F: Fn(&K, V) -> Result<Option<V2>, BoxError> + Send + Sync,
{
    fn receive(&mut self, key: K, change: Change<V>, meta: &Meta, cx: &mut TaskContext) -> Flow {
        let (old, new) = match self.rows_of(&key, change) {
            Ok(rows) => rows,
            Err(error) => return cx.failed(&self.node, meta, error),
        };
        if self.is_filter && self.sends_old && old.is_none() && new.is_none() {
            return Ok(());
        }
        if let Some(rows) = &mut self.rows {
            let written = rows.put_at(&key, new.as_ref(), meta.timestamp, &cx.write_context(meta));
            let evicted = written.map_err(|error| cx.corrupt(&self.node, error))?;
            if rows.caching() {
                return forward_flushed(rows, evicted, &self.node, &mut self.next, cx);
            }
        }
        self.next.receive(key, Change { old, new }, meta, cx)
    }
}

impl<K: Data, V: Data, V2: Data, F> Driven for TableFilterMap<F, K, V, V2>
where
    F: Fn(&K, V) -> Result<Option<V2>, BoxError> + Send + Sync,
{
    fn flush(&mut self, cx: &mut TaskContext) -> Flow {
        let Some(rows) = &mut self.rows else { return Ok(()) };
        let flushed = rows.flush().map_err(|error| cx.corrupt(&self.node, error))?;
        forward_flushed(rows, flushed, &self.node, &mut self.next, cx)
    }
}

/// The changes of a table as facts.
pub(crate) struct ToStream<F, K2, V2> {
    pub(crate) apply: Arc<F>,
    pub(crate) next: Next<K2, V2>,
}

impl<K, V, K2, V2, F: Fn(K, Option<V>) -> (K2, V2) + Send + Sync> Receive<K, Change<V>> for ToStream<F, K2, V2> {
    fn receive(&mut self, key: K, change: Change<V>, meta: &Meta, cx: &mut TaskContext) -> Flow {
        let (key, value) = (self.apply)(key, change.new);
        self.next.receive(key, value, meta, cx)
    }
}
