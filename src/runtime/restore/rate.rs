//! How fast an instance may read its changelogs back: bytes a second, all of its threads taken together.

use std::num::NonZeroU64;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use crate::record::Timestamp;

/// Read at once at the least: smaller pieces cost more than they smooth.
const LEAST_PIECE: usize = 16 << 10;

/// The limit, if there is one. What was read is paid for in time before the next piece.
#[derive(Debug, Default)]
pub(crate) struct RestoreRate {
    limit: OnceLock<Option<NonZeroU64>>,
    debt: Mutex<Debt>,
}

/// From a moment on, how long nothing may be read.
#[derive(Clone, Copy, Debug, Default)]
struct Debt {
    since: Timestamp,
    wait: Duration,
}

impl RestoreRate {
    /// Bytes a second: said once, before the first thread is made.
    pub(crate) fn limit(&self, bytes: Option<NonZeroU64>) {
        let _ = self.limit.set(bytes); // the first word counts
    }

    fn bytes_a_second(&self) -> Option<NonZeroU64> {
        self.limit.get().copied().flatten()
    }

    /// Bytes to read next, of `most`: a tenth of a second's. None while what was read before is not paid for.
    pub(super) fn next_piece(&self, most: usize, now: Timestamp) -> Option<usize> {
        let Some(limit) = self.bytes_a_second() else { return Some(most) };
        let mut debt = self.debt.lock().unwrap_or_else(PoisonError::into_inner);
        debt.pass(now);
        let tenth = usize::try_from(limit.get() / 10).unwrap_or(usize::MAX);
        debt.wait.is_zero().then(|| tenth.max(LEAST_PIECE).min(most))
    }

    /// So many bytes were read.
    pub(super) fn pay(&self, bytes: usize, now: Timestamp) {
        let Some(limit) = self.bytes_a_second() else { return };
        let mut debt = self.debt.lock().unwrap_or_else(PoisonError::into_inner);
        debt.pass(now);
        debt.wait += Duration::from_secs_f64(bytes as f64 / limit.get() as f64);
    }
}

impl Debt {
    /// A clock that was set back has let no time pass.
    fn pass(&mut self, now: Timestamp) {
        let passed = now.as_millis().saturating_sub(self.since.as_millis());
        self.wait = self.wait.saturating_sub(Duration::from_millis(u64::try_from(passed).unwrap_or(0)));
        self.since = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limited(bytes: u64) -> RestoreRate {
        let rate = RestoreRate::default();
        rate.limit(NonZeroU64::new(bytes));
        rate
    }

    #[test]
    fn without_a_limit_everything_is_read_at_once() {
        let rate = RestoreRate::default();
        rate.pay(usize::MAX, Timestamp::from_millis(5));
        assert_eq!(rate.next_piece(4 << 20, Timestamp::from_millis(5)), Some(4 << 20));
    }

    #[test]
    fn the_cap_holds_within_five_percent_whatever_the_pieces_and_the_looks() {
        for (limit, look) in [(1_000_000, 5), (10_000_000, 1), (200_000, 17)] {
            let (rate, mut read) = (limited(limit), 0);
            for millis in (0..60_000).step_by(look) {
                let now = Timestamp::from_millis(millis);
                if let Some(piece) = rate.next_piece(4 << 20, now) {
                    read += piece as u64;
                    rate.pay(piece, now);
                }
            }
            let share = read as f64 / (60 * limit) as f64;
            assert!((0.95..=1.05).contains(&share), "{limit} looked at every {look} ms: {share}");
        }
    }

    #[test]
    fn a_record_larger_than_a_piece_is_paid_for_and_a_clock_that_is_set_back_stops_nothing_for_long() {
        let rate = limited(1_000);
        assert_eq!(rate.next_piece(4 << 20, Timestamp::from_millis(90_000)), Some(LEAST_PIECE));
        rate.pay(3_000, Timestamp::from_millis(90_000));
        assert_eq!(rate.next_piece(4 << 20, Timestamp::from_millis(92_999)), None);
        assert_eq!(rate.next_piece(4 << 20, Timestamp::from_millis(10_000)), None, "set back");
        assert!(rate.next_piece(4 << 20, Timestamp::from_millis(10_001)).is_some());
    }
}
