//! The log in files, and the settings of the application: small intervals, so that there are many commits.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use highwater::kafka::{Connect, LogError, MemoryLog};
use highwater::{Settings, SystemClock};

use super::life::Promise;
use super::scene::{APPLICATION, Kind};

pub(crate) fn log_of(_folder: &Path) -> Result<Arc<dyn Connect>, LogError> {
    Ok(Arc::new(MemoryLog::new(Arc::new(SystemClock))))
}

pub(crate) fn settings(kind: Kind, _promise: Promise, _state: &Path) -> Settings {
    let mut settings = Settings::new(APPLICATION);
    settings.commit_interval = Duration::from_millis(4);
    settings.repartition_purge_interval = Duration::from_millis(12);
    settings.watermark_interval = Duration::from_millis(4);
    settings.close_batch = 4;
    // Running counts are then all sent.
    settings.record_cache_bytes = if kind == Kind::Count { 0 } else { settings.record_cache_bytes };
    settings
}
