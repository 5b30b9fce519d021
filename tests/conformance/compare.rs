//! Compares an outcome with a stored answer by the rules of FORMAT.md section 9.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value as Json;

use super::format::{Answer, Case, Content, HeaderList, Phase, Row, Subtopology};
use super::outcome::{Outcome, Problem};

/// One thing that is not as stored.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Difference {
    /// `describe`, `topic out`, `store counts`, `error` ...
    pub(crate) place: String,
    pub(crate) detail: String,
}

/// How changelogs are compared: rule 8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Changelogs {
    /// Every write, in order.
    EveryWrite,
    /// The last write of each key in each step.
    LastPerStep,
}

fn difference(place: impl Into<String>, expected: &str, got: &str) -> Difference {
    Difference { place: place.into(), detail: format!("expected {expected}\n     got {got}") }
}

/// All differences; at most one per topic, store and field.
pub(crate) fn compare(case: &Case, got: &Outcome, changelogs: Changelogs) -> Vec<Difference> {
    let (answer, mut found) = (&case.answer, Vec::new());
    found.extend(error(answer, got.error.as_ref()));
    let stopped_early = |phase| got.error.as_ref().is_some_and(|problem| problem.phase <= phase);
    if answer.error.as_ref().is_some_and(|failure| failure.phase == Phase::Build) || stopped_early(Phase::Build) {
        return found;
    }
    found.extend(describe(answer, got));
    if answer.error.as_ref().is_some_and(|failure| failure.phase == Phase::Start) || stopped_early(Phase::Start) {
        return found;
    }
    found.extend(subtopologies(answer, got));
    found.extend(topics(case, got, changelogs));
    found.extend(observed(answer, got));
    found.extend(reads(answer, got));
    if let (Some(expected), Some(stores)) = (&answer.stores, &got.stores) {
        found.extend(stores_of(expected, stores));
    }
    if answer.dropped != got.dropped {
        found.push(difference("dropped", &format!("{:?}", answer.dropped), &format!("{:?}", got.dropped)));
    }
    found
}

/// Rule 5.
fn error(answer: &Answer, got: Option<&Problem>) -> Option<Difference> {
    let Some(failure) = &answer.error else {
        return got.map(|problem| difference("error", "none", &show_problem(problem)));
    };
    let innermost = failure.chain.last().expect("a chain has an exception");
    let class = innermost.class.rsplit('.').next().unwrap_or_default();
    let message = innermost.message.as_deref().unwrap_or_default();
    let expected =
        format!("{:?}{} {class}: {message}", failure.phase, failure.step.map_or(String::new(), |step| format!(" at step {step}")));
    let Some(problem) = got else { return Some(difference("error", &expected, "none")) };
    let at_build_instead = failure.phase == Phase::Start && problem.phase == Phase::Build;
    let same_place =
        at_build_instead || (problem.phase == failure.phase && (failure.phase != Phase::Event || problem.step == failure.step));
    let same_kind = problem.stands_for.contains(&class) && (message != "boom" || problem.text.contains("boom"));
    (!same_place || !same_kind).then(|| difference("error", &expected, &show_problem(problem)))
}

fn show_problem(problem: &Problem) -> String {
    let step = problem.step.map_or(String::new(), |step| format!(" at step {step}"));
    format!("{:?}{step} ({}): {}", problem.phase, problem.stands_for.join("|"), problem.text)
}

/// Rule 3.
fn describe(answer: &Answer, got: &Outcome) -> Option<Difference> {
    let sides = [answer.describe.as_deref(), got.describe.as_deref()].map(|text| sort_name_lists(text.unwrap_or_default()));
    if sides[0] == sides[1] {
        return None;
    }
    let [expected, found] = &sides;
    let at = expected.lines().zip(found.lines()).take_while(|(a, b)| a == b).count();
    let line = |text: &str| text.lines().nth(at).map_or("nothing more".to_owned(), |line| format!("`{line}`"));
    let (expected, found) = (line(expected), line(found));
    Some(difference(format!("describe, line {}", at + 1), &expected, &found))
}

/// Sorts the names in every `(stores: [..])` and `(topics: [..])`.
fn sort_name_lists(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = ["(stores: [", "(topics: ["].iter().filter_map(|open| rest.find(open).map(|at| at + open.len())).min() {
        let end = rest[at..].find(']').map_or(rest.len(), |end| at + end);
        let mut names: Vec<_> = rest[at..end].split(", ").collect();
        names.sort_unstable();
        out.push_str(&rest[..at]);
        out.push_str(&names.join(", "));
        rest = &rest[end..];
    }
    out + rest
}

fn subtopologies(answer: &Answer, got: &Outcome) -> Option<Difference> {
    let (expected, found) = (answer.subtopologies.as_deref().unwrap_or_default(), got.subtopologies.as_deref().unwrap_or_default());
    if expected.len() != found.len() {
        return Some(difference("subtopologies", &expected.len().to_string(), &found.len().to_string()));
    }
    let (number, (one, other)) = expected.iter().zip(found).enumerate().find(|(_, (one, other))| one != other)?;
    let show = |of: &Subtopology| {
        format!(
            "sources {:?} sinks {:?} repartition {:?} changelogs {:?}",
            of.source_topics, of.sink_topics, of.repartition_topics, of.changelog_topics
        )
    };
    Some(difference(format!("subtopology {number}"), &show(one), &show(other)))
}

/// Rules 1, 2, 6 and 8.
fn topics(case: &Case, got: &Outcome, changelogs: Changelogs) -> Vec<Difference> {
    let names: BTreeSet<_> = case.answer.topics.keys().chain(got.topics.keys()).collect();
    let none = Vec::new();
    let logs = changelog_topics(case);
    let dead = case.scenario.config.get("errors.dead.letter.queue.topic.name");
    let mut found = Vec::new();
    for name in names {
        let [mut expected, mut rows] = [&case.answer.topics, &got.topics].map(|topics| topics.get(name).unwrap_or(&none).clone());
        if Some(name) == dead {
            expected.iter().zip(&mut rows).for_each(|(expected, row)| forgive_texts(&expected.headers, &mut row.headers));
        }
        let detail = match logs.get(name) {
            Some(versioned) if changelogs == Changelogs::LastPerStep => {
                if case.answer.unordered_topics.contains(name) {
                    any_may_be_last(&mut expected, &rows);
                }
                last_per_step(&expected, &rows, *versioned)
            }
            _ => {
                if case.answer.unordered_topics.contains(name) {
                    sort_within_steps(&mut expected);
                    sort_within_steps(&mut rows);
                }
                in_order(&expected, &rows)
            }
        };
        found.extend(detail.map(|detail| Difference { place: format!("topic {name}"), detail }));
    }
    found
}

/// The changelog topics, and whether they belong to a versioned store.
fn changelog_topics(case: &Case) -> BTreeMap<String, bool> {
    let versioned = |topic: &str| {
        let store = topic.strip_prefix("app-").and_then(|rest| rest.strip_suffix("-changelog"));
        let content = case.answer.stores.as_ref().and_then(|stores| stores.get(store?));
        content.is_some_and(|content| content.kind.as_deref() == Some("versioned"))
    };
    let all = case.answer.subtopologies.iter().flatten().flat_map(|sub| sub.changelog_topics.keys());
    all.map(|topic| (topic.clone(), versioned(topic))).collect()
}

/// Rule 6: Java's class, stack trace and foreign messages need only be there.
pub(crate) fn forgive_texts(expected: &HeaderList, got: &mut HeaderList) {
    for ((name, value), (other, text)) in expected.iter().zip(got) {
        let own_message = value.as_deref() == Some("626f6f6d");
        let free = match name.as_str() {
            "__streams.errors.exception" | "__streams.errors.stacktrace" => true,
            "__streams.errors.message" => !own_message,
            _ => false,
        };
        if free && name == other {
            text.clone_from(value);
        }
    }
}

fn same_row(a: &Row, b: &Row) -> bool {
    a.step == b.step && a.timestamp == b.timestamp && a.key == b.key && a.value == b.value && a.headers == b.headers
}

fn in_order(expected: &[Row], got: &[Row]) -> Option<String> {
    let at = expected.iter().zip(got).take_while(|(a, b)| same_row(a, b)).count();
    if at == expected.len() && at == got.len() {
        return None;
    }
    let show = |rows: &[Row]| rows.get(at).map_or("no more records".to_owned(), show_row);
    let counts = format!("record {at} ({} expected, {} got)", expected.len(), got.len());
    Some(format!("{counts}: expected {}\n     got {}", show(expected), show(got)))
}

fn sort_within_steps(rows: &mut [Row]) {
    rows.sort_by_key(|row| (row.step, show_row(row)));
}

/// Where the order within a step is not known, the last record of a key is any that Java wrote: the one that is there, if it is among them.
fn any_may_be_last(expected: &mut [Row], got: &[Row]) {
    let last = |row: &Row| got.iter().rfind(|other| (other.step, &other.key) == (row.step, &row.key));
    expected.sort_by_key(|row| (row.step, last(row).is_some_and(|last| same_row(row, last))));
}

/// Rule 8: for each step the last record of each key (versioned: of each key and time) is equal. The fold follows from it.
fn last_per_step(expected: &[Row], got: &[Row], versioned: bool) -> Option<String> {
    let last = |rows: &[Row]| -> BTreeMap<(i64, Option<String>, Option<i64>), String> {
        rows.iter().map(|row| ((row.step, row.key.clone(), row.timestamp.filter(|_| versioned)), show_row(row))).collect()
    };
    let (expected, got) = (last(expected), last(got));
    let keys: BTreeSet<_> = expected.keys().chain(got.keys()).collect();
    let wrong = keys.into_iter().find(|key| expected.get(key) != got.get(key))?;
    let show = |side: &BTreeMap<_, String>| side.get(wrong).cloned().unwrap_or("no record of that key in that step".to_owned());
    Some(format!("last of its key in its step: expected {}\n     got {}", show(&expected), show(&got)))
}

fn show_row(row: &Row) -> String {
    let time = row.timestamp.map_or("null".to_owned(), |t| t.to_string());
    let headers: Vec<_> = row.headers.iter().map(|(name, value)| format!("{name}={}", show_hex(value.as_deref()))).collect();
    format!("step {} t={time} {} = {} {headers:?}", row.step, show_hex(row.key.as_deref()), show_hex(row.value.as_deref()))
}

/// Text where the bytes are printable, hex otherwise.
fn show_hex(hex: Option<&str>) -> String {
    let Some(hex) = hex else { return "null".to_owned() };
    let bytes = super::value::unhex(hex);
    let printable = !bytes.is_empty() && bytes.iter().all(|b| (0x20..0x7f).contains(b));
    if printable { String::from_utf8_lossy(&bytes).into_owned() } else { format!("0x{hex}") }
}

fn observed(answer: &Answer, got: &Outcome) -> Option<Difference> {
    let ids: BTreeSet<_> = answer.observed.keys().chain(got.observed.keys()).collect();
    let none = Vec::new();
    ids.into_iter().find_map(|id| {
        let [expected, seen] = [&answer.observed, &got.observed].map(|side| side.get(id).unwrap_or(&none));
        let at = expected.iter().zip(seen).take_while(|(a, b)| a == b).count();
        (expected != seen)
            .then(|| difference(format!("observed {id}, {at}"), &format!("{:?}", expected.get(at)), &format!("{:?}", seen.get(at))))
    })
}

fn reads(answer: &Answer, got: &Outcome) -> Option<Difference> {
    if answer.reads.len() != got.reads.len() {
        return Some(difference("reads", &answer.reads.len().to_string(), &got.reads.len().to_string()));
    }
    answer.reads.iter().zip(&got.reads).find_map(|(expected, read)| {
        let place = format!("read of {} at step {}", expected.store, expected.step);
        if (expected.step, &expected.store) != (read.step, &read.store) {
            return Some(difference(place, "that read", &format!("one of {} at step {}", read.store, read.step)));
        }
        content(place, &expected.content, Some(&read.content))
    })
}

fn stores_of(expected: &BTreeMap<String, Content>, got: &BTreeMap<String, Content>) -> Vec<Difference> {
    let mut found: Vec<_> = expected.iter().filter_map(|(name, one)| content(format!("store {name}"), one, got.get(name))).collect();
    let extra = got.keys().filter(|name| !expected.contains_key(*name));
    found.extend(extra.map(|name| difference(format!("store {name}"), "no such store", "one")));
    found
}

/// Rule 4: sets of rows, without their last, readable element.
fn content(place: String, expected: &Content, got: Option<&Content>) -> Option<Difference> {
    let Some(got) = got else { return Some(difference(place, "a store", "none")) };
    if expected.unreadable.is_some() {
        return None;
    }
    if expected.kind != got.kind {
        return Some(difference(place, &format!("{:?}", expected.kind), &format!("{:?}", got.kind)));
    }
    if expected.count != got.count {
        return Some(difference(place, &format!("{:?} rows", expected.count), &format!("{:?}", got.count)));
    }
    let [expected, got] = [expected, got].map(row_texts);
    let missing: Vec<_> = expected.difference(&got).collect();
    let extra: Vec<_> = got.difference(&expected).collect();
    (missing.len() + extra.len() > 0).then(|| difference(place, &format!("also {missing:?}"), &format!("instead {extra:?}")))
}

fn row_texts(content: &Content) -> BTreeSet<String> {
    let rows = content.rows.iter().flatten();
    rows.map(|row| Json::Array(row[..row.len().saturating_sub(1)].to_vec()).to_string()).collect()
}
