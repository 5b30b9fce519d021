//! The CPU time of the thread that asks, or of the process: other work on the machine does not count, as it would on a wall clock.

use std::time::Duration;

/// CPU time so far. Linux only: benches measure nothing elsewhere, and say so.
#[allow(dead_code)] // not every bench asks
pub(crate) fn time() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").expect("this bench reads CPU time from /proc");
    let nanoseconds = stat.split_whitespace().next().and_then(|first| first.parse().ok());
    Duration::from_nanos(nanoseconds.expect("the first field is nanoseconds on a CPU"))
}

/// CPU time of all threads of the process so far, in hundredths of a second.
#[allow(dead_code)] // not every bench asks
pub(crate) fn process_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("this bench reads CPU time from /proc");
    let fields = stat.rsplit(')').next().expect("there is a last part").split_whitespace();
    let ticks: u64 = fields.skip(11).take(2).map(|ticks| ticks.parse::<u64>().expect("a number of ticks")).sum();
    Duration::from_millis(ticks * 10)
}
