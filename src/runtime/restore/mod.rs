//! What tasks need before they can run: where their inputs go on, and their stores read back from the changelogs.
//!
//! A [`Restorer`] does both with a client of its own, so that the thread whose tasks wait goes on with its other tasks: it reads, commits
//! and answers its group meanwhile. What is asked for is an *errand*; who asks holds a [`Ticket`] and looks from time to time what has come
//! of it. Errands take turns, a piece each. A ticket that is dropped takes its errand back, and when that returns nobody touches the stores
//! of it any more; what was read back until then stays, with the offset it stands for.
//!
//! [`RestoreDesk`] is the counter between the two. The restorer stands behind it until it is [taken away](RestoreDesk::take_restorer) to run
//! on a thread of its own: a simulation never does that, and calls [`RestoreDesk::step`] instead.

mod desk;
mod errand;
mod positions;
mod rate;
mod restorer;
mod stores;
#[cfg(test)]
mod tests;

pub(crate) use desk::RestoreDesk;
pub(crate) use errand::Ticket;
pub(crate) use positions::{Start, Wanted};
pub(crate) use rate::RestoreRate;
pub(crate) use restorer::Restorer;
pub(crate) use stores::{Restored, Standing, StoreOrder};
