//! Where lives are lived: in a folder each, or on a cluster that is started for all of them.

use std::sync::atomic::{AtomicU64, Ordering};

use super::broker::Broker;
use super::life::Life;
use super::log::log_of;
use super::scene::{Names, begin_today};

/// One of the two.
pub(crate) enum Stage {
    Files,
    Cluster(&'static Broker),
}

impl Stage {
    /// The cluster is the one of `KAFKA_BOOTSTRAP`, else one broker that is started now.
    pub(crate) fn provide(on_cluster: bool) -> Result<Stage, String> {
        if !on_cluster {
            return Ok(Stage::Files);
        }
        if !cfg!(feature = "kafka") {
            return Err("this build knows no clusters: it needs the feature `kafka`".to_owned());
        }
        begin_today();
        Broker::shared().map(Stage::Cluster).ok_or_else(|| "there is no broker to be had".to_owned())
    }

    pub(crate) fn is_cluster(&self) -> bool {
        self.bootstrap().is_some()
    }

    pub(crate) fn bootstrap(&self) -> Option<&str> {
        match self {
            Stage::Files => None,
            Stage::Cluster(broker) => Some(broker.bootstrap()),
        }
    }

    /// Names that no other run on this stage has. In a folder of its own a run needs no others than the plain ones.
    pub(crate) fn names(&self, run: &str) -> Names {
        static RUNS: AtomicU64 = AtomicU64::new(0);
        let run = || format!("{}-{}-{run}", std::process::id(), RUNS.fetch_add(1, Ordering::Relaxed));
        Names { prefix: if self.is_cluster() { run() } else { String::new() } }
    }

    /// Takes the topics of a run away, as far as they are there.
    pub(crate) fn clear(&self, life: &Life) {
        if self.is_cluster()
            && let Ok(admin) = log_of(life).and_then(|log| log.admin())
        {
            life.names.topics(life.kind).iter().for_each(|topic| drop(admin.delete_topics(&[topic])));
        }
    }
}
