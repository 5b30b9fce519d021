//! What a test driver is made with.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::config::Settings;
use crate::error::{Error, ErrorKind, Place};
use crate::record::Timestamp;
use crate::testing::TopologyTestDriver;
use crate::topology::Topology;

/// Makes a [`TopologyTestDriver`] with several partitions, settings or a wall clock of its own.
pub struct TopologyTestDriverBuilder<'t> {
    topology: &'t Topology,
    partitions: BTreeMap<String, i32>,
    settings: Settings,
    wall_clock: Timestamp,
    manual_commits: bool,
}

impl<'t> TopologyTestDriverBuilder<'t> {
    pub(crate) fn new(topology: &'t Topology) -> Self {
        let (partitions, wall_clock) = (BTreeMap::new(), Timestamp::from_millis(0));
        TopologyTestDriverBuilder { topology, partitions, settings: lenient(), wall_clock, manual_commits: false }
    }

    /// How many partitions a topic has; one unless said. Repartition topics follow the topology. Bounded mode only.
    pub fn partitions(mut self, topic: impl Into<String>, partitions: i32) -> Self {
        self.partitions.insert(topic.into(), partitions);
        self
    }

    /// Settings of the application, as they are: a driver that is made without announces every change of a watermark and takes any
    /// timestamp for plausible, because its wall clock stands still.
    pub fn settings(mut self, settings: Settings) -> Self {
        self.settings = settings;
        self
    }

    /// Where the wall clock starts; at the epoch unless said.
    pub fn wall_clock(mut self, now: Timestamp) -> Self {
        self.wall_clock = now;
        self
    }

    /// Commit only when the test says [`commit`](TopologyTestDriver::commit), when a close pass is cut, and after the end of input; a
    /// [`restart`](TopologyTestDriver::restart) goes back that far. Bounded mode only.
    pub fn manual_commits(mut self) -> Self {
        self.manual_commits = true;
        self
    }

    /// The driver.
    ///
    /// # Errors
    /// If a processor's `init` fails, or if several partitions are asked for in stream time.
    pub fn build(self) -> Result<TopologyTestDriver, Error> {
        if let Some((topic, partitions)) = self.partitions.iter().find(|(_, partitions)| **partitions < 1) {
            return Err(refused(format!("the topic `{topic}` cannot have {partitions} partitions: it has at least one")));
        }
        let bounded = self.topology.plan().subtopologies.iter().any(|part| part.bounded);
        match self.partitions.iter().find(|(_, partitions)| **partitions > 1) {
            Some((topic, partitions)) if !bounded => Err(refused(format!(
                "{partitions} partitions of `{topic}`: in stream time the driver runs one task for everything. Declare watermarks, or test with one"
            ))),
            _ => TopologyTestDriver::start(self.topology, &self.settings, &self.partitions, bounded, self.manual_commits, self.wall_clock),
        }
    }
}

/// Settings for a wall clock that stands still.
fn lenient() -> Settings {
    let mut settings = Settings::new("app");
    settings.watermark_interval = Duration::ZERO;
    settings.max_future_skew = Duration::MAX;
    settings
}

fn refused(reason: String) -> Error {
    Error::new(ErrorKind::InvalidConfig, Place::default(), reason.into())
}
