//! Job files: YAML in, a prebuilt job out, or every problem of the file at once, each with its line and what to change.

mod fields;
mod windowed_counts;
mod yaml;

use std::fmt;
use std::fs;
use std::io;
use std::path::Path;

use fields::{Fields, Problems, one_listed, scalar};
use yaml::{Position, Problem};

pub(crate) use fields::{duration, nearest};

use crate::topologies::{self, WindowedCounts};

/// A file that is not a job.
#[derive(Debug)]
pub(crate) struct JobFileError {
    file: String,
    problems: Vec<Problem>,
}

impl std::error::Error for JobFileError {}

impl fmt::Display for JobFileError {
    /// One line per problem, as compilers print them: editors jump to it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, Problem { at, text }) in self.problems.iter().enumerate() {
            let end = if index == 0 { "" } else { "\n" };
            write!(f, "{end}{}:{}:{}: {text}", self.file, at.line, at.column)?;
        }
        Ok(())
    }
}

/// Reads a job file.
pub(crate) fn read(path: &Path) -> Result<WindowedCounts, JobFileError> {
    let file = path.display().to_string();
    match fs::read_to_string(path) {
        Ok(text) => parse(&file, &text),
        Err(error) => {
            let why = match error.kind() {
                io::ErrorKind::InvalidData => "it is not UTF-8: save it as UTF-8".to_owned(),
                _ => error.to_string(),
            };
            let problems = vec![Problem::new(Position { line: 1, column: 1 }, format!("cannot read the file: {why}"))];
            Err(JobFileError { file, problems })
        }
    }
}

/// Reads the text of a job file; `file` is its name in messages.
pub(crate) fn parse(file: &str, text: &str) -> Result<WindowedCounts, JobFileError> {
    let problems = Problems::default();
    let text = text.strip_prefix('\u{feff}').unwrap_or(text); // the mark with which some editors begin a file
    let job = match yaml::parse(text) {
        Err(problem) => {
            problems.note(problem.at, problem.text);
            None
        }
        Ok(document) => Fields::of("the job file", &document, &problems).and_then(|mut file| {
            // There is one prebuilt job; with the second one its name decides here who reads on. A wrong name is told, and all
            // else that is wrong in the file too.
            if let Some(node) = file.required("job", topologies::windowed_counts::NAME) {
                scalar("job", node, &problems, job_name);
            }
            windowed_counts::read(file, &problems)
        }),
    };
    let problems = problems.into_sorted();
    match job {
        Some(job) if problems.is_empty() => Ok(job),
        _ => Err(JobFileError { file: file.to_owned(), problems }),
    }
}

fn job_name(text: &str) -> Result<(), String> {
    let names: Vec<_> = topologies::ALL.iter().map(|job| job.name).collect();
    match nearest(text, &names) {
        _ if names.contains(&text) => Ok(()),
        Some(near) => Err(format!("cannot be `{text}`: did you mean `{near}`?")),
        None => Err(format!("cannot be `{text}`: the prebuilt jobs are {}", one_listed(&names))),
    }
}

#[cfg(test)]
mod tests;
