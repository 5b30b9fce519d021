//! The integration tests, one binary.

#[allow(dead_code, reason = "the conformance runner uses what these tests do not")]
mod conformance;
