//! Where a job's log and state are: in the memory of this process, or in a folder that outlives it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use highwater::kafka::{Connect, FileLog, FileLogOptions};
use highwater::{Settings, SystemClock};

use super::engine::{log_for, provide_topics};
use crate::topologies::WindowedCounts;

/// A log that has the topics of a job, and the folder of its state if it has one.
pub(crate) struct Place {
    pub(crate) log: Arc<dyn Connect>,
    state: Option<PathBuf>,
}

impl Place {
    /// The log of a folder, which is made if it is not there, or one in memory.
    pub(crate) fn of(folder: Option<&Path>, job: &WindowedCounts, partitions: i32) -> Result<Self> {
        let Some(folder) = folder else { return Ok(Place { log: log_for(job, partitions)?, state: None }) };
        let log = FileLog::open(folder.join("log"), Arc::new(SystemClock), FileLogOptions::default());
        let log = log.with_context(|| format!("the log in `{}` cannot be used", folder.display()))?;
        provide_topics(&log, job, partitions)?;
        Ok(Place { log: Arc::new(log), state: Some(folder.join("state")) })
    }

    /// Whether what is written there is there for the next process.
    pub(crate) fn lasts(&self) -> bool {
        self.state.is_some()
    }

    /// The settings of a job that runs here.
    pub(crate) fn settings(&self, job: &WindowedCounts, threads: u16) -> Settings {
        let mut settings = Settings::new(job.application.clone());
        settings.threads = usize::from(threads);
        settings.guarantee = job.guarantee;
        settings.commit_interval = job.commit_interval;
        settings.state_dir = self.state.clone();
        settings
    }
}
