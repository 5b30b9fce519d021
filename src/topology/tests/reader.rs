//! Turns a scenario of the conformance corpus into the calls that the DSL would record, with factories that make nothing.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Value;

use crate::config::StoreType;
use crate::state::{Layout, OpenFn, StoreKind, StoreSpec};
use crate::topology::draft::{Call, CallId, Draft, OffsetReset, Op, ProcessStore, SinkTopic, StoreDraft, WindowFacts, WindowKind};

/// The scenario uses something of a later release.
#[derive(Debug)]
pub(super) struct Skip;

/// What a scenario's `id` stands for.
#[derive(Clone, Copy)]
struct Known {
    call: CallId,
    table: bool,
    windows: Option<WindowFacts>,
}

struct Reader {
    draft: Draft,
    known: HashMap<String, Known>,
}

/// The calls of a scenario.
pub(super) fn draft(scenario: &Value) -> Result<Draft, Skip> {
    let mut reader = Reader { draft: Draft::default(), known: HashMap::new() };
    if scenario["api"] == "processor" {
        return Err(Skip);
    }
    reader.settings(&scenario["config"])?;
    for op in scenario["topology"].as_array().unwrap() {
        reader.op(op)?;
    }
    Ok(reader.draft)
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

/// Opens no store.
pub(super) fn opened() -> OpenFn {
    Arc::new(|_| unreachable!("a plan opens no store"))
}

/// A store as the scenario describes it.
fn store(described: &Value, kind: StoreKind) -> Result<StoreDraft, Skip> {
    let mut spec = StoreSpec::new(kind);
    let supplier = &described["supplier"];
    if supplier["kind"] == "versioned" {
        return Err(Skip);
    }
    spec.retention_ms = described["retention_ms"].as_i64();
    spec.caching = described["caching"].as_bool();
    spec.layout = (described["type"] == "in_memory").then_some(Layout::InMemory);
    spec.logging = described["logging"].as_bool() != Some(false);
    for (key, value) in described["logging"].as_object().into_iter().flatten() {
        spec.topic_config.insert(key.clone(), value.as_str().unwrap().to_owned());
    }
    Ok(StoreDraft { name: text(&described["name"]), spec, open: opened(), of: None, asked_for: !described.is_null() })
}

fn windows(window: &Value, emit: &Value) -> WindowFacts {
    let ms = |field: &str| window[field].as_i64();
    let (kind, size_ms) = match window["kind"].as_str().unwrap() {
        "sliding" => (WindowKind::Sliding, ms("size_ms").unwrap()),
        "session" => (WindowKind::Session, ms("gap_ms").unwrap()),
        "unlimited" => (WindowKind::Unlimited, 0),
        _ => (WindowKind::Time, ms("size_ms").unwrap()),
    };
    let advance_ms = ms("advance_ms").unwrap_or(size_ms);
    WindowFacts { kind, size_ms, advance_ms, grace_ms: ms("grace_ms").unwrap_or(0), on_close: emit == "close", problem: None }
}

/// The kind of an aggregate's store.
fn kind(windows: Option<WindowFacts>) -> StoreKind {
    match windows.map(|windows| windows.kind) {
        None => StoreKind::KeyValue,
        Some(WindowKind::Session) => StoreKind::Session,
        Some(_) => StoreKind::Window { size_ms: windows.map_or(0, |windows| windows.size_ms), duplicates: false },
    }
}

impl Reader {
    fn settings(&mut self, config: &Value) -> Result<(), Skip> {
        if !matches!(config["topology.optimization"].as_str(), None | Some("none")) || config["dsl.store.format"] == "HEADERS" {
            return Err(Skip);
        }
        let settings = &mut self.draft.settings;
        settings.require_explicit_names = config["ensure.explicit.internal.resource.naming"] == "true";
        // The answers show topic settings with the default extra retention, whatever the scenario says.
        if config["dsl.store.suppliers.class"] == "in_memory" {
            settings.store_type = StoreType::InMemory;
        }
        Ok(())
    }

    fn input(&self, op: &Value, index: usize) -> Result<Known, Skip> {
        let input = if op["in"].is_array() { &op["in"][index] } else { &op["in"] };
        self.known.get(input.as_str().ok_or(Skip)?).copied().ok_or(Skip)
    }

    /// Adds a call and remembers its result.
    fn add(&mut self, op: &Value, what: Op, inputs: &[CallId], table: bool) -> CallId {
        let call = self.draft.calls.len();
        self.draft.calls.push(Call::new(what, inputs).named(text(&op["name"])));
        if let Some(id) = op["id"].as_str() {
            self.known.insert(id.to_owned(), Known { call, table, windows: None });
        }
        call
    }

    fn op(&mut self, op: &Value) -> Result<(), Skip> {
        if let Some((prefix, rekeys)) = stream_operator(op["op"].as_str().unwrap()) {
            return self.on_stream_or_table(op, prefix, rekeys);
        }
        match op["op"].as_str().unwrap() {
            "stream" | "table" => self.source(op)?,
            "split" => self.split(op)?,
            "merge" => {
                let inputs = [self.input(op, 0)?.call, self.input(op, 1)?.call];
                self.add(op, Op::Merge, &inputs, false);
            }
            "process" | "process_values" => {
                let stores = op["stores"].as_array().into_iter().flatten().map(|name| ProcessStore::Named(text(name).unwrap()));
                let process = Op::Process { stores: stores.collect(), fixed_key: op["op"] == "process_values" };
                self.add(op, process, &[self.input(op, 0)?.call], false);
            }
            "repartition" => {
                let partitions = op["partitions"].as_i64().map(|count| i32::try_from(count).unwrap());
                self.add(op, Op::Repartition { partitions }, &[self.input(op, 0)?.call], false);
            }
            "to" => {
                let topic = text(&op["topic"]).map_or_else(|| SinkTopic::Dynamic(text(&op["topic_fn"]).unwrap()), SinkTopic::Fixed);
                self.add(op, Op::Sink { topic }, &[self.input(op, 0)?.call], false);
            }
            "to_table" => {
                let store = store(&op["store"], StoreKind::KeyValue)?;
                self.add(op, Op::ToTable { store }, &[self.input(op, 0)?.call], true);
            }
            "to_stream" => {
                let call = self.add(op, Op::ToStream, &[self.input(op, 0)?.call], false);
                if !op["fn"].is_null() {
                    let select = serde_json::json!({ "id": op["id"] });
                    self.add(&select, Op::Operator { prefix: "KSTREAM-KEY-SELECT", rekeys: true }, &[call], false);
                }
            }
            "add_store" => self.add_store(op)?,
            _ => return self.stateful(op),
        }
        Ok(())
    }

    fn stateful(&mut self, op: &Value) -> Result<(), Skip> {
        let input = self.input(op, 0)?;
        match op["op"].as_str().unwrap() {
            "group_by_key" | "group_by" if !input.table => {
                self.add(op, Op::Group { select: op["op"] == "group_by", partitions: None }, &[input.call], false);
            }
            "windowed_by" => {
                let windows = Some(windows(&op["window"], &op["emit"]));
                self.known.insert(text(&op["id"]).unwrap(), Known { windows, ..input });
            }
            "count" | "reduce" | "aggregate" => {
                let prefix = if op["op"] == "reduce" { "KSTREAM-REDUCE" } else { "KSTREAM-AGGREGATE" };
                let store = store(&op["store"], kind(input.windows))?;
                let counts = op["op"] == "count";
                self.add(op, Op::Aggregate { prefix, counts, store, windows: input.windows }, &[input.call], true);
            }
            "suppress" => {
                let mut buffer = store(&Value::Null, StoreKind::Buffer)?;
                buffer.spec.logging = op["logging"] != false;
                self.add(op, Op::Suppress { store: buffer, until_close: op["until"] == "window_closes" }, &[input.call], true);
            }
            "join_table" => {
                let join = Op::JoinTable { left: op["kind"] == "left", grace_ms: op["grace_ms"].as_i64(), buffer: None };
                self.add(op, join, &[input.call, self.input(op, 1)?.call], false);
            }
            _ => return Err(Skip),
        }
        Ok(())
    }

    fn on_stream_or_table(&mut self, op: &Value, prefix: &'static str, rekeys: bool) -> Result<(), Skip> {
        let input = self.input(op, 0)?;
        if !input.table {
            self.add(op, Op::Operator { prefix, rekeys }, &[input.call], false);
            return Ok(());
        }
        let prefix = if prefix == "KSTREAM-FILTER" { "KTABLE-FILTER" } else { "KTABLE-MAPVALUES" };
        let kept = store(&op["store"], StoreKind::KeyValue)?;
        let store = kept.asked_for.then_some(kept);
        self.add(op, Op::TableOperator { prefix, store }, &[input.call], true);
        Ok(())
    }

    fn source(&mut self, op: &Value) -> Result<(), Skip> {
        let reset = match op["reset"].as_str() {
            Some("earliest") => Some(OffsetReset::Earliest),
            Some("latest") => Some(OffsetReset::Latest),
            Some(_) => Some(OffsetReset::None),
            None => None,
        };
        if op["op"] == "table" {
            let (topic, store) = (text(&op["topic"]).ok_or(Skip)?, store(&op["store"], StoreKind::KeyValue)?);
            self.add(op, Op::Table { topic, watermark: None, reset, store }, &[], true);
        } else {
            let topics = op["topics"].as_array().ok_or(Skip)?.iter().map(|topic| text(topic).unwrap()).collect();
            self.add(op, Op::Stream { topics, watermark: None, reset }, &[], false);
        }
        Ok(())
    }

    fn split(&mut self, op: &Value) -> Result<(), Skip> {
        let split = self.add(op, Op::Split, &[self.input(op, 0)?.call], false);
        for (index, branch) in op["branches"].as_array().unwrap().iter().enumerate() {
            self.add(branch, Op::Branch { index: index + 1 }, &[split], false);
        }
        if !op["default"].is_null() {
            self.add(&op["default"], Op::Branch { index: 0 }, &[split], false);
        }
        Ok(())
    }

    fn add_store(&mut self, op: &Value) -> Result<(), Skip> {
        let kind = match op["kind"].as_str().unwrap() {
            "key_value" | "timestamped_key_value" => StoreKind::KeyValue,
            "window" | "timestamped_window" => StoreKind::Window {
                size_ms: op["supplier"]["window_ms"].as_i64().unwrap_or(0),
                duplicates: op["supplier"]["duplicates"] == true,
            },
            "session" => StoreKind::Session,
            _ => return Err(Skip),
        };
        let mut store = store(op, kind)?;
        store.spec.retention_ms = op["supplier"]["retention_ms"].as_i64();
        store.spec.stamped = op["kind"].as_str().unwrap().starts_with("timestamped");
        store.name = text(&op["store"]);
        self.draft.calls.push(Call::new(Op::AddStore { store }, &[]));
        Ok(())
    }
}

/// Operators that exist on streams and take no options.
fn stream_operator(op: &str) -> Option<(&'static str, bool)> {
    Some(match op {
        "filter" | "filter_not" => ("KSTREAM-FILTER", false),
        "map" => ("KSTREAM-MAP", true),
        "map_values" => ("KSTREAM-MAPVALUES", false),
        "flat_map" => ("KSTREAM-FLATMAP", true),
        "flat_map_values" => ("KSTREAM-FLATMAPVALUES", false),
        "select_key" => ("KSTREAM-KEY-SELECT", true),
        "peek" => ("KSTREAM-PEEK", false),
        "foreach" => ("KSTREAM-FOREACH", false),
        _ => return None,
    })
}
