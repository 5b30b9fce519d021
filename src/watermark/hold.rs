//! When a window closes, and how old a result may be that is not sent yet. Arithmetic on the watermark: no scan, no state.

use crate::record::{Timestamp, millis};
use crate::window::{SessionWindows, SlidingWindows, TimeWindows, UnlimitedWindows};

/// Windows that close by the watermark.
pub(crate) trait Closing {
    /// The smallest watermark at which a window with this end is closed. A (record, window) pair is late exactly when the watermark has reached it.
    fn closing_watermark(&self, end: Timestamp) -> Timestamp;
    /// The oldest time that a result kept back until its window closes may carry while the watermark is `w` (D2, D3): that of the oldest window
    /// that can still be open, whether it has rows or not, since a record within grace may open it. It never goes back as `w` grows.
    /// Nodes that emit on update keep nothing back and do not ask (D4).
    fn hold(&self, w: Timestamp) -> Timestamp;
}

/// `[start, end)`: closed at end + grace. Held: the start of the oldest window with end + grace after `w`, none starting before the epoch.
impl Closing for TimeWindows {
    fn closing_watermark(&self, end: Timestamp) -> Timestamp {
        end + self.grace
    }
    fn hold(&self, w: Timestamp) -> Timestamp {
        if w == Timestamp::MAX {
            return w;
        }
        let advance = millis(self.advance).max(1);
        let closed = (w - self.size - self.grace).as_millis().div_euclid(advance);
        Timestamp::from_millis(closed.saturating_add(1).saturating_mul(advance).max(0))
    }
}

/// `[first, last]`: the first instant that cannot join is last + gap + 1 (D1). Held: the oldest last instant of an open session, because that is the time
/// of its result; by the start one endless session would stop everything behind it (D3).
impl Closing for SessionWindows {
    fn closing_watermark(&self, end: Timestamp) -> Timestamp {
        Timestamp::from_millis((end + self.gap).as_millis().saturating_add(1)) + self.grace
    }
    fn hold(&self, w: Timestamp) -> Timestamp {
        if w == Timestamp::MAX { w } else { w - self.gap - self.grace }
    }
}

/// `[start, end]`: the end still belongs to the window, so the instant after it counts, as in a session. Held: the oldest start that can be open.
impl Closing for SlidingWindows {
    fn closing_watermark(&self, end: Timestamp) -> Timestamp {
        Timestamp::from_millis(end.as_millis().saturating_add(1)) + self.grace
    }
    fn hold(&self, w: Timestamp) -> Timestamp {
        if w == Timestamp::MAX { w } else { (w - self.difference - self.grace).max(Timestamp::from_millis(0)) }
    }
}

/// One window without an end: only the end of input closes it.
impl Closing for UnlimitedWindows {
    fn closing_watermark(&self, _: Timestamp) -> Timestamp {
        Timestamp::MAX
    }
    fn hold(&self, w: Timestamp) -> Timestamp {
        if w == Timestamp::MAX { w } else { self.start }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::window::TimeWindow;

    const fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }
    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn a_session_ends_at_the_first_instant_that_cannot_join_it_d1() {
        let sessions = SessionWindows::with_gap(ms(10)).grace(ms(5));
        assert_eq!(sessions.closing_watermark(at(100)), at(116));
        assert_eq!(TimeWindows::of(ms(10)).grace(ms(5)).closing_watermark(at(100)), at(105));
        assert_eq!(SlidingWindows::of(ms(10)).closing_watermark(at(100)), at(101));
        assert_eq!(SlidingWindows::of(ms(10)).closing_watermark(Timestamp::MAX), Timestamp::MAX);
    }

    #[test]
    fn time_windows_hold_the_oldest_window_that_can_be_open_d2() {
        for (size, advance, grace) in [(10, 10, 0), (10, 5, 3), (10, 3, 7), (7, 2, 0)] {
            let windows = TimeWindows::of(ms(size)).advance_by(ms(advance)).grace(ms(grace));
            for w in -30..60 {
                let open = |window: &TimeWindow| windows.closing_watermark(window.end) > at(w);
                let oldest = (0..200).flat_map(|t| windows.containing(at(t))).filter(open).map(|window| window.start).min();
                assert_eq!(Some(windows.hold(at(w))), oldest, "size {size} advance {advance} grace {grace} at {w}");
            }
        }
    }

    #[test]
    fn sessions_hold_by_their_last_instant_d3() {
        let sessions = SessionWindows::with_gap(ms(10)).grace(ms(5));
        assert_eq!(sessions.hold(at(3)), at(-12), "sessions may lie before the epoch");
        for w in -20..40 {
            let oldest = (-50..50).map(at).find(|last| sessions.closing_watermark(*last) > at(w));
            assert_eq!(Some(sessions.hold(at(w))), oldest, "at {w}");
        }
    }

    #[test]
    fn the_end_of_input_releases_everything() {
        let all: [&dyn Closing; 4] =
            [&TimeWindows::of(ms(10)), &SessionWindows::with_gap(ms(1)), &SlidingWindows::of(ms(3)), &UnlimitedWindows::of()];
        assert!(all.iter().all(|windows| windows.hold(Timestamp::MAX) == Timestamp::MAX));
        assert_eq!(UnlimitedWindows::of().starting_at(at(5)).hold(at(1_000)), at(5));
        assert_eq!(SlidingWindows::of(ms(10)).grace(ms(5)).hold(at(40)), at(25));
    }
}
