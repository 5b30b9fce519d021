//! A task: one partition of a sub-topology (or, in a test, a whole topology), assembled and fed record by record.
//!
//! It never reads a clock, a log or a socket. Whoever owns it (a stream thread, the test driver) hands in bytes and time and
//! takes out what the task's [`Output`] was sent.
//!
//! A panic in user code is caught here and becomes an error with a place: it stops the task, not the process.

mod announce;
mod input;
mod time;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use crate::config::Settings;
use crate::error::{Error, ErrorKind, Fault, Flow, Place, StoreError};
use crate::failpoint;
use crate::processor::{Counters, Driven, Outgoing, Output, Policies, Staged, Target, TaskContext, panicked_in};
use crate::record::{Headers, RawRecord, Timestamp};
use crate::state::{CacheBudget, ChangelogSink, Dedup, RecordClock, StoreBackend, StoreEnvironment, StoreSpec};
use crate::topology::assemble::{Assembled, AssembledStore, TaskSetup, writes_dead_letters};
use crate::topology::{NodeId, Topology};
use input::Input;

pub(crate) use announce::Announcements;
pub(crate) use input::InputSpec;
pub(crate) use time::Pass;

/// What a task is made of and with.
pub(crate) struct TaskParts<'a> {
    pub(crate) topology: &'a Topology,
    /// Indexes of the sub-topologies to run.
    pub(crate) subtopologies: &'a [usize],
    pub(crate) settings: &'a Settings,
    /// Shared by the tasks of a thread.
    pub(crate) cache: Arc<CacheBudget>,
    /// Record caches that no node listens to as well: a test shows what Kafka Streams would.
    pub(crate) silent_caches: bool,
    pub(crate) output: Box<dyn Output>,
    /// Partitions to read: of each source topic, those that this task has.
    pub(crate) partitions: &'a dyn Fn(&str) -> Vec<i32>,
    pub(crate) backends: &'a mut dyn FnMut(&str, &StoreSpec) -> Box<dyn StoreBackend>,
    pub(crate) now: Timestamp,
}

/// An assembled task.
pub(crate) struct Task {
    cx: TaskContext,
    inputs: Vec<Input>,
    driven: Vec<(NodeId, Arc<Mutex<dyn Driven>>)>,
    /// Names of the driven nodes, in the same order.
    names: Vec<Arc<str>>,
    stores: Vec<AssembledStore>,
    clock: time::Clock,
}

impl Task {
    /// Assembles a task and opens its stores. Call `init` before the first record.
    pub(crate) fn new(parts: TaskParts<'_>) -> Self {
        let record_clock = Arc::new(RecordClock::default());
        let environment = StoreEnvironment { cache: parts.cache.clone(), now: record_clock.clone() };
        let settings = parts.settings;
        let assembled = parts.topology.assemble(TaskSetup {
            application_id: &settings.application_id,
            subtopologies: parts.subtopologies,
            environment,
            caching: settings.record_cache_bytes > 0,
            silent_caches: parts.silent_caches,
            dedup: if settings.changelog_every_write { Dedup::Off } else { Dedup::Commit },
            backends: parts.backends,
        });
        let mut cx = TaskContext::new(parts.output, record_clock);
        cx.wall_clock = parts.now;
        cx.bounded = assembled.bounded;
        cx.close_batch = settings.close_batch.max(1);
        cx.policies = Policies {
            deserialization: settings.on_deserialization_error.clone(),
            processing: settings.on_processing_error.clone(),
            headers: settings.dead_letter_headers,
        };
        cx.keeps_bytes = assembled.may_dead_letter
            || writes_dead_letters(&settings.on_deserialization_error)
            || writes_dead_letters(&settings.on_processing_error);
        let Assembled { sources, driven, stores, .. } = assembled;
        let mut clock = time::Clock::new(settings, cx.bounded);
        let inputs = input::make(sources, parts.partitions, &mut clock, parts.now);
        cx.keeps_bytes |= inputs.iter().any(|input| input.head.bad_time_topic().is_some());
        let names = driven.iter().map(|(node, _)| parts.topology.plan().nodes[*node].name.clone()).collect();
        Task { cx, inputs, driven, names, stores, clock }
    }

    /// What it reads; the index is the input's name in the calls below.
    pub(crate) fn inputs(&self) -> impl Iterator<Item = InputSpec<'_>> {
        self.inputs.iter().map(Input::spec)
    }

    pub(crate) fn counters(&self) -> &Arc<Counters> {
        &self.cx.counters
    }

    pub(crate) fn stores(&self) -> &[AssembledStore] {
        &self.stores
    }

    /// Tells processors that the first record is near.
    pub(crate) fn init(&mut self) -> Result<(), Error> {
        let driven = self.driven.clone();
        driven.iter().enumerate().try_for_each(|(at, (_, node))| self.guarded(at, |cx| lock(node).init(cx)))
    }

    /// Decodes a record to be the head of its input; the task compares the times of heads before it takes one.
    pub(crate) fn stage(&mut self, input: usize, raw: RawRecord<'_>) -> Result<Staged, Fault> {
        let Input { name, head, partition_time, .. } = &mut self.inputs[input];
        let staged = guard(&mut self.cx, Some(name), |cx| head.stage(raw, *partition_time, cx))?;
        if let Staged::Ready(timestamp) = staged {
            self.inputs[input].staged = timestamp;
        }
        Ok(staged)
    }

    /// Runs the staged head of an input to its end: time moves, the record is judged and processed, schedules fire.
    pub(crate) fn run(&mut self, input: usize) -> Flow {
        let at = self.inputs[input].staged;
        if self.cx.bounded && !self.move_watermark_by(input, at)? {
            return Ok(()); // too far ahead of the wall clock: dealt with
        }
        self.inputs[input].partition_time = self.inputs[input].partition_time.max(at);
        self.cx.stream_time = self.cx.stream_time.max(at);
        let head = &mut self.inputs[input].head;
        guard(&mut self.cx, None, |cx| head.run(cx))?;
        self.punctuate_event_time()
    }

    /// Commit step 2: caches emit downstream, store by store, then the changelogs are sent.
    pub(crate) fn flush(&mut self) -> Result<(), Error> {
        self.flush_caches()?;
        self.send_changelogs()
    }

    /// Caches emit downstream, store by store.
    pub(crate) fn flush_caches(&mut self) -> Result<(), Error> {
        let driven = self.driven.clone();
        driven.iter().enumerate().try_for_each(|(at, (_, node))| self.guarded(at, |cx| lock(node).flush(cx)))
    }

    /// What has changed since the last commit goes to the changelogs.
    pub(crate) fn send_changelogs(&mut self) -> Result<(), Error> {
        let place = self.cx.place(None);
        let mut sink = SendChangelog { stores: &self.stores, output: &mut *self.cx.output, last: None };
        for store in &self.stores {
            let drained = store.control.drain_changelog(&mut sink);
            let refused = store.control.take_expired_writes();
            self.cx.counters.dropped.fetch_add(refused, Ordering::Relaxed);
            drained.map_err(|error| Error::new(ErrorKind::Log, place.clone(), error.into()))?;
        }
        Ok(())
    }

    /// Commit step 7: each store's changes go to its backend with the offset that stands for them, asked for by changelog topic.
    pub(crate) fn apply(&mut self, offset_of: &dyn Fn(&str) -> Option<i64>) -> Result<(), Error> {
        for store in &self.stores {
            failpoint::reached("apply.store");
            let offset = store.changelog.as_deref().and_then(offset_of);
            let applied = store.control.apply(offset);
            applied.map_err(|error| Error::new(ErrorKind::CorruptState, Place::default(), error.into()))?;
        }
        Ok(())
    }

    /// Forgets what its stores were told since the last commit. What nodes remember is not undone: the task is not to run again.
    pub(crate) fn abort(&mut self) {
        self.stores.iter().for_each(|store| store.control.abort());
    }

    /// Bytes that only a commit can free.
    pub(crate) fn uncommitted_bytes(&self) -> usize {
        self.stores.iter().map(|store| store.control.uncommitted_bytes()).sum()
    }

    /// Whether user code asked for a commit since the last call.
    pub(crate) fn take_commit_request(&mut self) -> bool {
        std::mem::take(&mut self.cx.commit_requested)
    }

    /// The port through which the task's records leave.
    pub(crate) fn output(&mut self) -> &mut dyn Output {
        &mut *self.cx.output
    }

    /// Runs code of a driven node, named by its place among them.
    fn guarded<R>(&mut self, node: usize, act: impl FnOnce(&mut TaskContext) -> Result<R, Fault>) -> Result<R, Error> {
        Ok(guard(&mut self.cx, Some(&self.names[node]), act)?)
    }
}

/// A task whose node panicked is closed, so a poisoned lock is only seen while closing.
fn lock(node: &Mutex<dyn Driven>) -> std::sync::MutexGuard<'_, dyn Driven + 'static> {
    node.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs node code; a panic becomes a fault with the place of the record. `node` was asked: a node below it that panics says so itself.
fn guard<R>(cx: &mut TaskContext, node: Option<&Arc<str>>, act: impl FnOnce(&mut TaskContext) -> Result<R, Fault>) -> Result<R, Fault> {
    match catch_unwind(AssertUnwindSafe(|| act(cx))) {
        Ok(result) => result,
        Err(panic) => {
            let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
            let text = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned());
            let node = panicked_in().or_else(|| node.cloned());
            Err(Error::new(ErrorKind::Panic, cx.place(node.as_deref()), format!("a user function panicked: {text}").into()).into())
        }
    }
}

/// Sends changelog records to their topics.
struct SendChangelog<'a> {
    stores: &'a [AssembledStore],
    output: &'a mut dyn Output,
    /// The store that spoke last, and its topic.
    last: Option<(&'a str, u32)>,
}

impl SendChangelog<'_> {
    /// The topic of a store, if it has one.
    fn topic(&mut self, store: &str) -> Option<u32> {
        if let Some((_, topic)) = self.last.filter(|(last, _)| *last == store) {
            return Some(topic);
        }
        let store = self.stores.iter().find(|candidate| *candidate.name == *store)?;
        let topic = self.output.topic(store.changelog.as_ref()?);
        self.last = Some((&store.name, topic));
        Some(topic)
    }
}

impl ChangelogSink for SendChangelog<'_> {
    fn log(
        &mut self,
        store: &str,
        key: &[u8],
        value: Option<&[u8]>,
        timestamp: Option<Timestamp>,
        headers: &Headers,
    ) -> Result<(), StoreError> {
        let Some(slot) = self.topic(store) else { return Ok(()) };
        let timestamp = timestamp.unwrap_or(Timestamp::UNKNOWN);
        // A changelog has the partition of its task, whatever the key.
        let outgoing = Outgoing { key: Some(key), value, timestamp, headers, target: Target::OwnPartition };
        self.output.send(slot, outgoing).map_err(|source| StoreError::Backend { store: store.to_owned(), source })
    }
}
