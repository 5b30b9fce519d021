//! What a store must hold: the fold of its committed changelog up to the offset that it says it stands for.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Cluster;
use super::kept::{Keep, Rows};
use crate::config::Settings;
use crate::record::{TaskId, Timestamp, TopicPartition};
use crate::runtime::task::{Task, TaskParts};
use crate::state::{CacheBudget, ChangelogRecord};
use crate::testing::bare_task::Forget;
use crate::topology::Topology;

/// Folds of changelogs, kept to be carried on.
#[derive(Default)]
pub(super) struct Folds {
    tasks: BTreeMap<TaskId, Fold>,
    /// Rows that were looked at already: by instance, task and store, how often they had been written then.
    seen: BTreeMap<(usize, TaskId, String), u64>,
}

/// The stores of one task, restored as far as anybody asked.
struct Fold {
    task: Task,
    rows: Keep,
    next: BTreeMap<String, i64>,
}

impl Fold {
    fn new(topology: &Topology, settings: &Settings, id: TaskId) -> Self {
        let (rows, fate) = (Keep::default(), super::fate::SharedFate::new(0, false));
        let number = usize::try_from(id.subtopology).unwrap_or(usize::MAX);
        let index = topology.plan().subtopologies.iter().position(|part| part.number == number).unwrap_or(number);
        let task = Task::new(TaskParts {
            topology,
            subtopologies: &[index],
            settings,
            cache: Arc::new(CacheBudget::new(0)),
            silent_caches: false,
            output: Box::new(Forget),
            partitions: &|_| Vec::new(),
            backends: &mut |store, _| Box::new(rows.open(id, store, &fate)),
            now: Timestamp::from_millis(0),
        });
        Fold { task, rows, next: BTreeMap::new() }
    }
}

impl Cluster {
    /// Kept stores whose rows are not the fold of their committed changelog up to their offset, of those written since the last call; `all`:
    /// of every one. A store that is ahead of what is decided so far is looked at later, when everything is.
    ///
    /// # Panics
    /// If a store has rows and its changelog cannot be read.
    pub fn torn_stores(&mut self, all: bool) -> Vec<String> {
        let mut torn = Vec::new();
        let mut folds = std::mem::take(&mut self.folds);
        let kept: Vec<_> = self.kept.iter().map(|(instance, keep)| (*instance, keep.slots())).collect();
        for (instance, slots) in kept {
            for ((task, store), slot) in slots {
                let place = (instance, task, store.clone());
                if !all && folds.seen.get(&place) == Some(&slot.writes()) {
                    continue;
                }
                let (rows, offset) = (slot.rows(), slot.offset());
                let wanted = match offset {
                    None => Some(Rows::new()),
                    Some(offset) => self.fold(&mut folds, task, &store, offset),
                };
                let Some(wanted) = wanted else { continue };
                folds.seen.insert(place, slot.writes());
                if rows != wanted {
                    let (found, due) = (rows.len(), wanted.len());
                    torn.push(format!(
                        "{store} of {task} in instance {instance} has {found} rows that are not the {due} of its changelog up to {offset:?}"
                    ));
                }
            }
        }
        self.folds = folds;
        torn
    }

    /// The rows of a store at an offset; none if not everything before that is decided.
    fn fold(&self, folds: &mut Folds, id: TaskId, store: &str, offset: i64) -> Option<Rows> {
        let is_behind = |fold: &Fold| fold.next.get(store).is_some_and(|next| *next > offset);
        if folds.tasks.get(&id).is_some_and(is_behind) {
            folds.tasks.remove(&id);
        }
        let fold = folds.tasks.entry(id).or_insert_with(|| Fold::new(&self.topology, &self.settings, id));
        let assembled = fold.task.stores().iter().find(|candidate| *candidate.name == *store)?;
        let changelog = TopicPartition::new(assembled.changelog.clone()?, id.partition);
        let from = fold.next.get(store).copied().unwrap_or(0);
        if self.ends(&changelog.topic, changelog.partition).0 < offset {
            return None;
        }
        let logged = self.records_since(&changelog.topic, changelog.partition, from).0;
        let records: Vec<ChangelogRecord<'_>> = logged
            .iter()
            .filter(|record| record.offset < offset)
            .map(|record| ChangelogRecord {
                key: record.key.as_deref().unwrap_or_default(),
                value: record.value.as_deref(),
                timestamp: record.timestamp,
                headers: &record.headers,
            })
            .collect();
        assembled.control.restore(&records, offset).expect("a changelog that the engine wrote");
        fold.next.insert(store.to_owned(), offset);
        let slots = fold.rows.slots();
        slots.iter().find(|((_, name), _)| *name == store).map(|(_, slot)| slot.rows())
    }
}
