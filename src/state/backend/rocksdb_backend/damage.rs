//! Damage to the files of RocksDB, done while the task is away and while it runs: the store it concerns is built anew, alone where it can be
//! told apart, and no wrong row is ever shown.

use std::fs;
use std::io::Write;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rocksdb::{DB, Options};

use super::RocksDatabase;
use super::families::segment_name;
use super::options::Budget;
use crate::error::ErrorKind;
use crate::record::{TaskId, Timestamp};
use crate::state::backend::engine::TaskDatabase;
use crate::state::backend::is_damage;
use crate::state::rows::GO_ON;
use crate::state::tests::scratch::Scratch;
use crate::state::{Batch, Direction, Engine, HomeSettings, Layout, Shapes, StateHome, StoreBackend, StoreKind, StoreSpec, TaskLease};

const TASK: TaskId = TaskId { subtopology: 0, partition: 0 };
const NOW: Timestamp = Timestamp::from_secs(1);
/// Rows of a store, in batches of a hundred.
const ROWS: u32 = 40_000;

/// Of a home whose buffers go to files often.
const LITTLE: u64 = 1 << 20;
/// Of one that has no cause to write files while it runs.
const PLENTY: u64 = 256 << 20;

fn home(folder: &Path) -> Arc<StateHome> {
    home_with(folder, LITTLE)
}

fn home_with(folder: &Path, memory: u64) -> Arc<StateHome> {
    let settings = HomeSettings {
        directory: folder,
        application_id: "app",
        shapes: Shapes::default(),
        cleanup_delay: Duration::from_secs(600),
        memory,
        engine: Engine::RocksDb,
    };
    StateHome::on_disk(settings, "p".to_owned(), NOW).expect("the folder is free")
}

fn open(lease: &TaskLease, store: &str) -> Box<dyn StoreBackend> {
    let spec = StoreSpec { layout: Some(Layout::Persistent), ..StoreSpec::new(StoreKind::KeyValue) };
    lease.backend(store, &spec).expect("its own folder can be read")
}

fn value(store: &str, n: u32) -> Vec<u8> {
    let text = format!("{store} {} ", n.wrapping_mul(2_654_435_761));
    text.repeat(6).into_bytes()
}

/// Writes every row anew, and the offset.
fn fill(rows: &mut dyn StoreBackend, store: &str) -> Result<(), crate::error::StoreError> {
    for from in (0..ROWS).step_by(100) {
        let written: Vec<(Vec<u8>, Vec<u8>)> = (from..from + 100).map(|n| (n.to_be_bytes().to_vec(), value(store, n))).collect();
        let written: Vec<(&[u8], Option<&[u8]>)> = written.iter().map(|(key, value)| (key.as_slice(), Some(value.as_slice()))).collect();
        rows.apply(&Batch { rows: &written, offset: Some(i64::from(from) + 100), ..Batch::default() })?;
    }
    Ok(())
}

/// How many rows there are, all of them right; an error if they cannot be read.
fn count(rows: &mut dyn StoreBackend, store: &str) -> Result<u32, crate::error::StoreError> {
    let mut seen = 0;
    rows.scan((Bound::Unbounded, Bound::Unbounded), Direction::Forward, &mut |key, found| {
        let n = u32::from_be_bytes(key.try_into().expect("four bytes"));
        assert!(found == value(store, n), "a wrong row of {store}: {n}");
        seen += 1;
        GO_ON
    })?;
    Ok(seen)
}

/// A folder in which the stores `a` and `b` are full and closed.
fn filled() -> Scratch {
    filled_with(LITTLE)
}

fn filled_with(memory: u64) -> Scratch {
    let folder = Scratch::new();
    let home = home_with(folder.path(), memory);
    let lease = home.lease(TASK, NOW);
    for store in ["a", "b"] {
        fill(&mut *open(&lease, store), store).expect("the disk has room");
    }
    lease.give_up(NOW);
    folder
}

fn files(folder: &Path, wanted: &dyn Fn(&str) -> bool) -> Vec<PathBuf> {
    let rows = folder.join("app/0_0/rocksdb");
    let mut found: Vec<PathBuf> = fs::read_dir(rows).expect("reads").map(|entry| entry.expect("reads").path()).collect();
    found.retain(|path| wanted(&path.file_name().expect("a file").to_string_lossy()));
    found.sort();
    assert!(!found.is_empty());
    found
}

/// Files of rows that hold this store's.
fn tables_of(folder: &Path, store: &str) -> Vec<PathBuf> {
    let rows = folder.join("app/0_0/rocksdb");
    let db = DB::open_cf_for_read_only(&Options::default(), &rows, ["default", "a", "b"], false).expect("reads");
    let mut tables: Vec<PathBuf> = Vec::new();
    for table in db.live_files().expect("reads") {
        if table.column_family_name == store {
            tables.push(rows.join(table.name.trim_start_matches('/')));
        }
    }
    tables.sort();
    assert!(!tables.is_empty(), "no file of {store}");
    tables
}

/// Changes a byte in the first part of a file, where its rows are.
fn flip(path: &Path) {
    let mut bytes = fs::read(path).expect("reads");
    let at = bytes.len() / 3;
    bytes[at] ^= 0x20;
    fs::write(path, bytes).expect("can be written");
}

/// Reads both stores, as often as a task is assembled anew, until both can be read.
fn read_both(home: &Arc<StateHome>) -> [u32; 2] {
    for _ in 0..5 {
        let lease = home.lease(TASK, NOW);
        let counts = ["a", "b"].map(|store| count(&mut *open(&lease, store), store));
        if let [Ok(a), Ok(b)] = counts {
            return [a, b];
        }
        assert!(lease.is_damaged());
    }
    panic!("the stores never become readable");
}

#[test]
fn a_changed_byte_costs_one_store() {
    let folder = filled();
    flip(&tables_of(folder.path(), "a")[0]);
    let home = home(folder.path());
    assert_eq!(read_both(&home), [0, ROWS]);
    assert_eq!(home.rebuilt_stores(), 1);
    fill_again(&home, "a");
    assert_eq!((read_both(&home), home.rebuilt_stores()), ([ROWS, ROWS], 1));
}

/// Fills a store as often as its task is assembled anew, until it takes everything: the library may have met the damage too, as it merged
/// files, and then takes nothing until it is opened anew.
fn fill_again(home: &Arc<StateHome>, store: &str) {
    let tried = (0..5).any(|_| fill(&mut *open(&home.lease(TASK, NOW), store), store).is_ok());
    assert!(tried, "the store never becomes writable");
}

/// Nobody reads the damaged rows: the library meets them as it merges files.
#[test]
fn a_changed_byte_that_is_met_when_files_are_merged_costs_one_store() {
    let folder = filled();
    for table in tables_of(folder.path(), "a") {
        flip(&table);
    }
    let home = home(folder.path());
    for _ in 0..10 {
        let lease = home.lease(TASK, NOW);
        let filled = fill(&mut *open(&lease, "a"), "a").and_then(|()| fill(&mut *open(&lease, "b"), "b"));
        if filled.is_ok() && home.rebuilt_stores() > 0 {
            break;
        }
    }
    assert_eq!((read_both(&home), home.rebuilt_stores()), ([ROWS, ROWS], 1));
}

#[test]
fn what_the_database_cannot_be_opened_without_costs_the_stores_of_the_task() {
    type Damage = fn(&Path);
    let damages: [(&str, Damage); 6] = [
        ("CURRENT", |path| fs::remove_file(path).expect("there")),
        ("CURRENT", |path| fs::write(path, b"").expect("there")),
        ("MANIFEST", |path| fs::remove_file(path).expect("there")),
        ("MANIFEST", |path| fs::write(path, &fs::read(path).expect("there")[..40]).expect("there")),
        ("MANIFEST", flip),
        (".sst", |path| fs::remove_file(path).expect("there")),
    ];
    for (number, (name, damage)) in damages.into_iter().enumerate() {
        let folder = filled();
        damage(&files(folder.path(), &|file| file.starts_with(name) || file.ends_with(name))[0]);
        let home = home(folder.path());
        assert_eq!(read_both(&home), [0, 0], "damage {number}, to {name}");
        assert_eq!(home.rebuilt_stores(), 2, "damage {number}, to {name}");
        let lease = home.lease(TASK, NOW);
        fill(&mut *open(&lease, "a"), "a").expect("it is as new");
        assert_eq!(read_both(&home), [ROWS, 0]);
    }
}

/// Rows are not older than what they stand for, however much of the log or of the list of files is missing.
#[test]
fn what_is_cut_off_is_missing_in_rows_and_offset_alike() {
    for part in 0..24 {
        let folder = Scratch::new();
        {
            let home = home(folder.path());
            let lease = home.lease(TASK, NOW);
            for store in ["a", "b"] {
                fill(&mut *open(&lease, store), store).expect("the disk has room");
            }
        }
        if part == 0 {
            files(folder.path(), &|name| name.ends_with(".log")).iter().for_each(|log| fs::remove_file(log).expect("there"));
        } else {
            let manifest = &files(folder.path(), &|name| name.starts_with("MANIFEST"))[0];
            let bytes = fs::read(manifest).expect("there");
            fs::write(manifest, &bytes[..bytes.len() * part / 24]).expect("there");
        }
        let home = home(folder.path());
        let lease = home.lease(TASK, NOW);
        for store in ["a", "b"] {
            let mut rows = open(&lease, store);
            let counted = count(&mut *rows, store).expect("reads");
            assert_eq!(rows.offset().unwrap_or(0), i64::from(counted), "{store}, cut at part {part}");
        }
    }
}

#[test]
fn damage_done_while_the_task_runs_is_noticed_at_the_next_read_from_the_disk() {
    // Files are not to be merged, and deleted, while the test looks for them.
    let folder = filled_with(PLENTY);
    let home = home_with(folder.path(), PLENTY);
    let lease = home.lease(TASK, NOW);
    let mut rows = open(&lease, "a");
    rows.get(&0_u32.to_be_bytes()).expect("reads");
    for table in tables_of(folder.path(), "a") {
        flip(&table);
    }
    drop(rows);
    drop(lease);
    assert_eq!(read_both(&home), [0, ROWS]);
    assert_eq!(home.rebuilt_stores(), 1);
}

/// A folder on a small disk of its own; none where that needs rights that this process does not have.
struct SmallDisk(Scratch);

impl SmallDisk {
    fn new() -> Option<Self> {
        let folder = Scratch::new();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=24m", "tmpfs"]).arg(folder.path()).stderr(Stdio::null());
        mount.status().is_ok_and(|done| done.success()).then_some(SmallDisk(folder))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

/// A full disk takes nothing away: the store stays where it was, and goes on when there is space.
#[test]
fn a_full_disk_is_waited_for() {
    let Some(disk) = SmallDisk::new() else {
        eprintln!("not tested: a small disk cannot be mounted here");
        return;
    };
    let folder = disk.0.path();
    let home = home(folder);
    let ballast = folder.join("ballast");
    let mut rows = open(&home.lease(TASK, NOW), "a");
    fill(&mut *rows, "a").expect("there is room for it once");
    let mut full = fs::File::create(&ballast).expect("there is room");
    while full.write_all(&[0; 4096]).is_ok() {}
    drop(full);
    let wrong = (0..50).find_map(|_| fill(&mut *rows, "a").err()).expect("the disk is full");
    let offset = rows.offset().expect("it had one");
    assert!(!is_damage(&wrong), "{wrong}");
    drop(rows);
    for _ in 0..3 {
        // Whether it can be opened or not, nothing is lost.
        let spec = StoreSpec { layout: Some(Layout::Persistent), ..StoreSpec::new(StoreKind::KeyValue) };
        match home.lease(TASK, NOW).backend("a", &spec) {
            Ok(mut rows) => assert_eq!((rows.offset(), count(&mut *rows, "a").ok()), (Some(offset), Some(ROWS))),
            Err(error) => assert_eq!(error.kind(), ErrorKind::Retriable, "{error}"),
        }
    }
    fs::remove_file(&ballast).expect("there");
    let mut rows = open(&home.lease(TASK, NOW), "a");
    assert_eq!((rows.offset(), count(&mut *rows, "a").expect("reads")), (Some(offset), ROWS));
    fill(&mut *rows, "a").expect("there is room");
    assert_eq!(home.rebuilt_stores(), 0);
}

/// The library says nothing of a family that its list of files does not have, and leaves out what its log says of it.
#[test]
fn a_segment_that_is_missing_is_noticed() {
    let folder = Scratch::new();
    let database = RocksDatabase::open(folder.path(), &Budget::of(1 << 20)).expect("an empty folder can be opened");
    let mut rows = database.store("a").expect("opens");
    rows.by_segment();
    let keys = [0_u64, 1, 2].map(u64::to_be_bytes);
    let written: Vec<(&[u8], Option<&[u8]>)> = keys.iter().map(|key| (key.as_slice(), Some(b"x".as_slice()))).collect();
    rows.apply(&Batch { rows: &written, offset: Some(7), ..Batch::default() }).expect("there is room");
    rows.apply(&Batch { drop_before: Some(&keys[1]), ..Batch::default() }).expect("there is room");
    assert_eq!(database.store("a").expect("only what is obsolete is gone").offset(), Some(7));
    database.0.remove(&segment_name("a", 1)).expect("it is there");
    assert!(database.store("a").is_err());
    assert_eq!(database.store_wiped("a").expect("it can be made anew").offset(), None);
}
