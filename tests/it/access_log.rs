//! Real input with a known answer: the access log of a public web server, counted by the binary as a person would, compared row by row with
//! answers that no streaming engine computed.
//!
//! The log is not part of this repository. It is looked for in `../shared/data`, or where `HIGHWATER_SHARED` says; without it those tests
//! say so and pass. The same questions over the bundled sample run everywhere.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::cli::{highwater, text};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// The folder with the log and its answers.
#[allow(clippy::print_stdout, reason = "a test that looks at nothing says so")]
fn shared_data() -> Option<PathBuf> {
    let shared = std::env::var_os("HIGHWATER_SHARED").map_or_else(|| Path::new(ROOT).join("../shared"), PathBuf::from);
    let data = shared.join("data");
    if data.join("access.log").exists() {
        return Some(data);
    }
    println!("passed over: there is no {}", data.join("access.log").display());
    None
}

/// One way to ask.
struct Question<'q> {
    /// A file of `topologies/jobs`.
    job: &'q str,
    /// Bound of the watermark.
    disorder: &'q str,
    partitions: u32,
    threads: u32,
}

impl Question<'_> {
    /// Runs the job over `log`: the result file, and what the program said at the end.
    fn ask(&self, log: &Path) -> (String, String) {
        let Question { job, disorder, partitions, threads } = self;
        let name = format!("{job}-{disorder}-{partitions}-{threads}-{}", log.file_stem().expect("a file").display());
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let (file, output) = (folder.join(format!("{name}.yaml")), folder.join(format!("{name}.csv")));
        let declared = fs::read_to_string(Path::new(ROOT).join(format!("topologies/jobs/{job}.yaml"))).expect("an example job");
        fs::write(&file, declared.replace("disorder: 60s", &format!("disorder: {disorder}"))).expect("a writable folder");
        let run = highwater(&[
            "run",
            &file.display().to_string(),
            "--feed",
            &log.display().to_string(),
            "--partitions",
            &partitions.to_string(),
            "--threads",
            &threads.to_string(),
            "--until",
            "end",
            "--output",
            &output.display().to_string(),
        ]);
        assert!(run.status.success(), "{}{}", text(&run.stdout), text(&run.stderr));
        (fs::read_to_string(output).expect("a result file"), text(&run.stdout))
    }
}

/// A number of the summary.
fn told(summary: &str, what: &str) -> u64 {
    let line = summary.lines().find_map(|line| line.trim().strip_prefix(what)).unwrap_or_else(|| panic!("no `{what}` in:\n{summary}"));
    let number: String = line.trim().chars().take_while(|c| c.is_ascii_digit() || *c == ',').filter(|c| *c != ',').collect();
    number.parse().unwrap_or_else(|_| panic!("no number after `{what}` in:\n{summary}"))
}

/// Asks over the real log, and compares every row with the stored answer.
fn check(question: &Question<'_>, answer: &str, late: u64) {
    let Some(data) = shared_data() else { return };
    let (rows, summary) = question.ask(&data.join("access.log"));
    assert_eq!(told(&summary, "records read"), 10_000);
    assert_eq!(told(&summary, "late records"), late);
    let expected = fs::read_to_string(data.join("expected").join(answer)).expect("a stored answer");
    assert_same_rows(&rows, &expected);
}

/// Equal, or the first differences: a whole file in a message helps nobody.
fn assert_same_rows(rows: &str, expected: &str) {
    let differ = |(ours, theirs): &(&str, &str)| ours != theirs;
    let first: Vec<_> = rows.lines().zip(expected.lines()).filter(differ).take(3).collect();
    let lengths = (rows.lines().count(), expected.lines().count());
    assert!(rows == expected, "{} lines, {} expected; first differences (ours, expected): {first:#?}", lengths.0, lengths.1);
}

#[test]
fn ten_second_counts_per_status_on_one_partition() {
    check(&Question { job: "access-log-status", disorder: "60s", partitions: 1, threads: 1 }, "status_10s_tumbling.csv", 0);
}

#[test]
fn the_same_counts_from_four_partitions_by_client_through_a_repartition_topic() {
    for threads in [1, 2] {
        check(&Question { job: "access-log-status-rekeyed", disorder: "60s", partitions: 4, threads }, "status_10s_tumbling.csv", 0);
    }
}

#[test]
fn a_tighter_bound_loses_exactly_the_lines_that_come_after_their_window() {
    for (disorder, ms, late) in [("0s", 0, 8_144), ("10s", 10_000, 6_489), ("30s", 30_000, 3_136)] {
        let question = Question { job: "access-log-status", disorder, partitions: 1, threads: 1 };
        check(&question, &format!("status_10s_bound_{ms}ms.csv"), late);
    }
}

#[test]
fn counts_per_minute() {
    check(&Question { job: "access-log-status-1m", disorder: "60s", partitions: 1, threads: 1 }, "status_1m_tumbling.csv", 0);
}

#[test]
fn five_minutes_of_each_client_every_minute() {
    for partitions in [1, 3] {
        check(&Question { job: "access-log-client-hopping", disorder: "60s", partitions, threads: 1 }, "client_5m_by_1m_hopping.csv", 0);
    }
}

#[test]
fn visits_of_each_client() {
    for partitions in [1, 3] {
        check(&Question { job: "access-log-client-sessions", disorder: "60s", partitions, threads: 1 }, "client_sessions_30m.csv", 0);
    }
}

#[test]
fn the_bundled_sample_gives_the_batch_answer_however_it_is_spread() {
    let log = Path::new(ROOT).join("topologies/jobs/sample.log");
    let expected = sample_answer(&fs::read_to_string(&log).expect("the sample"));
    for (job, partitions, threads) in [("access-log-status", 1, 1), ("access-log-status", 3, 2), ("access-log-status-rekeyed", 4, 2)] {
        let (rows, summary) = Question { job, disorder: "60s", partitions, threads }.ask(&log);
        assert_same_rows(&rows, &expected);
        assert_eq!((told(&summary, "records read"), told(&summary, "late records"), told(&summary, "bad records")), (200, 0, 0));
    }
}

#[test]
fn sliding_windows_over_the_sample_give_the_batch_answer() {
    let log = Path::new(ROOT).join("topologies/jobs/sample.log");
    let expected = sliding_answer(&fs::read_to_string(&log).expect("the sample"));
    for partitions in [1, 3] {
        let (rows, _) = Question { job: "access-log-status-sliding", disorder: "60s", partitions, threads: 1 }.ask(&log);
        assert_same_rows(&rows, &expected);
    }
}

/// Status and time of each line of the sample, whose lines are all of one morning: read without a regular expression.
fn sample(log: &str) -> impl Iterator<Item = (String, i64)> {
    /// 2 March 2026, midnight.
    const MIDNIGHT: i64 = 1_772_409_600;
    log.lines().map(|line| {
        let (time, rest) = line.split_once("[02/Mar/2026:").and_then(|(_, rest)| rest.split_once(" +0000] ")).expect("a line of that day");
        let seconds = time.split(':').fold(0, |sum, part| sum * 60 + part.parse::<i64>().expect("a number"));
        let status = rest.split('"').nth(2).and_then(|rest| rest.split_whitespace().next()).expect("a status");
        (status.to_owned(), (MIDNIGHT + seconds) * 1_000)
    })
}

/// Rows of (key, start, end) and a count, as a result file has them.
fn csv(counts: BTreeMap<(String, i64, i64), usize>) -> String {
    let rows = counts.into_iter().map(|((key, start, end), count)| format!("{key},{start},{end},{count}\n"));
    ["key,start,end,count\n".to_owned()].into_iter().chain(rows).collect()
}

/// Ten-second counts per status, without a window.
fn sample_answer(log: &str) -> String {
    let mut counts = BTreeMap::new();
    for (status, at) in sample(log) {
        let start = at / 10_000 * 10_000;
        *counts.entry((status, start, start + 10_000)).or_insert(0) += 1;
    }
    csv(counts)
}

/// One window that ends at each record, and one that begins just after it where that holds any record.
fn sliding_answer(log: &str) -> String {
    let records: Vec<_> = sample(log).collect();
    let within = |status: &str, start: i64| {
        let same = records.iter().filter(|(other, at)| other == status && (start..=start + 10_000).contains(at));
        same.count()
    };
    let starts = records.iter().flat_map(|(status, at)| [(status, at - 10_000), (status, at + 1)]);
    let windows = starts.map(|(status, start)| ((status.clone(), start, start + 10_000), within(status, start)));
    csv(windows.filter(|(_, count)| *count > 0).collect())
}
