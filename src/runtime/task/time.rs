//! The time of a task: stream time and schedules, and in bounded mode its watermark and what it closes.

use crate::config::Settings;
use crate::error::{Error, ErrorKind, Fault, Flow};
use crate::processor::{Outgoing, Target, TimeKind};
use crate::record::{Headers, Timestamp};
use crate::runtime::task::input::Input;
use crate::runtime::task::{Task, lock};
use crate::topology::assemble::AssembledSource;
use crate::watermark::{
    Announcement, CommitMetadata, ControlRecord, FutureVerdict, SourceClock, Supply, TaskClock, Upstreams, entry, judge_future,
    output_watermark,
};
use crate::window::Watermark;
use std::sync::atomic::Ordering;

/// The bounded clock of a task; stream time needs none.
pub(crate) struct Clock {
    bounded: Option<TaskClock>,
    max_future_skew: std::time::Duration,
    close_when_idle: Option<std::time::Duration>,
    /// The rule of each source of the clock.
    rules: Vec<Watermark>,
}

/// What one pass over the windows that the watermark closes came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pass {
    /// Everything due is closed.
    Through,
    /// Cut after `close_batch` rows: commit if you like, and go on. `results`: it sends what it closes.
    Cut { results: bool },
}

/// Where an input stands in the bounded clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InputClock {
    /// A source that declares a watermark.
    Source(usize),
    /// A repartition topic: time comes from announcements.
    Repartition(usize),
}

impl Clock {
    pub(crate) fn new(settings: &Settings, bounded: bool) -> Self {
        let bounded = bounded.then(|| TaskClock::new(settings.close_when_idle, None));
        Clock { bounded, max_future_skew: settings.max_future_skew, close_when_idle: settings.close_when_idle, rules: Vec::new() }
    }

    /// A source's own `close_when_idle` counts beside the application's: the shortest wins. A repartition topic in which nobody
    /// announces anything takes no part.
    pub(crate) fn add_input(&mut self, source: &AssembledSource, now: Timestamp) -> Option<InputClock> {
        let clock = self.bounded.as_mut()?;
        if source.internal {
            return source.announced.then(|| InputClock::Repartition(clock.add_repartition(Upstreams::unknown())));
        }
        let rule = source.watermark?;
        self.rules.push(rule);
        Some(InputClock::Source(add_source(clock, rule, None, now)))
    }

    /// The same clock as it was committed, input by input; the largest watermark written with any of them is that of the task.
    fn resume(&mut self, inputs: &[(Option<InputClock>, CommitMetadata)], now: Timestamp) {
        if self.bounded.is_none() {
            return;
        }
        let w = inputs.iter().filter_map(|(_, stored)| stored.time(entry::WATERMARK)).max();
        let mut clock = TaskClock::new(self.close_when_idle, w);
        for (place, stored) in inputs {
            match place {
                Some(InputClock::Source(source)) => {
                    add_source(&mut clock, self.rules[*source], stored.time(entry::CLOCK), now);
                }
                Some(InputClock::Repartition(_)) => {
                    clock.add_repartition(Upstreams::kept_in(stored, now));
                }
                None => {}
            }
        }
        self.bounded = Some(clock);
    }
}

fn add_source(clock: &mut TaskClock, rule: Watermark, stands: Option<Timestamp>, now: Timestamp) -> usize {
    if let Some(silence) = rule.close_when_idle {
        clock.close_when_idle(silence);
    }
    clock.add_source(SourceClock::new(rule, stands, now))
}

impl Task {
    /// Takes time over from where it was committed, input by input, before the first record: partition times and with them stream time (KS-T2),
    /// how far nodes had closed their windows, and in bounded mode clocks and watermark.
    pub(crate) fn resume(&mut self, stored: Vec<CommitMetadata>, now: Timestamp) {
        self.cx.wall_clock = now;
        for (input, stored) in self.inputs.iter_mut().zip(&stored) {
            input.partition_time = stored.partition_time.unwrap_or(Timestamp::UNKNOWN);
            self.cx.stream_time = self.cx.stream_time.max(input.partition_time);
        }
        for ((_, node), name) in self.driven.iter().zip(&self.names) {
            // Each input has the same entries; if one of them is older, closed is closed.
            let kept = |what: &str| stored.iter().filter_map(|stored| stored.entries.get(&entry::of_node(what, name)).copied()).max();
            lock(node).resume(&kept);
        }
        let places: Vec<_> = self.inputs.iter().map(|input| input.clock).zip(stored).collect();
        self.clock.resume(&places, now);
        self.move_watermark();
    }

    /// What is to be committed beside the position of an input.
    pub(crate) fn metadata(&self, input: usize) -> CommitMetadata {
        let Input { partition_time, clock: place, .. } = &self.inputs[input];
        let partition_time = Some(*partition_time).filter(|at| *at != Timestamp::UNKNOWN);
        let mut metadata = CommitMetadata { partition_time, ..CommitMetadata::default() };
        if let (Some(clock), Some(place)) = (&self.clock.bounded, place) {
            metadata.set_time(entry::WATERMARK, clock.watermark());
            match place {
                InputClock::Source(source) => metadata.set_time(entry::CLOCK, clock.source(*source).clock()),
                InputClock::Repartition(repartition) => clock.upstreams(*repartition).keep_in(&mut metadata),
            }
        }
        for ((_, node), name) in self.driven.iter().zip(&self.names) {
            let kept = lock(node).keep().into_iter();
            metadata.entries.extend(kept.map(|(what, value)| (entry::of_node(what, name), value)));
        }
        metadata
    }

    /// Bounded mode: the task's watermark; none while it has no value.
    pub(crate) fn watermark(&self) -> Option<Timestamp> {
        self.cx.watermark
    }

    /// The largest timestamp taken so far; -1 at first.
    pub(crate) fn stream_time(&self) -> Timestamp {
        self.cx.stream_time
    }

    /// The wall clock moves: due schedules fire once each, and in bounded mode silence counts.
    pub(crate) fn advance(&mut self, now: Timestamp) -> Result<(), Error> {
        self.cx.wall_clock = now;
        while let Some((node, schedule)) = self.cx.schedules.take_due(TimeKind::Wall, now) {
            self.fire(node, schedule, TimeKind::Wall, now)?;
        }
        self.move_watermark();
        Ok(self.punctuate_event_time()?)
    }

    /// Bounded mode: what an input has beside the record that is about to be run.
    pub(crate) fn supply(&mut self, input: usize, supply: Supply) {
        if let (Some(clock), Some(InputClock::Source(source))) = (&mut self.clock.bounded, self.inputs[input].clock) {
            clock.supply(source, supply, self.cx.wall_clock);
        }
    }

    /// Bounded mode: a control record was read from a repartition topic.
    pub(crate) fn announced(&mut self, input: usize, record: &ControlRecord) {
        if let (Some(clock), Some(InputClock::Repartition(repartition))) = (&mut self.clock.bounded, self.inputs[input].clock) {
            clock.announced(repartition, record, self.cx.wall_clock);
        }
        self.move_watermark();
    }

    /// Bounded mode: the end of input is declared.
    pub(crate) fn finish(&mut self) {
        if let Some(clock) = &mut self.clock.bounded {
            clock.finish();
        }
        self.move_watermark();
    }

    /// Bounded mode: closes what the watermark closes, node by node, parents first. Call it again after a pass that was cut.
    pub(crate) fn close_due(&mut self) -> Result<Pass, Error> {
        if !self.cx.bounded {
            return Ok(Pass::Through);
        }
        let driven = self.driven.clone();
        for (at, (_, node)) in driven.iter().enumerate() {
            if self.guarded(at, |cx| lock(node).on_watermark(cx))? {
                // Nodes that keep results back till a window closes hold the watermark; others have sent them before.
                let results = self.cx.watermark.is_some_and(|w| lock(node).hold(w).is_some());
                return Ok(Pass::Cut { results });
            }
        }
        self.punctuate_event_time()?;
        Ok(Pass::Through)
    }

    /// Bounded mode: what this task has to tell the readers of its repartition topics now.
    pub(crate) fn announcement(&self) -> Announcement {
        let w = self.cx.watermark;
        let holds = w.into_iter().flat_map(|w| self.driven.iter().filter_map(move |(_, node)| lock(node).hold(w)));
        let holds: Vec<Timestamp> = holds.collect();
        let idle = self.clock.bounded.as_ref().is_some_and(|clock| clock.is_idle(self.cx.wall_clock));
        let idle = idle && !self.driven.iter().any(|(_, node)| lock(node).holds_rows());
        Announcement { watermark: output_watermark(w, holds), idle }
    }

    /// Moves the clock by a record. False if it is too far ahead of the wall clock: it was counted and sent to the
    /// source's bad-time topic, and must not be processed.
    pub(super) fn move_watermark_by(&mut self, input: usize, at: Timestamp) -> Result<bool, Fault> {
        let Some(InputClock::Source(source)) = self.inputs[input].clock else { return Ok(true) };
        let now = self.cx.wall_clock;
        if judge_future(at, now, self.clock.max_future_skew) == FutureVerdict::TooFarAhead {
            self.cx.counters.bad_time.fetch_add(1, Ordering::Relaxed);
            self.send_bad_time(input, at)?;
            return Ok(false);
        }
        if let Some(clock) = &mut self.clock.bounded {
            clock.observe(source, at, now);
        }
        self.move_watermark();
        Ok(true)
    }

    fn move_watermark(&mut self) {
        let Task { clock, driven, cx, .. } = self;
        if let Some(clock) = &mut clock.bounded {
            let newest_open = || driven.iter().filter_map(|(_, node)| lock(node).last_closing()).max();
            cx.watermark = clock.advance(cx.wall_clock, newest_open);
        }
    }

    fn send_bad_time(&mut self, input: usize, at: Timestamp) -> Flow {
        self.inputs[input].head.refuse(&mut self.cx);
        tracing::warn!(topic = %self.inputs[input].topic, offset = self.cx.origin.offset, timestamp = %at, "record too far ahead of the wall clock");
        let Some(topic) = self.inputs[input].head.bad_time_topic().map(str::to_owned) else { return Ok(()) };
        let slot = self.cx.output.topic(&topic);
        let origin = &self.cx.origin;
        let (key, value, headers): (Option<&[u8]>, _, &Headers) = (origin.key.as_deref(), origin.value.as_deref(), &origin.headers);
        let target = key.map_or(Target::Any, Target::ByKey);
        // A broker refuses times that are as far ahead (`message.timestamp.after.max.ms`), and the record must not stop the job.
        let (own, now) = (origin.timestamp, self.cx.wall_clock);
        let is_refused = || judge_future(own, now, self.clock.max_future_skew) == FutureVerdict::TooFarAhead;
        let timestamp = if !self.cx.output.takes_any_time() && is_refused() { now } else { own };
        let sent = self.cx.output.send(slot, Outgoing { key, value, timestamp, headers, target });
        sent.map_err(|error| Error::new(ErrorKind::Log, self.cx.place(None), error).into())
    }

    pub(super) fn punctuate_event_time(&mut self) -> Flow {
        let now = if self.cx.bounded { self.cx.watermark } else { Some(self.cx.stream_time).filter(|at| *at != Timestamp::UNKNOWN) };
        let Some(now) = now.filter(|_| self.cx.schedules.any(TimeKind::Event)) else { return Ok(()) };
        while let Some((node, schedule)) = self.cx.schedules.take_due(TimeKind::Event, now) {
            self.fire(node, schedule, TimeKind::Event, now)?;
        }
        Ok(())
    }

    /// Runs a punctuation: there is no record then, and its time is the schedule's (KS-P6).
    fn fire(&mut self, node: usize, schedule: usize, kind: TimeKind, now: Timestamp) -> Flow {
        let Some(at) = self.driven.iter().position(|(id, _)| *id == node) else { return Ok(()) };
        let node = self.driven[at].1.clone();
        Ok(self.guarded(at, |cx| cx.between_records(now, |cx| lock(&node).punctuate(schedule, kind, now, cx)))?)
    }
}
