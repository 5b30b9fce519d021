//! Scenarios and answers of bounded mode, as they lie in the case files.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value as Json, json};

use super::super::format::{self, Op};

/// One line of a case file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Line {
    pub(super) scenario: Bounded,
    pub(super) answer: Answer,
}

/// What happens.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Bounded {
    pub(super) id: String,
    #[serde(rename = "feature")]
    _feature: String,
    pub(super) purpose: String,
    pub(super) config: Config,
    pub(super) wall_clock_ms: i64,
    pub(super) partitions: BTreeMap<String, i32>,
    pub(super) topology: Json,
    pub(super) events: Vec<Event>,
}

/// Settings. `commit` and `close_batch` show in restarts only.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Config {
    #[serde(rename = "statestore.cache.max.bytes")]
    pub(super) cache: String,
    pub(super) max_future_skew_ms: Option<u64>,
    pub(super) watermark_interval_ms: Option<u64>,
    pub(super) close_when_idle_ms: Option<u64>,
    pub(super) close_batch: Option<usize>,
    pub(super) commit: Option<String>,
}

/// One event: the fields of every kind together.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Event {
    pub(super) pipe: Option<String>,
    pub(super) p: i32,
    pub(super) k: Option<String>,
    pub(super) v: Option<String>,
    pub(super) t: i64,
    pub(super) advance_wall_ms: Option<u64>,
    pub(super) pause: Option<(String, i32)>,
    pub(super) resume: Option<(String, i32)>,
    pub(super) commit: bool,
    pub(super) restart: bool,
    pub(super) crash_in_close: Option<usize>,
    pub(super) finish: bool,
}

/// What must come out.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Answer {
    #[serde(rename = "id")]
    pub(super) _id: String,
    pub(super) topics: BTreeMap<String, Vec<Json>>,
    pub(super) watermarks: Vec<Json>,
    pub(super) announcements: Vec<Json>,
    pub(super) repartition: Vec<Json>,
    pub(super) late_records_total: BTreeMap<String, u64>,
    pub(super) bad_time_total: u64,
}

impl Line {
    pub(super) fn read(line: &str) -> Result<Line, serde_json::Error> {
        serde_json::from_str(line)
    }
}

impl Bounded {
    /// Whether an event of that name happens.
    pub(super) fn has_event(&self, name: &str) -> bool {
        self.events.iter().any(|event| match name {
            "restart" => event.restart,
            "crash_in_close" => event.crash_in_close.is_some(),
            other => panic!("later.toml: no event {other}"),
        })
    }
    /// The scenario for the reader of topologies. An aggregate gets the id of its windows as its name, so that its late records can be asked for.
    pub(super) fn for_reader(&self) -> format::Scenario {
        let whole = json!({"id": self.id, "feature": "", "purpose": self.purpose, "topology": self.topology, "events": []});
        let mut scenario: format::Scenario = serde_json::from_value(whole).expect("the topology language is that of the other corpus");
        let windows: Vec<String> = self.windows();
        let aggregates = scenario.topology.iter_mut().filter(|op| matches!(op.op.as_str(), "count" | "aggregate"));
        for op in aggregates {
            let windowed = windows.iter().find(|id| op.input(0) == *id).cloned();
            op.name = windowed;
        }
        scenario
    }
    /// Ids of the `windowed_by` operations.
    pub(super) fn windows(&self) -> Vec<String> {
        let ops: Vec<Op> = serde_json::from_value(self.topology.clone()).expect("a list of operations");
        ops.into_iter().filter(|op| op.op == "windowed_by").filter_map(|op| op.id).collect()
    }
}
