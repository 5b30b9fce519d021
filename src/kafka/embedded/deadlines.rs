//! When the log has to look for what was open or silent for too long.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use crate::record::Timestamp;

/// Longest wait between two looks at a clock that may be moved by hand.
const LONGEST_SLICE: i64 = 100;

/// No deadline comes before this one; whoever has a later one adds it again when the time is kept.
#[derive(Debug)]
pub(super) struct Deadlines(AtomicI64);

impl Default for Deadlines {
    fn default() -> Self {
        Deadlines(AtomicI64::new(i64::MAX))
    }
}

impl Deadlines {
    pub(super) fn add(&self, deadline: Timestamp) {
        self.0.fetch_min(deadline.as_millis(), Ordering::SeqCst);
    }

    /// Whether there is anything to wait for.
    pub(super) fn any(&self) -> bool {
        self.0.load(Ordering::SeqCst) != i64::MAX
    }

    /// Whether one may have come. If so they are forgotten, for all to be added again.
    pub(super) fn take_due(&self, now: Timestamp) -> bool {
        let due = self.0.load(Ordering::SeqCst) <= now.as_millis();
        if due {
            self.0.store(i64::MAX, Ordering::SeqCst);
        }
        due
    }

    /// How long to wait before the next look.
    pub(super) fn slice(&self, now: Timestamp) -> Option<Duration> {
        let soonest = self.0.load(Ordering::SeqCst);
        let left = soonest.saturating_sub(now.as_millis()).clamp(1, LONGEST_SLICE);
        (soonest != i64::MAX).then(|| Duration::from_millis(left.unsigned_abs()))
    }
}
