//! Where a stream thread hands in what it wants to have restored.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::errand::{Errand, Pending, Ticket, errand};
use super::positions::{LookUp, Start, Wanted};
use super::restorer::Restorer;
use super::stores::{Restored, StoreOrder, Stores};
use crate::error::Error;
use crate::kafka::Connect;
use crate::record::{TaskId, Timestamp};
use crate::runtime::board::Board;

/// The side of the stream thread.
pub(crate) struct RestoreDesk {
    tray: Arc<Tray>,
    /// None while it runs on a thread of its own.
    restorer: Option<Restorer>,
}

/// What lies between the two.
#[derive(Default)]
pub(super) struct Tray {
    orders: Mutex<Orders>,
    bell: Condvar,
}

#[derive(Default)]
struct Orders {
    new: Vec<Arc<dyn Pending>>,
    /// More is about to be handed in: what lies there is left until it is complete.
    gathers: bool,
    closed: bool,
}

impl RestoreDesk {
    /// With a restorer that has a client of its own to look at the positions of `group`; `name` is what tools show of it.
    pub(crate) fn new(log: &Arc<dyn Connect>, group: &str, name: String, board: Arc<Board>) -> Result<Self, Error> {
        let tray = Arc::new(Tray::default());
        let restorer = Restorer::new(log, group, name, board, tray.clone())?;
        Ok(RestoreDesk { tray, restorer: Some(restorer) })
    }

    /// Asks where inputs go on: the committed positions of the group, and where it begins that has none.
    pub(crate) fn look_up(&self, inputs: Vec<Wanted>) -> Ticket<Vec<Start>> {
        self.hand_in(LookUp::new(inputs))
    }

    /// Asks for the stores of a task. To be asked for after its positions are known: the ends of the changelogs have to be younger.
    pub(crate) fn restore(&self, task: TaskId, stores: Vec<StoreOrder>) -> Ticket<Restored> {
        self.hand_in(Stores::new(task, stores))
    }

    /// What is handed in from here on is begun together, once the same is said with false.
    pub(crate) fn gather(&self, gathers: bool) {
        self.tray.lock().gathers = gathers;
        self.tray.bell.notify_all();
    }

    /// Lets the restorer do a piece of everything, if it has no thread of its own; true if anything came of it.
    pub(crate) fn step(&mut self, now: Timestamp) -> bool {
        self.restorer.as_mut().is_some_and(|restorer| restorer.step(now))
    }

    /// Whether errands are done while the stream thread does something else.
    pub(crate) fn is_elsewhere(&self) -> bool {
        self.restorer.is_none()
    }

    /// The restorer, for a thread of its own. Once.
    pub(crate) fn take_restorer(&mut self) -> Option<Restorer> {
        self.restorer.take()
    }

    fn hand_in<E: Errand>(&self, what: E) -> Ticket<E::Found> {
        let (ticket, pending) = errand(what);
        self.tray.lock().new.push(pending);
        self.tray.bell.notify_all();
        ticket
    }
}

impl Drop for RestoreDesk {
    fn drop(&mut self) {
        self.tray.lock().closed = true;
        self.tray.bell.notify_all();
    }
}

impl Tray {
    fn lock(&self) -> MutexGuard<'_, Orders> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn take(&self) -> Vec<Arc<dyn Pending>> {
        let mut orders = self.lock();
        if orders.gathers { Vec::new() } else { std::mem::take(&mut orders.new) }
    }

    /// Waits for something new, or until the time is over; false once the desk is closed.
    pub(super) fn wait(&self, within: Duration) -> bool {
        let waited =
            self.bell.wait_timeout_while(self.lock(), within, |orders| (orders.new.is_empty() || orders.gathers) && !orders.closed);
        !waited.unwrap_or_else(PoisonError::into_inner).0.closed
    }
}
