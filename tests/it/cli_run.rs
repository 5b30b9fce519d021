//! `highwater run` and `highwater demo` as a person starts them: results, summaries, mistakes, bad records, Ctrl-C.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use crate::cli::{highwater, temporary, text};

/// A small job over JSON lines; `more` are further keys of `input`.
fn job(name: &str, more: &str) -> String {
    let text = format!(
        "job: windowed-counts\napplication: {name}\n\
         input:\n  topic: clicks\n  format: json\n  key: who\n  event-time: {{field: at, format: epoch-ms}}\n  watermark: {{disorder: 5ms}}\n{more}\
         window: {{tumbling: 10ms}}\noutput: {{topic: counts}}\nlate: {{topic: late}}\n"
    );
    temporary(&format!("{name}.yaml"), &text)
}

const CLICKS: &str = "{\"who\":\"ann\",\"at\":1}\n{\"who\":\"bob\",\"at\":3}\n{\"who\":\"ann\",\"at\":12}\n{\"who\":\"ann\",\"at\":9}\n{\"who\":\"bob\",\"at\":40}\n{\"who\":\"ann\",\"at\":2}\n";
const COUNTS: &str = "key,start,end,count\nann,0,10,2\nann,10,20,1\nbob,0,10,1\nbob,40,50,1\n";

#[test]
fn without_a_file_the_results_own_standard_output() {
    let (job, feed) = (job("stdout", ""), temporary("stdout.jsonl", CLICKS));
    let run = highwater(&["run", &job, "--feed", &feed, "--until", "end"]);
    assert!(run.status.success(), "{}", text(&run.stderr));
    assert_eq!(text(&run.stdout), COUNTS);
    let summary = text(&run.stderr);
    assert!(summary.starts_with("stdout: finished\n"), "{summary}");
    assert!(summary.contains("records read   6 ") && summary.contains("late records   1 "), "{summary}");
}

#[test]
fn results_can_be_json_lines_and_until_now_ends_too() {
    let (job, feed, output) = (job("jsonl", ""), temporary("jsonl.in", CLICKS), temporary("counts.jsonl", ""));
    let run = highwater(&["run", &job, "--feed", &feed, "--until", "now", "--output", &output, "--threads", "2", "--partitions", "2"]);
    assert!(run.status.success(), "{}", text(&run.stderr));
    let written = std::fs::read_to_string(&output).unwrap();
    assert!(written.starts_with("{\"key\":\"ann\",\"start\":0,\"end\":10,\"count\":"), "{written}");
    assert!(text(&run.stdout).contains("jsonl: finished"));
}

#[test]
fn what_cannot_run_ends_with_2_and_names_the_fix() {
    let (job, keyless) = (
        job("usage", ""),
        temporary(
            "keyless.yaml",
            "job: windowed-counts\napplication: a\ninput: {topic: t, format: json, event-time: {field: at, format: epoch-ms}}\nwindow: {tumbling: 1s}\noutput: {topic: o}\n",
        ),
    );
    let feed = temporary("usage.jsonl", CLICKS);
    for (args, fix) in [
        (vec!["run", &*job], "`--feed FILE`"),
        (vec!["run", &job, "--feed", "nowhere.log"], "cannot read `nowhere.log`"),
        (vec!["run", &keyless, "--feed", &feed], "add `key` to its `input`"),
        (vec!["run", &job, "--feed", &feed, "--output", "counts.xls"], "must end in `.csv` or `.jsonl`"),
        (vec!["run", "nowhere.yaml", "--feed", &feed], "nowhere.yaml:1:1: cannot read the file"),
        (vec!["run", &job, "--feed", &feed, "--partitions", "0"], "0 is not in 1..=1024"),
        (vec!["run", &job, "--data", "x", "--bootstrap", "b:1"], "cannot be used with"),
        (vec!["run", &job, "--feed", &feed, "--state-dir", "x"], "`--state-dir` is for a job on a cluster"),
        (vec!["run", &job, "-X", "hunter2"], "wants `KEY=VALUE`"),
        (vec!["read", "orders"], "`highwater read --bootstrap HOST:PORT TOPIC`"),
        (vec!["read", "folder", "orders", "--bootstrap", "b:1"], "leave one of them"),
        (vec!["topics"], "neither a folder nor a cluster is named"),
    ] {
        let run = highwater(&args);
        assert_eq!(run.status.code(), Some(2), "{args:?}: {}", text(&run.stderr));
        assert!(text(&run.stderr).contains(fix), "{args:?}: {}", text(&run.stderr));
    }
}

#[test]
fn a_job_file_that_names_a_cluster_is_not_run_in_a_folder() {
    let job = std::fs::read_to_string(job("cluster", "")).unwrap() + "kafka: {bootstrap: 'b:1', properties: {group.id: x}}\n";
    let job = temporary("cluster-too.yaml", &job);
    let run = highwater(&["run", &job, "--data", "x"]);
    assert_eq!(run.status.code(), Some(2));
    assert!(text(&run.stderr).contains("leave one of them"), "{}", text(&run.stderr));
    let run = highwater(&["run", &job]);
    assert_eq!(run.status.code(), Some(2));
    let told = if cfg!(feature = "kafka") { ":12:40: `group.id` cannot be set here: " } else { "this build knows no clusters" };
    assert!(text(&run.stderr).contains(told), "{}", text(&run.stderr));
}

#[test]
fn a_bad_record_stops_the_job_unless_its_file_says_otherwise() {
    let feed = temporary("bad.jsonl", &format!("{CLICKS}nonsense\n{{\"who\":\"ann\"}}\n"));
    let run = |job: &str| highwater(&["run", job, "--feed", &feed, "--until", "end"]);

    let failed = run(&job("bad-fail", ""));
    assert_eq!(failed.status.code(), Some(1));
    let told = text(&failed.stderr);
    assert!(told.contains("not JSON") && told.contains("clicks-0@6") && told.contains("`bad-records: skip`"), "{told}");

    let skipped = run(&job("bad-skip", "  bad-records: skip\n"));
    assert!(skipped.status.success(), "{}", text(&skipped.stderr));
    assert_eq!(text(&skipped.stdout), COUNTS);
    assert!(text(&skipped.stderr).contains("bad records    2 "), "{}", text(&skipped.stderr));

    let dead = run(&job("bad-dead", "  bad-records: {dead-letter: bad-clicks}\n"));
    assert_eq!(text(&dead.stdout), COUNTS);
    assert!(text(&dead.stderr).contains("bad records    2         2 to `bad-clicks`"), "{}", text(&dead.stderr));
}

#[test]
fn a_time_that_cannot_be_is_a_bad_record_and_moves_no_clock() {
    let odd = "{\"who\":\"ann\",\"at\":99999999999999}\n{\"who\":\"ann\",\"at\":-5}\n{\"at\":4}\n";
    let feed = temporary("odd.jsonl", &format!("{odd}{CLICKS}"));
    let run = highwater(&["run", &job("odd", "  bad-records: {dead-letter: bad-clicks}\n"), "--feed", &feed, "--until", "end"]);
    assert_eq!(text(&run.stdout), COUNTS, "{}", text(&run.stderr));
    assert!(text(&run.stderr).contains("bad records    3         1 to `bad-clicks`; lines without a key: 1"), "{}", text(&run.stderr));
}

#[test]
fn the_demo_ends_by_itself_and_shows_closed_windows() {
    let demo = highwater(&["demo", "--for", "2s", "--rate", "2000"]);
    assert!(demo.status.success(), "{}", text(&demo.stderr));
    let shown = text(&demo.stdout);
    assert!(shown.lines().any(|line| line.starts_with("closed ") && line.contains(" views   / ")), "{shown}");
    assert!(shown.contains("The end: 4,000 views, 0 of them late."), "{shown}");
    assert!(!shown.contains('\x1b'), "no escape codes where there is no terminal");
}

#[cfg(unix)]
#[test]
fn an_interrupted_demo_commits_and_says_where_it_stands() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_highwater"));
    let mut demo = command.args(["demo", "--for", "5m"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(demo.stdout.take().unwrap()).lines().map(Result::unwrap);
    let stands = |line: &String| line.starts_with("now ") && !line.contains("not known yet");
    assert!(lines.any(|line| stands(&line)), "it says where it stands, every few seconds");
    assert!(Command::new("kill").args(["-INT", &demo.id().to_string()]).status().unwrap().success());
    let shown = lines.collect::<Vec<_>>().join("\n");
    let demo = demo.wait_with_output().unwrap();
    assert!(demo.status.success(), "{}", text(&demo.stderr));
    assert!(shown.contains("Interrupted, and committed: ") && shown.contains("the watermark stood at 20"), "{shown}");
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let (job, feed) = (job("pipe", ""), temporary("pipe.jsonl", CLICKS));
    let mut command = Command::new(env!("CARGO_BIN_EXE_highwater"));
    let mut run =
        command.args(["run", &job, "--feed", &feed, "--until", "end"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(run.stdout.take());
    let run = run.wait_with_output().unwrap();
    assert!(run.status.success(), "{}", text(&run.stderr));
}
