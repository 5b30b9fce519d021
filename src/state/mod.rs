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

mod open;
mod spec;
mod store_ref;
