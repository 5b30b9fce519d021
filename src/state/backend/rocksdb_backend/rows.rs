//! The rows of one store in the families of its task's database.

use std::collections::BTreeSet;
use std::ops::{Bound, ControlFlow};
use std::sync::Arc;

use rocksdb::{BoundColumnFamily, ReadOptions, WriteBatch};

use super::failed;
use super::families::{Families, segment_name};
use super::load::{Loading, head, take_in};
use super::order::in_order;
use crate::error::StoreError;
use crate::failpoint;
use crate::state::backend::standing::{ROW, STANDING, Standing, row_key};
use crate::state::backend::{Batch, Direction, KeyRange, StoreBackend, Visit, is_empty};

/// Rows with their new values; none deletes.
type Changes<'a> = &'a [(&'a [u8], Option<&'a [u8]>)];

/// Rows that are brought near together.
const APPROACHED: usize = 64;

/// The key of the row that lists the segments. A family that is missing would not be missed without it: the library leaves out what its log
/// says of families that its list of files does not have.
const SEGMENTS: [u8; 1] = [ROW + 1];

/// Rows in RocksDB.
pub(super) struct RocksRows {
    name: String,
    families: Arc<Families>,
    standing: Standing,
    /// It was written: rows without it are what a death left behind.
    stood: bool,
    /// Segments that have a family; none where all rows lie in the store's own.
    segments: Option<BTreeSet<u64>>,
    /// Those that are written down beside the standing.
    listed: BTreeSet<u64>,
    /// What a restore has brought and is not written yet.
    loading: Option<Loading>,
    /// The key being looked up, kept to save the allocation.
    key: Vec<u8>,
}

/// The segment of a key: the number it begins with. A shorter key counts as if zeros followed, so segments lie as their keys do.
fn segment_of(key: &[u8]) -> u64 {
    head(key)
}

impl RocksRows {
    /// Reads what the rows stand for, and clears away what a death left behind.
    pub(super) fn open(name: &str, families: Arc<Families>) -> Result<Self, StoreError> {
        families.make(name).map_err(|error| failed(name, error))?;
        let stored = families.db().get_pinned_cf(&families.family(name)?, STANDING).map_err(|error| failed(name, error))?;
        let standing = Standing::of_row(name, stored.as_deref())?;
        let (stood, segments) = (stored.is_some(), families.segments(name));
        drop(stored);
        let listed = listed_segments(name, &families)?;
        if let Some(missing) = listed.range(segment_of(&standing.floor)..).find(|segment| !segments.contains(segment)) {
            return Err(failed(name, format!("the rows of its segment {missing} are missing")));
        }
        let segments = (!segments.is_empty()).then_some(segments);
        let mut rows = RocksRows { name: name.to_owned(), families, standing, stood, segments, listed, loading: None, key: Vec::new() };
        if rows.stood {
            rows.drop_segments();
        } else if rows.approximate_rows() > 0 || rows.segments.is_some() {
            rows.wipe()?;
            rows.segments = None;
        }
        Ok(rows)
    }

    fn failed(&self, error: rocksdb::Error) -> StoreError {
        failed(&self.name, error)
    }

    /// The family in which a key lies; none: its segment has no rows.
    fn family_of(&self, key: &[u8]) -> Result<Option<Arc<BoundColumnFamily<'_>>>, StoreError> {
        let Some(segments) = &self.segments else { return self.families.family(&self.name).map(Some) };
        let segment = segment_of(key);
        segments.contains(&segment).then(|| self.families.family(&segment_name(&self.name, segment))).transpose()
    }

    /// Families that hold rows, in the order of their rows.
    fn row_families(&self) -> Vec<(Option<u64>, String)> {
        match &self.segments {
            None => vec![(None, self.name.clone())],
            Some(segments) => segments.iter().map(|segment| (Some(*segment), segment_name(&self.name, *segment))).collect(),
        }
    }

    /// The rows of a range that are not obsolete: from a key, and up to another one without it.
    fn above_floor(&self, (from, to): KeyRange<'_>) -> (Vec<u8>, Vec<u8>) {
        let floor = self.standing.floor.as_slice();
        let from = match from {
            Bound::Included(from) if from >= floor => row_key(from),
            Bound::Excluded(from) if from >= floor => after(from),
            _ => row_key(floor),
        };
        let to = match to {
            Bound::Included(to) => after(to),
            Bound::Excluded(to) => row_key(to),
            Bound::Unbounded => vec![ROW + 1],
        };
        (from, to)
    }

    /// Shows the rows of one family; whether more are wanted.
    fn scan_family(
        &self,
        family: &str,
        (from, to): (&[u8], &[u8]),
        direction: Direction,
        visit: &mut Visit<'_>,
    ) -> Result<ControlFlow<()>, StoreError> {
        let mut options = ReadOptions::default();
        options.set_iterate_lower_bound(from);
        options.set_iterate_upper_bound(to);
        let mut rows = self.families.db().raw_iterator_cf_opt(&self.families.family(family)?, options);
        match direction {
            Direction::Forward => rows.seek_to_first(),
            Direction::Backward => rows.seek_to_last(),
        }
        while let Some((key, value)) = rows.item() {
            if visit(&key[1..], value) == ControlFlow::Break(()) {
                return Ok(ControlFlow::Break(()));
            }
            match direction {
                Direction::Forward => rows.next(),
                Direction::Backward => rows.prev(),
            }
        }
        rows.status().map(|()| ControlFlow::Continue(())).map_err(|error| self.failed(error))
    }

    /// Makes the families of segments that the rows begin.
    fn make_segments(&mut self, rows: Changes<'_>, floor: &[u8]) -> Result<(), StoreError> {
        let Some(segments) = &mut self.segments else { return Ok(()) };
        for (key, _) in rows.iter().filter(|(key, value)| value.is_some() && *key >= floor) {
            let segment = segment_of(key);
            if !segments.contains(&segment) {
                self.families.make(&segment_name(&self.name, segment)).map_err(|error| failed(&self.name, error))?;
                segments.insert(segment);
            }
        }
        Ok(())
    }

    /// Changes rows and what they stand for, in one batch.
    fn write(&mut self, rows: Changes<'_>, standing: Standing) -> Result<(), StoreError> {
        self.make_segments(rows, &standing.floor)?;
        let write = self.batch(rows, &standing)?;
        self.families.db().write(write).map_err(|error| self.failed(error))?;
        let dropped = standing.floor != self.standing.floor;
        (self.standing, self.stood) = (standing, true);
        if self.segments.as_ref().is_some_and(|segments| *segments != self.listed) {
            self.listed = self.segments.clone().unwrap_or_default();
        }
        if dropped {
            self.drop_segments();
        }
        Ok(())
    }

    /// The same with sorted rows that are many: as files, one for each family, and then what they stand for.
    fn take_in(&mut self, rows: Changes<'_>, standing: Standing) -> Result<(), StoreError> {
        let rows = &rows[rows.partition_point(|(key, _)| *key < standing.floor.as_slice())..];
        self.make_segments(rows, &standing.floor)?;
        let segmented = self.segments.is_some();
        for part in rows.chunk_by(|(a, _), (b, _)| !segmented || segment_of(a) == segment_of(b)) {
            let family = if segmented { segment_name(&self.name, segment_of(part[0].0)) } else { self.name.clone() };
            if segmented && !self.segments.as_ref().is_some_and(|segments| segments.contains(&segment_of(part[0].0))) {
                continue; // deletions where nothing is
            }
            take_in(&self.families, &family, part).map_err(|error| self.failed(error))?;
        }
        failpoint::reached("restore.file");
        self.write(&[], standing)
    }

    /// The batch as one of the library.
    fn batch(&self, rows: Changes<'_>, standing: &Standing) -> Result<WriteBatch, StoreError> {
        let mut write = WriteBatch::default();
        let own = self.families.family(&self.name)?;
        if *standing != self.standing || !self.stood {
            write.put_cf(&own, STANDING, standing.encode());
        }
        if let Some(segments) = self.segments.as_ref().filter(|segments| **segments != self.listed) {
            write.put_cf(&own, SEGMENTS, segments.iter().flat_map(|segment| segment.to_be_bytes()).collect::<Vec<u8>>());
        }
        if self.segments.is_none() && standing.floor != self.standing.floor {
            write.delete_range_cf(&own, row_key(&self.standing.floor), row_key(&standing.floor));
        }
        let (mut row, mut last) = (Vec::new(), None);
        for (key, value) in rows.chunks(APPROACHED).flat_map(approached).filter(|(key, _)| *key >= standing.floor.as_slice()) {
            let segment = self.segments.is_some().then(|| segment_of(key));
            let family = match &last {
                Some((of, family)) if *of == segment => family,
                _ => match self.family_of(key)? {
                    Some(family) => &last.insert((segment, family)).1,
                    None => continue, // a deletion where nothing is
                },
            };
            row.clear();
            row.push(ROW);
            row.extend_from_slice(key);
            match value {
                Some(value) => write.put_cf(family, &row, value),
                None => write.delete_cf(family, &row),
            }
        }
        Ok(write)
    }

    /// Segments that lie below the floor as a whole go, with their files.
    fn drop_segments(&mut self) {
        let (floor, Some(segments)) = (segment_of(&self.standing.floor), &mut self.segments) else { return };
        let obsolete: Vec<u64> = segments.range(..floor).copied().collect();
        for segment in obsolete {
            match self.families.remove(&segment_name(&self.name, segment)) {
                Ok(()) => drop(segments.remove(&segment)),
                Err(error) => {
                    tracing::warn!(store = self.name, %error, "obsolete rows were not removed from the disk; the next drop tries again");
                }
            }
        }
    }
}

/// The same rows, all of them brought near at once: one after the other each would be waited for.
fn approached<'a>(rows: Changes<'a>) -> impl Iterator<Item = &'a (&'a [u8], Option<&'a [u8]>)> {
    std::hint::black_box(rows.iter().fold(0, |all, (key, _)| all ^ key.first().copied().unwrap_or(0)));
    rows.iter()
}

/// The segments that are written down.
fn listed_segments(name: &str, families: &Families) -> Result<BTreeSet<u64>, StoreError> {
    let listed = families.db().get_cf(&families.family(name)?, SEGMENTS).map_err(|error| failed(name, error))?;
    Ok(listed.unwrap_or_default().chunks_exact(8).map(head).collect())
}

/// What follows a key at once.
fn after(key: &[u8]) -> Vec<u8> {
    let mut row = row_key(key);
    row.push(0);
    row
}

impl StoreBackend for RocksRows {
    fn by_segment(&mut self) {
        if self.segments.is_none() && !self.stood {
            self.segments = Some(BTreeSet::new());
        }
    }

    fn get(&mut self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.loaded()?;
        if key < self.standing.floor.as_slice() {
            return Ok(None);
        }
        let mut row = std::mem::take(&mut self.key);
        row.clear();
        row.push(ROW);
        row.extend_from_slice(key);
        let found = self.family_of(key).and_then(|family| match family {
            Some(family) => self.families.db().get_pinned_cf(&family, &row).map_err(|error| self.failed(error)),
            None => Ok(None),
        });
        let found = found.map(|found| found.map(|value| value.to_vec()));
        self.key = row;
        found
    }

    fn scan(&mut self, range: KeyRange<'_>, direction: Direction, visit: &mut Visit<'_>) -> Result<(), StoreError> {
        self.loaded()?;
        let (from, to) = self.above_floor(range);
        if is_empty(&range) || from >= to {
            return Ok(());
        }
        let (first, last) = (segment_of(&from[1..]), segment_of(&to[1..]));
        let mut families = self.row_families();
        // The bound may be the end of all rows, which has no segment.
        families.retain(|(segment, _)| segment.is_none_or(|segment| segment >= first && (segment <= last || to == [ROW + 1])));
        if direction == Direction::Backward {
            families.reverse();
        }
        for (_, family) in families {
            if self.scan_family(&family, (&from, &to), direction, visit)? == ControlFlow::Break(()) {
                break;
            }
        }
        Ok(())
    }

    fn apply(&mut self, batch: &Batch<'_>) -> Result<(), StoreError> {
        failpoint::reached("store.apply");
        self.loaded()?;
        self.write(&in_order(batch.rows), self.standing.after(batch))
    }

    fn load(&mut self, batch: &Batch<'_>) -> Result<(), StoreError> {
        let loading = self.loading.get_or_insert_with(|| Loading::new(self.standing.clone(), &self.families.budget().load));
        loading.standing = loading.standing.after(batch);
        loading.add(batch.rows);
        if loading.is_full() { self.loaded() } else { Ok(()) }
    }

    fn loaded(&mut self) -> Result<(), StoreError> {
        let Some(mut loading) = self.loading.take() else { return Ok(()) };
        let (standing, much) = (loading.standing.clone(), loading.is_much());
        let rows = loading.sorted();
        if much { self.take_in(&rows, standing) } else { self.write(&rows, standing) }
    }

    fn wipe(&mut self) -> Result<(), StoreError> {
        self.loading = None;
        self.families.forget(&self.name)?;
        self.families.make(&self.name).map_err(|error| self.failed(error))?;
        (self.standing, self.stood) = (Standing::default(), false);
        self.segments.iter_mut().for_each(BTreeSet::clear);
        self.listed.clear();
        Ok(())
    }
    fn offset(&self) -> Option<i64> {
        self.standing.offset
    }
    fn note(&self) -> Option<Vec<u8>> {
        self.standing.note.clone()
    }
    fn approximate_rows(&self) -> usize {
        // What the library counts has the standing in it, and deletions that are not merged away yet.
        let (mut any, mut rows) = (false, 0);
        let (from, to) = self.above_floor((Bound::Unbounded, Bound::Unbounded));
        for (_, family) in self.row_families() {
            let looked = self.scan_family(&family, (&from, &to), Direction::Forward, &mut |_, _| ControlFlow::Break(()));
            any |= !matches!(looked, Ok(ControlFlow::Continue(())));
            let handle = self.families.family(&family).ok();
            let counted = handle.and_then(|family| self.families.db().property_int_value_cf(&family, KEYS).ok().flatten());
            rows += counted.and_then(|counted| usize::try_from(counted).ok()).unwrap_or(0);
        }
        let loading = self.loading.as_ref().map_or(0, Loading::len);
        if any { rows.max(1) + loading } else { loading }
    }
}

/// The library's name for its count of keys.
const KEYS: &str = "rocksdb.estimate-num-keys";
