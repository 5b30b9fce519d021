//! The integration tests, one binary.

mod bad_input;
mod bounded;
#[cfg(feature = "cli")]
mod cli;
#[allow(dead_code, reason = "the conformance runner uses what these tests do not")]
mod conformance;
mod page_views;
mod runtime;
mod surface;
