//! What a task tells the readers of its repartition topics, and when.

use std::time::Duration;

use super::passed;
use crate::record::{Timestamp, millis};

/// One announcement of a task.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Announcement {
    /// Nothing older than this will be sent: [`output_watermark`]. None, and only together with idle: nothing was ever seen.
    pub(crate) watermark: Option<Timestamp>,
    /// The readers need not wait for this task: all its inputs are idle *and* it holds no rows (D12).
    pub(crate) idle: bool,
}

/// The smaller of W and what nodes hold back; `holds` are the [`Closing::hold`](super::Closing::hold)s at W of the nodes that keep results, and the close
/// cursor while a close pass is cut.
pub(crate) fn output_watermark(w: Option<Timestamp>, holds: impl IntoIterator<Item = Timestamp>) -> Option<Timestamp> {
    w.map(|w| holds.into_iter().fold(w, Timestamp::min))
}

/// Decides when a task announces: on change, at most once per interval; again after the refresh interval; at once after an
/// assignment and for the final watermark.
#[derive(Clone, Debug)]
pub(crate) struct Announcer {
    interval: i64,
    refresh: i64,
    sent: Announcement,
    sent_at: Option<Timestamp>,
    forced: bool,
}

impl Announcer {
    /// For a task that has just been assigned. `was_idle` is the idle flag of its last committed announcement, since its readers kept it too.
    pub(crate) fn new(interval: Duration, refresh: Duration, was_idle: bool) -> Self {
        let sent = Announcement { watermark: None, idle: was_idle };
        Announcer { interval: millis(interval), refresh: millis(refresh), sent, sent_at: None, forced: true }
    }
    /// The last announcement that was due. Its idle flag is to be committed.
    pub(crate) fn sent(&self) -> Announcement {
        self.sent
    }
    /// What is to be announced now if this is how the task stands, after all data of the transaction (D16); it counts as sent.
    pub(crate) fn due(&mut self, stands: Announcement, now: Timestamp) -> Option<Announcement> {
        let next = self.next(stands, now)?;
        (self.sent, self.sent_at, self.forced) = (next, Some(now), false);
        Some(next)
    }

    fn next(&self, stands: Announcement, now: Timestamp) -> Option<Announcement> {
        let older_than = |span: i64| self.sent_at.is_none_or(|at| passed(span, at, now));
        if self.forced && stands != Announcement::default() {
            return Some(stands);
        }
        // While it is idle the value goes on with the wall clock; that is no news (D13).
        let changed = stands.idle != self.sent.idle || (!stands.idle && stands.watermark != self.sent.watermark);
        if changed && (older_than(self.interval) || stands.watermark == Some(Timestamp::MAX)) {
            return Some(stands);
        }
        // Not changed, or not yet due to say so. A refresh repeats what readers should know, so that a reader who knows it is not disturbed.
        let refresh = self.sent != Announcement::default() && older_than(self.refresh);
        refresh.then_some(self.sent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }
    fn active(value: i64) -> Announcement {
        Announcement { watermark: Some(at(value)), idle: false }
    }
    fn idle(value: i64) -> Announcement {
        Announcement { idle: true, ..active(value) }
    }
    fn announcer() -> Announcer {
        Announcer::new(Duration::from_millis(100), Duration::from_millis(1_000), false)
    }

    #[test]
    fn on_change_and_not_before_the_interval() {
        let mut announcer = announcer();
        assert_eq!(announcer.due(Announcement::default(), at(0)), None, "neither a value nor idleness");
        assert_eq!(announcer.due(active(1), at(0)), Some(active(1)));
        assert_eq!(announcer.due(active(1), at(500)), None, "not changed");
        assert_eq!(announcer.due(active(2), at(500)), Some(active(2)));
        assert_eq!(announcer.due(active(3), at(599)), None, "too early");
        assert_eq!(announcer.due(idle(3), at(599)), None, "too early");
        assert_eq!(announcer.due(active(4), at(600)), Some(active(4)));
    }

    #[test]
    fn the_value_of_an_idle_task_is_no_news_d13() {
        let mut announcer = announcer();
        assert_eq!(announcer.due(idle(1), at(0)), Some(idle(1)));
        assert_eq!(announcer.due(idle(500), at(500)), None);
        assert_eq!(announcer.due(active(500), at(500)), Some(active(500)));
    }

    #[test]
    fn forced_and_final_do_not_wait_for_the_interval() {
        let mut announcer = announcer();
        assert_eq!(announcer.due(active(1), at(0)), Some(active(1)), "just assigned, or taken back: readers may not have what was sent");
        assert_eq!(announcer.due(active(2), at(1)), None, "forced once");
        let end = Announcement { watermark: Some(Timestamp::MAX), idle: false };
        assert_eq!(announcer.due(end, at(2)), Some(end));
        assert_eq!(announcer.due(end, at(3)), None);
    }

    #[test]
    fn a_refresh_repeats_the_last_word() {
        let mut announcer = announcer();
        announcer.due(idle(1), at(0));
        assert_eq!(announcer.due(idle(999), at(999)), None);
        assert_eq!(announcer.due(idle(1_000), at(1_000)), Some(idle(1)));
        assert_eq!(announcer.due(idle(1_500), at(1_500)), None);
        let mut silent = Announcer::new(Duration::ZERO, Duration::ZERO, false);
        assert_eq!(silent.due(Announcement::default(), at(9)), None, "nothing to repeat");
    }

    #[test]
    fn a_restart_takes_idleness_back_even_without_a_value() {
        let mut announcer = Announcer::new(Duration::from_secs(1), Duration::from_secs(30), true);
        assert_eq!(announcer.due(Announcement::default(), at(0)), Some(Announcement::default()), "its readers still leave it out");
        assert_eq!(announcer.sent(), Announcement::default());
    }

    #[test]
    fn the_output_watermark_is_the_smallest_hold() {
        assert_eq!(output_watermark(None, [at(1)]), None);
        assert_eq!(output_watermark(Some(at(9)), []), Some(at(9)));
        assert_eq!(output_watermark(Some(at(9)), [at(20), at(4)]), Some(at(4)));
    }
}
