//! What the reader of a repartition partition knows of the tasks that write into it.

use super::{Announcement, CommitMetadata, ControlRecord, Reading, entry};
use crate::record::Timestamp;

/// The last announcement of one upstream task.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Upstream {
    value: Option<Timestamp>,
    /// Wall clock of the reader when it read that the task is idle (D13).
    idle: Option<Timestamp>,
}

/// The upstream tasks of one repartition partition. Their number comes with the announcements; till the first one the reader waits.
#[derive(Clone, Debug, Default)]
pub(crate) struct Upstreams {
    epoch: u32,
    tasks: Vec<Upstream>,
}

/// Tasks whose idleness shares one entry.
const IDLE_BITS: usize = 64;
/// More upstream tasks than the metadata of one offset can hold on any broker.
const MOST_KEPT: usize = 1 << 20;

/// What an announcement changes in the list of upstream tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// The list is as before.
    Known,
    /// A new epoch or more tasks: nobody of the new list has been heard of yet.
    NewLayout,
    /// It comes from an earlier layout and says nothing about this one.
    Outdated,
}

impl Upstreams {
    /// Nobody heard of yet, and not known how many there are.
    pub(crate) fn unknown() -> Self {
        Upstreams::default()
    }
    /// What was committed (the entries of `keep_in`). Who was idle still is, counted from now (D19).
    pub(crate) fn restored(epoch: u32, kept: impl IntoIterator<Item = Announcement>, now: Timestamp) -> Self {
        let tasks = kept.into_iter().map(|last| Upstream { value: last.watermark, idle: last.idle.then_some(now) }).collect();
        Upstreams { epoch, tasks }
    }
    /// The epoch of the list.
    #[cfg(test)]
    pub(crate) fn epoch(&self) -> u32 {
        self.epoch
    }
    /// The last announcement of each upstream task, by partition: what is to be committed.
    #[cfg(test)]
    pub(crate) fn kept(&self) -> impl Iterator<Item = Announcement> + '_ {
        self.tasks.iter().map(|task| Announcement { watermark: task.value, idle: task.idle.is_some() })
    }
    /// Writes them into what is committed beside the position.
    pub(crate) fn keep_in(&self, metadata: &mut CommitMetadata) {
        if self.tasks.is_empty() {
            return;
        }
        let mut idle = vec![0_u64; self.tasks.len().div_ceil(IDLE_BITS)];
        for (place, task) in self.tasks.iter().enumerate() {
            metadata.set_time(&entry::upstream_value(place), task.value);
            idle[place / IDLE_BITS] |= u64::from(task.idle.is_some()) << (place % IDLE_BITS);
        }
        let tasks = i64::try_from(self.tasks.len()).expect("fewer than a million tasks");
        metadata.entries.insert(entry::UPSTREAM_TASKS.to_owned(), tasks);
        if self.epoch > 0 {
            metadata.entries.insert(entry::UPSTREAM_EPOCH.to_owned(), i64::from(self.epoch));
        }
        for (word, bits) in idle.into_iter().enumerate().filter(|(_, bits)| *bits != 0) {
            metadata.entries.insert(entry::upstream_idle(word), bits.cast_signed());
        }
    }
    /// Reads them back; nobody is known if nothing was written.
    pub(crate) fn kept_in(metadata: &CommitMetadata, now: Timestamp) -> Self {
        let number = |name: &str| metadata.entries.get(name).copied();
        let tasks = number(entry::UPSTREAM_TASKS).and_then(|tasks| usize::try_from(tasks).ok()).unwrap_or(0);
        let idle = |place: usize| {
            let bits = number(&entry::upstream_idle(place / IDLE_BITS)).unwrap_or(0).cast_unsigned();
            bits >> (place % IDLE_BITS) & 1 == 1
        };
        let last = |place: usize| Announcement { watermark: metadata.time(&entry::upstream_value(place)), idle: idle(place) };
        // No blob has room for more: a larger number is damage and must not become an allocation.
        let epoch = number(entry::UPSTREAM_EPOCH).and_then(|epoch| u32::try_from(epoch).ok()).unwrap_or(0);
        Upstreams::restored(epoch, (0..tasks.min(MOST_KEPT)).map(last), now)
    }
    /// The names of what is written for so many tasks.
    pub(crate) fn names_for(tasks: usize) -> impl Iterator<Item = String> {
        let fixed = [entry::UPSTREAM_TASKS.to_owned(), entry::UPSTREAM_EPOCH.to_owned()];
        let idle = (0..tasks.div_ceil(IDLE_BITS)).map(entry::upstream_idle);
        (0..tasks).map(entry::upstream_value).chain(idle).chain(fixed)
    }
    /// Prepares for an announcement: a greater epoch, or more tasks in the same one, replaces the list.
    pub(super) fn admit(&mut self, record: &ControlRecord) -> Admission {
        let (held, new) = ((self.epoch, self.tasks.len()), (record.epoch, record.tasks as usize));
        if new < held || record.place() >= new.1 {
            return Admission::Outdated;
        }
        if new == held {
            return Admission::Known;
        }
        self.epoch = record.epoch;
        self.tasks = vec![Upstream::default(); new.1];
        Admission::NewLayout
    }
    /// Whether the announcement repeats that an idle task is idle and says nothing new: its silence goes on undisturbed.
    pub(super) fn is_repeated(&self, record: &ControlRecord) -> bool {
        let last = self.tasks[record.place()];
        last.idle.is_some() && record.announcement.idle && record.announcement.watermark <= last.value
    }
    /// The announced value counts, and the task with it. Values never go back, whoever sends them.
    pub(super) fn activate(&mut self, record: &ControlRecord) {
        let task = &mut self.tasks[record.place()];
        *task = Upstream { value: task.value.max(record.announcement.watermark), idle: None };
    }
    /// The task is left out from now on.
    pub(super) fn rest(&mut self, record: &ControlRecord, now: Timestamp) {
        self.tasks[record.place()].idle = Some(now);
    }
    /// Mark and idleness of the task that sent `record`.
    pub(super) fn reading_of(&self, record: &ControlRecord) -> Reading {
        self.tasks[record.place()].reading()
    }
    /// Mark and idleness of each upstream task; one unseen input while nobody was heard of.
    pub(super) fn readings(&self) -> impl Iterator<Item = Reading> + '_ {
        let waiting = self.tasks.is_empty().then_some(Reading::UNSEEN);
        self.tasks.iter().map(Upstream::reading).chain(waiting)
    }
}

impl Upstream {
    fn reading(&self) -> Reading {
        Reading { mark: self.value, idle_at: self.idle }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::TaskId;

    fn said(partition: i32, tasks: u32, epoch: u32, value: i64) -> ControlRecord {
        let announcement = Announcement { watermark: Some(Timestamp::from_millis(value)), idle: false };
        ControlRecord { task: TaskId { subtopology: 0, partition }, tasks, epoch, announcement }
    }

    fn values(upstreams: &Upstreams) -> Vec<Option<i64>> {
        upstreams.readings().map(|reading| reading.mark.map(Timestamp::as_millis)).collect()
    }

    #[test]
    fn a_new_layout_waits_for_everybody_and_ignores_the_old_one() {
        let mut upstreams = Upstreams::unknown();
        assert_eq!(values(&upstreams), [None], "unseen: wait");
        assert_eq!(upstreams.admit(&said(1, 2, 0, 5)), Admission::NewLayout);
        upstreams.activate(&said(1, 2, 0, 5));
        assert_eq!(values(&upstreams), [None, Some(5)]);
        assert_eq!(upstreams.admit(&said(2, 3, 1, 6)), Admission::NewLayout);
        assert_eq!(values(&upstreams), [None, None, None]);
        assert_eq!(upstreams.admit(&said(0, 2, 0, 9)), Admission::Outdated);
        assert_eq!(upstreams.admit(&said(0, 3, 1, 9)), Admission::Known);
        assert_eq!(upstreams.admit(&said(3, 3, 1, 9)), Admission::Outdated, "task 3 is not one of three");
        assert_eq!(upstreams.admit(&said(-1, 4, 1, 9)), Admission::Outdated);
    }

    #[test]
    fn what_was_heard_survives_in_the_metadata() {
        let now = Timestamp::from_millis(70);
        let heard = |place: i64| match place % 3 {
            0 => Announcement { watermark: Some(Timestamp::from_millis(1_700_000_000_000 + place)), idle: false },
            1 => Announcement { watermark: None, idle: place > 40 },
            _ => Announcement { watermark: Some(Timestamp::MAX), idle: true },
        };
        let upstreams = Upstreams::restored(3, (0..70).map(heard), now);
        let mut metadata = CommitMetadata::default();
        upstreams.keep_in(&mut metadata);
        let read = CommitMetadata::decode(&metadata.encode()).expect("our own");
        let again = Upstreams::kept_in(&read, now);
        assert_eq!((again.epoch(), again.kept().collect::<Vec<_>>()), (3, (0..70).map(heard).collect()));
        let bound = CommitMetadata::length_of(Upstreams::names_for(70));
        assert!(metadata.encode().len() <= bound && bound < 2400, "{bound}");
        assert!(Upstreams::kept_in(&CommitMetadata::default(), now).tasks.is_empty(), "nobody known");
    }

    #[test]
    fn a_value_never_goes_back_and_idle_outlives_a_restart_d19() {
        let mut upstreams = Upstreams::unknown();
        let now = Timestamp::from_millis(70);
        upstreams.admit(&said(0, 1, 0, 5));
        upstreams.activate(&said(0, 1, 0, 5));
        upstreams.activate(&said(0, 1, 0, 3));
        upstreams.rest(&said(0, 1, 0, 3), Timestamp::from_millis(40));
        let again = Upstreams::restored(upstreams.epoch(), upstreams.kept(), now);
        assert_eq!(again.readings().collect::<Vec<_>>(), [Reading { mark: Some(Timestamp::from_millis(5)), idle_at: Some(now) }]);
    }
}
