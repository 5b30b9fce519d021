//! Rows on their way into a store that is being restored: collected, sorted, and written as files that the database takes in as they are. That
//! costs a tenth of what writing them through buffers and log does.
//!
//! A file is taken in before the batch that moves the offset past its rows. A death in between leaves rows that the offset does not speak of
//! yet; they are the same again when the changelog is read from there.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rocksdb::{IngestExternalFileOptions, SstFileWriter};

use super::families::Families;
use crate::state::backend::standing::{ROW, Standing};

/// Rows of one store, in the order in which they came.
pub(super) struct Loading {
    bytes: Vec<u8>,
    rows: Vec<Row>,
    /// What the store stands for once they are in.
    pub(super) standing: Standing,
    share: Share,
}

/// Where a row lies among the bytes.
#[derive(Clone, Copy)]
struct Row {
    /// The first eight bytes of the key: most comparisons need no others.
    head: u64,
    start: u32,
    key: u32,
    /// None deletes.
    value: Option<u32>,
}

/// What all stores that are being restored may hold in memory together.
#[derive(Clone)]
pub(super) struct LoadBudget {
    held: Arc<AtomicUsize>,
    most: usize,
}

/// One store's part of what is held.
struct Share {
    budget: LoadBudget,
    bytes: usize,
}

impl LoadBudget {
    pub(super) fn of(most: usize) -> Self {
        LoadBudget { held: Arc::default(), most }
    }
}

impl Share {
    fn set(&mut self, bytes: usize) {
        self.budget.held.fetch_add(bytes, Ordering::Relaxed);
        self.budget.held.fetch_sub(self.bytes, Ordering::Relaxed);
        self.bytes = bytes;
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.set(0);
    }
}

/// With fewer rows a batch costs less than a file.
const WORTH_A_FILE: usize = if cfg!(any(test, feature = "failpoints")) { 10 } else { 20_000 };
/// So many rows are written at once at the latest; where a test kills the process there are to be many files.
const MOST_ROWS: usize = if cfg!(any(test, feature = "failpoints")) { 10 } else { 100_000_000 };

impl Loading {
    /// Nothing yet.
    pub(super) fn new(standing: Standing, budget: &LoadBudget) -> Self {
        Loading { bytes: Vec::new(), rows: Vec::new(), standing, share: Share { budget: budget.clone(), bytes: 0 } }
    }

    /// Takes rows; a later one of the same key counts.
    pub(super) fn add(&mut self, rows: &[(&[u8], Option<&[u8]>)]) {
        let length = |bytes: &[u8]| u32::try_from(bytes.len()).expect("less than the budget, which is less than 4 GiB");
        for (key, value) in rows {
            let start = u32::try_from(self.bytes.len()).expect("less than the budget, which is less than 4 GiB");
            self.bytes.extend_from_slice(key);
            self.bytes.extend_from_slice(value.unwrap_or_default());
            self.rows.push(Row { head: head(key), start, key: length(key), value: value.map(length) });
        }
        self.share.set(self.bytes.capacity() + self.rows.capacity() * size_of::<Row>());
    }

    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// It is time to write them.
    pub(super) fn is_full(&self) -> bool {
        /// However many stores are restored at once, each writes files of some size.
        const LEAST_PART: usize = 128;
        let LoadBudget { held, most } = &self.share.budget;
        let own = self.share.bytes;
        self.rows.len() >= MOST_ROWS || own >= most / 2 || (held.load(Ordering::Relaxed) > *most && own > most / LEAST_PART)
    }

    /// Whether they are worth a file.
    pub(super) fn is_much(&self) -> bool {
        self.rows.len() >= WORTH_A_FILE
    }

    /// The rows in order, the last of each key.
    pub(super) fn sorted(&mut self) -> Vec<(&[u8], Option<&[u8]>)> {
        let Loading { bytes, rows, .. } = self;
        let key = |row: &Row| &bytes[row.start as usize..][..row.key as usize];
        rows.sort_by(|a, b| a.head.cmp(&b.head).then_with(|| key(a).cmp(key(b))));
        let value = |row: &Row| row.value.map(|length| &bytes[(row.start + row.key) as usize..][..length as usize]);
        let last =
            rows.iter().enumerate().filter(|(at, row)| rows.get(at + 1).is_none_or(|next| next.head != row.head || key(next) != key(row)));
        last.map(|(_, row)| (key(row), value(row))).collect()
    }
}

/// The first eight bytes, as if zeros followed.
pub(super) fn head(key: &[u8]) -> u64 {
    let mut number = [0; 8];
    let known = key.len().min(8);
    number[..known].copy_from_slice(&key[..known]);
    u64::from_be_bytes(number)
}

/// Writes rows, in order, to a file, and has a family take it in.
pub(super) fn take_in(families: &Families, family: &str, rows: &[(&[u8], Option<&[u8]>)]) -> Result<(), rocksdb::Error> {
    let (options, path) = (families.family_options(), families.next_file());
    let written = write(&options, &path, rows).and_then(|()| {
        let mut how = IngestExternalFileOptions::default();
        how.set_move_files(true);
        let handle = families.db().cf_handle(family).expect("its family was made before");
        families.db().ingest_external_file_cf_opts(&handle, &how, vec![&path])
    });
    if written.is_err() {
        let _ = std::fs::remove_file(&path); // what is left goes when the database is opened
    }
    written
}

fn write(options: &rocksdb::Options, path: &Path, rows: &[(&[u8], Option<&[u8]>)]) -> Result<(), rocksdb::Error> {
    let mut file = SstFileWriter::create(options);
    file.open(path)?;
    let mut row = Vec::new();
    for (key, value) in rows {
        row.clear();
        row.push(ROW);
        row.extend_from_slice(key);
        match value {
            Some(value) => file.put(&row, value)?,
            None => file.delete(&row)?,
        }
    }
    file.finish()
}

/// Where files lie until they are taken in.
pub(super) fn folder(database: &Path) -> PathBuf {
    database.join("load")
}
