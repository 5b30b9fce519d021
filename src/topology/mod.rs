//! The logical graph, as data: the calls an author made, replayed into named nodes, stores, topics and sub-topologies.
//!
//! 1. `draft` holds the calls. 2. `replay` gives names and numbers and adds physical nodes, as Kafka Streams would (A14).
//! 3. `node` is the result, the [`Plan`](node::Plan). 4. `describe` and its kin print it. 5. `assemble` makes a running task of it.

pub(crate) mod assemble;
pub(crate) use assemble::Assembly;
mod built;
mod describe;
mod dot;
pub(crate) mod draft;
mod explain;
mod hash_order;
mod internal_topic;
mod mermaid;
mod naming;
pub(crate) mod node;
mod replay;
mod shape;
#[cfg(test)]
mod tests;
mod time;

pub use built::Topology;
pub use draft::OffsetReset;
pub(crate) use internal_topic::full_name;
pub use internal_topic::{SubtopologyInfo, TopicConfig};
pub(crate) use naming::is_legal;
pub(crate) use node::NodeId;
