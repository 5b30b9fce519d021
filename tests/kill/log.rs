//! The log in files, and the settings of the application: small intervals, so that there are many commits.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use highwater::kafka::{Durability, FileLog, FileLogOptions, LogError};
use highwater::{Guarantee, Settings, SystemClock};

use super::life::Promise;
use super::scene::{APPLICATION, Kind};

/// The log of a run. What is killed is a process, so nothing waits for the disk.
pub(crate) fn log_of(folder: &Path) -> Result<Arc<FileLog>, LogError> {
    let options = FileLogOptions { durability: Durability::ProcessKill, ..FileLogOptions::default() };
    Ok(Arc::new(FileLog::open(folder.join("log"), Arc::new(SystemClock), options)?))
}

/// The settings of the application.
pub(crate) fn settings(kind: Kind, promise: Promise, state: &Path) -> Settings {
    let mut settings = Settings::new(APPLICATION);
    settings.guarantee = match promise {
        Promise::AtLeastOnce => Guarantee::AtLeastOnce,
        Promise::ExactlyOnce => Guarantee::ExactlyOnce,
    };
    settings.commit_interval = Duration::from_millis(8);
    settings.repartition_purge_interval = Duration::from_millis(12);
    settings.watermark_interval = Duration::from_millis(4);
    settings.close_batch = 4;
    settings.state_dir = Some(state.to_owned());
    // Running counts are then all sent.
    settings.record_cache_bytes = if kind == Kind::Count { 0 } else { settings.record_cache_bytes };
    settings
}
