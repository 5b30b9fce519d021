//! Tests on a real Kafka, which they start themselves: see `broker`.

#![allow(clippy::unwrap_used, reason = "tests say what they expect by panicking, in their shared functions too")]

mod broker;
mod cluster;
mod faults;
mod java;
mod journal;
#[cfg(feature = "cli")]
mod operator;
mod outages;
#[cfg(feature = "cli")]
mod permissions;
mod processes;
mod reading;
mod security;
mod takeover;
#[cfg(feature = "cli")]
mod topologies;
