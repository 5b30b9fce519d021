//! The watermark of a task over all its inputs.

use std::time::Duration;

use super::upstream::Admission;
use super::{ControlRecord, Reading, SourceClock, Supply, Upstreams, moved_on, passed};
use crate::record::{Timestamp, millis};

/// The watermark W of one task, over its source partitions and the upstream tasks of its repartition partitions.
///
/// Between two changes that matter nothing is computed: a record that does not move the smallest mark costs a comparison,
/// however many inputs there are.
#[derive(Clone, Debug)]
pub(crate) struct TaskClock {
    sources: Vec<SourceClock>,
    repartitions: Vec<Upstreams>,
    close_when_idle: Option<Duration>,
    w: Option<Timestamp>,
    silence: Option<Silence>,
    survey: Survey,
}

/// While all inputs are idle: where W stood and when, and whether `close_when_idle` has been applied.
#[derive(Clone, Copy, Debug)]
struct Silence {
    since: Timestamp,
    stood: Timestamp,
    shut: bool,
}

/// What the last look over all inputs found, and how long that stays true.
#[derive(Clone, Copy, Debug)]
struct Survey {
    stale: bool,
    /// The first instant at which an active input may fall idle.
    wake: Timestamp,
    /// The smallest mark, if some input is active and none of them is unseen.
    least: Option<Timestamp>,
    active: bool,
}

impl TaskClock {
    /// The clock of a task that was committed with watermark `w`; add its inputs next. `close_when_idle` is a setting of the application (D14).
    pub(crate) fn new(close_when_idle: Option<Duration>, w: Option<Timestamp>) -> Self {
        let survey = Survey { stale: true, wake: Timestamp::MAX, least: None, active: false };
        TaskClock { sources: Vec::new(), repartitions: Vec::new(), close_when_idle, w, silence: None, survey }
    }
    /// Closes what is open after this much silence, if nothing shorter was said before.
    pub(crate) fn close_when_idle(&mut self, silence: Duration) {
        self.close_when_idle = Some(self.close_when_idle.map_or(silence, |shorter| shorter.min(silence)));
    }
    /// Adds a source partition; the number names it in `supply` and `observe`.
    pub(crate) fn add_source(&mut self, source: SourceClock) -> usize {
        self.survey.stale = true;
        self.sources.push(source);
        self.sources.len() - 1
    }
    /// Adds a repartition partition; the number names it in `announced`.
    pub(crate) fn add_repartition(&mut self, upstreams: Upstreams) -> usize {
        self.survey.stale = true;
        self.repartitions.push(upstreams);
        self.repartitions.len() - 1
    }
    /// The source partition of that number, for what is to be committed of it.
    pub(crate) fn source(&self, source: usize) -> &SourceClock {
        &self.sources[source]
    }
    /// The upstream tasks of the repartition partition of that number, for what is to be committed of them.
    pub(crate) fn upstreams(&self, repartition: usize) -> &Upstreams {
        &self.repartitions[repartition]
    }
    /// W as of the last `advance`; none while nothing was ever seen.
    pub(crate) fn watermark(&self) -> Option<Timestamp> {
        self.w
    }
    /// Whether the end of input was declared, before a restart or since (D18).
    pub(crate) fn is_final(&self) -> bool {
        self.w == Some(Timestamp::MAX)
    }
    /// The end of input is declared: W is final, whatever is idle, unseen or paused (D18).
    pub(crate) fn finish(&mut self) {
        self.w = Some(Timestamp::MAX);
    }
    /// Whether every input is idle. Never after the end of input.
    pub(crate) fn is_idle(&self, now: Timestamp) -> bool {
        let inputs = !(self.sources.is_empty() && self.repartitions.is_empty());
        inputs && !self.is_final() && self.readings().all(|reading| reading.idle_since(now).is_some())
    }

    /// What a source partition has, beside the record about to be observed. Say it whenever it may have changed; `Withheld` each time one looks.
    pub(crate) fn supply(&mut self, source: usize, supply: Supply, now: Timestamp) {
        let before = self.sources[source].reading();
        self.sources[source].supply(supply, now);
        self.note(before, self.sources[source].reading(), now);
    }
    /// A record of a source partition that passed [`judge_future`](super::judge_future) is about to be processed: its partition's clock moves. Then
    /// `advance`, then judge the record.
    pub(crate) fn observe(&mut self, source: usize, timestamp: Timestamp, now: Timestamp) {
        let before = self.sources[source].reading();
        self.sources[source].observe(timestamp, now);
        self.note(before, self.sources[source].reading(), now);
    }
    /// A control record was read from a repartition partition. Its value counts first, then the task is left out if it says idle (D13). Then `advance`.
    pub(crate) fn announced(&mut self, repartition: usize, record: &ControlRecord, now: Timestamp) {
        let upstreams = &mut self.repartitions[repartition];
        match upstreams.admit(record) {
            Admission::Outdated => return,
            Admission::NewLayout => self.survey.stale = true,
            Admission::Known if upstreams.is_repeated(record) => return,
            Admission::Known => {}
        }
        let before = upstreams.reading_of(record);
        upstreams.activate(record);
        let active = upstreams.reading_of(record);
        self.note(before, active, now);
        if record.announcement.idle {
            self.look(now);
            let upstreams = &mut self.repartitions[repartition];
            upstreams.rest(record, now);
            let idle = upstreams.reading_of(record);
            self.note(active, idle, now);
        }
    }

    /// Moves W to where it is at wall time `now` and returns it. `newest_open` is asked at most once in a silence, when `close_when_idle` falls due: the
    /// largest closing watermark of the open windows that have rows, if there are any.
    pub(crate) fn advance(&mut self, now: Timestamp, newest_open: impl FnOnce() -> Option<Timestamp>) -> Option<Timestamp> {
        if !self.is_final() {
            self.look(now);
            self.pass_silence(now, newest_open);
        }
        self.w
    }

    /// Whether what an input says has changed so that the last survey no longer holds.
    fn note(&mut self, before: Reading, after: Reading, now: Timestamp) {
        if before == after {
            return;
        }
        let holds = |mark: Option<Timestamp>| mark.is_none() || self.survey.least.is_some_and(|least| mark <= Some(least));
        let idle = before.idle_since(now).or(after.idle_since(now)).is_some();
        if idle || (before.mark != after.mark && holds(before.mark)) {
            self.survey.stale = true;
        }
        if let Some(at) = after.idle_at {
            self.survey.wake = self.survey.wake.min(at);
        }
    }
    /// Brings W up to the smallest mark, or begins a silence, if the last survey no longer holds.
    fn look(&mut self, now: Timestamp) {
        if self.survey.stale || now >= self.survey.wake {
            self.survey = Survey::of(self.readings(), now);
            if self.survey.active {
                self.silence = None;
                self.w = self.w.max(self.survey.least);
            } else if self.silence.is_none() {
                self.begin_silence(now);
            }
        }
    }
    /// All inputs are idle: the last one to leave counted until it left (D11), so W does not depend on when anybody looked.
    fn begin_silence(&mut self, now: Timestamp) {
        let left = self.readings().filter_map(|reading| reading.idle_since(now));
        let Some(since) = left.max() else { return };
        let mut last = self.readings().filter(|reading| reading.idle_at == Some(since)).filter_map(|reading| reading.mark).min();
        if last.is_none() && self.w.is_none() {
            last = self.readings().filter_map(|reading| reading.mark).min();
        }
        self.w = self.w.max(last);
        self.silence = self.w.map(|stood| Silence { since, stood, shut: false });
    }
    /// W goes on at wall-clock speed, past what is open if `close_when_idle` says so (D14).
    fn pass_silence(&mut self, now: Timestamp, newest_open: impl FnOnce() -> Option<Timestamp>) {
        let Some(silence) = &mut self.silence else { return };
        if let Some(wait) = self.close_when_idle
            && !silence.shut
            && passed(millis(wait), silence.since, now)
        {
            let stood = newest_open().map_or(silence.stood + wait, |newest| newest.max(silence.stood + wait));
            *silence = Silence { since: silence.since + wait, stood, shut: true };
        }
        self.w = self.w.max(Some(moved_on(silence.stood, silence.since, now)));
    }
    fn readings(&self) -> impl Iterator<Item = Reading> + '_ {
        let upstream = self.repartitions.iter().flat_map(Upstreams::readings);
        self.sources.iter().map(SourceClock::reading).chain(upstream)
    }
}

impl Survey {
    fn of(readings: impl Iterator<Item = Reading>, now: Timestamp) -> Self {
        let (mut survey, mut unseen) = (Survey { stale: false, wake: Timestamp::MAX, least: None, active: false }, false);
        for reading in readings.filter(|reading| reading.idle_since(now).is_none()) {
            survey.active = true;
            survey.wake = reading.idle_at.map_or(survey.wake, |at| at.min(survey.wake));
            unseen |= reading.mark.is_none();
            survey.least = [survey.least, reading.mark].into_iter().flatten().min();
        }
        Survey { least: survey.least.filter(|_| !unseen), ..survey }
    }
}

#[cfg(test)]
mod tests;
