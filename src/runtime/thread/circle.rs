//! Tasks that commit together, and where they send: all of a thread, or each for itself.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::config::{Guarantee, ProducerScope, Settings};
use crate::kafka::{Connect, LogError};
use crate::record::{TaskId, Timestamp};
use crate::runtime::plan::BatchLimit;
use crate::runtime::thread::outbox::Outbox;

/// Whose circle it is; none for that of a whole thread.
pub(super) type Scope = Option<TaskId>;

/// Whether a task is in the circle.
pub(super) fn is_in(scope: Scope, task: TaskId) -> bool {
    scope.is_none_or(|of| of == task)
}

/// Tasks whose commit is one.
pub(super) struct Circle {
    pub(super) outbox: Arc<Outbox>,
    pub(super) batch: BatchLimit,
    /// How many transactions in a row in which a task had sent were given up for what was sent.
    pub(super) setbacks: BTreeMap<TaskId, u32>,
}

/// All circles of a thread.
pub(super) struct Circles {
    all: BTreeMap<Scope, Circle>,
    /// What the transactional ids of single tasks begin with, if tasks commit for themselves.
    by_task: Option<Prefix>,
}

struct Prefix {
    log: Arc<dyn Connect>,
    prefix: String,
    timeout: Duration,
}

impl Circle {
    fn new(outbox: Arc<Outbox>) -> Self {
        Circle { outbox, batch: BatchLimit::default(), setbacks: BTreeMap::new() }
    }
}

impl Circles {
    /// `name`: of the thread, unique among all that run the application.
    pub(super) fn new(settings: &Settings, log: &Arc<dyn Connect>, name: &str) -> Result<Self, LogError> {
        let timeout = settings.transaction_timeout;
        let (outbox, by_task) = match (settings.guarantee, &settings.producer_scope) {
            (Guarantee::AtLeastOnce, _) => (Some(Outbox::plain(log.producer()?)), None),
            (Guarantee::ExactlyOnce, ProducerScope::Thread) => (Some(Outbox::transactional(log.clone(), name.into(), timeout)), None),
            (Guarantee::ExactlyOnce, ProducerScope::Task { prefix }) => {
                (None, Some(Prefix { log: log.clone(), prefix: prefix.to_string(), timeout }))
            }
        };
        Ok(Circles { all: outbox.into_iter().map(|outbox| (None, Circle::new(outbox))).collect(), by_task })
    }

    /// Which circle a task is in.
    pub(super) fn of(&self, task: TaskId) -> Scope {
        self.by_task.as_ref().map(|_| task)
    }

    /// The circle of a task, which is made if it is the task's own and new.
    pub(super) fn enter(&mut self, task: TaskId) -> &mut Circle {
        let scope = self.of(task);
        let by_task = &self.by_task;
        self.all.entry(scope).or_insert_with(|| {
            let Prefix { log, prefix, timeout } = by_task.as_ref().expect("the circle of a whole thread is there from the start");
            Circle::new(Outbox::transactional(log.clone(), format!("{prefix}-{task}").into(), *timeout))
        })
    }

    /// A task is none of this thread's any more. What its own circle has open is taken back.
    pub(super) fn leave(&mut self, task: TaskId) {
        for circle in self.all.values_mut() {
            circle.setbacks.remove(&task);
        }
        if self.by_task.is_some()
            && let Some(circle) = self.all.remove(&Some(task))
        {
            circle.outbox.abort();
        }
    }

    pub(super) fn scopes(&self) -> Vec<Scope> {
        self.all.keys().copied().collect()
    }

    /// None for one that is gone.
    pub(super) fn get(&self, scope: Scope) -> Option<&Circle> {
        self.all.get(&scope)
    }

    pub(super) fn get_mut(&mut self, scope: Scope) -> Option<&mut Circle> {
        self.all.get_mut(&scope)
    }

    /// Where a task sends; none if it has gone.
    pub(super) fn outbox(&self, task: TaskId) -> Option<&Arc<Outbox>> {
        self.all.get(&self.of(task)).map(|circle| &circle.outbox)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Circle> {
        self.all.values()
    }

    pub(super) fn set_now(&self, now: Timestamp) {
        self.iter().for_each(|circle| circle.outbox.set_now(now));
    }

    /// Whether a transaction is left undecided.
    pub(super) fn owe(&self) -> bool {
        self.iter().any(|circle| circle.outbox.owes())
    }

    /// Sees to it that every producer is initialised.
    pub(super) fn ready(&self) -> Result<(), LogError> {
        self.iter().try_for_each(|circle| circle.outbox.ready())
    }
}
