//! How long windows and sessions stay: segments that expire behind the newest time seen (W10, W11), or an owner that says when.

use std::ops::{Bound, ControlFlow};

use crate::error::StoreError;
use crate::state::backend::Direction;
use crate::state::key_schema::RowLayout;
use crate::state::open::OpenStore;
use crate::state::rows::{Below, Cached};
use crate::state::spec::{Layout, StoreKind, StoreSpec};
use crate::state::table::Table;

/// The shortest segment, in ms.
const SHORTEST_SEGMENT: i64 = 60_000;

/// Which times a store shows, admits and drops.
#[derive(Debug)]
pub(crate) struct Retention {
    pub(crate) layout: RowLayout,
    keep: i64,
    /// Whether the instant exactly `keep` behind is hidden (1) or still shown (0): Kafka Streams' time-ordered window stores
    /// show one instant more than the others.
    edge: i64,
    /// The largest time that reached the table.
    observed: i64,
    /// The largest time that was ever written, cached or not: nothing lies behind it.
    newest: i64,
    /// The owner takes closed windows out by itself; no row expires.
    bounded: bool,
    refused: u64,
    dropped: i64,
    /// Observed time at the last commit.
    committed: i64,
}

/// How the rows of a window or session store lie.
pub(crate) fn row_layout(spec: &StoreSpec, bounded: bool, time_index: bool) -> RowLayout {
    let interval = (spec.retention_ms.unwrap_or(i64::MAX) / 2).max(SHORTEST_SEGMENT);
    match spec.layout {
        Some(Layout::InMemory | Layout::Lru(_)) => RowLayout::TimeFirst,
        // Its owner closes windows by time and reads them one by one: no need for a second row per row.
        _ if time_index && bounded && matches!(spec.kind, StoreKind::Window { .. }) => RowLayout::TimeFirst,
        _ if time_index => RowLayout::Indexed { interval },
        _ => RowLayout::Segmented { interval },
    }
}

impl Retention {
    pub(crate) fn of(how: &OpenStore<'_>) -> Self {
        let keep = how.spec.retention_ms.unwrap_or(i64::MAX);
        let layout = row_layout(&how.spec, how.bounded, how.time_index);
        Retention {
            layout,
            keep,
            edge: i64::from(!matches!((layout, how.spec.kind), (RowLayout::Indexed { .. }, StoreKind::Window { .. }))),
            observed: -1,
            newest: -1,
            bounded: how.bounded,
            refused: 0,
            dropped: 0,
            committed: -1,
        }
    }
    /// Whole segments are dropped, by committed time.
    pub(crate) fn drops_segments(&self) -> bool {
        !self.bounded && self.layout != RowLayout::TimeFirst
    }
    pub(crate) fn newest(&self) -> i64 {
        self.newest
    }
    pub(crate) fn note_newest(&mut self, time: i64) {
        self.newest = self.newest.max(time);
    }
    pub(crate) fn observe(&mut self, time: i64) {
        self.observed = self.observed.max(time);
        self.note_newest(time);
    }
    /// Rows of a backend that was there before: the newest of them bounds every search.
    pub(crate) fn look_for_newest(&mut self, table: &mut Table) {
        let layout = self.layout;
        let mut newest = -1;
        let last = table.scan((Bound::Unbounded, Bound::Unbounded), Direction::Backward, &mut |row, _| {
            let first = row.first_chunk::<8>().map_or(-1, |first| i64::from_be_bytes(*first));
            newest = match layout {
                RowLayout::TimeFirst => first,
                RowLayout::Segmented { interval } | RowLayout::Indexed { interval } => (first + 1).saturating_mul(interval) - 1,
            };
            ControlFlow::Break(())
        });
        self.newest = self.newest.max(if last.is_ok() { newest } else { i64::MAX - 1 });
    }
    /// Rows before this time are not shown.
    pub(crate) fn oldest_visible(&self) -> i64 {
        if self.bounded { i64::MIN } else { self.observed.saturating_sub(self.keep).saturating_add(self.edge) }
    }
    /// The oldest time that is still there once a row of time `newest` is written: segments go as a whole, and at once.
    /// Memory drops nothing before its owner has seen it.
    pub(crate) fn oldest_kept(&self, newest: i64) -> i64 {
        match self.layout {
            RowLayout::Segmented { interval } | RowLayout::Indexed { interval } if !self.bounded => {
                let edge = self.observed.max(newest).saturating_sub(self.keep);
                edge.div_euclid(interval).saturating_mul(interval)
            }
            _ => i64::MIN,
        }
    }
    /// Whether a row of that time may be written. It moves the observed time, as every attempt does.
    pub(crate) fn admits(&mut self, time: i64) -> bool {
        self.observe(time);
        let edge = self.observed.saturating_sub(self.keep);
        let admitted = self.bounded
            || match (self.layout.segment(time), self.layout.segment(edge)) {
                (Some(segment), Some(oldest)) => segment >= oldest,
                _ => time > edge,
            };
        self.refused += u64::from(!admitted);
        admitted
    }
    pub(crate) fn refused(&self) -> u64 {
        self.refused
    }
    pub(crate) fn set_refused(&mut self, refused: u64) {
        self.refused = refused;
    }
    pub(crate) fn take_refused(&mut self) -> u64 {
        std::mem::take(&mut self.refused)
    }
    /// What was seen since the last commit was never committed.
    pub(crate) fn abort(&mut self) {
        self.observed = self.committed;
        self.refused = 0;
    }
    /// The bound of rows to drop at a commit, if it moved.
    pub(crate) fn drop_bound(&self) -> Option<[u8; 8]> {
        let bound = self.oldest_stored();
        (bound > self.dropped).then(|| bound.to_be_bytes())
    }
    /// A commit has dropped what was to be dropped.
    pub(crate) fn committed(&mut self) {
        self.committed = self.observed;
        self.dropped = self.dropped.max(self.oldest_stored());
    }
    /// What the keys of rows that are kept begin with, at least.
    fn oldest_stored(&self) -> i64 {
        let oldest = self.oldest_visible();
        self.layout.segment(oldest).unwrap_or(oldest)
    }
    /// Observed and newest time, to go on from when the store is opened again.
    pub(crate) fn note(&self) -> Vec<u8> {
        [self.observed.to_be_bytes(), self.newest.to_be_bytes()].concat()
    }
    /// Goes on from such a note, of which the rest is given; with none from nothing.
    pub(crate) fn recall<'n>(&mut self, note: Option<&'n [u8]>) -> &'n [u8] {
        let (observed, rest) = note.and_then(<[u8]>::split_first_chunk::<8>).map_or((-1, [].as_slice()), first_number);
        let (newest, rest) = rest.split_first_chunk::<8>().map_or((-1, rest), first_number);
        (self.observed, self.committed, self.newest) = (observed, observed, newest);
        (self.refused, self.dropped) = (0, self.oldest_stored().max(0));
        rest
    }
}

fn first_number<'n>((number, rest): (&[u8; 8], &'n [u8])) -> (i64, &'n [u8]) {
    (i64::from_be_bytes(*number), rest)
}

/// Segments that are worth a look, in order: all of a few, those that hold rows of many.
pub(crate) fn segments_between<B: Below>(
    rows: &mut Cached<B>,
    first: i64,
    last: i64,
    direction: Direction,
) -> Result<impl Iterator<Item = i64> + use<B>, StoreError> {
    const FEW: i64 = 4;
    let mut found: Vec<i64> = Vec::new();
    if last - first < FEW {
        found.extend(first..=last);
    } else {
        let mut next = first;
        while next <= last {
            let hit = segment_in(rows, next, last, Direction::Forward)?;
            let Some(segment) = hit else { break };
            found.push(segment);
            next = segment + 1;
        }
    }
    if direction == Direction::Backward {
        found.reverse();
    }
    Ok(found.into_iter())
}

/// The first segment between two that holds any row.
pub(crate) fn segment_in<B: Below>(rows: &mut Cached<B>, first: i64, last: i64, direction: Direction) -> Result<Option<i64>, StoreError> {
    let (from, until) = (first.to_be_bytes(), last.saturating_add(1).to_be_bytes());
    let range = (Bound::Included(from.as_slice()), Bound::Excluded(until.as_slice()));
    let row = rows.first_of(range, direction)?;
    Ok(row.and_then(|row| row.first_chunk::<8>().map(|segment| i64::from_be_bytes(*segment))))
}
