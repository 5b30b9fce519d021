//! The scenario language and the stored answers, as they lie in the case files (shared/conformance/FORMAT.md).
//!
//! Unknown fields are refused: a scenario that this runner does not understand must fail loudly, not half run.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value as Json;

/// One line of a case file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Case {
    pub(crate) scenario: Scenario,
    pub(crate) answer: Answer,
    /// Set where Java's answer is a defect (section 11).
    pub(crate) note: Option<String>,
}

/// What happens.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Scenario {
    pub(crate) id: String,
    #[serde(rename = "feature")]
    _feature: String,
    pub(crate) purpose: String,
    pub(crate) api: Option<String>,
    #[serde(default)]
    pub(crate) config: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) wall_clock_ms: i64,
    pub(crate) topology: Vec<Op>,
    pub(crate) events: Vec<Event>,
    #[serde(default, rename = "ask_keys")]
    _ask_keys: Vec<Json>,
}

/// One operation of the topology: the fields of every kind together.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Op {
    pub(crate) op: String,
    pub(crate) id: Option<String>,
    #[serde(rename = "in")]
    pub(crate) input: Option<OneOrTwo>,
    pub(crate) name: Option<String>,
    #[serde(rename = "fn")]
    pub(crate) function: Option<String>,
    pub(crate) topics: Vec<String>,
    pub(crate) pattern: Option<String>,
    pub(crate) topic: Option<String>,
    pub(crate) topic_fn: Option<String>,
    pub(crate) key: Option<String>,
    pub(crate) value: Option<String>,
    pub(crate) extractor: Option<String>,
    pub(crate) reset: Option<String>,
    pub(crate) branches: Vec<Branch>,
    #[serde(rename = "default")]
    pub(crate) rest: Option<Rest>,
    pub(crate) stores: Vec<String>,
    pub(crate) partitions: Option<i32>,
    pub(crate) inherit_serdes: bool,
    pub(crate) store: Option<StoreField>,
    pub(crate) kind: Option<String>,
    pub(crate) supplier: Option<Supplier>,
    pub(crate) caching: Option<bool>,
    pub(crate) logging: Option<Logging>,
    pub(crate) window: Option<Window>,
    pub(crate) emit: Option<String>,
    pub(crate) init: Option<String>,
    pub(crate) add: Option<String>,
    pub(crate) sub: Option<String>,
    pub(crate) merge: Option<String>,
    pub(crate) until: Option<String>,
    pub(crate) wait_ms: i64,
    pub(crate) buffer: Option<BufferSpec>,
    pub(crate) key_fn: Option<String>,
    pub(crate) grace_ms: Option<i64>,
    pub(crate) this_store: Option<Json>,
    pub(crate) other_store: Option<Json>,
    pub(crate) store_name: Option<String>,
    pub(crate) store_type: Option<String>,
    pub(crate) parents: Vec<String>,
    pub(crate) processors: Vec<String>,
    pub(crate) source: Option<String>,
    pub(crate) watermark: Option<WatermarkSpec>,
    pub(crate) bad_time_to: Option<String>,
    pub(crate) late_to: Option<String>,
}

/// How a source bounds disorder (watermarks/FORMAT.md section 2).
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WatermarkSpec {
    pub(crate) disorder_ms: u64,
    pub(crate) idle_after_ms: Option<u64>,
    #[serde(default)]
    pub(crate) never_idle: bool,
}

impl Op {
    /// The id of input `index`.
    pub(crate) fn input(&self, index: usize) -> &str {
        match &self.input {
            Some(OneOrTwo::One(id)) if index == 0 => id,
            Some(OneOrTwo::Two(ids)) if index < ids.len() => &ids[index],
            _ => panic!("invalid scenario: `{}` has no input {index}", self.op),
        }
    }
    /// The text of a field that this operation must have.
    pub(crate) fn need<'a>(&self, field: &'a Option<String>) -> &'a str {
        field.as_deref().unwrap_or_else(|| panic!("invalid scenario: a field of `{}` is missing", self.op))
    }
    /// The function in `fn`.
    pub(crate) fn function(&self) -> &str {
        self.need(&self.function)
    }
}

/// `in`: an id or a list of two.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum OneOrTwo {
    One(String),
    Two(Vec<String>),
}

/// A branch of a split.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Branch {
    pub(crate) id: String,
    #[serde(rename = "fn")]
    pub(crate) function: String,
    pub(crate) name: Option<String>,
}

/// The default branch of a split.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rest {
    pub(crate) id: String,
    pub(crate) name: Option<String>,
}

/// `store`: an object at a DSL operator, the store's name at `add_store`.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum StoreField {
    Name(String),
    Spec(Box<StoreSpec>),
}

/// How an operator materializes (section 4.1).
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct StoreSpec {
    pub(crate) name: Option<String>,
    #[serde(rename = "type")]
    pub(crate) kind: Option<String>,
    pub(crate) supplier: Option<Supplier>,
    pub(crate) caching: Option<bool>,
    pub(crate) logging: Option<Logging>,
    pub(crate) retention_ms: Option<i64>,
}

/// An explicit store supplier (section 4.2).
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Supplier {
    pub(crate) kind: String,
    pub(crate) name: Option<String>,
    pub(crate) max_entries: Option<usize>,
    pub(crate) history_ms: Option<i64>,
    pub(crate) segment_ms: Option<i64>,
    pub(crate) retention_ms: Option<i64>,
    pub(crate) window_ms: Option<i64>,
    pub(crate) duplicates: bool,
}

/// `logging`: on, off, or on with topic settings.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum Logging {
    Switch(bool),
    Settings(BTreeMap<String, String>),
}

/// A window definition of any kind.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Window {
    pub(crate) kind: Option<String>,
    pub(crate) size_ms: Option<i64>,
    pub(crate) advance_ms: Option<i64>,
    pub(crate) gap_ms: Option<i64>,
    pub(crate) grace_ms: Option<i64>,
    pub(crate) start_ms: Option<i64>,
    pub(crate) diff_ms: Option<i64>,
    pub(crate) before_ms: Option<i64>,
    pub(crate) after_ms: Option<i64>,
}

/// The buffer of a suppression.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct BufferSpec {
    pub(crate) full: Option<String>,
    pub(crate) max_records: Option<usize>,
    pub(crate) max_bytes: Option<usize>,
}

/// Something that happens; exactly one of `pipe`, `advance_wall_ms` and `read_store` is there.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Event {
    pub(crate) pipe: Option<String>,
    pub(crate) k: Option<Json>,
    pub(crate) v: Option<Json>,
    pub(crate) t: i64,
    pub(crate) h: Vec<(String, Option<String>)>,
    pub(crate) k_hex: Option<String>,
    pub(crate) v_hex: Option<String>,
    pub(crate) advance_wall_ms: Option<i64>,
    pub(crate) read_store: Option<String>,
}

/// Header list: names and hex values.
pub(crate) type HeaderList = Vec<(String, Option<String>)>;

/// What Java answered, and the form in which this runner writes down what Highwater answers.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Answer {
    #[serde(rename = "id")]
    _id: String,
    #[serde(rename = "kafka")]
    _kafka: String,
    pub(crate) describe: Option<String>,
    pub(crate) subtopologies: Option<Vec<Subtopology>>,
    pub(crate) topics: BTreeMap<String, Vec<Row>>,
    pub(crate) unordered_topics: Vec<String>,
    pub(crate) stores: Option<BTreeMap<String, Content>>,
    pub(crate) reads: Vec<Read>,
    pub(crate) observed: BTreeMap<String, Vec<(i64, String, String)>>,
    pub(crate) dropped: Option<u64>,
    pub(crate) error: Option<Failure>,
}

/// The topics of a sub-topology.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Subtopology {
    pub(crate) source_topics: Vec<String>,
    pub(crate) sink_topics: Vec<String>,
    pub(crate) repartition_topics: BTreeMap<String, InternalTopic>,
    pub(crate) changelog_topics: BTreeMap<String, InternalTopic>,
}

/// A topic that Kafka Streams creates.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct InternalTopic {
    pub(crate) partitions: Option<i32>,
    pub(crate) config: BTreeMap<String, String>,
}

/// `[step, timestamp, key hex, value hex, headers, readable]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(from = "(i64, Option<i64>, Option<String>, Option<String>, HeaderList, String)")]
pub(crate) struct Row {
    pub(crate) step: i64,
    pub(crate) timestamp: Option<i64>,
    pub(crate) key: Option<String>,
    pub(crate) value: Option<String>,
    pub(crate) headers: HeaderList,
}

impl From<(i64, Option<i64>, Option<String>, Option<String>, HeaderList, String)> for Row {
    fn from(row: (i64, Option<i64>, Option<String>, Option<String>, HeaderList, String)) -> Self {
        let (step, timestamp, key, value, headers, _readable) = row;
        Row { step, timestamp, key, value, headers }
    }
}

/// The content of a store.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Content {
    pub(crate) kind: Option<String>,
    pub(crate) rows: Option<Vec<Vec<Json>>>,
    pub(crate) count: Option<usize>,
    pub(crate) unreadable: Option<String>,
}

/// A `read_store` and what it saw.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Read {
    pub(crate) step: i64,
    pub(crate) store: String,
    pub(crate) content: Content,
}

/// What went wrong.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Failure {
    pub(crate) phase: Phase,
    pub(crate) step: Option<i64>,
    pub(crate) chain: Vec<Thrown>,
}

/// When it went wrong, in the order in which a program meets them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Phase {
    Build,
    Start,
    Event,
    Close,
}

/// One exception of a chain.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Thrown {
    pub(crate) class: String,
    pub(crate) message: Option<String>,
}
