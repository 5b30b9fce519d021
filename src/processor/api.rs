//! The Processor API: a user's own operator, with stores as fields.

use std::time::Duration;

use crate::error::{BoxError, ErrorKind, Fault, Flow};
use crate::processor::edge::Driven;
use crate::processor::punctuation::ScheduleId;
use crate::processor::{NodeInfo, Outputs, Receive, TaskContext, TimeKind};
use crate::record::{Data, Headers, Meta, Record, Timestamp};

/// A user's own operator: holds its stores as fields, forwards what it likes.
///
/// ```text
/// 1. the constructor given to `process` runs once per task, with the task's stores
/// 2. `init`      schedule punctuations
/// 3. `process`   one record at a time, never two at once
/// 4. `punctuate` between records, when a schedule is due
/// 5. drop        when the task closes
/// ```
#[diagnostic::on_unimplemented(message = "`{Self}` is not a `Processor` of this stream")]
pub trait Processor: Send + 'static {
    /// `Record<K, V>` of the stream it is attached to.
    type In;
    /// `Record<K, V>` of the stream it makes.
    type Out;

    /// Called once, before the first record. An error stops the task.
    fn init(&mut self, _cx: &mut Context<'_, Self::Out>) -> Result<(), BoxError> {
        Ok(())
    }
    /// Called for every record. An error goes to the operator's policy.
    fn process(&mut self, record: Self::In, cx: &mut Context<'_, Self::Out>) -> Result<(), BoxError>;
    /// Called when a schedule made with [`Context::schedule`] is due; `at` is the time of its clock. An error goes to the policy.
    fn punctuate(&mut self, _timer: Timer, _at: Timestamp, _cx: &mut Context<'_, Self::Out>) -> Result<(), BoxError> {
        Ok(())
    }
}

/// A processor that cannot change the key, so that its stream stays partitioned as it was.
#[diagnostic::on_unimplemented(message = "`{Self}` is not a `FixedKeyProcessor` of this stream")]
pub trait FixedKeyProcessor: Send + 'static {
    /// The key type of the stream.
    type Key;
    /// The value type of the stream it is attached to.
    type In;
    /// The value type of the stream it makes.
    type Out;

    /// Called once, before the first record. An error stops the task.
    fn init(&mut self, _cx: &mut Context<'_, FixedKeyRecord<Self::Key, Self::Out>>) -> Result<(), BoxError> {
        Ok(())
    }
    /// Called for every record. An error goes to the operator's policy.
    fn process(
        &mut self,
        record: FixedKeyRecord<Self::Key, Self::In>,
        cx: &mut Context<'_, FixedKeyRecord<Self::Key, Self::Out>>,
    ) -> Result<(), BoxError>;
}

/// A record whose key can be read but not changed.
#[derive(Clone, Debug, PartialEq)]
pub struct FixedKeyRecord<K, V> {
    key: K,
    /// The payload.
    pub value: V,
    /// Event time.
    pub timestamp: Timestamp,
    /// Headers, as they will be forwarded.
    pub headers: Headers,
}

impl<K, V> FixedKeyRecord<K, V> {
    /// The key.
    pub fn key(&self) -> &K {
        &self.key
    }
    /// The same record with another value.
    pub fn with_value<V2>(self, value: V2) -> FixedKeyRecord<K, V2> {
        FixedKeyRecord { key: self.key, value, timestamp: self.timestamp, headers: self.headers }
    }
}

/// When a punctuation is due. Source of the rules: KS-P5.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Punctuate {
    /// Each time event time (stream time, or the watermark in bounded mode) has moved on by this much; first with the first data.
    EventTime(Duration),
    /// Each time the wall clock has moved on by this much; first one interval after scheduling.
    WallClock(Duration),
    /// Event time, due at the anchor plus multiples of the interval.
    EventTimeFrom(Duration, Timestamp),
    /// Wall clock, due at the anchor plus multiples of the interval.
    WallClockFrom(Duration, Timestamp),
}

impl Punctuate {
    /// The same schedule, due at `start` plus multiples of its interval.
    pub const fn anchored_at(self, start: Timestamp) -> Self {
        match self {
            Punctuate::EventTime(every) | Punctuate::EventTimeFrom(every, _) => Punctuate::EventTimeFrom(every, start),
            Punctuate::WallClock(every) | Punctuate::WallClockFrom(every, _) => Punctuate::WallClockFrom(every, start),
        }
    }
}

/// Names a schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Timer(ScheduleId);

/// What a processor may do besides keeping state.
pub struct Context<'a, Out> {
    task: &'a mut TaskContext,
    next: &'a mut dyn Forward<Out>,
    fault: Option<Fault>,
    /// What is wrong with a record that the processor wanted to forward.
    refused: Option<BoxError>,
    /// Index of this node among the driven nodes of its task.
    driven: usize,
}

trait Forward<Out> {
    fn time_of(&self, record: &Out) -> Timestamp;
    fn forward(&mut self, record: Out, task: &mut TaskContext) -> Flow;
    fn forward_to(&mut self, child: &str, record: Out, task: &mut TaskContext) -> Option<Flow>;
}

impl<K: Data, V: Data> Forward<Record<K, V>> for Outputs<K, V> {
    fn time_of(&self, record: &Record<K, V>) -> Timestamp {
        record.timestamp
    }
    fn forward(&mut self, record: Record<K, V>, task: &mut TaskContext) -> Flow {
        let Record { key, value, timestamp, headers } = record;
        self.all(key, value, &Meta { timestamp, headers }, task)
    }
    fn forward_to(&mut self, child: &str, record: Record<K, V>, task: &mut TaskContext) -> Option<Flow> {
        let Record { key, value, timestamp, headers } = record;
        let (_, child) = self.0.iter_mut().find(|(name, _)| **name == *child)?;
        Some(child.receive(key, value, &Meta { timestamp, headers }, task))
    }
}

impl<K: Data, V: Data> Forward<FixedKeyRecord<K, V>> for Outputs<K, V> {
    fn time_of(&self, record: &FixedKeyRecord<K, V>) -> Timestamp {
        record.timestamp
    }
    fn forward(&mut self, record: FixedKeyRecord<K, V>, task: &mut TaskContext) -> Flow {
        let FixedKeyRecord { key, value, timestamp, headers } = record;
        self.all(key, value, &Meta { timestamp, headers }, task)
    }
    fn forward_to(&mut self, child: &str, record: FixedKeyRecord<K, V>, task: &mut TaskContext) -> Option<Flow> {
        let FixedKeyRecord { key, value, timestamp, headers } = record;
        let (_, child) = self.0.iter_mut().find(|(name, _)| **name == *child)?;
        Some(child.receive(key, value, &Meta { timestamp, headers }, task))
    }
}

impl<Out> Context<'_, Out> {
    /// Hands a record to the next operators. A failure there is not yours: it stops the task after you return. A record before
    /// the epoch is refused, as Kafka would refuse it, and counts as an error of yours.
    pub fn forward(&mut self, record: Out) {
        if self.takes(&record) {
            let at = self.task.record_clock.get();
            self.fault = self.next.forward(record, self.task).err();
            self.task.record_clock.set(at);
        }
    }
    /// Hands a record to the next operator of that name only.
    ///
    /// # Errors
    /// If no operator behind this one is `.named` so.
    pub fn forward_to(&mut self, child: &str, record: Out) -> Result<(), BoxError> {
        if self.takes(&record) {
            let at = self.task.record_clock.get();
            let sent = self.next.forward_to(child, record, self.task);
            self.task.record_clock.set(at);
            self.fault = sent.ok_or_else(|| format!("no operator behind this one is called `{child}`: name it with `.named(..)`"))?.err();
        }
        Ok(())
    }
    fn takes(&mut self, record: &Out) -> bool {
        let at = self.next.time_of(record);
        if at < Timestamp::from_millis(0) && self.refused.is_none() {
            self.refused = Some(format!("a record at {at} cannot be forwarded: no record is before the epoch").into());
        }
        self.fault.is_none() && self.refused.is_none()
    }
    /// The runtime's clock. Processors must not read any other.
    pub fn wall_clock(&self) -> Timestamp {
        self.task.wall_clock
    }
    /// Event time of the task: the largest timestamp taken so far (-1 at first), or, in bounded mode, the watermark.
    pub fn event_time(&self) -> Timestamp {
        if self.task.bounded { self.task.watermark.unwrap_or(Timestamp::UNKNOWN) } else { self.task.stream_time }
    }
    /// Topic, partition and offset of the record that caused this call; none in a punctuation.
    pub fn source(&self) -> Option<(&str, i32, i64)> {
        let origin = &self.task.origin;
        origin.known.then_some((&*origin.topic, origin.partition, origin.offset))
    }
    /// Asks for `punctuate` to be called again and again.
    ///
    /// # Errors
    /// If the interval is shorter than a millisecond.
    pub fn schedule(&mut self, every: Punctuate) -> Result<Timer, BoxError> {
        let (kind, every, anchor) = match every {
            Punctuate::EventTime(every) => (TimeKind::Event, every, None),
            Punctuate::WallClock(every) => (TimeKind::Wall, every, None),
            Punctuate::EventTimeFrom(every, at) => (TimeKind::Event, every, Some(at)),
            Punctuate::WallClockFrom(every, at) => (TimeKind::Wall, every, Some(at)),
        };
        if every < Duration::from_millis(1) {
            return Err(format!("a schedule every {every:?}: the shortest interval is one millisecond").into());
        }
        let now = match kind {
            TimeKind::Event => self.event_time(),
            TimeKind::Wall => self.wall_clock(),
        };
        Ok(Timer(self.task.schedules.add(kind, every, anchor, now, self.driven)))
    }
    /// Ends a schedule.
    pub fn cancel(&mut self, timer: Timer) {
        self.task.schedules.cancel(timer.0);
    }
    /// Asks for a commit soon.
    pub fn request_commit(&mut self) {
        self.task.commit_requested = true;
    }
}

/// What [`ProcessorNode`] and [`FixedNode`] share: the call with a context, and whose fault a failure is.
struct Caller<K, V> {
    node: NodeInfo,
    outputs: Outputs<K, V>,
    driven: usize,
}

impl<K: Data, V: Data> Caller<K, V> {
    fn call<Out>(
        &mut self,
        task: &mut TaskContext,
        act: impl FnOnce(&mut Context<'_, Out>) -> Result<(), BoxError>,
    ) -> (Result<(), BoxError>, Flow)
    where
        Outputs<K, V>: Forward<Out>,
    {
        let mut cx = Context { task, next: &mut self.outputs, fault: None, refused: None, driven: self.driven };
        let result = act(&mut cx).and(cx.refused.take().map_or(Ok(()), Err));
        (result, cx.fault.map_or(Ok(()), Err))
    }

    /// The user's own error goes to the policy, a failure downstream stops the task.
    fn settle(&self, (result, downstream): (Result<(), BoxError>, Flow), meta: Option<&Meta>, task: &mut TaskContext) -> Flow {
        downstream?;
        result.or_else(|error| match meta {
            Some(meta) => task.failed(&self.node, meta, error),
            None => task.failed_between_records(&self.node, error),
        })
    }

    fn settle_init(&self, (result, downstream): (Result<(), BoxError>, Flow), task: &mut TaskContext) -> Flow {
        downstream?;
        result.map_err(|error| task.fatal(&self.node, ErrorKind::Processing, error))
    }
}

/// Runs a user's [`Processor`].
pub(crate) struct ProcessorNode<P, K2, V2> {
    processor: P,
    caller: Caller<K2, V2>,
}

impl<P, K2: Data, V2: Data> ProcessorNode<P, K2, V2> {
    /// `driven`: this node's index among the task's driven nodes.
    pub(crate) fn new(processor: P, node: NodeInfo, outputs: Outputs<K2, V2>, driven: usize) -> Self {
        ProcessorNode { processor, caller: Caller { node, outputs, driven } }
    }
}

impl<P, K: Data, V: Data, K2: Data, V2: Data> Receive<K, V> for ProcessorNode<P, K2, V2>
where
    P: Processor<In = Record<K, V>, Out = Record<K2, V2>>,
{
    fn receive(&mut self, key: K, value: V, meta: &Meta, cx: &mut TaskContext) -> Flow {
        let record = Record { key, value, timestamp: meta.timestamp, headers: meta.headers.clone() };
        cx.record_clock.set_record(&cx.write_context(meta)); // stores that the processor writes to keep it in their caches
        let done = self.caller.call(cx, |cx| self.processor.process(record, cx));
        self.caller.settle(done, Some(meta), cx)
    }
}

impl<P, K2: Data, V2: Data> Driven for ProcessorNode<P, K2, V2>
where
    P: Processor<Out = Record<K2, V2>>,
{
    fn init(&mut self, cx: &mut TaskContext) -> Flow {
        let done = self.caller.call(cx, |cx| self.processor.init(cx));
        self.caller.settle_init(done, cx)
    }
    fn punctuate(&mut self, schedule: ScheduleId, _: TimeKind, at: Timestamp, cx: &mut TaskContext) -> Flow {
        let done = self.caller.call(cx, |cx| self.processor.punctuate(Timer(schedule), at, cx));
        self.caller.settle(done, None, cx)
    }
}

/// Runs a user's [`FixedKeyProcessor`].
pub(crate) struct FixedNode<P, K, V2> {
    processor: P,
    caller: Caller<K, V2>,
}

impl<P, K: Data, V2: Data> FixedNode<P, K, V2> {
    /// `driven`: this node's index among the task's driven nodes.
    pub(crate) fn new(processor: P, node: NodeInfo, outputs: Outputs<K, V2>, driven: usize) -> Self {
        FixedNode { processor, caller: Caller { node, outputs, driven } }
    }
}

impl<P, K: Data, V: Data, V2: Data> Receive<K, V> for FixedNode<P, K, V2>
where
    P: FixedKeyProcessor<Key = K, In = V, Out = V2>,
{
    fn receive(&mut self, key: K, value: V, meta: &Meta, cx: &mut TaskContext) -> Flow {
        let record = FixedKeyRecord { key, value, timestamp: meta.timestamp, headers: meta.headers.clone() };
        cx.record_clock.set_record(&cx.write_context(meta)); // stores that the processor writes to keep it in their caches
        let done = self.caller.call(cx, |cx| self.processor.process(record, cx));
        self.caller.settle(done, Some(meta), cx)
    }
}

impl<P, K: Data, V2: Data> Driven for FixedNode<P, K, V2>
where
    P: FixedKeyProcessor<Key = K, Out = V2>,
{
    fn init(&mut self, cx: &mut TaskContext) -> Flow {
        let done = self.caller.call(cx, |cx| self.processor.init(cx));
        self.caller.settle_init(done, cx)
    }
}
