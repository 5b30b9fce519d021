//! `highwater plan`: what a job needs of its cluster before it runs: internal topics and permissions.

mod acls;
mod named;
mod retention;

use std::fmt;
use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use highwater::kafka::{
    Admin, Connect, Consumer, Group, Isolation, LogError, MemberOptions, MemoryLog, NewTopic, Producer, TransactionalProducer, task_topics,
};
use highwater::{Launch, PlannedTopic, Settings, TaskId, TopicRole};

use super::args::PlanArgs;
use super::cluster;
use super::engine::log_for;
use super::failure::UsageError;
use super::job::{self, Create};
use super::job_topics::topics_on_cluster;
use super::topics::in_columns;
use named::NamedTopics;

pub(crate) fn run(args: &PlanArgs) -> Result<()> {
    let file = job::read(&args.job)?;
    let topology = file.job.topology()?;
    let cluster = cluster::open(&args.cluster, Some(&file))?;
    let imagined = cluster.is_none();
    let log = match cluster {
        Some(log) => log,
        None if args.apply_topics => {
            return Err(UsageError("`--apply-topics` needs a cluster: say `--bootstrap HOST:PORT`".to_owned()).into());
        }
        None => Arc::new(Imagined(log_for(&file.job, i32::from(args.partitions))?)),
    };
    if args.apply_topics && file.create == Create::All {
        topics_on_cluster(&*log, &file.job, file.create, i32::from(args.partitions))??;
    }
    let named = NamedTopics::of(&*log, &file, i32::from(args.partitions))?;
    let launch = Launch::new(&topology, Settings::new(file.job.application.clone()), log).assuming(named.to_be_made());
    let planned = if args.apply_topics { launch.make_topics() } else { launch.planned_topics() };
    let topics = planned.context("the topics of the job cannot be planned")?;
    let acls = acls::entries(&file, &topology.subtopologies(&file.job.application), &topics);
    let mut out = io::stdout().lock();
    let basis = if imagined { format!(", for {} partitions in `{}`", args.partitions, file.job.input.topic) } else { String::new() };
    if !imagined {
        writeln!(out, "Topics that the job file names:\n\n{}", named.table())?;
    }
    writeln!(out, "Internal topics of `{}`{basis}:\n\n{}", file.job.application, table(&topics, imagined))?;
    let bootstrap = args.cluster.bootstrap.as_deref().unwrap_or("HOST:PORT");
    if let Some(note) = retention::note(&topics, bootstrap) {
        writeln!(out, "{note}\n")?;
    }
    writeln!(out, "What its principal must be allowed:\n\n{}", permissions(&acls))?;
    writeln!(out, "The same as commands:\n")?;
    for entry in &acls {
        writeln!(out, "{}", entry.command(bootstrap, &args.principal))?;
    }
    out.flush()?;
    wrong(&topics, named.problem())
}

/// The plan is told whole, and then what is in its way.
fn wrong(topics: &[PlannedTopic], named: Option<String>) -> Result<()> {
    let problems: Vec<_> = topics.iter().filter_map(PlannedTopic::problem).chain(named).collect();
    if problems.is_empty() { Ok(()) } else { Err(anyhow!("{}", problems.join("\n"))) }
}

fn table(topics: &[PlannedTopic], imagined: bool) -> String {
    let mut rows = vec![["TOPIC", "PARTITIONS", "FOR", "NOW", "SETTINGS"].map(str::to_owned).to_vec()];
    for topic in topics {
        let role = match topic.role {
            TopicRole::Repartition => "repartition",
            TopicRole::Changelog => "changelog",
            _ => "tasks",
        };
        let settings: Vec<_> = topic.wanted.config.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let (name, partitions) = (topic.wanted.name.clone(), topic.wanted.partitions.to_string());
        rows.push(vec![name, partitions, role.to_owned(), standing(topic, imagined), settings.join(" ")]);
    }
    in_columns(&rows)
}

/// How a topic stands.
fn standing(topic: &PlannedTopic, imagined: bool) -> String {
    match &topic.found {
        _ if imagined => "-".to_owned(),
        None => "missing".to_owned(),
        Some(_) if topic.problem().is_some() => "wrong".to_owned(),
        Some(_) if topic.role != TopicRole::Tasks && topic.has_one_copy() => "1 copy!".to_owned(),
        Some(found) => match found.replication {
            None => "there".to_owned(),
            Some(1) => "1 copy".to_owned(),
            Some(copies) => format!("{copies} copies"),
        },
    }
}

fn permissions(acls: &[acls::Entry]) -> String {
    let mut rows = vec![["RESOURCE", "NAME", "OPERATIONS", "WHY"].map(str::to_owned).to_vec()];
    for entry in acls {
        let name = format!("{}{}", entry.name, if entry.prefixed { "*" } else { "" });
        rows.push(vec![entry.kind.name().to_owned(), name, entry.operations.join(" "), entry.reason.to_owned()]);
    }
    in_columns(&rows)
}

/// A log in memory that stands for a cluster nobody has named.
struct Imagined(Arc<MemoryLog>);

impl fmt::Debug for Imagined {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Imagined")
    }
}

impl Connect for Imagined {
    fn consumer(&self, isolation: Isolation) -> Result<Box<dyn Consumer>, LogError> {
        self.0.consumer(isolation)
    }
    fn producer(&self) -> Result<Box<dyn Producer>, LogError> {
        self.0.producer()
    }
    fn transactional_producer(&self, id: &str, timeout: Duration) -> Result<Box<dyn TransactionalProducer>, LogError> {
        self.0.transactional_producer(id, timeout)
    }
    fn admin(&self) -> Result<Box<dyn Admin>, LogError> {
        self.0.admin()
    }
    fn member_with(&self, options: MemberOptions) -> Result<Box<dyn Group>, LogError> {
        self.0.member_with(options)
    }
    fn task_topics(&self, group: &str, tasks: &[TaskId]) -> Vec<NewTopic> {
        task_topics(group, tasks)
    }
}
