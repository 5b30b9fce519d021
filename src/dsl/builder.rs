//! The entry points: sources, tables, stores, and `build`.

use std::sync::Arc;

use crate::config::BuildSettings;
use crate::dsl::options::Decode;
use crate::dsl::table::{LookupFactory, store_draft};
use crate::dsl::{Consumed, KStream, KTable};
use crate::error::{TopologyError, TopologyProblem};
use crate::processor::{
    Extract, KeyValueRows, Next, RawSource, Reading, ReceiveRaw, Shared, Source, SourceMaker, StoreLookup, TableSource,
};
use crate::record::Data;
use crate::serdes::{Nullable, SharedSerde};
use crate::state::{KeyValueStore, Materialized, Names, Store, StoreRef};
use crate::topology::draft::{Call, Erased, Graph, Op, Part, StoreDraft};
use crate::topology::{Assembly, NodeId, Topology};

/// Collects a topology. Streams and tables made by it stay valid until `build`.
///
/// ```
/// use highwater::{StreamsBuilder, Topic};
///
/// const LINES: Topic<String, String> = Topic::new("lines");
/// const LOUD: Topic<String, String> = Topic::new("loud-lines");
///
/// let builder = StreamsBuilder::new();
/// builder.stream(LINES).map_values(|line| line.to_uppercase()).to(LOUD);
/// let topology = builder.build()?;
/// assert!(topology.describe().contains("KSTREAM-MAPVALUES-0000000001"));
/// # Ok::<(), highwater::TopologyError>(())
/// ```
#[derive(Default)]
pub struct StreamsBuilder {
    graph: Graph,
}

impl StreamsBuilder {
    /// An empty builder.
    pub fn new() -> Self {
        StreamsBuilder::default()
    }

    /// An empty builder with settings of its own.
    pub fn with_settings(settings: BuildSettings) -> Self {
        let builder = StreamsBuilder::default();
        builder.graph.0.borrow_mut().settings = settings;
        builder
    }

    /// Topics as a stream of facts. A null is an error unless its type is an `Option`.
    pub fn stream<K: Data, V: Data>(&self, from: impl Into<Consumed<K, V>>) -> KStream<K, V> {
        let Consumed { topics, decode, invalid, watermark, bad_time_to, reset, on_error } = from.into();
        let topics: Vec<String> = topics.into_iter().map(Into::into).collect();
        if let Decode::Serdes { key, value, .. } = &decode {
            self.check_readable(&topics, [key.source_problem(), value.source_problem()]);
        }
        let bad_time_to: Option<Arc<str>> = bad_time_to.map(|topic| (*topic).into());
        let call = Call::new(Op::Stream { topics, watermark, reset }, &[]).typed::<K, V>().on_error(on_error);
        let call = match decode {
            Decode::Serdes { key, value, timestamps } => {
                call.part(Part::Main, typed_source(Reading { key, value, timestamps, invalid, bad_time_to }))
            }
            Decode::Raw(decode) => call.part(Part::Main, move |assembly, id| {
                let (decode, bad_time_to) = (decode.clone(), bad_time_to.clone());
                make_source::<K, V>(assembly, id, move |node, next| {
                    Box::new(RawSource::new(decode.clone(), bad_time_to.clone(), node, Box::new(next)))
                })
            }),
        };
        KStream::new(&self.graph, self.graph.add(call))
    }

    /// A topic as a table: the last value per key, a null deletes. It has no store unless an operator needs one.
    pub fn table<K: Data, V: Data + Sync>(&self, from: impl Into<Consumed<K, V>>) -> KTable<K, V> {
        self.add_table(None, from.into())
    }

    /// A table in a store of your own.
    pub fn table_as<K: Data, V: Data + Sync>(
        &self,
        store: impl Names<KeyValueStore<K, V>>,
        from: impl Into<Consumed<K, V>>,
    ) -> KTable<K, V> {
        self.add_table(Some(store.materialized()), from.into())
    }

    fn add_table<K: Data, V: Data + Sync>(&self, store: Option<Materialized<KeyValueStore<K, V>>>, from: Consumed<K, V>) -> KTable<K, V> {
        let Consumed { topics, decode, invalid, watermark, bad_time_to, reset, on_error } = from;
        let Decode::Serdes { key, value, timestamps } = decode else {
            self.graph.problem(TopologyProblem::InvalidOption {
                node: topics.join(", "),
                reason: "a table needs serdes to keep its rows: make `Consumed` from a `Topic`, not with `raw`".to_owned(),
            });
            return KTable::broken(&self.graph);
        };
        let topics: Vec<String> = topics.into_iter().map(Into::into).collect();
        self.check_readable(&topics, [key.source_problem(), value.source_problem()]);
        let asked_for = store.is_some();
        let store = store.unwrap_or_else(|| Materialized::with(StoreRef::unnamed(key.clone(), value.clone())));
        let topic = topics.first().cloned().unwrap_or_default();
        let op = Op::Table { topic, watermark, reset, store: store_draft(&store, asked_for) };
        let bad_time_to: Option<Arc<str>> = bad_time_to.map(|topic| (*topic).into());
        let timestamps = timestamps.map(|extract| tombstones_too(extract, value.clone()));
        let row: SharedSerde<Option<V>> = Arc::new(Nullable(value.clone()));
        let reading = Reading { key: key.clone(), value: row, timestamps, invalid, bad_time_to };
        let call = Call::new(op, &[]).on_error(on_error).part(Part::Source, typed_source(reading));
        let call = call.part(Part::Main, table_source::<K, V, Option<V>>(key, value));
        let id = self.graph.add(call);
        KTable::new(&self.graph, id, stored_lookup(id))
    }

    fn check_readable(&self, topics: &[String], problems: [Option<&'static str>; 2]) {
        for reason in problems.into_iter().flatten() {
            let (node, reason) = (topics.join(", "), reason.to_owned());
            self.graph.problem(TopologyProblem::InvalidOption { node, reason });
        }
    }

    /// Adds a store for processors that name it.
    pub fn add_store<S: Store>(&self, store: impl Names<S>) {
        let store = store.materialized();
        let crate::state::StorePlan { name, spec, open, of } = store.plan();
        self.graph.add(Call::new(Op::AddStore { store: StoreDraft { name, spec, open, of: Some(of), asked_for: true } }, &[]));
    }

    /// Checks the whole topology, and names everything in it.
    ///
    /// # Errors
    /// Every problem at once, in the order of the calls, each with its fix in the text.
    pub fn build(self) -> Result<Topology, TopologyError> {
        Topology::build(self.graph.0.take())
    }
}

/// Event time of a table's rows. A tombstone is shown to the function only if its type has a null; else its own time counts.
fn tombstones_too<K: Data, V: Data>(extract: Extract<K, V>, value: SharedSerde<V>) -> Extract<K, Option<V>> {
    Arc::new(move |raw, partition_time, key, row| match row {
        Some(row) => extract(raw, partition_time, key, row),
        None => value.deserialize_null().map_or(raw.timestamp, |null| extract(raw, partition_time, key, &null)),
    })
}

/// The factory of a source that decodes with serdes.
pub(crate) fn typed_source<K: Data, V: Data>(reading: Reading<K, V>) -> impl Fn(&mut Assembly<'_>, NodeId) -> Erased {
    move |assembly, id| {
        let reading = reading.clone();
        make_source(assembly, id, move |node, next| Box::new(Source::new(reading.clone(), node, next)))
    }
}

/// A factory's source: as many heads over the same nodes as there are input partitions. One alone shares them with nobody.
pub(crate) fn make_source<K: Data, V: Data>(
    assembly: &mut Assembly<'_>,
    id: NodeId,
    make: impl Fn(crate::processor::NodeInfo, Next<K, V>) -> Box<dyn ReceiveRaw> + Send + 'static,
) -> Erased {
    let (node, next) = (assembly.info(id), assembly.output_of::<K, V>(id));
    let maker: SourceMaker = Box::new(move |heads| {
        if heads == 1 {
            return vec![make(node, next)];
        }
        let next = Shared(Arc::new(std::sync::Mutex::new(next)));
        (0..heads).map(|_| make(node.clone(), Box::new(next.clone()))).collect()
    });
    Box::new(maker)
}

/// The factory of a KTABLE-SOURCE or KSTREAM-TOTABLE node that is fed `T`.
pub(crate) fn table_source<K: Data, V: Data, T: crate::processor::SinkValue<V>>(
    key: SharedSerde<K>,
    value: SharedSerde<V>,
) -> impl Fn(&mut Assembly<'_>, NodeId) -> Erased + Send + Sync + 'static {
    move |assembly, id| {
        let rows = assembly.store_of::<KeyValueStore<K, V>>(id).map(|store| KeyValueRows::new(&store, assembly.sends_old(id)));
        let (node, next, sends_old) = (assembly.info(id), assembly.output_of(id), assembly.sends_old(id));
        let table = TableSource { rows, key: key.clone(), value: value.clone(), sends_old, node, next };
        assembly.driven::<K, T, _>(id, table)
    }
}

/// Reads the store of a call.
pub(crate) fn stored_lookup<K: Data, V: Data>(call: crate::topology::draft::CallId) -> LookupFactory<K, V> {
    Arc::new(move |assembly| Box::new(StoreLookup(assembly.store_of_call::<KeyValueStore<K, V>>(call))))
}
