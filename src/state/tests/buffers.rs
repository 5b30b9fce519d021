//! The suppression buffer: order, accounting, and changelog bytes of Java's answers.

use super::rig::{Log, Setup, context, core};
use crate::state::control::Core;
use crate::state::{BufferCore, StoreKind, StoreSpec, lock};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
fn setup() -> Setup {
    Setup::of(StoreSpec::new(StoreKind::Buffer))
}
fn put(core: &mut BufferCore, time: i64, key: &str, new: Option<&str>, old: Option<&str>, offset: i64) {
    let mut context = context(time);
    context.offset = offset;
    core.put(time, key.as_bytes(), new.map(str::as_bytes), old.map(str::as_bytes), &context.lend());
}

/// A table of which `suppress` holds two keys, steps 0 to 4 of suppress-0078.
#[test]
fn the_changelog_is_java_s() {
    let shared = core(&setup(), BufferCore::open);
    let mut core = lock(&shared);
    put(&mut core, 0, "a", Some("1"), None, 0);
    put(&mut core, 3, "b", Some("2"), None, 1);
    let mut log = Log::default();
    core.drain_changelog(&mut log).expect("drains");
    put(&mut core, 5, "a", Some("3"), Some("1"), 2);
    core.drain_changelog(&mut log).expect("drains");
    put(&mut core, 5, "c", Some("4"), None, 3);
    assert_eq!(core.pop().expect("full").key, b"a");
    core.drain_changelog(&mut log).expect("drains");
    put(&mut core, 12, "a", Some("5"), Some("3"), 4);
    assert_eq!(core.pop().expect("full").key, b"b");
    core.drain_changelog(&mut log).expect("drains");
    let records: Vec<_> = log.0.iter().map(|l| (hex(&l.key), l.value.as_deref().map(hex).unwrap_or_default())).collect();
    let expected = [
        ("61", "0000000000000000000000000000000000000002696e0000000000000000ffffffffffffffff00000001310000000000000000"),
        ("62", "0000000000000003000000000000000100000002696e0000000000000000ffffffffffffffff00000001320000000000000003"),
        ("61", "0000000000000005000000000000000200000002696e0000000000000000ffffffff000000013100000001330000000000000000"),
        ("61", ""),
        ("63", "0000000000000005000000000000000300000002696e0000000000000000ffffffffffffffff00000001340000000000000005"),
        ("61", "000000000000000c000000000000000400000002696e00000000000000000000000133fffffffe0000000135000000000000000c"),
        ("62", ""),
    ];
    assert_eq!(records, expected.map(|(key, value)| (key.to_owned(), value.to_owned())));
    assert!(log.0.iter().all(|l| l.timestamp.is_none()));
    assert_eq!(log.0[0].headers.last("v"), Some([3].as_slice()));
    assert!(log.0[3].headers.is_empty());
}

#[test]
fn a_newer_update_keeps_the_place_and_the_prior_value() {
    let shared = core(&setup(), BufferCore::open);
    let mut core = lock(&shared);
    put(&mut core, 5, "b", Some("1"), Some("0"), 0);
    put(&mut core, 5, "a", Some("1"), None, 1);
    put(&mut core, 9, "b", Some("2"), Some("1"), 2);
    assert_eq!((core.num_records(), core.min_time()), (2, Some(5)));
    assert_eq!(core.prior_value_for_buffered(b"b"), Some(Some(b"0".as_slice())));
    assert_eq!(core.prior_value_for_buffered(b"a"), Some(None));
    assert_eq!(core.prior_value_for_buffered(b"c"), None);
    let out: Vec<_> = std::iter::from_fn(|| core.pop()).collect();
    let keys: Vec<_> = out.iter().map(|evicted| evicted.key.clone()).collect();
    assert_eq!(keys, [b"a".to_vec(), b"b".to_vec()]);
    assert_eq!((out[1].new.as_deref(), out[1].old.as_deref()), (Some(b"2".as_slice()), Some(b"1".as_slice())));
    assert_eq!((core.num_records(), core.buffer_size()), (0, 0));
}

#[test]
fn sizes_are_java_s() {
    let shared = core(&setup(), BufferCore::open);
    let mut core = lock(&shared);
    put(&mut core, 0, "a", Some("1"), None, 0);
    assert_eq!(core.buffer_size(), 8 + 1 + 1 + (8 + 8 + 4 + 2));
    put(&mut core, 0, "a", Some("3"), Some("1"), 1);
    assert_eq!(core.buffer_size(), 8 + 1 + 2 + 22);
    put(&mut core, 0, "b", Some("3"), Some("1"), 2);
    assert_eq!(core.buffer_size(), (8 + 1 + 2 + 22) * 2, "a prior value equal to the old one counts once");
}

#[test]
fn an_abort_goes_back_and_a_changelog_brings_back() {
    let shared = core(&setup(), BufferCore::open);
    let mut core = lock(&shared);
    put(&mut core, 5, "a", Some("1"), Some("0"), 0);
    put(&mut core, 6, "b", None, Some("0"), 1);
    let mut log = Log::default();
    core.drain_changelog(&mut log).expect("drains");
    core.apply(Some(2)).expect("applies");
    let (size, held) = (core.buffer_size(), core.prior_value_for_buffered(b"a").map(|prior| prior.map(<[u8]>::to_vec)));
    core.pop();
    put(&mut core, 1, "c", Some("1"), None, 3);
    core.abort();
    assert_eq!((core.num_records(), core.buffer_size(), core.min_time()), (2, size, Some(5)));
    core.drain_changelog(&mut log).expect("drains");
    assert_eq!(log.0.len(), 2, "what was aborted is not logged");

    let other = super::rig::core(&setup(), BufferCore::open);
    let mut other = lock(&other);
    let records: Vec<_> = log
        .0
        .iter()
        .map(|l| crate::state::ChangelogRecord {
            key: &l.key,
            value: l.value.as_deref(),
            timestamp: crate::record::Timestamp::UNKNOWN,
            headers: &l.headers,
        })
        .collect();
    other.restore(&records, 9).expect("restores");
    assert_eq!((other.num_records(), other.buffer_size(), other.offset()), (2, size, Some(9)));
    assert_eq!(other.prior_value_for_buffered(b"a").map(|prior| prior.map(<[u8]>::to_vec)), held);
    let back = other.pop().expect("held");
    assert_eq!((back.key.as_slice(), back.context.offset, back.context.topic.as_deref()), (b"a".as_slice(), 0, Some("in")));
}

#[test]
fn a_changelog_of_another_version_is_refused_and_not_read_as_ours() {
    let shared = core(&setup(), BufferCore::open);
    let mut headers = crate::record::Headers::default();
    headers.add("v", [9]);
    let record =
        crate::state::ChangelogRecord { key: b"a", value: Some(b"row"), timestamp: crate::record::Timestamp::UNKNOWN, headers: &headers };
    let error = lock(&shared).restore(&[record], 1).expect_err("version 9 is unknown").to_string();
    assert!(error.contains("version [9]") && error.contains("[3] is read"), "{error}");
    assert_eq!(lock(&shared).num_records(), 0);
}

#[test]
fn all_of_it_on_disk() {
    super::rig::on_disk(&[
        the_changelog_is_java_s,
        a_newer_update_keeps_the_place_and_the_prior_value,
        sizes_are_java_s,
        an_abort_goes_back_and_a_changelog_brings_back,
        a_changelog_of_another_version_is_refused_and_not_read_as_ours,
    ]);
}
