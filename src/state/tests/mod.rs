//! Stores against a model, against Kafka Streams' answers, and through commit, abort and restore.

mod commits;
mod replay;
mod rig;
