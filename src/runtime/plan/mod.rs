//! What to do, decided apart from doing it: pure functions from state and event to commands. No clock, no thread, no log.

mod choice;
mod commit;
mod failure;
mod lifecycle;
mod pace;
mod rebalance;
mod stint;
mod transaction;

pub(crate) use choice::{Choice, Head, choose};
pub(crate) use commit::{CommitStep, CommitTimer, Due, Standing, aged, recommit_after, steps, youth};
pub(crate) use failure::{Verdict, judge_commit, judge_task, lacks_positions, patience};
pub use lifecycle::State;
pub(crate) use lifecycle::{TaskState, ThreadState};
pub(crate) use rebalance::{Command, Membership, on_event};
pub(crate) use stint::{Stride, end_of_round, share};
pub(crate) use transaction::{BatchLimit, Exposure, Shrunk, Trouble, remedies};
