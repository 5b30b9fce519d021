//! The keys of a `windowed-counts` job.

use std::time::Duration;

use highwater::Guarantee;
use regex::Regex;

use super::fields::{Fields, Problems, duration, legal_name, listed, one_listed, one_of, scalar, span, word};
use super::yaml::{Data, Node};
use crate::topologies::WindowedCounts;
use crate::topologies::row::Format;
use crate::topologies::time_format::TimeFormat;
use crate::topologies::windowed_counts::{BadRecords, Bound, Emit, Idle, Input, Window};

/// How often a job commits unless its file says otherwise.
const COMMIT_INTERVAL: Duration = Duration::from_millis(100);

/// Reads the job; none if anything is wrong, with the problems noted.
pub(crate) fn read(mut file: Fields<'_>, problems: &Problems) -> Option<WindowedCounts> {
    let application = file.must("application", "my-counts", legal_name);
    let group_by = file.optional("group-by").map(|node| (node, scalar("group-by", node, problems, word)));
    let input = file.group("input", "…").and_then(|input| read_input(input, group_by.as_ref(), problems));
    let window = file.group("window", "{tumbling: 10s}").map(|window| read_window(window, problems));
    let emit = file.read("emit", |text| one_of(text, &[("on-close", Emit::OnClose), ("on-update", Emit::OnUpdate)]));
    let guarantees = &[("exactly-once", Guarantee::ExactlyOnce), ("at-least-once", Guarantee::AtLeastOnce)];
    let guarantee = file.read("guarantee", |text| one_of(text, guarantees));
    let commit_interval = file.read("commit-interval", span);
    let adaptive = file.read("commit-pace", |text| one_of(text, &[("interval", false), ("adaptive", true)]));
    let output = file.group("output", "{topic: counts}").and_then(|group| read_topic(group, "counts"));
    let late = file.optional("late").map(|node| Fields::of("`late`", node, problems).and_then(|group| read_topic(group, "late")));
    distinct_topics(&mut file, input.as_ref(), output.as_deref(), late.as_ref().and_then(Option::as_deref), problems);
    file.finish();
    let (window, grace) = window?;
    let group_by = group_by.and_then(|(_, field)| field);
    let input = input?;
    Some(WindowedCounts {
        application: application?,
        group_by: group_by.filter(|field| Some(field) != input.key.as_ref()),
        input,
        window: window?,
        grace,
        emit: emit.unwrap_or(Emit::OnClose),
        guarantee: guarantee.unwrap_or(Guarantee::ExactlyOnce),
        commit_interval: commit_interval.unwrap_or(COMMIT_INTERVAL),
        adaptive_commit: adaptive.unwrap_or(false),
        output_topic: output?,
        late_topic: late.flatten(),
    })
}

fn read_topic(mut group: Fields<'_>, example: &str) -> Option<String> {
    let topic = group.must("topic", example, legal_name);
    group.finish();
    topic
}

/// A job that writes where it reads would feed itself.
fn distinct_topics(file: &mut Fields<'_>, input: Option<&Input>, output: Option<&str>, late: Option<&str>, problems: &Problems) {
    let dead = input.and_then(|input| match &input.bad_records {
        BadRecords::DeadLetter(topic) => Some(topic.as_str()),
        _ => None,
    });
    let source = input.map(|input| input.topic.as_str());
    let named = [("the input", source), ("the output", output), ("the late records", late), ("the bad records", dead)];
    for (at, (what, topic)) in named.iter().enumerate() {
        for (other, _) in named[..at].iter().filter(|(_, earlier)| topic.is_some() && earlier == topic) {
            let topic = topic.unwrap_or_default();
            problems.note(file.at(), format!("{other} and {what} share the topic `{topic}`: give each its own"));
        }
    }
}

fn read_input(mut input: Fields<'_>, group_by: Option<&(&Node, Option<String>)>, problems: &Problems) -> Option<Input> {
    let topic = input.must("topic", "clicks", legal_name);
    let format = read_format(&mut input, problems);
    let key = input.optional("key").map(|node| (node, scalar("key", node, problems, word)));
    let (time_node, time_field, time_format) = match input.group("event-time", "{field: at, format: epoch-ms}") {
        Some(time) => read_event_time(time, problems),
        None => (None, None, None),
    };
    let watermark = match input.optional("watermark") {
        Some(node) => Fields::of("`watermark`", node, problems).and_then(read_watermark).map(Some),
        None => Some(None),
    };
    let bad_records = read_bad_records(&mut input, problems);
    input.finish();
    if let Some(Format::Regex(pattern)) = &format {
        let key = key.as_ref().and_then(|(node, field)| Some(("key", *node, field.as_deref()?)));
        let time = time_node.and_then(|node| Some(("field", node, time_field.as_deref()?)));
        let group_by = group_by.and_then(|(node, field)| Some(("group-by", *node, field.as_deref()?)));
        known_groups(pattern, [key, time, group_by], problems);
    }
    Some(Input {
        topic: topic?,
        format: format?,
        key: key.map(|(_, field)| field).unwrap_or_default(),
        time_field: time_field?,
        time_format: time_format?,
        watermark: watermark?,
        bad_records: bad_records?,
    })
}

/// The field that tells the event time, where it stands, and how to read it.
fn read_event_time<'f>(mut time: Fields<'f>, problems: &Problems) -> (Option<&'f Node>, Option<String>, Option<TimeFormat>) {
    let node = time.required("field", "at");
    let field = node.and_then(|node| scalar("field", node, problems, word));
    let format = time.must("format", "epoch-ms", TimeFormat::parse);
    time.finish();
    (node, field, format)
}

fn read_format(input: &mut Fields<'_>, problems: &Problems) -> Option<Format> {
    let is_regex = input.must("format", "json", |text| one_of(text, &[("json", false), ("regex", true)]));
    let pattern = input.optional("pattern");
    match (is_regex?, pattern) {
        (false, None) => Some(Format::Json),
        (false, Some(node)) => {
            problems.note(node.at, "`pattern` belongs to `format: regex`: leave it out, or change the format");
            None
        }
        (true, None) => {
            problems.note(
                input.at(),
                r"`format: regex` needs `pattern`: add one with named groups, such as `pattern: '^(?<at>\d+) (?<key>\S+)$'`",
            );
            None
        }
        (true, Some(node)) => scalar("pattern", node, problems, read_pattern).map(Format::Regex),
    }
}

fn read_pattern(text: &str) -> Result<Regex, String> {
    let pattern = Regex::new(text).map_err(|error| {
        let error = error.to_string();
        // The library draws the pattern with a caret first; the last line says what is wrong.
        format!("is not a regular expression: {}", error.lines().last().unwrap_or_default().trim_start_matches("error: "))
    })?;
    match pattern.capture_names().flatten().next() {
        Some(_) => Ok(pattern),
        None => Err(r"has no named group: name the fields, as in `(?<key>\S+)`".to_owned()),
    }
}

/// A field of a line is a named group of its pattern.
fn known_groups(pattern: &Regex, fields: [Option<(&str, &Node, &str)>; 3], problems: &Problems) {
    let known: Vec<_> = pattern.capture_names().flatten().collect();
    for (key, node, field) in fields.into_iter().flatten() {
        if !known.contains(&field) {
            problems.note(node.at, format!("`{key}` names the field `{field}`, but the groups of `pattern` are {}", listed(&known)));
        }
    }
}

fn read_watermark(mut group: Fields<'_>) -> Option<Bound> {
    let disorder = group.must("disorder", "10s", duration);
    let idle_after = group.read("idle-after", |text| match text {
        "never" => Ok(Idle::Never),
        _ => span(text).map(Idle::After).map_err(|why| format!("{why}, or `never`")),
    });
    group.finish();
    Some(Bound { disorder: disorder?, idle_after: idle_after.unwrap_or(Idle::Default) })
}

fn read_bad_records(input: &mut Fields<'_>, problems: &Problems) -> Option<BadRecords> {
    let Some(node) = input.optional("bad-records") else { return Some(BadRecords::Fail) };
    match &node.data {
        Data::Map(_) => {
            let mut group = Fields::of("`bad-records`", node, problems)?;
            let topic = group.must("dead-letter", "bad-lines", legal_name);
            group.finish();
            topic.map(BadRecords::DeadLetter)
        }
        _ => scalar("bad-records", node, problems, |text| {
            one_of(text, &[("fail", false), ("skip", true)])
                .map(|skip| if skip { BadRecords::Skip } else { BadRecords::Fail })
                .map_err(|why| format!("{why}, or `dead-letter: TOPIC` below it"))
        }),
    }
}

/// The window, if it is one, and its grace.
fn read_window(mut group: Fields<'_>, problems: &Problems) -> (Option<Window>, Duration) {
    const KINDS: [&str; 4] = ["tumbling", "hopping", "sliding", "session"];
    let told: Vec<_> = KINDS.into_iter().filter_map(|kind| Some((kind, group.optional(kind)?))).collect();
    let advance = group.optional("advance");
    let grace = group.read("grace", duration).unwrap_or_default();
    let at = group.at();
    group.finish();
    let (kind, node) = match told[..] {
        [one] => one,
        [] => {
            problems.note(at, format!("`window` has no kind: add one of {}, as in `tumbling: 10s`", one_listed(&KINDS)));
            return (None, grace);
        }
        [_, (second, node), ..] => {
            problems.note(node.at, format!("`window` has two kinds: `{}` and `{second}`; leave one", told[0].0));
            return (None, grace);
        }
    };
    let size = scalar(kind, node, problems, span);
    if let Some(node) = advance.filter(|_| kind != "hopping") {
        problems.note(node.at, format!("`advance` belongs to `hopping`: leave it out, or write `hopping` for `{kind}`"));
        return (None, grace);
    }
    let window = size.and_then(|size| match kind {
        "tumbling" => Some(Window::Tumbling(size)),
        "sliding" => Some(Window::Sliding(size)),
        "session" => Some(Window::Session(size)),
        _ => read_hopping(size, node, advance, problems),
    });
    (window, grace)
}

fn read_hopping(size: Duration, at: &Node, advance: Option<&Node>, problems: &Problems) -> Option<Window> {
    let Some(node) = advance else {
        problems.note(at.at, "`hopping` needs `advance`, the time from one window's start to the next: add `advance: 1m`");
        return None;
    };
    let advance = scalar("advance", node, problems, span)?;
    if advance > size {
        problems
            .note(node.at, "`advance` is longer than the window, so records between two windows would be lost: make it at most the size");
        return None;
    }
    let windows = size.as_millis().div_ceil(advance.as_millis());
    if windows > MOST_WINDOWS {
        let text =
            format!("`advance` puts each record into {windows} windows, more than {MOST_WINDOWS}: make it longer, or the window shorter");
        problems.note(node.at, text);
        return None;
    }
    Some(Window::Hopping { size, advance })
}

/// Windows that one record may be in. Each is a row: with more of them, a single record fills the memory.
const MOST_WINDOWS: u128 = 10_000;
