//! A store opened for a test, and a changelog to look at.

use std::sync::{Arc, Mutex};

use crate::error::StoreError;
use crate::record::{Headers, Timestamp};
use crate::state::open::{ChangelogRecord, ChangelogSink, OpenStore, Opened, RecordClock, StoreControl, StoreEnvironment};
use crate::state::{CacheBudget, Dedup, Layout, MemoryBackend, RecordContext, StoreSpec, WriteContext};

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
        let environment = StoreEnvironment { cache: Arc::new(CacheBudget::new(self.cache_bytes)), now };
        open(OpenStore {
            name: "st".into(),
            spec: self.spec.clone(),
            changelog_topic: "app-st-changelog",
            environment: &environment,
            backend: Box::<MemoryBackend>::default(),
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
