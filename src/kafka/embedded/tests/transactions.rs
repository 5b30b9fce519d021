//! Transactions of the log in memory where time, markers and answers are in the test's hand.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use super::{assigned, member, tasks};
use crate::clock::ManualClock;
use crate::kafka::{
    Connect, FetchLimit, Group, Isolation, LogError, LostCommit, MarkerPlace, MemoryLog, NewTopic, Outgoing, Position,
    TransactionalProducer,
};
use crate::record::{Headers, Timestamp, TopicPartition};

const TIMEOUT: Duration = Duration::from_secs(10);

struct Rig {
    log: MemoryLog,
    clock: ManualClock,
    partitions: Vec<TopicPartition>,
}

impl Rig {
    fn new(partitions: i32) -> Self {
        let clock = ManualClock::at(Timestamp::from_millis(1_000));
        let log = MemoryLog::new(Arc::new(clock.clone()));
        log.admin().expect("admin").create_topics(&[NewTopic::new("t", partitions)]).expect("a new topic");
        Rig { log, clock, partitions: (0..partitions).map(|n| TopicPartition::new("t", n)).collect() }
    }

    fn producer(&self, id: &str) -> Box<dyn TransactionalProducer> {
        let mut producer = self.log.transactional_producer(id, TIMEOUT).expect("a producer");
        producer.init().expect("initialised");
        producer
    }

    fn member(&self, name: &str) -> Box<dyn Group> {
        let mut member = member(&self.log, name, &tasks(&self.partitions));
        assigned(&mut *member);
        member
    }

    fn ends(&self, partition: usize) -> (i64, i64) {
        let mut asker = self.log.consumer(Isolation::ReadCommitted).expect("a consumer");
        let mut end = |isolation| asker.end_offsets(&self.partitions[partition..=partition], isolation).expect("asked")[0];
        (end(Isolation::ReadCommitted), end(Isolation::ReadUncommitted))
    }

    /// What a reader sees of a partition, and where it comes to rest.
    fn read(&self, partition: usize, isolation: Isolation) -> (Vec<String>, i64) {
        let partition = &self.partitions[partition];
        let mut reader = self.log.consumer(isolation).expect("a consumer");
        reader.assign(&[(partition.clone(), 0)]).expect("there");
        let mut read = Vec::new();
        while reader.poll(Duration::ZERO).expect("polled") {
            let visit = &mut |record: crate::record::RawRecord<'_>| {
                read.push(String::from_utf8_lossy(record.value.unwrap_or_default()).into_owned());
            };
            reader.fetch(partition, FetchLimit { records: 2, bytes: 1000 }, visit).expect("fetched");
        }
        (read, reader.position(partition).expect("assigned"))
    }

    fn committed(&self, partition: usize) -> Vec<String> {
        self.read(partition, Isolation::ReadCommitted).0
    }
}

fn put(producer: &mut dyn TransactionalProducer, partition: &TopicPartition, value: &str) -> Result<(), LogError> {
    let headers = Headers::default();
    let timestamp = Timestamp::from_millis(1);
    producer.send(partition, &[Outgoing { key: None, value: Some(value.as_bytes()), timestamp, headers: &headers }])
}

fn at(offset: i64) -> Position {
    Position { offset, metadata: String::new() }
}

/// A transaction with a record in each of two partitions, and with a position in a group; committed while markers are held.
fn decided(rig: &Rig, owner: &dyn Group) -> Box<dyn TransactionalProducer> {
    rig.log.hold_markers(true);
    let mut writer = rig.producer("x");
    writer.begin().expect("begun");
    put(&mut *writer, &rig.partitions[0], "a").expect("taken");
    put(&mut *writer, &rig.partitions[1], "b").expect("taken");
    writer.send_offsets("g", &owner.token(), &[(rig.partitions[0].clone(), at(5))]).expect("sent");
    writer.commit().expect("committed");
    writer
}

#[test]
fn a_commit_reaches_partitions_and_groups_marker_by_marker() {
    let rig = Rig::new(2);
    let mut owner = rig.member("m");
    let _writer = decided(&rig, &*owner);
    let places: Vec<_> = rig.log.pending_markers().into_iter().map(|marker| marker.place).collect();
    let [first, second] = [0, 1].map(|n| MarkerPlace::Records(rig.partitions[n].clone()));
    assert_eq!(places, [MarkerPlace::Offsets("g".to_owned()), first, second]);
    let asked = std::slice::from_ref(&rig.partitions[0]);
    assert!(matches!(owner.committed(asked), Err(LogError::PositionUndecided { .. })));
    assert_eq!((rig.ends(0), rig.ends(1)), ((0, 1), (0, 1)), "the high watermark has them, the last stable offset has not");
    assert!(rig.log.write_next_marker());
    assert_eq!(owner.committed(asked).expect("decided"), [Some(at(5))], "the position shows a transaction that nobody can read yet");
    assert!(rig.committed(0).is_empty());
    assert!(!rig.log.write_marker(2) && rig.log.write_marker(1), "in any order");
    assert_eq!((rig.committed(0).len(), rig.committed(1)), (0, vec!["b".to_owned()]));
    assert!(rig.log.write_next_marker() && !rig.log.write_next_marker());
    assert_eq!((rig.ends(0), rig.committed(0)), ((2, 2), vec!["a".to_owned()]));
}

#[test]
fn held_markers_come_before_the_next_transaction_of_their_id() {
    for init in [false, true] {
        let rig = Rig::new(2);
        let owner = rig.member("m");
        let mut writer = decided(&rig, &*owner);
        if init {
            writer = rig.producer("x");
        }
        writer.begin().expect("begun");
        assert_eq!(rig.log.pending_markers().len(), if init { 0 } else { 3 }, "to begin is not to write");
        put(&mut *writer, &rig.partitions[0], "c").expect("taken");
        assert_eq!((rig.log.pending_markers().len(), rig.committed(0), rig.committed(1).len()), (0, vec!["a".to_owned()], 1));
    }
}

#[test]
fn letting_markers_go_writes_those_that_wait() {
    let rig = Rig::new(2);
    let owner = rig.member("m");
    let _writer = decided(&rig, &*owner);
    rig.log.hold_markers(false);
    assert_eq!((rig.log.pending_markers().len(), rig.committed(0).len()), (0, 1));
}

#[test]
fn a_prepared_transaction_never_times_out() {
    let rig = Rig::new(2);
    let owner = rig.member("m");
    let _writer = decided(&rig, &*owner);
    rig.clock.advance(10 * TIMEOUT);
    assert_eq!((rig.ends(0), rig.log.pending_markers().iter().filter(|marker| marker.committed).count()), ((0, 1), 3));
    rig.log.hold_markers(false);
    assert_eq!(rig.committed(0), ["a"]);
}

#[test]
fn a_commit_without_an_answer_is_settled_by_the_next_init() {
    for (lost, counts) in [(LostCommit::Request, false), (LostCommit::Answer, true)] {
        for held in [false, true] {
            let rig = Rig::new(1);
            let mut owner = rig.member("m");
            rig.log.hold_markers(held);
            let mut writer = rig.producer("x");
            writer.begin().expect("begun");
            put(&mut *writer, &rig.partitions[0], "a").expect("taken");
            writer.send_offsets("g", &owner.token(), &[(rig.partitions[0].clone(), at(1))]).expect("sent");
            rig.log.lose_next_commit("x", lost);
            let unknown = writer.commit();
            assert!(matches!(&unknown, Err(error @ LogError::CommitUnknown(_)) if error.ends_producer()), "{unknown:?}");
            assert!(matches!(writer.abort(), Err(LogError::CommitUnknown(_))), "it must not guess");
            assert!(matches!(writer.begin(), Err(LogError::CommitUnknown(_))));
            let mut next = rig.producer("x");
            let position = owner.committed(&rig.partitions).expect("settled").remove(0);
            assert_eq!((rig.committed(0).len(), position), (usize::from(counts), counts.then(|| at(1))), "{lost:?}, held: {held}");
            next.begin().expect("begun");
            put(&mut *next, &rig.partitions[0], "b").expect("taken");
            next.commit().expect("the loss was for one commit");
        }
    }
}

#[test]
fn the_clock_alone_ends_a_transaction() {
    let rig = Rig::new(1);
    let mut owner = rig.member("m");
    let mut writer = rig.producer("x");
    writer.begin().expect("begun");
    rig.clock.advance(2 * TIMEOUT);
    put(&mut *writer, &rig.partitions[0], "a").expect("the time runs from the first send on");
    writer.send_offsets("g", &owner.token(), &[(rig.partitions[0].clone(), at(1))]).expect("sent");
    rig.clock.advance(TIMEOUT - Duration::from_millis(1));
    assert_eq!(rig.ends(0), (0, 1));
    rig.clock.advance(Duration::from_millis(1));
    owner.poll(Duration::ZERO).expect("polled");
    assert_eq!((rig.ends(0), rig.committed(0).len()), ((2, 2), 0));
    assert_eq!(owner.committed(&rig.partitions).expect("decided"), [None]);
    for _ in 0..2 {
        assert!(matches!(put(&mut *writer, &rig.partitions[0], "b"), Err(LogError::TransactionTimedOut(_))));
        assert!(matches!(writer.commit(), Err(LogError::TransactionTimedOut(_))));
    }
    let mut next = rig.producer("x");
    next.begin().expect("begun");
    put(&mut *next, &rig.partitions[0], "c").expect("taken");
    next.commit().expect("committed");
    assert_eq!(rig.committed(0), ["c"]);
}

#[test]
fn a_topic_made_again_within_a_transaction_is_decided_too() {
    let rig = Rig::new(1);
    let mut writer = rig.producer("x");
    writer.begin().expect("begun");
    put(&mut *writer, &rig.partitions[0], "gone").expect("taken");
    let admin = rig.log.admin().expect("admin");
    admin.delete_topics(&["t"]).expect("deleted");
    assert!(matches!(put(&mut *writer, &rig.partitions[0], "nowhere"), Err(LogError::UnknownTopic(_))));
    admin.create_topics(&[NewTopic::new("t", 1)]).expect("a new topic");
    put(&mut *writer, &rig.partitions[0], "a").expect("taken");
    writer.commit().expect("committed");
    assert_eq!((rig.ends(0), rig.committed(0)), ((2, 2), vec!["a".to_owned()]));
}

#[test]
fn a_time_out_wakes_who_waits_for_it() {
    let log = MemoryLog::new(Arc::new(crate::clock::SystemClock));
    log.admin().expect("admin").create_topics(&[NewTopic::new("t", 1)]).expect("a new topic");
    let partition = TopicPartition::new("t", 0);
    // On a slow machine the first one's time may be over before it has written.
    let _writer = [50, 500, 5_000].into_iter().find_map(|millis| {
        let mut writer = log.transactional_producer("x", Duration::from_millis(millis)).expect("a producer");
        writer.init().expect("initialised");
        writer.begin().expect("begun");
        put(&mut *writer, &partition, "a").ok().map(|()| writer)
    });
    let mut reader = log.consumer(Isolation::ReadCommitted).expect("a consumer");
    reader.assign(&[(partition, 0)]).expect("there");
    assert!(reader.poll(Duration::from_secs(60)).expect("polled"), "the abort marker is news, and nobody else rings");
}

#[test]
fn who_is_cut_off_leaves_everything_open() {
    let rig = Rig::new(1);
    let process = rig.log.line();
    let mut owner = member(&process, "killed", &tasks(&rig.partitions));
    assigned(&mut *owner);
    let mut writer = process.transactional_producer("x", TIMEOUT).expect("a producer");
    writer.init().expect("initialised");
    writer.begin().expect("begun");
    put(&mut *writer, &rig.partitions[0], "a").expect("taken");
    process.cut_off();
    assert!(matches!(writer.commit(), Err(LogError::CutOff)));
    assert!(matches!(owner.poll(Duration::ZERO), Err(LogError::CutOff)));
    drop((owner, writer));
    let mut other = member(&rig.log, "other", &tasks(&rig.partitions));
    assert_eq!((other.next_event(), rig.ends(0)), (None, (0, 1)), "the dead member has its tasks still, and its transaction is open");
    for _ in 0..45 {
        rig.clock.advance(Duration::from_secs(1));
        other.poll(Duration::ZERO).expect("polled");
    }
    assert_eq!((assigned(&mut *other), rig.ends(0)), (vec![0], (2, 2)));
}

/// What producers of three ids may do, each in a partition of two.
#[derive(Clone, Copy, Debug)]
enum Act {
    Send(usize, usize),
    Plain(usize),
    End(usize, bool),
    Init(usize),
    Marker(usize),
    Wait(u64),
}

fn acts() -> impl Strategy<Value = (bool, Vec<Act>)> {
    let (id, partition) = (0..3_usize, 0..2_usize);
    let act = prop_oneof![
        6 => (id.clone(), partition.clone()).prop_map(|(id, partition)| Act::Send(id, partition)),
        1 => partition.prop_map(Act::Plain),
        4 => (id.clone(), any::<bool>()).prop_map(|(id, commit)| Act::End(id, commit)),
        1 => id.prop_map(Act::Init),
        3 => (0..4_usize).prop_map(Act::Marker),
        1 => (0..12_u64).prop_map(Act::Wait),
    ];
    (any::<bool>(), prop::collection::vec(act, 0..60))
}

/// The log beside a list of everything sent, each with the number of its transaction.
struct World {
    rig: Rig,
    producers: Vec<Box<dyn TransactionalProducer>>,
    /// Of each id, the transaction it is in.
    current: [Option<u32>; 3],
    transactions: u32,
    sent: [Vec<(Option<u32>, String)>; 2],
    /// How each transaction came out.
    outcomes: BTreeMap<u32, bool>,
}

impl World {
    fn new(held: bool) -> Self {
        let rig = Rig::new(2);
        rig.log.hold_markers(held);
        let producers = ["0", "1", "2"].map(|id| rig.producer(id)).into();
        let (current, sent) = ([None; 3], [Vec::new(), Vec::new()]);
        World { rig, producers, current, transactions: 0, sent, outcomes: BTreeMap::new() }
    }

    fn act(&mut self, act: Act) {
        match act {
            Act::Send(id, partition) => self.send(id, partition),
            Act::Plain(partition) => {
                let value = self.value(partition);
                let (headers, timestamp) = (Headers::default(), Timestamp::from_millis(1));
                let record = Outgoing { key: None, value: Some(value.as_bytes()), timestamp, headers: &headers };
                self.rig.log.producer().expect("a producer").send(&self.rig.partitions[partition], &[record]).expect("taken");
                self.sent[partition].push((None, value));
            }
            Act::End(id, commit) => {
                let Some(transaction) = self.current[id].take() else { return };
                let ended = if commit { self.producers[id].commit() } else { self.producers[id].abort() };
                self.outcomes.insert(transaction, commit && ended.is_ok());
                if ended.is_err() {
                    self.init(id);
                }
            }
            Act::Init(id) => self.init(id),
            Act::Marker(nth) => drop(Some(self.rig.log.write_marker(nth))),
            Act::Wait(seconds) => self.rig.clock.advance(Duration::from_secs(seconds)),
        }
    }

    fn value(&self, partition: usize) -> String {
        format!("{partition}/{}", self.sent[partition].len())
    }

    fn send(&mut self, id: usize, partition: usize) {
        if self.current[id].is_none() {
            self.producers[id].begin().expect("ready");
            self.transactions += 1;
            self.current[id] = Some(self.transactions);
        }
        let value = self.value(partition);
        match put(&mut *self.producers[id], &self.rig.partitions[partition], &value) {
            Ok(()) => self.sent[partition].push((self.current[id], value)),
            Err(error) => {
                assert!(error.ends_producer(), "{error}");
                self.init(id);
            }
        }
    }

    fn init(&mut self, id: usize) {
        self.producers[id] = self.rig.producer(&id.to_string());
        let undecided = self.current[id].take();
        self.outcomes.extend(undecided.map(|transaction| (transaction, false)));
    }

    /// What is visible is a beginning of what counts, in order, and nothing else; unread is only what some undecided one may hold back.
    fn check(&self) {
        for partition in 0..2 {
            let counts = |(transaction, _): &&(Option<u32>, String)| transaction.is_none_or(|t| self.outcomes.get(&t) == Some(&true));
            let expected: Vec<_> = self.sent[partition].iter().filter(counts).map(|(_, value)| value.clone()).collect();
            let (visible, position) = self.rig.read(partition, Isolation::ReadCommitted);
            let (stable, high) = self.rig.ends(partition);
            assert!(expected.starts_with(&visible), "{visible:?} of {expected:?}");
            assert_eq!(position, stable);
            assert!(stable < high || visible.len() == expected.len());
            let everything: Vec<_> = self.sent[partition].iter().map(|(_, value)| value.clone()).collect();
            assert_eq!(self.rig.read(partition, Isolation::ReadUncommitted), (everything, high));
        }
    }
}

proptest! {
    #[test]
    fn readers_of_committed_records_see_what_counts_and_nothing_else((held, acts) in acts()) {
        let mut world = World::new(held);
        for act in acts {
            world.act(act);
            world.check();
        }
        (0..3).for_each(|id| world.init(id));
        world.rig.log.hold_markers(false);
        world.check();
        for partition in 0..2 {
            let (stable, high) = world.rig.ends(partition);
            prop_assert_eq!(stable, high, "nothing is undecided in the end");
        }
    }
}
