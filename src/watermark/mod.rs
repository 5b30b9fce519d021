//! The event clock of bounded mode: how a task knows how far event time has come, and what it tells the tasks behind it.
//!
//! Records come out of order, so the newest timestamp says little. A source that declares `Watermark::bounded(disorder)` promises
//! that a record is at most `disorder` older than the newest one before it in its partition. From that promise each task keeps one
//! number, its **watermark** W: "no record older than this is expected any more". Everything here is arithmetic on values that
//! the caller hands in, the wall clock included; nothing reads a clock, sleeps or talks to a broker.
//!
//! **Clock and mark.** The clock of a source partition is its largest timestamp; its mark is the clock less the disorder
//! ([`SourceClock`]). W is the smallest mark over the inputs of the task and never goes back ([`TaskClock`]). A record moves its own
//! partition's clock before it is judged. While an input has no mark, W waits.
//!
//! **Idle.** A quiet partition must not stop the others. A partition read to its end, where nothing has come for `idle_after` of wall time,
//! leaves the minimum until its next record. A partition with records waiting is behind, not quiet: it is never idle.
//!
//! **All idle.** When the last input falls idle too, W goes on at the speed of the wall clock from where it stood, so that a window closes at
//! its own end and not at the silence. How far it gets depends on the instant at which the last input fell idle and not on how often
//! anybody looks. `close_when_idle(d)` additionally closes what is open once such a silence has lasted for `d`.
//!
//! **Hold and output watermark.** A node that keeps results back until a window closes may still send something older than W. It states
//! the oldest time that it may still send, its hold ([`Closing::hold`]). The task tells others the smaller of W and its holds ([`output_watermark`]).
//!
//! **Announcement.** Tasks behind a repartition topic do not see source partitions. The tasks that write into the topic announce
//! their output watermark and whether they are idle ([`Announcer`] decides when) in control records inside the topic ([`ControlRecord`]).
//! The reader treats each upstream task as one input ([`Upstreams`]): one that it has not heard of yet makes it wait, an idle one is left out.
//! An upstream task calls itself idle only while it holds no rows, or its last results would find the reader's windows closed.
//!
//! **The end of input** is declared, never guessed: [`TaskClock::finish`] makes W [`Timestamp::MAX`](crate::record::Timestamp::MAX), which closes everything.
//!
//! **Restart.** Clocks, W and the announcements heard are kept in the commit metadata ([`CommitMetadata`]). Idle times start anew.
//!
//! One round of a task at wall time `now`, in order: `advance(now)` first, so that time passed in silence counts before anything ends it; then per
//! source record `supply` (what else waits there), [`judge_future`], `observe`, `advance`, the record; per control record `announced`, then `advance`.

mod announce;
mod control_record;
mod hold;
mod metadata;
mod source_clock;
mod task_clock;
mod upstream;

#[cfg(test)]
mod stored_cases;

pub(crate) use announce::{Announcement, Announcer, output_watermark};
pub(crate) use control_record::ControlRecord;
pub(crate) use hold::Closing;
pub(crate) use metadata::{CommitMetadata, entry};
pub(crate) use source_clock::{FutureVerdict, SourceClock, Supply, judge_future};
pub(crate) use task_clock::TaskClock;
pub(crate) use upstream::Upstreams;

use crate::record::Timestamp;

/// What one input of a task says about time: a source partition, or an upstream task of a repartition topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Reading {
    /// No record older than this is expected from it; none while nothing is known.
    mark: Option<Timestamp>,
    /// The wall-clock instant from which it counts as idle if nothing comes; none if it is not on the way there.
    idle_at: Option<Timestamp>,
}

impl Reading {
    /// An input that nothing is known about: the task waits for it.
    const UNSEEN: Reading = Reading { mark: None, idle_at: None };

    /// The instant since which it is idle, if it is. Exactly `idle_after` of silence is enough (D9).
    fn idle_since(&self, now: Timestamp) -> Option<Timestamp> {
        self.idle_at.filter(|at| *at <= now)
    }
}

/// `from` moved on by the wall time that passed between two instants.
fn moved_on(from: Timestamp, since: Timestamp, now: Timestamp) -> Timestamp {
    Timestamp::from_millis(from.as_millis().saturating_add(now.as_millis().saturating_sub(since.as_millis())))
}

/// Whether at least `span` milliseconds lie between two instants.
fn passed(span: i64, since: Timestamp, now: Timestamp) -> bool {
    now.as_millis().saturating_sub(since.as_millis()) >= span
}
