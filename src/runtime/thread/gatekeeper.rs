//! Asking the program whether a task may run.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::error::{BoxError, Error, ErrorKind, Place};
use crate::kafka::{Connect, Consumer, Isolation, LogError, Outgoing};
use crate::record::{TaskId, Timestamp, TopicPartition};
use crate::runtime::gate::{Closing, Gate, TaskGate};
use crate::runtime::plan::TaskState;
use crate::runtime::thread::StreamThread;
use crate::runtime::thread::circle::{Scope, is_in};

/// The gate, with the consumer that it reads with.
pub(super) struct Gatekeeper {
    gate: Arc<dyn TaskGate>,
    reader: Box<dyn Consumer>,
}

/// How a task stands to its gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Passage {
    /// To be asked, not before this time.
    Asks(Timestamp),
    Open,
    /// It takes nothing until a commit says otherwise.
    Held,
    /// It is done when what it has sent is committed.
    Ends,
}

impl Passage {
    /// Whether it is time to ask.
    pub(super) fn asks(self, now: Timestamp) -> bool {
        matches!(self, Passage::Asks(at) if at <= now)
    }
}

impl Gatekeeper {
    pub(super) fn new(gate: &Arc<dyn TaskGate>, log: &dyn Connect) -> Result<Self, LogError> {
        Ok(Gatekeeper { gate: gate.clone(), reader: log.consumer(Isolation::ReadCommitted)? })
    }

    fn ask(&mut self, act: impl FnOnce(&dyn TaskGate, &mut dyn Consumer) -> Result<Gate, BoxError>) -> Result<Gate, Error> {
        let Gatekeeper { gate, reader } = self;
        let (kind, source) = match catch_unwind(AssertUnwindSafe(|| act(&**gate, &mut **reader))) {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(source)) => (ErrorKind::Processing, source),
            Err(_) => (ErrorKind::Panic, "the gate panicked".into()),
        };
        Err(Error::new(kind, Place { node: Some("gate".to_owned()), ..Place::default() }, source))
    }
}

impl StreamThread {
    /// Asks the gate, if there is one, for a task that is complete and has not begun. False if it has to wait.
    pub(super) fn pass_gate(&mut self, id: TaskId) -> Result<bool, Error> {
        let (Some(gatekeeper), Some(active)) = (&mut self.gatekeeper, self.tasks.get_mut(&id)) else { return Ok(true) };
        let answer = gatekeeper.ask(|gate, reader| gate.enter(id, reader))?;
        tracing::info!(task = %id, ?answer, "the gate");
        if answer == Gate::Hold {
            active.passage = Passage::Asks(self.now + self.settings.commit_interval);
            return Ok(false);
        }
        active.obey(&answer);
        Ok(true)
    }

    /// Asks the gate, if there is one, for every task of a circle that commits; what it adds is sent before it returns.
    pub(super) fn ask_closing(&mut self, scope: Scope) -> Vec<(TaskId, Gate)> {
        let Some(gatekeeper) = &mut self.gatekeeper else { return Vec::new() };
        let (mut answers, mut failed) = (Vec::new(), Vec::new());
        for (id, active) in self.tasks.iter().filter(|(id, active)| is_in(scope, **id) && active.commits()) {
            let Some(outbox) = self.circles.outbox(*id) else { continue };
            let positions: BTreeMap<TopicPartition, i64> =
                active.feeds.iter().map(|feed| (feed.partition.clone(), feed.position())).collect();
            let mut send = |partition: &TopicPartition, record: Outgoing<'_>| outbox.send(*id, partition, &[record]);
            let mut closing = Closing { positions, send: &mut send };
            match gatekeeper.ask(|gate, reader| gate.closing(*id, reader, &mut closing)) {
                Ok(answer) => answers.push((*id, answer)),
                Err(error) => failed.push((*id, error)),
            }
        }
        failed.into_iter().for_each(|(id, error)| self.fail_unless_swept_away(id, error));
        answers
    }

    /// The commit in which the gate gave these answers is through.
    pub(super) fn obey(&mut self, answers: &[(TaskId, Gate)]) {
        for (id, answer) in answers {
            if let Some(active) = self.tasks.get_mut(id).filter(|active| active.state == TaskState::Running) {
                active.obey(answer);
            }
        }
    }
}

impl super::ActiveTask {
    fn obey(&mut self, answer: &Gate) {
        self.passage = match answer {
            Gate::Run | Gate::RunUntil(_) => Passage::Open,
            Gate::Hold => Passage::Held,
            Gate::Stop => Passage::Ends,
        };
        for feed in &mut self.feeds {
            feed.fence_at(match answer {
                Gate::RunUntil(ends) => ends.get(&feed.partition).copied(),
                Gate::Run | Gate::Hold | Gate::Stop => None,
            });
        }
    }
}
