//! Job files, good and bad: what is read, and what is said about mistakes.

use std::time::Duration;

use highwater::{Guarantee, LostChangelog, LostRecords, MissingPosition, Settings};

use super::{Create, parse};
use crate::topologies::row::Format;
use crate::topologies::time_format::TimeFormat;
use crate::topologies::windowed_counts::{BadRecords, Bound, Emit, Idle, Window};
use crate::topologies::{ALL, WindowedCounts};

const GOOD: &str = r"job: windowed-counts
application: clicks-per-page
input:
  topic: clicks
  format: json
  key: user
  event-time:
    field: at
    format: epoch-ms
  watermark:
    disorder: 10s
    idle-after: never
  bad-records:
    dead-letter: bad-clicks
group-by: page
window:
  hopping: 5m
  advance: 1m
  grace: 250ms
emit: on-update
output:
  topic: counts
late:
  topic: late-clicks
guarantee: at-least-once
commit-interval: 1s
commit-pace: adaptive
";

fn job(text: &str) -> WindowedCounts {
    parse("job.yaml", text).unwrap_or_else(|error| panic!("{error}")).job
}

/// What is said about `GOOD` after a change.
fn said(from: &str, to: &str) -> String {
    assert!(GOOD.contains(from), "the test changes nothing: {from}");
    parse("job.yaml", &GOOD.replace(from, to)).expect_err("has a problem").to_string()
}

#[test]
fn a_good_file_is_read_whole() {
    let job = job(GOOD);
    assert_eq!((&*job.application, &*job.input.topic, &*job.output_topic), ("clicks-per-page", "clicks", "counts"));
    assert_eq!((job.group_by.as_deref(), job.late_topic.as_deref()), (Some("page"), Some("late-clicks")));
    assert_eq!((job.input.key.as_deref(), &*job.input.time_field), (Some("user"), "at"));
    assert_eq!(job.input.time_format, TimeFormat::EpochMs);
    assert_eq!(job.input.watermark, Some(Bound { disorder: Duration::from_secs(10), idle_after: Idle::Never }));
    assert_eq!(job.input.bad_records, BadRecords::DeadLetter("bad-clicks".to_owned()));
    assert_eq!(job.window, Window::Hopping { size: Duration::from_secs(300), advance: Duration::from_secs(60) });
    assert_eq!((job.grace, job.emit), (Duration::from_millis(250), Emit::OnUpdate));
    assert!(matches!(job.input.format, Format::Json));
    assert_eq!((job.guarantee, job.commit_interval, job.adaptive_commit), (Guarantee::AtLeastOnce, Duration::from_secs(1), true));
}

#[test]
fn what_a_job_may_use_has_bounds() {
    let settled = |keys: &str| {
        let mut settings = Settings::new("a");
        parse("job.yaml", &format!("{GOOD}{keys}")).unwrap_or_else(|error| panic!("{error}")).limits.settle(&mut settings);
        (settings.memory, settings.restore_bytes_per_second.map(u64::from))
    };
    assert_eq!(settled(""), (512 << 20, None));
    assert_eq!(settled("memory: 256 MB\nrestore-rate: 20MB/s\n"), (256 << 20, Some(20 << 20)));
    let wrong = parse("job.yaml", &format!("{GOOD}memory: 8MB\nrestore-rate: 0B\n")).expect_err("too little").to_string();
    let text = "job.yaml:28:9: `memory` is too little, with `8MB`: give it at least `16MB`\n\
                job.yaml:29:15: `restore-rate` must be more than nothing; leave it out for no limit";
    assert_eq!(wrong, text);
}

#[test]
fn what_follows_a_loss_is_said_in_one_group() {
    let settled = |section: &str| {
        let mut settings = Settings::new("a");
        parse("job.yaml", &format!("{GOOD}{section}")).unwrap_or_else(|error| panic!("{error}")).lost.settle(&mut settings);
        (settings.on_lost_records, settings.on_missing_position, settings.on_lost_changelog)
    };
    assert_eq!(settled(""), (LostRecords::Fail, MissingPosition::Fail, LostChangelog::Fail));
    let all = settled("lost: {records: skip, position: reset, changelog: rebuild}\n");
    assert_eq!(all, (LostRecords::Skip, MissingPosition::Reset, LostChangelog::Rebuild));
    let said = parse("job.yaml", &format!("{GOOD}lost: {{changelog: skip}}\n")).expect_err("no such way").to_string();
    assert!(said.contains("`changelog` cannot be `skip`: it is `stop` or `rebuild`"), "{said}");
}

#[test]
fn the_examples_of_every_prebuilt_job_are_good() {
    for prebuilt in ALL {
        job(prebuilt.example);
    }
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/topologies/jobs");
    let mut seen = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|end| end == "yaml") {
            super::read(&path).unwrap_or_else(|error| panic!("{error}"));
            seen += 1;
        }
    }
    assert!(seen >= 4, "{seen}");
}

#[test]
fn the_files_in_the_documentation_are_good() {
    let page = include_str!("../../../docs/job-files.md");
    let files: Vec<_> = page.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert_eq!(files.len(), 2);
    files.into_iter().for_each(|file| drop(job(file)));
}

#[test]
fn unknown_keys_are_errors_with_line_and_fix() {
    assert_eq!(said("window:", "windw:"), "job.yaml:16:1: unknown key `windw` in the job file: did you mean `window`?", "one mistake");
    let both = said("window:", "breadth:");
    assert!(both.contains("has no `window`: add") && both.contains("unknown key `breadth`"), "{both}");
    assert_eq!(
        said("    idle-after: never", "    idle_after: never"),
        "job.yaml:12:5: unknown key `idle_after` in `watermark`: did you mean `idle-after`?"
    );
    assert_eq!(said("output:\n", "output:\n  retention: 1d\n"), "job.yaml:22:3: unknown key `retention` in `output`: it knows `topic`");
}

#[test]
fn wrong_values_are_errors_with_line_and_fix() {
    for (from, to, expected) in [
        ("disorder: 10s", "disorder: 10", "11:15: `disorder` wants a duration such as `10s`, `5m`, `1h` or `250ms`, not `10`"),
        ("disorder: 10s", "disorder: [10s]", "11:15: `disorder` wants one value, not a list"),
        ("disorder: 10s", "disorder:", "11:13: `disorder` has no value: write one, or leave the key out"),
        (
            "idle-after: never",
            "idle-after: nevr",
            "12:17: `idle-after` wants a duration such as `10s`, `5m`, `1h` or `250ms`, not `nevr`, or `never`",
        ),
        ("format: json", "format: jsno", "5:11: `format` cannot be `jsno`: did you mean `json`?"),
        ("format: json", "format: avro", "5:11: `format` cannot be `avro`: it is `json` or `regex`"),
        (
            "format: epoch-ms",
            "format: iso",
            "9:13: `format` cannot be `iso`: it is `epoch-ms`, `epoch-s`, `rfc3339` or a pattern such as `%Y-%m-%d %H:%M:%S`",
        ),
        ("emit: on-update", "emit: on-updates", "20:7: `emit` cannot be `on-updates`: did you mean `on-update`?"),
        ("topic: counts", "topic: the counts", "22:10: `topic` wants a name of ASCII letters, digits, `.`, `_` and `-`, not `the counts`"),
        ("job: windowed-counts", "job: windowed-count", "1:6: `job` cannot be `windowed-count`: did you mean `windowed-counts`?"),
        (
            "guarantee: at-least-once",
            "guarantee: exactly_once",
            "25:12: `guarantee` cannot be `exactly_once`: did you mean `exactly-once`?",
        ),
        ("commit-interval: 1s", "commit-interval: 0s", "26:18: `commit-interval` must be longer than zero"),
        ("hopping: 5m", "hopping: 0m", "17:12: `hopping` must be longer than zero"),
        ("    dead-letter: bad-clicks", "    - x", "14:5: `bad-records` wants one value, not a list"),
        (
            "input:",
            "input: x\nrest:",
            "3:8: `input` must be a group of keys, not `x`\njob.yaml:4:1: unknown key `rest` in the job file: it knows",
        ),
    ] {
        let said = said(from, to);
        assert!(said.starts_with(&format!("job.yaml:{expected}")), "{said}");
    }
}

#[test]
fn a_wrong_job_name_hides_no_other_mistake() {
    let good = ALL[0].example;
    let text = good.replacen("job: windowed-counts", "job: windowed-count", 1).replacen("window:", "windw:", 1);
    let said = super::parse("job.yaml", &text).unwrap_err().to_string();
    assert!(said.contains("did you mean `windowed-counts`?") && said.contains("did you mean `window`?"), "{said}");
}

#[test]
fn contradictions_are_errors() {
    for (from, to, expected) in [
        ("advance: 1m", "advance: 6m", "18:12: `advance` is longer than the window"),
        ("advance: 1m", "advance: 1ms", "18:12: `advance` puts each record into 300000 windows, more than 10000: make it longer"),
        ("  advance: 1m\n", "", "17:12: `hopping` needs `advance`"),
        ("hopping: 5m", "sliding: 5m", "18:12: `advance` belongs to `hopping`"),
        ("hopping: 5m", "tumbling: 1m\n  hopping: 5m", "18:12: `window` has two kinds: `tumbling` and `hopping`"),
        ("  hopping: 5m\n  advance: 1m\n", "", "17:3: `window` has no kind: add one of"),
        ("topic: late-clicks", "topic: counts", "1:1: the output and the late records share the topic `counts`: give each its own"),
        ("topic: counts", "topic: clicks", "1:1: the input and the output share the topic `clicks`"),
        ("format: json", "format: json\n  pattern: x", "6:12: `pattern` belongs to `format: regex`"),
    ] {
        let said = said(from, to);
        assert!(said.starts_with(&format!("job.yaml:{expected}")), "{said}");
    }
}

#[test]
fn a_pattern_must_compile_and_name_the_fields() {
    let with = |pattern: &str| said("format: json", &format!("format: regex\n  pattern: '{pattern}'"));
    assert_eq!(with("(?<at>"), "job.yaml:6:12: `pattern` is not a regular expression: unclosed group");
    assert!(with("^x$").contains("6:12: `pattern` has no named group"));
    assert_eq!(
        with("(?<at>x)(?<usr>x)"),
        "job.yaml:7:8: `key` names the field `user`, but the groups of `pattern` are `at` and `usr`\n\
         job.yaml:16:11: `group-by` names the field `page`, but the groups of `pattern` are `at` and `usr`"
    );
    assert!(said("format: json", "format: regex").starts_with("job.yaml:4:3: `format: regex` needs `pattern`"));
}

#[test]
fn every_problem_of_a_file_is_said_at_once_from_top_to_bottom() {
    let text = "job: windowed-counts\ninput: {topic: a b, format: xml, event-time: {field: at}}\nwindow: {tumbling: soon}\nemit: later\n";
    let said = parse("job.yaml", text).expect_err("many problems").to_string();
    let lines: Vec<_> = said.lines().collect();
    assert_eq!(lines.len(), 7, "{said}");
    assert!(lines.is_sorted_by_key(|line| line.split(':').nth(1).unwrap().parse::<usize>().unwrap()), "{said}");
    for part in ["no `application`", "no `output`", "`a b`", "`xml`", "no `format`", "`soon`", "`later`"] {
        assert!(said.contains(part), "{part} is not in:\n{said}");
    }
}

#[test]
fn grouping_by_the_record_key_needs_no_shuffle() {
    assert_eq!(job(&GOOD.replace("group-by: page", "group-by: user")).group_by, None);
}

#[test]
fn what_may_be_left_out_has_a_default() {
    let job = job("job: windowed-counts\napplication: a\ninput: {topic: t, format: json, event-time: {field: at, format: epoch-s}}\n\
                   window: {session: 30m}\noutput: {topic: o}\n");
    assert_eq!((job.emit, job.grace, job.window), (Emit::OnClose, Duration::ZERO, Window::Session(Duration::from_secs(1800))));
    assert_eq!((job.input.watermark, job.input.bad_records, job.late_topic), (None, BadRecords::Fail, None));
    assert_eq!((job.guarantee, job.commit_interval, job.adaptive_commit), (Guarantee::ExactlyOnce, Duration::from_millis(100), false));
}

/// An editor of another system begins a file with a mark that nobody sees; the job file then had no `job`.
#[test]
fn a_byte_order_mark_is_no_part_of_the_first_key() {
    assert_eq!(job(&format!("\u{feff}{GOOD}")).application, "clicks-per-page");
}

#[test]
fn a_file_that_is_not_there_says_so() {
    let said = super::read("nowhere.yaml".as_ref()).expect_err("is not there").to_string();
    assert!(said.starts_with("nowhere.yaml:1:1: cannot read the file: "), "{said}");
}

#[test]
fn a_cluster_and_what_may_be_made_there_are_read() {
    let text = format!(
        "{GOOD}kafka:\n  bootstrap: a:1,b:2\n  properties:\n    client.id: me\n    sasl.password: ${{env:P}}\n    client.rack:\ntopics: {{create: never}}\n"
    );
    let file = parse("job.yaml", &text).unwrap_or_else(|error| panic!("{error}"));
    let kafka = file.kafka.expect("named");
    assert_eq!((kafka.bootstrap.as_deref(), file.create), (Some("a:1,b:2"), Create::Never));
    let said: Vec<_> = kafka.properties.iter().map(|(key, (at, value))| (&**key, at.line, &**value)).collect();
    let end = GOOD.lines().count();
    assert_eq!(said, [("client.id", end + 4, "me"), ("client.rack", end + 6, ""), ("sasl.password", end + 5, "${env:P}")]);
    let file = parse("job.yaml", GOOD).unwrap();
    assert!(file.kafka.is_none() && file.create == Create::Internal);
}

#[test]
fn mistakes_about_a_cluster_are_told_with_their_place() {
    let said = |more: &str| parse("job.yaml", &format!("{GOOD}{more}\n")).expect_err("has a problem").to_string();
    for (more, expected) in [
        ("kafka: a:1", "8: `kafka` must be a group of keys, not `a:1`"),
        ("kafka: {boostrap: a}", "9: unknown key `boostrap` in `kafka`: did you mean `bootstrap`?"),
        ("kafka: {properties: x}", "21: `properties` must be a group of keys"),
        ("kafka: {properties: {a: [b]}}", "25: `a` wants one value, not a list"),
        ("topics: {create: none}", "18: `create` cannot be `none`: it is `internal`, `all` or `never`"),
    ] {
        let place = GOOD.lines().count() + 1;
        assert!(said(more).starts_with(&format!("job.yaml:{place}:{expected}")), "{}", said(more));
    }
}
