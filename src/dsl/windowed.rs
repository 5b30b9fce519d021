//! Grouped streams cut into windows, and their aggregates.

use std::sync::Arc;

use crate::dsl::table::{WindowEnds, store_draft};
use crate::dsl::{KGroupedStream, KTable, Topic};
use crate::error::BoxError;
use crate::processor::aggregate::{Fold, Merge, Reduce, Step};
use crate::processor::{
    FnLookup, Late, NodeClock, NodeInfo, Outcome, SessionAggregate, SessionRows, Sink, SlidingAggregate, TimeAggregate, WindowBounds,
    WindowRows,
};
use crate::record::{Data, Timestamp, millis};
use crate::serdes::SharedSerde;
use crate::state::{Materialized, Names, SessionStore, Store, WindowStore};
use crate::topology::draft::{Call, Op, Part, StoreDraft, WindowFacts, WindowKind};
use crate::watermark::Closing;
use crate::window::{EmitStrategy, SessionWindow, SessionWindows, SlidingWindows, TimeWindows, UnlimitedWindows, Windowed};

#[derive(Clone, Copy)]
pub(crate) enum TimeWindowKind {
    Aligned(TimeWindows),
    Sliding(SlidingWindows),
    Unlimited(UnlimitedWindows),
}

/// What made an aggregate, for its name.
#[derive(Clone, Copy)]
struct Made {
    prefix: &'static str,
    counts: bool,
}

const COUNT: Made = Made { prefix: "KSTREAM-AGGREGATE", counts: true };
const AGGREGATE: Made = Made { prefix: "KSTREAM-AGGREGATE", counts: false };
const REDUCE: Made = Made { prefix: "KSTREAM-REDUCE", counts: false };

impl Made {
    fn op(self, store: StoreDraft, facts: WindowFacts) -> Op {
        Op::Aggregate { prefix: self.prefix, counts: self.counts, store, windows: Some(facts) }
    }
}

/// Where late records go.
type LateTopic<K, V> = Option<(Arc<str>, SharedSerde<K>, SharedSerde<V>)>;

fn late_topic<K, V>(topic: &Topic<K, V>) -> LateTopic<K, V> {
    let (key, value) = topic.serdes();
    Some((topic.name().into(), key, value))
}

fn late_node<K: Data, V: Data>(topic: &LateTopic<K, V>, node: &NodeInfo) -> Late<K, V> {
    Late(topic.as_ref().map(|(topic, key, value)| -> crate::processor::Next<K, V> {
        Box::new(Sink::<K, V>::new(topic.clone(), key.clone(), value.clone(), None, node.clone()))
    }))
}

/// A grouped stream cut into tumbling, hopping, sliding or unlimited windows.
pub struct TimeWindowedKStream<K, V> {
    grouped: KGroupedStream<K, V>,
    kind: TimeWindowKind,
    emit: EmitStrategy,
    late: LateTopic<K, V>,
}

impl<K: Data, V: Data> TimeWindowedKStream<K, V> {
    pub(crate) fn new(grouped: KGroupedStream<K, V>, kind: TimeWindowKind) -> Self {
        TimeWindowedKStream { grouped, kind, emit: EmitStrategy::default(), late: None }
    }
    /// When results come out.
    pub fn emit(mut self, strategy: EmitStrategy) -> Self {
        self.emit = strategy;
        self
    }
    /// Where records go that come after their windows closed; they are counted and dropped otherwise. One record per late
    /// record, with the windows it missed in its headers.
    pub fn late_to(mut self, topic: Topic<K, V>) -> Self {
        self.late = late_topic(&topic);
        self
    }

    /// How many records each key and window has had.
    pub fn count(&self, store: impl Names<WindowStore<K, i64>>) -> KTable<Windowed<K>, i64> {
        self.aggregate_by(store, COUNT, Fold { init: || 0, fold: |_: &K, _: V, count: &mut i64| *count += 1 })
    }

    /// Folds the values of each key and window into one of the same type.
    pub fn reduce(
        &self,
        store: impl Names<WindowStore<K, V>>,
        reduce: impl Fn(V, V) -> V + Send + Sync + 'static,
    ) -> KTable<Windowed<K>, V> {
        self.try_reduce(store, move |row, value| Ok::<_, BoxError>(reduce(row, value)))
    }

    /// The same, or an error for the policy.
    pub fn try_reduce<E: Into<BoxError>>(
        &self,
        store: impl Names<WindowStore<K, V>>,
        reduce: impl Fn(V, V) -> Result<V, E> + Send + Sync + 'static,
    ) -> KTable<Windowed<K>, V> {
        let step = Reduce { reduce: move |row, value| reduce(row, value).map_err(Into::into), value: self.grouped.value.clone() };
        self.aggregate_by(store, REDUCE, step)
    }

    /// Folds the values of each key and window into a row, changed in place.
    pub fn aggregate<A: Data, O: Outcome + 'static>(
        &self,
        store: impl Names<WindowStore<K, A>>,
        init: impl Fn() -> A + Send + Sync + 'static,
        fold: impl Fn(&K, V, &mut A) -> O + Send + Sync + 'static,
    ) -> KTable<Windowed<K>, A> {
        self.aggregate_by(store, AGGREGATE, Fold { init, fold })
    }

    fn facts(&self) -> WindowFacts {
        let on_close = self.emit.on_close;
        match self.kind {
            TimeWindowKind::Aligned(windows) => WindowFacts {
                kind: WindowKind::Time,
                size_ms: millis(windows.size),
                advance_ms: millis(windows.advance),
                grace_ms: millis(windows.grace),
                on_close,
                problem: windows.problem(),
            },
            TimeWindowKind::Sliding(windows) => WindowFacts {
                kind: WindowKind::Sliding,
                size_ms: millis(windows.difference),
                advance_ms: 0,
                grace_ms: millis(windows.grace),
                on_close,
                problem: windows.problem(),
            },
            TimeWindowKind::Unlimited(windows) => {
                WindowFacts { kind: WindowKind::Unlimited, size_ms: 0, advance_ms: 0, grace_ms: 0, on_close, problem: windows.problem() }
            }
        }
    }

    fn aggregate_by<A: Data>(&self, store: impl Names<WindowStore<K, A>>, made: Made, step: impl Step<K, V, A>) -> KTable<Windowed<K>, A> {
        let (store, facts) = (store.materialized(), self.facts());
        let op = made.op(window_draft(&store, &facts), facts);
        let call = Call::new(op, &[self.grouped.id]).part(Part::Main, self.node::<A>(Arc::new(step)));
        let id = self.grouped.graph.add(call);
        let lookup = Arc::new(move |assembly: &mut crate::topology::Assembly<'_>| -> Box<dyn crate::processor::Lookup<Windowed<K>, A>> {
            let store = assembly.store_of_call::<WindowStore<K, A>>(id);
            Box::new(FnLookup(move |key: &Windowed<K>| store.get(&key.key, key.window.start)))
        });
        let mut table = KTable::new(&self.grouped.graph, id, lookup);
        table.ends = self.ends();
        table
    }

    fn node<A: Data>(
        &self,
        step: Arc<impl Step<K, V, A>>,
    ) -> impl Fn(&mut crate::topology::Assembly<'_>, crate::topology::NodeId) -> crate::topology::draft::Erased + Send + Sync + 'static
    {
        let (kind, on_close, late_to) = (self.kind, self.emit.on_close, self.late.clone());
        let (key, value) = (self.grouped.key.clone(), self.grouped.value.clone());
        move |assembly, id| {
            let sends_old = assembly.sends_old(id);
            let store = assembly.store_of::<WindowStore<K, A>>(id).expect("an aggregate has a store");
            let (node, next) = (assembly.info(id), assembly.output_of(id));
            let (rows, late, clock) = (WindowRows::new(&store, sends_old, !on_close), late_node(&late_to, &node), NodeClock::default());
            let (key, step) = (key.clone(), step.clone());
            let windows = match kind {
                TimeWindowKind::Aligned(windows) => WindowBounds::Aligned(windows),
                TimeWindowKind::Unlimited(windows) => WindowBounds::Unlimited(windows),
                TimeWindowKind::Sliding(windows) => {
                    let value = value.clone();
                    let node =
                        SlidingAggregate { rows, windows, on_close, key, value, step, sends_old, clock, cursor: None, late, node, next };
                    return assembly.driven::<K, V, _>(id, node);
                }
            };
            let node = TimeAggregate { rows, windows, on_close, key, step, sends_old, clock, late, node, next, scratch: Vec::new() };
            assembly.driven::<K, V, _>(id, node)
        }
    }

    fn ends(&self) -> Option<WindowEnds<Windowed<K>>> {
        let end_of = Arc::new(|key: &Windowed<K>| key.window.end);
        match self.kind {
            TimeWindowKind::Aligned(windows) => {
                Some(WindowEnds { end_of, grace_ms: millis(windows.grace), bounded_extra_ms: 0, hold: Arc::new(move |w| windows.hold(w)) })
            }
            TimeWindowKind::Sliding(windows) => {
                Some(WindowEnds { end_of, grace_ms: millis(windows.grace), bounded_extra_ms: 1, hold: Arc::new(move |w| windows.hold(w)) })
            }
            TimeWindowKind::Unlimited(_) => {
                Some(WindowEnds { end_of: Arc::new(|_| Timestamp::MAX), grace_ms: 0, bounded_extra_ms: 0, hold: Arc::new(|w| w) })
            }
        }
    }
}

/// The store of a windowed aggregate knows the length of its windows. `build` decides how long it keeps them (KS-W9).
fn window_draft<S: Store>(store: &Materialized<S>, facts: &WindowFacts) -> StoreDraft {
    let mut draft = store_draft(store, store.is_explicit());
    if let crate::state::StoreKind::Window { size_ms, .. } = &mut draft.spec.kind {
        *size_ms = if facts.kind == WindowKind::Unlimited { i64::MAX } else { facts.size_ms };
    }
    if facts.on_close && matches!(facts.kind, WindowKind::Sliding | WindowKind::Session) {
        draft.spec.caching = Some(false); // as Kafka Streams: nothing is emitted at a flush, and closing reads the store
    }
    draft
}

/// A grouped stream cut into sessions.
pub struct SessionWindowedKStream<K, V> {
    grouped: KGroupedStream<K, V>,
    windows: SessionWindows,
    emit: EmitStrategy,
    late: LateTopic<K, V>,
}

impl<K: Data, V: Data> SessionWindowedKStream<K, V> {
    pub(crate) fn new(grouped: KGroupedStream<K, V>, windows: SessionWindows) -> Self {
        SessionWindowedKStream { grouped, windows, emit: EmitStrategy::default(), late: None }
    }
    /// When results come out.
    pub fn emit(mut self, strategy: EmitStrategy) -> Self {
        self.emit = strategy;
        self
    }
    /// Where records go that come after their session closed; they are counted and dropped otherwise.
    pub fn late_to(mut self, topic: Topic<K, V>) -> Self {
        self.late = late_topic(&topic);
        self
    }
    /// How many records each session has had.
    pub fn count(&self, store: impl Names<SessionStore<K, i64>>) -> KTable<Windowed<K, SessionWindow>, i64> {
        let store = store.materialized();
        let merge = MergeRows { merge: |_: &K, one: i64, other: i64| Ok(one + other), value: store.store().serdes().1 };
        self.aggregate_by(store, COUNT, Fold { init: || 0, fold: |_: &K, _: V, count: &mut i64| *count += 1 }, merge)
    }
    /// Folds the values of each session into one of the same type.
    pub fn reduce(
        &self,
        store: impl Names<SessionStore<K, V>>,
        reduce: impl Fn(V, V) -> V + Send + Sync + 'static,
    ) -> KTable<Windowed<K, SessionWindow>, V> {
        self.try_reduce(store, move |row, value| Ok::<_, BoxError>(reduce(row, value)))
    }
    /// The same, or an error for the policy.
    pub fn try_reduce<E: Into<BoxError>>(
        &self,
        store: impl Names<SessionStore<K, V>>,
        reduce: impl Fn(V, V) -> Result<V, E> + Send + Sync + 'static,
    ) -> KTable<Windowed<K, SessionWindow>, V> {
        let reduce = Arc::new(move |row, value| reduce(row, value).map_err(Into::into));
        let (one, other, value) = (reduce.clone(), reduce, self.grouped.value.clone());
        let step = Reduce { reduce: move |row, value| one(row, value), value: value.clone() };
        self.aggregate_by(store, REDUCE, step, MergeRows { merge: move |_: &K, one, two| other(one, two), value })
    }
    /// Folds the values of each session into a row, changed in place; `merge` makes one row of two sessions that grew together.
    pub fn aggregate<A: Data, O: Outcome + 'static>(
        &self,
        store: impl Names<SessionStore<K, A>>,
        init: impl Fn() -> A + Send + Sync + 'static,
        fold: impl Fn(&K, V, &mut A) -> O + Send + Sync + 'static,
        merge: impl Fn(&K, A, A) -> A + Send + Sync + 'static,
    ) -> KTable<Windowed<K, SessionWindow>, A> {
        self.try_aggregate(store, init, fold, move |key, one, other| Ok::<_, BoxError>(merge(key, one, other)))
    }
    /// The same with a merge that may fail.
    pub fn try_aggregate<A: Data, O: Outcome + 'static, E: Into<BoxError>>(
        &self,
        store: impl Names<SessionStore<K, A>>,
        init: impl Fn() -> A + Send + Sync + 'static,
        fold: impl Fn(&K, V, &mut A) -> O + Send + Sync + 'static,
        merge: impl Fn(&K, A, A) -> Result<A, E> + Send + Sync + 'static,
    ) -> KTable<Windowed<K, SessionWindow>, A> {
        let store = store.materialized();
        let value = store.store().serdes().1;
        let merge = MergeRows { merge: move |key: &K, one, other| merge(key, one, other).map_err(Into::into), value };
        self.aggregate_by(store, AGGREGATE, Fold { init, fold }, merge)
    }

    fn aggregate_by<A: Data>(
        &self,
        store: impl Names<SessionStore<K, A>>,
        made: Made,
        step: impl Step<K, V, A>,
        merge: impl Merge<K, A>,
    ) -> KTable<Windowed<K, SessionWindow>, A> {
        let (store, windows, on_close, late_to) = (store.materialized(), self.windows, self.emit.on_close, self.late.clone());
        let facts = WindowFacts {
            kind: WindowKind::Session,
            size_ms: millis(windows.gap),
            advance_ms: 0,
            grace_ms: millis(windows.grace),
            on_close,
            problem: None,
        };
        let op = made.op(window_draft(&store, &facts), facts);
        let (key, step, merge) = (self.grouped.key.clone(), Arc::new(step), Arc::new(merge));
        let call = Call::new(op, &[self.grouped.id]).part(Part::Main, move |assembly, id| {
            let sends_old = assembly.sends_old(id);
            let store = assembly.store_of::<SessionStore<K, A>>(id).expect("an aggregate has a store");
            let (node, next) = (assembly.info(id), assembly.output_of(id));
            let (rows, late, clock) = (SessionRows::new(&store, sends_old, !on_close), late_node(&late_to, &node), NodeClock::default());
            let (key, step, merge) = (key.clone(), step.clone(), merge.clone());
            let node = SessionAggregate { rows, windows, on_close, key, step, merge, sends_old, clock, late, node, next };
            assembly.driven::<K, V, _>(id, node)
        });
        let id = self.grouped.graph.add(call);
        let lookup = Arc::new(
            move |assembly: &mut crate::topology::Assembly<'_>| -> Box<dyn crate::processor::Lookup<Windowed<K, SessionWindow>, A>> {
                let store = assembly.store_of_call::<SessionStore<K, A>>(id);
                Box::new(FnLookup(move |key: &Windowed<K, SessionWindow>| store.get(&key.key, key.window)))
            },
        );
        let mut table = KTable::new(&self.grouped.graph, id, lookup);
        table.ends = Some(WindowEnds {
            end_of: Arc::new(|key: &Windowed<K, SessionWindow>| key.window.end),
            grace_ms: millis(windows.grace).saturating_add(millis(windows.gap)),
            bounded_extra_ms: 1,
            hold: Arc::new(move |w| windows.hold(w)),
        });
        table
    }
}

/// Merges the rows of two sessions; a missing row is the other one.
struct MergeRows<F, A> {
    merge: F,
    value: SharedSerde<A>,
}

impl<K, A: Data, F> Merge<K, A> for MergeRows<F, A>
where
    F: Fn(&K, A, A) -> Result<A, BoxError> + Send + Sync + 'static,
{
    fn merge(&self, key: &K, one: Option<A>, other: A) -> Result<Option<A>, BoxError> {
        let merged = match one {
            Some(one) => (self.merge)(key, one, other)?,
            None => other,
        };
        Ok((!self.value.is_null(&merged)).then_some(merged))
    }
}
