//! One task without queues around it, for benchmarks: what a record costs in the nodes and stores, and nothing else.

use std::sync::Arc;

use crate::config::Settings;
use crate::error::{BoxError, Error};
use crate::processor::{Outgoing, Output, Staged};
use crate::record::{RawRecord, Timestamp};
use crate::runtime::task::{Task, TaskParts};
use crate::state::{CacheBudget, MemoryBackend};
use crate::topology::Topology;

/// A task of a whole topology that is handed records and forgets what it sends. Not part of the stable API.
#[doc(hidden)]
pub struct BareTask(Task);

/// Where everything goes that nobody wants to see.
pub(super) struct Forget;

impl Output for Forget {
    fn topic(&mut self, _: &str) -> u32 {
        0
    }
    fn partitions(&mut self, _: u32) -> i32 {
        1
    }
    fn send(&mut self, _: u32, record: Outgoing<'_>) -> Result<(), BoxError> {
        std::hint::black_box(record);
        Ok(())
    }
}

impl BareTask {
    /// Assembles the topology.
    ///
    /// # Errors
    /// If a processor's `init` fails.
    pub fn new(topology: &Topology, settings: &Settings) -> Result<Self, Error> {
        let all: Vec<usize> = (0..topology.plan().subtopologies.len()).collect();
        let mut task = Task::new(TaskParts {
            topology,
            subtopologies: &all,
            settings,
            cache: Arc::new(CacheBudget::new(settings.record_cache_bytes)),
            silent_caches: false,
            output: Box::new(Forget),
            partitions: &|_| vec![0],
            backends: &mut |_, _| Box::new(MemoryBackend::default()),
            now: Timestamp::from_millis(0),
        });
        task.init()?;
        Ok(BareTask(task))
    }

    /// Runs one record through the input of that number.
    ///
    /// # Errors
    /// If processing fails.
    pub fn process(&mut self, input: usize, raw: RawRecord<'_>) -> Result<(), Error> {
        match self.0.stage(input, raw)? {
            Staged::Ready(_) => Ok(self.0.run(input)?),
            Staged::Dropped => Ok(()),
        }
    }

    /// Flushes caches and changelogs, and applies.
    ///
    /// # Errors
    /// If processing or a store fails.
    pub fn commit(&mut self) -> Result<(), Error> {
        self.0.flush()?;
        self.0.apply(&|_| None)
    }
}
