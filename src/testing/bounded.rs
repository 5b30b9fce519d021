//! A topology as the engine runs it: one task per sub-topology and partition, one wall clock, bounded watermarks that travel through
//! repartition topics.
//!
//! A record is taken from the partition with the lowest time and run to its very end: the task processes it, then everything settles.
//! To settle, sub-topologies go in the order in which data flows, each with all of its tasks: what lies in repartition topics is
//! read, clocks move, windows close, caches are flushed; only then are the watermarks of these tasks announced, so that all data is
//! before them. A commit ends it, unless the test makes the commits.

mod durable;

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::Arc;

use crate::config::Settings;
use crate::error::{Error, ErrorKind, Place};
use crate::record::{TaskId, Timestamp};
use crate::runtime::task::{Announcements, Pass, Task, TaskParts};
use crate::state::{CacheBudget, MemoryBackend};
use crate::testing::capture::Capture;
use crate::testing::driver::{Run, Sent};
use crate::testing::feed::{Feed, Incoming};
use crate::testing::layout::{Stage, stages};
use crate::topology::Topology;
use crate::watermark::{ControlRecord, Supply};
use durable::{Journal, Kept};

/// What a task told the readers of its repartition topics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Announced {
    /// The task.
    pub task: TaskId,
    /// Nothing older will come from it; [`Timestamp::MAX`] after the end of input, none if it has seen nothing.
    pub watermark: Option<Timestamp>,
    /// Its readers need not wait for it.
    pub idle: bool,
}

/// A topology in bounded mode.
pub(crate) struct Bounded {
    topology: Topology,
    settings: Settings,
    layout: Vec<Stage>,
    tasks: Vec<Member>,
    /// Tasks of each sub-topology, in the order in which they settle.
    stages: Vec<Range<usize>>,
    by_partition: HashMap<(Arc<str>, i32), (usize, usize)>,
    partitions: BTreeMap<String, i32>,
    /// Topics in the order of the topology.
    topics: Vec<Arc<str>>,
    capture: Capture,
    now: Timestamp,
    finished: bool,
    /// Only the test commits.
    manual: bool,
    journal: Journal,
    /// After how many more commits inside close passes the process dies.
    crash_in: Option<usize>,
    crashed: bool,
}

/// A task with what lies before it.
struct Member {
    id: TaskId,
    /// Index in the layout.
    stage: usize,
    task: Task,
    feeds: Vec<Source>,
    announcements: Announcements,
    /// Something happened that the last commit does not know.
    touched: bool,
    kept: Kept,
}

/// One input of a task.
struct Source {
    feed: Feed,
    /// A repartition topic: read while settling, not taken.
    internal: bool,
    /// Place of its topic among those with equal times.
    order: usize,
}

impl Bounded {
    pub(crate) fn new(
        topology: &Topology,
        settings: &Settings,
        declared: &BTreeMap<String, i32>,
        manual: bool,
        now: Timestamp,
    ) -> Result<Self, Error> {
        let (layout, partitions) = stages(topology, &settings.application_id, declared)?;
        let capture = Capture::new(partitions.clone());
        let mut run = Bounded {
            topology: topology.clone(),
            settings: settings.clone(),
            layout,
            tasks: Vec::new(),
            stages: Vec::new(),
            by_partition: HashMap::new(),
            partitions,
            topics: Vec::new(),
            capture,
            now,
            finished: false,
            manual,
            journal: Journal::default(),
            crash_in: None,
            crashed: false,
        };
        let cache = Arc::new(CacheBudget::new(settings.record_cache_bytes));
        for stage in 0..run.layout.len() {
            let first = run.tasks.len();
            for partition in 0..run.layout[stage].tasks {
                run.add(stage, partition, &cache)?;
            }
            run.stages.push(first..run.tasks.len());
        }
        run.collect();
        run.keep();
        Ok(run)
    }

    /// A task without a past.
    fn assemble(&self, stage: usize, partition: i32, cache: &Arc<CacheBudget>) -> (TaskId, Task) {
        let stage = &self.layout[stage];
        let id = TaskId { subtopology: stage.number, partition };
        let has = |topic: &str| self.partitions.get(topic).is_some_and(|count| partition < *count);
        let task = Task::new(TaskParts {
            topology: &self.topology,
            subtopologies: &[stage.index],
            settings: &self.settings,
            cache: cache.clone(),
            silent_caches: true,
            output: Box::new(self.capture.of(id)),
            partitions: &|topic| if has(topic) { vec![partition] } else { Vec::new() },
            backends: &mut |_, _| Box::new(MemoryBackend::default()),
            now: self.now,
        });
        (id, task)
    }

    fn add(&mut self, stage: usize, partition: i32, cache: &Arc<CacheBudget>) -> Result<(), Error> {
        let (id, mut task) = self.assemble(stage, partition, cache);
        task.init()?;
        let mut feeds = Vec::new();
        for (index, input) in task.inputs().enumerate() {
            self.by_partition.insert((input.topic.clone(), partition), (self.tasks.len(), index));
            // The first task of a sub-topology has all of its topics.
            let order = self.topics.iter().position(|topic| topic == input.topic).unwrap_or_else(|| {
                self.topics.push(input.topic.clone());
                self.topics.len() - 1
            });
            feeds.push(Source { feed: Feed::new(input.topic.clone(), partition), internal: input.internal, order });
        }
        self.journal.follow(task.stores().iter().filter_map(|store| store.changelog.clone()));
        let announcements = self.announcements(id, stage, false);
        self.tasks.push(Member { id, stage, task, feeds, announcements, touched: true, kept: Kept::default() });
        Ok(())
    }

    fn announcements(&self, id: TaskId, stage: usize, was_idle: bool) -> Announcements {
        let stage = &self.layout[stage];
        let siblings = u32::try_from(stage.tasks).expect("partitions are not negative");
        Announcements::new(&self.settings, id, siblings, &stage.announces_to, was_idle)
    }

    /// Takes records one by one, lowest time first, each to its very end.
    fn drain(&mut self) -> Result<(), Error> {
        self.collect();
        while let Some((member, input)) = self.look()? {
            self.tasks[member].feeds[input].feed.head = None;
            self.say_supply();
            self.tasks[member].touched = true;
            self.tasks[member].task.run(input)?;
            self.collect();
            self.settle()?;
        }
        Ok(())
    }

    /// Stages the first record of every partition that is fetched and gives the one with the lowest time.
    fn look(&mut self) -> Result<Option<(usize, usize)>, Error> {
        let mut next = None;
        for (at, Member { task, feeds, .. }) in self.tasks.iter_mut().enumerate() {
            for (input, Source { feed, order, .. }) in feeds.iter_mut().enumerate().filter(|(_, source)| !source.internal) {
                feed.stage(task, input)?;
                if let Some(time) = feed.head.filter(|_| !feed.paused) {
                    let candidate = ((time, *order, feed.partition), (at, input));
                    next = next.into_iter().chain([candidate]).min();
                }
            }
        }
        self.say_supply();
        Ok(next.map(|(_, place)| place))
    }

    /// Tells each clock what waits in its partitions. Lag is never idleness.
    fn say_supply(&mut self) {
        for Member { task, feeds, .. } in &mut self.tasks {
            for (input, source) in feeds.iter().enumerate() {
                let supply = match source.feed.waits() {
                    false => Supply::Exhausted,
                    true if source.feed.paused => Supply::Withheld,
                    true => Supply::Ready,
                };
                task.supply(input, supply);
            }
        }
    }

    fn settle(&mut self) -> Result<(), Error> {
        self.say_supply();
        for stage in self.stages.clone() {
            for member in stage.clone() {
                self.settle_task(member)?;
            }
            for member in stage {
                self.announce(member)?;
            }
        }
        self.apply()?;
        if self.finished || !self.manual {
            self.keep();
        }
        Ok(())
    }

    /// Silence counts, repartition topics are read, due windows close, caches go downstream.
    fn settle_task(&mut self, member: usize) -> Result<(), Error> {
        let now = self.now;
        self.tasks[member].task.advance(now)?;
        self.close(member)?;
        while self.read_one(member)? {
            self.collect();
        }
        let Member { task, feeds, .. } = &mut self.tasks[member];
        if self.finished && feeds.iter().any(|source| !source.internal) {
            task.finish();
            self.close(member)?;
        }
        self.tasks[member].task.flush()?;
        self.collect();
        Ok(())
    }

    /// Reads one record of a repartition topic: announcements as they come, of data what is oldest.
    fn read_one(&mut self, member: usize) -> Result<bool, Error> {
        let Member { task, feeds, touched, .. } = &mut self.tasks[member];
        for (input, source) in feeds.iter_mut().enumerate().filter(|(_, source)| source.internal) {
            let control = source.feed.first().filter(|_| source.feed.head.is_none()).and_then(|raw| ControlRecord::read(&raw));
            if let Some(control) = control {
                let control = control.map_err(|error| Error::new(ErrorKind::Serde, Place::default(), error.into()))?;
                source.feed.pass();
                *touched = true;
                task.announced(input, &control);
                self.close(member)?;
                return Ok(true);
            }
            source.feed.stage(task, input)?;
        }
        let heads =
            feeds.iter().enumerate().filter(|(_, source)| source.internal).filter_map(|(input, source)| Some((source.feed.head?, input)));
        let Some((_, input)) = heads.min() else { return Ok(false) };
        feeds[input].feed.head = None;
        *touched = true;
        task.run(input)?;
        Ok(true)
    }

    /// Closes what is due. A pass that is cut between results commits, and goes on.
    fn close(&mut self, member: usize) -> Result<(), Error> {
        while let Pass::Cut { results } = self.tasks[member].task.close_due()? {
            self.tasks[member].touched = true;
            if results {
                self.commit_all()?;
                self.count_down()?;
            }
        }
        self.collect();
        Ok(())
    }

    fn announce(&mut self, member: usize) -> Result<(), Error> {
        let Member { id, task, announcements, touched, .. } = &mut self.tasks[member];
        if let Some(said) = announcements.announce(task, self.now)? {
            *touched = true;
            self.journal.announced.push(Announced { task: *id, watermark: said.watermark, idle: said.idle });
        }
        self.collect();
        Ok(())
    }

    fn apply(&mut self) -> Result<(), Error> {
        self.tasks.iter_mut().try_for_each(|member| member.task.apply(&|_| None))
    }

    /// What the tasks sent goes out, and back into the topology where it reads the topic.
    fn collect(&mut self) {
        for record in self.capture.take() {
            if let Some(&(member, input)) = self.by_partition.get(&(record.topic.clone(), record.partition)) {
                self.tasks[member].feeds[input].feed.append(Incoming::from(&record));
            }
            self.journal.record(record);
        }
    }

    fn run_all(&mut self) -> Result<(), Error> {
        let done = self.drain().and_then(|()| self.settle()).and_then(|()| self.drain());
        self.survive(done)
    }

    fn run_to_the_end(&mut self) -> Result<(), Error> {
        self.tasks.iter_mut().flat_map(|member| &mut member.feeds).for_each(|source| source.feed.paused = false);
        self.drain()?;
        self.finished = true;
        self.drain()?;
        self.settle()?;
        self.drain()
    }

    fn feed(&mut self, topic: &str, partition: i32) -> &mut Feed {
        let (member, input) = self.by_partition[&(topic.into(), partition)];
        &mut self.tasks[member].feeds[input].feed
    }
}

impl Run for Bounded {
    fn pipe(&mut self, topic: &str, partition: i32, record: Incoming) -> Result<(), Error> {
        self.feed(topic, partition).append(record);
        self.run_all()
    }

    fn partitions(&self, topic: &str) -> Option<i32> {
        self.partitions.get(topic).copied().filter(|_| self.by_partition.contains_key(&(topic.into(), 0)))
    }

    fn advance(&mut self, now: Timestamp) -> Result<(), Error> {
        self.now = now; // each task hears of it when it settles
        self.run_all()
    }

    fn set_paused(&mut self, topic: &str, partition: i32, paused: bool) -> Result<(), Error> {
        self.feed(topic, partition).paused = paused;
        self.run_all()
    }

    fn finish(&mut self) -> Result<(), Error> {
        let done = self.run_to_the_end();
        let crashed = self.crashed;
        self.survive(done)?;
        // The end is still declared.
        if crashed { self.run_to_the_end() } else { Ok(()) }
    }

    fn commit(&mut self) -> Result<(), Error> {
        self.commit_all()
    }

    fn restart(&mut self) -> Result<(), Error> {
        self.revive()
    }

    fn crash_in_close(&mut self, commits: usize) -> Result<(), Error> {
        self.crash_in = Some(commits);
        self.run_all()
    }

    fn tasks(&self) -> Vec<(TaskId, &Task)> {
        self.tasks.iter().map(|member| (member.id, &member.task)).collect()
    }

    fn take_sent(&mut self) -> Sent {
        self.journal.take_sent()
    }

    fn take_announced(&mut self) -> Vec<Announced> {
        self.journal.take_announced()
    }
}
