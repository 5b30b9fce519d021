//! Turns the `topology` list of a scenario into calls of the DSL, one operation at a time, in the order of the list.

mod aggregates;
mod options;
mod streams;
mod tables;

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::sync::{Arc, Mutex};

use highwater::{KGroupedStream, KStream, SessionWindowedKStream, StreamsBuilder, TimeWindowedKStream, Topology, TopologyError};

use super::errors;
use super::format::{Op, Phase, Scenario, Window};
use super::outcome::Problem;
use super::value::{Type, Val, text};
use tables::AnyTable;

/// What `peek` and `foreach` saw.
pub(crate) type Seen = Arc<Mutex<Observations>>;

/// Observations so far by id (step, key, value), and the step that is running.
#[derive(Debug, Default)]
pub(crate) struct Observations {
    pub(crate) step: i64,
    pub(crate) rows: BTreeMap<String, Vec<(i64, String, String)>>,
}

/// Why there is no topology.
#[derive(Debug)]
pub(crate) enum Refused {
    /// `build` said so.
    Build(TopologyError),
    /// The call cannot be written down in Rust, where Java throws this at run time.
    ByType { stands_for: &'static [&'static str], why: &'static str },
}

/// A built topology and what the runner must know about it.
pub(crate) struct Built {
    pub(crate) topology: Topology,
    pub(crate) types: Types,
}

/// Key and value types of the input topics.
#[derive(Clone, Debug, Default)]
pub(crate) struct Types {
    topics: HashMap<String, (Type, Type)>,
    patterned: Option<(Type, Type)>,
}

impl Types {
    /// The types of an input topic; none when no source reads it.
    pub(crate) fn of(&self, topic: &str) -> Option<&(Type, Type)> {
        self.topics.get(topic).or(self.patterned.as_ref())
    }
}

/// An operation's result.
#[derive(Clone)]
enum Handle {
    Stream(KStream<Val, Val>),
    Table(AnyTable),
    Grouped(KGroupedStream<Val, Val>),
    TimeWindowed(Rc<TimeWindowedKStream<Val, Val>>),
    SessionWindowed(Rc<SessionWindowedKStream<Val, Val>>),
}

/// A result with the types that the functions behind it will see.
#[derive(Clone)]
struct Node {
    handle: Handle,
    key: Type,
    value: Type,
    window: Option<Window>,
    /// Whether Java would know the value's serde here without being told again.
    value_serde: bool,
}

impl Node {
    fn new(handle: Handle, key: &Type, value: &Type) -> Node {
        Node { handle, key: key.clone(), value: value.clone(), window: None, value_serde: true }
    }
    fn stream(&self) -> &KStream<Val, Val> {
        match &self.handle {
            Handle::Stream(stream) => stream,
            _ => panic!("invalid scenario: a stream is needed here"),
        }
    }
    fn table(&self) -> &AnyTable {
        match &self.handle {
            Handle::Table(table) => table,
            _ => panic!("invalid scenario: a table is needed here"),
        }
    }
}

/// What one operation leaves behind.
type Made = Result<Option<Node>, Refused>;

/// Reads a scenario's topology.
pub(crate) struct Reader<'s> {
    builder: StreamsBuilder,
    scenario: &'s Scenario,
    nodes: HashMap<String, Node>,
    types: Types,
    seen: Seen,
    /// Types of the key-value stores of operators, by name.
    operator_stores: RefCell<HashMap<String, (Type, Type)>>,
}

impl<'s> Reader<'s> {
    pub(crate) fn new(scenario: &'s Scenario, builder: StreamsBuilder, seen: Seen) -> Reader<'s> {
        Reader { builder, scenario, nodes: HashMap::new(), types: Types::default(), seen, operator_stores: RefCell::default() }
    }

    pub(crate) fn read(mut self) -> Result<Built, Refused> {
        for op in &self.scenario.topology {
            let made = self.add(op)?;
            if let (Some(node), Some(id)) = (made, &op.id) {
                self.nodes.insert(id.clone(), node);
            }
        }
        let topology = self.builder.build().map_err(Refused::Build)?;
        Ok(Built { topology, types: self.types })
    }

    fn add(&mut self, op: &Op) -> Made {
        match op.op.as_str() {
            "stream" => self.stream(op),
            "table" => self.table(op),
            "filter" | "filter_not" => self.filter(op),
            "map_values" => self.map_values(op),
            "map" => self.map(op),
            "flat_map" => self.flat_map(op),
            "flat_map_values" => self.flat_map_values(op),
            "select_key" => self.select_key(op),
            "peek" | "foreach" => self.watch(op),
            "split" => self.split(op),
            "merge" => self.merge(op),
            "process" => self.process(op),
            "process_values" => self.process_values(op),
            "repartition" => self.repartition(op),
            "to" => self.to(op),
            "to_table" => self.to_table(op),
            "to_stream" => self.to_stream(op),
            "group_by_key" => self.group_by_key(op),
            "group_by" => self.group_by(op),
            "windowed_by" => self.windowed_by(op),
            "count" => self.count(op),
            "reduce" => self.reduce(op),
            "aggregate" => self.aggregate(op),
            "suppress" => self.suppress(op),
            "join_table" => self.join_table(op),
            "add_store" => self.add_store(op),
            other => panic!("invalid scenario: unknown operation {other}"),
        }
    }

    fn input(&self, op: &Op, index: usize) -> Node {
        let id = op.input(index);
        self.nodes.get(id).cloned().unwrap_or_else(|| panic!("invalid scenario: unknown input {id}"))
    }

    fn config(&self, key: &str) -> Option<&str> {
        self.scenario.config.get(key).map(String::as_str)
    }

    fn observer(&self, op: &Op) -> impl Fn(&Val, &Val) + Send + Sync + 'static {
        let (seen, id) = (self.seen.clone(), op.need(&op.id).to_owned());
        move |key, value| {
            let mut seen = seen.lock().expect("nobody panics while writing down");
            let row = (seen.step, text(key), text(value));
            seen.rows.entry(id.clone()).or_default().push(row);
        }
    }
}

impl Refused {
    /// In the terms of an answer.
    pub(crate) fn problem(&self) -> Problem {
        match self {
            Refused::Build(error) => errors::of_build(error),
            Refused::ByType { stands_for, why } => {
                Problem { phase: Phase::Build, step: None, stands_for, text: format!("cannot be written: {why}") }
            }
        }
    }
}
