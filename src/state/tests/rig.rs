//! A store opened for a test, and a changelog to look at.

use std::cell::RefCell;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::scratch::Scratch;
use crate::error::StoreError;
use crate::record::{Headers, TaskId, Timestamp};
use crate::state::open::{ChangelogRecord, ChangelogSink, OpenStore, Opened, RecordClock, StoreControl, StoreEnvironment};
use crate::state::{
    CacheBudget, Dedup, Engine, HomeSettings, Layout, MemoryBackend, RecordContext, Shapes, StateHome, StoreBackend, StoreSpec, TaskLease,
    WriteContext,
};

/// One changelog record.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Logged {
    pub(super) key: Vec<u8>,
    pub(super) value: Option<Vec<u8>>,
    pub(super) timestamp: Option<i64>,
    pub(super) headers: Headers,
}

/// A changelog in a list.
#[derive(Default)]
pub(super) struct Log(pub(super) Vec<Logged>);

impl ChangelogSink for Log {
    fn log(&mut self, _: &str, key: &[u8], value: Option<&[u8]>, at: Option<Timestamp>, headers: &Headers) -> Result<(), StoreError> {
        let (value, timestamp) = (value.map(<[u8]>::to_vec), at.map(Timestamp::as_millis));
        self.0.push(Logged { key: key.to_vec(), value, timestamp, headers: headers.clone() });
        Ok(())
    }
}

thread_local! {
    /// Where stores of the persistent layout are opened, if not in memory.
    static DISK: RefCell<Option<Place>> = const { RefCell::new(None) };
}

/// Runs tests with the rows of persistent stores on disk, with each library.
pub(super) fn on_disk(tests: &[fn()]) {
    for engine in Engine::ALL {
        DISK.set(Some(Place::on_disk(*engine)));
        tests.iter().for_each(|test| test());
        DISK.take();
    }
}

fn fresh_rows(spec: &StoreSpec) -> Box<dyn StoreBackend> {
    DISK.with_borrow_mut(|disk| match disk {
        Some(place) => {
            place.store += 1;
            place.rows(spec)
        }
        None => Box::<MemoryBackend>::default(),
    })
}

/// Committed rows that outlive the stores opened over them.
pub(super) struct Place {
    lease: TaskLease,
    store: u64,
    _folder: Option<Scratch>,
}

impl Place {
    pub(super) fn in_memory() -> Self {
        Place { lease: StateHome::in_memory("p").lease(TASK, NOW), store: 0, _folder: None }
    }
    pub(super) fn on_disk(engine: Engine) -> Self {
        let (folder, shapes) = (Scratch::new(), Shapes::default());
        let settings = HomeSettings {
            directory: folder.path(),
            application_id: "app",
            shapes,
            cleanup_delay: Duration::ZERO,
            memory: 32 << 20,
            engine,
        };
        let home = StateHome::on_disk(settings, "p".to_owned(), NOW).expect("an empty folder can be taken");
        Place { lease: home.lease(TASK, NOW), store: 0, _folder: Some(folder) }
    }
    fn rows(&self, spec: &StoreSpec) -> Box<dyn StoreBackend> {
        self.lease.backend(&format!("st-{}", self.store), spec).expect("its own folder can be read")
    }
    /// Opens a core over the rows committed so far.
    pub(super) fn open<C>(&self, setup: &Setup, open: impl FnOnce(OpenStore<'_>) -> C) -> C {
        setup.over(self.rows(&setup.spec), Arc::default(), open)
    }
}

const TASK: TaskId = TaskId { subtopology: 0, partition: 0 };
const NOW: Timestamp = Timestamp::from_secs(1);

/// How a store is opened.
#[derive(Clone, Debug)]
pub(super) struct Setup {
    pub(super) spec: StoreSpec,
    pub(super) cache_bytes: usize,
    pub(super) bounded: bool,
    pub(super) time_index: bool,
}

impl Setup {
    pub(super) fn of(mut spec: StoreSpec) -> Self {
        spec.layout.get_or_insert(Layout::Persistent);
        spec.dedup.get_or_insert(Dedup::Commit);
        Setup { spec, cache_bytes: 10 << 20, bounded: false, time_index: false }
    }
    fn with<R>(&self, now: Arc<RecordClock>, open: impl FnOnce(OpenStore<'_>) -> R) -> R {
        self.over(fresh_rows(&self.spec), now, open)
    }
    fn over<R>(&self, backend: Box<dyn StoreBackend>, now: Arc<RecordClock>, open: impl FnOnce(OpenStore<'_>) -> R) -> R {
        let environment = StoreEnvironment { cache: Arc::new(CacheBudget::new(self.cache_bytes)), now };
        open(OpenStore {
            name: "st".into(),
            spec: self.spec.clone(),
            changelog_topic: "app-st-changelog",
            environment: &environment,
            backend,
            bounded: self.bounded,
            time_index: self.time_index,
        })
    }
}

/// An open store with everything a test turns.
pub(super) struct Rig<S> {
    pub(super) store: S,
    pub(super) control: Arc<dyn StoreControl>,
    pub(super) now: Arc<RecordClock>,
    pub(super) log: Log,
}

impl<S: crate::state::DefaultStore> Rig<S> {
    pub(super) fn open(setup: &Setup) -> Self {
        let now: Arc<RecordClock> = Arc::default();
        let opened: Opened = setup.with(now.clone(), |how| S::open(&S::default_serdes(), crate::state::store_ref::Opening(how)).0);
        let store = *(opened.handle)().downcast::<S>().expect("the store asked for");
        Rig { store, control: opened.control, now, log: Log::default() }
    }
    /// Drains and applies, as a commit does.
    pub(super) fn commit(&mut self) {
        self.control.drain_changelog(&mut self.log).expect("a list takes everything");
        let offset = i64::try_from(self.log.0.len()).expect("a short list");
        self.control.apply(Some(offset)).expect("memory takes everything");
    }
    /// A new store from the changelog of this one.
    pub(super) fn restored(&self, setup: &Setup) -> Self {
        let rig = Rig::open(setup);
        let at = |logged: &Logged| Timestamp::from_millis(logged.timestamp.unwrap_or(-1));
        let records: Vec<ChangelogRecord<'_>> = self
            .log
            .0
            .iter()
            .map(|l| ChangelogRecord { key: &l.key, value: l.value.as_deref(), timestamp: at(l), headers: &l.headers })
            .collect();
        rig.control.restore(&records, 7).expect("memory takes everything");
        rig.control.loaded().expect("memory takes everything");
        assert_eq!(rig.control.offset(), Some(7));
        rig
    }
}

/// A core alone.
pub(super) fn core<C>(setup: &Setup, open: impl FnOnce(OpenStore<'_>) -> C) -> Arc<Mutex<C>> {
    Arc::new(Mutex::new(setup.with(Arc::default(), open)))
}

/// The context of a record of topic `in` at this time and offset.
pub(super) fn context(at: i64) -> RecordContext {
    RecordContext { timestamp: Timestamp::from_millis(at), offset: at, partition: 0, topic: Some("in".into()), ..RecordContext::default() }
}

/// Sets the record of what follows.
pub(super) fn set_record(now: &RecordClock, at: i64) {
    let context = context(at);
    let lent: WriteContext<'_> = context.lend();
    now.set_record(&lent);
}
