//! What comes between grouping and an aggregate.

use std::sync::Arc;

use crate::dsl::builder::stored_lookup;
use crate::dsl::stream::with_shuffle;
use crate::dsl::table::store_draft;
use crate::dsl::{Grouped, KTable, Windows};
use crate::error::{BoxError, OnError};
use crate::processor::aggregate::{Aggregate, Fold, Reduce, Step};
use crate::processor::{KeyValueRows, Outcome};
use crate::record::Data;
use crate::serdes::SharedSerde;
use crate::state::{KeyValueStore, Names};
use crate::topology::draft::{Call, CallId, Graph, Op, Part};

/// A stream grouped by its key.
pub struct KGroupedStream<K, V> {
    pub(crate) graph: Graph,
    pub(crate) id: CallId,
    pub(crate) key: SharedSerde<K>,
    pub(crate) value: SharedSerde<V>,
}

impl<K, V> Clone for KGroupedStream<K, V> {
    fn clone(&self) -> Self {
        KGroupedStream { graph: self.graph.clone(), id: self.id, key: self.key.clone(), value: self.value.clone() }
    }
}

impl<K: Data, V: Data> KGroupedStream<K, V> {
    pub(crate) fn new(graph: &Graph, call: Call, grouped: Grouped<K, V>) -> Self {
        let call = with_shuffle(call.named(grouped.name.as_ref().map(|name| name.to_string())), &grouped);
        KGroupedStream { graph: graph.clone(), id: graph.add(call), key: grouped.key, value: grouped.value }
    }

    /// Decides what happens to records on which the grouping's own function fails.
    pub fn on_error(self, policy: OnError) -> Self {
        self.graph.change(self.id, |call| call.on_error = Some(policy));
        self
    }

    /// How many records each key has had.
    pub fn count(&self, store: impl Names<KeyValueStore<K, i64>>) -> KTable<K, i64> {
        self.aggregate_by(store, "KSTREAM-AGGREGATE", true, Fold { init: || 0, fold: |_: &K, _: V, count: &mut i64| *count += 1 })
    }

    /// Folds the values of each key into one of the same type. A result that its serde writes as null deletes the row.
    pub fn reduce(&self, store: impl Names<KeyValueStore<K, V>>, reduce: impl Fn(V, V) -> V + Send + Sync + 'static) -> KTable<K, V> {
        self.try_reduce(store, move |row, value| Ok::<_, BoxError>(reduce(row, value)))
    }

    /// The same, or an error for the policy.
    pub fn try_reduce<E: Into<BoxError>>(
        &self,
        store: impl Names<KeyValueStore<K, V>>,
        reduce: impl Fn(V, V) -> Result<V, E> + Send + Sync + 'static,
    ) -> KTable<K, V> {
        let step = Reduce { reduce: move |row, value| reduce(row, value).map_err(Into::into), value: self.value.clone() };
        self.aggregate_by(store, "KSTREAM-REDUCE", false, step)
    }

    /// Folds the values of each key into a row, changed in place.
    ///
    /// ```
    /// use highwater::{StreamsBuilder, Topic};
    ///
    /// const PAYMENTS: Topic<String, i64> = Topic::new("payments");
    /// let builder = StreamsBuilder::new();
    /// builder.stream(PAYMENTS).group_by_key().aggregate("totals", || 0, |_, cents, total| *total += cents);
    /// builder.build()?;
    /// # Ok::<(), highwater::TopologyError>(())
    /// ```
    pub fn aggregate<A: Data, O: Outcome + 'static>(
        &self,
        store: impl Names<KeyValueStore<K, A>>,
        init: impl Fn() -> A + Send + Sync + 'static,
        fold: impl Fn(&K, V, &mut A) -> O + Send + Sync + 'static,
    ) -> KTable<K, A> {
        self.aggregate_by(store, "KSTREAM-AGGREGATE", false, Fold { init, fold })
    }

    fn aggregate_by<A: Data>(
        &self,
        store: impl Names<KeyValueStore<K, A>>,
        prefix: &'static str,
        counts: bool,
        step: impl Step<K, V, A>,
    ) -> KTable<K, A> {
        let store = store.materialized();
        let (step, key, value) = (Arc::new(step), self.key.clone(), self.value.clone());
        let op = Op::Aggregate { prefix, counts, store: store_draft(&store, store.is_explicit()), windows: None };
        let call = Call::new(op, &[self.id]).part(Part::Main, move |assembly, id| {
            let sends_old = assembly.sends_old(id);
            let store = assembly.store_of::<KeyValueStore<K, A>>(id).expect("an aggregate has a store");
            let (node, next) = (assembly.info(id), assembly.output_of(id));
            let rows = KeyValueRows::new(&store, sends_old);
            let aggregate = Aggregate { rows, key: key.clone(), value: value.clone(), step: step.clone(), sends_old, node, next };
            assembly.driven::<K, V, _>(id, aggregate)
        });
        let id = self.graph.add(call);
        KTable::new(&self.graph, id, stored_lookup(id))
    }

    /// Cuts each key's records into windows.
    pub fn windowed_by<W: Windows>(&self, windows: W) -> W::Stream<K, V> {
        windows.cut(self.clone())
    }
}
