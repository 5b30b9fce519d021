//! Several processes of one application on a real cluster: killed, stopped, frozen, started again.
//!
//! The processes are this test binary, which runs itself (`child`). Each has a keyed count with its state on disk; a feeder writes under a
//! steady load, a reader notes when everything comes out, and `verdict` says what was lost, doubled or late.

#![allow(clippy::print_stderr, reason = "what was seen is told to whoever runs it")]

mod child;
mod flow;
mod gap;
mod herd;
mod retention;
mod rolling;
mod scaling;
mod status;
mod verdict;
mod zombie;
