//! Stream against table: each record with the row that its key has now. Only the stream side speaks (KS-K1, K2).

use std::sync::Arc;

use crate::error::{BoxError, Flow, StoreError};
use crate::processor::{Next, NodeInfo, Receive, TaskContext};
use crate::record::{Data, Meta};
use crate::serdes::SharedSerde;
use crate::state::KeyValueStore;

/// Finds the present row of a table: how joins read the other side.
pub(crate) trait Lookup<K, V>: Send {
    fn get(&mut self, key: &K) -> Result<Option<V>, StoreError>;
}

/// A table with a store.
pub(crate) struct StoreLookup<K, V>(pub(crate) KeyValueStore<K, V>);
impl<K: Data, V: Data> Lookup<K, V> for StoreLookup<K, V> {
    fn get(&mut self, key: &K) -> Result<Option<V>, StoreError> {
        self.0.get(key)
    }
}

/// A table without one: its rows are computed from the table above it.
pub(crate) struct FnLookup<F>(pub(crate) F);
impl<K, V, F: FnMut(&K) -> Result<Option<V>, StoreError> + Send> Lookup<K, V> for FnLookup<F> {
    fn get(&mut self, key: &K) -> Result<Option<V>, StoreError> {
        (self.0)(key)
    }
}

/// The join node.
pub(crate) struct TableJoin<F, K, V, T, R> {
    pub(crate) table: Box<dyn Lookup<K, T>>,
    pub(crate) key: SharedSerde<K>,
    pub(crate) value: SharedSerde<V>,
    pub(crate) left: bool,
    pub(crate) join: Arc<F>,
    pub(crate) node: NodeInfo,
    pub(crate) next: Next<K, R>,
}

impl<K: Data, V: Data, T: Data, R: Data, F> Receive<K, V> for TableJoin<F, K, V, T, R>
where
    F: Fn(&K, V, Option<T>) -> Result<R, BoxError> + Send + Sync,
{
    fn receive(&mut self, key: K, value: V, meta: &Meta, cx: &mut TaskContext) -> Flow {
        let no_key = self.key.is_null(&key);
        if self.value.is_null(&value) || (no_key && !self.left) {
            cx.drop_record(1);
            return Ok(());
        }
        let row = if no_key { None } else { self.table.get(&key).map_err(|error| cx.corrupt(&self.node, error))? };
        if row.is_none() && !self.left {
            return Ok(());
        }
        match (self.join)(&key, value, row) {
            Ok(joined) => self.next.receive(key, joined, meta, cx),
            Err(error) => cx.failed(&self.node, meta, error),
        }
    }
}
