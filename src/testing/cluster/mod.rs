//! Several instances of an application on one log, stepped by hand: what happens when they crash, stall, come and go.

mod builder;
mod dice;
mod fate;
mod fold;
mod instance;
mod kept;
mod ports;
mod reading;
#[cfg(test)]
mod tests;
mod troubles;
mod writing;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

pub use builder::ClusterBuilder;
pub use reading::{CommittedPosition, LoggedRecord, StoreStanding};

use self::dice::Dice;
use self::fate::SharedFate;
use self::fold::Folds;
use self::instance::{Condition, Instance, Outcome};
use self::kept::Keep;
use self::ports::FatefulLog;
use crate::clock::{Clock, ManualClock};
use crate::config::Settings;
use crate::dsl::Topic;
use crate::error::{Error, ErrorKind, Place};
use crate::kafka::{Connect, Isolation, MemoryLog, Outgoing, RoundRobin, partition_of};
use crate::record::{Data, Headers, Timestamp, TopicPartition};
use crate::runtime::Board;
use crate::state::{MemoryBackend, MemoryRows};
use crate::testing::typed;
use crate::topology::Topology;

/// Rounds within which everything that needs no time must be done.
const SETTLES_WITHIN: usize = 20_000;

/// Several instances of a topology on one [`MemoryLog`], each with threads of its own, that do nothing but when told.
///
/// There are no threads of the operating system and no other clock than the one that [`advance`](Self::advance) moves; what is left to
/// chance comes from the seed. So a run is repeated, byte for byte, by its seed, and a crash can be put between any two things that an
/// instance says to its log.
///
/// What [`TopologyTestDriver`](crate::TopologyTestDriver) cannot show is shown here: partitions and instances, rebalances, commits, restored
/// state, repetition after a crash.
///
/// ```
/// use std::time::Duration;
/// use highwater::{Cluster, KeyValueStore, StoreRef, StreamsBuilder, Timestamp, Topic};
///
/// const CLICKS: Topic<String, String> = Topic::new("clicks");
/// const COUNTS: StoreRef<KeyValueStore<String, i64>> = StoreRef::new("counts");
///
/// let builder = StreamsBuilder::new();
/// builder.stream(CLICKS).group_by_key().count(COUNTS);
///
/// let mut cluster = Cluster::builder(&builder.build()?).partitions("clicks", 3).instances(2).seed(7).build()?;
/// cluster.pipe(&CLICKS, "ann".to_owned(), "home".to_owned(), Timestamp::from_secs(1))?;
/// cluster.run_for(Duration::from_secs(2))?; // long enough for a commit
///
/// cluster.kill(0); // without a word
/// cluster.pipe(&CLICKS, "ann".to_owned(), "cart".to_owned(), Timestamp::from_secs(2))?;
/// cluster.run_for(Duration::from_secs(60))?; // its session is over: the other has taken over, with the state
///
/// let counts: i64 = cluster.store(&COUNTS)?.values().filter_map(|part| part.get(&"ann".to_owned()).ok()?).sum();
/// assert_eq!(counts, 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Cluster {
    topology: Topology,
    settings: Arc<Settings>,
    log: MemoryLog,
    clock: ManualClock,
    dice: Dice,
    whims: bool,
    lasting_names: bool,
    keeps_state: bool,
    session: Duration,
    instances: Vec<Instance>,
    turns: BTreeMap<String, RoundRobin>,
    /// Members that the group threw out.
    expelled: BTreeSet<Arc<str>>,
    /// Of lives that ended well and were followed by others.
    past: Vec<Arc<Board>>,
    /// What was done, line by line.
    deeds: Vec<String>,
    /// What went against the rules of the group.
    trespasses: Vec<String>,
    reached: BTreeMap<TopicPartition, i64>,
    /// What each instance keeps through its lives.
    kept: BTreeMap<usize, Keep>,
    folds: Folds,
}

impl Cluster {
    /// Says how many partitions, instances and so on; [`build`](ClusterBuilder::build) starts it.
    pub fn builder(topology: &Topology) -> ClusterBuilder<'_> {
        ClusterBuilder::new(topology)
    }

    fn empty(topology: Topology, settings: Arc<Settings>, log: MemoryLog, clock: ManualClock, dice: Dice) -> Self {
        Cluster {
            topology,
            settings,
            log,
            clock,
            dice,
            whims: false,
            lasting_names: false,
            keeps_state: false,
            session: Duration::ZERO,
            instances: Vec::new(),
            turns: BTreeMap::new(),
            expelled: BTreeSet::new(),
            past: Vec::new(),
            deeds: Vec::new(),
            trespasses: Vec::new(),
            reached: BTreeMap::new(),
            kept: BTreeMap::new(),
            folds: Folds::default(),
        }
    }

    /// The time.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// How many instances there ever were: their numbers are below.
    pub fn instances(&self) -> usize {
        self.instances.len()
    }

    /// Whether an instance runs: not killed, not stopped, not paused.
    pub fn is_running(&self, instance: usize) -> bool {
        self.instances.get(instance).is_some_and(Instance::runs)
    }

    /// A number below `limit` from the sequence of the seed, for choices of the test.
    pub fn draw(&mut self, limit: u64) -> u64 {
        self.dice.below(limit)
    }

    /// One more instance, which has not run yet; gives its number.
    ///
    /// # Errors
    /// If the log refuses.
    pub fn start(&mut self) -> Result<usize, Error> {
        let number = self.instances.len();
        let instance = self.new_life(number)?;
        self.instances.push(instance);
        self.note(|| format!("start {number}"));
        Ok(number)
    }

    fn new_life(&mut self, number: usize) -> Result<Instance, Error> {
        let fate = SharedFate::new(self.dice.next(), self.whims);
        let lasting = self.lasting_names.then(|| format!("i{number}"));
        let ports = FatefulLog { log: self.log.clone(), fate, lasting };
        // No two lives have one name, unless it is to last.
        let process = format!("life-{}", self.instances.len() + self.past.len());
        let rows: MemoryRows = if self.keeps_state {
            let (keep, fate) = (self.kept.entry(number).or_default().clone(), ports.fate.clone());
            Arc::new(move |task, store| Box::new(keep.open(task, store, &fate)))
        } else {
            Arc::new(|_, _| Box::<MemoryBackend>::default())
        };
        Instance::start(ports, &self.topology, &self.settings, (&process, rows), Arc::new(self.clock.clone()))
    }

    /// Starts an instance again: one that runs or is paused is [stopped](Self::stop) before. The group still counts what a killed one was
    /// among its members until its session is over.
    ///
    /// # Errors
    /// If the log refuses, or the last commit fails.
    pub fn restart(&mut self, instance: usize) -> Result<(), Error> {
        self.stop(instance)?;
        let life = self.new_life(instance)?;
        let before = std::mem::replace(&mut self.instances[instance], life);
        if let Condition::Killed(_) = before.condition {
            // It stays a member until its time is over.
            self.instances.push(before);
            let grave = self.instances.len() - 1;
            self.note(|| format!("restart {instance}, killed before and now {grave}"));
        } else {
            self.past.push(before.board);
            self.note(|| format!("restart {instance}"));
        }
        Ok(())
    }

    /// Commits, and leaves the group. Does nothing to one that is dead.
    ///
    /// # Errors
    /// If the last commit fails.
    pub fn stop(&mut self, instance: usize) -> Result<(), Error> {
        self.go_on(instance)?;
        let now = self.clock.now();
        let stopped = &mut self.instances[instance];
        if matches!(stopped.condition, Condition::Running | Condition::Paused(_)) {
            let closed = stopped.close(now);
            self.note(|| format!("stop {instance}"));
            self.audit(instance);
            closed?;
        }
        Ok(())
    }

    /// One round of one thread of one instance, all chosen by the seed; true if that thread may find more at once. Does nothing if none
    /// runs.
    ///
    /// # Errors
    /// What stops a thread as a whole: the instance is killed then.
    pub fn step(&mut self) -> Result<bool, Error> {
        let running = self.instances.iter().enumerate().filter(|(_, instance)| instance.runs());
        let threads: Vec<_> = running.flat_map(|(number, instance)| (0..instance.threads()).map(move |thread| (number, thread))).collect();
        if threads.is_empty() {
            return Ok(false);
        }
        let (instance, thread) = threads[self.dice.place(threads.len())];
        self.round(instance, thread)
    }

    fn round(&mut self, instance: usize, thread: usize) -> Result<bool, Error> {
        let outcome = self.instances[instance].round(thread, self.clock.now());
        self.note(|| format!("round {instance}.{thread}"));
        self.after_round(instance, outcome)
    }

    fn after_round(&mut self, instance: usize, outcome: Outcome) -> Result<bool, Error> {
        self.note(|| match &outcome {
            Outcome::Stands => format!("  {instance} stands still"),
            Outcome::Over(worked) => {
                format!("  {}", if worked.as_ref().is_ok_and(|worked| *worked) { "worked" } else { "found nothing to do" })
            }
        });
        self.audit(instance);
        match outcome {
            Outcome::Stands => Ok(true),
            Outcome::Over(Ok(worked)) => Ok(worked),
            Outcome::Over(Err(error)) => {
                self.kill(instance);
                Err(error)
            }
        }
    }

    /// Ends a round that stands still; it was to go on at some time.
    fn go_on(&mut self, instance: usize) -> Result<(), Error> {
        while self.instances[instance].stands() {
            let outcome = self.instances[instance].go_on(self.clock.now());
            if let Outcome::Stands = outcome {
                // Once more in the same round: it goes on at once.
                self.instances[instance].condition = Condition::Running;
            }
            self.after_round(instance, outcome)?;
        }
        Ok(())
    }

    /// Rounds of all instances that run, until there is nothing left to do without time.
    ///
    /// # Errors
    /// As [`step`](Self::step); and if it does not come to an end.
    pub fn settle(&mut self) -> Result<(), Error> {
        let (mut quiet, mut rounds) = (0, 0);
        // Twice quiet, and no deaf ear: what the first pass learnt may give the second something to do.
        while quiet < 14 {
            let before = rounds;
            // Markers need no more than their way.
            rounds += usize::from(self.write_marker());
            for instance in 0..self.instances.len() {
                for thread in 0..self.instances[instance].threads() {
                    if self.instances[instance].runs() && self.round(instance, thread)? {
                        rounds += 1;
                    }
                }
            }
            quiet = if rounds == before { quiet + 1 } else { 0 };
            if rounds > SETTLES_WITHIN {
                return Err(refused(format!("still busy after {rounds} rounds")));
            }
        }
        Ok(())
    }

    /// Lets time pass, half a commit interval at a time, and everything settle in between.
    ///
    /// # Errors
    /// As [`settle`](Self::settle).
    pub fn run_for(&mut self, time: Duration) -> Result<(), Error> {
        let piece = (self.settings.commit_interval / 2).max(Duration::from_millis(1));
        let end = self.clock.now() + time;
        self.settle()?;
        while self.clock.now() < end {
            self.advance(piece);
            self.settle()?;
        }
        Ok(())
    }

    /// Declares the end of input, where each source topic ends now, and runs until every task has told so. Those that are paused go on;
    /// sessions of the killed run out.
    ///
    /// # Errors
    /// As [`settle`](Self::settle); and if some task does not come to its end.
    pub fn finish(&mut self) -> Result<(), Error> {
        self.hold_markers(false);
        (0..self.instances.len()).try_for_each(|instance| self.resume(instance))?;
        self.run_for(self.session)?;
        let mut ends = BTreeMap::new();
        for topic in self.topology.source_topics() {
            let count = self.log.producer()?.partition_count(&topic)?;
            let partitions: Vec<_> = (0..count).map(|partition| TopicPartition::new(topic.as_str(), partition)).collect();
            let offsets = self.log.consumer(Isolation::ReadCommitted)?.end_offsets(&partitions, Isolation::ReadCommitted)?;
            ends.extend(partitions.into_iter().zip(offsets));
        }
        self.instances.iter().filter(|instance| instance.runs()).for_each(|instance| instance.board.declare_end(ends.clone()));
        let done = |cluster: &Cluster| {
            let mut running = cluster.instances.iter().filter(|instance| instance.runs());
            running.all(|instance| instance.board.facts().state == crate::runtime::State::Finished)
        };
        for _ in 0..200 {
            if done(self) {
                return Ok(());
            }
            self.run_for(Duration::from_secs(1))?;
        }
        Err(refused(format!("some task does not come to its end: {}", self.standing())))
    }

    /// Where the tasks are that have not come to their end, as each instance that runs sees it.
    fn standing(&self) -> String {
        let instances = self.instances.iter().enumerate().filter(|(_, instance)| instance.runs());
        let lines = instances.map(|(number, instance)| {
            let facts = instance.board.facts();
            let tasks = facts.tasks.iter().map(|(task, listed)| format!("{task} {:?}", listed.state)).collect::<Vec<_>>();
            let state = facts.state;
            drop(facts);
            format!("instance {number} is {state:?}, with {tasks:?}, and waits for {:?}", instance.board.elsewhere())
        });
        lines.collect::<Vec<_>>().join("; ")
    }

    /// Writes a record to a source topic, to the partition of its key.
    ///
    /// # Errors
    /// If there is no such topic, or a serde refuses key or value.
    pub fn pipe<K: Data, V: Data>(&mut self, topic: &Topic<K, V>, key: K, value: V, at: Timestamp) -> Result<(), Error> {
        let (key, value, headers) = typed::encode(topic, &key, &value)?;
        let count = self.log.producer()?.partition_count(topic.name())?;
        let partition = match &key {
            Some(key) => partition_of(key, count),
            None => self.turns.entry(topic.name().to_owned()).or_default().turn(count),
        };
        self.append(TopicPartition::new(topic.name(), partition), key.as_deref(), value.as_deref(), at, &headers)
    }

    /// Writes a record to a partition of the test's choice.
    ///
    /// # Errors
    /// As [`pipe`](Self::pipe); and if there is no such partition.
    pub fn pipe_to<K: Data, V: Data>(&mut self, partition: i32, topic: &Topic<K, V>, key: K, value: V, at: Timestamp) -> Result<(), Error> {
        let (key, value, headers) = typed::encode(topic, &key, &value)?;
        self.append(TopicPartition::new(topic.name(), partition), key.as_deref(), value.as_deref(), at, &headers)
    }

    fn append(
        &mut self,
        partition: TopicPartition,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        timestamp: Timestamp,
        headers: &Headers,
    ) -> Result<(), Error> {
        self.note(|| format!("pipe {partition} {timestamp} {key:02x?} {value:02x?}"));
        Ok(self.log.producer()?.send(&partition, &[Outgoing { key, value, timestamp, headers }])?)
    }

    /// What went against the rules of a group since the last call: a commit by a member that had been thrown out, positions that went back,
    /// a task with two owners. Empty, unless the engine or the log is broken.
    pub fn take_trespasses(&mut self) -> Vec<String> {
        std::mem::take(&mut self.trespasses)
    }

    /// Looks at what an instance has just done.
    fn audit(&mut self, instance: usize) {
        for accepted in self.instances[instance].fate.take_accepted() {
            if self.expelled.contains(&accepted.token.member) {
                self.trespasses.push(format!("{} was thrown out, and its commit was taken", accepted.token));
            }
            for (partition, position) in accepted.positions {
                let before = self.reached.insert(partition.clone(), position.offset).unwrap_or(0);
                if position.offset < before {
                    self.trespasses.push(format!("{partition} was committed at {before}, then at {}", position.offset));
                }
                self.note(|| format!("  committed {partition}@{}", position.offset));
            }
        }
        let owners = self.owners();
        for pair in owners.windows(2).filter(|pair| pair[0].0 == pair[1].0) {
            self.trespasses.push(format!("{} is open in {} and {}", pair[0].0, pair[0].1, pair[1].1));
        }
    }

    fn note(&mut self, deed: impl FnOnce() -> String) {
        self.deeds.push(deed());
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster").field("instances", &self.instances.len()).field("now", &self.clock.now()).finish_non_exhaustive()
    }
}

fn refused(reason: String) -> Error {
    Error::new(ErrorKind::NotAvailable, Place::default(), reason.into())
}
