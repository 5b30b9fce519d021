//! What must come out of an input, said without the engine.

use std::collections::BTreeMap;

use super::scene::{Kind, WINDOW, group, is_copied, is_late, key, time, value};

/// Rows of the output, and how often each.
pub(crate) type Rows = BTreeMap<(String, String), u64>;

/// The answer to an input of so many records per partition.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Model {
    /// Every row that is sent.
    pub(crate) rows: Rows,
    /// The last count of each key, or key and window.
    pub(crate) totals: BTreeMap<String, i64>,
    /// What the store holds in the end, but for the rows of a table: a window that is closed leaves nothing behind.
    pub(crate) stored: BTreeMap<String, i64>,
}

impl Model {
    pub(crate) fn of(kind: Kind, counts: &[u64]) -> Model {
        let records = (0..).zip(counts).flat_map(|(partition, count)| (0..*count).map(move |sequence| (partition, sequence)));
        let mut model = Model { rows: Rows::new(), totals: BTreeMap::new(), stored: BTreeMap::new() };
        for (partition, sequence) in records {
            let (key, value) = (key(partition, sequence), value(partition, sequence));
            match kind {
                Kind::Copy if is_copied(&value) => *model.rows.entry((key, format!("<{value}>"))).or_default() += 1,
                Kind::Join => *model.rows.entry((key, format!("<{value}>"))).or_default() += 1,
                Kind::Copy => {}
                Kind::Count => {
                    let count = model.count(key.clone());
                    model.rows.insert((key, count.to_string()), 1);
                }
                Kind::Windowed if is_late(sequence) => {}
                Kind::Windowed => drop(model.count(format!("{}@{}", group(&value), time(sequence).as_millis() / WINDOW * WINDOW))),
            }
        }
        match kind {
            Kind::Copy | Kind::Join => {}
            Kind::Count => model.stored = model.totals.clone(),
            Kind::Windowed => model.rows = model.totals.iter().map(|(key, count)| ((key.clone(), count.to_string()), 1)).collect(),
        }
        model
    }

    fn count(&mut self, key: String) -> i64 {
        let count = self.totals.entry(key).or_default();
        *count += 1;
        *count
    }
}
