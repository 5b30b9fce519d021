//! The integration tests, one binary.

mod bad_input;
#[cfg(feature = "cli")]
mod cli;
#[allow(dead_code, reason = "the conformance runner uses what these tests do not")]
mod conformance;
mod runtime;
mod surface;
