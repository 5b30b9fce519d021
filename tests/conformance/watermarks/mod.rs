//! Cases of bounded watermark mode (shared/conformance/watermarks/FORMAT.md): the same topology language, played with one task per
//! sub-topology and partition, and compared with the answers of the reference model.

mod compare;
mod play;
mod scenario;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use super::run::{Case, LATER, Verdict, words_of};
use scenario::{Bounded, Line};

/// The cases of a file whose id contains `filter`, played; none if the file is of the other corpus.
pub(crate) fn cases(file: &Path, filter: Option<&str>) -> Option<Vec<Case>> {
    let text = std::fs::read_to_string(file).unwrap_or_else(|problem| panic!("{}: {problem}", file.display()));
    let lines: Vec<_> = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()).collect();
    if !lines.first().is_some_and(|(_, line)| line.contains("\"announcements\":")) {
        return None;
    }
    let read = lines.into_iter().filter_map(|(at, line)| one(&format!("{} line {}", file.display(), at + 1), line, filter));
    Some(read.collect())
}

fn one(place: &str, line: &str, filter: Option<&str>) -> Option<Case> {
    let case = match Line::read(line) {
        Ok(case) => case,
        Err(problem) => {
            let verdict = Verdict::Different(vec![format!("unreadable: {problem}")]);
            return Some(Case { id: place.to_owned(), purpose: String::new(), note: None, verdict });
        }
    };
    let Line { scenario, answer } = case;
    if filter.is_some_and(|wanted| !scenario.id.contains(wanted)) {
        return None;
    }
    let verdict = match LATER.event(|name| scenario.has_event(name)) {
        Some(reason) => Verdict::Skipped(reason),
        None => play_and_compare(&scenario, &answer),
    };
    Some(Case { id: scenario.id, purpose: scenario.purpose, note: None, verdict })
}

fn play_and_compare(scenario: &Bounded, answer: &scenario::Answer) -> Verdict {
    match catch_unwind(AssertUnwindSafe(|| play::play(scenario))) {
        Err(panic) => Verdict::Different(vec![format!("panicked: {}", words_of(panic.as_ref()))]),
        Ok(Err(error)) => Verdict::Different(vec![format!("failed: {error}")]),
        Ok(Ok(got)) => match compare::compare(answer, &got) {
            found if found.is_empty() => Verdict::Same,
            found => Verdict::Different(found),
        },
    }
}
