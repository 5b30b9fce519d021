//! Calls that make tables, and joins with them: when a store comes to exist, and who must send old values.

use std::collections::BTreeSet;

use crate::topology::draft::{Call, CallId, Op, StoreDraft, WindowFacts, WindowKind};
use crate::topology::node::CallFacts;
use crate::topology::replay::graph::{Content, NamedStore, ROOT, Reading};
use crate::topology::replay::streams::Shuffle;
use crate::topology::replay::{Made, Replay, Stream, Table, Value, check};

/// What an aggregate asks for.
struct Wanted<'a> {
    prefix: &'static str,
    counts: bool,
    store: &'a StoreDraft,
    windows: Option<WindowFacts>,
}

impl Replay {
    pub(super) fn table_call(&mut self, id: CallId, call: &Call) -> Option<Value> {
        match &call.op {
            Op::Table { topic, watermark, reset, store } => {
                let store = self.named_store(store, topic);
                let generated = self.names.node("KSTREAM-SOURCE");
                let source = call.name.as_ref().map_or(generated, |name| format!("{name}-source"));
                let name = self.names.given_or_node(call.name.as_deref(), "KTABLE-SOURCE");
                let reading = Reading { topics: vec![topic.clone()], watermark: *watermark, reset: *reset, types: call.types };
                let graph = self.graph.add(ROOT, name, id, Content::Table { source, reading });
                Some(Self::source_table(graph, BTreeSet::from([graph]), store))
            }
            Op::ToTable { store } => self.stream_as_table(id, call, store),
            Op::Aggregate { prefix, counts, store, windows } => {
                self.aggregate(id, call, &Wanted { prefix, counts: *counts, store, windows: *windows })
            }
            Op::TableOperator { prefix, store } => self.view(id, call, prefix, store.as_ref()),
            Op::Suppress { store, until_close } => self.suppress(id, call, store, *until_close),
            Op::JoinTable { left, grace_ms, buffer } => self.join_table(id, call, *left, *grace_ms, buffer.as_ref()),
            _ => None,
        }
    }

    /// A table whose store exists from the start only if the author named it.
    fn source_table(graph: usize, sources: BTreeSet<usize>, store: NamedStore) -> Value {
        let kept = store.draft.name.is_some();
        Value::Table(Table { graph, sources, from: Made::Source { store, kept }, asked: false, sends_old: false })
    }

    fn stream_as_table(&mut self, id: CallId, call: &Call, store: &StoreDraft) -> Option<Value> {
        let stream = self.stream(call, 0)?;
        let name = self.names.given_or_node(call.name.as_deref(), "KSTREAM-TOTABLE");
        let store = self.named_store(store, "KSTREAM-TOTABLE");
        let (mut parent, mut sources) = (stream.graph, stream.sources);
        if let Some(by) = &stream.rekeyed_by {
            let because = format!("`{name}` makes a table by a key that `{by}` changed");
            let (shuffle, _) = self.shuffle(Shuffle { call: id, stem: &name, given: call.name.is_some(), partitions: None, because });
            self.graph.attach(parent, shuffle);
            (parent, sources) = (shuffle, BTreeSet::from([shuffle]));
        }
        let graph = self.graph.add(parent, name, id, Content::Processor { own: Vec::new(), uses: Vec::new() });
        Some(Self::source_table(graph, sources, store))
    }

    fn aggregate(&mut self, id: CallId, call: &Call, wanted: &Wanted<'_>) -> Option<Value> {
        let group_call = *call.inputs.first()?;
        let Some(Value::Group(group)) = self.values.get(group_call).cloned() else { return None };
        let sliding = wanted.windows.is_some_and(|windows| windows.kind == WindowKind::Sliding);
        if wanted.counts && wanted.store.asked_for && wanted.store.name.is_none() && !sliding {
            self.names.store(wanted.prefix); // Kafka Streams once named something here, and still counts it
        }
        let mut store = self.named_store(wanted.store, wanted.prefix);
        let name = self.names.given_or_node(call.name.as_deref(), wanted.prefix);
        if let Some(windows) = wanted.windows {
            check::windows(&name, &windows, &mut self.problems);
            check::retention(&name, &windows, &mut store, &mut self.problems);
        }
        let (mut parent, mut sources) = (group.graph, group.sources.clone());
        if let Some(by) = &group.rekeyed_by {
            let stem = group.name.clone().unwrap_or_else(|| store.name.clone());
            let given = group.name.is_some() || wanted.store.name.is_some();
            let because = format!("`{name}` groups by a key that `{by}` changed");
            let (made, _) = self.shuffle(Shuffle { call: group.call, stem: &stem, given, partitions: group.partitions, because });
            let shuffle = group.shuffled.filter(|_| group.name.is_some()).unwrap_or(made);
            if let Some(Value::Group(group)) = self.values.get_mut(group_call) {
                group.shuffled = Some(shuffle);
            }
            self.graph.attach(parent, shuffle);
            (parent, sources) = (shuffle, BTreeSet::from([shuffle]));
        }
        let from = Made::Aggregate { store: store.name.clone() };
        let graph = self.graph.add(parent, name, id, Content::Processor { own: vec![store], uses: Vec::new() });
        if let Some(windows) = wanted.windows {
            self.graces.insert(graph, check::closes_after(&windows));
            self.fact(id).windows = Some(windows);
        }
        Some(Value::Table(Table { graph, sources, from, asked: false, sends_old: false }))
    }

    fn view(&mut self, id: CallId, call: &Call, prefix: &'static str, store: Option<&StoreDraft>) -> Option<Value> {
        let parent_call = *call.inputs.first()?;
        let parent = self.table(parent_call)?.clone();
        if store.is_some_and(|store| store.name.is_none()) {
            self.names.store(prefix); // no store, but its number is taken
        }
        let own = store.filter(|store| store.name.is_some()).map(|store| self.given_store(store));
        let name = self.names.given_or_node(call.name.as_deref(), prefix);
        // A filter that knows old values need not send a deletion for every row it never let through.
        let filters = prefix.starts_with("KTABLE-FILTER");
        let sends_old = filters && self.ask_for_old(parent_call, false);
        let from = Made::View { parent: parent_call, store: own.as_ref().map(|store| store.name.clone()) };
        let content = Content::Processor { own: own.into_iter().collect(), uses: Vec::new() };
        let graph = self.graph.add(parent.graph, name, id, content);
        Some(Value::Table(Table { graph, sources: parent.sources, from, asked: false, sends_old }))
    }

    fn suppress(&mut self, id: CallId, call: &Call, buffer: &StoreDraft, until_close: bool) -> Option<Value> {
        let parent_call = *call.inputs.first()?;
        let parent = self.table(parent_call)?.clone();
        let name = call.name.clone().unwrap_or_else(|| self.names.node("KTABLE-SUPPRESS"));
        if until_close {
            let grace = self.graph.nearest_above(parent.graph, &|node| self.graces.get(&node).copied());
            match grace {
                Some(grace) => self.fact(id).close_grace_ms = Some(grace),
                None => check::not_windowed(&name, &mut self.problems),
            }
        }
        let buffer = StoreDraft { name: call.name.as_ref().map(|name| format!("{name}-store")), ..buffer.clone() };
        let store = self.named_store(&buffer, "KTABLE-SUPPRESS");
        self.ask_for_old(parent_call, true);
        let from = Made::Suppress { parent: parent_call, buffer: store.name.clone() };
        let graph = self.graph.add(parent.graph, name, id, Content::Processor { own: vec![store], uses: Vec::new() });
        Some(Value::Table(Table { graph, sources: parent.sources, from, asked: false, sends_old: false }))
    }

    fn join_table(&mut self, id: CallId, call: &Call, left: bool, grace_ms: Option<i64>, buffer: Option<&StoreDraft>) -> Option<Value> {
        let stream = self.stream(call, 0)?;
        let table_call = *call.inputs.get(1)?;
        let table_sources = self.table(table_call)?.sources.clone();
        let stream_call = *call.inputs.first()?;
        let (mut parent, mut sources) = (stream.graph, stream.sources.clone());
        if stream.rekeyed_by.is_some() {
            parent = self.shuffle_for_join(id, call, stream_call, &stream);
            sources = BTreeSet::from([parent]);
        }
        sources.extend(table_sources);
        self.copartitioned.push(sources.clone());
        let prefix = if left { "KSTREAM-LEFTJOIN" } else { "KSTREAM-JOIN" };
        let name = self.names.given_or_node(call.name.as_deref(), prefix);
        if grace_ms.is_some() {
            check::grace_of_join(&name, &mut self.problems);
        }
        let own = grace_ms.and(buffer).map(|draft| NamedStore { name: format!("{name}-Buffer"), draft: draft.clone(), yields: false });
        let content = Content::Processor { own: own.into_iter().collect(), uses: self.look_up(table_call) };
        let graph = self.graph.add(parent, name.clone(), id, content);
        Some(Value::Stream(Stream { name, graph, sources, rekeyed_by: None, shuffled: None }))
    }

    /// The shuffle in front of a join. Joins of one stream share it unless they are named.
    fn shuffle_for_join(&mut self, id: CallId, call: &Call, stream_call: CallId, stream: &Stream) -> usize {
        let stem = call.name.as_ref().unwrap_or(&stream.name);
        let by = stream.rekeyed_by.as_deref().unwrap_or_default();
        let because = format!("a join with a table needs the key that `{by}` changed");
        let (made, _) = self.shuffle(Shuffle { call: id, stem, given: call.name.is_some(), partitions: None, because });
        if let Some(shuffled) = stream.shuffled.filter(|_| *stem == stream.name) {
            return shuffled;
        }
        self.graph.attach(stream.graph, made);
        if let Some(Value::Stream(stream)) = self.values.get_mut(stream_call) {
            stream.shuffled = Some(made);
        }
        made
    }

    fn fact(&mut self, id: CallId) -> &mut CallFacts {
        self.facts.entry(id).or_default()
    }

    /// Asks a table to send old values along. Without `force`, a table that would need a new store refuses.
    fn ask_for_old(&mut self, id: CallId, force: bool) -> bool {
        let Some(table) = self.table(id) else { return false };
        if table.asked {
            return true;
        }
        let granted = match table.from.clone() {
            Made::Source { kept, .. } => kept || force,
            Made::Aggregate { .. } | Made::View { store: Some(_), .. } => true,
            Made::View { parent, store: None } => self.ask_for_old(parent, force) || self.table(id).is_some_and(|table| table.sends_old),
            Made::Suppress { parent, .. } => self.ask_for_old(parent, force),
        };
        if let Some(table) = self.table_mut(id).filter(|_| granted) {
            table.asked = true;
            table.sends_old = true;
            if let Made::Source { kept, .. } = &mut table.from {
                *kept = true;
            }
        }
        granted
    }

    /// The stores in which a table's rows are found; a source table comes to have one.
    fn look_up(&mut self, id: CallId) -> Vec<String> {
        let Some(table) = self.table_mut(id) else { return Vec::new() };
        match &mut table.from {
            Made::Source { store, kept } => {
                *kept = true;
                vec![store.name.clone()]
            }
            Made::Aggregate { store } | Made::View { store: Some(store), .. } => vec![store.clone()],
            Made::View { parent, store: None } => {
                let parent = *parent;
                self.look_up(parent)
            }
            Made::Suppress { parent, buffer } => {
                let (parent, buffer) = (*parent, buffer.clone());
                let mut stores = vec![buffer];
                stores.extend(self.look_up(parent));
                stores
            }
        }
    }
}
