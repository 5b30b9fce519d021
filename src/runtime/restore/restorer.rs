//! Who restores.

use std::sync::Arc;
use std::time::Duration;

use super::desk::Tray;
use super::errand::{Pace, Pending, Tools};
use crate::clock::Clock;
use crate::error::Error;
use crate::kafka::{Admin, Connect, Group, MemberOptions};
use crate::record::Timestamp;
use crate::runtime::arena::Arena;
use crate::runtime::board::Board;

/// Does what is handed in at one desk.
pub(crate) struct Restorer {
    name: String,
    /// Looks up offsets and reads changelogs. It never joins the group: it only asks for its positions.
    client: Box<dyn Group>,
    board: Arc<Board>,
    tray: Arc<Tray>,
    open: Vec<Arc<dyn Pending>>,
    buffer: Arena,
    log: Arc<dyn Connect>,
    /// Of the one that looks after the topics, once it has looked.
    admin: Option<Box<dyn Admin>>,
}

impl Restorer {
    pub(super) fn new(log: &Arc<dyn Connect>, group: &str, name: String, board: Arc<Board>, tray: Arc<Tray>) -> Result<Self, Error> {
        let client = log.member_with(MemberOptions { to_the_end: true, ..MemberOptions::new(group, name.clone()) })?;
        Ok(Restorer { name, client, board, tray, open: Vec::new(), buffer: Arena::default(), log: log.clone(), admin: None })
    }

    /// The name of the operating system's thread that runs it.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// A piece of every errand, in the order in which they came; true if anything came of it. What is over is told when all have had their turn, so that
    /// tasks that are complete together begin together: each beginning waits for the fetch that is under way.
    pub(crate) fn step(&mut self, now: Timestamp) -> bool {
        let new = self.tray.take();
        self.open.extend(new);
        if self.open.is_empty() {
            return false;
        }
        // For the client's housekeeping: nothing is waited for.
        if let Err(error) = self.client.poll(Duration::ZERO) {
            tracing::debug!(%error, "the restorer's client");
        }
        let Restorer { name, client, board, open, buffer, .. } = self;
        let (mut worked, mut over) = (false, Vec::new());
        open.retain(|errand| {
            let pace = errand.step(&mut Tools { name, client: &mut **client, board, buffer, now });
            worked |= pace != Pace::Waits;
            if pace == Pace::Over {
                over.push(errand.clone());
            }
            pace != Pace::Over
        });
        over.iter().for_each(|errand| errand.tell());
        worked
    }

    /// Looks whether the topics are still those that the instance started with. Nobody else says so: a client that reads a topic goes on at the
    /// same offset of another one of its name.
    fn look_at_topics(&mut self) {
        let admin = match self.admin.take() {
            Some(admin) => Ok(admin),
            None => self.log.admin(),
        };
        let looked = admin.and_then(|admin| self.board.identities().altered(&**self.admin.insert(admin)));
        match looked {
            Ok(altered) => self.board.note_altered(altered),
            Err(error) => tracing::debug!(%error, "the topics were not looked at"),
        }
    }

    /// Works until the desk is closed.
    pub(crate) fn run(mut self, clock: &dyn Clock) {
        /// Until a transaction may be decided, or records have come.
        const AGAIN: Duration = Duration::from_millis(5);
        const IDLE: Duration = Duration::from_secs(5);
        let watches = self.board.shall_watch();
        let mut looked_at = clock.now();
        loop {
            if watches && clock.now() >= looked_at + IDLE {
                self.look_at_topics();
                looked_at = clock.now();
            }
            let patience = match self.step(clock.now()) {
                true => Duration::ZERO,
                false if self.open.is_empty() => IDLE,
                false => AGAIN,
            };
            if !self.tray.wait(patience) {
                return;
            }
        }
    }
}
