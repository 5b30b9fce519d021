//! Words of the conformance runner that can be tested by themselves: its own target has no test harness.

#[path = "../../conformance/compare.rs"]
mod compare;
mod compare_tests;
#[path = "../../conformance/format.rs"]
mod format;
mod format_tests;
#[path = "../../conformance/functions.rs"]
mod functions;
mod functions_tests;
#[path = "../../conformance/later.rs"]
mod later;
mod later_tests;
#[path = "../../conformance/outcome.rs"]
mod outcome;
#[path = "../../conformance/value.rs"]
mod value;
mod value_tests;
