//! The logical graph, as data: the calls an author made, replayed into named nodes, stores, topics and sub-topologies.
//!
//! 1. `draft` holds the calls. 2. `replay` gives names and numbers and adds physical nodes, as Kafka Streams would (A14).
//! 3. `node` is the result, the [`Plan`]. 4. `describe` and its kin print it. 5. `assemble` makes a running task of it.

pub(crate) mod draft;
pub(crate) mod node;
