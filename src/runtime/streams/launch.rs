//! Starting an application: topics, clients, threads.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crate::clock::{Clock, SystemClock};
use crate::config::{Guarantee, LostRecords, ProducerScope, Settings};
use crate::error::{Error, ErrorKind, Place};
use crate::kafka::{ClientRoom, Connect, NewTopic};
use crate::record::{TaskId, Timestamp};
use crate::runtime::assignment::Layout;
use crate::runtime::board::{Board, RestoreListener, RestoreProgress, StateListener};
use crate::runtime::gate::TaskGate;
use crate::runtime::identity::Identities;
use crate::runtime::internal_topics::PlannedTopic;
use crate::runtime::plan::State;
use crate::runtime::streams::patience::patiently;
use crate::runtime::streams::publisher::Publisher;
use crate::runtime::streams::{Progress, Streams};
use crate::runtime::thread::{Crew, StreamThread};
use crate::runtime::{internal_topics, metadata_limit};
use crate::state::{Engine, HomeSettings, StateHome, drawn_id};
use crate::topology::{Topology, is_legal};

/// How long a thread waits for records before it looks whether it shall end.
const PATIENCE: Duration = Duration::from_millis(50);

/// An application about to start: for those who want to hear of it from the first moment.
///
/// ```
/// # use std::sync::Arc;
/// # use highwater::kafka::{Connect, MemoryLog, NewTopic};
/// # use highwater::{Launch, Settings, StreamsBuilder, SystemClock, Topic};
/// # let builder = StreamsBuilder::new();
/// # builder.stream(Topic::<String, String>::new("in")).for_each(|_, _| ());
/// # let topology = builder.build()?;
/// # let log = MemoryLog::new(Arc::new(SystemClock));
/// # log.admin()?.create_topics(&[NewTopic::new("in", 1)])?;
/// let streams = Launch::new(&topology, Settings::new("app"), Arc::new(log))
///     .on_state(|before, after| println!("{before:?} to {after:?}"))
///     .start()?;
/// # streams.stop(std::time::Duration::from_secs(10))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Launch {
    topology: Topology,
    settings: Settings,
    log: Arc<dyn Connect>,
    clock: Arc<dyn Clock>,
    on_state: Vec<StateListener>,
    on_restore: Vec<RestoreListener>,
    gate: Option<Arc<dyn TaskGate>>,
    assumed: Vec<NewTopic>,
}

impl Launch {
    /// With the machine's clock and no listeners.
    pub fn new(topology: &Topology, settings: Settings, log: Arc<dyn Connect>) -> Self {
        let (clock, topology) = (Arc::new(SystemClock), topology.clone());
        Launch { topology, settings, log, clock, on_state: Vec::new(), on_restore: Vec::new(), gate: None, assumed: Vec::new() }
    }

    /// Takes the time from this clock.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Calls `listener` at each change of state, with the state before and the state after, on the thread that changes it: it must not wait for
    /// the instance.
    pub fn on_state(mut self, listener: impl Fn(State, State) + Send + Sync + 'static) -> Self {
        self.on_state.push(Box::new(listener));
        self
    }

    /// Calls `listener` as stores are restored from their changelogs, after each piece, on the thread that restores them: what it takes its
    /// time for, other stores wait for.
    pub fn on_restore(mut self, listener: impl Fn(&RestoreProgress) + Send + Sync + 'static) -> Self {
        self.on_restore.push(Box::new(listener));
        self
    }

    /// Lets `gate` decide whether tasks run. Their transactions must be their own.
    pub fn gate(mut self, gate: impl TaskGate + 'static) -> Self {
        self.gate = Some(Arc::new(gate));
        self
    }

    /// Plans as if these topics were there, where they are not: somebody will make them before the start.
    pub fn assuming(mut self, topics: Vec<NewTopic>) -> Self {
        self.assumed = topics;
        self
    }

    /// The internal topics that it needs, and how they stand; makes nothing.
    ///
    /// # Errors
    /// If a source topic does not exist, sources do not fit together, or the log refuses.
    pub fn planned_topics(&self) -> Result<Vec<PlannedTopic>, Error> {
        legal_application_id(&self.settings.application_id)?;
        let id = &self.settings.application_id;
        let task_topics = |tasks: &[TaskId]| self.log.task_topics(id, tasks);
        Ok(internal_topics::survey(&*self.log.admin()?, &self.topology, id, &task_topics, &self.assumed)?.topics)
    }

    /// Makes the internal topics that are missing, all that an application needs which may make none itself; gives all of them.
    ///
    /// # Errors
    /// As [`planned_topics`](Self::planned_topics), and if one that is there is not as it must be. Those before it are made then.
    pub fn make_topics(&self) -> Result<Vec<PlannedTopic>, Error> {
        let mut topics = self.planned_topics()?;
        let admin = self.log.admin()?;
        topics.iter_mut().try_for_each(|topic| internal_topics::provide_one(&*admin, topic))?;
        Ok(topics)
    }

    /// Starts it.
    ///
    /// A log that does not answer is waited for, [`start_timeout`](Settings::start_timeout) long.
    ///
    /// # Errors
    /// If the application id is no legal name, a source topic does not exist, an internal topic is not as it must be, or the log refuses, or does not
    /// answer in time.
    pub fn start(self) -> Result<Streams, Error> {
        let Launch { topology, settings, log, clock, on_state, on_restore, gate, assumed: _ } = self;
        let settings = Arc::new(settings);
        legal_application_id(&settings.application_id)?;
        legal_scope(&settings, gate.is_some())?;
        let log = log.named(&settings.application_id).unwrap_or(log);
        let (layout, identities) = patiently(settings.start_timeout, &SystemClock, on_wait, || topics_for(&*log, &topology, &settings))?;
        metadata_limit::check(&topology, &layout, settings.offset_metadata_bytes)?;
        legal_rebuild(&settings, &layout)?;
        let count = settings.threads.max(1);
        let partitions = layout.tasks.iter().map(|inputs| inputs.partitions.len()).sum();
        let log = log.within(ClientRoom::of(settings.memory, partitions, count)).unwrap_or(log);
        let publisher = Arc::new(Publisher::new(&settings.application_id));
        let board = Board::new(Arc::new(layout), count, on_state, with_publisher(on_restore, &publisher));
        board.know_topics(identities);
        board.restore_rate.limit(settings.restore_bytes_per_second);
        board.keep_state_in(home(&topology, &settings, clock.now())?);
        // All join before the first one runs, so that tasks are shared out once.
        let process = process_id(&settings, board.home());
        let (topology_of, clock_of) = (topology.clone(), clock.clone());
        let crew = Crew { topology: topology_of, settings, log: log.clone(), clock: clock_of, board: board.clone(), process, gate };
        let made = patiently(crew.settings.start_timeout, &SystemClock, on_wait, || {
            (0..count).map(|number| StreamThread::new(number, &crew, clock.now())).collect::<Result<Vec<_>, Error>>()
        })?;
        let mut threads = Vec::new();
        for mut thread in made {
            let (board_of, clock_of, clock, numbers) = (board.clone(), clock.clone(), clock.clone(), publisher.clone());
            if let Some(restorer) = thread.take_restorer() {
                threads.push(spawn(&board, restorer.name().to_owned(), move || restorer.run(&*clock_of))?);
            }
            threads.push(spawn(&board, thread.name().to_owned(), move || drive(thread, &board_of, &*clock, &numbers))?);
        }
        Ok(Streams { board, log, topology, threads, publisher })
    }
}

fn on_wait(error: &Error) {
    tracing::warn!("the start waits for the cluster: {error}");
}

/// Sees to the internal topics; tells how the work is cut, and which topics they are.
fn topics_for(log: &dyn Connect, topology: &Topology, settings: &Settings) -> Result<(Layout, Identities), Error> {
    let (admin, id) = (log.admin()?, &settings.application_id);
    let mut survey = internal_topics::survey(&*admin, topology, id, &|tasks| log.task_topics(id, tasks), &[])?;
    internal_topics::provide(&*admin, &mut survey.topics, settings.create_topics)?;
    let identities = Identities::look_up(&*admin, topology, id, &survey.topics);
    Ok((survey.layout, identities))
}

/// Where stores are kept.
fn home(topology: &Topology, settings: &Settings, now: Timestamp) -> Result<Arc<StateHome>, Error> {
    let Some(directory) = &settings.state_dir else {
        return Ok(StateHome::in_memory(drawn_id()));
    };
    let settings = HomeSettings {
        directory,
        application_id: &settings.application_id,
        shapes: topology.shapes(&settings.application_id),
        cleanup_delay: settings.state_cleanup_delay,
        memory: settings.disk_memory(),
        engine: Engine::default(),
    };
    StateHome::on_disk(settings, drawn_id(), now)
}

fn spawn(board: &Board, name: String, run: impl FnOnce() + Send + 'static) -> Result<thread::JoinHandle<()>, Error> {
    thread::Builder::new().name(name).spawn(run).map_err(|error| {
        board.ask_to_stop();
        Error::new(ErrorKind::Retriable, Place::default(), Box::new(error))
    })
}

/// What tells this process from others that run the application.
fn process_id(settings: &Settings, home: &StateHome) -> Arc<str> {
    if let Some(id) = &settings.instance_id {
        return id.as_ref().into();
    }
    if settings.guarantee == Guarantee::ExactlyOnce && settings.state_dir.is_none() {
        tracing::warn!(
            timeout = ?settings.transaction_timeout,
            "neither `instance_id` nor `state_dir`: after a kill, readers of committed records wait for the time-out of the last transaction"
        );
    }
    home.process_id().into()
}

/// Transactions of single tasks need transactions, and a gate needs those.
fn legal_scope(settings: &Settings, gate: bool) -> Result<(), Error> {
    let by_task = settings.producer_scope != ProducerScope::Thread;
    let text = match () {
        () if by_task && settings.guarantee != Guarantee::ExactlyOnce => {
            "a `producer_scope` of tasks needs `guarantee` to be `ExactlyOnce`"
        }
        () if gate && !by_task => "a gate needs `producer_scope` to be `Task`: nothing else keeps other owners of a task away",
        () => return Ok(()),
    };
    Err(Error::new(ErrorKind::InvalidConfig, Place::default(), text.into()))
}

/// What begins anew is sent again, and stores that it feeds would count it twice.
fn legal_rebuild(settings: &Settings, layout: &Layout) -> Result<(), Error> {
    if settings.on_lost_records != LostRecords::Rebuild || !layout.stacks_state() {
        return Ok(());
    }
    let text = "`on_lost_records` cannot be `Rebuild` here: a store of this topology feeds another one through a repartition topic, which would count \
                again what is read again. Choose `Fail` or `Skip`";
    Err(Error::new(ErrorKind::InvalidConfig, Place::default(), text.into()))
}

/// Internal topics begin with it, and so must a topic's name be able to.
fn legal_application_id(id: &str) -> Result<(), Error> {
    match is_legal(id) {
        true => Ok(()),
        false => {
            let text = format!("`{id}` is not a legal application id: use ASCII letters, digits, `.`, `_` and `-`, at most 249 of them");
            Err(Error::new(ErrorKind::InvalidConfig, Place::default(), text.into()))
        }
    }
}

impl fmt::Debug for Launch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Launch").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// What is restored is counted for the recorder of metrics too.
fn with_publisher(mut listeners: Vec<RestoreListener>, publisher: &Arc<Publisher>) -> Vec<RestoreListener> {
    let publisher = publisher.clone();
    listeners.push(Box::new(move |progress| publisher.restored(progress)));
    listeners
}

/// The life of one thread.
fn drive(mut thread: StreamThread, board: &Board, clock: &dyn Clock, publisher: &Publisher) {
    let publish = || {
        let state = board.facts().state; // a statement of its own: the guard must be gone before the next look
        publisher.publish(state, &Progress::on(board));
    };
    let ran = catch_unwind(AssertUnwindSafe(|| {
        while !board.is_over() {
            let now = clock.now();
            thread.run_once(now, PATIENCE)?;
            if publisher.is_due(now) {
                publish();
            }
        }
        Ok(())
    }));
    match ran {
        Ok(Ok(())) => {
            if let Err(error) = thread.close(clock.now()) {
                board.fail(None, error);
            }
        }
        Ok(Err(error)) => {
            board.fail(None, error);
            thread.abandon();
        }
        Err(_) => {
            let text = "a thread panicked outside of user code".into();
            board.fail(None, Error::new(ErrorKind::Internal, Place::default(), text));
            thread.abandon();
        }
    }
    publish();
}
