//! Runs cases on two threads; a panic inside a case is that case's failure.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{LazyLock, Mutex};
use std::thread;

use super::cases::Line;
use super::compare::{Changelogs, compare};
use super::drive;
use super::format;
use super::later::Later;
use super::outcome::Outcome;

pub(crate) static LATER: LazyLock<Later> = LazyLock::new(|| Later::read(include_str!("later.toml")));

const THREADS: usize = 2;

/// Begins a difference that shows only while changelogs are deduplicated.
pub(crate) const DEDUPLICATED: &str = "deduplicated: ";

/// A case that was looked at.
pub(crate) struct Case {
    pub(crate) id: String,
    pub(crate) purpose: String,
    pub(crate) note: Option<String>,
    pub(crate) verdict: Verdict,
}

/// What came of it.
pub(crate) enum Verdict {
    Same,
    /// Each with its place; a multi-line text.
    Different(Vec<String>),
    Skipped(String),
}

/// Runs every line, in order of the file.
pub(crate) fn all(lines: &[Line]) -> Vec<Case> {
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                while let Some(line) = lines.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let case = one(line);
                    done.lock().expect("no panic while holding it").push(case);
                }
            });
        }
    });
    let mut done = done.into_inner().expect("no panic while holding it");
    done.sort_by(|a, b| a.id.cmp(&b.id));
    done
}

fn one(line: &Line) -> Case {
    match line {
        Err((place, problem)) => {
            let verdict = Verdict::Different(vec![format!("unreadable: {problem}")]);
            Case { id: place.clone(), purpose: String::new(), note: None, verdict }
        }
        Ok(case) => {
            let verdict = LATER.reason(&case.scenario).map_or_else(|| play_and_compare(case), Verdict::Skipped);
            Case { id: case.scenario.id.clone(), purpose: case.scenario.purpose.clone(), note: case.note.clone(), verdict }
        }
    }
}

/// Twice, because changelogs are compared with deduplication off and on (rule 8).
fn play_and_compare(case: &format::Case) -> Verdict {
    let mut found = differences(case, Changelogs::EveryWrite);
    if found.is_empty() {
        found = differences(case, Changelogs::LastPerStep).into_iter().map(|text| format!("{DEDUPLICATED}{text}")).collect();
    }
    if found.is_empty() { Verdict::Same } else { Verdict::Different(found) }
}

fn differences(case: &format::Case, changelogs: Changelogs) -> Vec<String> {
    match catch_unwind(AssertUnwindSafe(|| play(case, changelogs))) {
        Err(panic) => vec![format!("panicked: {}", words_of(panic.as_ref()))],
        Ok(outcome) => {
            let found = compare(case, &outcome, changelogs).into_iter();
            found.map(|difference| format!("{}: {}", difference.place, difference.detail)).collect()
        }
    }
}

fn play(case: &format::Case, changelogs: Changelogs) -> Outcome {
    drive::play(&case.scenario, changelogs == Changelogs::EveryWrite)
}

/// What a panic said.
pub(crate) fn words_of(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_else(|| "without words".to_owned())
}
