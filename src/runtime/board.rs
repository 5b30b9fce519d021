//! What the threads of one instance tell each other and the handle: states, failures, counts, and the end of input.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use crate::error::Error;
use crate::kafka::Occupied;
use crate::processor::Counters;
use crate::record::{TaskId, TopicPartition};
use crate::runtime::assignment::Layout;
use crate::runtime::identity::{Alteration, Identities};
use crate::runtime::outages::Outages;
use crate::runtime::plan::{State, TaskState, ThreadState};
use crate::runtime::restore::RestoreRate;
use crate::state::StateHome;
use crate::topology::draft::Erased;

/// Told of each change of state: before, after.
pub(crate) type StateListener = Box<dyn Fn(State, State) + Send + Sync>;
/// Told how the restoring of stores goes.
pub(crate) type RestoreListener = Box<dyn Fn(&RestoreProgress) + Send + Sync>;
/// Gives a typed handle of a store.
pub(crate) type StoreHandle = Arc<dyn Fn() -> Erased + Send + Sync>;

/// An error that stopped a task, or a thread.
#[derive(Debug)]
#[non_exhaustive]
pub struct TaskFailure {
    /// The task; none if the thread that ran it is gone as a whole.
    pub task: Option<TaskId>,
    /// What happened, and where.
    pub error: Error,
}

/// How far the restoring of one store of one task is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RestoreProgress {
    /// The task.
    pub task: TaskId,
    /// The store.
    pub store: Arc<str>,
    /// The offset of the changelog that the store was complete up to when this began.
    pub begin: i64,
    /// Records read back so far.
    pub records: u64,
    /// The next offset of the changelog to read.
    pub position: i64,
    /// The offset at which the store is complete.
    pub end: i64,
    /// Since this began.
    pub elapsed: Duration,
}

impl RestoreProgress {
    /// Records read back per second so far; none before a millisecond has passed.
    pub fn records_per_second(&self) -> Option<u64> {
        let millis = u64::try_from(self.elapsed.as_millis()).unwrap_or(u64::MAX);
        (self.records * 1_000).checked_div(millis)
    }

    /// How long the rest will take if it goes on like this; none while that cannot be told. Offsets are counted, as nobody knows how many
    /// of them are records.
    pub fn left(&self) -> Option<Duration> {
        let (done, rest) = (self.position - self.begin, (self.end - self.position).max(0));
        if done <= 0 || (self.elapsed.is_zero() && rest > 0) {
            return None;
        }
        Some(self.elapsed.mul_f64(rest as f64 / done as f64))
    }

    /// Whether the store is complete.
    pub fn is_complete(&self) -> bool {
        self.position >= self.end
    }
}

/// The end of input as it was declared: where each source partition ends.
pub(crate) type Ends = Arc<BTreeMap<TopicPartition, i64>>;

/// Counts of one input, written by its thread and read by anybody.
#[derive(Debug)]
pub(crate) struct InputMeter {
    pub(crate) partition: TopicPartition,
    pub(crate) internal: bool,
    pub(crate) records: AtomicU64,
    pub(crate) position: AtomicI64,
    pub(crate) end: AtomicI64,
    /// Offsets whose records were deleted before they were read.
    pub(crate) lost: AtomicU64,
}

/// Counts of one task, likewise.
pub(crate) struct TaskMeter {
    pub(crate) task: TaskId,
    pub(crate) counters: Arc<Counters>,
    pub(crate) sent: Arc<AtomicU64>,
    /// `i64::MIN`: none.
    pub(crate) watermark: AtomicI64,
    pub(crate) stream_time: AtomicI64,
    pub(crate) inputs: Vec<InputMeter>,
    pub(crate) stores: Vec<(Arc<str>, StoreHandle)>,
}

/// A number that only its owner changes.
pub(crate) fn put(cell: &AtomicI64, value: i64) {
    cell.store(value, Ordering::Relaxed);
}

/// One task on the board.
pub(crate) struct Listed {
    pub(crate) state: TaskState,
    pub(crate) meter: Arc<TaskMeter>,
}

/// What is on the board.
pub(crate) struct Facts {
    pub(crate) state: State,
    pub(crate) threads: Vec<ThreadState>,
    pub(crate) tasks: BTreeMap<TaskId, Listed>,
    /// Meters of tasks that were closed: their counts stay in the totals.
    pub(crate) past: Vec<Arc<TaskMeter>>,
    pub(crate) failures: Vec<Arc<TaskFailure>>,
    /// Stores that are being restored.
    pub(crate) restoring: BTreeMap<(TaskId, Arc<str>), RestoreProgress>,
    /// Who has to leave the group before the threads can come in.
    pub(crate) occupied: Option<Occupied>,
    finished: BTreeSet<TaskId>,
    failed: BTreeSet<TaskId>,
    ends: Option<Ends>,
}

/// The board.
pub(crate) struct Board {
    layout: Arc<Layout>,
    facts: Mutex<Facts>,
    changed: Condvar,
    stop: AtomicBool,
    over: AtomicBool,
    ended: AtomicBool,
    /// Held while a change is announced, so that listeners hear changes in order.
    speaking: Mutex<()>,
    on_state: Vec<StateListener>,
    on_restore: Vec<RestoreListener>,
    home: OnceLock<Arc<StateHome>>,
    identities: OnceLock<Identities>,
    /// Topics that are not what they were at the start.
    altered: Mutex<BTreeMap<String, Alteration>>,
    any_altered: AtomicBool,
    watched: AtomicBool,
    /// How long the log keeps positions, once somebody has asked.
    positions_kept: OnceLock<Option<Duration>>,
    /// Commits that were done.
    pub(crate) commits: AtomicU64,
    pub(crate) outages: Outages,
    pub(crate) restore_rate: RestoreRate,
}

impl Board {
    pub(crate) fn new(layout: Arc<Layout>, threads: usize, on_state: Vec<StateListener>, on_restore: Vec<RestoreListener>) -> Arc<Self> {
        let facts = Facts {
            state: State::Created,
            threads: vec![ThreadState::Created; threads],
            tasks: BTreeMap::new(),
            past: Vec::new(),
            failures: Vec::new(),
            restoring: BTreeMap::new(),
            occupied: None,
            finished: BTreeSet::new(),
            failed: BTreeSet::new(),
            ends: None,
        };
        Arc::new(Board {
            layout,
            facts: Mutex::new(facts),
            changed: Condvar::new(),
            stop: AtomicBool::new(false),
            over: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            speaking: Mutex::new(()),
            on_state,
            on_restore,
            home: OnceLock::new(),
            identities: OnceLock::new(),
            altered: Mutex::default(),
            any_altered: AtomicBool::new(false),
            watched: AtomicBool::new(false),
            positions_kept: OnceLock::new(),
            commits: AtomicU64::new(0),
            outages: Outages::default(),
            restore_rate: RestoreRate::default(),
        })
    }

    /// Stores of the instance are kept there: said once, before the first thread is made.
    pub(crate) fn keep_state_in(&self, home: Arc<StateHome>) {
        let _ = self.home.set(home); // the first word counts
    }

    /// Where stores are kept; in memory if nothing was said.
    pub(crate) fn home(&self) -> &Arc<StateHome> {
        self.home.get_or_init(|| StateHome::in_memory("memory"))
    }

    /// The topics that the instance works with: said once, before the first thread is made.
    pub(crate) fn know_topics(&self, identities: Identities) {
        let _ = self.identities.set(identities); // the first word counts
    }

    /// The topics that the instance works with; nothing is known of them if nothing was said.
    pub(crate) fn identities(&self) -> &Identities {
        self.identities.get_or_init(Identities::default)
    }

    /// How long the log keeps positions; asked for once, by the first thread.
    pub(crate) fn positions_kept(&self, ask: impl FnOnce() -> Option<Duration>) -> Option<Duration> {
        *self.positions_kept.get_or_init(ask)
    }

    /// Whether whoever asks is the one to look after the topics. One is enough.
    pub(crate) fn shall_watch(&self) -> bool {
        !self.watched.swap(true, Ordering::SeqCst)
    }

    /// Topics are not what they were.
    pub(crate) fn note_altered(&self, altered: BTreeMap<String, Alteration>) {
        let any = !altered.is_empty();
        let mut noted = self.altered.lock().unwrap_or_else(PoisonError::into_inner);
        for (topic, alteration) in altered.iter().filter(|(topic, alteration)| noted.get(*topic) != Some(*alteration)) {
            tracing::warn!(topic, ?alteration, "a topic is not what it was when this instance started");
        }
        *noted = altered;
        drop(noted);
        self.any_altered.store(any, Ordering::Relaxed);
    }

    /// What has become of topics, as was noted last; none if nothing has.
    pub(crate) fn altered(&self) -> Option<BTreeMap<String, Alteration>> {
        if !self.any_altered.load(Ordering::Relaxed) {
            return None;
        }
        Some(self.altered.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }

    /// Nothing here can panic with the lock held, and what is read is whole either way.
    pub(crate) fn facts(&self) -> MutexGuard<'_, Facts> {
        self.facts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Asks the threads to end.
    pub(crate) fn ask_to_stop(&self) {
        self.stop.store(true, Ordering::SeqCst);
        self.settle();
    }

    /// Whether threads are to end: they were asked to, or there is nothing left to do.
    pub(crate) fn is_over(&self) -> bool {
        self.stop.load(Ordering::SeqCst) || self.over.load(Ordering::SeqCst)
    }

    /// Declares the end of input. A second declaration changes nothing.
    pub(crate) fn declare_end(&self, ends: BTreeMap<TopicPartition, i64>) {
        self.facts().ends.get_or_insert_with(|| Arc::new(ends));
        self.ended.store(true, Ordering::SeqCst);
        self.settle();
    }

    /// The declared ends.
    pub(crate) fn ends(&self) -> Option<Ends> {
        if self.ended.load(Ordering::SeqCst) { self.facts().ends.clone() } else { None }
    }

    /// Whether nothing more will be written into the repartition topics of this task.
    pub(crate) fn upstream_finished(&self, task: TaskId) -> bool {
        let Some(part) = self.layout.parts.get(&task.subtopology) else { return false };
        let facts = self.facts();
        let of = |upstream: &u32| {
            let tasks = self.layout.parts.get(upstream).map_or(0, |part| part.tasks);
            (0..tasks).all(|partition| facts.finished.contains(&TaskId { subtopology: *upstream, partition }))
        };
        part.upstream.iter().all(of)
    }

    /// Tasks that are neither here nor known to be finished.
    pub(crate) fn elsewhere(&self) -> Vec<TaskId> {
        let facts = self.facts();
        let tasks = self.layout.tasks.iter().map(|inputs| inputs.task);
        tasks.filter(|task| !facts.finished.contains(task) && !facts.tasks.contains_key(task)).collect()
    }

    /// A task of another instance has come to its end.
    pub(crate) fn finished_elsewhere(&self, task: TaskId) {
        self.facts().finished.insert(task);
        self.settle();
    }

    /// A task came to be, or is another one now.
    pub(crate) fn list(&self, meter: Arc<TaskMeter>) {
        let task = meter.task;
        let before = self.facts().tasks.insert(task, Listed { state: TaskState::Created, meter });
        if let Some(before) = before {
            self.facts().past.push(before.meter);
        }
    }

    pub(crate) fn set_task(&self, task: TaskId, state: TaskState) {
        {
            let mut facts = self.facts();
            if state != TaskState::Restoring {
                facts.restoring.retain(|(of, _), _| *of != task);
            }
            match state {
                TaskState::Finished => drop(facts.finished.insert(task)),
                TaskState::Failed => drop(facts.failed.insert(task)),
                TaskState::Running => drop(facts.failed.remove(&task)),
                _ => {}
            }
            if state == TaskState::Closed {
                if let Some(closed) = facts.tasks.remove(&task) {
                    facts.past.push(closed.meter);
                }
            } else if let Some(listed) = facts.tasks.get_mut(&task) {
                listed.state = state;
            }
        }
        self.settle();
    }

    pub(crate) fn set_thread(&self, thread: usize, state: ThreadState) {
        self.facts().threads[thread] = state;
        self.settle();
    }

    /// The group is not open yet, or is now.
    pub(crate) fn set_occupied(&self, occupied: Option<Occupied>) {
        self.facts().occupied = occupied;
    }

    pub(crate) fn fail(&self, task: Option<TaskId>, error: Error) {
        tracing::error!(task = task.map(|task| task.to_string()), %error, advice = error.kind().advice(), "stopped by an error");
        self.facts().failures.push(Arc::new(TaskFailure { task, error }));
    }

    pub(crate) fn restored(&self, progress: &RestoreProgress) {
        let key = (progress.task, progress.store.clone());
        if progress.is_complete() {
            self.facts().restoring.remove(&key);
        } else {
            self.facts().restoring.insert(key, progress.clone());
        }
        self.on_restore.iter().for_each(|listener| listener(progress));
    }

    /// Waits until `enough` of the state, or until the time is over; gives the state then.
    pub(crate) fn wait(&self, within: Duration, enough: impl Fn(&Facts) -> bool) -> State {
        let facts = self.facts();
        let waited = self.changed.wait_timeout_while(facts, within, |facts| !enough(facts));
        waited.unwrap_or_else(PoisonError::into_inner).0.state
    }

    /// The state as threads and tasks make it, when all listeners have heard of it.
    pub(crate) fn told_state(&self) -> State {
        self.settle();
        self.facts().state
    }

    /// Brings the state of the instance up to what threads and tasks say, step by step, each told to the listeners.
    fn settle(&self) {
        let _speaking = self.speaking.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let (before, after) = {
                let mut facts = self.facts();
                let (before, wanted) = (facts.state, self.wanted(&facts));
                let Some(after) = wanted.and_then(|wanted| step(before, wanted)) else { break };
                facts.state = after;
                (before, after)
            };
            if after.is_final() {
                self.over.store(true, Ordering::SeqCst);
            }
            tracing::info!(?before, ?after, "state");
            self.on_state.iter().for_each(|listener| listener(before, after));
        }
        self.changed.notify_all();
    }

    fn wanted(&self, facts: &Facts) -> Option<State> {
        let threads = &facts.threads;
        let all = |state: ThreadState| threads.iter().all(|thread| *thread == state);
        let stopping = self.stop.load(Ordering::SeqCst);
        if facts.state.is_final() {
            return None;
        }
        if !self.layout.tasks.is_empty() && self.layout.tasks.iter().all(|inputs| facts.finished.contains(&inputs.task)) {
            return Some(State::Finished);
        }
        match () {
            () if all(ThreadState::Dead) && stopping => Some(State::Stopped),
            () if all(ThreadState::Dead) || self.is_stuck(facts) => Some(State::Error),
            () if stopping => Some(State::Stopping),
            () if all(ThreadState::Created) => None,
            () if threads.iter().all(|thread| matches!(thread, ThreadState::Running | ThreadState::Dead)) => Some(State::Running),
            () => Some(State::Rebalancing),
        }
    }

    /// Whether some task failed and none of the others has anything left to do, now or ever.
    fn is_stuck(&self, facts: &Facts) -> bool {
        let settled = facts.threads.iter().all(|thread| matches!(thread, ThreadState::Running | ThreadState::Dead));
        let failed = facts.tasks.values().any(|task| task.state == TaskState::Failed);
        settled
            && failed
            && facts.tasks.iter().all(|(task, listed)| match listed.state {
                TaskState::Failed | TaskState::Finished => true,
                _ => facts.ends.is_some() && self.waits_for_failed(*task, facts),
            })
    }

    /// Whether a task that failed would have to finish first.
    fn waits_for_failed(&self, task: TaskId, facts: &Facts) -> bool {
        let mut above: Vec<u32> = self.layout.parts.get(&task.subtopology).into_iter().flat_map(|part| part.upstream.clone()).collect();
        let mut seen = BTreeSet::new();
        while let Some(part) = above.pop() {
            if seen.insert(part) {
                if facts.failed.iter().any(|failed| failed.subtopology == part) {
                    return true;
                }
                above.extend(self.layout.parts.get(&part).into_iter().flat_map(|part| part.upstream.clone()));
            }
        }
        false
    }
}

/// The next state on the way to the wanted one.
fn step(from: State, to: State) -> Option<State> {
    if from == to {
        return None;
    }
    if from.may_become(to) {
        return Some(to);
    }
    let between = [State::Rebalancing, State::Running, State::Stopping];
    between.into_iter().find(|next| from.may_become(*next) && next.may_become(to)).or_else(|| {
        // Created to Finished: two states lie between.
        (from == State::Created && to == State::Finished).then_some(State::Rebalancing)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A thread that dies is dead before it says what that makes of the instance, and whoever waits for its death may come in between.
    #[test]
    fn the_told_state_is_no_older_than_what_threads_have_said() {
        let layout = Layout { tasks: Vec::new(), counts: BTreeMap::new(), parts: BTreeMap::new() };
        let (stopping, hears) = std::sync::mpsc::channel();
        let (goes_on, waits) = std::sync::mpsc::channel();
        let waits = Mutex::new(waits);
        let listener = move |_, after| {
            if after == State::Stopping {
                stopping.send(()).expect("the test listens");
                waits.lock().expect("one at a time").recv().expect("the test lets it go on");
            }
        };
        let board = Board::new(Arc::new(layout), 1, vec![Box::new(listener)], Vec::new());
        board.set_thread(0, ThreadState::Running);
        std::thread::scope(|scope| {
            scope.spawn(|| board.ask_to_stop());
            hears.recv().expect("told");
            scope.spawn(|| board.set_thread(0, ThreadState::Dead));
            while !board.facts().all_dead() {
                std::thread::yield_now();
            }
            assert_eq!(board.facts().state, State::Stopping, "nobody has drawn the conclusion yet");
            let told = scope.spawn(|| board.told_state());
            goes_on.send(()).expect("it waits");
            assert_eq!(told.join().expect("no panic"), State::Stopped);
        });
    }

    #[test]
    fn every_wanted_state_is_reached_by_legal_steps() {
        let all = [State::Created, State::Rebalancing, State::Running, State::Stopping, State::Stopped, State::Finished, State::Error];
        for from in all.into_iter().filter(|from| !from.is_final()) {
            for to in all.into_iter().filter(|to| to.is_final() && !(from == State::Stopping && *to == State::Finished)) {
                let mut state = from;
                for _ in 0..4 {
                    let Some(next) = step(state, to) else { break };
                    assert!(state.may_become(next), "{state:?} to {next:?}");
                    state = next;
                }
                assert_eq!(state, to, "from {from:?}");
            }
        }
    }
}
