//! The integration tests, one binary.

#![allow(clippy::unwrap_used, reason = "tests say what they expect by panicking, in their shared functions too")]

#[cfg(feature = "cli")]
mod access_log;
mod as_java;
mod bad_input;
mod bounded;
mod catching_up;
#[cfg(feature = "cli")]
mod cli;
#[cfg(feature = "cli")]
mod cli_crash;
#[cfg(feature = "cli")]
mod cli_data;
#[cfg(feature = "cli")]
mod cli_output;
#[cfg(feature = "cli")]
mod cli_plan;
#[cfg(feature = "cli")]
mod cli_run;
#[allow(dead_code, reason = "the conformance runner uses what these tests do not")]
mod conformance;
#[allow(dead_code, reason = "the kill table uses what these tests do not")]
mod kill;
mod metrics;
mod page_views;
#[cfg(feature = "cli")]
mod read_log;
mod rebalance;
mod restoring;
mod runtime;
mod state_dir;
mod surface;
mod survival;
