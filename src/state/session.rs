//! The typed face of session stores.

use std::ops::Deref;
use std::sync::{Arc, Mutex};

use crate::error::StoreError;
use crate::record::{Data, Timestamp};
use crate::serdes::{DefaultSerde, SharedSerde, shared_default};
use crate::state::backend::Direction;
use crate::state::codec::Codecs;
use crate::state::control::Control;
use crate::state::lock::lock;
use crate::state::open::{Opened, RecordClock};
use crate::state::session_core::{SessionCore, SessionRow};
use crate::state::spec::StoreKind;
use crate::state::store_ref::{DefaultStore, Kind, OpenedStore, Opening, Store, sealed};
use crate::window::{SessionWindow, Windowed};

type Result<T, E = StoreError> = std::result::Result<T, E>;
/// Rows of a session store.
type Rows<K, V> = Vec<(Windowed<K, SessionWindow>, V)>;

/// One value per key and session. Everything of [`SessionView`] can be called on it.
pub struct SessionStore<K, V>(SessionView<K, V>);

/// The reading face of a [`SessionStore`].
pub struct SessionView<K, V> {
    core: Arc<Mutex<SessionCore>>,
    codecs: Arc<Codecs<K, V>>,
    now: Arc<RecordClock>,
}

impl<K, V> Clone for SessionView<K, V> {
    fn clone(&self) -> Self {
        SessionView { core: self.core.clone(), codecs: self.codecs.clone(), now: self.now.clone() }
    }
}
impl<K, V> Clone for SessionStore<K, V> {
    fn clone(&self) -> Self {
        SessionStore(self.0.clone())
    }
}
impl<K, V> Deref for SessionStore<K, V> {
    type Target = SessionView<K, V>;
    fn deref(&self) -> &SessionView<K, V> {
        &self.0
    }
}

impl<K: Data, V: Data> SessionView<K, V> {
    /// The value of exactly this session.
    pub fn get(&self, key: &K, session: SessionWindow) -> Result<Option<V>> {
        let key = self.codecs.key_bytes(key)?;
        let (start, end) = (session.start.as_millis(), session.end.as_millis());
        lock(&self.core).read(&key, start, end, |row| row.map(|row| self.value(row)).transpose())
    }
    /// Sessions of `key` that end at `earliest_end` or later and start at `latest_start` or earlier, earliest first.
    pub fn find(&self, key: &K, earliest_end: Timestamp, latest_start: Timestamp) -> Result<Rows<K, V>> {
        self.find_key(key, earliest_end, latest_start, Direction::Forward)
    }
    /// The same, latest first.
    pub fn find_backward(&self, key: &K, earliest_end: Timestamp, latest_start: Timestamp) -> Result<Rows<K, V>> {
        self.find_key(key, earliest_end, latest_start, Direction::Backward)
    }
    /// The same as [`find`](Self::find) for several keys, an open bound being none.
    pub fn find_keys(&self, from: Option<&K>, to: Option<&K>, earliest_end: Timestamp, latest_start: Timestamp) -> Result<Rows<K, V>> {
        let bytes = |key: Option<&K>| key.map(|key| self.codecs.key_bytes(key)).transpose();
        let (low, high) = (bytes(from)?, bytes(to)?);
        let (from, to) = (earliest_end.as_millis(), latest_start.as_millis());
        let rows = lock(&self.core).find_range((low.as_deref(), high.as_deref()), from, to, Direction::Forward)?;
        rows.into_iter().map(|row| self.decode(row)).collect()
    }
    /// All sessions of `key`, earliest first.
    pub fn fetch(&self, key: &K) -> Result<Rows<K, V>> {
        self.find(key, Timestamp::from_millis(0), Timestamp::MAX)
    }
    /// All sessions of `key`, latest first.
    pub fn fetch_backward(&self, key: &K) -> Result<Rows<K, V>> {
        self.find_backward(key, Timestamp::from_millis(0), Timestamp::MAX)
    }
    /// All sessions of several keys, an open bound being none.
    pub fn fetch_keys(&self, from: Option<&K>, to: Option<&K>) -> Result<Rows<K, V>> {
        self.find_keys(from, to, Timestamp::from_millis(0), Timestamp::MAX)
    }
    /// Every session.
    pub fn all(&self) -> Result<Rows<K, V>> {
        self.fetch_keys(None, None)
    }
    pub(crate) fn core(&self) -> &Arc<Mutex<SessionCore>> {
        &self.core
    }
    pub(crate) fn codecs(&self) -> &Arc<Codecs<K, V>> {
        &self.codecs
    }

    fn find_key(&self, key: &K, earliest_end: Timestamp, latest_start: Timestamp, direction: Direction) -> Result<Rows<K, V>> {
        let key = self.codecs.key_bytes(key)?;
        let rows = lock(&self.core).find(&key, earliest_end.as_millis(), latest_start.as_millis(), direction)?;
        rows.into_iter().map(|row| self.decode(row)).collect()
    }
    fn value(&self, row: &[u8]) -> Result<V> {
        Ok(self.codecs.read_row(row)?.value)
    }
    fn decode(&self, row: SessionRow) -> Result<(Windowed<K, SessionWindow>, V)> {
        let window = SessionWindow { start: Timestamp::from_millis(row.start), end: Timestamp::from_millis(row.end) };
        Ok((Windowed { key: self.codecs.read_key(&row.key)?, window }, self.value(&row.value)?))
    }
}

impl<K: Data, V: Data> SessionStore<K, V> {
    /// Sets the value of one session. A session that is past retention is refused and counted as a dropped record. A value
    /// that is written as null deletes.
    pub fn put(&mut self, key: &K, session: SessionWindow, value: &V) -> Result<()> {
        let (key, row) = (self.codecs.key_bytes(key)?, self.codecs.row_bytes(value, self.now.get())?);
        self.write(&key, session, row.as_deref())
    }
    /// Removes one session.
    pub fn delete(&mut self, key: &K, session: SessionWindow) -> Result<()> {
        let key = self.codecs.key_bytes(key)?;
        self.write(&key, session, None)
    }
    fn write(&mut self, key: &[u8], session: SessionWindow, row: Option<&[u8]>) -> Result<()> {
        if session.start > session.end || session.start < Timestamp::from_millis(0) {
            let source =
                format!("a session from {} to {}: it ends at its last record, and none is before the epoch", session.start, session.end);
            return Err(self.0.codecs.refused(source));
        }
        let mut core = lock(&self.0.core);
        let context = self.0.now.context(core.caching());
        let flushed = core.write(key, session.start.as_millis(), session.end.as_millis(), row, &context.lend())?;
        core.keep_for_listener(flushed);
        Ok(())
    }
}

impl<K, V> sealed::Sealed for SessionStore<K, V> {}

impl<K: Data, V: Data> Store for SessionStore<K, V> {
    type View = SessionView<K, V>;
    type Serdes = (SharedSerde<K>, SharedSerde<V>);
    const KIND: Kind = Kind(StoreKind::Session);
    fn open(serdes: &Self::Serdes, how: Opening<'_>) -> OpenedStore {
        let how = how.0;
        let name = how.name.clone();
        let codecs = Arc::new(Codecs::new(name.clone(), how.changelog_topic, serdes, how.spec.stamped));
        let now = how.environment.now.clone();
        let store = SessionStore(SessionView { core: Arc::new(Mutex::new(SessionCore::open(how))), codecs, now });
        let control = Arc::new(Control(store.core.clone()));
        OpenedStore(Opened { handle: Arc::new(move || Box::new(store.clone())), control })
    }
    fn view(&self) -> Self::View {
        self.0.clone()
    }
}

impl<K: Data + DefaultSerde, V: Data + DefaultSerde> DefaultStore for SessionStore<K, V> {
    fn default_serdes() -> Self::Serdes {
        (shared_default(), shared_default())
    }
}
