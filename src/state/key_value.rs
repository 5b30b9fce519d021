//! The typed face of key-value stores.

use std::collections::VecDeque;
use std::ops::{Bound, ControlFlow, Deref, RangeBounds};
use std::sync::{Arc, Mutex};

use crate::error::StoreError;
use crate::record::{Data, Timestamp};
use crate::serdes::{DefaultSerde, SharedSerde, shared_default};
use crate::state::backend::{Direction, MemoryBackend};
use crate::state::cache::CacheBudget;
use crate::state::codec::{Codecs, Stamped};
use crate::state::control::Control;
use crate::state::key_value_core::KeyValueCore;
use crate::state::lock::lock;
use crate::state::open::{OpenStore, Opened, RecordClock, StoreEnvironment};
use crate::state::spec::{StoreKind, StoreSpec};
use crate::state::store_ref::{DefaultStore, Kind, OpenedStore, Opening, Store, sealed};

type Result<T, E = StoreError> = std::result::Result<T, E>;

/// One value per key: what processors hold. Everything of [`KeyValueView`] can be called on it.
pub struct KeyValueStore<K, V>(KeyValueView<K, V>);

/// The reading face of a [`KeyValueStore`]: what queries and tests hold.
pub struct KeyValueView<K, V> {
    core: Arc<Mutex<KeyValueCore>>,
    codecs: Arc<Codecs<K, V>>,
    now: Arc<RecordClock>,
}

impl<K, V> Clone for KeyValueView<K, V> {
    fn clone(&self) -> Self {
        KeyValueView { core: self.core.clone(), codecs: self.codecs.clone(), now: self.now.clone() }
    }
}
impl<K, V> Clone for KeyValueStore<K, V> {
    fn clone(&self) -> Self {
        KeyValueStore(self.0.clone())
    }
}
impl<K, V> Deref for KeyValueStore<K, V> {
    type Target = KeyValueView<K, V>;
    fn deref(&self) -> &KeyValueView<K, V> {
        &self.0
    }
}

impl<K: Data, V: Data> KeyValueView<K, V> {
    /// The value under `key`.
    pub fn get(&self, key: &K) -> Result<Option<V>> {
        Ok(self.get_stamped(key)?.map(|row| row.value))
    }
    /// The value under `key` and the event time of its last change.
    pub fn get_stamped(&self, key: &K) -> Result<Option<Stamped<V>>> {
        let key = self.codecs.key_bytes(key)?;
        lock(&self.core).read(&key, |row| row.map(|row| self.codecs.read_row(row)).transpose())
    }
    /// Rows between two keys, in the byte order of their encoding. Reversible with `.rev()`.
    pub fn range(&self, keys: impl RangeBounds<K>) -> Result<Scan<K, V>> {
        let edge = |bound: Bound<&K>| -> Result<Bound<Vec<u8>>> {
            Ok(match bound {
                Bound::Included(key) => Bound::Included(self.codecs.key_bytes(key)?),
                Bound::Excluded(key) => Bound::Excluded(self.codecs.key_bytes(key)?),
                Bound::Unbounded => Bound::Unbounded,
            })
        };
        Ok(Scan::new(self.clone(), edge(keys.start_bound())?, edge(keys.end_bound())?))
    }
    /// Every row, in the byte order of the keys' encoding. Reversible with `.rev()`.
    pub fn all(&self) -> Result<Scan<K, V>> {
        self.range(..)
    }
    /// Rows whose encoded key starts with the encoded prefix.
    pub fn prefix<P: KeyPrefix<K> + ?Sized>(&self, prefix: &P) -> Result<Scan<K, V>> {
        let from = prefix.prefix_bytes();
        let to = after_prefix(&from).map_or(Bound::Unbounded, Bound::Excluded);
        Ok(Scan::new(self.clone(), Bound::Included(from), to))
    }
    pub(crate) fn core(&self) -> &Arc<Mutex<KeyValueCore>> {
        &self.core
    }
    pub(crate) fn codecs(&self) -> &Arc<Codecs<K, V>> {
        &self.codecs
    }
}

impl<K: Data, V: Data> KeyValueStore<K, V> {
    /// Sets `key`. A value that is written as null (`None` of an `Option`) deletes it.
    pub fn put(&mut self, key: &K, value: &V, at: Timestamp) -> Result<()> {
        let (key, row) = (self.codecs.key_bytes(key)?, self.codecs.row_bytes(value, at)?);
        self.write(&key, row.as_deref())
    }
    /// Sets `key` if it has no value, and gives the one it had.
    pub fn put_if_absent(&mut self, key: &K, value: &V, at: Timestamp) -> Result<Option<Stamped<V>>> {
        let before = self.get_stamped(key)?;
        if before.is_none() {
            self.put(key, value, at)?;
        }
        Ok(before)
    }
    /// Deletes `key`; the changelog gets a tombstone, whether or not there was a value.
    pub fn delete(&mut self, key: &K) -> Result<()> {
        let key = self.codecs.key_bytes(key)?;
        self.write(&key, None)
    }
    /// Deletes `key` and gives the value it had.
    pub fn remove(&mut self, key: &K) -> Result<Option<Stamped<V>>> {
        let before = self.get_stamped(key)?;
        self.delete(key)?;
        Ok(before)
    }
    /// A store of its own in memory, for unit tests of a processor.
    pub fn detached(name: impl Into<Arc<str>>) -> Self
    where
        K: DefaultSerde,
        V: DefaultSerde,
    {
        let environment = StoreEnvironment { cache: Arc::new(CacheBudget::new(0)), now: Arc::default() };
        let name: Arc<str> = name.into();
        let mut spec = StoreSpec::new(StoreKind::KeyValue);
        spec.logging = false;
        let how = OpenStore {
            name: name.clone(),
            spec,
            changelog_topic: &name,
            environment: &environment,
            backend: Box::<MemoryBackend>::default(),
            bounded: false,
            time_index: false,
        };
        Self::opened(&Self::default_serdes(), how)
    }

    fn write(&mut self, key: &[u8], row: Option<&[u8]>) -> Result<()> {
        let mut core = lock(&self.0.core);
        let context = self.0.now.context(core.caching());
        let flushed = core.write(key, row, &context.lend())?;
        core.keep_for_listener(flushed);
        Ok(())
    }
    fn opened(serdes: &(SharedSerde<K>, SharedSerde<V>), how: OpenStore<'_>) -> Self {
        let codecs = Arc::new(Codecs::new(how.name.clone(), how.changelog_topic, serdes, how.spec.stamped));
        let now = how.environment.now.clone();
        KeyValueStore(KeyValueView { core: Arc::new(Mutex::new(KeyValueCore::open(how))), codecs, now })
    }
}

/// The first bytes that no key with this prefix reaches; none if there are none.
fn after_prefix(prefix: &[u8]) -> Option<Vec<u8>> {
    let mut after = prefix.to_vec();
    while after.last() == Some(&u8::MAX) {
        after.pop();
    }
    *after.last_mut()? += 1;
    Some(after)
}

/// A type whose encoding is a prefix of `K`'s, so that rows can be found by it.
pub trait KeyPrefix<K> {
    /// The bytes every matching key starts with.
    fn prefix_bytes(&self) -> Vec<u8>;
}
impl KeyPrefix<String> for str {
    fn prefix_bytes(&self) -> Vec<u8> {
        self.as_bytes().to_vec()
    }
}
impl KeyPrefix<String> for String {
    fn prefix_bytes(&self) -> Vec<u8> {
        self.as_bytes().to_vec()
    }
}
impl KeyPrefix<Vec<u8>> for [u8] {
    fn prefix_bytes(&self) -> Vec<u8> {
        self.to_vec()
    }
}

/// Rows of a store, read a few dozen at a time: it holds no lock and no snapshot between them, so one may write while iterating.
pub struct Scan<K, V> {
    view: KeyValueView<K, V>,
    from: Bound<Vec<u8>>,
    to: Bound<Vec<u8>>,
    front: VecDeque<(Vec<u8>, Vec<u8>)>,
    back: VecDeque<(Vec<u8>, Vec<u8>)>,
}

const ROWS_PER_READ: usize = 64;

impl<K: Data, V: Data> Scan<K, V> {
    fn new(view: KeyValueView<K, V>, from: Bound<Vec<u8>>, to: Bound<Vec<u8>>) -> Self {
        Scan { view, from, to, front: VecDeque::new(), back: VecDeque::new() }
    }
    fn read(&mut self, direction: Direction) -> Result<VecDeque<(Vec<u8>, Vec<u8>)>> {
        let mut rows = VecDeque::new();
        let range = (self.from.as_ref().map(Vec::as_slice), self.to.as_ref().map(Vec::as_slice));
        lock(&self.view.core).scan(range, direction, &mut |key, row| {
            rows.push_back((key.to_vec(), row.to_vec()));
            if rows.len() < ROWS_PER_READ { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        if let Some((last, _)) = rows.back() {
            let edge = Bound::Excluded(last.clone());
            match direction {
                Direction::Forward => self.from = edge,
                Direction::Backward => self.to = edge,
            }
        }
        Ok(rows)
    }
    fn decode(&self, (key, row): (Vec<u8>, Vec<u8>)) -> Result<(K, Stamped<V>)> {
        Ok((self.view.codecs.read_key(&key)?, self.view.codecs.read_row(&row)?))
    }
    /// The same rows with the event time of their last change.
    pub fn stamped(self) -> impl DoubleEndedIterator<Item = Result<(K, Stamped<V>)>> {
        StampedScan(self)
    }
    fn forward(&mut self) -> Option<Result<(K, Stamped<V>)>> {
        if self.front.is_empty() {
            match self.read(Direction::Forward) {
                Ok(rows) => self.front = rows,
                Err(error) => return Some(Err(error)),
            }
        }
        let row = self.front.pop_front().or_else(|| self.back.pop_back())?;
        Some(self.decode(row))
    }
    fn backward(&mut self) -> Option<Result<(K, Stamped<V>)>> {
        if self.back.is_empty() {
            match self.read(Direction::Backward) {
                Ok(rows) => self.back = rows,
                Err(error) => return Some(Err(error)),
            }
        }
        let row = self.back.pop_front().or_else(|| self.front.pop_back())?;
        Some(self.decode(row))
    }
}

impl<K: Data, V: Data> Iterator for Scan<K, V> {
    type Item = Result<(K, V)>;
    fn next(&mut self) -> Option<Self::Item> {
        self.forward().map(|row| row.map(|(key, row)| (key, row.value)))
    }
}
impl<K: Data, V: Data> DoubleEndedIterator for Scan<K, V> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.backward().map(|row| row.map(|(key, row)| (key, row.value)))
    }
}

struct StampedScan<K, V>(Scan<K, V>);

impl<K: Data, V: Data> Iterator for StampedScan<K, V> {
    type Item = Result<(K, Stamped<V>)>;
    fn next(&mut self) -> Option<Self::Item> {
        self.0.forward()
    }
}
impl<K: Data, V: Data> DoubleEndedIterator for StampedScan<K, V> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.0.backward()
    }
}

impl<K, V> sealed::Sealed for KeyValueStore<K, V> {}

impl<K: Data, V: Data> Store for KeyValueStore<K, V> {
    type View = KeyValueView<K, V>;
    type Serdes = (SharedSerde<K>, SharedSerde<V>);
    const KIND: Kind = Kind(StoreKind::KeyValue);
    fn open(serdes: &Self::Serdes, how: Opening<'_>) -> OpenedStore {
        let store = Self::opened(serdes, how.0);
        let control = Arc::new(Control(store.core.clone()));
        OpenedStore(Opened { handle: Arc::new(move || Box::new(store.clone())), control })
    }
    fn view(&self) -> Self::View {
        self.0.clone()
    }
}

impl<K: Data + DefaultSerde, V: Data + DefaultSerde> DefaultStore for KeyValueStore<K, V> {
    fn default_serdes() -> Self::Serdes {
        (shared_default(), shared_default())
    }
}
