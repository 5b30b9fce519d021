//! What a test can do to a cluster: deaths, pauses, lost members, time that passes, commits that are lost, markers that come late.

use std::sync::Arc;
use std::time::Duration;

use super::Cluster;
use super::instance::Condition;
use crate::clock::Clock;
use crate::error::Error;
use crate::kafka::LostCommit;

impl Cluster {
    /// Kills an instance between two rounds, or in the one that stands still: what it has not committed never happened, what it had not yet
    /// sent never will. The group finds out when its session is over.
    pub fn kill(&mut self, instance: usize) {
        let now = self.clock.now();
        let killed = &mut self.instances[instance];
        if matches!(killed.condition, Condition::Running | Condition::Paused(_)) {
            killed.fate.die();
            while killed.stands() {
                // It finds itself dead, and nobody cares how.
                killed.go_on(now);
            }
            killed.condition = Condition::Killed(now);
            self.note(|| format!("kill {instance}"));
            self.audit(instance);
        }
    }

    /// Lets an instance die in its next rounds, at the call to its log or to its stores after `calls` more; that one may or may not be heard.
    pub fn kill_after(&mut self, instance: usize, calls: u64) {
        self.instances[instance].fate.light(calls);
        self.note(|| format!("kill {instance} after {calls} calls"));
    }

    /// Lets an instance die at a write into one of its stores, after `writes` more. Only those that [keep their
    /// state](super::ClusterBuilder::keep_state) notice.
    pub fn kill_at_write(&mut self, instance: usize, writes: u64) {
        self.instances[instance].fate.light_at_write(writes);
        self.note(|| format!("kill {instance} at the write after {writes} more"));
    }

    /// Takes back a [`kill_after`](Self::kill_after) or [`pause_after`](Self::pause_after) that has not come true yet.
    pub fn spare(&mut self, instance: usize) {
        self.instances[instance].fate.spare();
    }

    /// An instance stands still, as a process does that is swapped out. If that takes longer than its session, its tasks go to others.
    pub fn pause(&mut self, instance: usize) {
        let now = self.clock.now();
        if self.instances[instance].runs() {
            self.instances[instance].condition = Condition::Paused(now);
            self.note(|| format!("pause {instance}"));
        }
    }

    /// Lets an instance stand still in the middle of one of its next rounds, at the call to its log or to its stores after `calls` more, before
    /// it is heard or after. Between the two halves of that round anything can happen.
    pub fn pause_after(&mut self, instance: usize, calls: u64) {
        self.instances[instance].fate.brake(calls);
        self.note(|| format!("pause {instance} after {calls} calls"));
    }

    /// It goes on as if nothing had happened, with the rest of its round if it stood in the middle of one; what happened it learns some
    /// rounds later.
    ///
    /// # Errors
    /// As [`step`](Self::step).
    pub fn resume(&mut self, instance: usize) -> Result<(), Error> {
        if let Condition::Paused(_) = self.instances[instance].condition {
            self.instances[instance].condition = Condition::Running;
            self.note(|| format!("resume {instance}"));
            self.go_on(instance)?;
        }
        Ok(())
    }

    /// The group takes an instance for dead and gives its tasks to others. A living one learns that some rounds later.
    pub fn expel(&mut self, instance: usize) {
        let members = self.instances[instance].fate.members();
        let new: Vec<Arc<str>> = members.into_iter().filter(|member| self.log.expel(&self.settings.application_id, member)).collect();
        if !new.is_empty() {
            let rounds = u32::try_from(self.dice.below(12)).unwrap_or(0);
            self.instances[instance].fate.deafen(rounds);
            self.note(|| format!("expel {instance}, which is deaf for {rounds}"));
        }
        self.expelled.extend(new);
    }

    /// Moves the clock. Sessions of silent instances may end by it, and transactions that are open for too long.
    pub fn advance(&mut self, by: Duration) {
        self.clock.advance(by);
        self.note(|| format!("advance {by:?}"));
        let now = self.clock.now();
        for number in 0..self.instances.len() {
            let Some(since) = self.instances[number].silent_since().filter(|since| *since + self.session <= now) else { continue };
            self.expel(number);
            if self.instances[number].condition == Condition::Killed(since) {
                // Gone for the group, gone for good.
                self.instances[number].bury();
            }
        }
    }

    /// Something of the next commit of an instance is lost, and its producer gets no answer. Without transactions nothing happens.
    pub fn lose_commit(&mut self, instance: usize, lost: LostCommit) {
        self.instances[instance].fate.lose_commit(lost);
        self.note(|| format!("lose the {lost:?} of the next commit of {instance}"));
    }

    /// Whether transactions that end from now on keep their markers back: their records and positions count, and nobody sees that yet.
    /// [`write_marker`](Self::write_marker) writes one of those that wait, [`settle`](Self::settle) all, and so does taking it back.
    pub fn hold_markers(&mut self, held: bool) {
        self.log.hold_markers(held);
        self.note(|| format!("hold markers: {held}"));
    }

    /// Writes one of the markers that wait, chosen by the seed; false if none does.
    pub fn write_marker(&mut self) -> bool {
        let waiting = self.log.pending_markers();
        if waiting.is_empty() {
            return false;
        }
        let nth = self.dice.place(waiting.len());
        self.note(|| format!("marker {:?} of {}", waiting[nth].place, waiting[nth].transactional_id));
        self.log.write_marker(nth)
    }

    /// How many markers wait to be written.
    pub fn waiting_markers(&self) -> usize {
        self.log.pending_markers().len()
    }

    #[cfg(test)]
    pub(super) fn members(&self, instance: usize) -> std::collections::BTreeSet<Arc<str>> {
        self.instances[instance].fate.members()
    }
}
