//! A topology without a broker: piped records run to their end, time moves by hand.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::config::Settings;
use crate::dsl::Topic;
use crate::error::{Error, ErrorKind, Place};
use crate::processor::Counters;
use crate::record::{Data, Headers, Record, TaskId, Timestamp};
use crate::runtime::task::Task;
use crate::state::{Store, StoreRef};
use crate::testing::bounded::{Announced, Bounded};
use crate::testing::builder::TopologyTestDriverBuilder;
use crate::testing::capture::RawOutput;
use crate::testing::feed::Incoming;
use crate::testing::stream_time::StreamTime;
use crate::testing::typed;
use crate::topology::Topology;

/// Drives a topology by hand: a piped record is processed to the very end, through repartition topics too, before `pipe` returns.
///
/// Record caches are flushed after each record, so they show only where one record writes a key twice. Wall-clock time moves by
/// [`advance_wall_clock`](Self::advance_wall_clock) alone.
///
/// **Stream time**: one task for all of it, one partition per topic, as in Kafka Streams' own driver. **Bounded mode**, where a source
/// declares a watermark: one task per sub-topology and partition, as the engine would run them, with as many partitions as
/// [`builder`](Self::builder) is told. The input ends with [`finish`](Self::finish).
///
/// **Crashes** (bounded mode): [`restart`](Self::restart) starts again from the last commit, with stores restored from their
/// changelogs and clocks from what was committed; what was not committed has never been sent, as under exactly-once.
///
/// Not simulated: rebalances, transactions that time out, output that is repeated.
///
/// ```
/// use highwater::{StreamsBuilder, Timestamp, Topic, TopologyTestDriver};
///
/// const LINES: Topic<String, String> = Topic::new("lines");
/// const WORDS: Topic<String, i64> = Topic::new("words");
///
/// let builder = StreamsBuilder::new();
/// builder
///     .stream(LINES)
///     .flat_map_values(|line| line.split(' ').map(str::to_owned).collect::<Vec<_>>())
///     .group_by(|_, word| word.clone())
///     .count("word-counts")
///     .to(WORDS);
///
/// let mut driver = TopologyTestDriver::new(&builder.build()?);
/// driver.pipe(&LINES, "k".to_owned(), "to be or not to be".to_owned(), Timestamp::from_secs(1))?;
/// let counts = driver.read_all(&WORDS);
/// assert_eq!(counts.last(), Some(&("be".to_owned(), 2)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Bounded mode, two partitions of which one falls silent:
///
/// ```
/// use std::time::Duration;
/// use highwater::{Consumed, EmitStrategy, StreamsBuilder, TimeWindows, Timestamp, Topic, TopologyTestDriver, Watermark, Windowed};
///
/// const CLICKS: Topic<String, String> = Topic::new("clicks");
/// const PER_MINUTE: Topic<Windowed<String>, i64> = Topic::new("clicks-per-minute");
///
/// let builder = StreamsBuilder::new();
/// builder
///     .stream(Consumed::with(CLICKS).watermark(Watermark::bounded(Duration::from_secs(5))))
///     .group_by(|_user, page| page.clone())
///     .windowed_by(TimeWindows::of(Duration::from_mins(1)))
///     .emit(EmitStrategy::on_window_close())
///     .count("per-page")
///     .to(PER_MINUTE);
///
/// let mut driver = TopologyTestDriver::builder(&builder.build()?).partitions("clicks", 2).build()?;
/// let click = |driver: &mut TopologyTestDriver, partition, second| {
///     driver.pipe_to(partition, &CLICKS, "ann".to_owned(), "home".to_owned(), Timestamp::from_secs(second))
/// };
/// click(&mut driver, 0, 58)?;
/// click(&mut driver, 1, 59)?;
/// click(&mut driver, 1, 130)?; // partition 0 may still bring the first minute
/// assert!(driver.read(&PER_MINUTE).is_none());
/// driver.advance_wall_clock(Duration::from_secs(20))?;
/// click(&mut driver, 1, 131)?;
/// driver.advance_wall_clock(Duration::from_secs(10))?; // 30 s of silence: partition 0 is not waited for
/// assert_eq!(driver.read(&PER_MINUTE).expect("the first minute").value, 2);
/// driver.finish()?;
/// assert_eq!(driver.read(&PER_MINUTE).expect("the third minute").value, 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct TopologyTestDriver {
    topology: Topology,
    run: Box<dyn Run>,
    wall_clock: Timestamp,
    outputs: BTreeMap<Arc<str>, VecDeque<RawOutput>>,
    /// How many of the last records of each topic are not committed, read or not.
    uncommitted: BTreeMap<Arc<str>, usize>,
    withdrawn: BTreeMap<String, usize>,
}

/// What a topology sent since it was last asked.
#[derive(Debug, Default)]
pub(crate) struct Sent {
    pub(crate) records: Vec<RawOutput>,
    /// How many of them the last commit since then covers, and with them all that was handed over before; none without a commit.
    pub(crate) committed: Option<usize>,
    /// What was handed over before and not committed is undone.
    pub(crate) withdrawn: bool,
}

/// The way in which a driver runs its topology. Topics and partitions handed in are known to be read.
pub(crate) trait Run: Send {
    /// Appends a record to a source partition and runs everything to its end.
    fn pipe(&mut self, topic: &str, partition: i32, record: Incoming) -> Result<(), Error>;
    /// How many partitions a topic has that some source reads.
    fn partitions(&self, topic: &str) -> Option<i32>;
    /// The wall clock moves.
    fn advance(&mut self, now: Timestamp) -> Result<(), Error>;
    /// A partition is fetched no more, or again.
    fn set_paused(&mut self, topic: &str, partition: i32, paused: bool) -> Result<(), Error>;
    /// The end of input is declared.
    fn finish(&mut self) -> Result<(), Error>;
    /// The tasks.
    fn tasks(&self) -> Vec<(TaskId, &Task)>;
    /// What was sent since the last call, in the order sent.
    fn take_sent(&mut self) -> Sent;
    /// Commits now.
    fn commit(&mut self) -> Result<(), Error> {
        Ok(())
    }
    /// Dies and starts again from the last commit.
    fn restart(&mut self) -> Result<(), Error> {
        Err(stream_time_only("restart"))
    }
    /// Does so right after that many commits that fall inside close passes.
    fn crash_in_close(&mut self, _commits: usize) -> Result<(), Error> {
        Err(stream_time_only("crash_in_close"))
    }
    /// What was announced since the last call.
    fn take_announced(&mut self) -> Vec<Announced> {
        Vec::new()
    }
}

impl TopologyTestDriver {
    /// Application id `app`, wall clock at the epoch, one partition per topic. In bounded mode every change of a watermark is
    /// announced and any timestamp is plausible, since the wall clock stands still; [`builder`](Self::builder) says otherwise.
    ///
    /// # Panics
    /// If a processor's `init` fails; [`with_settings`](Self::with_settings) returns that instead.
    pub fn new(topology: &Topology) -> Self {
        Self::builder(topology).build().expect("the processors initialise")
    }

    /// With settings of its own, and the wall clock at `now`.
    ///
    /// # Errors
    /// If a processor's `init` fails.
    pub fn with_settings(topology: &Topology, settings: &Settings, now: Timestamp) -> Result<Self, Error> {
        Self::builder(topology).settings(settings.clone()).wall_clock(now).build()
    }

    /// Says what the other constructors leave to defaults: partitions, settings, wall clock.
    pub fn builder(topology: &Topology) -> TopologyTestDriverBuilder<'_> {
        TopologyTestDriverBuilder::new(topology)
    }

    pub(crate) fn start(
        topology: &Topology,
        settings: &Settings,
        partitions: &BTreeMap<String, i32>,
        bounded: bool,
        manual_commits: bool,
        now: Timestamp,
    ) -> Result<Self, Error> {
        let run: Box<dyn Run> = match bounded {
            true => Box::new(Bounded::new(topology, settings, partitions, manual_commits, now)?),
            false => Box::new(StreamTime::new(topology, settings, now)?),
        };
        let (outputs, uncommitted, withdrawn) = Default::default();
        Ok(TopologyTestDriver { topology: topology.clone(), run, wall_clock: now, outputs, uncommitted, withdrawn })
    }

    /// The topology under test.
    pub fn topology(&self) -> &Topology {
        &self.topology
    }

    /// Pipes one record into partition 0 with the timestamp the log would carry.
    ///
    /// # Errors
    /// If a source does not read the topic, a serde refuses key or value, or processing fails under [`OnError::Fail`](crate::OnError::Fail).
    pub fn pipe<K: Data, V: Data>(&mut self, topic: &Topic<K, V>, key: K, value: V, at: Timestamp) -> Result<(), Error> {
        self.pipe_to(0, topic, key, value, at)
    }

    /// Pipes one record into a partition: the test chooses it, no partitioner does.
    ///
    /// # Errors
    /// As [`pipe`](Self::pipe); and if the topic has no such partition.
    pub fn pipe_to<K: Data, V: Data>(&mut self, partition: i32, topic: &Topic<K, V>, key: K, value: V, at: Timestamp) -> Result<(), Error> {
        let (key, value, headers) = typed::encode(topic, &key, &value)?;
        self.pipe_bytes_to(partition, topic.name(), key.as_deref(), value.as_deref(), at, headers)
    }

    /// Pipes bytes into partition 0 as they might lie in the log, however wrong.
    ///
    /// # Errors
    /// As [`pipe`](Self::pipe); and if the timestamp is negative, which no log accepts.
    pub fn pipe_bytes(
        &mut self,
        topic: &str,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        at: Timestamp,
        headers: Headers,
    ) -> Result<(), Error> {
        self.pipe_bytes_to(0, topic, key, value, at, headers)
    }

    /// Pipes bytes into a partition.
    ///
    /// # Errors
    /// As [`pipe_bytes`](Self::pipe_bytes); and if the topic has no such partition.
    pub fn pipe_bytes_to(
        &mut self,
        partition: i32,
        topic: &str,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        at: Timestamp,
        headers: Headers,
    ) -> Result<(), Error> {
        self.known(topic, partition)?;
        if at < Timestamp::from_millis(0) {
            return Err(refused(topic, format!("timestamp {at}: a record in the log cannot have a negative one")));
        }
        let record = Incoming { key: key.map(<[u8]>::to_vec), value: value.map(<[u8]>::to_vec), timestamp: at, headers };
        let done = self.run.pipe(topic, partition, record);
        self.collect(done)
    }

    /// Moves the wall clock: due wall-clock schedules fire once each; in bounded mode silence counts.
    ///
    /// # Errors
    /// If processing fails.
    pub fn advance_wall_clock(&mut self, by: Duration) -> Result<(), Error> {
        self.wall_clock = self.wall_clock + by;
        let done = self.run.advance(self.wall_clock);
        self.collect(done)
    }

    /// Fetches no more from a source partition until [`resume`](Self::resume): what is piped into it waits. A partition with records
    /// waiting is behind, never idle.
    ///
    /// # Errors
    /// If no source reads it, or if processing fails.
    pub fn pause(&mut self, topic: &str, partition: i32) -> Result<(), Error> {
        self.known(topic, partition)?;
        let done = self.run.set_paused(topic, partition, true);
        self.collect(done)
    }

    /// Fetches from a paused partition again: what waits is processed, lowest time first.
    ///
    /// # Errors
    /// As [`pause`](Self::pause).
    pub fn resume(&mut self, topic: &str, partition: i32) -> Result<(), Error> {
        self.known(topic, partition)?;
        let done = self.run.set_paused(topic, partition, false);
        self.collect(done)
    }

    /// Declares the end of input. What is paused is processed; in bounded mode the watermark becomes final, which closes everything
    /// that is open. In stream time nothing closes by an end: what is cached is flushed, which every record has done already.
    ///
    /// # Errors
    /// If processing fails.
    pub fn finish(&mut self) -> Result<(), Error> {
        let done = self.run.finish();
        self.collect(done)
    }

    /// Commits now. A driver commits after every step anyway, unless made with
    /// [`manual_commits`](TopologyTestDriverBuilder::manual_commits).
    ///
    /// # Errors
    /// If processing fails: caches are flushed.
    pub fn commit(&mut self) -> Result<(), Error> {
        let done = self.run.commit();
        self.collect(done)
    }

    /// The process dies and starts again from the last commit. Source topics, the wall clock and pauses stay. What was sent since that
    /// commit is gone, for good: [`take_withdrawn`](Self::take_withdrawn) tells what of it was read already.
    ///
    /// # Errors
    /// In stream time; or if processing fails.
    pub fn restart(&mut self) -> Result<(), Error> {
        let done = self.run.restart();
        self.collect(done)
    }

    /// Once, right after that many commits from now on that a full [`close_batch`](Settings::close_batch) makes inside a close pass, the
    /// process dies and starts again within the same step.
    ///
    /// # Errors
    /// As [`restart`](Self::restart).
    pub fn crash_in_close(&mut self, commits: usize) -> Result<(), Error> {
        let done = self.run.crash_in_close(commits);
        self.collect(done)
    }

    /// How many of the last records read from each topic a restart has undone since the last call.
    pub fn take_withdrawn(&mut self) -> BTreeMap<String, usize> {
        std::mem::take(&mut self.withdrawn)
    }

    fn known(&self, topic: &str, partition: i32) -> Result<(), Error> {
        match self.run.partitions(topic) {
            None => Err(refused(
                topic,
                format!("no source reads the topic `{topic}`: the sources are {}", self.topology.source_topics().join(", ")),
            )),
            Some(count) if !(0..count).contains(&partition) => Err(refused(
                topic,
                format!("`{topic}` has no partition {partition}, it has {count}: say how many with `TopologyTestDriver::builder`"),
            )),
            Some(_) => Ok(()),
        }
    }

    /// What was sent becomes readable, also before a failure.
    fn collect(&mut self, done: Result<(), Error>) -> Result<(), Error> {
        let Sent { records, committed, withdrawn } = self.run.take_sent();
        if withdrawn {
            self.withdraw();
        }
        if committed.is_some() {
            self.uncommitted.clear();
        }
        for (nth, record) in records.into_iter().enumerate() {
            if committed.is_none_or(|committed| nth >= committed) {
                *self.uncommitted.entry(record.topic.clone()).or_default() += 1;
            }
            self.outputs.entry(record.topic.clone()).or_default().push_back(record);
        }
        done
    }

    fn withdraw(&mut self) {
        for (topic, undone) in std::mem::take(&mut self.uncommitted) {
            let unread = self.outputs.entry(topic.clone()).or_default();
            let left = unread.len().saturating_sub(undone);
            let read = undone - (unread.len() - left);
            unread.truncate(left);
            if read > 0 {
                *self.withdrawn.entry(topic.to_string()).or_default() += read;
            }
        }
    }

    /// The next record written to the topic.
    ///
    /// # Panics
    /// If its bytes are not what the topic's serdes write: the test reads another topic than the topology writes.
    pub fn read<K: Data, V: Data>(&mut self, topic: &Topic<K, V>) -> Option<Record<K, V>> {
        let out = self.outputs.get_mut(topic.name())?.pop_front()?;
        Some(typed::decode(topic, out))
    }

    /// Everything written to the topic so far, as pairs.
    pub fn read_all<K: Data, V: Data>(&mut self, topic: &Topic<K, V>) -> Vec<(K, V)> {
        std::iter::from_fn(|| self.read(topic)).map(|record| (record.key, record.value)).collect()
    }

    /// Everything written to the topic since the last call, as bytes, by every task. Changelogs and repartition topics are topics like
    /// any other; in bounded mode a repartition topic also has control records, with neither key nor value.
    pub fn take_records(&mut self, topic: &str) -> Vec<RawOutput> {
        self.outputs.get_mut(topic).map(|records| records.drain(..).collect()).unwrap_or_default()
    }

    /// Names of the topics with records that were not read yet.
    pub fn produced_topics(&self) -> Vec<String> {
        self.outputs.iter().filter(|(_, records)| !records.is_empty()).map(|(topic, _)| topic.to_string()).collect()
    }

    /// A store, for reading; none if no store has that name or it has another type. Where several tasks have a part of it, that of the
    /// first; [`store_of`](Self::store_of) reads the others.
    pub fn store<S: Store>(&self, store: &StoreRef<S>) -> Option<S::View> {
        self.run.tasks().into_iter().find_map(|(_, task)| view(task, store))
    }

    /// One task's part of a store.
    pub fn store_of<S: Store>(&self, task: TaskId, store: &StoreRef<S>) -> Option<S::View> {
        self.run.tasks().into_iter().find(|(id, _)| *id == task).and_then(|(_, task)| view(task, store))
    }

    /// How many records a store holds in all tasks, whatever its type; none if no store has that name.
    pub fn store_len(&self, name: &str) -> Option<usize> {
        let tasks = self.run.tasks();
        let stores = tasks.iter().flat_map(|(_, task)| task.stores()).filter(|candidate| *candidate.name == *name);
        stores.map(|store| store.control.approximate_rows()).fold(None, |rows, more| Some(rows.unwrap_or(0) + more))
    }

    /// The tasks, in the order in which data flows through them; one in stream time.
    pub fn tasks(&self) -> Vec<TaskId> {
        self.run.tasks().into_iter().map(|(id, _)| id).collect()
    }

    /// The watermark of a task: none while it has no value or in stream time, [`Timestamp::MAX`] after [`finish`](Self::finish).
    pub fn watermark(&self, task: TaskId) -> Option<Timestamp> {
        self.run.tasks().into_iter().find(|(id, _)| *id == task)?.1.watermark()
    }

    /// What tasks announced to the readers of their repartition topics since the last call, in the order sent. Bounded mode only.
    pub fn take_announcements(&mut self) -> Vec<Announced> {
        self.run.take_announced()
    }

    /// Records dropped so far: null keys, late ones (per window), undecodable or skipped ones.
    pub fn dropped_records(&self) -> u64 {
        self.sum(|counters| &counters.dropped)
    }

    /// (record, window) pairs that came after the window had closed.
    pub fn late_records(&self) -> u64 {
        self.sum(|counters| &counters.late)
    }

    /// The same for one operator, by the name it has in [`describe`](Topology::describe).
    pub fn late_records_of(&self, operator: &str) -> u64 {
        self.run.tasks().into_iter().map(|(_, task)| task.counters().late_of(operator)).sum()
    }

    /// Records whose time was too far ahead of the wall clock (bounded mode).
    pub fn bad_time_records(&self) -> u64 {
        self.sum(|counters| &counters.bad_time)
    }

    fn sum(&self, count: impl Fn(&Counters) -> &AtomicU64) -> u64 {
        self.run.tasks().into_iter().map(|(_, task)| count(task.counters()).load(Ordering::Relaxed)).sum()
    }
}

fn view<S: Store>(task: &Task, store: &StoreRef<S>) -> Option<S::View> {
    let name = store.name()?;
    let store = task.stores().iter().find(|candidate| *candidate.name == *name)?;
    (store.handle)().downcast::<S>().ok().map(|handle| handle.view())
}

fn stream_time_only(what: &str) -> Error {
    let text = format!("`{what}` in stream time: the driver restarts topologies whose sources declare watermarks");
    Error::new(ErrorKind::InvalidConfig, Place::default(), text.into())
}

fn refused(topic: &str, reason: String) -> Error {
    let place = Place { topic: Some(topic.to_owned()), ..Place::default() };
    Error::new(ErrorKind::InvalidConfig, place, reason.into())
}
