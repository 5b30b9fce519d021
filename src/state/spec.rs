//! What a store is, as data: kind, layout, retention, logging. The topology names it, a task opens it.

use std::collections::BTreeMap;

/// The face a store has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StoreKind {
    /// One value per key.
    KeyValue,
    /// One value per key and window start; with duplicates kept, one per put.
    Window {
        /// Length of a window in ms, to tell its end.
        size_ms: i64,
        /// Keep every put of equal key and start (stores of stream joins).
        duplicates: bool,
    },
    /// One value per key, session end and session start.
    Session,
    /// Updates held back by `suppress`.
    Buffer,
}

/// Where rows live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// A persistent backend; iterates several keys by key, then time.
    Persistent,
    /// Memory only, restored from the changelog; iterates several keys of a window store by time, then key.
    InMemory,
    /// At most this many rows; the least recently used one goes first.
    Lru(usize),
}

/// How changelog records are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) enum Dedup {
    /// The last value of each key per commit, in the order of each key's latest write.
    #[default]
    Commit,
    /// Every write, in order: as Kafka Streams does.
    Off,
}

/// What a store is. `None` means: the application's default.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct StoreSpec {
    pub(crate) kind: StoreKind,
    /// Rows carry the event time of their last change in front of the value.
    pub(crate) stamped: bool,
    pub(crate) layout: Option<Layout>,
    /// A plain backend below a stamped face (Kafka Streams' adapter): rows come back from it with time -1.
    pub(crate) plain_backend: bool,
    pub(crate) caching: Option<bool>,
    pub(crate) logging: bool,
    /// Settings of the changelog topic, over the library's.
    pub(crate) topic_config: BTreeMap<String, String>,
    /// How long windows and sessions are kept behind the newest time, in ms.
    pub(crate) retention_ms: Option<i64>,
    pub(crate) dedup: Option<Dedup>,
}

impl StoreSpec {
    /// The defaults of a kind.
    pub(crate) fn new(kind: StoreKind) -> Self {
        let stamped = matches!(kind, StoreKind::KeyValue | StoreKind::Window { .. });
        StoreSpec {
            kind,
            stamped,
            layout: None,
            plain_backend: false,
            caching: None,
            logging: true,
            topic_config: BTreeMap::new(),
            retention_ms: None,
            dedup: None,
        }
    }
}
