//! `highwater run --data`: a job whose log and state are in a folder, killed and started again.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::cli::{highwater, temporary, text};

/// A process that is killed when the test is over, however it ends.
struct Victim(Child);

impl Drop for Victim {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// Clicks of seven users, 10 ms apart, in windows of a second.
fn clicks(range: std::ops::Range<u64>) -> String {
    range.map(|n| format!("{{\"who\":\"user-{}\",\"page\":\"p{}\",\"at\":{}}}\n", n % 7, n % 3, n * 10)).collect()
}

/// A job that counts them by page, through a repartition topic.
fn job(name: &str) -> String {
    let text = format!(
        "job: windowed-counts\napplication: {name}\ninput:\n  topic: clicks\n  format: json\n  key: who\n  \
         event-time: {{field: at, format: epoch-ms}}\n  watermark: {{disorder: 5ms, idle-after: never}}\ngroup-by: page\nwindow: {{tumbling: 1s}}\noutput: {{topic: counts}}\n"
    );
    temporary(&format!("{name}.yaml"), &text)
}

/// A folder that is not there yet.
fn folder(name: &str) -> String {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::remove_dir_all(&path).ok();
    path.display().to_string()
}

/// The counts of the first `clicks` clicks, worked out by hand.
fn expected(clicks: u64) -> String {
    let mut counts = std::collections::BTreeMap::new();
    (0..clicks).for_each(|n| *counts.entry((n % 3, n / 100 * 1000)).or_insert(0) += 1);
    let rows = counts.iter().map(|((page, start), count)| format!("p{page},{start},{},{count}\n", start + 1000));
    format!("key,start,end,count\n{}", rows.collect::<String>())
}

#[test]
fn a_finished_run_is_known_to_the_next_one() {
    let (job, data, feed) = (job("data-twice"), folder("data-twice.d"), temporary("data-twice.jsonl", &clicks(0..1000)));
    let run = || highwater(&["run", &job, "--feed", &feed, "--data", &data, "--partitions", "2", "--until", "end"]);
    let first = run();
    assert!(first.status.success(), "{}", text(&first.stderr));
    assert_eq!(text(&first.stdout), expected(1000));
    let second = run();
    assert_eq!(text(&second.stdout), expected(1000), "{}", text(&second.stderr));
    let summary = text(&second.stderr);
    assert!(summary.contains("records read   0 ") && summary.contains("of 1,000 in `clicks`; the others by earlier runs"), "{summary}");
}

/// The log keeps a week of a topic unless told otherwise: lines that wait for their job, and results, were gone after it.
#[test]
fn a_folder_keeps_what_it_was_given() {
    let (job, data, feed) = (job("data-keeps"), folder("data-keeps.d"), temporary("data-keeps.jsonl", &clicks(0..10)));
    assert!(highwater(&["run", &job, "--feed", &feed, "--data", &data, "--until", "end"]).status.success());
    let topics = text(&highwater(&["topics", &data, "--json"]).stdout);
    for topic in ["clicks", "counts"] {
        let line = topics.lines().find(|line| line.contains(&format!("\"topic\":\"{topic}\"")));
        assert!(line.is_some_and(|line| line.contains("\"retention.ms\":\"-1\"")), "{topic}: {topics}");
    }
}

#[test]
fn a_killed_run_goes_on_where_it_was() {
    const CLICKS: u64 = 60_000;
    let (job, data, feed) = (job("data-killed"), folder("data-killed.d"), temporary("data-killed.jsonl", &clicks(0..CLICKS)));
    let args = ["run", &job, "--feed", &feed, "--data", &data, "--partitions", "2", "--until", "end"];
    let mut kills = 0;
    for after in [150, 400, 700] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_highwater"));
        let mut victim = Victim(command.args(args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
        thread::sleep(Duration::from_millis(after));
        kills += u32::from(victim.0.try_wait().unwrap().is_none()); // and then SIGKILL
    }
    let last = highwater(&args);
    assert!(last.status.success(), "{}", text(&last.stderr));
    assert_eq!(text(&last.stdout), expected(CLICKS), "after {kills} kills");
    assert!(kills > 0, "the runs were over before they could be killed");
    assert!(text(&last.stderr).contains("of 60,000 in `clicks`"), "no line is loaded twice: {}", text(&last.stderr));
}

#[test]
fn a_file_that_grows_is_loaded_from_where_it_stood() {
    let (job, data, feed) = (job("data-grows"), folder("data-grows.d"), temporary("data-grows.jsonl", &clicks(0..250)));
    let mut command = Command::new(env!("CARGO_BIN_EXE_highwater"));
    let args = ["run", &job, "--feed", &feed, "--data", &data];
    let first = Victim(command.args(args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    wait_for(Duration::from_secs(120), || text(&highwater(&["read", &data, "counts", "--json"]).stdout).lines().count() == 6);
    drop(first);
    std::fs::write(&feed, clicks(0..700)).unwrap();
    let second = highwater(&["run", &job, "--feed", &feed, "--data", &data, "--until", "end"]);
    assert_eq!(text(&second.stdout), expected(700), "{}", text(&second.stderr));

    std::fs::write(&feed, clicks(0..3)).unwrap();
    let third = highwater(&["run", &job, "--feed", &feed, "--data", &data, "--until", "end"]);
    assert_eq!(third.status.code(), Some(2));
    assert!(text(&third.stderr).contains("it is another file now"), "{}", text(&third.stderr));
}

#[test]
fn what_a_folder_cannot_be_is_told() {
    let (job, data, feed) = (job("data-told"), folder("data-told.d"), temporary("data-told.jsonl", &clicks(0..10)));
    let run = |data: &str, partitions: &str| {
        highwater(&["run", &job, "--feed", &feed, "--data", data, "--partitions", partitions, "--until", "end"])
    };
    assert!(run(&data, "2").status.success());
    let other = run(&data, "3");
    assert_eq!(other.status.code(), Some(2));
    assert!(text(&other.stderr).contains("has 2 partitions already: say `--partitions 2`"), "{}", text(&other.stderr));
    let file = run(&feed, "2");
    assert!(!file.status.success() && text(&file.stderr).contains("the log in `"), "{}", text(&file.stderr));
}

fn wait_for(within: Duration, enough: impl Fn() -> bool) {
    let begun = Instant::now();
    while !enough() {
        assert!(begun.elapsed() < within, "not within {within:?}");
        thread::sleep(Duration::from_millis(50));
    }
}
