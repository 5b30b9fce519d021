//! What job authors write: typed streams and tables, each method a few lines that record one call.
//!
//! Nothing runs and nothing is named here. A method appends a [`Call`](crate::topology::draft::Call) with the factories
//! of its nodes; `build` replays the calls.

mod builder;
mod grouped;
mod options;
mod split;
mod stream;
mod table;
mod topic;
mod windowed;
mod windows;

pub use builder::StreamsBuilder;
pub use grouped::KGroupedStream;
pub use options::{Consumed, Grouped, Joined, Produced, Repartitioned};
pub use split::Split;
pub use stream::{KStream, SinkHandle};
pub use table::KTable;
pub use topic::Topic;
pub use windowed::{SessionWindowedKStream, TimeWindowedKStream};
pub use windows::Windows;
