//! The record cache: what is emitted, when, and what a small one evicts (FORMAT §9.9).

use std::sync::{Arc, Mutex};

use super::rig::{Setup, context, core};
use crate::state::cache::{CacheBudget, RecordCache, RowTime};
use crate::state::control::Core;
use crate::state::key_schema::RowLayout;
use crate::state::{Direction, Flushed, KeyValueCore, Layout, SessionCore, StoreKind, StoreSpec, WindowCore, lock};

fn open(kind: StoreKind, cache_bytes: usize) -> Setup {
    let mut spec = StoreSpec::new(kind);
    (spec.caching, spec.stamped, spec.logging) = (Some(true), false, true);
    let mut setup = Setup::of(spec);
    setup.cache_bytes = cache_bytes;
    setup
}
fn key_value(cache_bytes: usize) -> Arc<Mutex<KeyValueCore>> {
    core(&open(StoreKind::KeyValue, cache_bytes), KeyValueCore::open)
}
fn write(core: &Mutex<KeyValueCore>, key: &str, value: Option<&str>, at: i64) -> Vec<Flushed> {
    lock(core).write(key.as_bytes(), value.map(str::as_bytes), &context(at).lend()).expect("memory takes it")
}
/// `a:old>new@time`
fn shown(flushed: &[Flushed]) -> Vec<String> {
    let text = |bytes: &Option<Vec<u8>>| bytes.as_deref().map_or(String::new(), |bytes| String::from_utf8_lossy(bytes).into_owned());
    let one = |f: &Flushed| format!("{}:{}>{}@{}", String::from_utf8_lossy(&f.key), text(&f.old), text(&f.new), f.context.timestamp);
    flushed.iter().map(one).collect()
}

#[test]
fn a_flush_gives_one_change_per_key_in_the_order_of_latest_writes() {
    let core = key_value(1 << 20);
    lock(&core).listen(true);
    assert!(write(&core, "a", Some("1"), 1).is_empty());
    write(&core, "b", Some("1"), 2);
    write(&core, "a", Some("2"), 3);
    write(&core, "never", None, 4);
    assert_eq!(shown(&lock(&core).flush().expect("flushes")), ["b:>1@2", "a:>2@3"], "a deletion of nothing is nothing");
    write(&core, "b", None, 5);
    write(&core, "a", Some("3"), 6);
    assert_eq!(shown(&lock(&core).flush().expect("flushes")), ["b:1>@5", "a:2>3@6"]);
    assert!(lock(&core).flush().expect("flushes").is_empty());
}

#[test]
fn old_values_come_only_where_asked_for() {
    let core = key_value(1 << 20);
    lock(&core).listen(false);
    write(&core, "a", Some("1"), 1);
    lock(&core).flush().expect("flushes");
    write(&core, "a", None, 2);
    assert_eq!(shown(&lock(&core).flush().expect("flushes")), ["a:>@2"]);
}

#[test]
fn without_a_listener_deletions_of_nothing_reach_the_changelog_too() {
    let core = key_value(1 << 20);
    write(&core, "never", None, 4);
    let mut log = super::rig::Log::default();
    lock(&core).drain_changelog(&mut log).expect("drains");
    assert_eq!(log.0.len(), 1);
}

#[test]
fn a_budget_of_nothing_is_no_cache() {
    let core = key_value(0);
    assert!(!lock(&core).caching());
}

#[test]
fn an_entry_costs_what_kafka_streams_says() {
    let budget = Arc::new(CacheBudget::new(1 << 20));
    let mut cache = RecordCache::new(budget.clone(), 12, None);
    cache.put(b"key", Some(b"value"), &context(1).lend());
    let entry = (3 + 12) + 24 + 1 + 5 + 8 + 8 + 4 + "in".len();
    assert_eq!(budget.used(), entry);
    cache.put(b"key", Some(b"longer value"), &context(2).lend());
    assert_eq!(budget.used(), entry + 7);
    cache.put_clean(b"read", b"v");
    assert_eq!(budget.used(), entry + 7 + (4 + 12) + 24 + 1 + 1 + 20);
    cache.put(b"read", None, &context(3).lend());
    assert_eq!(cache.take_dirty().len(), 2);
    assert_eq!(budget.used(), entry + 7, "a deletion that was written through is not kept");
    drop(cache);
    assert_eq!(budget.used(), 0, "a closed store gives back what it held");
}

#[test]
fn dirty_entries_are_found_by_time_until_they_are_flushed() {
    let of = |_: RowLayout, row: &[u8]| row.first_chunk::<8>().map(|time| i64::from_be_bytes(*time));
    let by_time = RowTime { layout: RowLayout::TimeFirst, of };
    let mut cache = RecordCache::new(Arc::new(CacheBudget::new(1 << 20)), 0, Some(by_time));
    for time in [5_i64, 7, 9] {
        cache.put(&time.to_be_bytes(), Some(b"v"), &context(1).lend());
    }
    let between = |cache: &RecordCache, from, to| cache.dirty_between(from, to).count();
    assert_eq!((between(&cache, 6, 9), between(&cache, 9, 6), between(&cache, 0, 4)), (2, 0, 0));
    cache.take_dirty();
    assert_eq!(between(&cache, 0, 9), 0);
}

#[test]
fn evicting_a_dirty_entry_flushes_all_the_eldest_first() {
    let entry = 1 + 25 + 1 + 22;
    let core = key_value(3 * entry);
    lock(&core).listen(true);
    write(&core, "a", Some("1"), 1);
    write(&core, "b", Some("1"), 2);
    write(&core, "c", Some("1"), 3);
    lock(&core).read(b"a", |_| Ok(())).expect("reads"); // now b is the eldest
    write(&core, "c", Some("2"), 4);
    assert_eq!(shown(&write(&core, "d", Some("1"), 5)), ["b:>1@2", "a:>1@1", "c:>2@4", "d:>1@5"]);
    // a, c, d are clean now: the eldest goes without a word
    assert!(write(&core, "e", Some("1"), 6).is_empty());
    assert_eq!(shown(&lock(&core).flush().expect("flushes")), ["e:>1@6"]);
}

#[test]
fn a_read_may_evict_and_its_changes_wait_for_the_next_write() {
    let entry = 1 + 25 + 1 + 22;
    let core = key_value(2 * entry);
    lock(&core).listen(false);
    write(&core, "a", Some("1"), 1);
    lock(&core).flush().expect("flushes");
    write(&core, "b", Some("1"), 2);
    write(&core, "c", Some("1"), 3); // pushes out a, which is clean
    lock(&core)
        .read(b"a", |value| {
            assert_eq!(value, Some(b"1".as_slice()));
            Ok(())
        })
        .expect("reads"); // pushes out b
    assert_eq!(shown(&write(&core, "c", Some("2"), 4)), ["b:>1@2", "c:>1@3"]);
}

#[test]
fn windows_and_sessions_flush_under_their_store_keys() {
    let window = core(&open(StoreKind::Window { size_ms: 10, duplicates: false }, 1 << 20), WindowCore::open);
    let mut window = lock(&window);
    window.listen(true);
    window.write(b"k", 7, Some(b"v"), &context(1).lend()).expect("memory takes it");
    let flushed = window.flush().expect("flushes");
    assert_eq!(crate::state::split_window_key(&flushed[0].key), Some((b"k".as_slice(), 7, 0)));
    let session = core(&open(StoreKind::Session, 1 << 20), SessionCore::open);
    let mut session = lock(&session);
    session.listen(true);
    session.write(b"k", 3, 9, Some(b"v"), &context(1).lend()).expect("memory takes it");
    session.write(b"k", 1, 2, None, &context(1).lend()).expect("memory takes it");
    let flushed = session.flush().expect("flushes");
    assert_eq!((flushed.len(), crate::state::split_session_key(&flushed[0].key)), (1, Some((b"k".as_slice(), 3, 9))));
}

#[test]
fn a_flushed_entry_is_still_read_from_the_cache() {
    let mut setup = open(StoreKind::Window { size_ms: 10, duplicates: false }, 1 << 20);
    setup.spec.retention_ms = Some(10);
    let window = core(&setup, WindowCore::open);
    let mut window = lock(&window);
    window.write(b"k", 0, Some(b"v"), &context(1).lend()).expect("memory takes it");
    window.write(b"k", 1000, Some(b"w"), &context(2).lend()).expect("memory takes it");
    window.flush().expect("flushes");
    let seen = window.read(b"k", 0, |row| Ok(row.map(<[u8]>::to_vec))).expect("reads");
    assert_eq!(seen.as_deref(), Some(b"v".as_slice()), "the table hides it, the cache does not, as in Kafka Streams");
}

/// A window store whose cache has room for three rows, with dirty ones of 10, 20 and 30.
fn three_windows() -> Arc<Mutex<WindowCore>> {
    let window = core(&open(StoreKind::Window { size_ms: 10, duplicates: false }, 220), WindowCore::open);
    lock(&window).listen(true);
    for start in [10, 20, 30] {
        assert!(put_window(&window, start).is_empty(), "there is room for three");
    }
    window
}
/// The starts of what a write of a window evicts.
fn put_window(window: &Mutex<WindowCore>, start: i64) -> Vec<i64> {
    let evicted = lock(window).write(b"k", start, Some(b"v"), &context(1).lend()).expect("memory takes it");
    evicted.iter().filter_map(|flushed| Some(crate::state::split_window_key(&flushed.key)?.1)).collect()
}

#[test]
fn a_reader_uses_cached_rows_one_by_one_as_it_reaches_them() {
    let window = three_windows();
    let mut cursor = lock(&window).cursor(b"k", 0, 100, Direction::Forward).expect("reads");
    assert_eq!(lock(&window).next_row(&mut cursor).expect("reads").map(|(start, _)| start), Some(10));
    assert_eq!(put_window(&window, 40), [20, 10, 30, 40], "10 was used, 30 not yet; all that is dirty goes with the first");
}

#[test]
fn a_row_that_leaves_the_cache_while_a_reader_is_on_its_way_is_read_below() {
    let window = three_windows();
    let mut cursor = lock(&window).cursor(b"k", 0, 100, Direction::Backward).expect("reads");
    for start in [40, 50, 60] {
        put_window(&window, start);
    }
    let rows = std::iter::from_fn(|| lock(&window).next_row(&mut cursor).expect("reads").map(|(start, _)| start));
    assert_eq!(rows.collect::<Vec<_>>(), [30, 20, 10]);
}

#[test]
fn a_range_read_uses_what_the_cache_holds_of_it() {
    let window = three_windows();
    assert_eq!(lock(&window).fetch(b"k", 10, 10, Direction::Forward).expect("reads").len(), 1);
    assert_eq!(put_window(&window, 40)[0], 20);
}

#[test]
fn a_small_cache_in_time_order_is_visited_from_its_beginning_and_backwards_a_segment_is() {
    let one_key = |layout| {
        let mut setup = open(StoreKind::Window { size_ms: 10, duplicates: false }, 220);
        setup.spec.layout = Some(layout);
        let window = core(&setup, WindowCore::open);
        lock(&window).listen(true);
        [10, 20, 30].iter().for_each(|start| drop(put_window(&window, *start)));
        window
    };
    let memory = one_key(Layout::InMemory);
    let k = Some(b"k".as_slice());
    lock(&memory).fetch_range((k, k), 20, 20, Direction::Forward).expect("reads");
    assert_eq!(put_window(&memory, 40)[0], 30, "10 came on the way");
    let memory = one_key(Layout::InMemory);
    lock(&memory).fetch(b"k", 20, 20, Direction::Forward).expect("reads");
    assert_eq!(put_window(&memory, 40)[0], 10, "one key alone is found at once");
    let disk = one_key(Layout::Persistent);
    lock(&disk).fetch(b"k", 20, 20, Direction::Backward).expect("reads");
    assert_eq!(put_window(&disk, 40)[0], 30);
}

#[test]
fn a_search_of_sessions_uses_those_of_its_key_alone() {
    let session = core(&open(StoreKind::Session, 260), SessionCore::open);
    let mut session = lock(&session);
    session.listen(true);
    for (key, end) in [(b"".as_slice(), 5), (b"b", 6), (b"", 7)] {
        assert!(session.write(key, 1, end, Some(b"v"), &context(1).lend()).expect("memory takes it").is_empty());
    }
    session.find(b"", 0, 100, Direction::Forward).expect("reads");
    let evicted = session.write(b"c", 1, 8, Some(b"v"), &context(1).lend()).expect("memory takes it");
    assert_eq!(crate::state::split_session_key(&evicted[0].key), Some((b"b".as_slice(), 1, 6)));
}
