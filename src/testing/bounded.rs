//! A topology as the engine runs it: one task per sub-topology and partition, one wall clock, bounded watermarks that travel through
//! repartition topics.
//!
//! A record is taken from the partition with the lowest time and run to its very end: the task processes it, then everything settles.
//! To settle, sub-topologies go in the order in which data flows, each with all of its tasks: what lies in repartition topics is
//! read, clocks move, windows close, caches are flushed; only then are the watermarks of these tasks announced, so that all data is
//! before them. A commit ends it.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::Arc;

use crate::config::Settings;
use crate::error::{Error, ErrorKind, Place};
use crate::record::{TaskId, Timestamp};
use crate::runtime::task::{Announcements, Task, TaskParts};
use crate::state::{CacheBudget, MemoryBackend};
use crate::testing::RawOutput;
use crate::testing::capture::Capture;
use crate::testing::driver::Run;
use crate::testing::feed::{Feed, Incoming};
use crate::testing::layout::{Stage, stages};
use crate::topology::Topology;
use crate::watermark::{ControlRecord, Supply};

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
    sent: Vec<RawOutput>,
    announced: Vec<Announced>,
}

/// A task with what lies before it.
struct Member {
    id: TaskId,
    task: Task,
    feeds: Vec<Source>,
    announcements: Announcements,
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
    pub(crate) fn new(topology: &Topology, settings: &Settings, declared: &BTreeMap<String, i32>, now: Timestamp) -> Result<Self, Error> {
        let (layout, partitions) = stages(topology, &settings.application_id, declared)?;
        let capture = Capture::new(partitions.clone());
        let mut run = Bounded {
            tasks: Vec::new(),
            stages: Vec::new(),
            by_partition: HashMap::new(),
            partitions,
            topics: Vec::new(),
            capture,
            now,
            finished: false,
            sent: Vec::new(),
            announced: Vec::new(),
        };
        let cache = Arc::new(CacheBudget::new(settings.record_cache_bytes));
        for stage in &layout {
            let first = run.tasks.len();
            for partition in 0..stage.tasks {
                run.add(topology, settings, &cache, stage, partition)?;
            }
            run.stages.push(first..run.tasks.len());
        }
        Ok(run)
    }

    fn add(
        &mut self,
        topology: &Topology,
        settings: &Settings,
        cache: &Arc<CacheBudget>,
        stage: &Stage,
        partition: i32,
    ) -> Result<(), Error> {
        let id = TaskId { subtopology: stage.number, partition };
        let has = |topic: &str| self.partitions.get(topic).is_some_and(|count| partition < *count);
        let mut task = Task::new(TaskParts {
            topology,
            subtopologies: &[stage.index],
            settings,
            cache: cache.clone(),
            silent_caches: true,
            output: Box::new(self.capture.of(id)),
            partitions: &|topic| if has(topic) { vec![partition] } else { Vec::new() },
            backends: &mut |_| Box::new(MemoryBackend::default()),
            now: self.now,
        });
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
        let siblings = u32::try_from(stage.tasks).expect("partitions are not negative");
        let announcements = Announcements::new(settings, id, siblings, &stage.announces_to);
        self.tasks.push(Member { id, task, feeds, announcements });
        Ok(())
    }

    /// Takes records one by one, lowest time first, each to its very end.
    fn drain(&mut self) -> Result<(), Error> {
        self.collect();
        while let Some((member, input)) = self.look()? {
            self.tasks[member].feeds[input].feed.head = None;
            self.say_supply();
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
        self.apply()
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
        let Member { task, feeds, .. } = &mut self.tasks[member];
        for (input, source) in feeds.iter_mut().enumerate().filter(|(_, source)| source.internal) {
            let control = source.feed.first().filter(|_| source.feed.head.is_none()).and_then(|raw| ControlRecord::read(&raw));
            if let Some(control) = control {
                let control = control.map_err(|error| Error::new(ErrorKind::Serde, Place::default(), error.into()))?;
                source.feed.pass();
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
        task.run(input)?;
        Ok(true)
    }

    /// Closes what is due. A pass that is cut commits, and goes on.
    fn close(&mut self, member: usize) -> Result<(), Error> {
        while self.tasks[member].task.close_due()? {
            self.tasks[member].task.flush()?;
            self.apply()?;
        }
        self.collect();
        Ok(())
    }

    fn announce(&mut self, member: usize) -> Result<(), Error> {
        let Member { id, task, announcements, .. } = &mut self.tasks[member];
        if let Some(said) = announcements.announce(task, self.now)? {
            self.announced.push(Announced { task: *id, watermark: said.watermark, idle: said.idle });
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
            self.sent.push(record);
        }
    }

    fn run_all(&mut self) -> Result<(), Error> {
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
        self.now = now;
        self.tasks.iter_mut().try_for_each(|member| member.task.advance(now))?;
        self.run_all()
    }

    fn set_paused(&mut self, topic: &str, partition: i32, paused: bool) -> Result<(), Error> {
        self.feed(topic, partition).paused = paused;
        self.run_all()
    }

    fn finish(&mut self) -> Result<(), Error> {
        self.tasks.iter_mut().flat_map(|member| &mut member.feeds).for_each(|source| source.feed.paused = false);
        self.drain()?;
        self.finished = true;
        self.run_all()
    }

    fn tasks(&self) -> Vec<(TaskId, &Task)> {
        self.tasks.iter().map(|member| (member.id, &member.task)).collect()
    }

    fn take_sent(&mut self) -> Vec<RawOutput> {
        std::mem::take(&mut self.sent)
    }

    fn take_announced(&mut self) -> Vec<Announced> {
        std::mem::take(&mut self.announced)
    }
}
