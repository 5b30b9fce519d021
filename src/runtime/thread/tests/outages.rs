//! A log that does not answer for a while: tasks go back and send again, and nobody is stopped.

use std::sync::atomic::{AtomicU8, Ordering};

use super::bounded::told_on_close;
use super::exactly_once::{assert_exact, copied_and_counted, expected, outlast, sorted, words};
use super::rig::Rig;
use super::*;
use crate::dsl::Consumed;
use crate::kafka::{
    Admin, Consumer, Flushed, Group, MemberToken, MemoryLog, NewTopic, Outgoing, Position, Producer, TransactionalProducer,
};
use crate::runtime::thread::outbox::Outbox;
use crate::window::Watermark;

/// What the log does not do at present.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Fault {
    None,
    /// It takes no records, and says so.
    RefusesSends,
    /// It takes records and loses them.
    LosesSends,
    /// The same, of results alone: changelogs arrive.
    LosesResults,
    /// Whatever it takes is lost, and would be lost again.
    RefusesForGood,
    /// It does not tell how many partitions a topic has.
    KnowsNoTopic,
    /// It does not initialise a producer.
    SettlesNothing,
    /// Its coordinator has aborted what was open for too long: the producer can do no more, and says so to whoever wants anything.
    TimedOut,
}

/// The fault of the hour, and how many producers of transactions were opened.
#[derive(Clone, Debug)]
struct Weather(Arc<AtomicU8>, Arc<AtomicU8>);

impl Weather {
    fn set(&self, fault: Fault) {
        self.0.store(fault as u8, Ordering::SeqCst);
    }

    fn is(&self, fault: Fault) -> bool {
        self.0.load(Ordering::SeqCst) == fault as u8
    }

    /// No answer, if that is the fault.
    fn or(&self, fault: Fault) -> Result<(), LogError> {
        if self.is(fault) { Err(said(ErrorKind::Retriable)) } else { Ok(()) }
    }
}

fn said(kind: ErrorKind) -> LogError {
    LogError::Client { kind, source: Arc::new("the test says so".into()) }
}

/// A log whose producers have the weather.
#[derive(Debug)]
struct Exposed(MemoryLog, Weather);

/// A producer of either sort.
struct Sender<P: ?Sized>(Weather, Vec<TopicPartition>, Box<P>);

impl<P: Producer + ?Sized> Producer for Sender<P> {
    fn send(&mut self, partition: &TopicPartition, records: &[Outgoing<'_>]) -> Result<(), LogError> {
        self.0.or(Fault::RefusesSends)?;
        let loses = self.0.is(Fault::LosesSends) || self.0.is(Fault::LosesResults) && &*partition.topic == "out";
        if loses || self.0.is(Fault::RefusesForGood) {
            self.1.push(partition.clone());
            return Ok(());
        }
        self.2.send(partition, records)
    }

    fn flush(&mut self, timeout: Duration) -> Flushed {
        let mut flushed = self.2.flush(timeout);
        let kind = if self.0.is(Fault::RefusesForGood) { ErrorKind::InvalidConfig } else { ErrorKind::Retriable };
        flushed.failed.extend(self.1.drain(..).map(|partition| (partition, said(kind))));
        flushed
    }

    fn partition_count(&mut self, topic: &str) -> Result<i32, LogError> {
        if self.0.is(Fault::TimedOut) {
            return Err(LogError::TransactionTimedOut("app".into()));
        }
        self.0.or(Fault::KnowsNoTopic)?;
        self.2.partition_count(topic)
    }
}

impl TransactionalProducer for Sender<dyn TransactionalProducer> {
    fn init(&mut self) -> Result<(), LogError> {
        self.0.or(Fault::SettlesNothing)?;
        self.2.init()
    }
    fn begin(&mut self) -> Result<(), LogError> {
        self.2.begin()
    }
    fn send_offsets(&mut self, group: &str, token: &MemberToken, positions: &[(TopicPartition, Position)]) -> Result<(), LogError> {
        self.2.send_offsets(group, token, positions)
    }
    fn commit(&mut self) -> Result<(), LogError> {
        self.2.commit()
    }
    fn abort(&mut self) -> Result<(), LogError> {
        self.2.abort()
    }
}

impl Connect for Exposed {
    fn consumer(&self, isolation: Isolation) -> Result<Box<dyn Consumer>, LogError> {
        self.0.consumer(isolation)
    }
    fn producer(&self) -> Result<Box<dyn Producer>, LogError> {
        Ok(Box::new(Sender(self.1.clone(), Vec::new(), self.0.producer()?)))
    }
    fn transactional_producer(&self, id: &str, timeout: Duration) -> Result<Box<dyn TransactionalProducer>, LogError> {
        self.1.1.fetch_add(1, Ordering::SeqCst);
        Ok(Box::new(Sender(self.1.clone(), Vec::new(), self.0.transactional_producer(id, timeout)?)))
    }
    fn admin(&self) -> Result<Box<dyn Admin>, LogError> {
        self.0.admin()
    }
    fn member_with(&self, options: MemberOptions) -> Result<Box<dyn Group>, LogError> {
        self.0.member_with(options)
    }
}

/// Windows of 100 ms per key, told as they close.
fn windows() -> Topology {
    let builder = StreamsBuilder::new();
    let source = Consumed::with(LEFT).watermark(Watermark::bounded(Duration::ZERO));
    told_on_close(&builder.stream(source).group_by_key());
    builder.build().unwrap()
}

/// An application in fair weather.
fn rig(exactly_once: bool) -> (Rig, Weather) {
    let weather = Weather(Arc::new(AtomicU8::new(Fault::None as u8)), Arc::default());
    let mut rig = Rig::new(copied_and_counted(), 2);
    rig.between = Some(Arc::new(Exposed(rig.log.clone(), weather.clone())));
    let mut rig = if exactly_once { rig.exactly_once() } else { rig }.start();
    rig.settle();
    (rig, weather)
}

fn distinct(rig: &Rig) -> Vec<String> {
    let mut read = sorted(rig, "out");
    read.dedup();
    read
}

/// At least once a lost record stopped its task; and one that could not be handed over was forgotten.
#[test]
fn what_an_outage_has_swallowed_is_sent_again_and_nobody_stops() {
    for fault in [Fault::RefusesSends, Fault::LosesSends, Fault::KnowsNoTopic] {
        for exactly_once in [false, true] {
            let (mut rig, weather) = rig(exactly_once);
            words(&rig, 0..4);
            if fault != Fault::KnowsNoTopic {
                rig.settle();
                rig.commit();
            }
            weather.set(fault);
            words(&rig, 4..8);
            // Longer than three tries.
            (0..8).for_each(|_| {
                _ = {
                    rig.clock.advance(Duration::from_millis(100));
                    rig.round()
                }
            });
            assert!(rig.board.outages.first().is_some(), "{fault:?}: it says that it waits");
            weather.set(Fault::None);
            words(&rig, 8..10);
            outlast(&mut rig);
            let what = format!("{fault:?}, exactly once: {exactly_once}");
            assert!(rig.board.facts().failures.is_empty(), "{what}: {:?}", rig.board.facts().failures);
            assert_eq!(rig.board.outages.first(), None, "{what}: it is over");
            assert_eq!(distinct(&rig), expected(0..10), "{what}");
            if exactly_once {
                assert_exact(&rig, 10, &what);
            } else {
                let counts: Vec<_> = (0..10).map(|n| rig.count(&format!("w{n}"))).collect();
                assert!(counts.iter().all(|count| *count >= Some(1)), "{what}: {counts:?}");
            }
        }
    }
}

/// Its row was gone from the changelog already, and with it the result.
#[test]
fn the_result_of_a_closed_window_that_was_lost_is_sent_again() {
    for (exactly_once, dies) in [(false, false), (false, true), (true, false), (true, true)] {
        let weather = Weather(Arc::new(AtomicU8::new(Fault::None as u8)), Arc::default());
        let mut rig = Rig::new(windows(), 1);
        rig.between = Some(Arc::new(Exposed(rig.log.clone(), weather.clone())));
        let mut rig = if exactly_once { rig.exactly_once() } else { rig }.start();
        rig.settle();
        rig.write("left", 0, Some("a"), "x", 10);
        rig.settle();
        rig.commit();
        weather.set(Fault::LosesResults);
        rig.write("left", 0, Some("b"), "x", 250);
        rig.clock.advance(Duration::from_millis(100));
        (0..3).for_each(|_| _ = rig.round());
        if dies {
            rig.crash();
        }
        weather.set(Fault::None);
        outlast(&mut rig);
        let told: Vec<String> = rig.read("out").into_iter().filter(|result| result.starts_with("a@")).collect();
        assert_eq!(told, ["a@0=1"], "exactly once: {exactly_once}, with a crash: {dies}");
    }
}

#[test]
fn what_is_refused_for_good_stops_with_its_reason() {
    for exactly_once in [false, true] {
        let (mut rig, weather) = rig(exactly_once);
        weather.set(Fault::RefusesForGood);
        words(&rig, 0..2);
        (0..8).for_each(|_| {
            _ = {
                rig.clock.advance(Duration::from_millis(100));
                rig.round()
            }
        });
        let facts = rig.board.facts();
        let kinds: Vec<_> = facts.failures.iter().map(|failure| failure.error.kind()).collect();
        assert!(!kinds.is_empty() && kinds.iter().all(|kind| *kind == ErrorKind::InvalidConfig), "{kinds:?}");
        assert!(facts.failures[0].error.to_string().contains("the test says so"), "{}", facts.failures[0].error);
    }
}

/// The transaction had ended on what another task sent, and the task that asked its producer for the partitions of a topic was stopped for good.
#[test]
fn who_asks_a_producer_that_has_timed_out_goes_back_with_the_others() {
    let (mut rig, weather) = rig(true);
    weather.set(Fault::TimedOut);
    words(&rig, 0..4);
    for _ in 0..2 {
        rig.clock.advance(Duration::from_millis(10));
        rig.round();
    }
    weather.set(Fault::None);
    outlast(&mut rig);
    assert!(rig.board.facts().failures.is_empty(), "{:?}", rig.board.facts().failures);
    assert_exact(&rig, 4, "timed out");
}

/// A commit in which nothing was, while the tasks were on their way back, made the engine forget that it had failed: it tried for ever.
#[test]
fn what_is_refused_for_good_stops_whatever_is_committed_in_between() {
    let (mut rig, weather) = rig(true);
    weather.set(Fault::RefusesForGood);
    words(&rig, 0..2);
    for _ in 0..40 {
        rig.clock.advance(Duration::from_millis(100));
        rig.round();
        if rig.threads[0].circles.get(None).is_some_and(|circle| circle.outbox.senders().is_empty()) {
            let now = rig.clock.now();
            rig.threads[0].commit(crate::runtime::plan::Due::Interval, now).unwrap();
        }
    }
    assert_eq!(rig.board.facts().failures.len(), 2, "{:?}", rig.board.facts().failures);
}

/// A producer that got no answer was thrown away, and the next one fenced what it had asked for.
#[test]
fn a_producer_that_is_not_settled_is_asked_again() {
    let (mut rig, weather) = rig(true);
    words(&rig, 0..2);
    rig.settle();
    rig.log.lose_next_commit("app-life-1-1", crate::kafka::LostCommit::Answer);
    weather.set(Fault::SettlesNothing);
    (0..8).for_each(|_| {
        _ = {
            rig.clock.advance(Duration::from_millis(100));
            rig.round()
        }
    });
    assert!(rig.board.outages.first().is_some());
    weather.set(Fault::None);
    words(&rig, 2..4);
    outlast(&mut rig);
    assert_exact(&rig, 4, "settled late");
    assert_eq!(weather.1.load(Ordering::SeqCst), 2, "the one before the lost answer, and the one that settles it");
    assert!(rig.board.facts().failures.is_empty() && rig.board.outages.first().is_none());
}

/// Whoever waited for another instance to come to its end said that the cluster was away, each time that the other had a transaction open.
#[test]
fn an_open_transaction_of_another_instance_is_no_outage() {
    let mut rig = Rig::new(copying(), 1);
    rig.write("left", 0, Some("k"), "a", 1);
    let left = TopicPartition::new("left", 0);
    let mut other = rig.log.member("app", "other", Isolation::ReadCommitted).unwrap();
    other.join(&[TaskInputs { task: TaskId { subtopology: 0, partition: 0 }, partitions: vec![left.clone()] }]).unwrap();
    other.poll(Duration::ZERO).unwrap();
    let mut producer = rig.log.transactional_producer("other", Duration::from_secs(60)).unwrap();
    producer.init().unwrap();
    producer.begin().unwrap();
    producer.send_offsets("app", &other.token(), &[(left.clone(), Position { offset: 1, metadata: String::new() })]).unwrap();
    rig.join();
    rig.board.declare_end([(left, 1)].into_iter().collect());
    let look = |rig: &mut Rig, other: &mut dyn Group| {
        rig.pass(600);
        other.poll(Duration::ZERO).unwrap();
        (rig.board.outages.first(), rig.board.elsewhere().len())
    };
    assert_eq!([look(&mut rig, &mut *other), look(&mut rig, &mut *other)], [(None, 1), (None, 1)], "nobody can tell yet");
    producer.commit().unwrap();
    assert_eq!(look(&mut rig, &mut *other), (None, 0));
}

/// Their next owners wait until it is decided, and nothing else of this thread's will do that.
#[test]
fn a_transaction_that_was_given_up_is_owed_until_a_producer_is_initialised() {
    let log = MemoryLog::new(Arc::new(crate::clock::SystemClock));
    log.admin().unwrap().create_topics(&[NewTopic::new("t", 1)]).unwrap();
    let outbox = Outbox::transactional(Arc::new(log), "id".into(), Duration::from_secs(10));
    outbox.abort();
    assert!(!outbox.owes(), "nothing was open");
    outbox.ready().unwrap();
    outbox.abort();
    assert!(!outbox.owes(), "the producer is as good as new");
    outbox.discard();
    outbox.abort();
    assert!(outbox.owes());
    outbox.ready().unwrap();
    assert!(!outbox.owes());
}
