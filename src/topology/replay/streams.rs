//! Calls on streams: which numbers they take and what they add to the graph.

use std::collections::BTreeSet;

use crate::topology::draft::{Call, CallId, Op, ProcessStore};
use crate::topology::naming::ShuffleNames;
use crate::topology::replay::graph::{Content, GraphId, NamedStore, ROOT, Reading};
use crate::topology::replay::{Group, Replay, Stream, Value};

/// A repartition topic about to be made.
pub(super) struct Shuffle<'a> {
    /// The call whose factories make its nodes.
    pub(super) call: CallId,
    /// What the topic is called after.
    pub(super) stem: &'a str,
    /// Whether the author chose that name.
    pub(super) given: bool,
    pub(super) partitions: Option<i32>,
    pub(super) because: String,
}

impl Replay {
    pub(super) fn stream_call(&mut self, id: CallId, call: &Call) -> Option<Value> {
        let given = call.name.as_deref();
        match &call.op {
            Op::Stream { topics, watermark, reset } => {
                let name = self.names.given_or_node(given, "KSTREAM-SOURCE");
                let mut unique = Vec::new();
                for topic in topics {
                    if !unique.contains(topic) {
                        unique.push(topic.clone());
                    }
                }
                let reading = Reading { topics: unique, watermark: *watermark, reset: *reset, types: call.types };
                let graph = self.graph.add(ROOT, name.clone(), id, Content::Source(reading));
                Some(Value::Stream(Stream { name, graph, sources: BTreeSet::from([graph]), rekeyed_by: None, shuffled: None }))
            }
            Op::Operator { prefix, rekeys } => {
                let name = self.names.given_or_node(given, prefix);
                self.operator(id, call, name, *rekeys, Content::Processor { own: Vec::new(), uses: Vec::new() })
            }
            Op::Process { stores, fixed_key } => self.process(id, call, stores, *fixed_key),
            Op::Merge => self.merge(id, call),
            Op::Split => {
                let name = self.names.given_or_node(given, "KSTREAM-BRANCH");
                match self.operator(id, call, name, false, Content::Processor { own: Vec::new(), uses: Vec::new() })? {
                    Value::Stream(stream) => Some(Value::Split(stream)),
                    other => Some(other),
                }
            }
            Op::Branch { index } => self.branch(id, call, *index),
            Op::Sink { topic } => {
                let name = self.names.given_or_node(given, "KSTREAM-SINK");
                self.operator(id, call, name, false, Content::Sink(topic.clone())).map(|_| Value::Nothing)
            }
            Op::Repartition { partitions } => self.repartition(id, call, *partitions),
            Op::Group { select, partitions } => self.group(id, call, *select, *partitions),
            Op::ToStream => {
                let table = self.table(*call.inputs.first()?)?.clone();
                let name = self.names.given_or_node(given, "KTABLE-TOSTREAM");
                let graph = self.graph.add(table.graph, name.clone(), id, Content::Processor { own: Vec::new(), uses: Vec::new() });
                Some(Value::Stream(Stream { name, graph, sources: table.sources, rekeyed_by: None, shuffled: None }))
            }
            _ => None,
        }
    }

    /// A node below a stream, with the stream's sources and, unless it changes it, its key.
    fn operator(&mut self, id: CallId, call: &Call, name: String, rekeys: bool, content: Content) -> Option<Value> {
        let Stream { graph: parent, sources, rekeyed_by, .. } = self.stream(call, 0)?;
        let graph = self.graph.add(parent, name.clone(), id, content);
        let rekeyed_by = if rekeys { Some(name.clone()) } else { rekeyed_by };
        Some(Value::Stream(Stream { name, graph, sources, rekeyed_by, shuffled: None }))
    }

    fn process(&mut self, id: CallId, call: &Call, stores: &[ProcessStore], fixed_key: bool) -> Option<Value> {
        let prefix = if fixed_key { "KSTREAM-PROCESSVALUES" } else { "KSTREAM-PROCESSOR" };
        // The one operator that takes no number when it has a name.
        let name = call.name.clone().unwrap_or_else(|| self.names.node(prefix));
        let (mut own, mut uses) = (Vec::new(), Vec::new());
        for store in stores {
            match store {
                ProcessStore::Named(name) => uses.push(name.clone()),
                ProcessStore::Own(draft) => own.push(NamedStore { yields: true, ..self.given_store(draft) }),
            }
        }
        self.operator(id, call, name, !fixed_key, Content::Processor { own, uses })
    }

    fn merge(&mut self, id: CallId, call: &Call) -> Option<Value> {
        let (one, two) = (self.stream(call, 0)?, self.stream(call, 1)?);
        let name = self.names.given_or_node(call.name.as_deref(), "KSTREAM-MERGE");
        let graph = self.graph.add(one.graph, name.clone(), id, Content::Processor { own: Vec::new(), uses: Vec::new() });
        self.graph.attach(two.graph, graph);
        let sources = one.sources.union(&two.sources).copied().collect();
        Some(Value::Stream(Stream { name, graph, sources, rekeyed_by: one.rekeyed_by.or(two.rekeyed_by), shuffled: None }))
    }

    fn branch(&mut self, id: CallId, call: &Call, index: usize) -> Option<Value> {
        let Some(Value::Split(split)) = self.values.get(*call.inputs.first()?).cloned() else { return None };
        let name = match &call.name {
            Some(given) => format!("{}{given}", split.name),
            None => format!("{}{index}", split.name),
        };
        self.names.node(&name);
        let graph = self.graph.add(split.graph, name.clone(), id, Content::Processor { own: Vec::new(), uses: Vec::new() });
        Some(Value::Stream(Stream { name, graph, shuffled: None, ..split }))
    }

    fn repartition(&mut self, id: CallId, call: &Call, partitions: Option<i32>) -> Option<Value> {
        let stream = self.stream(call, 0)?;
        let stem = call.name.clone().unwrap_or_else(|| self.names.node("KSTREAM-REPARTITION"));
        let because = match stream.rekeyed_by {
            Some(by) => format!("`repartition` was called, after `{by}` changed the key"),
            None => String::from("`repartition` was called"),
        };
        let (graph, name) = self.shuffle(Shuffle { call: id, stem: &stem, given: call.name.is_some(), partitions, because });
        self.graph.attach(stream.graph, graph);
        Some(Value::Stream(Stream { name, graph, sources: BTreeSet::from([graph]), rekeyed_by: None, shuffled: None }))
    }

    fn group(&mut self, id: CallId, call: &Call, select: bool, partitions: Option<i32>) -> Option<Value> {
        let stream = self.stream(call, 0)?;
        let (mut graph, mut rekeyed_by) = (stream.graph, stream.rekeyed_by);
        if select {
            let name = self.names.given_or_node(call.name.as_deref(), "KSTREAM-KEY-SELECT");
            graph = self.graph.add(graph, name.clone(), id, Content::Processor { own: Vec::new(), uses: Vec::new() });
            rekeyed_by = Some(name);
        }
        let (name, sources) = (call.name.clone(), stream.sources);
        Some(Value::Group(Group { call: id, graph, sources, rekeyed_by, name, partitions, shuffled: None }))
    }

    /// A repartition topic and its nodes, not yet attached; gives the graph node and the name of its source.
    pub(super) fn shuffle(&mut self, shuffle: Shuffle<'_>) -> (GraphId, String) {
        let names = ShuffleNames::new(&mut self.names, shuffle.stem);
        if !shuffle.given {
            self.generated_topics.insert(names.topic.clone());
        }
        let source = names.source.clone();
        let content = Content::Shuffle { names, partitions: shuffle.partitions, because: shuffle.because };
        (self.graph.make(source.clone(), shuffle.call, content), source)
    }
}
