//! Runs the steps of `processors.rs` as the two kinds of processor that the library knows.

use std::time::Duration;

use highwater::{BoxError, Context, FixedKeyProcessor, FixedKeyRecord, Processor, Punctuate, Record, Timer, Timestamp};

use super::processors::{Done, Item, Port, Schedule, Step};
use super::value::Val;

type Rec = Record<Val, Val>;
type FixedRec = FixedKeyRecord<Val, Val>;

/// A step as a [`Processor`].
pub(crate) struct Free {
    pub(crate) step: Step,
    pub(crate) timer: Option<Timer>,
}

/// The context of one call, and what the step did wrong with it.
struct FreePort<'a, 'c> {
    cx: &'a mut Context<'c, Rec>,
    timer: &'a mut Option<Timer>,
    problem: Option<BoxError>,
}

impl FreePort<'_, '_> {
    fn note(&mut self, done: Result<(), BoxError>) {
        self.problem = self.problem.take().or(done.err());
    }
}

fn record(item: Item) -> Rec {
    Record { key: item.key, value: item.value, timestamp: Timestamp::from_millis(item.timestamp), headers: item.headers }
}

/// Java's record metadata in a punctuation: there, but of no topic.
fn metadata<Out>(cx: &Context<'_, Out>) -> String {
    let (topic, partition, offset) = cx.source().unwrap_or(("null", -1, -1));
    format!("{topic}/{partition}/{offset}")
}

impl Port for FreePort<'_, '_> {
    fn forward(&mut self, item: Item) {
        self.cx.forward(record(item));
    }
    fn forward_to(&mut self, child: &str, item: Item) {
        let done = self.cx.forward_to(child, record(item));
        self.note(done);
    }
    fn metadata(&self) -> String {
        metadata(self.cx)
    }
    fn stream_time(&self) -> i64 {
        self.cx.event_time().as_millis()
    }
    fn wall_clock(&self) -> i64 {
        self.cx.wall_clock().as_millis()
    }
    fn schedule(&mut self, schedule: Schedule) {
        let every = Duration::from_millis(u64::try_from(schedule.every_ms).unwrap_or(0));
        let punctuate = if schedule.wall { Punctuate::WallClock(every) } else { Punctuate::EventTime(every) };
        let anchored = schedule.start_ms.map_or(punctuate, |start| punctuate.anchored_at(Timestamp::from_millis(start)));
        match self.cx.schedule(anchored) {
            Ok(timer) => *self.timer = Some(timer),
            Err(problem) => self.note(Err(problem)),
        }
    }
    fn cancel(&mut self) {
        if let Some(timer) = self.timer.take() {
            self.cx.cancel(timer);
        }
    }
}

impl Free {
    fn call(&mut self, cx: &mut Context<'_, Rec>, act: impl FnOnce(&mut Step, &mut dyn Port) -> Done) -> Done {
        let mut port = FreePort { cx, timer: &mut self.timer, problem: None };
        let done = act(&mut self.step, &mut port);
        port.problem.map_or(done, Err)
    }
}

impl Processor for Free {
    type In = Rec;
    type Out = Rec;

    fn init(&mut self, cx: &mut Context<'_, Rec>) -> Result<(), BoxError> {
        self.call(cx, |step, port| {
            step.init(port);
            Ok(())
        })
    }
    fn process(&mut self, record: Rec, cx: &mut Context<'_, Rec>) -> Result<(), BoxError> {
        let Record { key, value, timestamp, headers } = record;
        let item = Item { key, value, timestamp: timestamp.as_millis(), headers };
        self.call(cx, |step, port| step.process(item, port))
    }
    fn punctuate(&mut self, _: Timer, at: Timestamp, cx: &mut Context<'_, Rec>) -> Result<(), BoxError> {
        self.call(cx, |step, port| step.tick(at.as_millis(), port))
    }
}

/// A step as a [`FixedKeyProcessor`].
pub(crate) struct Fixed(pub(crate) Step);

struct FixedPort<'a, 'c> {
    cx: &'a mut Context<'c, FixedRec>,
    /// The record being processed, from which the forwarded ones take their key.
    record: FixedRec,
}

impl Port for FixedPort<'_, '_> {
    fn forward(&mut self, item: Item) {
        let mut record = self.record.clone().with_value(item.value);
        record.timestamp = Timestamp::from_millis(item.timestamp);
        record.headers = item.headers;
        self.cx.forward(record);
    }
    fn forward_to(&mut self, child: &str, _: Item) {
        panic!("invalid scenario: `process_values` routes to {child}");
    }
    fn metadata(&self) -> String {
        metadata(self.cx)
    }
    fn stream_time(&self) -> i64 {
        self.cx.event_time().as_millis()
    }
    fn wall_clock(&self) -> i64 {
        self.cx.wall_clock().as_millis()
    }
    fn schedule(&mut self, _: Schedule) {
        panic!("invalid scenario: `process_values` schedules");
    }
    fn cancel(&mut self) {}
}

impl FixedKeyProcessor for Fixed {
    type Key = Val;
    type In = Val;
    type Out = Val;

    fn process(&mut self, record: FixedRec, cx: &mut Context<'_, FixedRec>) -> Result<(), BoxError> {
        let (key, value) = (record.key().clone(), record.value.clone());
        let item = Item { key, value, timestamp: record.timestamp.as_millis(), headers: record.headers.clone() };
        self.0.process(item, &mut FixedPort { cx, record })
    }
}
