//! A table: the last value per key, and a stream of its changes.

use std::borrow::Cow;
use std::marker::PhantomData;
use std::sync::Arc;

use crate::dsl::{KStream, Produced, SinkHandle};
use crate::error::{BoxError, OnError};
use crate::processor::{
    FnLookup, KeyValueRows, Lookup, StoreLookup, Suppress, SuppressLookup, SuppressRows, TableFilterMap, ToStream, Verdict, Wait,
};
use crate::record::{Change, Data, Timestamp};
use crate::state::{KeyValueStore, Materialized, Names, Store, SuppressStore};
use crate::topology::Assembly;
use crate::topology::assemble::erase_named;
use crate::topology::draft::{Call, CallId, Graph, Op, Part, StoreDraft};
use crate::window::{Suppressed, Until};

/// Makes the reading side of a table for a task.
pub(crate) type LookupFactory<K, V> = Arc<dyn Fn(&mut Assembly<'_>) -> Box<dyn Lookup<K, V>> + Send + Sync>;

/// A table. Functions see rows only; deletions pass by themselves.
pub struct KTable<K, V> {
    pub(crate) graph: Graph,
    pub(crate) id: CallId,
    pub(crate) lookup: LookupFactory<K, V>,
    pub(crate) ends: Option<WindowEnds<K>>,
}

/// How a windowed table tells when the window of a key closes.
pub(crate) struct WindowEnds<K> {
    pub(crate) end_of: Arc<dyn Fn(&K) -> Timestamp + Send + Sync>,
    pub(crate) grace_ms: i64,
    pub(crate) bounded_extra_ms: i64,
    pub(crate) hold: Arc<dyn Fn(Timestamp) -> Timestamp + Send + Sync>,
}

impl<K> Clone for WindowEnds<K> {
    fn clone(&self) -> Self {
        let WindowEnds { end_of, grace_ms, bounded_extra_ms, hold } = self;
        WindowEnds { end_of: end_of.clone(), grace_ms: *grace_ms, bounded_extra_ms: *bounded_extra_ms, hold: hold.clone() }
    }
}

impl<K, V> Clone for KTable<K, V> {
    fn clone(&self) -> Self {
        KTable { graph: self.graph.clone(), id: self.id, lookup: self.lookup.clone(), ends: self.ends.clone() }
    }
}

/// What a call records of a store.
pub(crate) fn store_draft<S: Store>(store: &Materialized<S>, asked_for: bool) -> StoreDraft {
    let mut spec = store.spec().clone();
    spec.caching.get_or_insert(true); // stores of the DSL are cached unless they say otherwise (K2.5)
    StoreDraft {
        name: store.store().name().map(str::to_owned),
        spec,
        open: store.opener(),
        of: Some(std::any::TypeId::of::<S>()),
        asked_for,
    }
}

impl<K: Data, V: Data> KTable<K, V> {
    pub(crate) fn new(graph: &Graph, id: CallId, lookup: LookupFactory<K, V>) -> Self {
        KTable { graph: graph.clone(), id, lookup, ends: None }
    }

    /// Stands for a table that could not be made; the problem is recorded already.
    pub(crate) fn broken(graph: &Graph) -> Self {
        KTable::new(graph, usize::MAX, Arc::new(|_| Box::new(FnLookup(|_: &K| Ok(None)))))
    }

    /// Names the operator that made this table, and nothing else.
    pub fn named(self, name: impl Into<Cow<'static, str>>) -> Self {
        let name = name.into().into_owned();
        self.graph.change(self.id, |call| call.name = Some(name));
        self
    }

    /// Decides what happens to records on which the operator that made this table fails; says nothing of operators before it.
    pub fn on_error(self, policy: OnError) -> Self {
        self.graph.change(self.id, |call| call.on_error = Some(policy));
        self
    }

    /// Keeps the rows for which `keep` is true; a row that stops matching is deleted downstream.
    pub fn filter<R: Verdict>(&self, keep: impl Fn(&K, &V) -> R + Send + Sync + 'static) -> KTable<K, V> {
        self.view("KTABLE-FILTER", None, move |key, row| Ok(keep(key, &row).verdict()?.then_some(row)))
    }

    /// The same, kept in a store.
    pub fn filter_as<R: Verdict>(
        &self,
        store: impl Names<KeyValueStore<K, V>>,
        keep: impl Fn(&K, &V) -> R + Send + Sync + 'static,
    ) -> KTable<K, V> {
        self.view("KTABLE-FILTER", Some(store.materialized()), move |key, row| Ok(keep(key, &row).verdict()?.then_some(row)))
    }

    /// Keeps the rows for which `drop` is false.
    pub fn filter_not<R: Verdict>(&self, drop: impl Fn(&K, &V) -> R + Send + Sync + 'static) -> KTable<K, V> {
        self.view("KTABLE-FILTER", None, move |key, row| Ok((!drop(key, &row).verdict()?).then_some(row)))
    }

    /// The same, kept in a store.
    pub fn filter_not_as<R: Verdict>(
        &self,
        store: impl Names<KeyValueStore<K, V>>,
        drop: impl Fn(&K, &V) -> R + Send + Sync + 'static,
    ) -> KTable<K, V> {
        self.view("KTABLE-FILTER", Some(store.materialized()), move |key, row| Ok((!drop(key, &row).verdict()?).then_some(row)))
    }

    /// A new value for every row.
    pub fn map_values<V2: Data>(&self, f: impl Fn(V) -> V2 + Send + Sync + 'static) -> KTable<K, V2> {
        self.view("KTABLE-MAPVALUES", None, move |_, row| Ok(Some(f(row))))
    }

    /// The same, kept in a store.
    pub fn map_values_as<V2: Data>(
        &self,
        store: impl Names<KeyValueStore<K, V2>>,
        f: impl Fn(V) -> V2 + Send + Sync + 'static,
    ) -> KTable<K, V2> {
        self.view("KTABLE-MAPVALUES", Some(store.materialized()), move |_, row| Ok(Some(f(row))))
    }

    /// A new value for the rows for which `f` gives one; the others are deleted downstream.
    pub fn filter_map_values<V2: Data>(&self, f: impl Fn(&K, V) -> Option<V2> + Send + Sync + 'static) -> KTable<K, V2> {
        self.view("KTABLE-MAPVALUES", None, move |key, row| Ok(f(key, row)))
    }

    /// The same, or an error for the policy.
    pub fn try_filter_map_values<V2: Data, E: Into<BoxError>>(
        &self,
        f: impl Fn(&K, V) -> Result<Option<V2>, E> + Send + Sync + 'static,
    ) -> KTable<K, V2> {
        self.view("KTABLE-MAPVALUES", None, move |key, row| f(key, row).map_err(Into::into))
    }

    /// The same, kept in a store.
    pub fn try_filter_map_values_as<V2: Data, E: Into<BoxError>>(
        &self,
        store: impl Names<KeyValueStore<K, V2>>,
        f: impl Fn(&K, V) -> Result<Option<V2>, E> + Send + Sync + 'static,
    ) -> KTable<K, V2> {
        self.view("KTABLE-MAPVALUES", Some(store.materialized()), move |key, row| f(key, row).map_err(Into::into))
    }

    fn view<V2: Data>(
        &self,
        prefix: &'static str,
        store: Option<Materialized<KeyValueStore<K, V2>>>,
        f: impl Fn(&K, V) -> Result<Option<V2>, BoxError> + Send + Sync + 'static,
    ) -> KTable<K, V2> {
        let f = Arc::new(f);
        let (on_change, upstream) = (f.clone(), self.lookup.clone());
        let draft = store.as_ref().map(|store| store_draft(store, true));
        // Without a name there is no store: its rows are computed from those of the table above.
        let stored = draft.as_ref().is_some_and(|draft| draft.name.is_some());
        let op = Op::TableOperator { prefix, store: draft };
        let call = Call::new(op, &[self.id]).part(Part::Main, move |assembly, id| {
            let sends_old = assembly.sends_old(id);
            let rows = assembly.store_of::<KeyValueStore<K, V2>>(id).map(|store| KeyValueRows::new(&store, sends_old));
            let (node, next, apply) = (assembly.info(id), assembly.output_of(id), on_change.clone());
            let is_filter = prefix == "KTABLE-FILTER";
            assembly.driven::<K, Change<V>, _>(
                id,
                TableFilterMap { apply, is_filter, rows, sends_old, node, next, types: PhantomData::<fn(V)> },
            )
        });
        let id = self.graph.add(call);
        let lookup: LookupFactory<K, V2> = Arc::new(move |assembly| {
            if stored {
                return Box::new(StoreLookup(assembly.store_of_call::<KeyValueStore<K, V2>>(id)));
            }
            let (mut upstream, f, store) = (upstream(assembly), f.clone(), prefix);
            Box::new(FnLookup(move |key: &K| match upstream.get(key)? {
                Some(row) => f(key, row).map_err(|source| crate::error::StoreError::Backend { store: store.to_owned(), source }),
                None => Ok(None),
            }))
        });
        KTable { graph: self.graph.clone(), id, lookup, ends: self.ends.clone() }
    }

    /// The changes as facts; none says that the row was deleted.
    pub fn to_stream(&self) -> KStream<K, Option<V>> {
        self.to_stream_as(|key, row| (key, row))
    }

    /// The changes as facts of another shape. The key may change its type but not what it means: the records stay in the
    /// partition they are in. To regroup them, follow with `select_key`.
    pub fn to_stream_as<K2: Data, V2: Data>(&self, f: impl Fn(K, Option<V>) -> (K2, V2) + Send + Sync + 'static) -> KStream<K2, V2> {
        let f = Arc::new(f);
        let call = Call::new(Op::ToStream, &[self.id]).part(Part::Main, move |assembly, id| {
            let node = ToStream { apply: f.clone(), next: assembly.output_of::<K2, V2>(id) };
            erase_named::<K, Change<V>>(assembly.info(id).name, node)
        });
        KStream::new(&self.graph, self.graph.add(call))
    }

    /// The new rows as facts, without the deletions.
    pub fn rows(&self) -> KStream<K, V> {
        self.to_stream().filter_map_values(|row| row)
    }

    /// Writes the changes to a topic, deletions as tombstones.
    pub fn to(&self, topic: impl Into<Produced<K, V>>) -> SinkHandle {
        self.to_stream().to(topic)
    }

    /// Holds updates back. The name of the state names the operator; its buffer is called `<name>-store`.
    pub fn suppress(&self, state: impl Names<SuppressStore<K, V>>, suppressed: Suppressed<K>) -> KTable<K, V> {
        let state = state.materialized();
        let mut store = store_draft(&state, true);
        store.spec.logging &= suppressed.logging;
        let name = store.name.take();
        let until = suppressed.until;
        let ends = self.ends.clone();
        let op = Op::Suppress { store, until_close: until == Until::WindowCloses };
        let buffer = suppressed.buffer;
        let call = Call::new(op, &[self.id]).named(name).part(Part::Main, move |assembly, id| {
            let rows = SuppressRows::new(&assembly.store_of::<SuppressStore<K, V>>(id).expect("replay gives a suppression its buffer"));
            let (node, next) = (assembly.info(id), assembly.output_of(id));
            let wait = wait_of(until, ends.clone());
            assembly.driven::<K, Change<V>, _>(id, Suppress { rows, wait, buffer, observed: Timestamp::UNKNOWN, node, next })
        });
        let id = self.graph.add(call);
        let upstream = self.lookup.clone();
        let lookup: LookupFactory<K, V> = Arc::new(move |assembly| {
            let buffer = SuppressRows::new(&assembly.store_of_call::<SuppressStore<K, V>>(id));
            Box::new(SuppressLookup { buffer, upstream: upstream(assembly) })
        });
        KTable { graph: self.graph.clone(), id, lookup, ends: self.ends.clone() }
    }
}

fn wait_of<K: 'static>(until: Until, ends: Option<WindowEnds<K>>) -> Wait<K> {
    match ends {
        Some(ends) => {
            Wait { until, end_of: ends.end_of, grace_ms: ends.grace_ms, bounded_extra_ms: ends.bounded_extra_ms, hold: Some(ends.hold) }
        }
        // Only a time limit gets here: `build` refuses to wait for the end of something that has no windows.
        None => Wait { until, end_of: Arc::new(|_| Timestamp::MAX), grace_ms: 0, bounded_extra_ms: 0, hold: None },
    }
}
