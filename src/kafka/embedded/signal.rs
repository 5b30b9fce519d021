//! How a waiting `poll` learns that something has happened.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex};
use std::time::Duration;

use super::lock;

/// One bell for the whole log. Whoever wakes looks for itself whether the news concern it.
///
/// Lock order: the bell's lock before any other. So whoever rings holds nothing.
#[derive(Debug, Default)]
pub(super) struct Signal {
    door: Mutex<()>,
    bell: Condvar,
    waiting: AtomicUsize,
}

impl Signal {
    /// Tells all who wait to look again. Costs one read while nobody waits.
    pub(super) fn ring(&self) {
        if self.waiting.load(Ordering::SeqCst) > 0 {
            // Whoever has looked but does not sleep yet holds the door: without passing it the ring would be missed.
            drop(lock(&self.door));
            self.bell.notify_all();
        }
    }

    /// Waits until `ready` or until the time is over; tells which.
    pub(super) fn wait(&self, timeout: Duration, ready: impl Fn() -> bool) -> bool {
        if ready() {
            return true;
        }
        if timeout.is_zero() {
            return false;
        }
        let door = lock(&self.door);
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let (_door, over) = self.bell.wait_timeout_while(door, timeout, |()| !ready()).expect("nobody panics behind the door");
        self.waiting.fetch_sub(1, Ordering::SeqCst);
        !over.timed_out()
    }
}
