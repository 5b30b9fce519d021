//! One task for a whole topology in stream time, as Kafka Streams' own test driver runs it: one partition per topic, the queue with
//! the smallest head first, a commit after every record.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::config::Settings;
use crate::error::Error;
use crate::record::{TaskId, Timestamp};
use crate::runtime::task::{Task, TaskParts};
use crate::state::{CacheBudget, MemoryBackend};
use crate::testing::RawOutput;
use crate::testing::capture::Capture;
use crate::testing::driver::{Run, Sent};
use crate::testing::feed::{Feed, Incoming};
use crate::testing::heap::QueueHeap;
use crate::topology::Topology;

/// The task of everything.
pub(crate) const ONLY_TASK: TaskId = TaskId { subtopology: 0, partition: 0 };

/// A topology in stream time.
pub(crate) struct StreamTime {
    task: Task,
    capture: Capture,
    feeds: Vec<Feed>,
    by_topic: HashMap<Arc<str>, usize>,
    heap: QueueHeap,
    sent: Vec<RawOutput>,
}

impl StreamTime {
    pub(crate) fn new(topology: &Topology, settings: &Settings, now: Timestamp) -> Result<Self, Error> {
        let capture = Capture::new(BTreeMap::new());
        let all: Vec<usize> = (0..topology.plan().subtopologies.len()).collect();
        let mut task = Task::new(TaskParts {
            topology,
            subtopologies: &all,
            settings,
            cache: Arc::new(CacheBudget::new(settings.record_cache_bytes)),
            silent_caches: true,
            output: Box::new(capture.of(ONLY_TASK)),
            partitions: &|_| vec![0],
            backends: &mut |_, _| Box::new(MemoryBackend::default()),
            now,
        });
        task.init()?;
        let feeds: Vec<Feed> = task.inputs().map(|input| Feed::new(input.topic.clone(), 0)).collect();
        let by_topic = feeds.iter().enumerate().map(|(index, feed)| (feed.topic.clone(), index)).collect();
        Ok(StreamTime { task, capture, feeds, by_topic, heap: QueueHeap::default(), sent: Vec::new() })
    }

    fn enqueue(&mut self, feed: usize, record: Incoming) -> Result<(), Error> {
        self.feeds[feed].append(record);
        self.make_ready(feed)
    }

    fn make_ready(&mut self, feed: usize) -> Result<(), Error> {
        if self.feeds[feed].stage(&mut self.task, feed)?
            && let Some(at) = self.feeds[feed].head
        {
            self.heap.push(at, feed);
        }
        Ok(())
    }

    /// Takes the queue with the smallest head, again and again, until all are empty.
    fn run_all(&mut self) -> Result<(), Error> {
        self.collect()?;
        while let Some(feed) = self.heap.pop() {
            self.feeds[feed].head = None;
            self.task.run(feed)?;
            self.commit()?;
            self.make_ready(feed)?;
            self.collect()?;
        }
        Ok(())
    }

    fn commit(&mut self) -> Result<(), Error> {
        self.task.flush()?;
        self.feeds.iter_mut().for_each(Feed::commit);
        self.task.apply(&|_| None)
    }

    /// What the task sent goes out, and back into the topology where it reads the topic.
    fn collect(&mut self) -> Result<(), Error> {
        for record in self.capture.take() {
            let back = self.by_topic.get(&record.topic).map(|feed| (*feed, Incoming::from(&record)));
            self.sent.push(record);
            if let Some((feed, record)) = back {
                self.enqueue(feed, record)?;
            }
        }
        Ok(())
    }
}

impl Run for StreamTime {
    fn pipe(&mut self, topic: &str, _: i32, record: Incoming) -> Result<(), Error> {
        let feed = self.by_topic[topic];
        self.enqueue(feed, record)?;
        self.run_all()
    }

    fn partitions(&self, topic: &str) -> Option<i32> {
        self.by_topic.contains_key(topic).then_some(1)
    }

    fn advance(&mut self, now: Timestamp) -> Result<(), Error> {
        self.task.advance(now)?;
        self.commit()?;
        self.run_all()
    }

    fn set_paused(&mut self, topic: &str, _: i32, paused: bool) -> Result<(), Error> {
        let feed = self.by_topic[topic];
        self.feeds[feed].paused = paused;
        self.make_ready(feed)?;
        self.run_all()
    }

    fn finish(&mut self) -> Result<(), Error> {
        for feed in 0..self.feeds.len() {
            self.feeds[feed].paused = false;
            self.make_ready(feed)?;
        }
        self.run_all()?;
        self.commit()?;
        self.run_all()
    }

    fn tasks(&self) -> Vec<(TaskId, &Task)> {
        vec![(ONLY_TASK, &self.task)]
    }

    fn take_sent(&mut self) -> Sent {
        let records = std::mem::take(&mut self.sent);
        Sent { committed: Some(records.len()), withdrawn: false, records }
    }
}
