//! The result file of `highwater run`: never half, never lost, never in place of something else.

#[cfg(unix)]
use std::process::{Command, Output, Stdio};

use crate::cli::{highwater, temporary, text};

const CLICKS: &str = "{\"who\":\"ann\",\"at\":1}\n{\"who\":\"bob\",\"at\":30}\n";

fn job(name: &str) -> String {
    let text = format!(
        "job: windowed-counts\napplication: {name}\ninput:\n  topic: clicks\n  format: json\n  key: who\n  \
         event-time: {{field: at, format: epoch-ms}}\n  watermark: {{disorder: 0s}}\nwindow: {{tumbling: 10ms}}\noutput: {{topic: counts}}\n"
    );
    temporary(&format!("{name}.yaml"), &text)
}

#[test]
fn a_run_that_fails_leaves_the_result_of_the_run_before() {
    let (job, good, bad) = (job("kept"), temporary("kept.in", CLICKS), temporary("kept-bad.in", &format!("{CLICKS}nonsense\n")));
    let output = temporary("kept.csv", "");
    assert!(highwater(&["run", &job, "--feed", &good, "--until", "end", "--output", &output]).status.success());
    let before = std::fs::read_to_string(&output).unwrap();
    assert!(before.ends_with("bob,30,40,1\n"), "{before}");

    let failed = highwater(&["run", &job, "--feed", &bad, "--until", "end", "--output", &output]);
    assert_eq!(failed.status.code(), Some(1));
    assert_eq!(std::fs::read_to_string(&output).unwrap(), before);
}

#[test]
fn the_input_is_never_overwritten_by_the_output() {
    let (job, feed) = (job("same"), temporary("same.jsonl", CLICKS));
    let run = highwater(&["run", &job, "--feed", &feed, "--until", "end", "--output", &feed]);
    assert_eq!(run.status.code(), Some(2));
    assert!(text(&run.stderr).contains("`--output` would overwrite the file of `--feed`"), "{}", text(&run.stderr));
    assert_eq!(std::fs::read_to_string(&feed).unwrap(), CLICKS);
}

#[test]
fn folders_are_no_files() {
    let (job, feed) = (job("folders"), temporary("folders.in", CLICKS));
    let folder = concat!(env!("CARGO_TARGET_TMPDIR"), "/folder.csv");
    std::fs::create_dir_all(folder).unwrap();
    for (args, why) in [
        (["--feed", folder, "--output", "x.csv"], "cannot read"),
        (["--feed", &feed, "--output", folder], "cannot write"),
        (["--feed", &feed, "--output", "nowhere/x.csv"], "cannot write `nowhere/x.csv`: there is no such folder"),
    ] {
        let run = highwater(&[&["run", &job, "--until", "end"][..], &args].concat());
        assert_eq!(run.status.code(), Some(2), "{args:?}: {}", text(&run.stderr));
        assert!(text(&run.stderr).contains(why), "{args:?}: {}", text(&run.stderr));
    }
}

#[test]
fn a_line_that_no_topic_takes_is_named() {
    let lines = format!("{CLICKS}\n{{\"who\":\"{}\",\"at\":5}}\n", "x".repeat(5_000_000));
    let run = highwater(&["run", &job("long"), "--feed", &temporary("long.in", &lines), "--until", "end"]);
    assert_eq!(run.status.code(), Some(1));
    let told = text(&run.stderr);
    assert!(told.contains("line 4 has ") && told.contains("shorten the line"), "{told}");
}

/// A run that is sent a signal as soon as its job has started.
#[cfg(unix)]
fn interrupted(signal: &str, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_highwater"));
    let mut run = command.args(args).env("HIGHWATER_LOG", "info").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // Its first word is said when the job starts: now the file is loaded, and there is something to cut short.
    let mut first = [0];
    std::io::Read::read_exact(run.stderr.as_mut().unwrap(), &mut first).unwrap();
    assert!(Command::new("kill").args([signal, &run.id().to_string()]).status().unwrap().success());
    run.wait_with_output().unwrap()
}

#[cfg(unix)]
#[test]
fn an_interrupted_run_says_that_its_result_is_not_whole() {
    let (job, output) = (job("cut-short"), temporary("cut-short.csv", ""));
    let lines: String = (0..400_000).map(|at| format!("{{\"who\":\"u{at}\",\"at\":{at}}}\n")).collect();
    let feed = temporary("cut-short.in", &lines);
    for signal in ["-INT", "-TERM"] {
        // Where this process did not run for a while, the job may be through before the signal comes.
        let mut tries = std::iter::repeat_with(|| {
            temporary("cut-short.csv", "the run before\n");
            interrupted(signal, &["run", &job, "--feed", &feed, "--until", "end", "--output", &output])
        });
        let run = tries.by_ref().take(5).find(|run| !text(&run.stdout).starts_with("cut-short: finished")).expect("slow enough");
        let told = text(&run.stderr);
        assert_eq!(run.status.code(), Some(1), "{told}");
        assert!(told.contains("not the whole result") && told.contains("cut-short.csv.part` holds what was counted so far"), "{told}");
        assert!(text(&run.stdout).starts_with("cut-short: interrupted"));
        assert_eq!(std::fs::read_to_string(&output).unwrap(), "the run before\n");
        let part = std::fs::read_to_string(format!("{output}.part")).unwrap();
        assert!(part.starts_with("key,start,end,count\n") && part.ends_with('\n') && part.lines().count() < 400_001);
    }
}
