//! What happens to one instance between its own code and the log: where it dies or stands still, what it does not hear, what it sent and
//! is not there yet.

use std::collections::BTreeSet;
use std::sync::mpsc::{Receiver, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::dice::Dice;
use crate::error::ErrorKind;
use crate::kafka::{LogError, LostCommit, MemberToken, Position};
use crate::record::TopicPartition;

/// Positions that the log took, and from which member: nobody's are those of a transaction, whose member was asked for before.
#[derive(Clone, Debug)]
pub(super) struct Accepted {
    pub(super) token: MemberToken,
    pub(super) positions: Vec<(TopicPartition, Position)>,
}

/// What the ports of one instance ask before they act.
#[derive(Debug)]
struct Fate {
    dice: Dice,
    /// Calls until it dies, if it is to.
    fuse: Option<u64>,
    dead: bool,
    /// Writes into its stores until it dies, if it is to die there.
    pen: Option<u64>,
    /// Calls until it stands still in the middle of a round, if it is to.
    brake: Option<u64>,
    /// What a round that may stand still is stopped and released by.
    reins: Option<Reins>,
    /// Rounds for which nothing of the group reaches it.
    deaf: u32,
    /// Networks are whimsical: short fetches, sends that wait.
    whims: bool,
    /// What is lost of its next commit.
    loss: Option<LostCommit>,
    /// Every member of the group that it has been in this life.
    members: BTreeSet<Arc<str>>,
    accepted: Vec<Accepted>,
}

/// A round that may stand still in the middle runs on a thread of its own, but never at the same time as anything else: it says that
/// it stands, and waits until it may go on.
#[derive(Debug)]
pub(super) struct Reins {
    pub(super) tell: Sender<Word>,
    pub(super) go: Receiver<()>,
}

/// What such a round says.
#[derive(Clone, Copy, Debug)]
pub(super) enum Word {
    Stands,
    Over,
}

/// The fate of one instance, shared by its ports and by the cluster.
#[derive(Clone, Debug)]
pub(super) struct SharedFate(Arc<Mutex<Fate>>);

/// What becomes of one call.
enum Moment {
    Alive,
    /// The process dies before the log hears of it.
    Before,
    /// The log does it; the process dies before it learns so.
    After,
}

impl SharedFate {
    pub(super) fn new(seed: u64, whims: bool) -> Self {
        let fate = Fate {
            dice: Dice::new(seed),
            fuse: None,
            dead: false,
            pen: None,
            brake: None,
            reins: None,
            deaf: 0,
            whims,
            loss: None,
            members: BTreeSet::new(),
            accepted: Vec::new(),
        };
        SharedFate(Arc::new(Mutex::new(fate)))
    }

    /// Nothing here panics with the lock held.
    fn lock(&self) -> MutexGuard<'_, Fate> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Speaks to the log, or dies on the way.
    pub(super) fn call<T>(&self, act: impl FnOnce() -> Result<T, LogError>) -> Result<T, LogError> {
        self.attempt(act, gone)
    }

    /// Does something outside of the process, or dies on the way.
    pub(super) fn attempt<T, E>(&self, act: impl FnOnce() -> Result<T, E>, gone: impl Fn() -> E) -> Result<T, E> {
        let stands = self.lock().brakes();
        let later = stands && self.lock().dice.once_in(2);
        if stands && !later {
            self.stand_still();
        }
        let moment = self.lock().moment();
        let done = match moment {
            Moment::Alive => act(),
            Moment::Before => Err(gone()),
            Moment::After => act().and_then(|_| Err(gone())),
        };
        if later {
            // The answer waits for whoever stands still, and the dead do not read it.
            self.stand_still();
            return if self.is_dead() { Err(gone()) } else { done };
        }
        done
    }

    /// Writes into a store, or dies over it.
    pub(super) fn write<T, E>(&self, act: impl FnOnce() -> Result<T, E>, gone: impl Fn() -> E) -> Result<T, E> {
        {
            let mut fate = self.lock();
            match &mut fate.pen {
                Some(0) => (fate.pen, fate.fuse) = (None, Some(0)),
                Some(left) => *left -= 1,
                None => {}
            }
        }
        self.attempt(act, gone)
    }

    fn stand_still(&self) {
        let Some(reins) = self.lock().reins.take() else { return };
        // Who is not waited for any more, for its cluster is gone, goes on.
        if reins.tell.send(Word::Stands).is_ok() && reins.go.recv().is_err() {
            self.die();
        }
        self.lock().reins = Some(reins);
    }

    pub(super) fn is_dead(&self) -> bool {
        self.lock().dead
    }

    pub(super) fn die(&self) {
        self.lock().dead = true;
    }

    /// Dies at the call after so many more.
    pub(super) fn light(&self, calls: u64) {
        self.lock().fuse = Some(calls);
    }

    /// Dies at the write into a store after so many more.
    pub(super) fn light_at_write(&self, writes: u64) {
        self.lock().pen = Some(writes);
    }

    pub(super) fn spare(&self) {
        let mut fate = self.lock();
        (fate.fuse, fate.brake, fate.pen) = (None, None, None);
    }

    /// Stands still at the call after so many more, in the middle of its round.
    pub(super) fn brake(&self, calls: u64) {
        self.lock().brake = Some(calls);
    }

    /// Whether a round of it needs [`Reins`].
    pub(super) fn may_stand_still(&self) -> bool {
        self.lock().brake.is_some()
    }

    pub(super) fn rein(&self, reins: Reins) {
        self.lock().reins = Some(reins);
    }

    /// Loses something of its next commit.
    pub(super) fn lose_commit(&self, lost: LostCommit) {
        self.lock().loss = Some(lost);
    }

    pub(super) fn take_loss(&self) -> Option<LostCommit> {
        self.lock().loss.take()
    }

    pub(super) fn hears(&self) -> bool {
        let fate = self.lock();
        !fate.dead && fate.deaf == 0
    }

    pub(super) fn deafen(&self, rounds: u32) {
        self.lock().deaf = rounds;
    }

    /// A round is over.
    pub(super) fn round(&self) {
        let mut fate = self.lock();
        fate.deaf = fate.deaf.saturating_sub(1);
        fate.reins = None;
    }

    /// How many records a fetch may bring that asks for `limit`.
    pub(super) fn share(&self, limit: usize) -> usize {
        let mut fate = self.lock();
        if fate.whims && limit > 1 && !fate.dice.once_in(3) { 1 + fate.dice.place(limit.min(8)) } else { limit }
    }

    /// Of what waits to be sent, how much arrives by itself.
    pub(super) fn arrives(&self, waiting: usize) -> usize {
        let mut fate = self.lock();
        if fate.whims { fate.dice.place(waiting + 1) } else { waiting }
    }

    pub(super) fn joined(&self, member: Arc<str>) {
        self.lock().members.insert(member);
    }

    /// The ids under which the group knows it, or knew it once.
    pub(super) fn members(&self) -> BTreeSet<Arc<str>> {
        self.lock().members.clone()
    }

    pub(super) fn accept(&self, accepted: Accepted) {
        self.lock().accepted.push(accepted);
    }

    pub(super) fn take_accepted(&self) -> Vec<Accepted> {
        std::mem::take(&mut self.lock().accepted)
    }
}

impl Fate {
    fn moment(&mut self) -> Moment {
        if self.dead {
            return Moment::Before;
        }
        match &mut self.fuse {
            None => Moment::Alive,
            Some(0) => {
                self.dead = true;
                if self.dice.once_in(2) { Moment::Before } else { Moment::After }
            }
            Some(left) => {
                *left -= 1;
                Moment::Alive
            }
        }
    }

    /// Whether it stands still at this call.
    fn brakes(&mut self) -> bool {
        match &mut self.brake {
            Some(0) if self.reins.is_some() && !self.dead => {
                self.brake = None;
                true
            }
            Some(left) => {
                *left = left.saturating_sub(1);
                false
            }
            None => false,
        }
    }
}

/// What a dead process hears, were it to listen.
fn gone() -> LogError {
    LogError::Client { kind: ErrorKind::Internal, source: Arc::new("the process is gone: the test killed it".into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_died_reaches_the_log_no_more() {
        let (mut reached, mut after) = (0, 0);
        for seed in 0..20 {
            let fate = SharedFate::new(seed, true);
            fate.light(2);
            let mut calls = 0;
            let told: Vec<bool> = (0..6)
                .map(|_| {
                    let heard = fate.call(|| {
                        calls += 1;
                        Ok(())
                    });
                    heard.is_ok()
                })
                .collect();
            assert_eq!((told, fate.is_dead()), (vec![true, true, false, false, false, false], true));
            reached += calls;
            after += i32::from(calls == 3);
        }
        assert_eq!(reached, 40 + after);
        assert!((1..20).contains(&after), "some die before their last call is heard, some after: {after}");
    }
}
