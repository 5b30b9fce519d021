//! The integration tests, one binary.

#[cfg(feature = "cli")]
mod access_log;
mod bad_input;
mod bounded;
#[cfg(feature = "cli")]
mod cli;
#[cfg(feature = "cli")]
mod cli_run;
#[allow(dead_code, reason = "the conformance runner uses what these tests do not")]
mod conformance;
mod page_views;
mod runtime;
mod surface;
