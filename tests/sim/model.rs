//! What a run must have come to: the answer of one task that nothing befalls.

use std::collections::{BTreeMap, BTreeSet};

use highwater::{Timestamp, TopologyTestDriver};

use crate::choices::{BEGIN, PARTITIONS};
use crate::run::Run;
use crate::topologies::{COUNTS, IN, Kind, OUT, Poison, ROWS, TABLE};

type Rows = Vec<(String, String)>;

impl Run {
    /// Compares the end of a run with the model.
    pub(crate) fn judge(&self) -> Result<(), String> {
        let (out, model) = (self.out(), self.model());
        let keys = |rows: &Rows| rows.iter().map(|(key, _)| key.clone()).collect::<BTreeSet<_>>();
        same("keys of the output", &keys(&out), &keys(&model))?;
        match self.choices.kind {
            Kind::Copy | Kind::Join => self.judge_records(out, model)?,
            Kind::Count | Kind::Windowed | Kind::Bounded | Kind::Stacked => self.judge_counts(&out, &model)?,
        }
        self.judge_ends()?;
        self.judge_stores()
    }

    fn out(&self) -> Rows {
        self.cluster.read(&OUT).into_iter().map(|record| (record.key, record.value)).collect()
    }

    fn model(&self) -> Rows {
        let mut driver = TopologyTestDriver::builder(&self.choices.kind.topology(Poison::default()))
            .wall_clock(Timestamp::from_millis(BEGIN))
            .build()
            .unwrap();
        // The table first, as in the run.
        for piped in &self.input {
            let topic = if piped.table { ROWS } else { IN };
            driver.pipe(&topic, piped.key.clone(), piped.value.clone(), Timestamp::from_millis(piped.at)).unwrap();
        }
        driver.finish().unwrap();
        driver.read_all(&OUT)
    }

    /// Every record once; after a crash at least once, and nothing else.
    fn judge_records(&self, mut out: Rows, mut model: Rows) -> Result<(), String> {
        out.sort();
        model.sort();
        if !self.choices.exact() {
            out.dedup();
        }
        same("records", &out, &model)
    }

    /// Exactly, or at least: a crash may count twice what was not committed, and loses nothing.
    fn judge_counts(&self, out: &Rows, model: &Rows) -> Result<(), String> {
        if self.choices.exact() {
            return self.judge_exact_counts(out, model);
        }
        if !self.choices.one_writer() {
            return Ok(());
        }
        let (mut found, wanted) = (last(out), last(model));
        if matches!(self.choices.kind, Kind::Bounded | Kind::Stacked) {
            // A window that was closed, sent and not committed is closed again; the second result may know less than the first one,
            // whose row is gone. Transactions are what helps against that.
            found = largest(out);
        }
        match wanted.iter().find(|(key, count)| found[*key] < **count) {
            Some((key, count)) => Err(format!("lost: {key} was counted to {}, there are {count}", found[key])),
            None => Ok(()),
        }
    }

    fn judge_exact_counts(&self, out: &Rows, model: &Rows) -> Result<(), String> {
        let late: u64 = self.cluster.progress().iter().map(|progress| progress.late).sum();
        same("late records", &late, &0)?;
        if self.choices.caches && matches!(self.choices.kind, Kind::Count | Kind::Windowed) {
            // Caches leave out some of the counts on the way.
            return same("counts", &last(out), &last(model));
        }
        let sorted = |rows: &Rows| rows.iter().cloned().collect::<BTreeSet<_>>();
        same("results", &sorted(out), &sorted(model))?;
        same("how many results", &out.len(), &model.len())
    }

    /// Everything is processed, committed, and decided.
    fn judge_ends(&self) -> Result<(), String> {
        for topic in self.cluster.topics() {
            for partition in 0..PARTITIONS {
                let (stable, end) = self.cluster.ends(&topic, partition);
                same(&format!("last stable offset of {topic}-{partition}"), &stable, &end)?;
                let committed = self.cluster.committed(&topic, partition).map_or(0, |at| at.offset);
                if topic == "in" || topic == "rows" || topic.ends_with("-repartition") {
                    same(&format!("position of {topic}-{partition}"), &committed, &end)?;
                }
            }
        }
        same("markers that wait", &self.cluster.waiting_markers(), &0)
    }

    /// Stores are what their changelogs fold to, and know how far that is.
    fn judge_stores(&self) -> Result<(), String> {
        for standing in self.cluster.stores() {
            let Some(changelog) = &standing.changelog else { continue };
            if self.choices.one_writer() || self.choices.exact() {
                let from = standing.offset.unwrap_or(0);
                let left = self.cluster.records_since(&changelog.topic, changelog.partition, from).0.len();
                same(&format!("records of {changelog} behind {from}, where {} in {} stands", standing.store, standing.task), &left, &0)?;
            }
            same(&format!("uncommitted bytes of {} in {}", standing.store, standing.task), &standing.uncommitted_bytes, &0)?;
        }
        let trusted = self.choices.one_writer() || self.choices.exact();
        match self.choices.kind {
            Kind::Count if trusted => {
                let stored = self.cluster.store(&COUNTS).unwrap();
                let rows = stored.values().flat_map(|view| view.all().unwrap().map(Result::unwrap).collect::<Vec<_>>());
                same(
                    "counts and the fold of their changelog",
                    &rows.collect::<BTreeMap<_, _>>(),
                    &self.fold("app-counts-changelog", number),
                )
            }
            Kind::Join if trusted => {
                let stored = self.cluster.store(&TABLE).unwrap();
                let rows = stored.values().flat_map(|view| view.all().unwrap().map(Result::unwrap).collect::<Vec<_>>());
                let rows = rows.collect::<BTreeMap<_, _>>();
                let table = self.input.iter().filter(|piped| piped.table);
                same("table", &rows, &table.map(|piped| (piped.key.clone(), piped.value.clone())).collect())?;
                same("table and the fold of its changelog", &rows, &self.fold("app-rows-by-key-changelog", text))
            }
            _ => Ok(()),
        }
    }

    fn fold<V>(&self, changelog: &str, value: impl Fn(&[u8]) -> V) -> BTreeMap<String, V> {
        let mut rows = BTreeMap::new();
        for record in self.cluster.records(changelog) {
            let key = text(&record.key.unwrap());
            match record.value {
                Some(bytes) => drop(rows.insert(key, value(&bytes))),
                None => drop(rows.remove(&key)),
            }
        }
        rows
    }
}

fn last(rows: &Rows) -> BTreeMap<String, i64> {
    rows.iter().map(|(key, count)| (key.clone(), count.parse().unwrap())).collect()
}

fn largest(rows: &Rows) -> BTreeMap<String, i64> {
    let mut largest: BTreeMap<String, i64> = BTreeMap::new();
    for (key, count) in rows {
        let count: i64 = count.parse().unwrap();
        largest.entry(key.clone()).and_modify(|seen| *seen = count.max(*seen)).or_insert(count);
    }
    largest
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, found: &T, wanted: &T) -> Result<(), String> {
    if found == wanted { Ok(()) } else { Err(format!("{what}: found {found:?}, wanted {wanted:?}")) }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn number(bytes: &[u8]) -> i64 {
    i64::from_be_bytes(bytes.try_into().unwrap())
}
