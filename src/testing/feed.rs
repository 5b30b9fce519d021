//! The records on their way into one input of a task, and the staging of the first of them.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::error::Error;
use crate::processor::Staged;
use crate::record::{Headers, RawRecord, Timestamp};
use crate::runtime::task::Task;
use crate::testing::RawOutput;

/// A record as it lies in a partition.
#[derive(Clone, Debug)]
pub(crate) struct Incoming {
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) timestamp: Timestamp,
    pub(crate) headers: Headers,
}

impl From<&RawOutput> for Incoming {
    fn from(record: &RawOutput) -> Self {
        Incoming {
            key: record.key.clone(),
            value: record.value.clone(),
            timestamp: record.timestamp.unwrap_or(Timestamp::UNKNOWN),
            headers: record.headers.clone(),
        }
    }
}

/// One source partition: what was appended and not taken yet.
#[derive(Debug)]
pub(crate) struct Feed {
    pub(crate) topic: Arc<str>,
    pub(crate) partition: i32,
    records: VecDeque<Incoming>,
    next_offset: i64,
    /// Event time of the first record, once it is decoded and staged in the task.
    pub(crate) head: Option<Timestamp>,
    /// Not fetched: its end moves, its position does not.
    pub(crate) paused: bool,
}

impl Feed {
    pub(crate) fn new(topic: Arc<str>, partition: i32) -> Self {
        Feed { topic, partition, records: VecDeque::new(), next_offset: 0, head: None, paused: false }
    }

    pub(crate) fn append(&mut self, record: Incoming) {
        self.records.push_back(record);
    }

    /// Whether anything waits, staged or not.
    pub(crate) fn waits(&self) -> bool {
        self.head.is_some() || !self.records.is_empty()
    }

    /// Shows the first record that is not staged yet, as it would come from the log.
    pub(crate) fn first(&self) -> Option<RawRecord<'_>> {
        let record = self.records.front()?;
        Some(RawRecord {
            topic: &self.topic,
            partition: self.partition,
            offset: self.next_offset,
            key: record.key.as_deref(),
            value: record.value.as_deref(),
            timestamp: record.timestamp,
            headers: &record.headers,
        })
    }

    /// Moves past the first record.
    pub(crate) fn pass(&mut self) {
        self.next_offset += 1;
        self.records.pop_front();
    }

    /// Decodes records until one is the head; dropped ones are dealt with. True if a head was staged just now.
    pub(crate) fn stage(&mut self, task: &mut Task, input: usize) -> Result<bool, Error> {
        while self.head.is_none() && !self.paused {
            let Some(raw) = self.first() else { break };
            let staged = task.stage(input, raw);
            self.pass();
            if let Staged::Ready(at) = staged? {
                self.head = Some(at);
                return Ok(true);
            }
        }
        Ok(false)
    }
}
