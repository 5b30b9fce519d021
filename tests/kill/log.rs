//! The log of a run, in files or on a cluster, and the settings of the application: small intervals, so that there are many commits.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use highwater::kafka::{Connect, Durability, FileLog, FileLogOptions, LogError, MemoryLog};
use highwater::{ErrorKind, Guarantee, Settings, SystemClock};

use super::life::{Life, Promise};
use super::scene::Kind;

/// How long anything may take that a log is asked for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// How long a member without a lasting name may be silent on a cluster: as long as a busy machine may keep it from saying something, since at least
/// once whoever is taken for dead leaves to others what it has not committed.
const SESSION: Duration = Duration::from_secs(6);
/// The same where it is to be taken for dead.
pub(crate) const SHORT_SESSION: Duration = Duration::from_millis(1500);

/// Asks a cluster that may have other things to do.
pub(crate) fn patiently<T>(mut ask: impl FnMut() -> Result<T, LogError>) -> Result<T, LogError> {
    let until = Instant::now() + PATIENCE;
    loop {
        match ask() {
            Err(error @ LogError::Client { .. }) if error.kind() == ErrorKind::Retriable && Instant::now() < until => {
                thread::sleep(Duration::from_millis(20));
            }
            answer => return answer,
        }
    }
}

/// What a log in this process can be made to do. A cluster does as it likes.
pub(crate) trait Whims: Connect {
    /// Keeps markers back, or writes those that wait.
    fn hold_markers(&self, held: bool);
    fn write_next_marker(&self) -> bool;
    /// Throws the oldest member of an application out.
    fn expel_one(&self, application: &str);
}

macro_rules! has_whims {
    ($log:ty) => {
        impl Whims for $log {
            fn hold_markers(&self, held: bool) {
                self.hold_markers(held);
            }
            fn write_next_marker(&self) -> bool {
                self.write_next_marker()
            }
            fn expel_one(&self, application: &str) {
                let _ = (1..1_000).any(|number| self.expel(application, &format!("{application}-1-{number}")));
            }
        }
    };
}
has_whims!(MemoryLog);
has_whims!(FileLog);

#[cfg(feature = "kafka")]
impl Whims for highwater::kafka::KafkaLog {
    fn hold_markers(&self, _held: bool) {}
    fn write_next_marker(&self) -> bool {
        false
    }
    fn expel_one(&self, _application: &str) {}
}

/// The log of a run. What is killed is a process, so nothing waits for the disk.
pub(crate) fn log_of(life: &Life) -> Result<Arc<dyn Whims>, LogError> {
    if let Some(bootstrap) = &life.bootstrap {
        return Ok(cluster(bootstrap));
    }
    let options = FileLogOptions { durability: Durability::ProcessKill, ..FileLogOptions::default() };
    Ok(Arc::new(FileLog::open(life.folder.join("log"), Arc::new(SystemClock), options)?))
}

#[cfg(feature = "kafka")]
fn cluster(bootstrap: &str) -> Arc<dyn Whims> {
    use highwater::kafka::{KafkaConfig, KafkaLog};
    Arc::new(KafkaLog::new(KafkaConfig::new(bootstrap)))
}

#[cfg(not(feature = "kafka"))]
fn cluster(bootstrap: &str) -> Arc<dyn Whims> {
    panic!("{bootstrap}: this build knows no clusters")
}

/// The settings of an instance of the application.
pub(crate) fn settings(life: &Life, instance: &str) -> Settings {
    let (kind, state) = (life.kind, Life::state(&life.folder).join(instance));
    let mut settings = Settings::new(life.names.application());
    if life.bootstrap.is_some() && life.lasting {
        settings.instance_id = Some(instance.to_owned().into());
    } else if life.bootstrap.is_some() {
        settings.session_timeout = if life.expelled { SHORT_SESSION } else { SESSION };
    }
    settings.guarantee = match life.promise {
        Promise::AtLeastOnce => Guarantee::AtLeastOnce,
        Promise::ExactlyOnce => Guarantee::ExactlyOnce,
    };
    settings.commit_interval = Duration::from_millis(8);
    settings.repartition_purge_interval = Duration::from_millis(12);
    settings.watermark_interval = Duration::from_millis(4);
    settings.close_batch = 4;
    settings.state_dir = Some(state);
    // Running counts are then all sent.
    settings.record_cache_bytes = if kind == Kind::Count { 0 } else { settings.record_cache_bytes };
    settings
}
