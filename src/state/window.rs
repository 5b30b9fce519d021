//! The typed face of window stores.

use std::ops::{Bound, Deref, RangeBounds};
use std::sync::{Arc, Mutex};

use crate::error::StoreError;
use crate::record::{Data, Timestamp};
use crate::serdes::{DefaultSerde, SharedSerde, shared_default};
use crate::state::backend::Direction;
use crate::state::codec::{Codecs, Stamped};
use crate::state::control::Control;
use crate::state::lock::lock;
use crate::state::open::{Opened, RecordClock};
use crate::state::spec::StoreKind;
use crate::state::store_ref::{DefaultStore, Kind, OpenedStore, Opening, Store, sealed};
use crate::state::window_core::{WindowCore, WindowRow};
use crate::window::{TimeWindow, Windowed};

type Result<T, E = StoreError> = std::result::Result<T, E>;
/// Rows of a window store: key with window, value with time.
type Rows<K, V> = Vec<(Windowed<K>, Stamped<V>)>;

/// One value per key and window start. Everything of [`WindowView`] can be called on it.
pub struct WindowStore<K, V>(WindowView<K, V>);

/// The reading face of a [`WindowStore`].
pub struct WindowView<K, V> {
    core: Arc<Mutex<WindowCore>>,
    codecs: Arc<Codecs<K, V>>,
    now: Arc<RecordClock>,
    size_ms: i64,
}

impl<K, V> Clone for WindowView<K, V> {
    fn clone(&self) -> Self {
        WindowView { core: self.core.clone(), codecs: self.codecs.clone(), now: self.now.clone(), size_ms: self.size_ms }
    }
}
impl<K, V> Clone for WindowStore<K, V> {
    fn clone(&self) -> Self {
        WindowStore(self.0.clone())
    }
}
impl<K, V> Deref for WindowStore<K, V> {
    type Target = WindowView<K, V>;
    fn deref(&self) -> &WindowView<K, V> {
        &self.0
    }
}

/// First and last millisecond of a range of times.
pub(crate) fn span(times: impl RangeBounds<Timestamp>) -> (i64, i64) {
    let from = match times.start_bound() {
        Bound::Included(at) => at.as_millis(),
        Bound::Excluded(at) => at.as_millis().saturating_add(1),
        Bound::Unbounded => i64::MIN,
    };
    let to = match times.end_bound() {
        Bound::Included(at) => at.as_millis(),
        Bound::Excluded(at) => at.as_millis().saturating_sub(1),
        Bound::Unbounded => i64::MAX,
    };
    (from, to)
}

impl<K: Data, V: Data> WindowView<K, V> {
    /// The value of `key` in the window that starts at `start`.
    pub fn get(&self, key: &K, start: Timestamp) -> Result<Option<V>> {
        Ok(self.get_stamped(key, start)?.map(|row| row.value))
    }
    /// The same with the event time of its last change.
    pub fn get_stamped(&self, key: &K, start: Timestamp) -> Result<Option<Stamped<V>>> {
        let key = self.codecs.key_bytes(key)?;
        lock(&self.core).read(&key, start.as_millis(), |row| row.map(|row| self.codecs.read_row(row)).transpose())
    }
    /// The windows of one key that start in the range, earliest first.
    pub fn fetch(&self, key: &K, starts: impl RangeBounds<Timestamp>) -> Result<Vec<(Timestamp, Stamped<V>)>> {
        self.fetch_key(key, span(starts), Direction::Forward)
    }
    /// The same, latest first.
    pub fn fetch_backward(&self, key: &K, starts: impl RangeBounds<Timestamp>) -> Result<Vec<(Timestamp, Stamped<V>)>> {
        self.fetch_key(key, span(starts), Direction::Backward)
    }
    /// The windows of several keys, an open bound being none, that start in the range: by key and start within a time
    /// segment on the persistent layout, by start and key in memory.
    pub fn fetch_keys(&self, from: Option<&K>, to: Option<&K>, starts: impl RangeBounds<Timestamp>) -> Result<Rows<K, V>> {
        self.fetch_range(from, to, span(starts), Direction::Forward)
    }
    /// The windows of all keys that start in the range, in the order of [`fetch_keys`](Self::fetch_keys).
    pub fn fetch_all(&self, starts: impl RangeBounds<Timestamp>) -> Result<Rows<K, V>> {
        self.fetch_range(None, None, span(starts), Direction::Forward)
    }
    /// The same, backward.
    pub fn fetch_all_backward(&self, starts: impl RangeBounds<Timestamp>) -> Result<Rows<K, V>> {
        self.fetch_range(None, None, span(starts), Direction::Backward)
    }
    /// Every row, in the order of [`fetch_keys`](Self::fetch_keys).
    pub fn all(&self) -> Result<Rows<K, V>> {
        self.fetch_all(..)
    }
    /// All windows that start in the range, by start and then by key.
    pub fn starting_in(&self, starts: impl RangeBounds<Timestamp>) -> Result<Rows<K, V>> {
        let (from, to) = span(starts);
        let rows = lock(&self.core).starting_in(from, to, usize::MAX)?;
        rows.into_iter().map(|row| self.decode(row)).collect()
    }
    pub(crate) fn core(&self) -> &Arc<Mutex<WindowCore>> {
        &self.core
    }
    pub(crate) fn codecs(&self) -> &Arc<Codecs<K, V>> {
        &self.codecs
    }

    fn fetch_key(&self, key: &K, (from, to): (i64, i64), direction: Direction) -> Result<Vec<(Timestamp, Stamped<V>)>> {
        let key = self.codecs.key_bytes(key)?;
        let rows = lock(&self.core).fetch(&key, from, to, direction)?;
        rows.iter().map(|row| Ok((Timestamp::from_millis(row.start), self.codecs.read_row(&row.value)?))).collect()
    }
    fn fetch_range(&self, low: Option<&K>, high: Option<&K>, (from, to): (i64, i64), direction: Direction) -> Result<Rows<K, V>> {
        let bytes = |key: Option<&K>| key.map(|key| self.codecs.key_bytes(key)).transpose();
        let (low, high) = (bytes(low)?, bytes(high)?);
        let rows = lock(&self.core).fetch_range((low.as_deref(), high.as_deref()), from, to, direction)?;
        rows.into_iter().map(|row| self.decode(row)).collect()
    }
    fn decode(&self, row: WindowRow) -> Result<(Windowed<K>, Stamped<V>)> {
        let (start, end) = (Timestamp::from_millis(row.start), Timestamp::from_millis(row.start.saturating_add(self.size_ms)));
        let key = Windowed { key: self.codecs.read_key(&row.key)?, window: TimeWindow { start, end } };
        Ok((key, self.codecs.read_row(&row.value)?))
    }
}

impl<K: Data, V: Data> WindowStore<K, V> {
    /// Sets the value of `key` in the window that starts at `start`. A window that is past retention is refused and counted
    /// as a dropped record. A value that is written as null deletes.
    pub fn put(&mut self, key: &K, start: Timestamp, value: &V, at: Timestamp) -> Result<()> {
        let (key, row) = (self.codecs.key_bytes(key)?, self.codecs.row_bytes(value, at)?);
        self.write(&key, start, row.as_deref())
    }
    /// Removes it. A store that keeps duplicates keeps them.
    pub fn delete(&mut self, key: &K, start: Timestamp) -> Result<()> {
        let key = self.codecs.key_bytes(key)?;
        self.write(&key, start, None)
    }
    fn write(&mut self, key: &[u8], start: Timestamp, row: Option<&[u8]>) -> Result<()> {
        let mut core = lock(&self.0.core);
        let context = self.0.now.context(core.caching());
        let flushed = core.write(key, start.as_millis(), row, &context.lend())?;
        core.keep_for_listener(flushed);
        Ok(())
    }
}

impl<K, V> sealed::Sealed for WindowStore<K, V> {}

impl<K: Data, V: Data> Store for WindowStore<K, V> {
    type View = WindowView<K, V>;
    type Serdes = (SharedSerde<K>, SharedSerde<V>);
    const KIND: Kind = Kind(StoreKind::Window { size_ms: 0, duplicates: false });
    fn open(serdes: &Self::Serdes, how: Opening<'_>) -> OpenedStore {
        let how = how.0;
        let name = how.name.clone();
        let size_ms = if let StoreKind::Window { size_ms, .. } = how.spec.kind { size_ms } else { 0 };
        let codecs = Arc::new(Codecs::new(name.clone(), how.changelog_topic, serdes, how.spec.stamped));
        let now = how.environment.now.clone();
        let store = WindowStore(WindowView { core: Arc::new(Mutex::new(WindowCore::open(how))), codecs, now, size_ms });
        let control = Arc::new(Control(store.core.clone()));
        OpenedStore(Opened { handle: Arc::new(move || Box::new(store.clone())), control })
    }
    fn view(&self) -> Self::View {
        self.0.clone()
    }
}

impl<K: Data + DefaultSerde, V: Data + DefaultSerde> DefaultStore for WindowStore<K, V> {
    fn default_serdes() -> Self::Serdes {
        (shared_default(), shared_default())
    }
}
