//! What happens to one record.
//!
//! A node of a running task receives typed records from its parent and hands typed records to its child: one virtual
//! call per edge, no downcast, no allocation. Types are erased only while the graph is data, and found again once, when a
//! task is assembled (see `topology`). A node never reads a clock, never holds a store's lock while it forwards, and
//! cannot see consumers, threads or commits.

pub(crate) mod aggregate;
mod api;
mod context;
mod dead_letter;
pub(crate) mod edge;
mod join;
mod late;
mod outcome;
mod punctuation;
mod rows;
mod session;
mod sink;
mod sliding;
mod source;
mod stateless;
mod suppress;
mod table;
mod windowed;

pub use api::{Context, FixedKeyProcessor, FixedKeyRecord, Processor, Punctuate, Timer};
pub(crate) use api::{FixedNode, ProcessorNode};
pub(crate) use context::{Counters, NodeInfo, Policies, TaskContext};
pub(crate) use edge::{Driven, Named, Next, Outputs, Receive, ReceiveRaw, Shared, SourceMaker, Staged, panicked_in};
pub(crate) use join::{FnLookup, Lookup, StoreLookup, TableJoin};
pub(crate) use late::Late;
pub use outcome::{Outcome, Row, Verdict};
pub(crate) use punctuation::{Schedules, TimeKind};
pub(crate) use rows::{KeyValueRows, SessionRows, SuppressRows, WindowRows};
pub(crate) use session::SessionAggregate;
pub(crate) use sink::{DynamicSink, Outgoing, Output, PartitionBy, Sink, Target, TooLarge};
pub use sink::{RecordContext as SinkContext, SinkValue};
pub(crate) use sliding::SlidingAggregate;
pub use source::InvalidTimestamp;
pub(crate) use source::{Extract, RawDecode, RawSource, Reading, Source};
pub(crate) use stateless::{Branches, Filter, FlatMap, ForEach, Map, NullKeyFilter, Pass, TryMap};
pub(crate) use suppress::{Suppress, SuppressLookup, Wait};
pub(crate) use table::{TableFilterMap, TableSource, ToStream};
pub(crate) use windowed::{NodeClock, TimeAggregate, WindowBounds, kept};
