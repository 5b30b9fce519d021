//! Cores against plain maps, through any mix of writes, flushes, commits and aborts.

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};

use proptest::prelude::*;

use super::rig::{Place, Setup, context};
use crate::state::control::Core;
use crate::state::{Direction, Engine, KeyValueCore, Layout, SessionCore, StoreKind, StoreSpec, WindowCore};

/// Keys that are prefixes of each other, and one with the bytes of a time in it.
const KEYS: [&[u8]; 4] = [b"", b"a", b"a\0", b"ab"];
/// Times in several segments, near their edges.
const TIMES: [i64; 7] = [0, 1, 59_999, 60_000, 60_001, 600_000, 10_000_000];

#[derive(Clone, Debug)]
enum Step {
    Put {
        key: usize,
        time: usize,
        other: usize,
        value: Option<u8>,
    },
    Read,
    Flush,
    Commit,
    Abort,
    /// What was not committed is lost.
    Reopen,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let put = (0..KEYS.len(), 0..TIMES.len(), 0..TIMES.len(), proptest::option::weighted(0.7, any::<u8>()))
        .prop_map(|(key, time, other, value)| Step::Put { key, time, other, value });
    let step = prop_oneof![6 => put, 2 => Just(Step::Read), 1 => Just(Step::Flush), 1 => Just(Step::Commit), 1 => Just(Step::Abort), 1 => Just(Step::Reopen)];
    proptest::collection::vec(step, 0..30)
}

fn setups(kind: StoreKind) -> impl Strategy<Value = Setup> {
    let layout = prop_oneof![Just(Layout::Persistent), Just(Layout::InMemory)];
    let cache = prop_oneof![Just(0_usize), Just(150), Just(1 << 20)];
    (layout, cache, any::<bool>(), any::<bool>()).prop_map(move |(layout, cache_bytes, bounded, time_index)| {
        let mut spec = StoreSpec::new(kind);
        (spec.layout, spec.caching, spec.stamped) = (Some(layout), Some(true), false);
        spec.retention_ms = Some(if bounded { 1 } else { i64::MAX }); // a bounded store does not expire by itself
        let mut setup = Setup::of(spec);
        (setup.cache_bytes, setup.bounded, setup.time_index) = (cache_bytes, bounded, time_index);
        setup
    })
}

/// Current rows and those of the last commit.
struct Model<I> {
    now: BTreeMap<I, Vec<u8>>,
    committed: BTreeMap<I, Vec<u8>>,
}

impl<I: Ord + Clone> Model<I> {
    fn new() -> Self {
        Model { now: BTreeMap::new(), committed: BTreeMap::new() }
    }
    fn put(&mut self, id: I, value: Option<u8>) {
        match value {
            Some(value) => drop(self.now.insert(id, vec![value])),
            None => drop(self.now.remove(&id)),
        }
    }
    /// Does to core and model what is the same for all kinds.
    fn step(&mut self, step: &Step, core: &mut impl Core) {
        match step {
            Step::Commit => {
                core.drain_changelog(&mut super::rig::Log::default()).expect("drains");
                core.apply(Some(1)).expect("applies");
                self.committed = self.now.clone();
            }
            Step::Reopen => self.now = self.committed.clone(),
            Step::Abort => {
                core.abort();
                self.now = self.committed.clone();
            }
            _ => {}
        }
    }
}

fn key_value_cores(place: &Place, setup: &Setup, steps: &[Step]) -> Result<(), TestCaseError> {
    let (mut core, mut model) = (place.open(setup, KeyValueCore::open), Model::new());
    for step in steps {
        if let Step::Put { key, value, .. } = step {
            let bytes = value.map(|value| vec![value]);
            core.write(KEYS[*key], bytes.as_deref(), &context(1).lend()).expect("memory takes it");
            model.put(KEYS[*key].to_vec(), *value);
        }
        if matches!(step, Step::Flush) {
            core.flush().expect("flushes");
        }
        model.step(step, &mut core);
        if matches!(step, Step::Reopen) {
            drop(core);
            core = place.open(setup, KeyValueCore::open);
        }
        for key in KEYS {
            let seen = core.read(key, |row| Ok(row.map(<[u8]>::to_vec))).expect("reads");
            prop_assert_eq!(&seen, &model.now.get(key).cloned());
        }
        for direction in [Direction::Forward, Direction::Backward] {
            let mut rows = Vec::new();
            let range = (Bound::Excluded(KEYS[0]), Bound::Included(KEYS[3]));
            core.scan(range, direction, &mut |key, value| {
                rows.push((key.to_vec(), value.to_vec()));
                ControlFlow::Continue(())
            })
            .expect("scans");
            let mut expected: Vec<_> = model.now.iter().filter(|(key, _)| !key.is_empty()).map(|(k, v)| (k.clone(), v.clone())).collect();
            if direction == Direction::Backward {
                expected.reverse();
            }
            prop_assert_eq!(rows, expected);
        }
    }
    Ok(())
}

fn window_cores(place: &Place, setup: &Setup, steps: &[Step]) -> Result<(), TestCaseError> {
    let (mut core, mut model) = (place.open(setup, WindowCore::open), Model::new());
    for step in steps {
        if let Step::Put { key, time, value, .. } = step {
            let bytes = value.map(|value| vec![value]);
            core.write(KEYS[*key], TIMES[*time], bytes.as_deref(), &context(1).lend()).expect("memory takes it");
            model.put((TIMES[*time], KEYS[*key].to_vec()), *value);
        }
        if matches!(step, Step::Flush) {
            core.flush().expect("flushes");
        }
        model.step(step, &mut core);
        if matches!(step, Step::Reopen) {
            drop(core);
            core = place.open(setup, WindowCore::open);
        }
        let flat = |rows: Vec<crate::state::window_core::WindowRow>| {
            rows.into_iter().map(|row| ((row.start, row.key), row.value)).collect::<Vec<_>>()
        };
        let all: Vec<_> = model.now.iter().map(|(id, value)| (id.clone(), value.clone())).collect();
        prop_assert_eq!(flat(core.starting_in(i64::MIN, i64::MAX, usize::MAX).expect("reads")), all.clone());
        prop_assert_eq!(
            flat(core.starting_in(i64::MIN, 60_000, 2).expect("reads")),
            all.iter().filter(|((start, _), _)| *start <= 60_000).take(2).cloned().collect::<Vec<_>>()
        );
        prop_assert_eq!(core.newest_start().expect("reads"), all.last().map(|((start, _), _)| *start));
        let mut ranged = flat(core.fetch_range((Some(b"a"), Some(b"a\0")), 1, 600_000, Direction::Forward).expect("reads"));
        ranged.sort();
        let inside = |start: i64, key: &[u8]| (1..=600_000).contains(&start) && (b"a".as_slice()..=b"a\0").contains(&key);
        prop_assert_eq!(ranged, all.iter().filter(|((start, key), _)| inside(*start, key)).cloned().collect::<Vec<_>>());
        for key in KEYS {
            let mine: Vec<_> = all.iter().filter(|((_, other), _)| other == key).cloned().collect();
            prop_assert_eq!(flat(core.fetch(key, 0, i64::MAX, Direction::Forward).expect("reads")), mine.clone());
            let mut backward = flat(core.fetch(key, 0, i64::MAX, Direction::Backward).expect("reads"));
            backward.reverse();
            prop_assert_eq!(backward, mine);
        }
    }
    Ok(())
}

fn session_cores(place: &Place, setup: &Setup, steps: &[Step]) -> Result<(), TestCaseError> {
    let (mut core, mut model) = (place.open(setup, SessionCore::open), Model::new());
    for step in steps {
        if let Step::Put { key, time, other, value } = step {
            let (one, two) = (TIMES[*time % 2 * 3], TIMES[*other % 2 * 3]); // few sessions, so that deletions meet them
            let (start, end) = (one.min(two), one.max(two));
            let bytes = value.map(|value| vec![value]);
            core.write(KEYS[*key], start, end, bytes.as_deref(), &context(1).lend()).expect("memory takes it");
            model.put((end, start, KEYS[*key].to_vec()), *value);
        }
        if matches!(step, Step::Flush) {
            core.flush().expect("flushes");
        }
        model.step(step, &mut core);
        if matches!(step, Step::Reopen) {
            drop(core);
            core = place.open(setup, SessionCore::open);
        }
        let flat = |rows: Vec<crate::state::session_core::SessionRow>| {
            let mut rows: Vec<_> = rows.into_iter().map(|row| ((row.end, row.start, row.key), row.value)).collect();
            if setup.spec.layout == Some(Layout::InMemory) {
                rows.sort(); // memory: latest start first within an end
            }
            rows
        };
        let all: Vec<_> = model.now.iter().map(|(id, value)| (id.clone(), value.clone())).collect();
        prop_assert_eq!(flat(core.ending_in(i64::MIN, i64::MAX, usize::MAX).expect("reads")), all.clone());
        let some = core.ending_in(i64::MIN, 60_000, 2).expect("reads");
        prop_assert_eq!(some.len(), all.iter().filter(|((end, ..), _)| *end <= 60_000).count().min(2));
        prop_assert_eq!(core.newest_end().expect("reads"), all.last().map(|((end, ..), _)| *end));
        for key in KEYS {
            let wanted = |(end, start, other): &(i64, i64, Vec<u8>)| *end >= 1 && *start <= 60_000 && other == key;
            let mine: Vec<_> = all.iter().filter(|(id, _)| wanted(id)).cloned().collect();
            prop_assert_eq!(flat(core.find(key, 1, 60_000, Direction::Forward).expect("reads")), mine);
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn key_value_cores_are_maps(setup in setups(StoreKind::KeyValue), steps in steps()) {
        key_value_cores(&Place::in_memory(), &setup, &steps)?;
    }
    #[test]
    fn window_cores_are_maps(setup in setups(StoreKind::Window { size_ms: 10, duplicates: false }), steps in steps()) {
        window_cores(&Place::in_memory(), &setup, &steps)?;
    }
    #[test]
    fn session_cores_are_maps(setup in setups(StoreKind::Session), steps in steps()) {
        session_cores(&Place::in_memory(), &setup, &steps)?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]
    #[test]
    fn key_value_cores_are_maps_on_disk(setup in setups(StoreKind::KeyValue), steps in steps()) {
        for engine in Engine::ALL {
            key_value_cores(&Place::on_disk(*engine), &setup, &steps)?;
        }
    }
    #[test]
    fn window_cores_are_maps_on_disk(setup in setups(StoreKind::Window { size_ms: 10, duplicates: false }), steps in steps()) {
        for engine in Engine::ALL {
            window_cores(&Place::on_disk(*engine), &setup, &steps)?;
        }
    }
    #[test]
    fn session_cores_are_maps_on_disk(setup in setups(StoreKind::Session), steps in steps()) {
        for engine in Engine::ALL {
            session_cores(&Place::on_disk(*engine), &setup, &steps)?;
        }
    }
}
