//! The process that is killed: an application on the log in files, fed as it runs.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use highwater::kafka::{Connect, FetchLimit, FileLog, Isolation, LogError, MemoryLog, NewTopic};
use highwater::{Launch, RestoreProgress, State, Streams, TopicPartition};

use super::feed::Feed;
use super::life::Life;
use super::linger::Lingering;
use super::log::settings;
use super::notes::Notebook;
use super::scene::{APPLICATION, IN, Kind, OUT, PARTITIONS};

type Outcome<T> = Result<T, Box<dyn Error>>;

const PATIENCE: Duration = Duration::from_secs(30);

/// What a log in this process can be made to do.
pub(crate) trait Whims: Connect {
    /// Keeps markers back, or writes those that wait.
    fn hold_markers(&self, held: bool);
    fn write_next_marker(&self) -> bool;
    /// Throws the oldest member out.
    fn expel_one(&self);
}

macro_rules! has_whims {
    ($log:ty) => {
        impl Whims for $log {
            fn hold_markers(&self, held: bool) {
                self.hold_markers(held);
            }
            fn write_next_marker(&self) -> bool {
                self.write_next_marker()
            }
            fn expel_one(&self) {
                let _ = (1..1_000).any(|number| self.expel(APPLICATION, &format!("{APPLICATION}-1-{number}")));
            }
        }
    };
}
has_whims!(MemoryLog);
has_whims!(FileLog);

/// Lives to the end, unless it is killed.
pub(crate) fn live<L: Whims + 'static>(life: &Life, whims: &Arc<L>) -> Outcome<()> {
    let log: &Arc<dyn Connect> = &(whims.clone() as Arc<dyn Connect>);
    let notes = Arc::new(Notebook::open(&life.notes()));
    provide_topics(&**log)?;
    let mut feed = Feed::open(&**log, life.transactional_feed)?;
    note_start(&**log, &feed, &notes)?;
    let streams = start(life, "a", log, &notes)?;
    let (over, quiet) = (AtomicBool::new(false), AtomicBool::new(false));
    let fed = thread::scope(|scope| {
        let other = life.shared.then(|| scope.spawn(|| come_and_go(life, log, &notes, &over).map_err(|error| error.to_string())));
        scope.spawn(|| trouble(life, &**whims, &quiet));
        let fed = write(life, &mut feed, &streams, &notes);
        over.store(true, Ordering::SeqCst);
        let other = other.map_or(Ok(()), |other| other.join().expect("no panic"));
        quiet.store(true, Ordering::SeqCst);
        other?;
        fed
    });
    let fed = fed?;
    whims.hold_markers(false);
    if fed == Fed::All {
        streams.declare_end()?;
        let state = streams.wait(PATIENCE);
        let done = state == State::Finished && streams.errors().is_empty();
        done.then_some(()).ok_or_else(|| format!("{state:?} instead of finished: {:?}\n{:?}", streams.errors(), streams.progress()))?;
        notes.write(&format!("taken {}", streams.progress().records_in));
    }
    Ok(streams.stop(PATIENCE)?)
}

fn provide_topics(log: &dyn Connect) -> Result<(), LogError> {
    let admin = log.admin()?;
    for topic in [IN.name(), OUT.name()] {
        match admin.create_topics(&[NewTopic::new(topic, PARTITIONS)]) {
            Ok(()) | Err(LogError::TopicExists(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn note_start(log: &dyn Connect, feed: &Feed, notes: &Notebook) -> Result<(), LogError> {
    let partitions: Vec<_> = (0..PARTITIONS).map(|number| TopicPartition::new(IN.name(), number)).collect();
    let mut member = log.member(APPLICATION, "onlooker", Isolation::ReadCommitted)?;
    for (partition, count) in partitions.iter().zip(feed.counts()) {
        let position = match member.committed(std::slice::from_ref(partition)) {
            Ok(found) => found[0].as_ref().map_or(0, |position| position.offset).to_string(),
            Err(LogError::PositionUndecided { .. }) => "undecided".to_owned(),
            Err(error) => return Err(error),
        };
        notes.write(&format!("start {position} {count}"));
    }
    Ok(())
}

/// Starts an instance with a state folder of its own.
pub(crate) fn start(life: &Life, instance: &str, log: &Arc<dyn Connect>, notes: &Arc<Notebook>) -> Outcome<Streams> {
    let settings = settings(life.kind, life.promise, &Life::state(&life.folder).join(instance));
    let (log_of, notes, instance, kind) = (log.clone(), notes.clone(), instance.to_owned(), life.kind);
    let listener = move |progress: &RestoreProgress| note_restored(kind, &instance, &*log_of, progress, &notes);
    let loses = life.loses.then_some(3);
    let lingering = Arc::new(Lingering { log: log.clone(), loses });
    Ok(Launch::new(&life.kind.topology(), settings, lingering).on_restore(listener).start()?)
}

fn note_restored(kind: Kind, instance: &str, log: &dyn Connect, progress: &RestoreProgress, notes: &Notebook) {
    let changelog = TopicPartition::new(kind.changelog().expect("a store with a changelog"), progress.task.partition);
    let committed = committed(log, &changelog, progress.begin, progress.position).expect("the changelog can be read");
    notes.write(&format!("restored {instance}-{}-{} {} {committed}", progress.store, progress.task, progress.records));
}

/// Committed records of a partition between two offsets.
fn committed(log: &dyn Connect, partition: &TopicPartition, from: i64, to: i64) -> Result<u64, LogError> {
    let mut consumer = log.consumer(Isolation::ReadCommitted)?;
    consumer.assign(&[(partition.clone(), from)])?;
    let mut count = 0;
    loop {
        let mut beyond = false;
        let fetched = consumer.fetch(partition, FetchLimit::default(), &mut |record| match record.offset < to {
            true => count += 1,
            false => beyond = true,
        })?;
        if beyond || fetched.at_end() {
            return Ok(count);
        }
    }
}

#[derive(PartialEq, Eq)]
enum Fed {
    All,
    /// It is to close in the middle of its work.
    Enough,
}

fn write(life: &Life, feed: &mut Feed, streams: &Streams, notes: &Notebook) -> Outcome<Fed> {
    streams.wait_for(State::Running, PATIENCE);
    notes.write(&format!("rebuilt {}", streams.progress().rebuilt_stores));
    let (mut chunks, mut taken) = (0, 0);
    while feed.chunk(life.chunk, life.records)? {
        chunks += 1;
        taken = wait_until_taken(streams, taken);
        let counts: Vec<_> = feed.counts().iter().map(u64::to_string).collect();
        notes.write(&format!("acknowledged {}", counts.join(" ")));
        thread::sleep(life.pause);
        if life.closes_after == Some(chunks) {
            return Ok(Fed::Enough);
        }
        if let Some(failure) = streams.errors().first() {
            return Err(format!("the application failed: {failure:?}").into());
        }
    }
    Ok(Fed::All)
}

/// Waits a moment for the application to take something more, so that it commits about as often as something is written, however slow the
/// machine is; gives what it has taken.
fn wait_until_taken(streams: &Streams, before: u64) -> u64 {
    const TRIES: u32 = 100;
    let looks = (0..TRIES).map(|_| {
        thread::sleep(Duration::from_millis(1));
        streams.progress().records_in
    });
    looks.into_iter().find(|taken| *taken > before).unwrap_or(before)
}

/// What the log does meanwhile: markers come late where tasks move, and members are thrown out.
fn trouble(life: &Life, log: &impl Whims, quiet: &AtomicBool) {
    const EVERY: Duration = Duration::from_millis(1);
    log.hold_markers(life.shared);
    for round in 1_u32.. {
        if quiet.load(Ordering::SeqCst) {
            break;
        }
        // Slowly enough that a store can be opened, and its changelog looked at, before the last one is there.
        if round.is_multiple_of(12) {
            log.write_next_marker();
        }
        if life.expelled && round.is_multiple_of(40) {
            log.expel_one();
        }
        thread::sleep(EVERY);
    }
}

/// A second instance, which gets a part of the work and gives it back.
fn come_and_go(life: &Life, log: &Arc<dyn Connect>, notes: &Arc<Notebook>, over: &AtomicBool) -> Outcome<()> {
    const STAY: Duration = Duration::from_millis(15);
    /// More than the most passes of a row, however slow the machine is.
    const VISITS: u32 = 25;
    for visit in 1.. {
        if over.load(Ordering::SeqCst) && visit > VISITS {
            break;
        }
        let other = start(life, "b", log, notes)?;
        other.wait_for(State::Running, PATIENCE);
        thread::sleep(STAY);
        other.stop(PATIENCE)?;
        thread::sleep(STAY);
    }
    Ok(())
}
