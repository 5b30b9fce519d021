//! Which Java exceptions an error of Highwater stands for (FORMAT.md section 9, rule 5).

use std::error::Error as _;

use highwater::{Error, ErrorKind, TopologyError, TopologyProblem};

use super::format::Phase;
use super::functions::Boom;
use super::outcome::Problem;

/// What `build` found: its first problem counts, as Java stops at the first.
pub(crate) fn of_build(error: &TopologyError) -> Problem {
    let first = error.problems().first().map_or(NONE, of_problem);
    Problem { phase: Phase::Build, step: None, stands_for: first, text: error.to_string() }
}

/// What a driver said.
pub(crate) fn of_run(phase: Phase, step: Option<i64>, error: &Error) -> Problem {
    let text: Vec<_> = chain(error).into_iter().map(ToString::to_string).collect();
    Problem { phase, step, stands_for: of_error(error), text: text.join(" < ") }
}

/// The error and its causes, outermost first.
fn chain(error: &Error) -> Vec<&(dyn std::error::Error + 'static)> {
    let (mut links, mut link): (Vec<&(dyn std::error::Error + 'static)>, _) = (vec![error], error.source());
    while let Some(cause) = link {
        links.push(cause);
        link = cause.source();
    }
    links
}

const NONE: &[&str] = &[];

fn of_problem(problem: &TopologyProblem) -> &'static [&'static str] {
    match problem {
        TopologyProblem::InvalidWindow { .. } => &["IllegalArgumentException"],
        TopologyProblem::InvalidOption { .. } => &["IllegalArgumentException", "TopologyException"],
        TopologyProblem::MissingSerde { .. } => &["ConfigException"],
        _ => &["TopologyException"],
    }
}

fn of_error(error: &Error) -> &'static [&'static str] {
    if chain(error).last().is_some_and(|error| error.is::<Boom>()) {
        return &["IllegalStateException"];
    }
    match error.kind() {
        ErrorKind::Serde => &["SerializationException"],
        ErrorKind::Processing => &["StreamsException", "IllegalArgumentException"],
        ErrorKind::InvalidConfig => &["ConfigException", "IllegalArgumentException"],
        ErrorKind::Log => &["IllegalArgumentException"],
        _ => NONE,
    }
}
