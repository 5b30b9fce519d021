//! Stores against a model, against Kafka Streams' answers, and through commit, abort and restore.

mod buffers;
mod caches;
mod commits;
mod kills;
mod model;
mod replay;
mod rig;
pub(super) mod scratch;
