//! What a task may take in one round: so many records, for so long.

use crate::clock::Clock;
use crate::record::Timestamp;
use crate::runtime::plan::{Stride, share};

/// The rest of a round, from which each task has its share.
#[derive(Clone, Copy)]
pub(super) struct Shift<'a> {
    pub(super) clock: &'a dyn Clock,
    /// What the round was told: time does not go back behind it.
    pub(super) now: Timestamp,
    pub(super) end: Timestamp,
}

/// One task's share.
pub(super) struct Stint<'a> {
    clock: &'a dyn Clock,
    stride: Stride,
    most: usize,
}

impl<'a> Shift<'a> {
    /// The share of the next task: at most so many records. `tasks` are still to come, with it.
    pub(super) fn next(&self, most: usize, tasks: usize) -> Stint<'a> {
        let now = self.clock.now().max(self.now);
        Stint { clock: self.clock, stride: Stride::new(now, share(self.end, tasks, now)), most }
    }
}

impl Stint<'_> {
    /// How many records there may be.
    pub(super) fn most(&self) -> usize {
        self.most
    }

    /// Whether, after so many, no more are to be taken.
    #[inline]
    pub(super) fn is_over(&mut self, taken: usize) -> bool {
        taken >= self.most || self.stride.is_over(taken, || self.clock.now())
    }
}
