//! The binary as a person starts it: what it prints, and with which status it ends.

use std::path::Path;
use std::process::{Command, Output};

/// Runs `highwater` in the root of the package.
pub(crate) fn highwater(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_highwater"));
    command.current_dir(env!("CARGO_MANIFEST_DIR")).args(args).env_remove("HIGHWATER_LOG").output().expect("the binary starts")
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("text")
}

/// A file of this test in cargo's folder for them.
pub(crate) fn temporary(name: &str, text: &str) -> String {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&path, text).expect("a writable folder");
    path.display().to_string()
}

#[test]
fn help_shows_the_way_to_the_first_result() {
    let help = highwater(&["--help"]);
    assert!(help.status.success());
    let help = text(&help.stdout);
    for command in ["demo", "run", "describe", "list", "topics", "read", "highwater run job.yaml --feed", "Exit status"] {
        assert!(help.contains(command), "{command} is not in:\n{help}");
    }
    for command in ["demo", "run", "describe", "list", "topics", "read"] {
        assert!(highwater(&[command, "--help"]).status.success(), "{command}");
    }
}

#[test]
fn a_wrong_command_line_ends_with_2_and_names_the_fix() {
    for (args, fix) in [
        (&["runn"][..], "similar subcommand exists: 'run'"),
        (&["demo", "--for", "20"], "such as `10s`"),
        (&["demo", "--rate", "0"], "0 is not in 1..=1000000"),
        (&["list", "window"], "there is no job `window`: `highwater list`"),
        (&["list", "windowed-count"], "did you mean `windowed-counts`?"),
    ] {
        let output = highwater(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(text(&output.stderr).contains(fix), "{}", text(&output.stderr));
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn the_printed_example_is_a_job_file_that_is_listed() {
    let names = text(&highwater(&["list"]).stdout);
    assert!(names.starts_with("windowed-counts "), "{names}");
    let example = highwater(&["list", "windowed-counts"]);
    assert!(example.status.success() && text(&example.stdout).contains("\njob: windowed-counts\n"));
}

#[test]
fn a_job_file_with_mistakes_ends_with_2_and_tells_them_all() {
    let file = temporary("mistakes.yaml", "job: windowed-counts\ninput: {topic: t, format: jsn}\nwindw: {tumbling: 10}\n");
    let output = highwater(&["describe", &file]);
    let told = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{told}");
    for part in [":1:1: the job file has no `application`", ":2:27: `format` cannot be `jsn`", ":3:1: unknown key `windw`"] {
        assert!(told.contains(&format!("mistakes.yaml{part}")), "{part} is not in:\n{told}");
    }
}

#[test]
fn describe_shows_the_topology_of_a_job_as_text_and_as_pictures() {
    let describe = |more: &[&str]| {
        let output = highwater(&[&["describe", "topologies/jobs/access-log-status-rekeyed.yaml"], more].concat());
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout)
    };
    assert!(describe(&[]).starts_with("Topologies:\n   Sub-topology: 0\n    Source: read (topics: [access-log])\n"), "{}", describe(&[]));
    assert!(describe(&["--explain"]).contains("regrouped-repartition"));
    assert!(describe(&["--format", "dot"]).starts_with("digraph"));
    assert!(describe(&["--format", "mermaid"]).starts_with("flowchart"));
}
