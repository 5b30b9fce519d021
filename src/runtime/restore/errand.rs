//! A piece of work that one thread asks for and another one does.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

use crate::error::{Error, ErrorKind, Place};
use crate::kafka::{Group, LogError};
use crate::record::Timestamp;
use crate::runtime::arena::Arena;
use crate::runtime::board::Board;

/// What a restorer works with.
pub(super) struct Tools<'a> {
    /// Of who works with them.
    pub(super) name: &'a str,
    pub(super) client: &'a mut dyn Group,
    pub(super) board: &'a Board,
    pub(super) buffer: &'a mut Arena,
    pub(super) now: Timestamp,
}

/// Something to be done piece by piece.
pub(super) trait Errand: Send + 'static {
    /// What comes of it.
    type Found: Send;

    /// The next piece. Errors that may pass are tried again.
    fn step(&mut self, tools: &mut Tools<'_>) -> Result<Step<Self::Found>, Error>;

    /// It is over, or taken back: the client reads nothing for it any more.
    fn leave(&mut self, client: &mut dyn Group);
}

/// What one piece came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step<T> {
    Done(T),
    /// It came nearer to its end.
    Moved,
    /// Nothing can be done now: a transaction is undecided, or records are on their way.
    Waits,
}

/// How it stands with an errand, for who does it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pace {
    Moved,
    Waits,
    /// There is nothing more to do.
    Over,
}

/// An errand and what came of it.
struct Slot<E: Errand> {
    errand: E,
    outcome: Option<Result<E::Found, Error>>,
    /// Whether the one who asked may know.
    told: bool,
    over: bool,
}

/// Claim to what comes of an errand.
pub(crate) struct Ticket<T: Send + 'static>(Box<dyn Claim<T>>);

/// An errand as the one sees it who asked for it.
trait Claim<T>: Send {
    fn outcome(&self) -> Option<Result<T, Error>>;
    fn take_back(&self);
}

/// An errand as the one sees it who does it.
pub(super) trait Pending: Send + Sync {
    fn step(&self, tools: &mut Tools<'_>) -> Pace;
    /// Whoever asked may know now what came of it.
    fn tell(&self);
}

struct Shared<E: Errand> {
    slot: Mutex<Slot<E>>,
    /// Beside the lock: who works on piece after piece takes it again at once, and whoever waits for it to take the errand back could wait for the last piece.
    wanted: AtomicBool,
}

/// Both ends of an errand.
pub(super) fn errand<E: Errand>(errand: E) -> (Ticket<E::Found>, Arc<dyn Pending>) {
    let slot =
        Arc::new(Shared { slot: Mutex::new(Slot { errand, outcome: None, told: false, over: false }), wanted: AtomicBool::new(true) });
    (Ticket(Box::new(slot.clone())), slot)
}

impl<T: Send + 'static> Ticket<T> {
    /// What came of it: once, and none before it is done. Never waits for a piece that is being worked on.
    pub(crate) fn outcome(&self) -> Option<Result<T, Error>> {
        self.0.outcome()
    }
}

impl<T: Send + 'static> Drop for Ticket<T> {
    fn drop(&mut self) {
        self.0.take_back();
    }
}

impl<E: Errand> Slot<E> {
    fn take_told(&mut self) -> Option<Result<E::Found, Error>> {
        if self.told { self.outcome.take() } else { None }
    }
}

impl<E: Errand> Shared<E> {
    /// No errand panics with it, see [`attempt`].
    fn lock(&self) -> MutexGuard<'_, Slot<E>> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<E: Errand> Claim<E::Found> for Arc<Shared<E>> {
    fn outcome(&self) -> Option<Result<E::Found, Error>> {
        match self.slot.try_lock() {
            Ok(mut slot) => slot.take_told(),
            Err(TryLockError::WouldBlock) => None,
            Err(TryLockError::Poisoned(slot)) => slot.into_inner().take_told(),
        }
    }

    fn take_back(&self) {
        self.wanted.store(false, Ordering::Release);
        // The piece that is being worked on comes to its end.
        drop(self.lock());
    }
}

impl<E: Errand> Pending for Shared<E> {
    fn step(&self, tools: &mut Tools<'_>) -> Pace {
        let mut slot = self.lock();
        let slot = &mut *slot;
        if self.wanted.load(Ordering::Acquire) && !slot.over {
            match attempt(&mut slot.errand, tools) {
                Ok(Step::Moved) => {
                    tools.board.outages.end(tools.name);
                    return Pace::Moved;
                }
                Ok(Step::Waits) => return Pace::Waits,
                Err(error) if error.kind() == ErrorKind::Retriable => {
                    match LogError::behind(&error) {
                        Some(LogError::PositionUndecided { .. }) => tracing::debug!(%error, "tried again"),
                        _ => tools.board.outages.begin(tools.name, &error),
                    }
                    return Pace::Waits;
                }
                Ok(Step::Done(found)) => {
                    tools.board.outages.end(tools.name);
                    slot.outcome = Some(Ok(found));
                }
                Err(error) => slot.outcome = Some(Err(error)),
            }
        }
        slot.over = true;
        slot.errand.leave(tools.client);
        Pace::Over
    }

    fn tell(&self) {
        self.lock().told = true;
    }
}

/// A panic of a store is an error of its task.
fn attempt<E: Errand>(errand: &mut E, tools: &mut Tools<'_>) -> Result<Step<E::Found>, Error> {
    let stepped = catch_unwind(AssertUnwindSafe(|| errand.step(tools)));
    stepped.unwrap_or_else(|_| Err(Error::new(ErrorKind::Internal, Place::default(), "restoring panicked".into())))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Weak;
    use std::thread;

    use super::*;
    use crate::clock::SystemClock;
    use crate::kafka::{Connect, MemberOptions, MemoryLog};
    use crate::runtime::assignment::Layout;

    /// In its first piece somebody begins to take it back, and waits for that piece to end.
    struct TakenBack {
        itself: Weak<Shared<TakenBack>>,
        waits: Option<thread::JoinHandle<()>>,
        pieces: usize,
    }

    impl Errand for TakenBack {
        type Found = usize;

        fn step(&mut self, _tools: &mut Tools<'_>) -> Result<Step<usize>, Error> {
            self.pieces += 1;
            let itself = self.itself.upgrade().unwrap();
            if self.waits.is_none() {
                let ticket = Ticket(Box::new(itself.clone()));
                self.waits = Some(thread::spawn(move || drop(ticket)));
            }
            while itself.wanted.load(Ordering::Acquire) {
                thread::yield_now();
            }
            Ok(Step::Moved)
        }

        fn leave(&mut self, _client: &mut dyn Group) {}
    }

    #[test]
    fn what_is_taken_back_in_the_middle_of_a_piece_has_no_other_piece() {
        let shared = Arc::new_cyclic(|itself| Shared {
            slot: Mutex::new(Slot {
                errand: TakenBack { itself: itself.clone(), waits: None, pieces: 0 },
                outcome: None,
                told: false,
                over: false,
            }),
            wanted: AtomicBool::new(true),
        });
        let log = MemoryLog::new(Arc::new(SystemClock));
        let mut client = log.member_with(MemberOptions::new("g", "g-restore")).unwrap();
        let layout = Layout { tasks: Vec::new(), counts: BTreeMap::new(), parts: BTreeMap::new() };
        let board = Board::new(Arc::new(layout), 1, Vec::new(), Vec::new());
        let mut buffer = Arena::default();
        let mut tools =
            Tools { name: "g-restore", client: &mut *client, board: &board, buffer: &mut buffer, now: Timestamp::from_millis(0) };
        // Without a pause, as a restorer does it.
        let paces = [(); 2].map(|()| shared.step(&mut tools));
        assert_eq!(paces, [Pace::Moved, Pace::Over]);
        let mut slot = shared.lock();
        assert_eq!(slot.errand.pieces, 1);
        let waits = slot.errand.waits.take().unwrap();
        drop(slot);
        waits.join().unwrap();
    }
}
