//! Where a run takes place: its log is in a folder or on a cluster, its state always in a folder.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use highwater::SystemClock;
use highwater::kafka::{Connect, Durability, FileLog, FileLogOptions};

use crate::cli::args::{ClusterArgs, DemoWorkerArgs};
use crate::cli::cluster;

/// What the demo is called in a folder of its own.
const NAME: &str = "crash-demo";

/// One run's log, names and folder.
pub(super) struct Site {
    folder: PathBuf,
    cluster: ClusterArgs,
    /// On a cluster, others have topics too.
    run: Option<String>,
}

impl Site {
    /// A new run.
    pub(super) fn new(folder: PathBuf, cluster: &ClusterArgs) -> Site {
        let run = cluster.is_said().then(|| format!("highwater-{NAME}-{}", highwater::Clock::now(&SystemClock).as_millis()));
        Site { folder, cluster: cluster.clone(), run }
    }

    /// What the process that is killed was told.
    pub(super) fn told(args: &DemoWorkerArgs) -> Site {
        Site { folder: args.folder.clone(), cluster: args.cluster.clone(), run: args.run.clone() }
    }

    /// How to tell the process that is killed.
    pub(super) fn arguments(&self) -> Vec<String> {
        let mut arguments = vec!["--folder".to_owned(), self.folder.display().to_string()];
        let mut say = |name: &str, value: String| arguments.extend([name.to_owned(), value]);
        self.run.iter().for_each(|run| say("--run", run.clone()));
        self.cluster.bootstrap.iter().for_each(|bootstrap| say("--bootstrap", bootstrap.clone()));
        self.cluster.kafka_config.iter().for_each(|file| say("--kafka-config", file.display().to_string()));
        self.cluster.properties.iter().for_each(|property| say("-X", format!("{}={}", property.key, property.value)));
        arguments
    }

    pub(super) fn is_cluster(&self) -> bool {
        self.run.is_some()
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(super) fn state(&self) -> PathBuf {
        self.folder.join("state")
    }

    pub(super) fn log_folder(&self) -> PathBuf {
        self.folder.join("log")
    }

    /// The log. It is a process that is killed and not the machine, so nothing waits for the disk.
    pub(super) fn open(&self) -> Result<Arc<dyn Connect>> {
        if self.is_cluster() {
            return cluster::must(&self.cluster);
        }
        let options = FileLogOptions { durability: Durability::ProcessKill, ..FileLogOptions::default() };
        let path = self.log_folder();
        let log = FileLog::open(&path, Arc::new(SystemClock), options);
        Ok(Arc::new(log.with_context(|| format!("the log in `{}` cannot be opened", path.display()))?))
    }

    pub(super) fn application(&self) -> String {
        self.run.clone().unwrap_or_else(|| NAME.to_owned())
    }

    pub(super) fn visits(&self) -> String {
        self.topic("visits")
    }

    pub(super) fn totals(&self) -> String {
        self.topic("totals")
    }

    pub(super) fn changelog(&self) -> String {
        format!("{}-{}-changelog", self.application(), super::worker::STORE)
    }

    fn topic(&self, name: &str) -> String {
        self.run.as_ref().map_or_else(|| name.to_owned(), |run| format!("{run}-{name}"))
    }

    /// Takes the topics of this run away from the cluster.
    pub(super) fn clear(&self) -> Result<()> {
        let admin = self.open()?.admin()?;
        for topic in [self.visits(), self.totals(), self.changelog()] {
            admin.delete_topics(&[&topic]).with_context(|| format!("`{topic}` cannot be deleted"))?;
        }
        Ok(())
    }
}
