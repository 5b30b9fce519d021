//! Kafka Streams for Rust, with event-time watermarks per partition, in one static binary.
//!
//! # From records to results
//!
//! 1. Name each topic once, with its types, as a [`Topic`] constant.
//! 2. Say on a [`StreamsBuilder`] what is read, changed, grouped, counted and written. Nothing runs yet.
//! 3. [`build`](StreamsBuilder::build) gives a [`Topology`], or every problem of it at once, each with its fix.
//! 4. Try it with a [`TopologyTestDriver`]: no broker, no threads, no clock.
//! 5. Run it with [`Streams::start`], over a [`MemoryLog`](kafka::MemoryLog) in this process or another log behind the same ports.
//!
//! # Sessions, each once when it is over
//!
//! ```
//! use std::time::Duration;
//! use highwater::{SessionWindow, SessionWindows, StreamsBuilder, Suppressed, Timestamp, Topic, TopologyTestDriver, Windowed};
//!
//! const CLICKS: Topic<String, String> = Topic::new("clicks"); // user, page
//! const VISITS: Topic<Windowed<String, SessionWindow>, i64> = Topic::new("visits");
//!
//! let builder = StreamsBuilder::new();
//! builder
//!     .stream(CLICKS)
//!     .group_by_key()
//!     .windowed_by(SessionWindows::with_gap(Duration::from_secs(30)))
//!     .count("clicks-per-visit")
//!     .suppress("whole-visits", Suppressed::until_window_closes())
//!     .to(VISITS);
//!
//! let mut driver = TopologyTestDriver::new(&builder.build()?);
//! for (user, second) in [("ann", 1), ("ann", 20), ("ann", 200)] {
//!     driver.pipe(&CLICKS, user.to_owned(), "home".to_owned(), Timestamp::from_secs(second))?;
//! }
//! let visits = driver.read_all(&VISITS); // the visit of second 200 may still go on
//! assert_eq!(visits.len(), 1);
//! assert_eq!((visits[0].0.window.end, visits[0].1), (Timestamp::from_secs(20), 2));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! This is **stream time**, Kafka Streams' own: time is the largest timestamp seen, so the last windows stay open until a later record
//! comes. A source with a [`Watermark`] runs in **bounded** mode: time passes per partition, goes on when a partition falls silent, and
//! the declared end of input ([`finish`](TopologyTestDriver::finish), [`declare_end`](Streams::declare_end)) closes every window.
//!
//! # A join, and records that go wrong
//!
//! Functions that can fail begin with `try_`; `on_error` after an operator, or on [`Consumed`] for bytes that do not decode, says what
//! happens then. A dead letter has the bytes of the source record, with where and why in its headers.
//!
//! ```
//! use highwater::{Consumed, Headers, OnError, StreamsBuilder, Timestamp, Topic, TopologyTestDriver};
//!
//! const PRICES: Topic<String, i64> = Topic::new("prices"); // article, cents
//! const ORDERS: Topic<String, i64> = Topic::new("orders"); // article, how many
//! const SALES: Topic<String, i64> = Topic::new("sales");
//!
//! let builder = StreamsBuilder::new();
//! let prices = builder.table(PRICES);
//! builder
//!     .stream(Consumed::with(ORDERS).on_error(OnError::dead_letter("bad-orders")))
//!     .try_join_table(&prices, |_article, pieces: i64, cents: i64| pieces.checked_mul(cents).ok_or("too dear"))
//!     .on_error(OnError::dead_letter("bad-orders"))
//!     .to(SALES);
//!
//! let mut driver = TopologyTestDriver::new(&builder.build()?);
//! driver.pipe(&PRICES, "tea".to_owned(), 250, Timestamp::from_secs(1))?;
//! driver.pipe(&ORDERS, "tea".to_owned(), 3, Timestamp::from_secs(2))?;
//! driver.pipe(&ORDERS, "tea".to_owned(), i64::MAX, Timestamp::from_secs(3))?;
//! driver.pipe_bytes("orders", Some(b"tea"), Some(b"three"), Timestamp::from_secs(4), Headers::default())?;
//! assert_eq!(driver.read_all(&SALES), [("tea".to_owned(), 750)]);
//! assert_eq!(driver.take_records("bad-orders").len(), 2);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Codecs
//!
//! `Topic<String, i64>` uses the [`DefaultSerde`] of its types, which writes what Kafka's own serializers write. `Option<V>` reads a null
//! (a tombstone, a record without a key) as `None`; a plain `V` refuses it. [`Topic::with`] takes other codecs, [`serdes`] has some.

mod clock;
mod config;
mod dsl;
mod error;
mod failpoint;
pub mod kafka;
mod processor;
mod record;
mod runtime;
pub mod serdes;
mod state;
mod telemetry;
mod testing;
mod topology;
mod watermark;
mod window;

pub use clock::{Clock, ManualClock, SystemClock};
pub use config::{
    BuildSettings, CreateTopics, DeadLetterHeaders, Guarantee, LostChangelog, LostRecords, MissingPosition, ProducerScope, Settings,
    StoreType,
};
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
pub use runtime::{
    Closing, Gate, InputProgress, Launch, PlannedTopic, Progress, RestoreProgress, State, Streams, TaskFailure, TaskGate, TaskProgress,
    TopicRole, patiently,
};
pub use serdes::{DefaultSerde, Role, Serde, Slot};
pub use state::{
    Batch, DefaultStore, Direction, KeyPrefix, KeyRange, KeyValueStore, KeyValueView, Materialized, MemoryBackend, Names, Scan,
    SessionStore, SessionView, Stamped, Store, StoreBackend, StoreRef, StoreSet, SuppressStore, Unnamed, Visit, WindowStore, WindowView,
};
pub use telemetry::describe_metrics;
#[doc(hidden)]
pub use testing::BareTask;
pub use testing::{
    Announced, Cluster, ClusterBuilder, CommittedPosition, LoggedRecord, RawOutput, StoreStanding, TopologyTestDriver,
    TopologyTestDriverBuilder,
};
pub use topology::{OffsetReset, SubtopologyInfo, TopicConfig, Topology};
pub use window::{
    Buffer, EmitStrategy, SessionWindow, SessionWindows, SlidingWindows, Suppressed, TimeWindow, TimeWindows, UnlimitedWindows, Watermark,
    Windowed,
};

/// The Rust of the README is compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeDoctests;
