//! The CPU time of the thread that asks: other work on the machine does not count, as it would on a wall clock.

use std::time::Duration;

/// CPU time so far. Linux only: benches measure nothing elsewhere, and say so.
pub(crate) fn time() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").expect("this bench reads CPU time from /proc");
    let nanoseconds = stat.split_whitespace().next().and_then(|first| first.parse().ok());
    Duration::from_nanos(nanoseconds.expect("the first field is nanoseconds on a CPU"))
}
