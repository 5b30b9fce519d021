//! Job files: YAML in, a prebuilt job out, or every problem of the file at once, each with its line and what to change.

mod cluster;
mod fields;
mod limits;
mod lost;
mod windowed_counts;
mod yaml;

use std::fmt;
use std::fs;
use std::io;
use std::path::Path;

use fields::{Fields, Problems, one_listed, scalar};
use yaml::Problem;

pub(crate) use yaml::Position;

pub(crate) use cluster::{Create, KafkaSection};
pub(crate) use fields::{duration, nearest};
pub(crate) use limits::Limits;
pub(crate) use lost::Lost;

use crate::topologies::{self, WindowedCounts};

/// A job, and where its file says that it runs.
#[derive(Debug)]
pub(crate) struct JobFile {
    /// The name of the file in messages.
    #[cfg_attr(not(feature = "kafka"), allow(dead_code, reason = "this build knows no clusters"))]
    pub(crate) name: String,
    pub(crate) job: WindowedCounts,
    /// The cluster that the file names, if it names one.
    pub(crate) kafka: Option<KafkaSection>,
    /// Which topics may be made at start.
    pub(crate) create: Create,
    /// What follows when the cluster has lost something.
    pub(crate) lost: Lost,
    /// What it may use of its machine.
    pub(crate) limits: Limits,
}

/// A file that is not a job.
#[derive(Debug)]
pub(crate) struct JobFileError {
    file: String,
    problems: Vec<Problem>,
}

impl JobFileError {
    #[cfg_attr(not(feature = "kafka"), allow(dead_code, reason = "this build knows no clusters"))]
    /// Problems that show when the parts of the file are put to use.
    pub(crate) fn of(file: &str, problems: impl IntoIterator<Item = (Position, String)>) -> Self {
        let problems = problems.into_iter().map(|(at, text)| Problem { at, text }).collect();
        JobFileError { file: file.to_owned(), problems }
    }
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
pub(crate) fn read(path: &Path) -> Result<JobFile, JobFileError> {
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
pub(crate) fn parse(file: &str, text: &str) -> Result<JobFile, JobFileError> {
    let problems = Problems::default();
    let text = text.strip_prefix('\u{feff}').unwrap_or(text); // the mark with which some editors begin a file
    let (mut kafka, mut create, mut lost, mut limits) = (None, Create::default(), Lost::default(), Limits::default());
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
            kafka = cluster::read_kafka(&mut file, &problems);
            create = cluster::read_topics(&mut file, &problems);
            lost = lost::read(&mut file, &problems);
            limits = limits::read(&mut file);
            windowed_counts::read(file, &problems)
        }),
    };
    let problems = problems.into_sorted();
    match job {
        Some(job) if problems.is_empty() => Ok(JobFile { name: file.to_owned(), job, kafka, create, lost, limits }),
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
