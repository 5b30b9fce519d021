//! A stream of facts.

use std::borrow::Cow;
use std::marker::PhantomData;
use std::sync::Arc;

use crate::dsl::builder::{stored_lookup, table_source, typed_source};
use crate::dsl::table::store_draft;
use crate::dsl::{Grouped, Joined, KGroupedStream, KTable, Produced, Repartitioned, Split};
use crate::error::{BoxError, OnError};
use crate::processor::{
    DynamicSink, Filter, FixedKeyProcessor, FixedNode, FlatMap, ForEach, InvalidTimestamp, Map, Next, NodeInfo, NullKeyFilter, Outcome,
    Pass, Processor, ProcessorNode, Reading, Receive, Sink, SinkContext, SinkValue, TableJoin, TryMap, Verdict,
};
use crate::record::{Data, Record};
use crate::serdes::DefaultSerde;
use crate::state::{KeyValueStore, Names, PlannedStore, StorePlan, StoreSet};
use crate::topology::Assembly;
use crate::topology::assemble::{erase, erase_named};
use crate::topology::draft::{Call, CallId, Graph, Op, Part, ProcessStore, SinkTopic, StoreDraft};

/// Records of one type, each a fact of its own. Cheap to clone; every operator leaves it usable.
pub struct KStream<K, V> {
    pub(crate) graph: Graph,
    pub(crate) id: CallId,
    types: PhantomData<fn() -> (K, V)>,
}

impl<K, V> Clone for KStream<K, V> {
    fn clone(&self) -> Self {
        KStream { graph: self.graph.clone(), id: self.id, types: PhantomData }
    }
}

// Operators that change the key ask later key-based operators for a repartition.
const REKEYS: bool = true;
const KEEPS_KEY: bool = false;

impl<K: Data, V: Data> KStream<K, V> {
    pub(crate) fn new(graph: &Graph, id: CallId) -> Self {
        KStream { graph: graph.clone(), id, types: PhantomData }
    }

    /// One node on this stream.
    fn operator<K2: Data, V2: Data, N: Receive<K, V> + 'static>(
        &self,
        prefix: &'static str,
        rekeys: bool,
        make: impl Fn(NodeInfo, Next<K2, V2>) -> N + Send + Sync + 'static,
    ) -> KStream<K2, V2> {
        let call = Call::new(Op::Operator { prefix, rekeys }, &[self.id]).part(Part::Main, move |assembly, id| {
            let (node, next) = (assembly.info(id), assembly.output_of(id));
            erase_named(node.name.clone(), make(node, next))
        });
        KStream::new(&self.graph, self.graph.add(call))
    }

    // ---- naming and failing: said after the operator they speak of -------------------------------------------

    /// Names the operator that made this stream, and nothing else.
    pub fn named(self, name: impl Into<Cow<'static, str>>) -> Self {
        let name = name.into().into_owned();
        self.graph.change(self.id, |call| call.name = Some(name));
        self
    }

    /// Decides what happens to records on which the operator that made this stream fails; says nothing of operators before it.
    pub fn on_error(self, policy: OnError) -> Self {
        self.graph.change(self.id, |call| call.on_error = Some(policy));
        self
    }

    // ---- one record at a time --------------------------------------------------------------------------------

    /// Keeps the records for which `keep` is true.
    pub fn filter<R: Verdict>(&self, keep: impl Fn(&K, &V) -> R + Send + Sync + 'static) -> KStream<K, V> {
        let test = Arc::new(keep);
        self.operator("KSTREAM-FILTER", KEEPS_KEY, move |node, next| Filter { test: test.clone(), keep: true, node, next })
    }

    /// Keeps the records for which `drop` is false.
    pub fn filter_not<R: Verdict>(&self, drop: impl Fn(&K, &V) -> R + Send + Sync + 'static) -> KStream<K, V> {
        let test = Arc::new(drop);
        self.operator("KSTREAM-FILTER", KEEPS_KEY, move |node, next| Filter { test: test.clone(), keep: false, node, next })
    }

    fn map_pair<K2: Data, V2: Data>(
        &self,
        prefix: &'static str,
        rekeys: bool,
        apply: impl Fn(K, V) -> (K2, V2) + Send + Sync + 'static,
    ) -> KStream<K2, V2> {
        let apply = Arc::new(apply);
        self.operator(prefix, rekeys, move |_, next| Map { apply: apply.clone(), next })
    }

    fn try_map_pair<K2: Data, V2: Data>(
        &self,
        prefix: &'static str,
        rekeys: bool,
        apply: impl Fn(K, V) -> Result<(K2, V2), BoxError> + Send + Sync + 'static,
    ) -> KStream<K2, V2> {
        let apply = Arc::new(apply);
        self.operator(prefix, rekeys, move |node, next| TryMap { apply: apply.clone(), node, next })
    }

    fn flat_map_pair<K2: Data, V2: Data, I: IntoIterator<Item = (K2, V2)> + 'static>(
        &self,
        prefix: &'static str,
        rekeys: bool,
        apply: impl Fn(K, V) -> Result<I, BoxError> + Send + Sync + 'static,
    ) -> KStream<K2, V2> {
        let apply = Arc::new(apply);
        self.operator(prefix, rekeys, move |node, next| FlatMap { apply: apply.clone(), node, next })
    }

    /// A new key and value for every record.
    pub fn map<K2: Data, V2: Data>(&self, f: impl Fn(K, V) -> (K2, V2) + Send + Sync + 'static) -> KStream<K2, V2> {
        self.map_pair("KSTREAM-MAP", REKEYS, f)
    }

    /// A new key and value, or an error for the policy.
    pub fn try_map<K2: Data, V2: Data, E: Into<BoxError>>(
        &self,
        f: impl Fn(K, V) -> Result<(K2, V2), E> + Send + Sync + 'static,
    ) -> KStream<K2, V2> {
        self.try_map_pair("KSTREAM-MAP", REKEYS, move |key, value| f(key, value).map_err(Into::into))
    }

    /// A new value under the same key.
    pub fn map_values<V2: Data>(&self, f: impl Fn(V) -> V2 + Send + Sync + 'static) -> KStream<K, V2> {
        self.map_values_with_key(move |_, value| f(value))
    }

    /// A new value that may depend on the key.
    pub fn map_values_with_key<V2: Data>(&self, f: impl Fn(&K, V) -> V2 + Send + Sync + 'static) -> KStream<K, V2> {
        self.map_pair("KSTREAM-MAPVALUES", KEEPS_KEY, move |key, value| {
            let value = f(&key, value);
            (key, value)
        })
    }

    /// A new value, or an error for the policy.
    pub fn try_map_values<V2: Data, E: Into<BoxError>>(&self, f: impl Fn(V) -> Result<V2, E> + Send + Sync + 'static) -> KStream<K, V2> {
        self.try_map_values_with_key(move |_, value| f(value))
    }

    /// A new value that may depend on the key, or an error for the policy.
    pub fn try_map_values_with_key<V2: Data, E: Into<BoxError>>(
        &self,
        f: impl Fn(&K, V) -> Result<V2, E> + Send + Sync + 'static,
    ) -> KStream<K, V2> {
        self.try_map_pair("KSTREAM-MAPVALUES", KEEPS_KEY, move |key, value| {
            let value = f(&key, value).map_err(Into::into)?;
            Ok((key, value))
        })
    }

    /// Keeps the records for which `f` gives a value.
    pub fn filter_map_values<V2: Data>(&self, f: impl Fn(V) -> Option<V2> + Send + Sync + 'static) -> KStream<K, V2> {
        self.flat_map_values(f)
    }

    /// Any number of records for each.
    pub fn flat_map<K2: Data, V2: Data, I: IntoIterator<Item = (K2, V2)> + 'static>(
        &self,
        f: impl Fn(K, V) -> I + Send + Sync + 'static,
    ) -> KStream<K2, V2> {
        self.flat_map_pair("KSTREAM-FLATMAP", REKEYS, move |key, value| Ok(f(key, value)))
    }

    /// Any number of records for each, or an error for the policy.
    pub fn try_flat_map<K2: Data, V2: Data, I: IntoIterator<Item = (K2, V2)> + 'static, E: Into<BoxError>>(
        &self,
        f: impl Fn(K, V) -> Result<I, E> + Send + Sync + 'static,
    ) -> KStream<K2, V2> {
        self.flat_map_pair("KSTREAM-FLATMAP", REKEYS, move |key, value| f(key, value).map_err(Into::into))
    }

    /// Any number of values for each, under the same key.
    pub fn flat_map_values<V2: Data, I: IntoIterator<Item = V2> + 'static>(
        &self,
        f: impl Fn(V) -> I + Send + Sync + 'static,
    ) -> KStream<K, V2> {
        self.flat_map_pair("KSTREAM-FLATMAPVALUES", KEEPS_KEY, move |key: K, value| {
            Ok(f(value).into_iter().map(move |value| (key.clone(), value)))
        })
    }

    /// Any number of values for each, which may depend on the key, or an error for the policy.
    pub fn try_flat_map_values_with_key<V2: Data, I: IntoIterator<Item = V2> + 'static, E: Into<BoxError>>(
        &self,
        f: impl Fn(&K, V) -> Result<I, E> + Send + Sync + 'static,
    ) -> KStream<K, V2> {
        self.flat_map_pair("KSTREAM-FLATMAPVALUES", KEEPS_KEY, move |key: K, value| {
            let values = f(&key, value).map_err(Into::into)?;
            Ok(values.into_iter().map(move |value| (key.clone(), value)))
        })
    }

    /// The same values under a new key.
    pub fn select_key<K2: Data>(&self, key: impl Fn(&K, &V) -> K2 + Send + Sync + 'static) -> KStream<K2, V> {
        self.map_pair("KSTREAM-KEY-SELECT", REKEYS, move |old, value| (key(&old, &value), value))
    }

    /// The same values under a new key, or an error for the policy.
    pub fn try_select_key<K2: Data, E: Into<BoxError>>(
        &self,
        key: impl Fn(&K, &V) -> Result<K2, E> + Send + Sync + 'static,
    ) -> KStream<K2, V> {
        self.try_map_pair("KSTREAM-KEY-SELECT", REKEYS, move |old, value| Ok((key(&old, &value).map_err(Into::into)?, value)))
    }

    /// Looks at every record.
    pub fn peek(&self, look: impl Fn(&K, &V) + Send + Sync + 'static) -> KStream<K, V> {
        self.map_pair("KSTREAM-PEEK", KEEPS_KEY, move |key, value| {
            look(&key, &value);
            (key, value)
        })
    }

    /// Ends the chain with a function, which may fail.
    pub fn for_each<R: Outcome>(&self, f: impl Fn(&K, V) -> R + Send + Sync + 'static) -> SinkHandle {
        let apply = Arc::new(f);
        let call = Call::new(Op::Operator { prefix: "KSTREAM-FOREACH", rekeys: KEEPS_KEY }, &[self.id])
            .part(Part::Main, move |assembly, id| {
                erase_named::<K, V>(assembly.info(id).name, ForEach { apply: apply.clone(), node: assembly.info(id) })
            });
        SinkHandle { graph: self.graph.clone(), id: self.graph.add(call) }
    }

    // ---- many streams ----------------------------------------------------------------------------------------

    /// Takes the stream apart: the first branch whose test is true gets the record.
    pub fn split(&self) -> Split<K, V> {
        Split::new(self.clone())
    }

    /// Both streams as one, in no particular order between them.
    pub fn merge(&self, other: &KStream<K, V>) -> KStream<K, V> {
        if !self.graph.same(&other.graph, "merge") {
            return self.clone();
        }
        let call =
            Call::new(Op::Merge, &[self.id, other.id]).part(Part::Main, |assembly, id| erase::<K, V>(Pass(assembly.output_of::<K, V>(id))));
        KStream::new(&self.graph, self.graph.add(call))
    }

    // ---- topics ----------------------------------------------------------------------------------------------

    /// Writes to a topic. A stream of `Option<V>` may be written to a topic of `V`: none is a tombstone.
    pub fn to<T: Data>(&self, topic: impl Into<Produced<K, T>>) -> SinkHandle
    where
        V: SinkValue<T>,
    {
        let Produced { topic, partition_by } = topic.into();
        let (key, value) = topic.serdes();
        let op = Op::Sink { topic: SinkTopic::Fixed(topic.name().to_owned()) };
        let call = Call::new(op, &[self.id]).part(Part::Main, move |assembly, id| {
            let (topic, node) = (assembly.sink_topic(id), assembly.info(id));
            erase_named::<K, V>(node.name.clone(), Sink::new(topic, key.clone(), value.clone(), partition_by.clone(), node))
        });
        SinkHandle { graph: self.graph.clone(), id: self.graph.add(call) }
    }

    /// Writes each record to the topic that `choose` names for it; all have the serdes of `like`, whose name is only a label.
    pub fn to_each<T: Data>(
        &self,
        like: impl Into<Produced<K, T>>,
        choose: impl Fn(&K, Option<&T>, &SinkContext<'_>) -> String + Send + Sync + 'static,
    ) -> SinkHandle
    where
        V: SinkValue<T>,
    {
        let Produced { topic, partition_by } = like.into();
        let (key, value) = topic.serdes();
        let choose = Arc::new(choose);
        let op = Op::Sink { topic: SinkTopic::Dynamic(topic.name().to_owned()) };
        let call = Call::new(op, &[self.id]).part(Part::Main, move |assembly, id| {
            let node = assembly.info(id);
            erase_named::<K, V>(node.name.clone(), DynamicSink::new(choose.clone(), key.clone(), value.clone(), partition_by.clone(), node))
        });
        SinkHandle { graph: self.graph.clone(), id: self.graph.add(call) }
    }

    /// Passes the records through a topic of the application's own, so that equal keys meet in one task.
    pub fn repartition(&self, topic: impl Into<Repartitioned<K, V>>) -> KStream<K, V> {
        let topic = topic.into();
        let name = topic.name.as_ref().map(|name| name.to_string());
        let call = Call::new(Op::Repartition { partitions: topic.partitions }, &[self.id]).named(name);
        KStream::new(&self.graph, self.graph.add(with_shuffle(call, &topic)))
    }

    /// The last value per key, kept in a store. A stream of `Option<V>` makes a table of `V`: none deletes the row.
    pub fn to_table<T: Data>(&self, store: impl Names<KeyValueStore<K, T>>) -> KTable<K, T>
    where
        V: SinkValue<T> + DefaultSerde,
        K: DefaultSerde,
    {
        self.to_table_with(store, Repartitioned::default())
    }

    /// The same, with codecs for the repartition topic it may need.
    pub fn to_table_with<T: Data>(&self, store: impl Names<KeyValueStore<K, T>>, topic: Repartitioned<K, V>) -> KTable<K, T>
    where
        V: SinkValue<T>,
    {
        let store = store.materialized();
        let (key, value) = store.store().serdes();
        let call =
            Call::new(Op::ToTable { store: store_draft(&store, true) }, &[self.id]).part(Part::Main, table_source::<K, T, V>(key, value));
        let id = self.graph.add(with_shuffle(call, &topic));
        KTable::new(&self.graph, id, stored_lookup(id))
    }

    // ---- grouping --------------------------------------------------------------------------------------------

    /// Groups by a new key, through a repartition topic named after the aggregate's store.
    pub fn group_by<K2>(&self, key: impl Fn(&K, &V) -> K2 + Send + Sync + 'static) -> KGroupedStream<K2, V>
    where
        K2: Data + DefaultSerde,
        V: DefaultSerde,
    {
        self.group_by_with(Grouped::default(), key)
    }

    /// Groups by a new key, with codecs of its own and, if the grouping has a name, one repartition topic for all its aggregates.
    pub fn group_by_with<K2: Data>(
        &self,
        grouped: impl Into<Grouped<K2, V>>,
        key: impl Fn(&K, &V) -> K2 + Send + Sync + 'static,
    ) -> KGroupedStream<K2, V> {
        self.try_group_by_with(grouped, move |old, value| Ok::<_, BoxError>(key(old, value)))
    }

    /// Groups by a new key, or an error for the policy.
    pub fn try_group_by_with<K2: Data, E: Into<BoxError>>(
        &self,
        grouped: impl Into<Grouped<K2, V>>,
        key: impl Fn(&K, &V) -> Result<K2, E> + Send + Sync + 'static,
    ) -> KGroupedStream<K2, V> {
        let (grouped, apply) = (grouped.into(), Arc::new(move |old: K, value: V| Ok((key(&old, &value).map_err(Into::into)?, value))));
        let op = Op::Group { select: true, partitions: grouped.partitions };
        let call = Call::new(op, &[self.id]).part(Part::Main, move |assembly, id| {
            let (node, next) = (assembly.info(id), assembly.output_of::<K2, V>(id));
            erase_named::<K, V>(node.name.clone(), TryMap { apply: apply.clone(), node, next })
        });
        KGroupedStream::new(&self.graph, call, grouped)
    }

    /// Groups by the key it has; after an operator that changed the key, through a repartition topic named after the aggregate's store.
    pub fn group_by_key(&self) -> KGroupedStream<K, V>
    where
        K: DefaultSerde,
        V: DefaultSerde,
    {
        self.group_by_key_with(Grouped::default())
    }

    /// Groups by the key it has, with codecs of its own.
    pub fn group_by_key_with(&self, grouped: impl Into<Grouped<K, V>>) -> KGroupedStream<K, V> {
        let grouped = grouped.into();
        let call = Call::new(Op::Group { select: false, partitions: grouped.partitions }, &[self.id]);
        KGroupedStream::new(&self.graph, call, grouped)
    }

    // ---- joins -----------------------------------------------------------------------------------------------

    /// Each record with the row its key has in the table now; records without a row are dropped.
    pub fn join_table<'t, T: Data, R: Data>(
        &self,
        table: impl Into<Joined<'t, K, V, T>>,
        join: impl Fn(V, T) -> R + Send + Sync + 'static,
    ) -> KStream<K, R> {
        self.try_join_table(table, move |_, value, row| Ok::<_, BoxError>(join(value, row)))
    }

    /// The same; the function sees the key and may fail.
    pub fn try_join_table<'t, T: Data, R: Data, E: Into<BoxError>>(
        &self,
        table: impl Into<Joined<'t, K, V, T>>,
        join: impl Fn(&K, V, T) -> Result<R, E> + Send + Sync + 'static,
    ) -> KStream<K, R> {
        self.look_up(table.into(), false, move |key, value, row| match row {
            Some(row) => join(key, value, row).map_err(Into::into),
            None => Err("an inner join is only called with a row".into()),
        })
    }

    /// Each record with the row its key has in the table now, or none.
    pub fn left_join_table<'t, T: Data, R: Data>(
        &self,
        table: impl Into<Joined<'t, K, V, T>>,
        join: impl Fn(V, Option<T>) -> R + Send + Sync + 'static,
    ) -> KStream<K, R> {
        self.try_left_join_table(table, move |_, value, row| Ok::<_, BoxError>(join(value, row)))
    }

    /// The same; the function sees the key and may fail.
    pub fn try_left_join_table<'t, T: Data, R: Data, E: Into<BoxError>>(
        &self,
        table: impl Into<Joined<'t, K, V, T>>,
        join: impl Fn(&K, V, Option<T>) -> Result<R, E> + Send + Sync + 'static,
    ) -> KStream<K, R> {
        self.look_up(table.into(), true, move |key, value, row| join(key, value, row).map_err(Into::into))
    }

    fn look_up<T: Data, R: Data>(
        &self,
        joined: Joined<'_, K, V, T>,
        left: bool,
        join: impl Fn(&K, V, Option<T>) -> Result<R, BoxError> + Send + Sync + 'static,
    ) -> KStream<K, R> {
        let Joined { table, name, key, value, grace } = joined;
        if !self.graph.same(&table.graph, "join_table") {
            return KStream::new(&self.graph, self.id);
        }
        let topic = Repartitioned { name: None, key: key.clone(), value: value.clone(), partitions: None, partition_by: None };
        let (lookup, join) = (table.lookup.clone(), Arc::new(join));
        let op = Op::JoinTable { left, grace_ms: grace.map(crate::record::millis), buffer: None };
        let call = Call::new(op, &[self.id, table.id]).named(name.map(Cow::into_owned)).part(Part::Main, move |assembly, id| {
            let (node, next, table) = (assembly.info(id), assembly.output_of::<K, R>(id), lookup(assembly));
            let name = node.name.clone();
            erase_named::<K, V>(name, TableJoin { table, key: key.clone(), value: value.clone(), left, join: join.clone(), node, next })
        });
        KStream::new(&self.graph, self.graph.add(with_shuffle(call, &topic)))
    }

    // ---- your own operator -----------------------------------------------------------------------------------

    /// Runs a processor of yours. `make` is called once per task with the stores named in `stores`.
    pub fn process<S, P, K2: Data, V2: Data>(&self, stores: S, make: impl Fn(S::Handles) -> P + Send + Sync + 'static) -> KStream<K2, V2>
    where
        S: StoreSet,
        P: Processor<In = Record<K, V>, Out = Record<K2, V2>>,
    {
        let op = Op::Process { stores: own_stores(&stores), fixed_key: false };
        let names = store_names(&stores);
        let call = Call::new(op, &[self.id]).part(Part::Main, move |assembly, id| {
            let (node, outputs) = (assembly.info(id), assembly.outputs_of::<K2, V2>(id));
            let processor = make(hand_out::<S>(&names, assembly));
            assembly.driven::<K, V, _>(id, ProcessorNode::new(processor, node, outputs, id))
        });
        KStream::new(&self.graph, self.graph.add(call))
    }

    /// Runs a processor of yours that cannot change the key, so that no repartition follows.
    pub fn process_values<S, P, V2: Data>(&self, stores: S, make: impl Fn(S::Handles) -> P + Send + Sync + 'static) -> KStream<K, V2>
    where
        S: StoreSet,
        P: FixedKeyProcessor<Key = K, In = V, Out = V2>,
    {
        let op = Op::Process { stores: own_stores(&stores), fixed_key: true };
        let names = store_names(&stores);
        let call = Call::new(op, &[self.id]).part(Part::Main, move |assembly, id| {
            let (node, outputs) = (assembly.info(id), assembly.outputs_of::<K, V2>(id));
            let processor = make(hand_out::<S>(&names, assembly));
            assembly.driven::<K, V, _>(id, FixedNode::new(processor, node, outputs, id))
        });
        KStream::new(&self.graph, self.graph.add(call))
    }
}

fn own_stores<S: StoreSet>(stores: &S) -> Vec<ProcessStore> {
    let own = |plan: PlannedStore| {
        let StorePlan { name, spec, open, of } = plan.0;
        ProcessStore::Own(StoreDraft { name, spec, open, of: Some(of), asked_for: true })
    };
    stores.plans().into_iter().map(own).collect()
}

fn store_names<S: StoreSet>(stores: &S) -> Vec<String> {
    stores.plans().into_iter().map(|plan| plan.0.name.unwrap_or_default()).collect()
}

fn hand_out<S: StoreSet>(names: &[String], assembly: &mut Assembly<'_>) -> S::Handles {
    let mut names = names.iter();
    S::hand_out(&mut || assembly.handle(names.next().expect("as many handles as plans are taken")))
}

/// The three nodes of a repartition topic: filter, sink, source. The filter drops null keys, unless a left join wants them.
pub(crate) fn with_shuffle<K: Data, V: Data>(call: Call, topic: &Repartitioned<K, V>) -> Call {
    let (filter_key, key, value, partition_by) = (topic.key.clone(), topic.key.clone(), topic.value.clone(), topic.partition_by.clone());
    let call = call.part(Part::ShuffleFilter, move |assembly, id| {
        let next = assembly.output_of::<K, V>(id);
        match assembly.null_keys_welcome_behind(id) {
            true => erase::<K, V>(Pass(next)),
            false => erase::<K, V>(NullKeyFilter { key: filter_key.clone(), next }),
        }
    });
    let call = call.part(Part::ShuffleSink, move |assembly, id| {
        let (topic, node) = (assembly.sink_topic(id), assembly.info(id));
        erase::<K, V>(Sink::new(topic, key.clone(), value.clone(), partition_by.clone(), node))
    });
    let (key, value) = (topic.key.clone(), topic.value.clone());
    let reading = Reading { key, value, timestamps: None, invalid: InvalidTimestamp::Fail, bad_time_to: None };
    call.part(Part::ShuffleSource, typed_source(reading))
}

/// The end of a chain; only its name and its policy can still be said.
pub struct SinkHandle {
    graph: Graph,
    id: CallId,
}

impl SinkHandle {
    /// Names the sink.
    pub fn named(self, name: impl Into<Cow<'static, str>>) -> Self {
        let name = name.into().into_owned();
        self.graph.change(self.id, |call| call.name = Some(name));
        self
    }
    /// Decides what happens to records that the sink cannot write.
    pub fn on_error(self, policy: OnError) -> Self {
        self.graph.change(self.id, |call| call.on_error = Some(policy));
        self
    }
}
