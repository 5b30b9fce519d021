//! The process that is killed: an application on the log in files or on a cluster, fed as it runs.

use std::error::Error;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use highwater::kafka::{Connect, Consumer, FetchLimit, Isolation, LogError, NewTopic};
use highwater::{ErrorKind, Launch, RawRecord, RestoreProgress, State, Streams, TopicPartition};

use super::feed::Feed;
use super::life::Life;
use super::linger::Lingering;
use super::log::{PATIENCE, Whims, patiently, settings};
use super::notes::Notebook;
use super::onlooker::Onlooker;
use super::scene::{Kind, LATE_BEGIN, PARTITIONS};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Lives to the end, unless it is killed.
pub(crate) fn live(life: &Life, whims: &Arc<dyn Whims>) -> Outcome<()> {
    let log: &Arc<dyn Connect> = &(whims.clone() as Arc<dyn Connect>);
    let notes = Arc::new(Notebook::open(&life.notes()));
    provide_topics(life, &**log)?;
    let mut feed = Feed::open(&**log, life)?;
    note_start(life, &**log, &feed, &notes)?;
    let streams = start(life, "a", log, &notes)?;
    let (over, quiet) = (AtomicBool::new(false), AtomicBool::new(false));
    let fed = thread::scope(|scope| {
        let other = life.shared.then(|| scope.spawn(|| come_and_go(life, log, &notes, &streams, &over).map_err(|error| error.to_string())));
        scope.spawn(|| trouble(life, &**whims, &quiet));
        let fed = write(life, &**log, &mut feed, &streams, &notes);
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

fn provide_topics(life: &Life, log: &dyn Connect) -> Result<(), LogError> {
    let admin = log.admin()?;
    let table = (life.kind == Kind::Join).then(|| life.names.table());
    for topic in [life.names.input(), life.names.output()].into_iter().chain(table) {
        match patiently(|| admin.create_topics(&[NewTopic::new(&*topic, PARTITIONS)])) {
            Ok(()) | Err(LogError::TopicExists(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn note_start(life: &Life, log: &dyn Connect, feed: &Feed, notes: &Notebook) -> Result<(), LogError> {
    let partitions: Vec<_> = (0..PARTITIONS).map(|number| TopicPartition::new(life.names.input(), number)).collect();
    let mut member = log.member(&life.names.application(), "onlooker", Isolation::ReadCommitted)?;
    for (partition, count) in partitions.iter().zip(feed.counts()) {
        let position = match patiently(|| member.committed(std::slice::from_ref(partition))) {
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
    let settings = settings(life, instance);
    let (notes, instance) = (notes.clone(), instance.to_owned());
    let onlooker = Mutex::new(Onlooker::new(&**log, life.names.changelog(life.kind))?);
    let listener = move |progress: &RestoreProgress| {
        let mut onlooker = onlooker.lock().expect("no panic while it is held");
        let committed = onlooker.passed(progress).expect("the changelog can be read");
        notes.write(&format!("restored {instance}-{}-{} {} {committed}", progress.store, progress.task, progress.records));
    };
    let loses = life.loses.then_some(3);
    let lingering = Arc::new(Lingering { log: log.clone(), loses });
    Ok(Launch::new(&life.kind.topology(&life.names), settings, lingering).on_restore(listener).start()?)
}

/// Visits the records of a partition from one offset to another, which is an end of it, as they come.
pub(crate) fn read(
    consumer: &mut dyn Consumer,
    partition: &TopicPartition,
    from: i64,
    to: i64,
    visit: &mut dyn FnMut(RawRecord<'_>),
) -> Result<(), LogError> {
    consumer.assign(&[(partition.clone(), from)])?;
    let until = Instant::now() + PATIENCE;
    let mut position = from;
    while position < to {
        let fetched = consumer.fetch(partition, FetchLimit::default(), &mut |record| {
            if record.offset < to {
                visit(record);
            }
        })?;
        if fetched.next_offset == position {
            assert!(Instant::now() < until, "{partition} gives nothing between {position} and {to}");
            consumer.poll(Duration::from_millis(20))?;
        }
        position = fetched.next_offset;
    }
    consumer.unassign(std::slice::from_ref(partition));
    Ok(())
}

#[derive(PartialEq, Eq)]
enum Fed {
    All,
    /// It is to close in the middle of its work.
    Enough,
}

fn write(life: &Life, log: &dyn Connect, feed: &mut Feed, streams: &Streams, notes: &Notebook) -> Outcome<Fed> {
    let tasks = if life.shared { 1 } else { life.kind.tasks() };
    wait_for_tasks(streams, tasks, PATIENCE);
    streams.wait_for(State::Running, PATIENCE);
    notes.write(&format!("rebuilt {}", streams.progress().rebuilt_stores));
    let (mut chunks, mut taken) = (0, 0);
    if feed.counts()[0] >= LATE_BEGIN {
        wait_for_time(life, log)?;
    }
    while goes_on(feed, life, log)? {
        chunks += 1;
        taken = wait_until_taken(life, streams, taken);
        let counts: Vec<_> = feed.counts().iter().map(u64::to_string).collect();
        notes.write(&format!("acknowledged {}", counts.join(" ")));
        thread::sleep(life.pause);
        if feed.counts()[0] == LATE_BEGIN {
            wait_for_time(life, log)?;
        }
        if life.closes_after == Some(chunks) {
            return Ok(Fed::Enough);
        }
        if let Some(failure) = streams.errors().first() {
            return Err(format!("the application failed: {failure:?}").into());
        }
    }
    Ok(Fed::All)
}

/// Writes the next chunk. What a cluster has not decided, or not acknowledged in time, is looked for in the log: the feed goes on where that ends.
fn goes_on(feed: &mut Feed, life: &Life, log: &dyn Connect) -> Result<bool, LogError> {
    match feed.chunk(life.chunk, life.records) {
        Err(error) if life.bootstrap.is_some() && (error.kind() == ErrorKind::Retriable || error.ends_producer()) => {
            *feed = Feed::open(log, life)?;
            Ok(true)
        }
        fed => fed,
    }
}

/// Waits until something of every partition is committed, and with it the time that the tasks behind a repartition topic go by: to a task
/// that was told none yet, no record is late.
fn wait_for_time(life: &Life, log: &dyn Connect) -> Outcome<()> {
    let mut member = log.member(&life.names.application(), "onlooker", Isolation::ReadCommitted)?;
    let partitions: Vec<_> = (0..PARTITIONS).map(|number| TopicPartition::new(life.names.input(), number)).collect();
    let until = Instant::now() + PATIENCE;
    loop {
        match patiently(|| member.committed(&partitions)) {
            Ok(found) if found.iter().all(|position| position.as_ref().is_some_and(|position| position.offset > 0)) => return Ok(()),
            Ok(_) | Err(LogError::PositionUndecided { .. }) if Instant::now() < until => thread::sleep(Duration::from_millis(5)),
            Ok(found) => return Err(format!("not everything is committed: {found:?}").into()),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Waits until an instance has so many tasks, or whatever there is at the end of its patience.
pub(crate) fn wait_for_tasks(streams: &Streams, count: usize, patience: Duration) {
    let until = Instant::now() + patience;
    while streams.progress().tasks.len() < count && !streams.state().is_final() && Instant::now() < until {
        thread::sleep(Duration::from_millis(2));
    }
}

/// Waits a moment for the application to take something more, so that it commits about as often as something is written, however slow the
/// machine is; gives what it has taken. A cluster takes its time, and late records must not come before the time of those before them.
fn wait_until_taken(life: &Life, streams: &Streams, before: u64) -> u64 {
    // Where the log keeps its markers back there may be nothing for it to take.
    let tries = match (&life.bootstrap, life.shared) {
        (Some(_), _) => 5_000,
        (None, false) => 2_000,
        (None, true) => 100,
    };
    let looks = (0..tries).map(|_| {
        thread::sleep(Duration::from_millis(1));
        streams.progress().records_in
    });
    looks.into_iter().find(|taken| *taken > before).unwrap_or(before)
}

/// What the log does meanwhile: markers come late where tasks move, and members are thrown out.
fn trouble(life: &Life, log: &dyn Whims, quiet: &AtomicBool) {
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
            log.expel_one(&life.names.application());
        }
        thread::sleep(EVERY);
    }
}

/// A second instance, which gets a part of the work and gives it back.
fn come_and_go(life: &Life, log: &Arc<dyn Connect>, notes: &Arc<Notebook>, first: &Streams, over: &AtomicBool) -> Outcome<()> {
    const STAY: Duration = Duration::from_millis(15);
    /// More than the most passes of a row, however slow the machine is.
    const VISITS: u32 = 25;
    let visits = if life.bootstrap.is_some() { 4 } else { VISITS };
    // How many of those who are thrown out notice it before they have another place is chance: a life that is to die of it goes on until it does.
    let until = Instant::now() + if life.expelled { PATIENCE } else { Duration::ZERO };
    for visit in 1.. {
        if over.load(Ordering::SeqCst) && visit > visits && Instant::now() > until {
            break;
        }
        let other = start(life, "b", log, notes)?;
        other.wait_for(State::Running, PATIENCE);
        if life.bootstrap.is_some() {
            wait_for_tasks(&other, 1, Duration::from_secs(20));
        }
        thread::sleep(STAY);
        other.stop(PATIENCE)?;
        if life.bootstrap.is_some() {
            // Whoever comes before the first one has heard that the last one left takes what lies there, and nothing is revoked.
            wait_for_tasks(first, life.kind.tasks(), Duration::from_secs(20));
        }
        thread::sleep(STAY);
    }
    Ok(())
}
