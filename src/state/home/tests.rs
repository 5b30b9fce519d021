//! What survives which way of ending, and who is let in.

use std::cell::Cell;
use std::fs;
use std::path::Path;

use super::*;
use crate::state::backend::{Batch, Engine};
use crate::state::cache::CacheBudget;
use crate::state::spec::StoreKind;
use crate::state::table::Table;
use crate::state::tests::scratch::Scratch;

const TASK: TaskId = TaskId { subtopology: 0, partition: 3 };
const NOW: Timestamp = Timestamp::from_secs(1000);

thread_local! {
    /// Which library keeps the rows.
    static ENGINE: Cell<Engine> = Cell::new(Engine::default());
}

fn shapes(text: &str) -> Shapes {
    Shapes([(0, text.to_owned())].into())
}

fn open_as(folder: &Path, shape: &str) -> Result<Arc<StateHome>, Error> {
    let cleanup_delay = Duration::from_secs(600);
    let settings = HomeSettings {
        directory: folder,
        application_id: "app",
        shapes: shapes(shape),
        cleanup_delay,
        memory: 32 << 20,
        engine: ENGINE.get(),
    };
    StateHome::on_disk(settings, "fresh".to_owned(), NOW)
}

fn open(folder: &Path) -> Arc<StateHome> {
    open_as(folder, "store a\n").expect("the folder is free")
}

fn on_disk() -> StoreSpec {
    StoreSpec { layout: Some(Layout::Persistent), ..StoreSpec::new(StoreKind::KeyValue) }
}

fn in_memory() -> StoreSpec {
    StoreSpec { layout: Some(Layout::InMemory), ..on_disk() }
}

fn write(rows: &mut dyn StoreBackend, key: &str, offset: i64) {
    let row: &[(&[u8], Option<&[u8]>)] = &[(key.as_bytes(), Some(b"x"))];
    rows.apply(&Batch { rows: row, offset: Some(offset), ..Batch::default() }).expect("the disk has room");
}

fn stand(lease: &TaskLease, store: &str) -> (Option<i64>, usize) {
    let mut rows = lease.backend(store, &on_disk()).expect("opens");
    let mut count = 0;
    let all = (std::ops::Bound::Unbounded, std::ops::Bound::Unbounded);
    let scanned = rows.scan(all, crate::state::Direction::Forward, &mut |_, _| {
        count += 1;
        crate::state::rows::GO_ON
    });
    scanned.expect("reads");
    (rows.offset(), count)
}

/// A home in which store `a` holds two rows up to offset 7.
fn filled(folder: &Path) -> (Arc<StateHome>, TaskLease) {
    let home = open(folder);
    let lease = home.lease(TASK, NOW);
    let mut rows = lease.backend("a", &on_disk()).expect("opens");
    write(&mut *rows, "one", 3);
    write(&mut *rows, "two", 7);
    (home, lease)
}

fn mark_as(folder: &Path, text: &str) {
    fs::write(folder.join("app/0_3/mark"), text).expect("can be written");
}

#[test]
fn rows_are_there_after_a_clean_close_and_after_a_death() {
    for clean in [true, false] {
        let folder = Scratch::new();
        let (home, lease) = filled(folder.path());
        if clean {
            lease.give_up(NOW);
        }
        drop((home, lease));
        let mark = fs::read_to_string(folder.path().join("app/0_3/mark")).expect("there is a mark");
        assert_eq!(mark.starts_with("clean "), clean, "{mark}");
        let home = open(folder.path());
        assert_eq!(stand(&home.lease(TASK, NOW), "a"), (Some(7), 2));
        assert_eq!(home.rebuilt_stores(), 0);
    }
}

#[test]
fn rows_of_another_boot_are_trusted_only_after_a_clean_close() {
    let folder = Scratch::new();
    drop(filled(folder.path()));
    mark_as(folder.path(), "clean 1000\n");
    let home = open(folder.path());
    assert_eq!((stand(&home.lease(TASK, NOW), "a"), home.rebuilt_stores()), ((Some(7), 2), 0));
    drop(home);
    mark_as(folder.path(), "open another-boot 1000\n");
    let home = open(folder.path());
    let lease = home.lease(TASK, NOW);
    assert_eq!((stand(&lease, "a"), stand(&lease, "b")), ((None, 0), (None, 0)));
    assert_eq!(home.rebuilt_stores(), 2, "each store of the task counts");
    assert_eq!((stand(&home.lease(TASK, NOW), "a"), home.rebuilt_stores()), ((None, 0), 2), "once");
}

#[test]
fn a_task_assembled_anew_finds_its_committed_rows() {
    for home in [StateHome::in_memory("p"), open(Scratch::new().path())] {
        let lease = home.lease(TASK, NOW);
        for spec in [in_memory(), on_disk()] {
            let store = if spec.layout == Some(Layout::InMemory) { "memory" } else { "disk" };
            let mut rows = lease.backend(store, &spec).expect("opens");
            write(&mut *rows, "one", 3);
            drop(rows);
            let mut again = lease.backend(store, &spec).expect("opens");
            assert_eq!((again.offset(), again.get(b"one").expect("reads")), (Some(3), Some(b"x".to_vec())));
        }
        lease.give_up(NOW);
        let rows = home.lease(TASK, NOW).backend("memory", &in_memory()).expect("opens");
        assert_eq!(rows.offset(), None, "memory is dropped when the task is given up");
    }
}

#[test]
fn a_former_owner_in_the_same_process_is_put_out() {
    let folder = Scratch::new();
    let (home, former) = filled(folder.path());
    let mut old = former.backend("a", &on_disk()).expect("opens");
    let lease = home.lease(TASK, NOW);
    let mut rows = lease.backend("a", &on_disk()).expect("opens");
    write(&mut *rows, "three", 9);
    let refused = old.apply(&Batch { offset: Some(8), ..Batch::default() }).expect_err("not the owner any more");
    assert!(refused.to_string().contains("has another owner"), "{refused}");
    assert!(old.get(b"one").is_err());
    assert_eq!(former.backend("a", &on_disk()).err().map(|error| error.kind()), Some(ErrorKind::Fenced));
    former.give_up(NOW);
    assert_eq!(stand(&lease, "a"), (Some(9), 3), "what the former owner gives up is not his any more");
}

/// One thread of an instance synced and closed its tasks, one after the other, and others waited for all of them.
#[test]
fn a_task_whose_disk_is_slow_keeps_up_no_other() {
    let home = StateHome::in_memory("p");
    let (slow, other) = (home.lease(TASK, NOW), TaskId { subtopology: 0, partition: 4 });
    let (begins, begun) = std::sync::mpsc::channel();
    let (goes, on) = std::sync::mpsc::channel::<()>();
    let (home, slow) = (&home, &slow);
    std::thread::scope(|scope| {
        let waits = scope.spawn(move || {
            home.on_task(slow, |_, _| {
                begins.send(()).expect("somebody waits");
                on.recv_timeout(Duration::from_secs(60)).is_ok()
            })
        });
        begun.recv().expect("it begins");
        let lease = home.lease(other, NOW);
        write(&mut *lease.backend("a", &in_memory()).expect("opens"), "one", 3);
        lease.give_up(NOW);
        goes.send(()).expect("it waits");
        assert_eq!(waits.join().expect("no panic"), Some(true), "the other one was through before");
    });
}

/// It was forgotten with the former one, and looked as if nobody had it.
#[test]
fn an_owner_who_comes_while_the_former_one_gives_up_stays() {
    let folder = Scratch::new();
    let (home, former) = filled(folder.path());
    let lease = home.lease(TASK, NOW);
    former.give_up(NOW);
    assert!(lock(&home.tasks).contains_key(&TASK));
    let mut entry = lock(&home.tasks);
    entry.get_mut(&TASK).expect("there").latest += 1; // one more comes between the last two steps of this one
    drop(entry);
    lease.give_up(NOW);
    assert!(lock(&home.tasks).contains_key(&TASK));
}

#[test]
fn a_closed_store_says_so() {
    let folder = Scratch::new();
    let (home, lease) = filled(folder.path());
    let mut rows = lease.backend("a", &on_disk()).expect("opens");
    let mut table = Table::new(lease.backend("a", &on_disk()).expect("opens"), Arc::new(CacheBudget::new(0)));
    lease.settle(NOW);
    assert!(rows.get(b"one").expect("still open").is_some());
    assert_eq!(["zzz", "zzzz"].map(|key| table.get(key.as_bytes()).expect("still open").map(<[u8]>::to_vec)), [None, None]);
    home.close();
    assert!(rows.get(b"one").expect_err("closed").to_string().contains("is closed"));
    assert!(table.get(b"zzz").is_err(), "that it is not there was known, and is not any more");
    drop(open(folder.path()));
}

#[test]
fn one_owner_at_a_time_and_it_is_named() {
    let folder = Scratch::new();
    let home = open(folder.path());
    let error = open_as(folder.path(), "store a\n").err().expect("in use").to_string();
    assert!(error.contains("is in use by another instance in this process"), "{error}");
    fs::write(folder.path().join("app/lock"), "4711").expect("can be written");
    let error = open_as(folder.path(), "store a\n").err().expect("in use").to_string();
    assert!(error.contains("is in use by process 4711: stop it"), "{error}");
    drop(home);
    assert_eq!(fs::read_to_string(folder.path().join("app/lock")).expect("reads"), "4711", "what a killed process leaves behind");
    drop(open(folder.path()));
}

#[test]
fn state_of_another_topology_or_version_is_refused_and_kept() {
    let folder = Scratch::new();
    drop(filled(folder.path()));
    let error = open_as(folder.path(), "store z\n").err().expect("another shape").to_string();
    assert!(error.contains("it has      store a\n  needed is   store z"), "{error}");
    drop(open(folder.path()));
    fs::write(folder.path().join("app/format"), "highwater-state 9\n").expect("can be written");
    let error = open_as(folder.path(), "store a\n").err().expect("another version").to_string();
    assert!(error.contains("format `highwater-state 9`"), "{error}");
    fs::write(folder.path().join("app/format"), "highwater-state 1\n").expect("can be written");
    assert_eq!(stand(&open(folder.path()).lease(TASK, NOW), "a"), (Some(7), 2));
}

#[test]
fn the_process_id_stays() {
    let folder = Scratch::new();
    assert_eq!(open(folder.path()).process_id(), "fresh");
    fs::write(folder.path().join("app/process"), "kept\n").expect("can be written");
    assert_eq!(open(folder.path()).process_id(), "kept");
    assert_eq!(StateHome::in_memory("seeded").process_id(), "seeded");
    assert_ne!(drawn_id(), drawn_id());
}

#[test]
fn state_of_tasks_that_live_elsewhere_goes_in_time() {
    let folder = Scratch::new();
    let other = TaskId { subtopology: 0, partition: 4 };
    let (home, lease) = filled(folder.path());
    let elsewhere = home.lease(other, NOW);
    write(&mut *elsewhere.backend("a", &on_disk()).expect("opens"), "x", 1);
    elsewhere.give_up(NOW + Duration::from_secs(60));
    let there = |task: TaskId| folder.path().join("app").join(task.to_string()).exists();
    home.tend(NOW + Duration::from_secs(659));
    assert!(there(other), "not before the delay is over");
    home.tend(NOW + Duration::from_secs(719));
    assert!(!there(other));
    assert!(there(TASK), "an open task stays");
    assert_eq!(stand(&lease, "a"), (Some(7), 2));
    drop((home, lease, elsewhere));
    let home = open(folder.path());
    home.tend(NOW + Duration::from_secs(599));
    assert!(there(TASK), "what was there before the start may be asked for yet");
    let kept = ENGINE.get().kept();
    let rows = folder.path().join("app/0_3").join(kept.folder);
    let lock = fs::File::open(rows.join(kept.lock)).expect("the database has a lock");
    lock.lock().expect("nobody holds it");
    home.tend(NOW + Duration::from_secs(7000));
    assert!(there(TASK), "never one that is locked");
    lock.unlock().expect("it is ours"); // dropped alone, it may be held for a moment by a child that is being started
    home.tend(NOW + Duration::from_secs(14000));
    assert!(!there(TASK));
}

/// The same with fjall, in a build that has both.
#[cfg(feature = "rocksdb")]
#[test]
fn all_of_it_with_fjall() {
    ENGINE.set(Engine::Fjall);
    let tests: &[fn()] = &[
        rows_are_there_after_a_clean_close_and_after_a_death,
        rows_of_another_boot_are_trusted_only_after_a_clean_close,
        a_task_assembled_anew_finds_its_committed_rows,
        a_former_owner_in_the_same_process_is_put_out,
        a_closed_store_says_so,
        one_owner_at_a_time_and_it_is_named,
        state_of_another_topology_or_version_is_refused_and_kept,
        the_process_id_stays,
        state_of_tasks_that_live_elsewhere_goes_in_time,
    ];
    tests.iter().for_each(|test| test());
}

/// A folder that was written with the other library is restored from the changelogs, and counted.
#[cfg(feature = "rocksdb")]
#[test]
fn rows_of_another_build_are_rebuilt() {
    let folder = Scratch::new();
    for engine in [Engine::Fjall, Engine::RocksDb, Engine::Fjall] {
        ENGINE.set(engine);
        let home = open(folder.path());
        let lease = home.lease(TASK, NOW);
        let other_was_there = crate::state::backend::KEPT
            .iter()
            .any(|kept| kept.folder != engine.kept().folder && folder.path().join("app/0_3").join(kept.folder).exists());
        assert_eq!((stand(&lease, "a"), home.rebuilt_stores()), ((None, 0), u64::from(other_was_there)));
        write(&mut *lease.backend("a", &on_disk()).expect("opens"), "one", 3);
        lease.give_up(NOW);
    }
}
