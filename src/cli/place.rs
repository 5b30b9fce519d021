//! Where a job's log and state are: in the memory of this process, in a folder that outlives it, or on a cluster.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use highwater::kafka::{Connect, FileLog, FileLogOptions};
use highwater::{CreateTopics, Settings, SystemClock};

use super::args::RunArgs;
use super::cluster;
use super::engine::log_for;
use super::failure::UsageError;
use super::job::{Create, JobFile};
use super::job_topics::{provide_topics, topics_on_cluster};
use crate::topologies::WindowedCounts;

/// A log that has the topics of a job, and the folder of its state if it has one.
pub(crate) struct Place {
    pub(crate) log: Arc<dyn Connect>,
    /// Of the input topic.
    pub(crate) partitions: i32,
    state: Option<PathBuf>,
    on_cluster: bool,
}

impl Place {
    /// What was typed and what the job file says decide.
    pub(crate) fn of(args: &RunArgs, file: &JobFile) -> Result<Self> {
        let partitions = i32::from(args.partitions);
        match &args.data {
            Some(_) if file.kafka.is_some() => {
                Err(UsageError("the job file names a cluster (`kafka`), and `--data` a folder: leave one of them".to_owned()).into())
            }
            Some(folder) => Place::in_folder(folder, &file.job, partitions),
            None => match cluster::open(&args.cluster, Some(file))? {
                Some(log) => Place::on_cluster(log, args, file),
                None if args.state_dir.is_some() => {
                    Err(UsageError("`--state-dir` is for a job on a cluster: say `--bootstrap`, or use `--data` alone".to_owned()).into())
                }
                None => Ok(Place { log: log_for(&file.job, partitions)?, partitions, state: None, on_cluster: false }),
            },
        }
    }

    /// The log of a folder, which is made if it is not there.
    fn in_folder(folder: &Path, job: &WindowedCounts, partitions: i32) -> Result<Self> {
        let log = FileLog::open(folder.join("log"), Arc::new(SystemClock), FileLogOptions::default());
        let log = log.with_context(|| format!("the log in `{}` cannot be used", folder.display()))?;
        provide_topics(&log, job, partitions)?;
        Ok(Place { log: Arc::new(log), partitions, state: Some(folder.join("state")), on_cluster: false })
    }

    fn on_cluster(log: Arc<dyn Connect>, args: &RunArgs, file: &JobFile) -> Result<Self> {
        let state = match &args.state_dir {
            Some(folder) => folder.clone(),
            None => data_home(env::var_os("XDG_DATA_HOME"), env::var_os("HOME"))?,
        };
        let partitions = cluster::waited_for(|| topics_on_cluster(&*log, &file.job, file.create, i32::from(args.partitions)))??;
        Ok(Place { log, partitions, state: Some(state), on_cluster: true })
    }

    /// Whether what is written there is there for the next process.
    pub(crate) fn lasts(&self) -> bool {
        self.state.is_some()
    }

    /// Whether others may work on the same topics.
    pub(crate) fn is_shared(&self) -> bool {
        self.on_cluster
    }

    /// The settings of a job that runs here.
    pub(crate) fn settings(&self, file: &JobFile, threads: u16) -> Settings {
        let job = &file.job;
        let mut settings = Settings::new(job.application.clone());
        settings.threads = usize::from(threads);
        settings.guarantee = job.guarantee;
        settings.commit_interval = job.commit_interval;
        settings.adaptive_commit = job.adaptive_commit;
        settings.state_dir = self.state.clone();
        file.lost.settle(&mut settings);
        file.limits.settle(&mut settings);
        if file.create == Create::Never {
            settings.create_topics = CreateTopics::Never;
        }
        settings
    }
}

/// Where a person's programs keep what they must not lose; each application has its own folder in it.
fn data_home(xdg: Option<OsString>, home: Option<OsString>) -> Result<PathBuf, UsageError> {
    let xdg = xdg.map(PathBuf::from).filter(|path| path.is_absolute()); // the standard says so
    let home = home.filter(|home| !home.is_empty()).map(|home| PathBuf::from(home).join(".local/share"));
    let data = xdg.or(home).ok_or_else(|| UsageError("there is no home folder to keep state in: say `--state-dir FOLDER`".to_owned()))?;
    Ok(data.join("highwater"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_on_a_cluster_is_in_the_data_home_unless_said() {
        let of =
            |xdg: Option<&str>, home: Option<&str>| data_home(xdg.map(Into::into), home.map(Into::into)).map_err(|error| error.to_string());
        assert_eq!(of(Some("/data"), Some("/of/ann")), Ok("/data/highwater".into()));
        assert_eq!(of(Some("data"), Some("/of/ann")), Ok("/of/ann/.local/share/highwater".into()));
        assert!(of(None, None).unwrap_err().contains("--state-dir"));
    }
}
