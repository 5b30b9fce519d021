//! The handle of a running application, for the program that embeds it.

mod launch;
mod patience;
mod progress;
mod publisher;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

pub use launch::Launch;
pub use patience::patiently;
pub use progress::{InputProgress, Progress, TaskProgress};
use publisher::Publisher;

use crate::clock::{Clock, SystemClock};
use crate::config::Settings;
use crate::error::{Error, ErrorKind, Place};
use crate::kafka::{Connect, Isolation};
use crate::record::{TaskId, TopicPartition};
use crate::runtime::board::{Board, TaskFailure};
use crate::runtime::plan::{State, TaskState};
use crate::state::{Store, StoreRef};
use crate::topology::Topology;

/// A running application: its own threads in your process.
///
/// It prints nothing, installs nothing and never ends the process; events go to `tracing`. One `Streams` is one member program of the group named
/// by the application id; start more of them, here or elsewhere, and they share the partitions.
///
/// ```
/// use std::sync::Arc;
/// use std::time::Duration;
///
/// use highwater::kafka::{Connect, MemoryLog, NewTopic, Outgoing};
/// use highwater::{Headers, KeyValueStore, Settings, State, StoreRef, Streams, StreamsBuilder, SystemClock, Timestamp, Topic, TopicPartition};
///
/// const LINES: Topic<Option<String>, String> = Topic::new("lines");
/// const COUNTS: StoreRef<KeyValueStore<String, i64>> = StoreRef::new("word-counts");
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let builder = StreamsBuilder::new();
/// builder
///     .stream(LINES)
///     .flat_map_values(|line| line.split(' ').map(str::to_owned).collect::<Vec<_>>())
///     .group_by(|_, word| word.clone())
///     .count(COUNTS);
/// let topology = builder.build()?;
///
/// let log = MemoryLog::new(Arc::new(SystemClock));
/// log.admin()?.create_topics(&[NewTopic::new("lines", 2)])?;
/// let line = Outgoing { key: None, value: Some(b"to be or not to be"), timestamp: Timestamp::from_secs(1), headers: &Headers::default() };
/// log.producer()?.send(&TopicPartition::new("lines", 0), &[line])?;
///
/// let streams = Streams::start(&topology, Settings::new("word-count"), Arc::new(log))?;
/// streams.declare_end()?; // what is in the topic now is all there is
/// assert_eq!(streams.wait(Duration::from_secs(10)), State::Finished);
/// let counts: Vec<i64> = streams.store(&COUNTS)?.iter().filter_map(|(_, view)| view.get(&"be".to_owned()).ok()?).collect();
/// assert_eq!(counts, [2]);
/// # Ok(())
/// # }
/// ```
pub struct Streams {
    board: Arc<Board>,
    log: Arc<dyn Connect>,
    topology: Topology,
    threads: Vec<JoinHandle<()>>,
    publisher: Arc<Publisher>,
}

impl Streams {
    /// Starts the threads; returns when internal topics are there and the group is joined.
    ///
    /// # Errors
    /// If a source topic does not exist, an internal topic is not as it must be, or the log refuses.
    pub fn start(topology: &Topology, settings: Settings, log: Arc<dyn Connect>) -> Result<Streams, Error> {
        Self::start_with_clock(topology, settings, log, Arc::new(SystemClock))
    }

    /// The same with a clock of your own.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn start_with_clock(
        topology: &Topology,
        settings: Settings,
        log: Arc<dyn Connect>,
        clock: Arc<dyn Clock>,
    ) -> Result<Streams, Error> {
        Launch::new(topology, settings, log).clock(clock).start()
    }

    /// Where the instance stands.
    pub fn state(&self) -> State {
        self.board.facts().state
    }

    /// Everything that stopped a task or a thread so far.
    pub fn errors(&self) -> Vec<Arc<TaskFailure>> {
        self.board.facts().failures.clone()
    }

    /// Waits until the instance is [`Finished`](State::Finished), [`Stopped`](State::Stopped) or in [`Error`](State::Error), at most `timeout`;
    /// gives the state then.
    pub fn wait(&self, timeout: Duration) -> State {
        self.board.wait(timeout, |facts| facts.state.is_final())
    }

    /// Waits until the state is `state` or one that nothing follows, at most `timeout`; gives the state then.
    pub fn wait_for(&self, state: State, timeout: Duration) -> State {
        self.board.wait(timeout, |facts| facts.state == state || facts.state.is_final())
    }

    /// Declares the end of input: every source topic ends where it ends now. What is there is still processed; then bounded watermarks become
    /// final, everything closes and is committed, and the instance is [`Finished`](State::Finished). Stores can still be read.
    ///
    /// Later calls change nothing. With several instances of one application declare it in each of them: each is finished when all are.
    ///
    /// # Errors
    /// If the log does not tell where the topics end.
    pub fn declare_end(&self) -> Result<(), Error> {
        let sources = self.topology.source_topics();
        let counts = &self.board.layout().counts;
        let partitions: Vec<TopicPartition> = sources
            .iter()
            .flat_map(|topic| (0..counts.get(topic).copied().unwrap_or(0)).map(move |number| TopicPartition::new(topic.as_str(), number)))
            .collect();
        let ends = self.log.consumer(Isolation::ReadCommitted)?.end_offsets(&partitions, Isolation::ReadCommitted)?;
        self.board.declare_end(partitions.into_iter().zip(ends).collect::<BTreeMap<_, _>>());
        Ok(())
    }

    /// How far everything is.
    pub fn progress(&self) -> Progress {
        Progress::on(&self.board)
    }

    /// The local parts of a store, one for each task of this instance that has one, for reading. Their content is that of the moment of each
    /// read, not yet committed changes included. Not to be called from a processing function.
    ///
    /// # Errors
    /// [`NotAvailable`](ErrorKind::NotAvailable) if no task here has the store, or one that has is still restoring it;
    /// [`InvalidConfig`](ErrorKind::InvalidConfig) if the store is of another type.
    pub fn store<S: Store>(&self, store: &StoreRef<S>) -> Result<Vec<(TaskId, S::View)>, Error> {
        let name = store.name().ok_or_else(|| refused(ErrorKind::InvalidConfig, "a store without a name cannot be queried".to_owned()))?;
        let facts = self.board.facts();
        let mut views = BTreeMap::new();
        // The stores of a finished instance outlive its tasks.
        let past = facts.past.iter().filter(|_| facts.state.is_final()).map(|meter| (TaskState::Closed, meter));
        for (state, meter) in past.chain(facts.tasks.values().map(|listed| (listed.state, &listed.meter))) {
            let Some((_, handle)) = meter.stores.iter().find(|(candidate, _)| **candidate == *name) else { continue };
            if matches!(state, TaskState::Created | TaskState::Restoring) {
                return Err(refused(
                    ErrorKind::NotAvailable,
                    format!("`{name}` of task {} is still being restored: ask again later", meter.task),
                ));
            }
            let typed = handle().downcast::<S>();
            let typed = typed.map_err(|_| refused(ErrorKind::InvalidConfig, format!("`{name}` is a store of another type")))?;
            views.insert(meter.task, typed.view());
        }
        if views.is_empty() {
            return Err(refused(ErrorKind::NotAvailable, format!("no task of this instance has a store `{name}`")));
        }
        Ok(views.into_iter().collect())
    }

    /// Commits, leaves the group and ends the threads. Waits for that at most `within`; what it waits for goes on in the background.
    ///
    /// # Errors
    /// If the threads are not done in time, or the last commit failed: what was processed since the one before will be processed again.
    pub fn stop(&self, within: Duration) -> Result<(), Error> {
        let before = self.board.facts().failures.len();
        self.board.ask_to_stop();
        let mut state = self.board.wait(within, |facts| facts.all_dead());
        if self.board.facts().all_dead() {
            state = self.board.told_state(); // the last thread is dead before it says what that makes of the instance
        }
        self.publisher.publish(state, &self.progress());
        let facts = self.board.facts();
        if !facts.all_dead() {
            return Err(refused(ErrorKind::NotAvailable, format!("threads are still busy after {within:?} (state {state:?})")));
        }
        self.board.home().close();
        match facts.failures.get(before..).and_then(|new| new.first()) {
            Some(failure) => Err(refused(failure.error.kind(), format!("the last commit failed: {}", failure.error))),
            None => Ok(()),
        }
    }
}

/// Asks the threads to end as [`stop`](Streams::stop) does, and does not wait for them.
impl Drop for Streams {
    fn drop(&mut self) {
        self.board.ask_to_stop();
        self.threads.clear();
    }
}

impl fmt::Debug for Streams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Streams").field("state", &self.state()).finish_non_exhaustive()
    }
}

fn refused(kind: ErrorKind, text: String) -> Error {
    Error::new(kind, Place::default(), text.into())
}
