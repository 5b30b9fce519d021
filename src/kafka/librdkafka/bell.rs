//! What wakes a waiting `poll`: queues of the client library ring it from the library's own threads.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// Rung when something has come; whoever waits goes on. A ring that nobody waited for is kept.
#[derive(Debug, Default)]
pub(super) struct Bell {
    rung: Mutex<bool>,
    woken: Condvar,
}

impl Bell {
    /// Wakes whoever waits, or the next one who would.
    pub(super) fn ring(&self) {
        *self.rung.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.woken.notify_one();
    }

    /// Waits for a ring, at most `timeout`; tells whether one came.
    pub(super) fn wait(&self, timeout: Duration) -> bool {
        let rung = self.rung.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.woken.wait_timeout_while(rung, timeout, |rung| !*rung);
        let (mut rung, _) = waited.unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *rung)
    }
}
