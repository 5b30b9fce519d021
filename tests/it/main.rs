//! The integration tests, one binary.

/// Words of the conformance runner that can be tested by themselves: its own target has no test harness.
#[allow(dead_code, reason = "the runner uses what these tests do not")]
#[path = "../conformance"]
mod conformance {
    mod compare;
    mod format;
    mod functions;
    mod later;
    mod outcome;
    mod value;
}
