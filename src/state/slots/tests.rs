//! Slots beside a map.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::state::content::ALLOCATED;

fn content(slots: &Slots) -> BTreeMap<Vec<u8>, Option<Vec<u8>>> {
    slots.iter().map(|row| (row.key().to_vec(), row.value().map(<[u8]>::to_vec))).collect()
}

#[test]
fn rows_of_every_length_are_found_until_they_are_removed() {
    let (mut slots, mut model) = (Slots::default(), BTreeMap::new());
    let keys: Vec<Vec<u8>> = (0..3000_u32).map(|n| [n.to_be_bytes().as_slice(), &vec![7; n as usize % 40]].concat()).collect();
    for key in &keys {
        slots.add(key, Some(&key[1..]));
        model.insert(key.clone(), Some(key[1..].to_vec()));
    }
    for (n, key) in keys.iter().enumerate() {
        let slot = slots.find(key).expect("was added");
        match n % 4 {
            0 => slots.remove(slot),
            1 => slots.row_mut(slot).set_value(None),
            _ => slots.row_mut(slot).set_value(Some(&vec![9; n % 50])),
        }
        match n % 4 {
            0 => model.remove(key),
            1 => model.insert(key.clone(), None),
            _ => model.insert(key.clone(), Some(vec![9; n % 50])),
        };
    }
    assert_eq!((content(&slots), slots.find(&keys[0])), (model.clone(), None));
    let slot = slots.add(&keys[0], None);
    assert!(slot.index() < 3000, "what is free is used again");
    model.insert(keys[0].clone(), None);
    slots.retain(|row| row.value().is_none());
    model.retain(|_, value| value.is_none());
    assert_eq!(content(&slots), model);
    let before = slots.rows.0.len();
    slots.shrink();
    assert!(slots.rows.0.len() < before, "memory was given back");
    assert_eq!(content(&slots), model);
    assert!(model.keys().all(|key| slots.row(slots.find(key).expect("moved")).key() == key.as_slice()));
    slots.retain(|_| false);
    assert!(slots.is_empty() && slots.rows.0.is_empty());
}

#[test]
fn a_short_row_takes_no_memory_elsewhere() {
    assert_eq!((size_of::<Row>(), Slots::default().add(b"k", None)), (64, Slot::nth(0)));
    let row = |key: usize, value: usize| Row { content: Content::new(&vec![1; key], Some(&vec![2; value])), ..Row::default() };
    assert_eq!(row(28, 16).cost(), ROW_COST, "a count in a window");
    assert_eq!([row(40, 5).cost(), row(40, 6).cost()], [ROW_COST, ROW_COST + 40 + 6 + 2 * ALLOCATED]);
    assert_eq!(row(30, 100).cost(), ROW_COST + 100 + ALLOCATED);
}
#[derive(Clone, Debug)]
enum Step {
    Set(Vec<u8>, Option<Vec<u8>>),
    Remove(Vec<u8>),
    /// All but rows whose key ends with less.
    Retain(u8),
    Shrink,
    Clear,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let key =
        || (0..12_u8, 0..4_usize).prop_map(|(last, length)| [vec![3; [0, 1, 25, 60][length]], vec![last; usize::from(last > 0)]].concat());
    let value = (any::<u8>(), 0..50_usize).prop_map(|(byte, length)| vec![byte; length]);
    let step = prop_oneof![
        30 => (key(), proptest::option::weighted(0.8, value)).prop_map(|(key, value)| Step::Set(key, value)),
        12 => key().prop_map(Step::Remove),
        2 => (0..12_u8).prop_map(Step::Retain),
        1 => Just(Step::Shrink),
        1 => Just(Step::Clear),
    ];
    proptest::collection::vec(step, 0..200)
}

proptest! {
    #[test]
    fn slots_are_a_map(steps in steps(), many in prop_oneof![4 => Just(0_u32), 1 => Just(1_500)]) {
        let (mut slots, mut model) = (Slots::default(), BTreeMap::new());
        // So many that it is worth it to shrink.
        for n in 0..many {
            slots.add(&n.to_be_bytes(), None);
            model.insert(n.to_be_bytes().to_vec(), None);
        }
        for step in steps {
            match step {
                Step::Set(key, value) => {
                    match slots.find_and_remember(&key) {
                        Some(slot) => slots.row_mut(slot).set_value(value.as_deref()),
                        None => drop(slots.add(&key, value.as_deref())),
                    }
                    model.insert(key, value);
                }
                Step::Remove(key) => {
                    slots.find(&key).into_iter().for_each(|slot| slots.remove(slot));
                    model.remove(&key);
                }
                Step::Retain(least) => {
                    let stays = |key: &[u8]| key.last().is_none_or(|last| *last >= least);
                    slots.retain(|row| stays(row.key()));
                    model.retain(|key, _| stays(key));
                }
                Step::Shrink => slots.shrink(),
                Step::Clear => {
                    slots.clear();
                    model.clear();
                }
            }
            prop_assert_eq!(slots.is_empty(), model.is_empty());
            prop_assert_eq!(slots.index.len() + slots.free.len(), slots.rows.len(), "every slot is in use or free");
        }
        prop_assert_eq!(content(&slots), model);
    }
}
