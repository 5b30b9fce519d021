//! The contract of [`StoreBackend`] as tests, run over every backend by naming it at the end of this file.

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};

use proptest::prelude::*;

use crate::state::backend::{Batch, Direction, Engine, KeyRange, MemoryBackend, StoreBackend};
use crate::state::tests::scratch::OnDisk;

/// Makes an empty backend.
type Make<'a> = &'a dyn Fn() -> Box<dyn StoreBackend>;

type Rows = Vec<(Vec<u8>, Vec<u8>)>;

fn scan(backend: &mut dyn StoreBackend, range: KeyRange<'_>, direction: Direction, limit: usize) -> Rows {
    let mut rows = Vec::new();
    let visited = backend.scan(range, direction, &mut |key, value| {
        rows.push((key.to_vec(), value.to_vec()));
        if rows.len() < limit { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    visited.expect("a healthy backend scans");
    rows
}

fn all(backend: &mut dyn StoreBackend) -> Rows {
    scan(backend, (Bound::Unbounded, Bound::Unbounded), Direction::Forward, usize::MAX)
}

fn put(backend: &mut dyn StoreBackend, rows: &[(&[u8], Option<&[u8]>)]) {
    backend.apply(&Batch { rows, ..Batch::default() }).expect("a healthy backend applies");
}

/// An offset is there only after a batch that had one, and a batch without one leaves it.
fn keeps_its_offset(make: Make<'_>) {
    let mut backend = make();
    assert_eq!(backend.offset(), None);
    backend.apply(&Batch { offset: Some(7), ..Batch::default() }).expect("applies");
    put(&mut *backend, &[(b"a", Some(b"1"))]);
    assert_eq!(backend.offset(), Some(7));
    backend.apply(&Batch { offset: Some(3), ..Batch::default() }).expect("applies");
    assert_eq!(backend.offset(), Some(3), "the last word counts, not the largest");
}

/// Empty keys and values are rows; a deletion of nothing is nothing.
fn tells_empty_from_absent(make: Make<'_>) {
    let mut backend = make();
    put(&mut *backend, &[(b"", Some(b"")), (b"gone", None)]);
    assert_eq!(backend.get(b"").expect("reads"), Some(Vec::new()));
    assert_eq!(backend.get(b"gone").expect("reads"), None);
    assert_eq!(all(&mut *backend), [(Vec::new(), Vec::new())]);
}

/// Ranges whose start is behind their end are empty, not an error.
fn bears_ranges_inside_out(make: Make<'_>) {
    let mut backend = make();
    put(&mut *backend, &[(b"a", Some(b"1")), (b"b", Some(b"2"))]);
    let b: &[u8] = b"b";
    for range in [
        (Bound::Included(b), Bound::Excluded(b)),
        (Bound::Excluded(b), Bound::Excluded(b)),
        (Bound::Excluded(b), Bound::Included(b)),
        (Bound::Included(b), Bound::Included(b"a".as_slice())),
    ] {
        assert_eq!(scan(&mut *backend, range, Direction::Forward, 9), [], "{range:?}");
        assert_eq!(scan(&mut *backend, range, Direction::Backward, 9), [], "{range:?}");
    }
    assert_eq!(scan(&mut *backend, (Bound::Included(b), Bound::Included(b)), Direction::Forward, 9).len(), 1);
}

/// A note is there only after a batch that had one, and a batch without one leaves it.
fn keeps_its_note(make: Make<'_>) {
    let mut backend = make();
    assert_eq!(backend.note(), None);
    backend.apply(&Batch { note: Some(b""), ..Batch::default() }).expect("applies");
    assert_eq!(backend.note(), Some(Vec::new()), "an empty note is one");
    backend.apply(&Batch { note: Some(b"n"), ..Batch::default() }).expect("applies");
    put(&mut *backend, &[(b"a", Some(b"1"))]);
    assert_eq!((backend.note(), backend.offset()), (Some(b"n".to_vec()), None));
}

/// Offset, note and what was deleted are no rows.
fn knows_that_it_is_empty(make: Make<'_>) {
    let mut backend = make();
    assert_eq!(backend.approximate_rows(), 0);
    backend.apply(&Batch { offset: Some(7), note: Some(b"n"), ..Batch::default() }).expect("applies");
    assert_eq!(backend.approximate_rows(), 0, "what it stands for is no row");
    put(&mut *backend, &[(b"a", Some(b"1"))]);
    assert!(backend.approximate_rows() > 0);
    put(&mut *backend, &[(b"a", None)]);
    assert_eq!(backend.approximate_rows(), 0, "a deleted row is no row");
}

/// After a wipe it is as new.
fn forgets_everything(make: Make<'_>) {
    let mut backend = make();
    let rows: &[(&[u8], Option<&[u8]>)] = &[(b"2", Some(b"x"))];
    backend.apply(&Batch { rows, offset: Some(4), drop_before: Some(b"2"), note: Some(b"n") }).expect("applies");
    backend.wipe().expect("wipes");
    assert_eq!((backend.offset(), backend.note(), all(&mut *backend)), (None, None, Vec::new()));
    put(&mut *backend, &[(b"1", Some(b"y"))]);
    assert_eq!(backend.get(b"1").expect("reads"), Some(b"y".to_vec()), "the bound is forgotten too");
}

/// What lies below the bound goes, even what the same batch or a later one brings; a lower bound changes nothing.
fn drops_what_is_obsolete(make: Make<'_>) {
    let mut backend = make();
    put(&mut *backend, &[(b"1a", Some(b"x")), (b"2a", Some(b"y"))]);
    let rows: &[(&[u8], Option<&[u8]>)] = &[(b"1b", Some(b"late")), (b"2", Some(b"edge")), (b"3a", Some(b"z"))];
    backend.apply(&Batch { rows, offset: Some(1), drop_before: Some(b"2"), note: None }).expect("applies");
    let keys: Vec<Vec<u8>> = all(&mut *backend).into_iter().map(|(key, _)| key).collect();
    assert_eq!(keys, [b"2".to_vec(), b"2a".to_vec(), b"3a".to_vec()]);
    backend.apply(&Batch { rows: &[(b"1c", Some(b"later"))], drop_before: Some(b"1"), ..Batch::default() }).expect("applies");
    assert_eq!((all(&mut *backend).len(), backend.get(b"1c").expect("reads")), (3, None));
}

/// What is loaded is there once it is said to be, the last of each key, with its offset; and a read or a batch before that misses nothing.
fn loads(make: Make<'_>) {
    for loaded in [true, false] {
        let mut backend = make();
        put(&mut *backend, &[(b"00000000old", Some(b"0"))]);
        let name = |n: u32| format!("{:08}{n:03}", n / 100).into_bytes();
        let keys: Vec<Vec<u8>> = (0..300_u32).map(|n| name(n * 7 % 300)).collect();
        let (one, two, five, bound, behind) = (name(1), name(2), name(5), name(290), name(295));
        for (round, offset) in [(b"1".as_slice(), 100), (b"2", 200)] {
            let rows: Vec<(&[u8], Option<&[u8]>)> =
                keys.iter().flat_map(|key| [(key.as_slice(), Some(b"x".as_slice())), (key, Some(round))]).collect();
            backend.load(&Batch { rows: &rows, offset: Some(offset), note: Some(round), drop_before: None }).expect("loads");
            let gone: &[(&[u8], Option<&[u8]>)] = &[(b"00000000old", None), (&one, Some(b"x")), (&one, None)];
            backend.load(&Batch { rows: gone, offset: Some(offset + 1), ..Batch::default() }).expect("loads");
            assert!(backend.approximate_rows() > 0);
        }
        if loaded {
            backend.loaded().expect("loads");
            assert_eq!((backend.offset(), backend.note()), (Some(201), Some(b"2".to_vec())));
        }
        let rows = all(&mut *backend);
        assert_eq!(rows.len(), 299);
        assert!(rows.iter().all(|(_, value)| value == b"2"));
        put(&mut *backend, &[(&two, Some(b"3"))]);
        assert_eq!((backend.get(&two).expect("reads"), backend.get(&one).expect("reads")), (Some(b"3".to_vec()), None));
        let late: &[(&[u8], Option<&[u8]>)] = &[(&five, Some(b"late")), (&behind, Some(b"4"))];
        backend.load(&Batch { rows: late, offset: Some(300), drop_before: Some(&bound), note: None }).expect("loads");
        backend.loaded().expect("loads");
        assert_eq!((all(&mut *backend).len(), backend.get(&behind).expect("reads")), (10, Some(b"4".to_vec())));
    }
}

#[derive(Clone, Debug)]
enum Step {
    Apply { rows: BTreeMap<Vec<u8>, Option<Vec<u8>>>, drop_before: Option<Vec<u8>> },
    Scan { from: Bound<Vec<u8>>, to: Bound<Vec<u8>>, backward: bool, limit: usize },
}

fn key() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(prop_oneof![Just(0_u8), Just(1), Just(0xFF)], 0..4)
}
fn bound() -> impl Strategy<Value = Bound<Vec<u8>>> {
    prop_oneof![Just(Bound::Unbounded), key().prop_map(Bound::Included), key().prop_map(Bound::Excluded)]
}
fn step() -> impl Strategy<Value = Step> {
    let value = proptest::option::of(proptest::collection::vec(any::<u8>(), 0..3));
    let rows = proptest::collection::btree_map(key(), value, 0..6);
    prop_oneof![
        (rows, proptest::option::weighted(0.2, key())).prop_map(|(rows, drop_before)| Step::Apply { rows, drop_before }),
        (bound(), bound(), any::<bool>(), 1..5_usize).prop_map(|(from, to, backward, limit)| Step::Scan { from, to, backward, limit }),
    ]
}

fn contains(range: &(Bound<Vec<u8>>, Bound<Vec<u8>>), key: &Vec<u8>) -> bool {
    use std::ops::RangeBounds;
    RangeBounds::<Vec<u8>>::contains(&(range.0.as_ref(), range.1.as_ref()), key)
}

/// Any sequence of batches and scans gives what a sorted map gives.
fn is_a_sorted_map(make: Make<'_>, steps: &[Step]) {
    let (mut backend, mut model, mut floor) = (make(), BTreeMap::<Vec<u8>, Vec<u8>>::new(), Vec::new());
    for step in steps {
        match step {
            Step::Apply { rows, drop_before } => {
                let batch: Vec<(&[u8], Option<&[u8]>)> = rows.iter().map(|(key, value)| (key.as_slice(), value.as_deref())).collect();
                backend.apply(&Batch { rows: &batch, drop_before: drop_before.as_deref(), ..Batch::default() }).expect("applies");
                floor = floor.max(drop_before.clone().unwrap_or_default());
                for (key, value) in rows {
                    match value {
                        Some(value) => drop(model.insert(key.clone(), value.clone())),
                        None => drop(model.remove(key)),
                    }
                }
                model.retain(|key, _| *key >= floor);
                for key in rows.keys() {
                    assert_eq!(backend.get(key).expect("reads").as_ref(), model.get(key));
                }
            }
            Step::Scan { from, to, backward, limit } => {
                let range = (from.clone(), to.clone());
                let mut expected: Rows =
                    model.iter().filter(|(key, _)| contains(&range, key)).map(|(k, v)| (k.clone(), v.clone())).collect();
                if *backward {
                    expected.reverse();
                }
                expected.truncate(*limit);
                let direction = if *backward { Direction::Backward } else { Direction::Forward };
                let range = (from.as_ref().map(Vec::as_slice), to.as_ref().map(Vec::as_slice));
                assert_eq!(scan(&mut *backend, range, direction, *limit), expected);
            }
        }
    }
    assert_eq!(all(&mut *backend), model.into_iter().collect::<Rows>());
}

/// Runs the suite over a backend, with so many random sequences.
macro_rules! conforms {
    ($name:ident, $cases:literal, $make:expr) => {
        mod $name {
            use super::*;

            fn make() -> Box<dyn StoreBackend> {
                $make
            }
            #[test]
            fn contract() {
                keeps_its_offset(&make);
                keeps_its_note(&make);
                forgets_everything(&make);
                knows_that_it_is_empty(&make);
                tells_empty_from_absent(&make);
                bears_ranges_inside_out(&make);
                drops_what_is_obsolete(&make);
                loads(&make);
            }
            proptest! {
                #![proptest_config(ProptestConfig::with_cases($cases))]
                #[test]
                fn sorted_map(steps in proptest::collection::vec(step(), 0..24)) {
                    is_a_sorted_map(&make, &steps);
                }
            }
        }
    };
}

conforms!(memory, 256, Box::<MemoryBackend>::default());
conforms!(fjall, 24, Box::new(OnDisk::new(Engine::Fjall)));
#[cfg(feature = "rocksdb")]
conforms!(rocksdb, 24, Box::new(OnDisk::new(Engine::RocksDb)));
#[cfg(feature = "rocksdb")]
conforms!(rocksdb_by_segment, 24, {
    let mut rows = OnDisk::new(Engine::RocksDb);
    rows.by_segment();
    Box::new(rows)
});
