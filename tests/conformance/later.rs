//! What is not there yet, by name and with a reason: the only way for a case to be skipped.

use std::collections::HashMap;

use serde::Deserialize;

use super::format::{Op, Scenario, StoreField};

/// The list in `later.toml`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Later {
    #[serde(rename = "operator")]
    operators: Vec<LaterOperator>,
    #[serde(rename = "setting")]
    settings: Vec<LaterSetting>,
    #[serde(rename = "value")]
    values: Vec<LaterValue>,
    #[serde(rename = "event")]
    events: Vec<LaterEvent>,
}

/// An event of that name.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct LaterEvent {
    name: String,
    reason: String,
}

/// An operator, or an operator on inputs of one kind.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct LaterOperator {
    name: String,
    /// `table`: only where the input is a table.
    input: Option<String>,
    reason: String,
}

/// A setting with any value but these.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct LaterSetting {
    key: String,
    #[serde(default)]
    except: Vec<String>,
    reason: String,
}

/// A field of the scenario or of an operation that has this value; `*` is any.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct LaterValue {
    field: String,
    value: String,
    reason: String,
}

impl Later {
    /// Reads the list.
    pub(crate) fn read(text: &str) -> Later {
        toml::from_str(text).unwrap_or_else(|problem| panic!("later.toml: {problem}"))
    }

    /// Why this scenario has to wait, if it has to.
    pub(crate) fn reason(&self, scenario: &Scenario) -> Option<String> {
        self.value(scenario).or_else(|| self.setting(scenario)).or_else(|| self.operator(scenario))
    }

    /// Why a scenario has to wait in which an event of one of these names happens.
    pub(crate) fn event(&self, happens: impl Fn(&str) -> bool) -> Option<String> {
        let later = self.events.iter().find(|later| happens(&later.name))?;
        Some(format!("{}: {}", later.name, later.reason))
    }

    fn setting(&self, scenario: &Scenario) -> Option<String> {
        let waits = |later: &&LaterSetting| scenario.config.get(&later.key).is_some_and(|value| !later.except.contains(value));
        self.settings.iter().find(waits).map(|later| format!("{}: {}", later.key, later.reason))
    }

    fn operator(&self, scenario: &Scenario) -> Option<String> {
        let tables = tables(scenario);
        let waits = |later: &LaterOperator, op: &Op| {
            op.op == later.name && later.input.as_deref().is_none_or(|kind| kind == "table" && *tables.get(op.input(0)).unwrap_or(&false))
        };
        let later = self.operators.iter().find(|later| scenario.topology.iter().any(|op| waits(later, op)))?;
        let place = later.input.as_deref().map_or(String::new(), |input| format!(" on a {input}"));
        Some(format!("{}{place}: {}", later.name, later.reason))
    }

    fn value(&self, scenario: &Scenario) -> Option<String> {
        let later = self.values.iter().find(|later| {
            let in_scenario = match later.field.as_str() {
                "api" => scenario.api.as_deref() == Some(&later.value),
                "dead-letter.after-sink" => dead_letter_after_sink(scenario),
                _ => false,
            };
            in_scenario
                || scenario
                    .topology
                    .iter()
                    .any(|op| field(op, &later.field).is_some_and(|value| later.value == "*" || later.value == value))
        })?;
        Some(format!("{} = {}: {}", later.field, later.value, later.reason))
    }
}

fn field<'o>(op: &'o Op, name: &str) -> Option<&'o str> {
    match name {
        "supplier.kind" => {
            let of_store = match &op.store {
                Some(StoreField::Spec(spec)) => spec.supplier.as_ref(),
                _ => None,
            };
            op.supplier.as_ref().or(of_store).map(|supplier| supplier.kind.as_str())
        }
        "store.supplier.retention_ms" => match &op.store {
            Some(StoreField::Spec(spec)) => spec.supplier.as_ref().and_then(|supplier| supplier.retention_ms).map(|_| "own"),
            _ => None,
        },
        "kind" => op.kind.as_deref(),
        "pattern" => op.pattern.as_deref(),
        "api" | "dead-letter.after-sink" => None,
        other => panic!("later.toml: no field {other}"),
    }
}

/// Whether a dead letter may be written for a record that a sink beside the failing operator took before.
fn dead_letter_after_sink(scenario: &Scenario) -> bool {
    let sinks = scenario.topology.iter().enumerate().filter(|(_, op)| op.op == "to");
    let has_later_sibling =
        |nth: usize, sink: &Op| scenario.topology[nth + 1..].iter().any(|op| op.op != "to" && op.input(0) == sink.input(0));
    scenario.config.contains_key("errors.dead.letter.queue.topic.name")
        && scenario.config.get("processing.exception.handler").is_some_and(|handler| handler == "continue")
        && sinks.into_iter().any(|(nth, sink)| has_later_sibling(nth, sink))
}

/// For every id whether it is a table.
fn tables(scenario: &Scenario) -> HashMap<&str, bool> {
    let mut tables = HashMap::new();
    for op in &scenario.topology {
        let Some(id) = op.id.as_deref() else { continue };
        let is_table = match op.op.as_str() {
            "table" | "to_table" | "count" | "reduce" | "aggregate" | "suppress" | "transform_values" | "join_tables" | "join_foreign" => {
                true
            }
            "filter" | "filter_not" | "map_values" => *tables.get(op.input(0)).unwrap_or(&false),
            _ => false,
        };
        tables.insert(id, is_table);
    }
    tables
}
