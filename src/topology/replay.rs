//! From calls to a [`Plan`]: names, numbers, repartition topics and sub-topologies, as Kafka Streams 4.3.1 gives them.
//!
//! 1. Each call is replayed in order: it takes numbers and adds nodes to a logical graph (`graph`, `streams`, `tables`).
//! 2. Sources of equal topics are merged, and the graph is written node by node (`write`). 3. `check` and `time` judge.

mod check;
mod graph;
mod streams;
mod tables;
mod write;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crate::config::BuildSettings;
use crate::error::TopologyProblem;
use crate::topology::draft::{Call, CallId, Draft, Op, StoreDraft};
use crate::topology::naming::Names;
use crate::topology::node::{CallFacts, Plan};
use crate::topology::replay::graph::{Content, Graph, GraphId, NamedStore, ROOT};
use crate::topology::replay::write::Written;
use crate::topology::time;

/// Decides everything about a topology, or tells everything that is wrong with it.
pub(crate) fn replay(draft: Draft) -> Result<Plan, Vec<TopologyProblem>> {
    let mut replay = Replay::new(draft.settings, draft.problems);
    for (id, call) in draft.calls.iter().enumerate() {
        check::names(call, &mut replay.problems);
        let value = replay.call(id, call);
        replay.values.push(value);
    }
    replay.finish(draft.calls)
}

/// A stream, as later calls see it.
#[derive(Clone)]
struct Stream {
    name: String,
    graph: GraphId,
    /// The sources above it, up to the last repartition topic.
    sources: BTreeSet<GraphId>,
    /// The operator that changed the key since the last repartition topic.
    rekeyed_by: Option<String>,
    /// The shuffle that an earlier join of this very stream made.
    shuffled: Option<GraphId>,
}

/// A grouped stream.
#[derive(Clone)]
struct Group {
    call: CallId,
    graph: GraphId,
    sources: BTreeSet<GraphId>,
    rekeyed_by: Option<String>,
    /// The author's name of the grouping: its aggregates share one topic.
    name: Option<String>,
    partitions: Option<i32>,
    shuffled: Option<GraphId>,
}

/// A table.
#[derive(Clone)]
struct Table {
    graph: GraphId,
    sources: BTreeSet<GraphId>,
    from: Made,
    /// Old values were asked of this table.
    asked: bool,
    /// Its processor sends old values along.
    sends_old: bool,
}

/// How a table is made: it decides where its rows can be looked up.
#[derive(Clone)]
enum Made {
    /// From a topic or a stream; the store exists only if `kept`.
    Source { store: NamedStore, kept: bool },
    /// By an aggregate, which always has a store.
    Aggregate { store: String },
    /// From another table, with a store or without.
    View { parent: CallId, store: Option<String> },
    /// By holding back another table's updates in a buffer.
    Suppress { parent: CallId, buffer: String },
}

/// What a call gives.
#[derive(Clone)]
enum Value {
    Stream(Stream),
    Split(Stream),
    Group(Group),
    Table(Table),
    Nothing,
}

struct Replay {
    settings: BuildSettings,
    names: Names,
    graph: Graph,
    values: Vec<Value>,
    facts: HashMap<CallId, CallFacts>,
    problems: Vec<TopologyProblem>,
    /// Groups of sources that must have equally many partitions.
    copartitioned: Vec<BTreeSet<GraphId>>,
    /// Stores and repartition topics whose name was generated.
    generated_stores: BTreeSet<String>,
    generated_topics: BTreeSet<String>,
    /// Grace of windowed aggregates, by their node.
    graces: HashMap<GraphId, i64>,
}

impl Replay {
    fn new(settings: BuildSettings, problems: Vec<TopologyProblem>) -> Self {
        Replay {
            settings,
            names: Names::default(),
            graph: Graph::new(),
            values: Vec::new(),
            facts: HashMap::new(),
            problems,
            copartitioned: Vec::new(),
            generated_stores: BTreeSet::new(),
            generated_topics: BTreeSet::new(),
            graces: HashMap::new(),
        }
    }

    /// Replays one call. A missing input was reported when the call was made, and gives nothing.
    fn call(&mut self, id: CallId, call: &Call) -> Value {
        let welcomes_null_keys = matches!(call.op, Op::JoinTable { left: true, .. });
        self.facts.insert(id, CallFacts { on_error: call.on_error.clone(), welcomes_null_keys, ..CallFacts::default() });
        let value = match &call.op {
            Op::AddStore { store } => {
                let store = self.given_store(store);
                self.graph.add(ROOT, store.name.clone(), id, Content::Store(store));
                Some(Value::Nothing)
            }
            Op::Stream { .. }
            | Op::Operator { .. }
            | Op::Merge
            | Op::Split
            | Op::Branch { .. }
            | Op::Process { .. }
            | Op::Sink { .. }
            | Op::Repartition { .. }
            | Op::Group { .. }
            | Op::ToStream => self.stream_call(id, call),
            Op::Table { .. }
            | Op::ToTable { .. }
            | Op::Aggregate { .. }
            | Op::TableOperator { .. }
            | Op::Suppress { .. }
            | Op::JoinTable { .. } => self.table_call(id, call),
        };
        value.unwrap_or_else(|| {
            if self.problems.is_empty() {
                self.problems.push(TopologyProblem::ForeignStream(call.name.clone().unwrap_or_else(|| format!("operator {id}"))));
            }
            Value::Nothing
        })
    }

    fn stream(&self, call: &Call, input: usize) -> Option<Stream> {
        match self.values.get(*call.inputs.get(input)?)? {
            Value::Stream(stream) => Some(stream.clone()),
            _ => None,
        }
    }

    fn table(&self, id: CallId) -> Option<&Table> {
        match self.values.get(id)? {
            Value::Table(table) => Some(table),
            _ => None,
        }
    }

    fn table_mut(&mut self, id: CallId) -> Option<&mut Table> {
        match self.values.get_mut(id)? {
            Value::Table(table) => Some(table),
            _ => None,
        }
    }

    /// A store that the author must have named.
    fn given_store(&mut self, draft: &StoreDraft) -> NamedStore {
        NamedStore { name: draft.name.clone().unwrap_or_default(), draft: draft.clone(), yields: false }
    }

    /// A store with the author's name or a generated one, which takes a number.
    fn named_store(&mut self, draft: &StoreDraft, prefix: &str) -> NamedStore {
        let name = draft.name.clone().unwrap_or_else(|| {
            let name = self.names.store(prefix);
            self.generated_stores.insert(name.clone());
            name
        });
        NamedStore { name, draft: draft.clone(), yields: false }
    }

    /// The store of a table's own node, if it came to exist.
    fn kept_store(&self, call: CallId) -> Option<NamedStore> {
        match &self.table(call)?.from {
            Made::Source { store, kept: true } => Some(store.clone()),
            _ => None,
        }
    }

    fn finish(mut self, calls: Vec<Call>) -> Result<Plan, Vec<TopologyProblem>> {
        let merge_problems = self.graph.merge_equal_sources();
        self.problems.extend(merge_problems);
        let mut written = Written::default();
        for node in self.graph.in_writing_order() {
            written.write(&self.graph, node, |call| self.kept_store(call));
        }
        written.connect_waiting(true);
        self.problems.append(&mut written.problems);
        let mut plan = Plan { subtopologies: written.subtopologies(), settings: self.settings.clone(), ..Plan::default() };
        self.copartition(&mut plan, &written);
        plan.calls = self.call_facts(&calls, &written);
        plan.nodes = written.nodes;
        plan.stores = written.stores;
        plan.repartition_topics = written.repartition_topics;
        check::partitions(&plan, &mut self.problems);
        if plan.settings.require_explicit_names {
            check::explicit_names(&plan, &self.generated_stores, &self.generated_topics, &mut self.problems);
        }
        time::decide(&mut plan, &mut self.problems);
        if self.problems.is_empty() { Ok(plan) } else { Err(self.problems) }
    }

    /// Facts by call, with results as physical nodes.
    fn call_facts(&mut self, calls: &[Call], written: &Written) -> Vec<CallFacts> {
        let result = |graph: GraphId| written.results.get(&self.graph.standing_for(graph)).copied();
        let mut all = Vec::with_capacity(calls.len());
        for (id, call) in calls.iter().enumerate() {
            let mut facts = self.facts.remove(&id).unwrap_or_default();
            facts.factories = call.factories.iter().map(|(part, make)| (*part, Arc::clone(make))).collect();
            facts.result = match self.values.get(id) {
                Some(Value::Stream(stream) | Value::Split(stream)) => result(stream.graph),
                Some(Value::Group(group)) => result(group.graph),
                Some(Value::Table(table)) => result(table.graph),
                Some(Value::Nothing) | None => (1..self.graph.nodes.len()).find(|node| self.graph.nodes[*node].call == id).and_then(result),
            };
            if let Some(Value::Table(table)) = self.values.get(id) {
                facts.sends_old = table.sends_old;
                facts.store = match &table.from {
                    Made::Source { store, kept } => kept.then(|| Arc::from(store.name.as_str())),
                    Made::Aggregate { store } | Made::Suppress { buffer: store, .. } => Some(Arc::from(store.as_str())),
                    Made::View { store, .. } => store.as_deref().map(Arc::from),
                };
            }
            all.push(facts);
        }
        all
    }

    /// Puts each co-partitioned group of topics into its sub-topology.
    fn copartition(&self, plan: &mut Plan, written: &Written) {
        for group in &self.copartitioned {
            let sources = group.iter().filter_map(|source| written.results.get(&self.graph.standing_for(*source)));
            let mut topics = BTreeSet::new();
            let mut part = None;
            for source in sources {
                // A table's result is the table; its source stands in front of it.
                let source = written.nodes[*source].parents.first().filter(|_| !written.is_source(*source)).unwrap_or(source);
                topics.extend(written.topics(*source).iter().cloned());
                part = Some(written.nodes[*source].subtopology);
            }
            if let Some(part) = part.and_then(|part| plan.subtopologies.get_mut(part)) {
                let topics: Vec<String> = topics.into_iter().collect();
                if topics.len() > 1 && !part.copartitioned.contains(&topics) {
                    part.copartitioned.push(topics);
                }
            }
        }
    }
}
