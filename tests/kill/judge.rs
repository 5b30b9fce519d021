//! The verdict: what is found against what must be.

use std::collections::BTreeMap;
use std::fmt::Debug;

use super::findings::Findings;
use super::life::Promise;
use super::model::{Model, Rows};
use super::notes::Notes;
use super::scene::{Kind, sequence};

/// A run that is over.
pub(crate) struct Case<'a> {
    pub(crate) kind: Kind,
    pub(crate) promise: Promise,
    pub(crate) findings: &'a Findings,
    /// What its lives wrote down, in their order.
    pub(crate) lives: &'a [Notes],
}

type Faults = Vec<String>;

impl Case<'_> {
    /// Everything that is wrong; empty if all promises were kept.
    pub(crate) fn faults(&self) -> Faults {
        let counts: Vec<u64> = self.findings.input.iter().map(|records| records.len() as u64).collect();
        let model = Model::of(self.kind, &counts);
        let mut faults = self.input();
        faults.extend(match self.promise {
            Promise::ExactlyOnce => self.exactly(&model),
            Promise::AtLeastOnce => self.at_least(&model),
        });
        faults.extend(self.stores());
        faults.extend(self.restores());
        let Findings { unread, undecided, .. } = self.findings;
        faults.extend(undecided.iter().map(|partition| format!("undecided: a transaction is open in {partition}")));
        faults.extend(unread.iter().map(|partition| format!("unread: {partition}")));
        faults
    }

    /// The log itself: every acknowledged record is there, each once and in its order.
    fn input(&self) -> Faults {
        let mut faults = Faults::new();
        for (partition, records) in self.findings.input.iter().enumerate() {
            let found: Vec<u64> = records.iter().map(|(_, number)| *number).collect();
            faults.extend(differ(&format!("input of partition {partition}"), &found, &(0..found.len() as u64).collect()));
            let acknowledged = self.lives.iter().filter_map(|life| life.acknowledged.get(partition)).max();
            if acknowledged.is_some_and(|acknowledged| *acknowledged > found.len() as u64) {
                faults.push(format!("the log lost acknowledged records of partition {partition}: {acknowledged:?} of {}", found.len()));
            }
        }
        faults
    }

    fn exactly(&self, model: &Model) -> Faults {
        let mut faults = compare(&counted(&self.findings.output), &model.rows);
        if self.kind == Kind::Count {
            faults.extend(self.out_of_order());
        }
        if self.kind != Kind::Join {
            faults.extend(differ("fold of the changelog", &self.findings.changelog, &model.stored));
        }
        faults
    }

    /// Running counts of a key come as 1, 2, 3.
    fn out_of_order(&self) -> Faults {
        let mut last: BTreeMap<&str, i64> = BTreeMap::new();
        let gap = self.findings.output.iter().find(|(key, count)| {
            let last = last.entry(key).or_default();
            *last += 1;
            count.parse() != Ok(*last)
        });
        gap.map(|(key, count)| format!("order: {key} is {count} where {} comes next", last[&**key])).into_iter().collect()
    }

    fn at_least(&self, model: &Model) -> Faults {
        let output = counted(&self.findings.output);
        let mut faults = Faults::new();
        match self.kind {
            Kind::Copy | Kind::Join => {
                let missing = model.rows.keys().find(|row| !output.contains_key(row));
                faults.extend(missing.map(|row| format!("lost: {row:?}")));
                faults.extend(output.keys().find(|row| !model.rows.contains_key(row)).map(|row| format!("from nowhere: {row:?}")));
                faults.extend(self.doubled(&output));
            }
            Kind::Count => {
                let missing = model.rows.keys().find(|row| !output.contains_key(row));
                faults.extend(missing.map(|row| format!("lost: {row:?}")));
                faults.extend(self.counted_too_often(model));
            }
            // A window that was closed, sent and not committed may be closed again and know less (docs/decisions).
            Kind::Windowed => {
                let largest = fold(&self.findings.output, i64::max);
                let short = model.totals.iter().find(|(key, count)| largest.get(*key).is_none_or(|found| found < count));
                faults.extend(short.map(|(key, count)| format!("lost: {key} has {count}, found {:?}", largest.get(key))));
                faults.extend(largest.keys().find(|key| !model.totals.contains_key(*key)).map(|key| format!("from nowhere: {key}")));
            }
        }
        faults
    }

    /// Records of a partition that some life found uncommitted at its start.
    fn uncommitted(&self, partition: usize) -> Vec<u64> {
        let starts = self.lives.iter().skip(1).filter_map(|life| life.starts.get(partition));
        let ranges = starts.filter_map(|(position, count)| Some((self.number_at(partition, (*position)?)..*count).collect::<Vec<_>>()));
        ranges.flatten().collect()
    }

    /// The number of the first record at or after an offset.
    fn number_at(&self, partition: usize, offset: i64) -> u64 {
        let records = &self.findings.input[partition];
        records.partition_point(|(at, _)| *at < offset) as u64
    }

    /// Only what was not committed may come twice.
    fn doubled(&self, output: &Rows) -> Faults {
        let again = |(_, value): &(String, String)| {
            let value = value.trim_matches(['<', '>']);
            let partition: usize = value.split(':').next().and_then(|text| text.parse().ok()).unwrap_or(0);
            self.uncommitted(partition).contains(&sequence(value))
        };
        let wrong = output.iter().find(|(row, times)| **times > 1 && !again(row));
        wrong.map(|(row, times)| format!("doubled: {row:?} comes {times} times and was committed")).into_iter().collect()
    }

    /// A count may exceed the truth by what was counted and not committed.
    fn counted_too_often(&self, model: &Model) -> Faults {
        let largest = fold(&self.findings.output, i64::max);
        let excess: i64 = largest.iter().map(|(key, count)| count - model.totals.get(key).copied().unwrap_or(0)).sum();
        let allowed: usize = (0..self.findings.input.len()).map(|partition| self.uncommitted(partition).len()).sum();
        let wrong = excess > allowed as i64;
        wrong.then(|| format!("doubled: {excess} counted too often, {allowed} were not committed")).into_iter().collect()
    }

    /// fold(output) = fold(changelog) = local store; for a table, whatever the promise, the fold of its topic too.
    fn stores(&self) -> Faults {
        let Findings { store, changelog, output, .. } = self.findings;
        match self.kind {
            Kind::Copy => Faults::new(),
            Kind::Count => {
                let mut faults = differ("local store", store, changelog);
                faults.extend(differ("fold of the output", &fold(output, |_, last| last), changelog));
                faults
            }
            Kind::Windowed => differ("local store", store, changelog),
            Kind::Join => {
                let mut faults = differ("local store", store, changelog);
                faults.extend(differ("fold of the changelog", changelog, &self.findings.table));
                faults
            }
        }
    }

    /// No start reads back more than was committed since the store's offset, and nothing after a clean close.
    fn restores(&self) -> Faults {
        let mut faults = Faults::new();
        for restored in self.lives.iter().flat_map(|life| &life.restored) {
            let (store, restored) = restored;
            if restored.records > restored.committed {
                faults.push(format!("restored: {store} read {} back of {} committed", restored.records, restored.committed));
            }
        }
        // A life that was killed while its stores were being made may have left halves of them, with nothing inside.
        let made = self.lives.windows(2).filter(|lives| lives[0].rebuilt.is_some());
        let rebuilt: u64 = made.filter_map(|lives| lives[1].rebuilt).sum();
        if rebuilt > 0 {
            faults.push(format!("rebuilt: {rebuilt} local stores were wiped, a kill must never cause that"));
        }
        let after_close = self.findings.restored_after_close;
        if after_close > 0 {
            faults.push(format!("restored: {after_close} records after a clean close"));
        }
        faults
    }
}

fn counted(output: &[(String, String)]) -> Rows {
    let mut rows = Rows::new();
    for row in output {
        *rows.entry(row.clone()).or_default() += 1;
    }
    rows
}

/// Counts of the output, one per key.
fn fold(output: &[(String, String)], choose: impl Fn(i64, i64) -> i64) -> BTreeMap<String, i64> {
    let mut folded: BTreeMap<String, i64> = BTreeMap::new();
    for (key, count) in output {
        let count = count.parse().unwrap_or(i64::MIN);
        folded.entry(key.clone()).and_modify(|known| *known = choose(*known, count)).or_insert(count);
    }
    folded
}

/// Rows that must be there exactly so often.
fn compare(found: &Rows, wanted: &Rows) -> Faults {
    let times = |rows: &Rows, row: &(String, String)| rows.get(row).copied().unwrap_or(0);
    let lost: Vec<_> = wanted.iter().filter(|(row, count)| times(found, row) < **count).collect();
    let doubled: Vec<_> = found.iter().filter(|(row, count)| times(wanted, row) < **count).collect();
    let told = |what: &str, rows: &[(&(String, String), &u64)]| {
        rows.first().map(|(row, _)| format!("{what}: {} rows of {}, the first {row:?}", rows.len(), wanted.len()))
    };
    told("lost", &lost).into_iter().chain(told("doubled or wrong", &doubled)).collect()
}

fn differ<T: PartialEq + Debug>(what: &str, found: &T, wanted: &T) -> Faults {
    let short = |value: &T| {
        let text = format!("{value:?}");
        if text.len() > 300 { format!("{}…", text.chars().take(300).collect::<String>()) } else { text }
    };
    (found != wanted).then(|| format!("{what}: found {}, wanted {}", short(found), short(wanted))).into_iter().collect()
}
