//! Commit, abort, restore; what a changelog shows. Records are [step or order, time, key, value] of Java's answers, by hand.

use super::rig::{Log, Logged, Rig, Setup, set_record};
use crate::record::Timestamp;
use crate::state::{Dedup, KeyValueStore, Layout, SessionStore, StoreKind, StoreSpec, WindowStore};
use crate::window::SessionWindow;

type Words = KeyValueStore<String, String>;

fn key_value(change: impl FnOnce(&mut StoreSpec)) -> Setup {
    let mut spec = StoreSpec::new(StoreKind::KeyValue);
    change(&mut spec);
    Setup::of(spec)
}
fn window(change: impl FnOnce(&mut StoreSpec)) -> Setup {
    let mut spec = StoreSpec::new(StoreKind::Window { size_ms: 10, duplicates: false });
    change(&mut spec);
    Setup::of(spec)
}

fn put(rig: &mut Rig<Words>, key: &str, value: &str, at: i64) {
    set_record(&rig.now, at);
    rig.store.put(&key.to_owned(), &value.to_owned(), Timestamp::from_millis(at)).expect("memory takes it");
}
fn delete(rig: &mut Rig<Words>, key: &str, at: i64) {
    set_record(&rig.now, at);
    rig.store.delete(&key.to_owned()).expect("memory takes it");
}
fn get(rig: &Rig<Words>, key: &str) -> Option<String> {
    rig.store.get(&key.to_owned()).expect("reads")
}
/// `a=1@5`, or `a@5` for a tombstone.
fn shown(log: &Log) -> Vec<String> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let one = |l: &Logged| {
        let value = l.value.as_deref().map(|value| format!("={}", text(value))).unwrap_or_default();
        format!("{}{value}@{}", text(&l.key), l.timestamp.expect("a time"))
    };
    log.0.iter().map(one).collect()
}

#[test]
fn a_commit_logs_the_last_value_of_each_key_in_the_order_of_latest_writes() {
    let mut rig = Rig::<Words>::open(&key_value(|_| ()));
    put(&mut rig, "a", "1", 5);
    put(&mut rig, "b", "1", 6);
    put(&mut rig, "a", "2", 4);
    delete(&mut rig, "never", 9);
    rig.commit();
    assert_eq!(shown(&rig.log), ["b=1@6", "a=2@4", "never@9"]);
    rig.commit();
    assert_eq!(rig.log.0.len(), 3, "nothing twice");
    put(&mut rig, "b", "3", 7);
    rig.commit();
    assert_eq!(shown(&rig.log)[3..], ["b=3@7"]);
}

#[test]
fn without_deduplication_every_write_is_logged() {
    let mut rig = Rig::<Words>::open(&key_value(|spec| spec.dedup = Some(Dedup::Off)));
    put(&mut rig, "a", "1", 5);
    put(&mut rig, "b", "1", 6);
    put(&mut rig, "a", "2", 4);
    rig.commit();
    assert_eq!(shown(&rig.log), ["a=1@5", "b=1@6", "a=2@4"]);
}

#[test]
fn a_drain_before_the_commit_fails_over_to_the_next_one() {
    let mut rig = Rig::<Words>::open(&key_value(|_| ()));
    put(&mut rig, "a", "1", 5);
    rig.control.drain_changelog(&mut rig.log).expect("drains");
    put(&mut rig, "b", "1", 6);
    rig.control.drain_changelog(&mut rig.log).expect("drains");
    assert_eq!(shown(&rig.log), ["a=1@5", "b=1@6"], "rows not yet applied are not logged again");
    rig.control.apply(Some(2)).expect("applies");
    rig.control.abort();
    assert_eq!((get(&rig, "a"), get(&rig, "b")), (Some("1".to_owned()), Some("1".to_owned())));
}

#[test]
fn an_unlogged_store_logs_nothing_and_keeps_everything() {
    let mut rig = Rig::<Words>::open(&key_value(|spec| spec.logging = false));
    put(&mut rig, "a", "1", 5);
    rig.commit();
    assert!(rig.log.0.is_empty());
    assert_eq!(get(&rig, "a").as_deref(), Some("1"));
}

#[test]
fn an_abort_forgets_what_was_not_committed() {
    for caching in [false, true] {
        let mut rig = Rig::<Words>::open(&key_value(|spec| spec.caching = Some(caching)));
        put(&mut rig, "a", "1", 5);
        rig.commit();
        put(&mut rig, "a", "2", 6);
        put(&mut rig, "b", "1", 6);
        assert!(rig.control.uncommitted_bytes() > 0);
        assert_eq!(rig.store.all().expect("reads").count(), 2);
        rig.control.abort();
        assert_eq!(rig.control.uncommitted_bytes(), 0);
        assert_eq!((get(&rig, "a").as_deref(), get(&rig, "b")), (Some("1"), None));
        assert_eq!(rig.store.all().expect("reads").count(), 1);
        rig.commit();
        assert_eq!(shown(&rig.log), ["a=1@5"]);
    }
}

#[test]
fn a_store_comes_back_from_its_changelog_with_its_times() {
    let setup = key_value(|_| ());
    let mut rig = Rig::<Words>::open(&setup);
    put(&mut rig, "a", "1", 5);
    put(&mut rig, "b", "1", 6);
    rig.commit();
    delete(&mut rig, "b", 7);
    put(&mut rig, "c", "3", 8);
    rig.commit();
    let back = rig.restored(&setup);
    let rows = |rig: &Rig<Words>| rig.store.all().expect("reads").stamped().map(|row| row.expect("decodes")).collect::<Vec<_>>();
    assert_eq!(rows(&back), rows(&rig));
    assert_eq!(rows(&back).len(), 2);
    assert_eq!(rows(&back)[1].1.timestamp, Timestamp::from_millis(8));
}

#[test]
fn a_plain_store_shows_no_time_and_logs_the_record_s() {
    let mut rig = Rig::<Words>::open(&key_value(|spec| spec.stamped = false));
    set_record(&rig.now, 9);
    rig.store.put(&"a".to_owned(), &"1".to_owned(), Timestamp::from_millis(5)).expect("memory takes it");
    rig.commit();
    assert_eq!(shown(&rig.log), ["a=1@9"]);
    let found = rig.store.get_stamped(&"a".to_owned()).expect("reads").expect("there");
    assert_eq!(found.timestamp, Timestamp::UNKNOWN);
}

#[test]
fn the_least_recently_used_row_goes_and_its_deletion_is_logged_first() {
    let mut rig = Rig::<Words>::open(&key_value(|spec| (spec.layout, spec.stamped) = (Some(Layout::Lru(2)), false)));
    put(&mut rig, "a", "1", 0);
    put(&mut rig, "b", "2", 5);
    rig.commit();
    assert_eq!(get(&rig, "a").as_deref(), Some("1"));
    put(&mut rig, "c", "3", 7);
    rig.commit();
    assert_eq!(shown(&rig.log), ["a=1@0", "b=2@5", "b@7", "c=3@7"]);
    assert_eq!((get(&rig, "a").as_deref(), get(&rig, "b")), (Some("1"), None));
}

#[test]
fn scans_go_both_ways_and_bear_writes_between_rows() {
    let mut rig = Rig::<Words>::open(&key_value(|_| ()));
    for n in 0..200 {
        put(&mut rig, &format!("{n:03}"), "x", n);
        if n == 100 {
            rig.commit();
        }
    }
    let keys =
        |rows: Vec<Result<(String, String), crate::StoreError>>| rows.into_iter().map(|row| row.expect("decodes").0).collect::<Vec<_>>();
    let forward = keys(rig.store.all().expect("reads").collect());
    let mut backward = keys(rig.store.all().expect("reads").rev().collect());
    backward.reverse();
    assert_eq!((forward.len(), &forward), (200, &backward));
    let mut both = rig.store.all().expect("reads");
    let (mut seen, mut front) = (0, true);
    while let Some(row) = if front { both.next() } else { both.next_back() } {
        let (key, _) = row.expect("decodes");
        rig.store.delete(&key).expect("memory takes it");
        (seen, front) = (seen + 1, !front);
    }
    assert_eq!((seen, rig.store.all().expect("reads").count()), (200, 0));
}

#[test]
fn a_window_that_comes_too_late_is_refused_counted_and_logged() {
    let mut rig = Rig::<WindowStore<String, String>>::open(&window(|spec| spec.retention_ms = Some(10)));
    let at = Timestamp::from_millis;
    let put = |rig: &mut Rig<WindowStore<String, String>>, start: i64, time: i64| {
        set_record(&rig.now, time);
        rig.store.put(&"a".to_owned(), at(start), &"v".to_owned(), at(time)).expect("memory takes it");
    };
    put(&mut rig, 130_000, 43);
    put(&mut rig, 5, 47); // two segments behind
    put(&mut rig, 120_000, 48); // same segment, but not shown
    rig.commit();
    assert_eq!(rig.control.take_expired_writes(), 1);
    let times: Vec<_> = rig.log.0.iter().map(|l| l.timestamp).collect();
    assert_eq!(times, [Some(43), Some(47), Some(48)]);
    assert_eq!(rig.log.0[1].key, b"a\0\0\0\0\0\0\0\x05\0\0\0\0");
    assert_eq!(rig.store.all().expect("reads").len(), 1);
}

#[test]
fn a_refused_write_and_an_earlier_accepted_one_of_the_same_window_log_once() {
    let mut rig = Rig::<WindowStore<String, String>>::open(&window(|spec| spec.retention_ms = Some(10)));
    let at = Timestamp::from_millis;
    for (start, value) in [(5, "first"), (1_000_000, "far"), (5, "late")] {
        rig.store.put(&"a".to_owned(), at(start), &value.to_owned(), at(start)).expect("memory takes it");
    }
    rig.commit();
    let values: Vec<_> = rig.log.0.iter().map(|l| l.value.as_deref().expect("a value")).collect();
    assert_eq!(values, [b"far".as_slice(), b"late"]);
}

#[test]
fn windows_and_sessions_come_back_from_their_changelogs() {
    let at = Timestamp::from_millis;
    for (time_index, layout) in [(false, Layout::Persistent), (true, Layout::Persistent), (true, Layout::InMemory)] {
        let mut setup = window(|spec| (spec.layout, spec.retention_ms) = (Some(layout), Some(100_000)));
        setup.time_index = time_index;
        let mut rig = Rig::<WindowStore<String, String>>::open(&setup);
        for start in [0, 70_000, 130_000, 5] {
            rig.store.put(&"a".to_owned(), at(start), &start.to_string(), at(start + 1)).expect("memory takes it");
        }
        rig.store.delete(&"a".to_owned(), at(70_000)).expect("memory takes it");
        rig.commit();
        let back = rig.restored(&setup);
        assert_eq!(back.store.starting_in(..).expect("reads"), rig.store.starting_in(..).expect("reads"));
        assert_eq!(back.store.all().expect("reads").len(), 1, "130000 is there, 70000 was deleted, the others are past retention");

        let mut spec = StoreSpec::new(StoreKind::Session);
        (spec.layout, spec.retention_ms) = (Some(layout), Some(100_000));
        let mut setup = Setup::of(spec);
        setup.time_index = time_index;
        let mut rig = Rig::<SessionStore<String, String>>::open(&setup);
        for (start, end) in [(0, 5), (60_000, 61_000), (130_000, 130_500)] {
            rig.store.put(&"a".to_owned(), SessionWindow { start: at(start), end: at(end) }, &end.to_string()).expect("memory takes it");
        }
        rig.commit();
        let back = rig.restored(&setup);
        assert_eq!(back.store.all().expect("reads"), rig.store.all().expect("reads"));
        assert_eq!(back.store.all().expect("reads").len(), 2);
    }
}

#[test]
fn expired_segments_leave_the_backend_at_commit() {
    for layout in [Layout::Persistent, Layout::InMemory] {
        let mut rig = Rig::<WindowStore<String, String>>::open(&window(|spec| (spec.layout, spec.retention_ms) = (Some(layout), Some(10))));
        let at = Timestamp::from_millis;
        for start in 0..50 {
            rig.store.put(&"a".to_owned(), at(start * 10_000), &"v".to_owned(), at(0)).expect("memory takes it");
            rig.commit();
        }
        assert!(rig.control.approximate_rows() <= 7, "{layout:?} holds {}", rig.control.approximate_rows());
    }
}

/// W10 and W11, at the edges: 100 with a retention of 10.
#[test]
fn memory_refuses_what_the_persistent_layout_only_hides() {
    for (layout, admitted) in [(Layout::InMemory, [false, true]), (Layout::Persistent, [true, true])] {
        let mut rig = Rig::<WindowStore<String, String>>::open(&window(|spec| (spec.layout, spec.retention_ms) = (Some(layout), Some(10))));
        let at = Timestamp::from_millis;
        rig.store.put(&"a".to_owned(), at(100), &"v".to_owned(), at(0)).expect("memory takes it");
        for (start, admitted) in [90, 91].into_iter().zip(admitted) {
            rig.store.put(&"a".to_owned(), at(start), &"v".to_owned(), at(0)).expect("memory takes it");
            assert_eq!(rig.control.take_expired_writes(), u64::from(!admitted), "{layout:?} {start}");
            assert_eq!(rig.store.get(&"a".to_owned(), at(start)).expect("reads").is_some(), start == 91, "{layout:?} {start}");
        }
        let starts: Vec<_> = rig.store.fetch(&"a".to_owned(), ..).expect("reads").iter().map(|(start, _)| start.as_millis()).collect();
        assert_eq!(starts, [91, 100]);
    }
}

#[test]
fn an_abort_takes_back_the_time_that_was_seen() {
    let mut rig = Rig::<WindowStore<String, String>>::open(&window(|spec| spec.retention_ms = Some(10)));
    let at = Timestamp::from_millis;
    rig.store.put(&"a".to_owned(), at(5), &"v".to_owned(), at(0)).expect("memory takes it");
    rig.commit();
    rig.store.put(&"a".to_owned(), at(1_000_000), &"v".to_owned(), at(0)).expect("memory takes it");
    assert!(rig.store.get(&"a".to_owned(), at(5)).expect("reads").is_none());
    rig.control.abort();
    assert!(rig.store.get(&"a".to_owned(), at(5)).expect("reads").is_some());
}

#[test]
fn sessions_in_memory_come_by_end_then_key_then_latest_start() {
    let mut spec = StoreSpec::new(StoreKind::Session);
    spec.layout = Some(Layout::InMemory);
    let mut rig = Rig::<SessionStore<String, String>>::open(&Setup::of(spec));
    let at = Timestamp::from_millis;
    for (key, start, end) in [("ab", 1, 9), ("a", 1, 9), ("a", 5, 9), ("b", 0, 8)] {
        let session = SessionWindow { start: at(start), end: at(end) };
        rig.store.put(&key.to_owned(), session, &"v".to_owned()).expect("memory takes it");
    }
    let seen = |rows: Vec<(crate::window::Windowed<String, SessionWindow>, String)>| {
        rows.into_iter().map(|(w, _)| (w.key, w.window.start.as_millis())).collect::<Vec<_>>()
    };
    let order = [("b", 0), ("a", 5), ("a", 1), ("ab", 1)].map(|(key, start)| (key.to_owned(), start));
    assert_eq!(seen(rig.store.all().expect("reads")), order);
}

#[test]
fn a_plain_backend_loses_times_but_its_changelog_does_not() {
    let setup = key_value(|spec| spec.plain_backend = true);
    let mut rig = Rig::<Words>::open(&setup);
    put(&mut rig, "a", "1", 5);
    rig.commit();
    assert_eq!(shown(&rig.log), ["a=1@5"]);
    for rig in [&rig, &rig.restored(&setup)] {
        let found = rig.store.get_stamped(&"a".to_owned()).expect("reads").expect("there");
        assert_eq!((found.value.as_str(), found.timestamp), ("1", Timestamp::UNKNOWN));
    }
}

#[test]
fn a_restored_row_replaces_one_that_was_read_before() {
    let setup = key_value(|_| ());
    let mut rig = Rig::<Words>::open(&setup);
    put(&mut rig, "a", "1", 5);
    rig.commit();
    let back = Rig::<Words>::open(&setup);
    assert_eq!(get(&back, "a"), None);
    let logged = &rig.log.0[0];
    let record = crate::state::ChangelogRecord {
        key: &logged.key,
        value: logged.value.as_deref(),
        timestamp: Timestamp::from_millis(5),
        headers: &logged.headers,
    };
    back.control.restore(&[record], 1).expect("restores");
    assert_eq!(get(&back, "a").as_deref(), Some("1"));
}

#[test]
fn an_evicted_row_of_the_read_cache_is_read_again() {
    let budget = std::sync::Arc::new(crate::state::CacheBudget::new(0).with_reads(1000));
    let mut rows = crate::state::table::Table::new(Box::<crate::state::MemoryBackend>::default(), budget.clone());
    for n in 0..100_u32 {
        rows.put(&n.to_be_bytes(), Some(b"value"), 0);
    }
    rows.apply(None, None, None).expect("applies");
    for n in 0..100_u32 {
        assert_eq!(rows.get(&n.to_be_bytes()).expect("reads"), Some(b"value".as_slice()));
    }
    rows.put(b"one more", Some(b""), 0);
    rows.apply(None, None, None).expect("applies");
    assert!(rows.clean_bytes() <= 1000 && !budget.reads_exceeded(), "{}", rows.clean_bytes());
    assert_eq!(rows.get(&7_u32.to_be_bytes()).expect("reads"), Some(b"value".as_slice()));
}

/// All but those that count rows: a backend on disk counts obsolete ones until their file goes.
#[test]
fn all_of_it_on_disk() {
    super::rig::on_disk(&[
        a_commit_logs_the_last_value_of_each_key_in_the_order_of_latest_writes,
        without_deduplication_every_write_is_logged,
        a_drain_before_the_commit_fails_over_to_the_next_one,
        an_unlogged_store_logs_nothing_and_keeps_everything,
        an_abort_forgets_what_was_not_committed,
        a_store_comes_back_from_its_changelog_with_its_times,
        a_plain_store_shows_no_time_and_logs_the_record_s,
        the_least_recently_used_row_goes_and_its_deletion_is_logged_first,
        scans_go_both_ways_and_bear_writes_between_rows,
        a_window_that_comes_too_late_is_refused_counted_and_logged,
        a_refused_write_and_an_earlier_accepted_one_of_the_same_window_log_once,
        windows_and_sessions_come_back_from_their_changelogs,
        memory_refuses_what_the_persistent_layout_only_hides,
        an_abort_takes_back_the_time_that_was_seen,
        sessions_in_memory_come_by_end_then_key_then_latest_start,
        a_plain_backend_loses_times_but_its_changelog_does_not,
        a_restored_row_replaces_one_that_was_read_before,
        an_evicted_row_of_the_read_cache_is_read_again,
    ]);
}
