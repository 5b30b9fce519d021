//! The topics that a job file names: made where they may be, and asked for where not.

use std::collections::BTreeMap;

use anyhow::Result;
use highwater::Error;
use highwater::kafka::{Admin, Connect, LogError, NewTopic};

use super::engine::dead_letters;
use super::failure::UsageError;
use super::job::Create;
use crate::topologies::WindowedCounts;

/// The topics of a job, its input first, and what they are for.
pub(crate) fn named(job: &WindowedCounts) -> impl Iterator<Item = (&String, &'static str)> {
    let written = [(Some(&job.output_topic), "results"), (job.late_topic.as_ref(), "late records"), (dead_letters(job), "bad records")];
    let all = [(Some(&job.input.topic), "input")].into_iter().chain(written);
    all.filter_map(|(name, role)| Some((name?, role)))
}

/// A topic as it is made. It keeps what it holds: a line that waits for its job, or a result that is still to be written to a file, must not go
/// because a week has passed.
pub(crate) fn wanted(name: &str, partitions: i32) -> NewTopic {
    NewTopic::new(name, partitions).with("retention.ms", "-1")
}

/// Makes the topics of the job that are not there yet, in a log of this process.
pub(crate) fn provide_topics(log: &dyn Connect, job: &WindowedCounts, partitions: i32) -> Result<()> {
    let admin = log.admin()?;
    for (name, _) in named(job) {
        if !made(&*admin, name, partitions)? {
            has_partitions(&*admin, name, partitions)?;
        }
    }
    Ok(())
}

/// Makes a topic; tells whether it was not there yet.
fn made(admin: &dyn Admin, name: &str, partitions: i32) -> Result<bool, LogError> {
    match admin.create_topics(&[wanted(name, partitions)]) {
        Ok(()) => Ok(true),
        Err(LogError::TopicExists(_)) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Keys would be looked for in other partitions than those they are in.
fn has_partitions(admin: &dyn Admin, topic: &str, wanted: i32) -> Result<()> {
    let found = admin.describe_topics(&[topic])?.first().map_or(0, |found| found.partitions);
    if found == wanted {
        return Ok(());
    }
    Err(UsageError(format!("`{topic}` has {found} partitions already: say `--partitions {found}`, or use another folder")).into())
}

/// Sees to it that the topics of the job are there, on a cluster; gives the partitions of the input, or says which topics are missing. The error is
/// the cluster's.
pub(crate) fn topics_on_cluster(
    log: &dyn Connect,
    job: &WindowedCounts,
    create: Create,
    partitions: i32,
) -> Result<Result<i32, UsageError>, Error> {
    let admin = log.admin()?;
    let existing = admin.list_topics()?;
    let missing: Vec<_> = named(job).map(|(name, _)| name).filter(|name| !existing.contains(name)).collect();
    if create != Create::All && !missing.is_empty() {
        return Ok(Err(UsageError(absent(&missing))));
    }
    for name in missing {
        made(&*admin, name, partitions)?;
    }
    let counts: BTreeMap<_, _> =
        admin.describe_topics(&[job.input.topic.as_str()])?.into_iter().map(|found| (found.name, found.partitions)).collect();
    Ok(Ok(counts.get(&job.input.topic).copied().unwrap_or(partitions)))
}

/// What to do about topics that are not there.
pub(crate) fn absent(missing: &[&String]) -> String {
    let lines: String =
        missing.iter().map(|name| format!("\n  kafka-topics.sh --bootstrap-server … --create --topic {name} --partitions 4")).collect();
    let these = if missing.len() == 1 { "a topic that the job names does not exist" } else { "topics that the job names do not exist" };
    format!("{these}, or may not be seen: make them as they shall be, or say `topics: {{create: all}}` in the job file{lines}")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use highwater::SystemClock;
    use highwater::kafka::MemoryLog;

    use super::*;
    use crate::cli::job;
    use crate::topologies::ALL;

    #[test]
    fn a_cluster_keeps_the_topics_it_has_and_missing_ones_are_made_if_that_is_said() {
        let job = job::parse("job.yaml", ALL[0].example).unwrap().job;
        let log = MemoryLog::new(Arc::new(SystemClock));
        log.admin().unwrap().create_topics(&[NewTopic::new(job.input.topic.as_str(), 7)]).unwrap();
        let error = topics_on_cluster(&log, &job, Create::Internal, 2).unwrap().unwrap_err().to_string();
        assert!(error.contains(&format!("--topic {} ", job.output_topic)) && !error.contains(&format!("--topic {} ", job.input.topic)));
        assert_eq!(topics_on_cluster(&log, &job, Create::All, 2).unwrap().unwrap(), 7);
        assert_eq!(topics_on_cluster(&log, &job, Create::Never, 2).unwrap().unwrap(), 7, "they are all there");
        let made = log.admin().unwrap().describe_topics(&[job.output_topic.as_str()]).unwrap();
        assert_eq!((made[0].partitions, made[0].config["retention.ms"].as_str()), (2, "-1"));
    }
}
