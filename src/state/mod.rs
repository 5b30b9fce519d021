//! What a task remembers.
//!
//! ```text
//! KeyValueStore<K, V>, WindowStore, SessionStore   typed faces; each derefs to its reading face, the View
//!   record cache          optional; decides what is emitted downstream, at flush (Kafka Streams' order)
//!   write-back table      what this transaction changed, and a read cache
//!   StoreBackend          ordered bytes, committed data only
//! ```
//!
//! Changelog records are collected by the store and handed to a `ChangelogSink` at commit. This room does not know Kafka.

mod backend;
mod buffer_core;
mod cache;
mod changelog;
mod codec;
mod content;
mod context;
mod control;
mod expiring;
mod gap;
mod home;
mod index;
mod key_schema;
mod key_value;
mod key_value_core;
mod known;
mod lock;
mod open;
mod order;
mod retention;
mod rows;
mod session;
mod session_core;
mod session_rows;
mod slots;
mod spec;
mod store_ref;
mod store_set;
mod suppress;
mod table;
mod time_index;
mod window;
mod window_core;
mod window_cursor;
mod window_rows;

pub(crate) use backend::Engine;
pub use backend::{Batch, Direction, KeyRange, MemoryBackend, StoreBackend, Visit};
pub(crate) use buffer_core::BufferCore;
pub(crate) use cache::{CacheBudget, Flushed};
pub(crate) use codec::Codecs;
pub use codec::Stamped;
pub(crate) use context::{RecordContext, WriteContext};
pub(crate) use home::{HomeSettings, MemoryRows, Shapes, StateHome, TaskLease, drawn_id, store_line};
pub(crate) use key_schema::{split_session_key, split_window_key};
pub use key_value::{KeyPrefix, KeyValueStore, KeyValueView, Scan};
pub(crate) use key_value_core::KeyValueCore;
pub(crate) use lock::lock;
pub(crate) use open::{ChangelogRecord, ChangelogSink, OpenFn, OpenStore, Opened, RecordClock, StoreControl, StoreEnvironment};
pub use session::{SessionStore, SessionView};
pub(crate) use session_core::SessionCore;
pub(crate) use spec::{Dedup, Layout, StoreKind, StoreSpec};
pub use store_ref::{DefaultStore, Materialized, Names, Store, StoreRef, Unnamed};
pub use store_set::StoreSet;
pub(crate) use store_set::{PlannedStore, StorePlan};
pub use suppress::SuppressStore;
pub use window::{WindowStore, WindowView};
pub(crate) use window_core::WindowCore;
pub(crate) use window_cursor::WindowCursor;

#[cfg(test)]
mod conformance;
#[cfg(test)]
mod tests;
