//! Testing a topology without a broker. Public, without dependencies of its own.
//!
//! `driver` is the face; behind it a topology runs in one of two ways: `stream_time`, one task for everything as in Kafka Streams'
//! own driver, or `bounded`, one task per sub-topology and partition, as the engine would run it. `cluster` is the engine itself, several
//! instances of it on a log in memory, stepped by hand.

mod bare_task;
mod bounded;
mod builder;
mod capture;
mod cluster;
mod driver;
mod feed;
mod heap;
mod layout;
mod stream_time;
mod typed;

#[doc(hidden)]
pub use bare_task::BareTask;
pub use bounded::Announced;
pub use builder::TopologyTestDriverBuilder;
pub use capture::RawOutput;
pub use cluster::{Cluster, ClusterBuilder, CommittedPosition, LoggedRecord, StoreStanding};
pub use driver::TopologyTestDriver;
