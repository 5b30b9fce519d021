//! The typed rows of a stateful node, over the bytes of its store: encode the key once per record, decode, step, encode.

use std::sync::{Arc, Mutex};

use crate::error::{Flow, StoreError};
use crate::processor::{Next, NodeInfo, TaskContext};
use crate::record::{Change, Data, Meta, Timestamp};
use crate::state::{
    BufferCore, Codecs, Direction, Flushed, KeyValueCore, KeyValueStore, RecordContext, SessionCore, SessionStore, Stamped, SuppressStore,
    WindowCore, WindowCursor, WindowStore, WriteContext, lock, split_session_key, split_window_key,
};
use crate::window::{SessionWindow, TimeWindow, Windowed};

type Result<T> = std::result::Result<T, StoreError>;

/// Rows of a key-value store.
pub(crate) struct KeyValueRows<K, V> {
    core: Arc<Mutex<KeyValueCore>>,
    codecs: Arc<Codecs<K, V>>,
    caching: bool,
    key_bytes: Vec<u8>,
    row_bytes: Vec<u8>,
}

impl<K: Data, V: Data> KeyValueRows<K, V> {
    /// The node will forward what the store's cache flushes.
    pub(crate) fn new(store: &KeyValueStore<K, V>, sends_old: bool) -> Self {
        let core = store.core().clone();
        let caching = {
            let mut core = lock(&core);
            core.listen(sends_old);
            core.caching()
        };
        KeyValueRows { core, codecs: store.codecs().clone(), caching, key_bytes: Vec::new(), row_bytes: Vec::new() }
    }
    /// Changes go downstream when the cache flushes, not at once.
    pub(crate) fn caching(&self) -> bool {
        self.caching
    }
    /// Whether the value is one, and not what its type writes as null.
    pub(crate) fn is_row(&self, value: &V) -> bool {
        !self.codecs.is_null(value)
    }
    /// The row of a key. The key stays selected for `put`.
    pub(crate) fn get(&mut self, key: &K) -> Result<Option<Stamped<V>>> {
        self.key_bytes.clear();
        self.codecs.write_key(key, &mut self.key_bytes)?;
        lock(&self.core).read(&self.key_bytes, |row| row.map(|row| self.codecs.read_row(row)).transpose())
    }
    /// Sets or deletes the row of the selected key; what that evicts is to be forwarded.
    pub(crate) fn put(&mut self, value: Option<&V>, at: Timestamp, cx: &WriteContext<'_>) -> Result<Vec<Flushed>> {
        let row = encode_row(&self.codecs, value, at, &mut self.row_bytes)?;
        lock(&self.core).write(&self.key_bytes, row, cx)
    }
    /// The same for a key that was not selected.
    pub(crate) fn put_at(&mut self, key: &K, value: Option<&V>, at: Timestamp, cx: &WriteContext<'_>) -> Result<Vec<Flushed>> {
        self.key_bytes.clear();
        self.codecs.write_key(key, &mut self.key_bytes)?;
        self.put(value, at, cx)
    }
    /// Everything the cache holds, written through, in the order of each key's latest write.
    pub(crate) fn flush(&mut self) -> Result<Vec<Flushed>> {
        lock(&self.core).flush()
    }
}

fn encode_row<'r, K: 'static, V: 'static>(
    codecs: &Codecs<K, V>,
    value: Option<&V>,
    at: Timestamp,
    out: &'r mut Vec<u8>,
) -> Result<Option<&'r [u8]>> {
    out.clear();
    match value {
        Some(value) if codecs.write_row(value, at, out)? => Ok(Some(out)),
        _ => Ok(None),
    }
}

/// A change that a cache flushed, decoded: rows, and the time to forward it with.
struct Decoded<V> {
    change: Change<V>,
    timestamp: Timestamp,
}

fn decode<K: 'static, V: 'static>(codecs: &Codecs<K, V>, flushed: &Flushed) -> Result<Decoded<V>> {
    let row = |bytes: &Option<Vec<u8>>| bytes.as_deref().map(|bytes| codecs.read_row(bytes)).transpose();
    let (old, new) = (row(&flushed.old)?, row(&flushed.new)?);
    let stamped = new.as_ref().map(|row| row.timestamp).filter(|_| codecs.stamped());
    let timestamp = stamped.unwrap_or(flushed.context.timestamp);
    Ok(Decoded { change: Change { old: old.map(|row| row.value), new: new.map(|row| row.value) }, timestamp })
}

/// Hands a flushed change downstream in the context of the record that wrote it last (KS-A11).
fn forward<K, V>(key: K, decoded: Decoded<V>, context: &RecordContext, next: &mut Next<K, Change<V>>, cx: &mut TaskContext) -> Flow {
    let meta = Meta { timestamp: decoded.timestamp, headers: context.headers.clone() };
    cx.within(context, |cx| next.receive(key, decoded.change, &meta, cx))
}

/// Forwards what a key-value cache flushed.
pub(crate) fn forward_flushed<K: Data, V: Data>(
    rows: &KeyValueRows<K, V>,
    flushed: Vec<Flushed>,
    node: &NodeInfo,
    next: &mut Next<K, Change<V>>,
    cx: &mut TaskContext,
) -> Flow {
    for flushed in flushed {
        let row = rows.codecs.read_key(&flushed.key).and_then(|key| Ok((key, decode(&rows.codecs, &flushed)?)));
        let (key, decoded) = row.map_err(|error| cx.corrupt(node, error))?;
        forward(key, decoded, &flushed.context, next, cx)?;
    }
    Ok(())
}

/// Rows of a window store.
pub(crate) struct WindowRows<K, V> {
    core: Arc<Mutex<WindowCore>>,
    codecs: Arc<Codecs<K, V>>,
    caching: bool,
    key_bytes: Vec<u8>,
    row_bytes: Vec<u8>,
}

impl<K: Data, V: Data> WindowRows<K, V> {
    /// `listens`: the node forwards what the cache flushes. With emit on close it does not, and the cache only spares writes.
    pub(crate) fn new(store: &WindowStore<K, V>, sends_old: bool, listens: bool) -> Self {
        let core = store.core().clone();
        let caching = {
            let mut core = lock(&core);
            if listens {
                core.listen(sends_old);
            }
            listens && core.caching()
        };
        WindowRows { core, codecs: store.codecs().clone(), caching, key_bytes: Vec::new(), row_bytes: Vec::new() }
    }
    pub(crate) fn caching(&self) -> bool {
        self.caching
    }
    /// Whether the value is one, and not what its type writes as null.
    pub(crate) fn is_row(&self, value: &V) -> bool {
        !self.codecs.is_null(value)
    }
    /// Selects the key that the calls below speak of.
    pub(crate) fn select(&mut self, key: &K) -> Result<()> {
        self.key_bytes.clear();
        self.codecs.write_key(key, &mut self.key_bytes)
    }
    pub(crate) fn get(&mut self, start: Timestamp) -> Result<Option<Stamped<V>>> {
        let read = |row: Option<&[u8]>| row.map(|row| self.codecs.read_row(row)).transpose();
        lock(&self.core).read(&self.key_bytes, start.as_millis(), read)
    }
    pub(crate) fn put(&mut self, start: Timestamp, value: Option<&V>, at: Timestamp, cx: &WriteContext<'_>) -> Result<Vec<Flushed>> {
        let row = encode_row(&self.codecs, value, at, &mut self.row_bytes)?;
        lock(&self.core).write(&self.key_bytes, start.as_millis(), row, cx)
    }
    /// Takes a closed window out of the state: nobody downstream hears of it. What the cache has to say of it is flushed before.
    pub(crate) fn remove(&mut self, key: &K, start: Timestamp, cx: &WriteContext<'_>) -> Result<()> {
        self.select(key)?;
        lock(&self.core).end(&self.key_bytes, start.as_millis(), cx)
    }
    /// Begins to read the windows of the selected key that start in `[from, to]`, newest first.
    pub(crate) fn newest_first(&mut self, from: i64, to: i64) -> Result<WindowCursor> {
        lock(&self.core).cursor(&self.key_bytes, from, to, Direction::Backward)
    }
    /// The same, oldest first.
    pub(crate) fn oldest_first(&mut self, from: i64, to: i64) -> Result<WindowCursor> {
        lock(&self.core).cursor(&self.key_bytes, from, to, Direction::Forward)
    }
    /// The next window: its start and its row.
    pub(crate) fn next_window(&mut self, cursor: &mut WindowCursor) -> Result<Option<(i64, Stamped<V>)>> {
        let row = lock(&self.core).next_row(cursor)?;
        row.map(|(start, row)| Ok((start, self.codecs.read_row(&row)?))).transpose()
    }
    /// Windows of every key that start in `[from, to]`, by start and then key bytes, at most `limit`.
    pub(crate) fn starting_in(&mut self, from: Timestamp, to: Timestamp, limit: usize) -> Result<Vec<(Timestamp, K, Stamped<V>)>> {
        let rows = lock(&self.core).starting_in(from.as_millis(), to.as_millis(), limit)?;
        let typed = rows
            .iter()
            .map(|row| Ok((Timestamp::from_millis(row.start), self.codecs.read_key(&row.key)?, self.codecs.read_row(&row.value)?)));
        typed.collect()
    }
    /// Whether any window has a row.
    pub(crate) fn any(&self) -> bool {
        lock(&self.core).starting_in(i64::MIN, i64::MAX, 1).is_ok_and(|rows| !rows.is_empty())
    }
    /// The latest start of a window with a row.
    pub(crate) fn newest_start(&self) -> Option<Timestamp> {
        lock(&self.core).newest_start().ok()?.map(Timestamp::from_millis)
    }
    pub(crate) fn flush(&mut self) -> Result<Vec<Flushed>> {
        lock(&self.core).flush()
    }
}

/// Forwards what a window cache flushed; `window` tells a window by its start.
pub(crate) fn forward_flushed_windows<K: Data, V: Data>(
    rows: &WindowRows<K, V>,
    flushed: Vec<Flushed>,
    window: impl Fn(Timestamp) -> TimeWindow,
    node: &NodeInfo,
    next: &mut Next<Windowed<K>, Change<V>>,
    cx: &mut TaskContext,
) -> Flow {
    for flushed in flushed {
        let (key, start, _) = split_window_key(&flushed.key).expect("the cache gives back the keys it was given");
        let row = rows.codecs.read_key(key).and_then(|key| Ok((key, decode(&rows.codecs, &flushed)?)));
        let (key, decoded) = row.map_err(|error| cx.corrupt(node, error))?;
        let key = Windowed { key, window: window(Timestamp::from_millis(start)) };
        forward(key, decoded, &flushed.context, next, cx)?;
    }
    Ok(())
}

/// Rows of a session store.
pub(crate) struct SessionRows<K, V> {
    core: Arc<Mutex<SessionCore>>,
    codecs: Arc<Codecs<K, V>>,
    caching: bool,
    key_bytes: Vec<u8>,
    row_bytes: Vec<u8>,
}

impl<K: Data, V: Data> SessionRows<K, V> {
    /// `listens` as for windows.
    pub(crate) fn new(store: &SessionStore<K, V>, sends_old: bool, listens: bool) -> Self {
        let core = store.core().clone();
        let caching = {
            let mut core = lock(&core);
            if listens {
                core.listen(sends_old);
            }
            listens && core.caching()
        };
        SessionRows { core, codecs: store.codecs().clone(), caching, key_bytes: Vec::new(), row_bytes: Vec::new() }
    }
    pub(crate) fn caching(&self) -> bool {
        self.caching
    }
    pub(crate) fn select(&mut self, key: &K) -> Result<()> {
        self.key_bytes.clear();
        self.codecs.write_key(key, &mut self.key_bytes)
    }
    /// Sessions of the selected key that end at `earliest_end` or later and start at `latest_start` or earlier, oldest first.
    pub(crate) fn find(&mut self, earliest_end: Timestamp, latest_start: Timestamp) -> Result<Vec<(SessionWindow, V)>> {
        let rows = lock(&self.core).find(&self.key_bytes, earliest_end.as_millis(), latest_start.as_millis(), Direction::Forward)?;
        rows.iter().map(|row| Ok((session(row.start, row.end), self.codecs.read_row(&row.value)?.value))).collect()
    }
    pub(crate) fn put(&mut self, window: SessionWindow, value: Option<&V>, cx: &WriteContext<'_>) -> Result<Vec<Flushed>> {
        let row = encode_row(&self.codecs, value, window.end, &mut self.row_bytes)?;
        lock(&self.core).write(&self.key_bytes, window.start.as_millis(), window.end.as_millis(), row, cx)
    }
    /// Takes a closed session out of the state, as above.
    pub(crate) fn remove(&mut self, key: &K, window: SessionWindow, cx: &WriteContext<'_>) -> Result<()> {
        self.select(key)?;
        lock(&self.core).end(&self.key_bytes, window.start.as_millis(), window.end.as_millis(), cx)
    }
    /// Sessions of every key that end in `[from, to]`, by end, start and key bytes, at most `limit`.
    pub(crate) fn ending_in(&mut self, from: Timestamp, to: Timestamp, limit: usize) -> Result<Vec<(SessionWindow, K, V)>> {
        let rows = lock(&self.core).ending_in(from.as_millis(), to.as_millis(), limit)?;
        let typed = rows
            .iter()
            .map(|row| Ok((session(row.start, row.end), self.codecs.read_key(&row.key)?, self.codecs.read_row(&row.value)?.value)));
        typed.collect()
    }
    /// The oldest end of a session that the store will still have after a write at `at`.
    pub(crate) fn oldest_kept(&self, at: Timestamp) -> Timestamp {
        Timestamp::from_millis(lock(&self.core).oldest_kept(at.as_millis()))
    }
    pub(crate) fn any(&self) -> bool {
        lock(&self.core).ending_in(i64::MIN, i64::MAX, 1).is_ok_and(|rows| !rows.is_empty())
    }
    /// The latest end of a session.
    pub(crate) fn newest_end(&self) -> Option<Timestamp> {
        lock(&self.core).newest_end().ok()?.map(Timestamp::from_millis)
    }
    pub(crate) fn flush(&mut self) -> Result<Vec<Flushed>> {
        lock(&self.core).flush()
    }
}

fn session(start: i64, end: i64) -> SessionWindow {
    SessionWindow { start: Timestamp::from_millis(start), end: Timestamp::from_millis(end) }
}

/// Forwards what a session cache flushed. The time of a session's change is its last event (D5).
pub(crate) fn forward_flushed_sessions<K: Data, V: Data>(
    rows: &SessionRows<K, V>,
    flushed: Vec<Flushed>,
    node: &NodeInfo,
    next: &mut Next<Windowed<K, SessionWindow>, Change<V>>,
    cx: &mut TaskContext,
) -> Flow {
    for flushed in flushed {
        let (key, start, end) = split_session_key(&flushed.key).expect("the cache gives back the keys it was given");
        let row = rows.codecs.read_key(key).and_then(|key| Ok((key, decode(&rows.codecs, &flushed)?)));
        let (key, decoded) = row.map_err(|error| cx.corrupt(node, error))?;
        let window = session(start, end);
        forward(Windowed { key, window }, Decoded { timestamp: window.end, ..decoded }, &flushed.context, next, cx)?;
    }
    Ok(())
}

/// Rows held back by a suppression.
pub(crate) struct SuppressRows<K, V> {
    core: Arc<Mutex<BufferCore>>,
    codecs: Arc<Codecs<K, V>>,
}

/// An update that leaves the buffer.
pub(crate) struct Held<K, V> {
    pub(crate) key: K,
    pub(crate) change: Change<V>,
    pub(crate) context: RecordContext,
}

impl<K: Data, V: Data> SuppressRows<K, V> {
    pub(crate) fn new(store: &SuppressStore<K, V>) -> Self {
        SuppressRows { core: store.core().clone(), codecs: store.codecs().clone() }
    }
    pub(crate) fn put(&mut self, at: Timestamp, key: &K, change: &Change<V>, cx: &WriteContext<'_>) -> Result<()> {
        let key = self.codecs.key_bytes(key)?;
        let bytes = |value: Option<&V>| -> Result<Option<Vec<u8>>> {
            let mut out = Vec::new();
            Ok(match value {
                Some(value) if self.codecs.write_value(value, &mut out)? => Some(out),
                _ => None,
            })
        };
        let (new, old) = (bytes(change.new.as_ref())?, bytes(change.old.as_ref())?);
        lock(&self.core).put(at.as_millis(), &key, new.as_deref(), old.as_deref(), cx);
        Ok(())
    }
    /// Forgets a key that is held.
    pub(crate) fn withdraw(&mut self, key: &K) -> Result<()> {
        let key = self.codecs.key_bytes(key)?;
        lock(&self.core).withdraw(&key);
        Ok(())
    }
    /// Takes out what is first in line, if its time is not after `time`.
    pub(crate) fn pop_until(&mut self, time: i64) -> Result<Option<Held<K, V>>> {
        let evicted = {
            let mut core = lock(&self.core);
            if core.min_time().is_none_or(|first| first > time) {
                return Ok(None);
            }
            core.pop()
        };
        let Some(evicted) = evicted else { return Ok(None) };
        let value = |bytes: Option<Vec<u8>>| bytes.map(|bytes| self.codecs.read_value(&bytes)).transpose();
        let change = Change { old: value(evicted.old)?, new: value(evicted.new)? };
        Ok(Some(Held { key: self.codecs.read_key(&evicted.key)?, change, context: evicted.context }))
    }
    pub(crate) fn len(&self) -> usize {
        lock(&self.core).num_records()
    }
    pub(crate) fn bytes(&self) -> usize {
        lock(&self.core).buffer_size()
    }
    pub(crate) fn earliest(&self) -> Option<i64> {
        lock(&self.core).min_time()
    }
    pub(crate) fn latest(&self) -> Option<i64> {
        lock(&self.core).max_time()
    }
    /// What readers of the suppressed table see of a key that is held; the outer none: it is not held.
    pub(crate) fn prior(&self, key: &K) -> Result<Option<Option<V>>> {
        let key = self.codecs.key_bytes(key)?;
        let prior = lock(&self.core).prior_value_for_buffered(&key).map(|prior| prior.map(<[u8]>::to_vec));
        prior.map(|prior| prior.map(|bytes| self.codecs.read_value(&bytes)).transpose()).transpose()
    }
}
