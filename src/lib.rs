//! Kafka Streams for Rust, with event-time watermarks per partition, in one static binary.

mod clock;
mod config;
mod dsl;
mod error;
pub mod kafka;
mod processor;
mod record;
mod runtime;
pub mod serdes;
mod state;
mod testing;
mod topology;
mod watermark;
mod window;

pub use clock::{Clock, ManualClock, SystemClock};
pub use config::{BuildSettings, DeadLetterHeaders, Settings, StoreType};
pub use dsl::{
    Consumed, Grouped, Joined, KGroupedStream, KStream, KTable, Produced, Repartitioned, SessionWindowedKStream, SinkHandle, Split,
    StreamsBuilder, TimeWindowedKStream, Topic, Windows,
};
pub use error::{BoxError, Error, ErrorKind, OnError, Place, SerdeError, StoreError, TopologyError, TopologyProblem};
pub use processor::{
    Context, FixedKeyProcessor, FixedKeyRecord, InvalidTimestamp, Outcome, Processor, Punctuate, Row, SinkContext, SinkValue, Timer,
    Verdict,
};
pub use record::{Change, Data, Headers, RawRecord, Record, TaskId, Timestamp, TopicPartition};
pub use runtime::{InputProgress, Launch, Progress, RestoreProgress, State, Streams, TaskFailure, TaskProgress};
pub use serdes::{DefaultSerde, Role, Serde, Slot};
pub use state::{
    Batch, DefaultStore, Direction, KeyPrefix, KeyRange, KeyValueStore, KeyValueView, Materialized, MemoryBackend, Names, Scan,
    SessionStore, SessionView, Stamped, Store, StoreBackend, StoreRef, StoreSet, SuppressStore, Unnamed, Visit, WindowStore, WindowView,
};
#[doc(hidden)]
pub use testing::BareTask;
pub use testing::{Announced, RawOutput, TopologyTestDriver, TopologyTestDriverBuilder};
pub use topology::{OffsetReset, SubtopologyInfo, TopicConfig, Topology};
pub use window::{
    Buffer, EmitStrategy, SessionWindow, SessionWindows, SlidingWindows, Suppressed, TimeWindow, TimeWindows, UnlimitedWindows, Watermark,
    Windowed,
};

/// The Rust of the README is compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeDoctests;
