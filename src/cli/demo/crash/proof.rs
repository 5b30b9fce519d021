//! What the log says when everything is over, against the truth.

use std::collections::{BTreeMap, HashMap};

use anyhow::{Result, anyhow};
use highwater::kafka::{Connect, Isolation};

use super::input;
use super::site::Site;
use super::worker::committed_changes;
use crate::cli::tail::Tail;
use crate::cli::terminal::grouped;

/// What one process had to read back at its start, of what was committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Restart {
    pub(super) records: u64,
    pub(super) committed: u64,
}

impl Restart {
    /// A state that was lost is read back as a whole.
    fn kept_state(&self) -> bool {
        self.committed == 0 || self.records < self.committed
    }
}

/// Totals as they were found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Proof {
    records: u64,
    /// The sum of all last counts.
    counted: i64,
    users: usize,
    /// Users whose last count is the truth.
    right: usize,
    /// Results that do not say more than the one before of the same user.
    repeated: u64,
    restarts: Vec<Restart>,
    /// Committed records of the changelog.
    changes: u64,
}

impl Proof {
    /// Reads the log.
    pub(super) fn of(log: &dyn Connect, site: &Site, records: u64, restarts: &[Restart]) -> Result<Proof> {
        let mut results = Vec::new();
        Tail::of(log, &site.totals())?.visit_rest(Isolation::ReadCommitted, &mut |record| {
            let count = record.value.and_then(|value| value.try_into().ok()).map(i64::from_be_bytes);
            results.push((
                String::from_utf8_lossy(record.key.unwrap_or_default()).into_owned(),
                count.ok_or_else(|| anyhow!("a total without a count"))?,
            ));
            Ok(())
        })?;
        let changes = committed_changes(log, site)?;
        Ok(Proof { changes, restarts: restarts.to_vec(), ..Proof::judge(records, &input::truth(records), results) })
    }

    fn judge(records: u64, truth: &HashMap<String, i64>, results: impl IntoIterator<Item = (String, i64)>) -> Proof {
        let (mut last, mut repeated) = (BTreeMap::new(), 0);
        for (user, count) in results {
            let before = last.insert(user, count);
            repeated += u64::from(before.is_some_and(|before| before >= count));
        }
        let right = last.iter().filter(|(user, count)| truth.get(*user) == Some(count)).count();
        Proof { records, counted: last.values().sum(), users: truth.len(), right, repeated, ..Proof::default() }
    }

    /// For a reader. `again`: visits that were taken more than once, because a kill had withdrawn what they had come to.
    pub(super) fn lines(&self, again: u64) -> Vec<String> {
        let restored: u64 = self.restarts.iter().map(|restart| restart.records).sum();
        let counted = u64::try_from(self.counted).unwrap_or(0);
        vec![
            format!("  counted    {} of {}", grouped(counted), grouped(self.records)),
            format!("  users      {} of {} with the right count", grouped(self.right as u64), grouped(self.users as u64)),
            format!(
                "  doubled    {} results; {} visits were taken again after a kill, their first results never counted",
                grouped(self.repeated),
                grouped(again)
            ),
            format!(
                "  state      {}: {} records read back in all, the changelog has {}",
                if self.state_is_kept() { "kept" } else { "lost" },
                grouped(restored),
                grouped(self.changes)
            ),
        ]
    }

    fn state_is_kept(&self) -> bool {
        self.restarts.iter().all(Restart::kept_state)
    }

    /// What is not as promised.
    pub(super) fn faults(&self) -> Vec<String> {
        let checks = [
            (u64::try_from(self.counted) == Ok(self.records), "visits were lost or counted twice"),
            (self.right == self.users, "users have a wrong count"),
            (self.repeated == 0, "results were sent twice"),
            (self.state_is_kept(), "local state was lost and had to be rebuilt"),
        ];
        checks.into_iter().filter(|(good, _)| !good).map(|(_, text)| text.to_owned()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proof(results: &[(&str, i64)], restarts: &[Restart]) -> Proof {
        let truth = HashMap::from([("anna".to_owned(), 3), ("ben".to_owned(), 1)]);
        let results = results.iter().map(|(user, count)| ((*user).to_owned(), *count));
        Proof { restarts: restarts.to_vec(), ..Proof::judge(4, &truth, results) }
    }

    const GOOD: &[(&str, i64)] = &[("anna", 2), ("ben", 1), ("anna", 3)];

    #[test]
    fn the_truth_is_believed() {
        let kept = [Restart { records: 0, committed: 0 }, Restart { records: 2, committed: 90 }];
        assert_eq!(proof(GOOD, &kept).faults(), [""; 0]);
        assert_eq!(proof(GOOD, &kept).lines(7)[0], "  counted    4 of 4");
    }

    #[test]
    fn every_broken_promise_is_named() {
        let faults = |results: &[(&str, i64)], restarts: &[Restart]| proof(results, restarts).faults().join("; ");
        assert!(faults(&[("anna", 3)], &[]).contains("lost"));
        assert!(faults(&[("anna", 3), ("ben", 2)], &[]).contains("counted twice; users have a wrong count"));
        // Errors that cancel each other out.
        assert_eq!(faults(&[("anna", 2), ("ben", 2)], &[]), "users have a wrong count");
        assert_eq!(faults(&[("anna", 3), ("ben", 1), ("anna", 3)], &[]), "results were sent twice");
        assert!(faults(GOOD, &[Restart { records: 90, committed: 90 }]).contains("rebuilt"));
    }
}
