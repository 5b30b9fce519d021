//! The buffer of `suppress`: the newest change per key, in the order of the time at which each key was first buffered.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::Arc;

use crate::error::StoreError;
use crate::record::Headers;
use crate::state::backend::{Batch, Direction, StoreBackend};
use crate::state::context::{RecordContext, WriteContext, length, take_bytes, take_i64};
use crate::state::control::Core;
use crate::state::open::{ChangelogRecord, ChangelogSink, OpenStore};
use crate::state::rows::GO_ON;

/// The version of the changelog's rows, in their header `v`; Kafka Streams writes the same.
const VERSION: [u8; 1] = [3];

/// What is held back for one key.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Held {
    /// The table's value when the key was first buffered: what readers of the suppressed table still see.
    pub(crate) prior: Option<Vec<u8>>,
    pub(crate) old: Option<Vec<u8>>,
    pub(crate) new: Option<Vec<u8>>,
    pub(crate) context: RecordContext,
}

/// A change that leaves the buffer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Evicted {
    pub(crate) key: Vec<u8>,
    pub(crate) new: Option<Vec<u8>>,
    pub(crate) old: Option<Vec<u8>>,
    pub(crate) context: RecordContext,
}

/// Changes by (time, key).
pub(crate) struct BufferCore {
    name: Arc<str>,
    backend: Box<dyn StoreBackend>,
    logged: bool,
    times: HashMap<Vec<u8>, i64>,
    sorted: BTreeMap<(i64, Vec<u8>), Held>,
    /// Keys whose changelog record is due, and keys that the backend does not know yet.
    unlogged: BTreeSet<Vec<u8>>,
    dirty: BTreeSet<Vec<u8>>,
    size: usize,
}

impl BufferCore {
    pub(crate) fn open(how: OpenStore<'_>) -> Self {
        let mut core = BufferCore {
            name: how.name,
            backend: how.backend,
            logged: how.spec.logging,
            times: HashMap::new(),
            sorted: BTreeMap::new(),
            unlogged: BTreeSet::new(),
            dirty: BTreeSet::new(),
            size: 0,
        };
        core.reload_or_say();
        core
    }
    /// Holds a change back. A newer change of a buffered key takes its place: it keeps the time and the prior value.
    pub(crate) fn put(&mut self, time: i64, key: &[u8], new: Option<&[u8]>, old: Option<&[u8]>, cx: &WriteContext<'_>) {
        let owned = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
        let time = *self.times.entry(key.to_vec()).or_insert(time);
        let id = (time, key.to_vec());
        let before = self.sorted.remove(&id);
        self.size -= before.as_ref().map_or(0, |held| java_size(key, held));
        let prior = before.map_or_else(|| owned(old), |held| held.prior);
        let held = Held { prior, old: owned(old), new: owned(new), context: cx.keep() };
        self.size += java_size(key, &held);
        self.sorted.insert(id, held);
        self.touch(key);
    }
    /// Takes a key out, as if it had never been held.
    pub(crate) fn withdraw(&mut self, key: &[u8]) {
        if self.times.contains_key(key) {
            self.forget(key);
            self.touch(key);
        }
    }
    /// The time that is first in line; none if nothing is held.
    pub(crate) fn min_time(&self) -> Option<i64> {
        self.sorted.first_key_value().map(|((time, _), _)| *time)
    }
    /// The time that is last in line.
    pub(crate) fn max_time(&self) -> Option<i64> {
        self.sorted.last_key_value().map(|((time, _), _)| *time)
    }
    /// Takes out what is first in line.
    pub(crate) fn pop(&mut self) -> Option<Evicted> {
        let ((_, key), held) = self.sorted.pop_first()?;
        self.times.remove(&key);
        self.size -= java_size(&key, &held);
        self.touch(&key);
        Some(Evicted { key, new: held.new, old: held.old, context: held.context })
    }
    /// How many keys are held back.
    pub(crate) fn num_records(&self) -> usize {
        self.sorted.len()
    }
    /// Their bytes, as Kafka Streams counts them.
    pub(crate) fn buffer_size(&self) -> usize {
        self.size
    }
    /// What readers of the suppressed table see of a buffered key: its prior value. The outer none: not buffered.
    pub(crate) fn prior_value_for_buffered(&self, key: &[u8]) -> Option<Option<&[u8]>> {
        self.held(key).map(|(_, held)| held.prior.as_deref())
    }

    fn held(&self, key: &[u8]) -> Option<(i64, &Held)> {
        let time = *self.times.get(key)?;
        self.sorted.get(&(time, key.to_vec())).map(|held| (time, held))
    }
    fn touch(&mut self, key: &[u8]) {
        self.dirty.insert(key.to_vec());
        if self.logged {
            self.unlogged.insert(key.to_vec());
        }
    }
    fn row(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.held(key).map(|(time, held)| encode(time, held))
    }
    /// Takes everything from the backend.
    fn reload(&mut self) -> Result<(), StoreError> {
        let mut rows = Vec::new();
        self.backend.scan((Bound::Unbounded, Bound::Unbounded), Direction::Forward, &mut |key, value| {
            rows.push((key.to_vec(), decode(value)));
            GO_ON
        })?;
        (self.times, self.sorted, self.size) = (HashMap::new(), BTreeMap::new(), 0);
        for (key, row) in rows {
            let (time, held) = row.ok_or_else(|| self.malformed())?;
            self.remember(key, time, held);
        }
        Ok(())
    }
    fn remember(&mut self, key: Vec<u8>, time: i64, held: Held) {
        self.size += java_size(&key, &held);
        self.times.insert(key.clone(), time);
        self.sorted.insert((time, key), held);
    }
    fn forget(&mut self, key: &[u8]) {
        if let Some(time) = self.times.remove(key)
            && let Some(held) = self.sorted.remove(&(time, key.to_vec()))
        {
            self.size -= java_size(key, &held);
        }
    }
    fn reload_or_say(&mut self) {
        if let Err(error) = self.reload() {
            tracing::error!(store = &*self.name, %error, "the suppression buffer cannot be read back");
        }
    }
    fn unknown_version(&self, found: Option<&[u8]>) -> StoreError {
        let found = found.map_or_else(|| "no version".to_owned(), |found| format!("version {found:?}"));
        let source = format!("a record of its changelog has {found} in the header `v`, and {VERSION:?} is read: another program wrote it");
        StoreError::Backend { store: self.name.to_string(), source: source.into() }
    }
    fn malformed(&self) -> StoreError {
        StoreError::Backend { store: self.name.to_string(), source: "a row of the suppression buffer is malformed".into() }
    }
}

/// Buffer time and key, values (an old one equal to the prior one counts once), context.
fn java_size(key: &[u8], held: &Held) -> usize {
    let size = |value: &Option<Vec<u8>>| value.as_ref().map_or(0, Vec::len);
    let old = if held.old == held.prior { 0 } else { size(&held.old) };
    8 + key.len() + size(&held.prior) + old + size(&held.new) + held.context.java_size()
}

/// The changelog's layout (K3.11): context, prior, old (-2: as prior), new, buffer time.
fn encode(time: i64, held: &Held) -> Vec<u8> {
    let mut out = Vec::with_capacity(128);
    held.context.encode(&mut out);
    let bytes = |out: &mut Vec<u8>, value: Option<&Vec<u8>>| match value {
        Some(value) => {
            out.extend_from_slice(&length(value.len()));
            out.extend_from_slice(value);
        }
        None => out.extend_from_slice(&(-1_i32).to_be_bytes()),
    };
    bytes(&mut out, held.prior.as_ref());
    match &held.old {
        Some(_) if held.old == held.prior => out.extend_from_slice(&(-2_i32).to_be_bytes()),
        old => bytes(&mut out, old.as_ref()),
    }
    bytes(&mut out, held.new.as_ref());
    out.extend_from_slice(&time.to_be_bytes());
    out
}

fn decode(mut input: &[u8]) -> Option<(i64, Held)> {
    let input = &mut input;
    let owned = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
    let context = RecordContext::decode(input)?;
    let prior = owned(take_bytes(input)?);
    let old = match input.strip_prefix(&(-2_i32).to_be_bytes()) {
        Some(rest) => {
            *input = rest;
            prior.clone()
        }
        None => owned(take_bytes(input)?),
    };
    let new = owned(take_bytes(input)?);
    Some((take_i64(input)?, Held { prior, old, new, context }))
}

impl Core for BufferCore {
    fn drain_changelog(&mut self, sink: &mut dyn ChangelogSink) -> Result<(), StoreError> {
        let (mut version, none) = (Headers::default(), Headers::default());
        version.add("v", VERSION);
        for key in std::mem::take(&mut self.unlogged) {
            let row = self.row(&key);
            let headers = if row.is_some() { &version } else { &none };
            sink.log(&self.name, &key, row.as_deref(), None, headers)?;
        }
        Ok(())
    }
    fn uncommitted_bytes(&mut self) -> usize {
        self.dirty.iter().map(|key| 64 + self.held(key).map_or(0, |(_, held)| java_size(key, held))).sum()
    }
    fn apply(&mut self, offset: Option<i64>) -> Result<(), StoreError> {
        let rows: Vec<(&Vec<u8>, Option<Vec<u8>>)> = self.dirty.iter().map(|key| (key, self.row(key))).collect();
        let rows: Vec<(&[u8], Option<&[u8]>)> = rows.iter().map(|(key, row)| (key.as_slice(), row.as_deref())).collect();
        self.backend.apply(&Batch { rows: &rows, offset, drop_before: None, note: None })?;
        self.dirty.clear();
        Ok(())
    }
    fn abort(&mut self) {
        self.dirty.clear();
        self.unlogged.clear();
        self.reload_or_say();
    }
    fn offset(&self) -> Option<i64> {
        self.backend.offset()
    }
    fn restore(&mut self, records: &[ChangelogRecord<'_>], next_offset: i64) -> Result<(), StoreError> {
        if let Some(foreign) = records.iter().find(|record| record.value.is_some() && record.headers.last("v") != Some(VERSION.as_slice()))
        {
            return Err(self.unknown_version(foreign.headers.last("v")));
        }
        let last: BTreeMap<&[u8], Option<&[u8]>> = records.iter().map(|record| (record.key, record.value)).collect();
        let rows: Vec<(&[u8], Option<&[u8]>)> = last.into_iter().collect();
        self.backend.apply(&Batch { rows: &rows, offset: Some(next_offset), drop_before: None, note: None })?;
        for (key, row) in &rows {
            self.forget(key);
            if let Some(row) = row {
                let (time, held) = decode(row).ok_or_else(|| self.malformed())?;
                self.remember(key.to_vec(), time, held);
            }
        }
        Ok(())
    }
    fn loaded(&mut self) -> Result<(), StoreError> {
        self.backend.loaded()
    }
    fn wipe(&mut self) -> Result<(), StoreError> {
        self.backend.wipe()?;
        self.abort();
        Ok(())
    }
    fn approximate_rows(&self) -> usize {
        self.num_records()
    }
}
