//! What the nodes of a task share while a record passes, and what happens when a node fails.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::config::DeadLetterHeaders;
use crate::error::{BoxError, Error, ErrorKind, Fault, Flow, OnError, Place, StoreError};
use crate::processor::Schedules;
use crate::processor::dead_letter;
use crate::processor::sink::{Outgoing, Output, Target, TooLarge};
use crate::record::{Headers, Meta, RawRecord, Timestamp};
use crate::state::{RecordClock, RecordContext, WriteContext};

/// The source record being processed. Its bytes are kept only where a dead letter may need them.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    /// False while a punctuation runs: there is no record then.
    pub(crate) known: bool,
    pub(crate) topic: Arc<str>,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) timestamp: Timestamp,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) headers: Headers,
}

impl Origin {
    /// Becomes that of a record; buffers are reused. The bytes are kept only if asked for.
    pub(crate) fn set(&mut self, raw: &RawRecord<'_>, keeps_bytes: bool) {
        self.known = true;
        if *self.topic != *raw.topic {
            self.topic = raw.topic.into();
        }
        (self.partition, self.offset, self.timestamp) = (raw.partition, raw.offset, raw.timestamp);
        self.headers.clone_from(raw.headers);
        if keeps_bytes {
            keep(&mut self.key, raw.key);
            keep(&mut self.value, raw.value);
        }
    }
}

impl Default for Origin {
    fn default() -> Self {
        Origin {
            known: false,
            topic: "".into(),
            partition: -1,
            offset: -1,
            timestamp: Timestamp::UNKNOWN,
            key: None,
            value: None,
            headers: Headers::default(),
        }
    }
}

/// What a task counts. Shared with whoever reports.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// Records dropped: null keys, late, undecodable, skipped by policy.
    pub(crate) dropped: AtomicU64,
    /// (record, window) pairs missed.
    pub(crate) late: AtomicU64,
    /// The same by the name of the node.
    pub(crate) late_by_node: Mutex<BTreeMap<Arc<str>, u64>>,
    /// Records whose time was too far ahead of the wall clock.
    pub(crate) bad_time: AtomicU64,
}

impl Counters {
    /// Pairs missed at one node.
    pub(crate) fn late_of(&self, node: &str) -> u64 {
        self.late_by_node.lock().unwrap_or_else(PoisonError::into_inner).get(node).copied().unwrap_or(0)
    }
}

/// What happens to records that fail, where neither the source nor the operator says otherwise.
#[derive(Clone, Debug)]
pub(crate) struct Policies {
    pub(crate) deserialization: OnError,
    pub(crate) processing: OnError,
    pub(crate) headers: DeadLetterHeaders,
}

impl Default for Policies {
    fn default() -> Self {
        Policies { deserialization: OnError::Fail, processing: OnError::Fail, headers: DeadLetterHeaders::default() }
    }
}

/// What nodes share while a record passes. The runtime fills in all time; nodes never ask a clock.
pub(crate) struct TaskContext {
    pub(crate) origin: Origin,
    pub(crate) output: Box<dyn Output>,
    pub(crate) wall_clock: Timestamp,
    /// The largest timestamp of a record taken for processing (KS-T1).
    pub(crate) stream_time: Timestamp,
    /// Bounded mode: the task's watermark; none while it has no value.
    pub(crate) watermark: Option<Timestamp>,
    /// The task's clock is bounded watermarks, not stream time.
    pub(crate) bounded: bool,
    /// Results one close pass may send before a commit may fall (DESIGN §3.10).
    pub(crate) close_batch: usize,
    pub(crate) schedules: Schedules,
    pub(crate) record_clock: Arc<RecordClock>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) policies: Policies,
    /// A dead letter may be written, so the bytes of the source record are kept.
    pub(crate) keeps_bytes: bool,
    pub(crate) commit_requested: bool,
}

/// Identity of a node that can fail.
#[derive(Clone)]
pub(crate) struct NodeInfo {
    pub(crate) name: Arc<str>,
    pub(crate) on_error: Option<OnError>,
}

impl TaskContext {
    pub(crate) fn new(output: Box<dyn Output>, record_clock: Arc<RecordClock>) -> Self {
        TaskContext {
            origin: Origin::default(),
            output,
            wall_clock: Timestamp::from_millis(0),
            stream_time: Timestamp::UNKNOWN,
            watermark: None,
            bounded: false,
            close_batch: usize::MAX,
            schedules: Schedules::default(),
            record_clock,
            counters: Arc::default(),
            policies: Policies::default(),
            keeps_bytes: false,
            commit_requested: false,
        }
    }

    /// Sets the time of the record that a node is about to see.
    pub(crate) fn at(&mut self, timestamp: Timestamp) {
        self.origin.timestamp = timestamp;
        self.record_clock.set(timestamp);
    }

    pub(crate) fn drop_record(&self, records: u64) {
        self.counters.dropped.fetch_add(records, Ordering::Relaxed);
    }

    /// A record missed this many windows of a node.
    #[cold]
    pub(crate) fn late_record(&self, node: &NodeInfo, windows: usize) {
        let pairs = windows as u64;
        self.counters.late.fetch_add(pairs, Ordering::Relaxed);
        *self.counters.late_by_node.lock().unwrap_or_else(PoisonError::into_inner).entry(node.name.clone()).or_default() += pairs;
        self.drop_record(pairs);
    }

    /// What a write to a store keeps of the record being processed.
    pub(crate) fn write_context<'c>(&'c self, meta: &'c Meta) -> WriteContext<'c> {
        let origin = &self.origin;
        WriteContext {
            timestamp: meta.timestamp,
            offset: origin.offset,
            partition: origin.partition,
            topic: origin.known.then_some(&origin.topic),
            headers: &meta.headers,
            source: (origin.key.as_deref(), origin.value.as_deref()),
        }
    }

    /// Runs `act` as if the record of `context` were being processed.
    pub(crate) fn within<R>(&mut self, context: &RecordContext, act: impl FnOnce(&mut Self) -> R) -> R {
        let origin = Origin {
            known: context.topic.is_some(),
            topic: context.topic.clone().unwrap_or_else(|| "".into()),
            partition: context.partition,
            offset: context.offset,
            timestamp: context.timestamp,
            key: context.source.as_ref().and_then(|source| source.key.clone()),
            value: context.source.as_ref().and_then(|source| source.value.clone()),
            headers: context.headers.clone(),
        };
        let before = std::mem::replace(&mut self.origin, origin);
        let at = self.record_clock.get();
        self.record_clock.set(context.timestamp);
        let result = act(self);
        self.origin = before;
        self.record_clock.set(at);
        result
    }

    /// Runs `act` as a punctuation at `now`: no record is being processed.
    pub(crate) fn between_records<R>(&mut self, now: Timestamp, act: impl FnOnce(&mut Self) -> R) -> R {
        let none = Origin { timestamp: now, ..Origin::default() };
        let before = std::mem::replace(&mut self.origin, none);
        self.record_clock.set(now);
        let result = act(self);
        self.origin = before;
        result
    }

    /// A user function failed: applies the node's policy, or the application's.
    #[cold]
    /// `meta` is that of the record as the node was given it.
    pub(crate) fn failed(&mut self, node: &NodeInfo, meta: &Meta, error: impl Into<BoxError>) -> Flow {
        let policy = node.on_error.clone().unwrap_or_else(|| self.policies.processing.clone());
        self.apply(&policy, node, Some(meta), ErrorKind::Processing, error.into())
    }

    /// The same in a punctuation, where there is no record.
    #[cold]
    pub(crate) fn failed_between_records(&mut self, node: &NodeInfo, error: impl Into<BoxError>) -> Flow {
        let policy = node.on_error.clone().unwrap_or_else(|| self.policies.processing.clone());
        self.apply(&policy, node, None, ErrorKind::Processing, error.into())
    }

    /// A result was not taken. If it was the result's own fault, the policy says what follows.
    #[cold]
    pub(crate) fn unsendable(&mut self, node: &NodeInfo, meta: &Meta, error: BoxError) -> Flow {
        if !error.is::<TooLarge>() {
            return Err(self.fatal(node, ErrorKind::Log, error));
        }
        let policy = node.on_error.clone().unwrap_or_else(|| self.policies.processing.clone());
        self.apply(&policy, node, Some(meta), ErrorKind::Log, error)
    }

    /// Bytes of a source record could not be decoded.
    #[cold]
    pub(crate) fn undecodable(&mut self, node: &NodeInfo, error: impl Into<BoxError>) -> Flow {
        let policy = node.on_error.clone().unwrap_or_else(|| self.policies.deserialization.clone());
        self.apply(&policy, node, None, ErrorKind::Serde, error.into())
    }

    fn apply(&mut self, policy: &OnError, node: &NodeInfo, meta: Option<&Meta>, kind: ErrorKind, error: BoxError) -> Flow {
        match policy {
            OnError::Fail => Err(self.fatal(node, kind, error)),
            OnError::Skip => {
                tracing::warn!(node = %node.name, topic = %self.origin.topic, offset = self.origin.offset, %error, "record skipped");
                self.drop_record(1);
                Ok(())
            }
            OnError::DeadLetter(topic) => {
                self.drop_record(1);
                self.dead_letter(node, meta, topic, &*error)
            }
        }
    }

    /// Sends the source record to a dead letter topic. Kafka Streams gives it the timestamp and headers that the record had come
    /// to have when it failed, and so does its family of headers; ours keeps those of the source.
    fn dead_letter(
        &mut self,
        node: &NodeInfo,
        meta: Option<&Meta>,
        topic: &str,
        error: &(dyn std::error::Error + Send + Sync + 'static),
    ) -> Flow {
        let as_failed = meta.filter(|_| self.policies.headers == DeadLetterHeaders::KafkaStreams);
        let record = as_failed.map_or((&self.origin.headers, self.origin.timestamp), |meta| (&meta.headers, meta.timestamp));
        let (own, timestamp) = (record.0.clone(), record.1);
        let headers = dead_letter::headers(self.policies.headers, &self.origin, own, &node.name, error, self.wall_clock);
        let (key, value) = (self.origin.key.clone(), self.origin.value.clone());
        let target = key.as_deref().map_or(Target::Any, Target::ByKey);
        let outgoing = Outgoing { key: key.as_deref(), value: value.as_deref(), timestamp, headers: &headers, target };
        let slot = self.output.topic(topic);
        self.output.send(slot, outgoing).map_err(|error| self.fatal(node, ErrorKind::Log, error))
    }

    pub(crate) fn fatal(&self, node: &NodeInfo, kind: ErrorKind, error: impl Into<BoxError>) -> Fault {
        Fault(Box::new(Error::new(kind, self.place(Some(&node.name)), error.into())))
    }

    pub(crate) fn corrupt(&self, node: &NodeInfo, error: StoreError) -> Fault {
        let kind = match error {
            StoreError::Serde { .. } => ErrorKind::Serde,
            StoreError::Backend { .. } => ErrorKind::CorruptState,
        };
        self.fatal(node, kind, error)
    }

    pub(crate) fn place(&self, node: Option<&str>) -> Place {
        let origin = self.origin.known.then_some(&self.origin);
        Place {
            node: node.map(str::to_owned),
            topic: origin.map(|origin| origin.topic.to_string()),
            partition: origin.map(|origin| origin.partition),
            offset: origin.map(|origin| origin.offset),
        }
    }
}

fn keep(kept: &mut Option<Vec<u8>>, bytes: Option<&[u8]>) {
    match bytes {
        Some(bytes) => {
            let kept = kept.get_or_insert_default();
            kept.clear();
            kept.extend_from_slice(bytes);
        }
        None => *kept = None,
    }
}
