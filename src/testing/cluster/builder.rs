//! What a cluster is made with.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::{Cluster, dice::Dice};
use crate::clock::ManualClock;
use crate::config::Settings;
use crate::error::Error;
use crate::kafka::{Connect, MemoryLog, NewTopic};
use crate::record::Timestamp;
use crate::topology::Topology;

/// Makes a [`Cluster`].
#[derive(Debug)]
pub struct ClusterBuilder<'t> {
    topology: &'t Topology,
    settings: Settings,
    partitions: BTreeMap<String, i32>,
    usual: i32,
    instances: usize,
    seed: u64,
    whims: bool,
    lasting_names: bool,
    keeps_state: bool,
    session: Duration,
    start: Timestamp,
}

impl<'t> ClusterBuilder<'t> {
    pub(super) fn new(topology: &'t Topology) -> Self {
        let (settings, session) = (Settings::new("app"), Duration::from_secs(45));
        let start = Timestamp::from_secs(1_000_000);
        ClusterBuilder {
            topology,
            settings,
            partitions: BTreeMap::new(),
            usual: 2,
            instances: 2,
            seed: 0,
            whims: false,
            lasting_names: false,
            keeps_state: false,
            session,
            start,
        }
    }

    /// Partitions of one source or sink topic.
    pub fn partitions(mut self, topic: impl Into<String>, partitions: i32) -> Self {
        self.partitions.insert(topic.into(), partitions);
        self
    }

    /// Partitions of the source and sink topics that are not named; 2 unless said.
    pub fn usual_partitions(mut self, partitions: i32) -> Self {
        self.usual = partitions;
        self
    }

    /// Instances that run from the beginning; 2 unless said.
    pub fn instances(mut self, instances: usize) -> Self {
        self.instances = instances;
        self
    }

    /// The settings of every instance, application id and threads among them.
    pub fn settings(mut self, settings: Settings) -> Self {
        self.settings = settings;
        self
    }

    /// Chooses the schedule, and whatever else is left to chance.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Networks with whims: fetches bring only part of what is there, and what is sent arrives some time until it is flushed.
    pub fn whims(mut self) -> Self {
        self.whims = true;
        self
    }

    /// Instances with names that outlive a [restart](Cluster::restart), as static members of Kafka's groups have them: whoever is back
    /// before its session is over finds its tasks where it left them.
    pub fn lasting_names(mut self) -> Self {
        self.lasting_names = true;
        self
    }

    /// Instances keep the committed rows of their stores through kills and restarts, as in a folder of their own; otherwise what is gone from
    /// memory is restored from the beginning.
    pub fn keep_state(mut self) -> Self {
        self.keeps_state = true;
        self
    }

    /// How long an instance may be silent, killed or paused, before the group gives its tasks to others; 45 s unless said.
    pub fn session_timeout(mut self, timeout: Duration) -> Self {
        self.session = timeout;
        self
    }

    /// Where the clock starts.
    pub fn start_at(mut self, start: Timestamp) -> Self {
        self.start = start;
        self
    }

    /// Makes the topics and starts the instances; none of them has run yet.
    ///
    /// # Errors
    /// If the log refuses a topic, or the topology does not fit its topics.
    pub fn build(self) -> Result<Cluster, Error> {
        let clock = ManualClock::at(self.start);
        let log = MemoryLog::new(Arc::new(clock.clone()));
        log.admin()?.create_topics(&self.topics())?;
        let mut cluster = Cluster::empty(self.topology.clone(), Arc::new(self.settings), log, clock, Dice::new(self.seed));
        (cluster.whims, cluster.lasting_names, cluster.session) = (self.whims, self.lasting_names, self.session);
        cluster.keeps_state = self.keeps_state;
        for _ in 0..self.instances {
            cluster.start()?;
        }
        Ok(cluster)
    }

    fn topics(&self) -> Vec<NewTopic> {
        let parts = self.topology.subtopologies(&self.settings.application_id);
        let internal: Vec<&String> = parts.iter().flat_map(|part| part.repartition_topics.keys()).collect();
        let named = parts.iter().flat_map(|part| part.source_topics.iter().chain(&part.sink_topics));
        let mut counts: BTreeMap<String, i32> =
            named.filter(|topic| !internal.contains(topic)).map(|topic| (topic.clone(), self.usual)).collect();
        counts.extend(self.partitions.clone());
        counts.into_iter().map(|(topic, count)| NewTopic::new(topic, count)).collect()
    }
}
