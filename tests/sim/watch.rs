//! What must hold after every single step.

use std::collections::BTreeMap;

use highwater::{Cluster, Timestamp};

use crate::choices::{Choices, PARTITIONS};
use crate::flow::Flow;
use crate::topologies::{Kind, POISON, window_of};

/// Looks at a run after each step.
pub(crate) struct Watch {
    kind: Kind,
    caches: bool,
    exact: bool,
    atomic: bool,
    one_writer: bool,
    flow: Flow,
    /// The table of a join, once it is complete.
    table: BTreeMap<String, String>,
    positions: BTreeMap<(String, i32), (i64, Option<Timestamp>)>,
}

impl Watch {
    pub(crate) fn of(choices: &Choices) -> Watch {
        Watch {
            kind: choices.kind,
            caches: choices.caches,
            exact: choices.exact(),
            atomic: choices.atomic(),
            one_writer: choices.one_writer(),
            flow: Flow::default(),
            table: BTreeMap::new(),
            positions: BTreeMap::new(),
        }
    }

    pub(crate) fn table_is_complete(&mut self, cluster: &Cluster) {
        let rows = cluster.records("rows").into_iter();
        let text = |bytes: Option<Vec<u8>>| String::from_utf8(bytes.unwrap_or_default()).unwrap();
        self.table = rows.map(|row| (text(row.key), text(row.value))).collect();
    }

    pub(crate) fn look(&mut self, cluster: &mut Cluster) -> Result<(), String> {
        if let Some(trespass) = cluster.take_trespasses().first() {
            return Err(trespass.clone());
        }
        if let Some(failure) = cluster.failures().iter().find(|failure| !failure.error.to_string().contains(POISON)) {
            return Err(format!("task {:?} failed: {}", failure.task, failure.error));
        }
        self.nothing_goes_back(cluster)?;
        self.flow.look(cluster, self.kind);
        self.results_are_a_prefix()?;
        // While markers wait, nobody can see what is committed: neither all results nor all positions.
        if cluster.waiting_markers() == 0 && !self.flow.has_gaps {
            self.positions_and_results_agree()?;
        }
        self.what_is_committed_is_not_repeated()?;
        self.stores_are_folds(cluster, false)
    }

    /// What instances keep of their stores is what the changelogs say, up to the offset that is kept with it.
    pub(crate) fn stores_are_folds(&self, cluster: &mut Cluster, all: bool) -> Result<(), String> {
        // At least once, others may write between the records of an owner, and its store does not know of them.
        if !self.one_writer {
            return Ok(());
        }
        cluster.torn_stores(all).pop().map_or(Ok(()), Err)
    }

    /// Positions and watermarks of the group.
    fn nothing_goes_back(&mut self, cluster: &Cluster) -> Result<(), String> {
        for topic in cluster.topics() {
            for partition in 0..PARTITIONS {
                let Some(now) = cluster.committed(&topic, partition) else { continue };
                let before = self.positions.insert((topic.clone(), partition), (now.offset, now.watermark));
                if before.is_some_and(|(offset, watermark)| now.offset < offset || now.watermark < watermark) {
                    return Err(format!("{topic}-{partition} went back from {before:?} to {now:?}"));
                }
            }
        }
        Ok(())
    }

    /// The results of each key so far are the first of those that the model has for it.
    fn results_are_a_prefix(&self) -> Result<(), String> {
        if !self.exact {
            return Ok(());
        }
        let changed: std::collections::BTreeSet<&String> = self.flow.news.iter().map(|(key, _)| key).collect();
        for key in changed {
            let found = &self.flow.out[key];
            let fits = match self.kind {
                Kind::Copy | Kind::Join => self.wanted_records(key, false).starts_with(found),
                Kind::Count | Kind::Windowed => self.counts_up(found),
                Kind::Bounded | Kind::Stacked => found.len() == 1,
            };
            if !fits {
                return Err(format!("the results of {key} are {found:?}: that is not how the model begins"));
            }
        }
        Ok(())
    }

    fn counts_up(&self, found: &[String]) -> bool {
        let counts: Vec<usize> = found.iter().map(|count| count.parse().unwrap()).collect();
        if self.caches { counts.is_sorted_by(|one, next| one < next) } else { counts.iter().copied().eq(1..=counts.len()) }
    }

    /// What the input of a key becomes, all of it or what is committed.
    fn wanted_records(&self, key: &str, committed: bool) -> Vec<String> {
        let partitions = self.flow.input.iter().zip(&self.flow.read.input);
        let records =
            partitions.flat_map(|(records, position)| records.iter().filter(move |record| !committed || record.offset < *position));
        records.filter(|record| record.key == key).filter_map(|record| self.result(&record.key, &record.value)).collect()
    }

    fn result(&self, key: &str, value: &str) -> Option<String> {
        match self.kind {
            Kind::Copy => (!value.ends_with('3')).then(|| format!("<{value}>")),
            Kind::Join => self.table.get(key).map(|row| format!("{value}+{row}")),
            _ => None,
        }
    }

    /// Where the group stands is what has come out: never ahead of it, and with transactions never behind it.
    fn positions_and_results_agree(&self) -> Result<(), String> {
        match self.kind {
            Kind::Copy | Kind::Join => self.records_agree(),
            Kind::Count => self.counts_agree(self.flow.processed().map(|record| record.key.clone())),
            Kind::Windowed => {
                self.halves_agree()?;
                self.counts_agree(self.flow.processed_between().map(|record| window_of(&record.key, record.at)))
            }
            Kind::Bounded | Kind::Stacked => self.halves_agree(),
        }
    }

    fn records_agree(&self) -> Result<(), String> {
        let keys = self.flow.input.iter().flatten().map(|record| &record.key).collect::<std::collections::BTreeSet<_>>();
        for key in keys {
            let (wanted, found) = (self.wanted_records(key, true).len(), self.flow.out.get(key).map_or(0, Vec::len));
            self.agree(&format!("results of {key}"), found, wanted)?;
        }
        Ok(())
    }

    fn counts_agree(&self, processed: impl Iterator<Item = String>) -> Result<(), String> {
        if !self.atomic && !self.one_writer {
            // Who was taken for dead has written older counts behind newer ones: nobody can prevent that without transactions.
            return Ok(());
        }
        let mut wanted: BTreeMap<String, usize> = self.flow.out.keys().map(|key| (key.clone(), 0)).collect();
        processed.for_each(|key| *wanted.entry(key).or_default() += 1);
        for (key, wanted) in wanted {
            let counts = self.flow.out.get(&key).into_iter().flatten().map(|count| count.parse::<usize>().unwrap());
            self.agree(&format!("count of {key}"), counts.max().unwrap_or(0), wanted)?;
        }
        Ok(())
    }

    /// Of two sub-topologies the first.
    fn halves_agree(&self) -> Result<(), String> {
        let found = self.flow.between.iter().map(Vec::len).sum();
        self.agree("records in the repartition topic", found, self.flow.processed().count())
    }

    fn agree(&self, what: &str, found: usize, wanted: usize) -> Result<(), String> {
        // A transaction that is open hides what lies behind it.
        let hidden = self.atomic && !self.flow.is_decided && found < wanted;
        if found == wanted || hidden || (!self.atomic && found > wanted) {
            return Ok(());
        }
        Err(format!("{what}: {found}, and the committed positions say {wanted}"))
    }

    /// At least once: only what was not committed yet can come again.
    fn what_is_committed_is_not_repeated(&self) -> Result<(), String> {
        if !self.one_writer || self.exact {
            return Ok(());
        }
        let before = self.flow.input.iter().zip(&self.flow.read_before.input);
        let committed = || before.clone().flat_map(|(records, position)| records.iter().filter(move |record| record.offset < *position));
        for (key, value) in &self.flow.news {
            let again = match self.kind {
                Kind::Copy | Kind::Join => committed().any(|record| self.result(&record.key, &record.value).as_ref() == Some(value)),
                Kind::Count => committed().filter(|record| record.key == *key).count() >= value.parse().unwrap(),
                _ => false,
            };
            if again {
                return Err(format!("{key}={value} came again after it had been committed"));
            }
        }
        Ok(())
    }
}
