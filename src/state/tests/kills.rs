//! Rows on disk after a death: a child process applies batches until it is killed, and what it leaves is the fold of the batches up to the
//! offset that it left. The same after bytes on the disk were changed, unless the change is noticed.

use std::collections::BTreeMap;
use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use super::scratch::Scratch;
use crate::record::{TaskId, Timestamp};
use crate::state::rows::GO_ON;
use crate::state::{Batch, Direction, Engine, HomeSettings, Layout, Shapes, StateHome, StoreBackend, StoreKind, StoreSpec};

/// Tells the child where to write.
const FOLDER: &str = "HIGHWATER_TEST_STATE_FOLDER";
/// Tells it how, as a place in `hows`.
const HOW: &str = "HIGHWATER_TEST_STATE_HOW";
const TASK: TaskId = TaskId { subtopology: 0, partition: 0 };
const NOW: Timestamp = Timestamp::from_secs(1);

/// With which library, and whether rows are kept apart by segment.
type How = (Engine, bool);

fn hows() -> Vec<How> {
    Engine::ALL.iter().flat_map(|engine| [(*engine, false), (*engine, true)]).filter(|how| *how != (Engine::Fjall, true)).collect()
}

type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

/// Batch number n as a function of n alone: rows in a segment, some older ones deleted, now and then a segment dropped.
struct Planned {
    rows: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    floor: [u8; 8],
}

fn planned(n: u64) -> Planned {
    const PER_SEGMENT: u64 = 40;
    let segment = n / PER_SEGMENT;
    let mut rows = BTreeMap::new();
    for i in 0..120_u64 {
        let mixed = (n * 120 + i).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40;
        let key = [(segment - (mixed % 2).min(segment)).to_be_bytes(), (mixed % 5000).to_be_bytes()].concat();
        rows.insert(key, (!mixed.is_multiple_of(7)).then(|| vec![u8::try_from(mixed % 251).expect("small"); 64]));
    }
    Planned { rows, floor: segment.saturating_sub(2).to_be_bytes() }
}

fn apply(backend: &mut dyn StoreBackend, n: u64) {
    let Planned { rows, floor } = planned(n);
    let rows: Vec<(&[u8], Option<&[u8]>)> = rows.iter().map(|(key, value)| (key.as_slice(), value.as_deref())).collect();
    let (offset, note) = (i64::try_from(n + 1).expect("few batches"), n.to_be_bytes());
    let batch = Batch { rows: &rows, offset: Some(offset), drop_before: Some(&floor), note: Some(&note) };
    backend.apply(&batch).expect("the disk has room");
}

/// The fold of the batches before `offset`, from what it was at another one.
fn fold(rows: &mut Rows, from: u64, offset: u64) {
    for n in from..offset {
        let batch = planned(n);
        for (key, value) in batch.rows {
            match value {
                Some(value) => drop(rows.insert(key, value)),
                None => drop(rows.remove(&key)),
            }
        }
        *rows = rows.split_off(batch.floor.as_slice());
    }
}

fn home(folder: &Path, (engine, _): How) -> Arc<StateHome> {
    let settings = HomeSettings {
        directory: folder,
        application_id: "app",
        shapes: Shapes::default(),
        cleanup_delay: Duration::from_secs(600),
        memory: 2 << 20, // buffers go to files often
        engine,
    };
    StateHome::on_disk(settings, "p".to_owned(), NOW).expect("the folder is free")
}

fn opened(home: &Arc<StateHome>, (_, by_segment): How) -> Box<dyn StoreBackend> {
    let spec = StoreSpec { layout: Some(Layout::Persistent), ..StoreSpec::new(StoreKind::KeyValue) };
    let mut rows = home.lease(TASK, NOW).backend("a", &spec).expect("its own folder can be read");
    if by_segment {
        rows.by_segment();
    }
    rows
}

/// Offset and rows; none if the rows cannot be read.
fn stand(rows: &mut dyn StoreBackend) -> Option<(u64, Rows)> {
    let mut found = Rows::new();
    let scanned = rows.scan((Bound::Unbounded, Bound::Unbounded), Direction::Forward, &mut |key, value| {
        found.insert(key.to_vec(), value.to_vec());
        GO_ON
    });
    let offset = rows.offset().map_or(0, |offset| u64::try_from(offset).expect("counts up"));
    scanned.ok().map(|()| (offset, found))
}

/// What the parent kills. Does nothing in an ordinary run of the tests.
#[test]
fn the_child_that_applies_until_it_dies() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let how: usize = std::env::var(HOW).expect("the parent says how").parse().expect("a number");
    let how = hows()[how];
    let home = home(Path::new(&folder), how);
    let mut rows = opened(&home, how);
    let from = rows.offset().map_or(0, |offset| u64::try_from(offset).expect("counts up"));
    fs::write(Path::new(&folder).join("works"), b"").expect("can be written");
    for n in from..u64::MAX {
        apply(&mut *rows, n);
    }
}

/// Lets a child work for a while and kills it.
fn kill_a_child(folder: &Path, how: usize, after: Duration) {
    let this = std::env::current_exe().expect("a test is a program");
    let only = "state::tests::kills::the_child_that_applies_until_it_dies";
    let mut child = Command::new(this);
    child
        .args(["--exact", only, "--test-threads=1"])
        .env(FOLDER, folder)
        .env(HOW, how.to_string())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let mut child = child.spawn().expect("a test can be run again");
    let works = folder.join("works");
    while !works.exists() {
        assert!(child.try_wait().expect("a child can be asked").is_none(), "the child could not even begin");
        std::thread::sleep(Duration::from_millis(2));
    }
    std::thread::sleep(after);
    child.kill().expect("a child can be killed");
    child.wait().expect("a child can be waited for");
    fs::remove_file(works).expect("the child wrote it");
}

#[test]
fn a_killed_process_leaves_the_fold_up_to_its_offset() {
    (0..hows().len()).for_each(kill_again_and_again);
}

fn kill_again_and_again(how: usize) {
    let (folder, mut expected, mut at) = (Scratch::new(), Rows::new(), 0);
    for round in 0..60 {
        if round >= 6 && at > 100 {
            return;
        }
        kill_a_child(folder.path(), how, Duration::from_micros(RandomState::new().hash_one(0) % 60_000));
        let home = home(folder.path(), hows()[how]);
        let (offset, rows) = stand(&mut *opened(&home, hows()[how])).expect("reads");
        assert!(offset >= at, "{offset} after {at}: what was applied is kept");
        fold(&mut expected, at, offset);
        at = offset;
        assert!(rows == expected, "the rows are not the fold up to {offset}: {} instead of {}", rows.len(), expected.len());
        assert_eq!(home.rebuilt_stores(), 0);
    }
    panic!("the children did nearly nothing: {at} batches");
}

fn files(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("reads").flatten() {
        match entry.path() {
            path if path.is_dir() => files(&path, into),
            path => into.push(path),
        }
    }
}

/// Changes one byte, or cuts the file there.
fn damage(path: &Path, at: usize, cut: bool) {
    let mut bytes = fs::read(path).expect("reads");
    match cut {
        true => bytes.truncate(at),
        false => bytes[at] ^= 0x20,
    }
    fs::write(path, bytes).expect("can be written");
}

/// Whatever is damaged: a store is the fold up to the offset that it tells, or it cannot be read and is empty the next time, or it was wiped.
#[test]
fn damaged_rows_are_noticed() {
    hows().into_iter().for_each(damage_again_and_again);
}

fn damage_again_and_again(how: How) {
    let (mut wiped, mut sound) = (0, 0);
    for round in 0..24_u64 {
        let (folder, mut expected) = (Scratch::new(), Rows::new());
        {
            let home = home(folder.path(), how);
            let mut rows = opened(&home, how);
            (0..120).for_each(|n| apply(&mut *rows, n));
        }
        let mut found = Vec::new();
        files(&folder.path().join("app/0_0").join(how.0.kept().folder), &mut found);
        found.retain(|path| !["LOCK", "held", "lock"].iter().any(|lock| path.ends_with(lock)));
        found.sort_by_key(|path| (path.metadata().map_or(0, |data| data.len()), path.clone()));
        let chance = (round + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 20;
        let path = &found[usize::try_from(round).expect("few") % found.len()];
        let length = fs::read(path).expect("reads").iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        if length == 0 {
            continue;
        }
        damage(path, usize::try_from(chance).expect("64 bits") % length, round % 3 == 2);
        let home = home(folder.path(), how);
        let (offset, rows) = stand(&mut *opened(&home, how))
            .unwrap_or_else(|| stand(&mut *opened(&home, how)).expect("what could not be read is forgotten the next time"));
        fold(&mut expected, 0, offset);
        assert!(rows == expected, "round {round}, {}: the rows are not the fold up to {offset}", path.display());
        match home.rebuilt_stores() {
            0 => sound += 1,
            _ => {
                wiped += 1;
                assert_eq!(offset, 0);
            }
        }
    }
    assert!(wiped > 0, "no damage was noticed in {sound} rounds");
}
