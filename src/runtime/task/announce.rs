//! A task tells the readers of its repartition topics how far its event time has come: control records after the data (DESIGN §3.6).

use crate::config::Settings;
use crate::error::{Error, ErrorKind};
use crate::processor::{Outgoing, Target};
use crate::record::{TaskId, Timestamp};
use crate::runtime::task::Task;
use crate::watermark::{Announcement, Announcer, ControlRecord};

/// Who announces, where, and what was said last.
pub(crate) struct Announcements {
    announcer: Announcer,
    task: TaskId,
    /// Tasks of its sub-topology.
    siblings: u32,
    topics: Vec<String>,
}

impl Announcements {
    /// For a task just assigned: it announces at the first occasion. `topics`: the repartition topics whose readers run bounded. `was_idle`:
    /// its last committed announcement said idle.
    pub(crate) fn new(settings: &Settings, task: TaskId, siblings: u32, topics: &[String], was_idle: bool) -> Self {
        let announcer = Announcer::new(settings.watermark_interval, settings.watermark_refresh, was_idle);
        Announcements { announcer, task, siblings, topics: topics.to_vec() }
    }

    /// Whether the last announcement said idle: to be committed.
    pub(crate) fn said_idle(&self) -> bool {
        self.announcer.sent().idle
    }

    /// Sends what is due, to every partition of every topic, and says what that was. Call it after all data of the transaction.
    pub(crate) fn announce(&mut self, task: &mut Task, now: Timestamp) -> Result<Option<Announcement>, Error> {
        if self.topics.is_empty() {
            return Ok(None);
        }
        let Some(announcement) = self.announcer.due(task.announcement(), now) else { return Ok(None) };
        let record = ControlRecord { task: self.task, tasks: self.siblings, epoch: 0, announcement };
        for topic in &self.topics {
            task.send_control(topic, &record)?;
        }
        Ok(Some(announcement))
    }
}

impl Task {
    fn send_control(&mut self, topic: &str, record: &ControlRecord) -> Result<(), Error> {
        let (headers, watermark) = (record.headers(), self.cx.watermark);
        let slot = self.cx.output.topic(topic);
        for partition in 0..self.cx.output.partitions(slot) {
            let timestamp = self.cx.output.last_sent(slot, partition).or(watermark).unwrap_or_default();
            // A log takes no negative times.
            let timestamp = timestamp.max(Timestamp::from_millis(0));
            let outgoing = Outgoing { key: None, value: None, timestamp, headers: &headers, target: Target::Partition(partition) };
            let sent = self.cx.output.send(slot, outgoing);
            sent.map_err(|error| Error::new(ErrorKind::Log, self.cx.place(None), error))?;
        }
        Ok(())
    }
}
