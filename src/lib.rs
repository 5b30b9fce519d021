//! Kafka Streams for Rust, with event-time watermarks per partition, in one static binary.

mod clock;
mod error;
pub mod kafka;
mod record;
pub mod serdes;
mod state;
mod watermark;
mod window;

pub use clock::{Clock, ManualClock, SystemClock};
pub use error::{BoxError, Error, ErrorKind, OnError, Place, SerdeError, StoreError, TopologyError, TopologyProblem};
pub use record::{Change, Data, Headers, RawRecord, Record, TaskId, Timestamp, TopicPartition};
pub use serdes::{DefaultSerde, Role, Serde, Slot};
pub use state::{
    Batch, DefaultStore, Direction, KeyPrefix, KeyRange, KeyValueStore, KeyValueView, Materialized, MemoryBackend, Names, Scan,
    SessionStore, SessionView, Stamped, Store, StoreBackend, StoreRef, StoreSet, SuppressStore, Unnamed, Visit, WindowStore, WindowView,
};
pub use window::{
    Buffer, EmitStrategy, SessionWindow, SessionWindows, SlidingWindows, Suppressed, TimeWindow, TimeWindows, UnlimitedWindows, Watermark,
    Windowed,
};
