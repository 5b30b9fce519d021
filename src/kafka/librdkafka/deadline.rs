//! How long something may still take.

use std::time::Duration;

use crate::clock::{Clock, SystemClock};
use crate::record::millis;

/// A moment to wait until. A clock that is set back makes nobody wait for longer than was asked.
pub(super) struct Deadline {
    at: i64,
    left: Duration,
}

impl Deadline {
    pub(super) fn after(span: Duration) -> Self {
        Deadline { at: SystemClock.now().as_millis().saturating_add(millis(span)), left: span }
    }

    /// What is left of the time.
    pub(super) fn rest(&mut self) -> Duration {
        let until = self.at - SystemClock.now().as_millis();
        self.left = self.left.min(Duration::from_millis(u64::try_from(until).unwrap_or(0)));
        self.left
    }
}
