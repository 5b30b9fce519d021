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

/// One source partition from its committed position on: what was taken since may have to be taken again.
#[derive(Debug)]
pub(crate) struct Feed {
    pub(crate) topic: Arc<str>,
    pub(crate) partition: i32,
    records: VecDeque<Incoming>,
    /// Offset of the first of them.
    offset: i64,
    /// The first of them that is not staged yet.
    next: usize,
    /// How many of them the last commit knew.
    committed: usize,
    /// Event time of the first record, once it is decoded and staged in the task.
    pub(crate) head: Option<Timestamp>,
    /// Not fetched: its end moves, its position does not.
    pub(crate) paused: bool,
}

impl Feed {
    pub(crate) fn new(topic: Arc<str>, partition: i32) -> Self {
        Feed { topic, partition, records: VecDeque::new(), offset: 0, next: 0, committed: 0, head: None, paused: false }
    }

    pub(crate) fn append(&mut self, record: Incoming) {
        self.records.push_back(record);
    }

    /// Whether anything waits, staged or not.
    pub(crate) fn waits(&self) -> bool {
        self.head.is_some() || self.next < self.records.len()
    }

    /// Shows the first record that is not staged yet, as it would come from the log.
    pub(crate) fn first(&self) -> Option<RawRecord<'_>> {
        let record = self.records.get(self.next)?;
        Some(RawRecord {
            topic: &self.topic,
            partition: self.partition,
            offset: self.offset + i64::try_from(self.next).expect("fewer records than offsets"),
            key: record.key.as_deref(),
            value: record.value.as_deref(),
            timestamp: record.timestamp,
            headers: &record.headers,
        })
    }

    /// Moves past the first record.
    pub(crate) fn pass(&mut self) {
        self.next += 1;
    }

    /// The position is committed: of what was taken nothing will be asked for again. A head that is staged is not processed.
    pub(crate) fn commit(&mut self) {
        let done = self.next - usize::from(self.head.is_some());
        self.records.drain(..done);
        self.next -= done;
        self.offset += i64::try_from(done).expect("fewer records than offsets");
        self.committed = self.records.len();
    }

    /// Goes back to the committed position. What tasks appended since is gone; what others did stays.
    pub(crate) fn rewind(&mut self, appended_by_tasks: bool) {
        (self.next, self.head) = (0, None);
        if appended_by_tasks {
            self.records.truncate(self.committed);
        }
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
