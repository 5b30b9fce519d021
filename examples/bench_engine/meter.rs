//! CPU and wall clock of this process at chosen points of a run, and its result line.

use std::fs;
use std::time::Instant;

/// Records, CPU seconds and wall seconds since the process began.
struct Mark(u64, f64, f64);

pub(crate) struct Meter {
    birth: Instant,
    marks: Vec<Mark>,
}

impl Meter {
    pub(crate) fn new() -> Self {
        Meter { birth: Instant::now(), marks: Vec::new() }
    }

    pub(crate) fn mark(&mut self, records: u64) {
        self.mark_at(records, Meter::usage());
    }

    /// Marks an earlier moment, of which the CPU time was kept.
    pub(crate) fn mark_at(&mut self, records: u64, (cpu, at): (f64, Instant)) {
        self.marks.push(Mark(records, cpu, at.duration_since(self.birth).as_secs_f64()));
    }

    /// User and system time of this process so far, and now.
    pub(crate) fn usage() -> (f64, Instant) {
        let stat = fs::read_to_string("/proc/self/stat").expect("the harness needs Linux");
        let fields: Vec<&str> = stat.rsplit(')').next().expect("a name in brackets").split_whitespace().collect();
        let ticks = |n: usize| fields[n].parse::<f64>().expect("a number");
        ((ticks(11) + ticks(12)) / 100.0, Instant::now())
    }

    pub(crate) fn json(&self, workload: &str, records_in: u64, records_out: u64, more: &str) -> String {
        let (first, last) = (&self.marks[0], &self.marks[self.marks.len() - 1]);
        let marks: Vec<String> = self.marks.iter().map(|Mark(n, cpu, wall)| format!("[{n},{cpu:.3},{wall:.3}]")).collect();
        format!(
            "{{\"engine\":\"highwater\",\"workload\":\"{workload}\",\"records_in\":{records_in},\"records_out\":{records_out},\
             \"wall_start_s\":{:.3},\"wall_s\":{:.3},\"cpu_start_s\":{:.3},\"cpu_steady_s\":{:.3},\
             \"peak_rss_kb\":{},\"marks\":[{}]{more}}}",
            first.2,
            last.2 - first.2,
            first.1,
            last.1 - first.1,
            peak_rss_kb(),
            marks.join(",")
        )
    }
}

fn peak_rss_kb() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("the harness needs Linux");
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    line.and_then(|line| line.split_whitespace().nth(1)).and_then(|kb| kb.parse().ok()).unwrap_or(0)
}
