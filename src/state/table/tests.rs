//! A table beside plain maps, through any mix of writes, reads, commits, aborts and restores, with a budget that lets rows go all the time.

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};

use proptest::prelude::*;

use super::*;
use crate::state::backend::MemoryBackend;

type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

#[derive(Clone, Debug)]
enum Step {
    Put(Vec<u8>, Vec<u8>),
    Delete(Vec<u8>),
    DeleteSilently(Vec<u8>),
    Get(Vec<u8>),
    Scan(Vec<u8>, Vec<u8>, Direction),
    /// With a segment below which all rows go.
    Apply(Option<u8>),
    Abort,
    /// Rows of a changelog, some deleted, after an abort: nothing else is under way then.
    Restore(Vec<(Vec<u8>, Option<Vec<u8>>)>),
    Wipe,
}

/// Few enough to meet again, with an empty one and some that do not fit into a row.
fn key() -> impl Strategy<Value = Vec<u8>> {
    let long = (0..4_u8, 0..6_u8, 0..40_usize).prop_map(|(segment, last, length)| {
        let mut key = vec![0, 0, 0, 0, 0, 0, 0, segment];
        key.extend(vec![7; length / 10 * 10]);
        key.push(last);
        key
    });
    prop_oneof![12 => long, 1 => Just(Vec::new()), 1 => Just(vec![0])]
}

fn value() -> impl Strategy<Value = Vec<u8>> {
    (any::<u8>(), 0..50_usize).prop_map(|(byte, length)| vec![byte; length])
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let direction = any::<bool>().prop_map(|forward| if forward { Direction::Forward } else { Direction::Backward });
    let restored = proptest::collection::vec((key(), proptest::option::weighted(0.7, value())), 0..8);
    let step = prop_oneof![
        12 => (key(), value()).prop_map(|(key, value)| Step::Put(key, value)),
        4 => key().prop_map(Step::Delete),
        1 => key().prop_map(Step::DeleteSilently),
        12 => key().prop_map(Step::Get),
        3 => (key(), key(), direction).prop_map(|(from, to, direction)| Step::Scan(from, to, direction)),
        5 => proptest::option::weighted(0.2, 0..4_u8).prop_map(Step::Apply),
        2 => Just(Step::Abort),
        1 => restored.prop_map(Step::Restore),
        1 => Just(Step::Wipe),
    ];
    proptest::collection::vec(step, 0..120)
}

/// What the table should hold.
#[derive(Default)]
struct Model {
    now: Rows,
    committed: Rows,
    floor: Vec<u8>,
}

impl Model {
    fn set(&mut self, key: &[u8], value: Option<&Vec<u8>>) {
        match value {
            Some(value) => drop(self.now.insert(key.to_vec(), value.clone())),
            None => drop(self.now.remove(key)),
        }
    }

    fn commit(&mut self, floor: Option<&Vec<u8>>) {
        self.floor = self.floor.clone().max(floor.cloned().unwrap_or_default());
        self.now.retain(|key, _| *key >= self.floor);
        self.committed = self.now.clone();
    }
}

fn begin_of(segment: u8) -> Vec<u8> {
    vec![0, 0, 0, 0, 0, 0, 0, segment]
}

fn take(table: &mut Table, model: &mut Model, step: &Step) -> Result<(), TestCaseError> {
    match step {
        // What is written below the floor is obsolete: stores do not write there.
        Step::Put(key, _) | Step::Delete(key) | Step::DeleteSilently(key) | Step::Get(key) if *key < model.floor => {}
        Step::Put(key, value) => {
            table.put(key, Some(value), 1);
            model.set(key, Some(value));
        }
        Step::Delete(key) => {
            table.put(key, None, 1);
            model.set(key, None);
        }
        Step::DeleteSilently(key) => {
            table.remove_silently(key);
            model.set(key, None);
        }
        Step::Get(key) => {
            prop_assert_eq!(table.get(key).expect("reads").map(<[u8]>::to_vec), model.now.get(key).cloned(), "{:?}", key);
        }
        Step::Scan(from, to, direction) => scan(table, model, (from, to), *direction)?,
        Step::Apply(segment) => {
            let floor = segment.map(begin_of);
            table.apply(Some(1), floor.as_deref(), None).expect("applies");
            model.commit(floor.as_ref());
        }
        Step::Abort => {
            table.abort();
            model.now = model.committed.clone();
        }
        Step::Restore(rows) => {
            table.abort();
            model.now = model.committed.clone();
            let rows: BTreeMap<&Vec<u8>, Option<&Vec<u8>>> = rows.iter().map(|(key, value)| (key, value.as_ref())).collect();
            let lent: Vec<_> = rows.iter().map(|(key, value)| (key.as_slice(), value.map(Vec::as_slice))).collect();
            table.restore(&Batch { rows: &lent, offset: Some(1), ..Batch::default() }).expect("loads");
            table.loaded().expect("is loaded");
            rows.iter().for_each(|(key, value)| model.set(key, *value));
            model.commit(None);
        }
        Step::Wipe => {
            table.wipe().expect("wipes");
            *model = Model::default();
        }
    }
    Ok(())
}

fn scan(table: &mut Table, model: &Model, (from, to): (&[u8], &[u8]), direction: Direction) -> Result<(), TestCaseError> {
    let from = from.max(&model.floor);
    let mut seen = Vec::new();
    let mut visit = |key: &[u8], value: &[u8]| {
        seen.push((key.to_vec(), value.to_vec()));
        ControlFlow::Continue(())
    };
    table.scan((Bound::Included(from), Bound::Excluded(to)), direction, &mut visit).expect("scans");
    let inside = model.now.iter().filter(|(key, _)| from <= key.as_slice() && key.as_slice() < to);
    let mut expected: Vec<_> = inside.map(|(key, value)| (key.clone(), value.clone())).collect();
    if direction == Direction::Backward {
        expected.reverse();
    }
    prop_assert_eq!(seen, expected);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    /// After each step every row that has not been let go is where it should be, and what is counted is what is there.
    #[test]
    fn a_table_is_a_map(steps in steps(), reads in 0..2_000_usize, segmented: bool) {
        let budget = Arc::new(CacheBudget::new(0).with_reads(reads));
        let mut table = Table::new(Box::<MemoryBackend>::default(), budget);
        if segmented {
            table.by_segment();
        }
        let mut model = Model::default();
        for step in &steps {
            take(&mut table, &mut model, step)?;
            let cost = |dirty: bool| table.rows.iter().filter(|row| (row.seq() != 0) == dirty).map(Row::cost).sum::<usize>();
            prop_assert_eq!((table.clean_bytes, table.dirty_bytes), (cost(false), cost(true)), "after {:?}", step);
        }
        for key in model.now.keys() {
            prop_assert_eq!(table.get(key).expect("reads"), model.now.get(key).map(Vec::as_slice));
        }
    }
}
