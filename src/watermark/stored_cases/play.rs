//! One case, event by event, as the rules of the stored cases prescribe.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::{Value, json};

use super::rows::{Rows, Stage};
use crate::record::{TaskId, Timestamp};
use crate::watermark::{
    Announcement, Announcer, CommitMetadata, ControlRecord, FutureVerdict, SourceClock, Supply, TaskClock, Upstreams, entry, judge_future,
    output_watermark,
};
use crate::window::Watermark;

/// A partition of a source topic.
type Partition = (String, usize);

/// A task with everything that would be committed of it.
struct Task {
    name: String,
    clock: TaskClock,
    inputs: Vec<Input>,
    announcer: Announcer,
    rows: Rows,
    /// What waits in the repartition partition of a reader.
    log: Vec<[u8; 26]>,
}

struct Input {
    /// Place of its topic among all topics: of two records of one time the one of the earlier topic is taken first.
    order: usize,
    partition: Partition,
    rule: Watermark,
    position: usize,
}

/// What a commit keeps of a task: metadata and position of each source partition, what a reader heard, its rows.
struct Kept {
    blobs: Vec<(String, usize)>,
    w: Option<Timestamp>,
    heard: Option<(u32, Vec<Announcement>)>,
    rows: Rows,
}

/// A case being played.
pub(super) struct Play<'a> {
    scenario: &'a Value,
    stages: [Stage; 2],
    readers: usize,
    logs: BTreeMap<Partition, Vec<&'a Value>>,
    paused: BTreeSet<Partition>,
    finished: bool,
    now: Timestamp,
    step: usize,
    tasks: Vec<Task>,
    upstreams: usize,
    noted: BTreeMap<String, Option<Timestamp>>,
    saved: (Vec<Kept>, usize),
    pub(super) watermarks: Vec<Value>,
    pub(super) announcements: Vec<Value>,
}

impl<'a> Play<'a> {
    /// Plays the whole scenario.
    pub(super) fn of(scenario: &'a Value) -> Self {
        let ops = scenario["topology"].as_array().expect("a list");
        let cut = ops.iter().position(|op| op["op"] == "repartition");
        let stages = [Stage::of(&ops[..cut.unwrap_or(ops.len())]), Stage::of(cut.map_or(&[], |cut| &ops[cut + 1..]))];
        let readers = cut.map_or(0, |cut| number(&ops[cut]["partitions"]).expect("how many partitions") as usize);
        let now = Timestamp::from_millis(number(&scenario["wall_clock_ms"]).unwrap_or(0));
        let mut play = Play {
            scenario,
            stages,
            readers,
            now,
            logs: BTreeMap::new(),
            paused: BTreeSet::new(),
            finished: false,
            step: 0,
            tasks: Vec::new(),
            upstreams: 0,
            noted: BTreeMap::new(),
            saved: (Vec::new(), 0),
            watermarks: Vec::new(),
            announcements: Vec::new(),
        };
        play.start();
        play.commit();
        for (step, event) in scenario["events"].as_array().expect("a list").iter().enumerate() {
            play.step = step;
            play.event(event);
            play.note();
        }
        play
    }

    fn setting(&self, name: &str) -> Option<Duration> {
        number(&self.scenario["config"][name]).map(|ms| Duration::from_millis(ms.try_into().expect("a span")))
    }
    /// Makes the tasks from the last commit, or from nothing.
    fn start(&mut self) {
        let mut kept = std::mem::take(&mut self.saved.0).into_iter();
        let rules = self.rules();
        self.upstreams = rules.iter().map(|(_, _, partitions)| *partitions).max().expect("a source");
        self.tasks.clear();
        for k in 0..self.upstreams {
            let kept = kept.next();
            let inputs = rules.iter().enumerate().filter(|(_, (_, _, partitions))| k < *partitions);
            let input = |(order, (topic, rule, _)): (usize, &(String, Watermark, usize))| Input {
                order,
                partition: (topic.clone(), k),
                rule: *rule,
                position: 0,
            };
            let inputs = inputs.map(input).collect();
            let task = self.source_task(k, inputs, kept);
            self.tasks.push(task);
        }
        for k in 0..self.readers {
            let task = self.reader_task(k, kept.next());
            self.tasks.push(task);
        }
    }
    /// Topic, rule and number of partitions of every source topic, in order.
    fn rules(&self) -> Vec<(String, Watermark, usize)> {
        let ops = self.scenario["topology"].as_array().expect("a list");
        let topics = ops.iter().filter(|op| op["op"] == "stream").flat_map(|op| {
            let rule = rule(&op["watermark"]);
            op["topics"].as_array().expect("a list").iter().map(move |topic| (topic.as_str().expect("a name").to_owned(), rule))
        });
        topics.map(|(topic, rule)| (topic.clone(), rule, number(&self.scenario["partitions"][&topic]).unwrap_or(1) as usize)).collect()
    }
    fn source_task(&self, k: usize, mut inputs: Vec<Input>, kept: Option<Kept>) -> Task {
        let (mut w, mut was_idle, mut clocks, mut rows) = (None, false, vec![None; inputs.len()], Rows::new());
        if let Some(kept) = kept {
            rows = kept.rows;
            for (at, (blob, position)) in kept.blobs.into_iter().enumerate() {
                let read = CommitMetadata::decode(&blob).expect("our own blob");
                w = w.max(read.time(entry::WATERMARK));
                was_idle |= read.entries.get(entry::SENT_IDLE) == Some(&1);
                clocks[at] = read.time(entry::CLOCK);
                inputs[at].position = position;
            }
        }
        let mut clock = TaskClock::new(self.setting("close_when_idle_ms"), w);
        for (input, known) in inputs.iter().zip(clocks) {
            clock.add_source(SourceClock::new(input.rule, known, self.now));
        }
        let interval = self.setting("watermark_interval_ms").unwrap_or_default();
        let announcer = Announcer::new(interval, Duration::MAX, was_idle);
        Task { name: format!("0_{k}"), clock, inputs, announcer, rows, log: Vec::new() }
    }
    fn reader_task(&self, k: usize, kept: Option<Kept>) -> Task {
        let (w, heard) = kept.map_or((None, None), |kept| (kept.w, kept.heard));
        let mut clock = TaskClock::new(None, w);
        clock.add_repartition(heard.map_or_else(Upstreams::unknown, |(epoch, last)| Upstreams::restored(epoch, last, self.now)));
        let announcer = Announcer::new(Duration::ZERO, Duration::MAX, false);
        Task { name: format!("1_{k}"), clock, inputs: Vec::new(), announcer, rows: Rows::new(), log: Vec::new() }
    }

    fn event(&mut self, event: &'a Value) {
        if let Some(topic) = event["pipe"].as_str() {
            let partition = (topic.to_owned(), number(&event["p"]).unwrap_or(0) as usize);
            self.logs.entry(partition).or_default().push(event);
        } else if let Some(ms) = number(&event["advance_wall_ms"]) {
            self.now = Timestamp::from_millis(self.now.as_millis() + ms);
        } else if event["pause"].is_array() {
            self.paused.insert(partition(&event["pause"]));
        } else if event["resume"].is_array() {
            self.paused.remove(&partition(&event["resume"]));
        } else if event["commit"] == true {
            self.commit();
        } else if event["finish"] == true {
            self.paused.clear();
            self.drain();
            self.finished = true;
            self.tasks[..self.upstreams].iter_mut().for_each(|task| task.clock.finish());
        }
        if event["restart"] == true {
            self.announcements.truncate(self.saved.1);
            self.start();
            self.settle();
            self.drain();
        } else {
            self.drain();
            self.settle();
        }
    }
    /// Tells every clock what its partitions have; returns the task and input to take a record from: lowest timestamp first.
    fn look(&mut self) -> Option<(usize, usize)> {
        let mut next = None;
        for (at, task) in self.tasks.iter_mut().enumerate() {
            for (source, input) in task.inputs.iter().enumerate() {
                let waiting = self.logs.get(&input.partition).and_then(|log| log.get(input.position));
                let paused = self.paused.contains(&input.partition);
                let supply = match waiting {
                    None => Supply::Exhausted,
                    Some(_) if paused => Supply::Withheld,
                    Some(_) => Supply::Ready,
                };
                task.clock.supply(source, supply, self.now);
                if let (Some(record), Supply::Ready) = (waiting, supply) {
                    next = next.into_iter().chain([(time(record), input.order, at, source)]).min();
                }
            }
        }
        next.map(|(_, _, task, source)| (task, source))
    }
    fn drain(&mut self) {
        while let Some((task, source)) = self.look() {
            self.consume(task, source);
            self.settle();
        }
    }
    fn consume(&mut self, task: usize, source: usize) {
        let input = &mut self.tasks[task].inputs[source];
        let record = self.logs[&input.partition][input.position];
        input.position += 1;
        self.look();
        let skew = self.setting("max_future_skew_ms").unwrap_or(Duration::from_secs(3600));
        if judge_future(time(record), self.now, skew) == FutureVerdict::TooFarAhead {
            return;
        }
        self.tasks[task].clock.observe(source, time(record), self.now);
        let w = self.advance(task);
        self.stages[0].aggregate(&mut self.tasks[task].rows, record, w);
    }
    fn advance(&mut self, task: usize) -> Option<Timestamp> {
        let (stage, task) = (&self.stages[usize::from(task >= self.upstreams)], &mut self.tasks[task]);
        task.clock.advance(self.now, || stage.newest(&task.rows))
    }
    fn settle(&mut self) {
        self.look();
        for task in 0..self.upstreams {
            let w = self.advance(task);
            self.stages[0].close(&mut self.tasks[task].rows, w);
        }
        for task in 0..if self.readers > 0 { self.upstreams } else { 0 } {
            self.announce(task);
        }
        for task in self.upstreams..self.tasks.len() {
            self.advance(task);
            for bytes in std::mem::take(&mut self.tasks[task].log) {
                let read = ControlRecord::decode(&bytes).expect("our own bytes");
                self.tasks[task].clock.announced(0, &read, self.now);
                self.advance(task);
            }
        }
        if self.finished || self.scenario["config"]["commit"] != "manual" {
            self.commit();
        }
    }
    fn announce(&mut self, at: usize) {
        let (stage, task) = (&self.stages[0], &mut self.tasks[at]);
        let w = task.clock.watermark();
        let holds_rows = stage.holding && !task.rows.is_empty();
        let stands = Announcement { watermark: output_watermark(w, stage.hold(w)), idle: task.clock.is_idle(self.now) && !holds_rows };
        let Some(announcement) = task.announcer.due(stands, self.now) else { return };
        self.announcements.push(json!([self.step, task.name, shown(announcement.watermark), announcement.idle]));
        let task = TaskId { subtopology: 0, partition: at as i32 };
        let bytes = ControlRecord { task, tasks: self.upstreams as u32, epoch: 0, announcement }.encode();
        self.tasks[self.upstreams..].iter_mut().for_each(|reader| reader.log.push(bytes));
    }
    fn commit(&mut self) {
        self.saved = (self.tasks.iter().map(Task::kept).collect(), self.announcements.len());
    }
    fn note(&mut self) {
        for task in &self.tasks {
            let noted = self.noted.entry(task.name.clone()).or_default();
            if *noted != task.clock.watermark() {
                *noted = task.clock.watermark();
                self.watermarks.push(json!([self.step, task.name, shown(*noted)]));
            }
        }
    }
}

impl Task {
    fn kept(&self) -> Kept {
        let blob = |(source, input): (usize, &Input)| {
            let mut metadata = CommitMetadata::default();
            metadata.set_time(entry::CLOCK, self.clock.source(source).clock());
            metadata.set_time(entry::WATERMARK, self.clock.watermark());
            metadata.entries.insert(entry::SENT_IDLE.to_owned(), i64::from(self.announcer.sent().idle));
            (metadata.encode(), input.position)
        };
        let heard = self.inputs.is_empty().then(|| (self.clock.upstreams(0).epoch(), self.clock.upstreams(0).kept().collect()));
        let blobs = self.inputs.iter().enumerate().map(blob).collect();
        Kept { blobs, w: self.clock.watermark(), heard, rows: self.rows.clone() }
    }
}

fn rule(spec: &Value) -> Watermark {
    let ms = |field: &str| spec[field].as_u64().map(Duration::from_millis);
    let bounded = Watermark::bounded(ms("disorder_ms").expect("a bound"));
    match ms("idle_after_ms") {
        _ if spec["never_idle"] == true => bounded.never_idle(),
        Some(silence) => bounded.idle_after(silence),
        None => bounded,
    }
}
fn number(value: &Value) -> Option<i64> {
    value.as_i64()
}
fn time(record: &Value) -> Timestamp {
    Timestamp::from_millis(number(&record["t"]).expect("a record has a time"))
}
fn partition(named: &Value) -> Partition {
    (named[0].as_str().expect("a topic").to_owned(), number(&named[1]).expect("a partition") as usize)
}
fn shown(w: Option<Timestamp>) -> Value {
    w.map_or(Value::Null, |w| if w == Timestamp::MAX { json!("end") } else { json!(w.as_millis()) })
}
