//! The restorer beside a log in memory, with stores that only write down what reaches them.

use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use super::*;
use crate::clock::{Clock, ManualClock, SystemClock};
use crate::config::{LostChangelog, MissingPosition};
use crate::error::{ErrorKind, StoreError};
use crate::kafka::{Connect, Isolation, MemberToken, MemoryLog, NewTopic, Outgoing, Position, TransactionalProducer};
use crate::record::{Headers, TaskId, Timestamp, TopicPartition};
use crate::runtime::assignment::Layout;
use crate::runtime::board::{Board, RestoreProgress};
use crate::state::{ChangelogRecord, ChangelogSink, StoreControl};
use crate::topology::OffsetReset;
use crate::watermark::{CommitMetadata, entry};

const TASK: TaskId = TaskId { subtopology: 0, partition: 0 };

/// A store that keeps the values it is given.
#[derive(Default)]
struct Notebook {
    values: Mutex<Vec<String>>,
    offset: Mutex<Option<i64>>,
    panics: AtomicBool,
}

impl Notebook {
    fn values(&self) -> Vec<String> {
        self.values.lock().unwrap().clone()
    }
}

impl StoreControl for Notebook {
    fn drain_changelog(&self, _sink: &mut dyn ChangelogSink) -> Result<(), StoreError> {
        unreachable!("it is only restored")
    }
    fn uncommitted_bytes(&self) -> usize {
        0
    }
    fn apply(&self, _offset: Option<i64>) -> Result<(), StoreError> {
        unreachable!("it is only restored")
    }
    fn abort(&self) {}
    fn offset(&self) -> Option<i64> {
        *self.offset.lock().unwrap()
    }
    fn restore(&self, records: &[ChangelogRecord<'_>], next_offset: i64) -> Result<(), StoreError> {
        assert!(!self.panics.load(Ordering::SeqCst), "the test asked for it");
        let text = |record: &ChangelogRecord<'_>| String::from_utf8_lossy(record.value.unwrap_or_default()).into_owned();
        self.values.lock().unwrap().extend(records.iter().map(text));
        *self.offset.lock().unwrap() = Some(next_offset);
        Ok(())
    }
    fn loaded(&self) -> Result<(), StoreError> {
        Ok(())
    }
    fn wipe(&self) -> Result<(), StoreError> {
        self.values.lock().unwrap().clear();
        *self.offset.lock().unwrap() = None;
        Ok(())
    }
    fn approximate_rows(&self) -> usize {
        self.values.lock().unwrap().len()
    }
    fn take_expired_writes(&self) -> u64 {
        0
    }
}

struct Rig {
    log: MemoryLog,
    clock: ManualClock,
    told: Arc<Mutex<Vec<RestoreProgress>>>,
    board: Arc<Board>,
    desk: RestoreDesk,
}

impl Rig {
    fn new() -> Self {
        let clock = ManualClock::at(Timestamp::from_millis(1_000));
        let log = MemoryLog::new(Arc::new(clock.clone()));
        log.admin().unwrap().create_topics(&[NewTopic::new("a", 1), NewTopic::new("b", 1), NewTopic::new("in", 3)]).unwrap();
        let told: Arc<Mutex<Vec<RestoreProgress>>> = Arc::default();
        let heard = told.clone();
        let listener = move |progress: &RestoreProgress| heard.lock().unwrap().push(progress.clone());
        let board = Board::new(
            Arc::new(Layout { tasks: Vec::new(), counts: BTreeMap::new(), parts: BTreeMap::new() }),
            1,
            Vec::new(),
            vec![Box::new(listener)],
        );
        let desk = RestoreDesk::new(&(Arc::new(log.clone()) as Arc<dyn Connect>), "g", "g-restore".to_owned(), board.clone()).unwrap();
        Rig { log, clock, told, board, desk }
    }

    fn write(&self, topic: &str, values: std::ops::Range<usize>) {
        let headers = Headers::default();
        let mut producer = self.log.producer().unwrap();
        for n in values {
            let value = n.to_string();
            producer.send(&TopicPartition::new(topic, 0), &[outgoing(&value, &headers)]).unwrap();
        }
    }

    fn transaction(&self, topic: &str, value: &str) -> Box<dyn TransactionalProducer> {
        let mut producer = self.log.transactional_producer("x", Duration::from_secs(600)).unwrap();
        producer.init().unwrap();
        producer.begin().unwrap();
        producer.send(&TopicPartition::new(topic, 0), &[outgoing(value, &Headers::default())]).unwrap();
        producer
    }

    /// A piece of everything, a second later.
    fn step(&mut self) -> bool {
        self.clock.advance(Duration::from_secs(1));
        self.desk.step(self.clock.now())
    }
}

fn outgoing<'a>(value: &'a str, headers: &'a Headers) -> Outgoing<'a> {
    Outgoing { key: Some(b"k"), value: Some(value.as_bytes()), timestamp: Timestamp::from_millis(1), headers }
}

fn order(store: &Arc<Notebook>, topic: &str) -> StoreOrder {
    let (changelog, standing) = (TopicPartition::new(topic, 0), Standing::default());
    StoreOrder { name: topic.into(), control: store.clone(), changelog, standing, on_lost: LostChangelog::Rebuild, forget: false }
}

fn wanted(partition: TopicPartition, reset: OffsetReset) -> Wanted {
    Wanted { partition, reset, id: None, otherwise: MissingPosition::Fail, begins_anew: false }
}

fn numbers(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|n| n.to_string()).collect()
}

#[test]
fn several_stores_are_read_back_side_by_side() {
    let mut rig = Rig::new();
    rig.write("a", 0..25_000);
    rig.write("b", 0..15_000);
    let stores = [Arc::new(Notebook::default()), Arc::new(Notebook::default())];
    let ticket = rig.desk.restore(TASK, vec![order(&stores[0], "a"), order(&stores[1], "b")]);
    assert!(rig.step() && rig.step(), "looked up, and a piece read");
    let lengths = stores.each_ref().map(|store| store.values().len());
    assert!(lengths.iter().all(|length| (1..15_000).contains(length)), "both have begun: {lengths:?}");
    assert!(ticket.outcome().is_none());
    assert_eq!(rig.board.facts().restoring.len(), 2);
    while rig.step() {}
    assert_eq!(ticket.outcome().unwrap().unwrap(), Restored { records: 40_000, ..Restored::default() });
    assert!(ticket.outcome().is_none(), "told once");
    assert_eq!(stores.each_ref().map(|store| store.values()), [numbers(0..25_000), numbers(0..15_000)]);
    assert!(rig.board.facts().restoring.is_empty());
    let told = rig.told.lock().unwrap();
    let first = told.iter().find(|progress| &*progress.store == "a").unwrap();
    assert_eq!((first.task, first.begin, first.end, first.elapsed), (TASK, 0, 25_000, Duration::from_secs(1)));
    assert_eq!(first.records_per_second(), Some(first.records));
    assert_eq!(first.left(), Some(first.elapsed.mul_f64((25_000 - first.position) as f64 / first.position as f64)));
    assert!(told.iter().any(RestoreProgress::is_complete));
}

#[test]
fn a_limit_of_bytes_a_second_holds_for_all_stores_together_and_loses_nothing() {
    let mut rig = Rig::new();
    rig.write("a", 0..25_000);
    rig.write("b", 0..25_000);
    let bytes: usize = numbers(0..25_000).iter().map(|value| "k".len() + value.len()).sum();
    rig.board.restore_rate.limit(u64::try_from(2 * bytes / 20).ok().and_then(NonZeroU64::new));
    let stores = [Arc::new(Notebook::default()), Arc::new(Notebook::default())];
    let ticket = rig.desk.restore(TASK, vec![order(&stores[0], "a"), order(&stores[1], "b")]);
    let begun = rig.clock.now().as_millis();
    let outcome = loop {
        rig.clock.advance(Duration::from_millis(50));
        rig.desk.step(rig.clock.now());
        if let Some(outcome) = ticket.outcome() {
            break outcome;
        }
    };
    assert_eq!(outcome.unwrap().records, 50_000);
    assert_eq!(stores.each_ref().map(|store| store.values()), [numbers(0..25_000), numbers(0..25_000)]);
    let took = rig.clock.now().as_millis() - begun;
    assert!((18_000..=21_000).contains(&took), "twenty seconds, but for the last piece: {took} ms");
}

#[test]
fn a_store_goes_on_from_the_offset_it_stands_for() {
    let mut rig = Rig::new();
    rig.write("a", 0..10);
    let (half, full) = (Arc::new(Notebook::default()), Arc::new(Notebook::default()));
    *half.offset.lock().unwrap() = Some(7);
    *full.offset.lock().unwrap() = Some(10);
    let ticket = rig.desk.restore(TASK, vec![order(&half, "a"), order(&full, "a")]);
    while rig.step() {}
    assert!(ticket.outcome().unwrap().is_ok());
    assert_eq!((half.values(), full.values().len()), (numbers(7..10), 0));
}

#[test]
fn rows_that_do_not_fit_the_changelog_are_read_from_its_beginning() {
    let mut rig = Rig::new();
    rig.write("a", 0..25_000);
    rig.write("b", 0..10);
    let (beyond, behind) = (Arc::new(Notebook::default()), Arc::new(Notebook::default()));
    *beyond.offset.lock().unwrap() = Some(11);
    let ticket = rig.desk.restore(TASK, vec![order(&beyond, "b"), order(&behind, "a")]);
    rig.step();
    rig.step();
    let reached = behind.offset().unwrap();
    rig.log.admin().unwrap().delete_records(&[(TopicPartition::new("a", 0), reached + 5)]).unwrap();
    while rig.step() {}
    let rebuilt = ticket.outcome().unwrap().unwrap().rebuilt;
    assert_eq!(rebuilt.iter().map(|(store, _)| &**store).collect::<Vec<_>>(), ["b", "a"], "{rebuilt:?}");
    assert_eq!(behind.values(), numbers(reached as usize + 5..25_000), "what was there before is gone too");
    assert_eq!(beyond.values(), numbers(0..10));
}

#[test]
fn it_reads_to_the_high_watermark_and_waits_for_what_is_undecided() {
    let mut rig = Rig::new();
    rig.write("a", 0..2);
    rig.log.hold_markers(true);
    rig.transaction("a", "2").commit().unwrap();
    let store = Arc::new(Notebook::default());
    let ticket = rig.desk.restore(TASK, vec![order(&store, "a")]);
    while rig.step() {}
    assert_eq!((store.values(), ticket.outcome().is_none()), (numbers(0..2), true), "the rest may be committed: it is not complete");
    assert_eq!(rig.board.outages.first(), None, "a moment is nothing to tell");
    for _ in 0..30 {
        rig.step();
    }
    assert!(
        rig.board.outages.first().is_some_and(|why| why.contains("`a-0` ends at 3, and what it has from 2 on belongs to a transaction"))
    );
    rig.log.hold_markers(false);
    while rig.step() {}
    assert!(ticket.outcome().unwrap().is_ok());
    assert_eq!((store.values(), rig.board.outages.first()), (numbers(0..3), None));
}

#[test]
fn what_is_taken_back_is_left_alone_and_keeps_what_it_has() {
    let mut rig = Rig::new();
    rig.write("a", 0..25_000);
    let store = Arc::new(Notebook::default());
    let ticket = rig.desk.restore(TASK, vec![order(&store, "a")]);
    rig.step();
    rig.step();
    drop(ticket);
    let there = store.values().len();
    while rig.step() {}
    assert_eq!((store.values().len(), store.offset()), (there, Some(there as i64)), "as far as it says");
    let again = rig.desk.restore(TASK, vec![order(&store, "a")]);
    while rig.step() {}
    assert!(again.outcome().unwrap().is_ok());
    assert_eq!(store.values(), numbers(0..25_000), "each record once");
}

#[test]
fn a_task_that_fails_leaves_the_others_to_be_restored() {
    let mut rig = Rig::new();
    rig.write("a", 0..10);
    let (panics, works) = (Arc::new(Notebook::default()), Arc::new(Notebook::default()));
    panics.panics.store(true, Ordering::SeqCst);
    let bad = rig.desk.restore(TASK, vec![order(&panics, "a")]);
    let missing = rig.desk.restore(TASK, vec![order(&works, "nowhere")]);
    let good = rig.desk.restore(TASK, vec![order(&works, "b")]);
    while rig.step() {}
    assert_eq!(bad.outcome().unwrap().unwrap_err().kind(), ErrorKind::Internal);
    assert_eq!(missing.outcome().unwrap().unwrap_err().kind(), ErrorKind::Log);
    assert!(good.outcome().unwrap().is_ok());
}

#[test]
fn positions_are_those_committed_or_where_the_source_says() {
    let mut rig = Rig::new();
    let inputs: Vec<_> = (0..3).map(|n| TopicPartition::new("in", n)).collect();
    let position = Position { offset: 5, metadata: "clock".to_owned() };
    let mut tool = rig.log.member("g", "tool", Isolation::ReadCommitted).unwrap();
    tool.commit(&MemberToken::nobody(), &[(inputs[0].clone(), position.clone())]).unwrap();
    let mut producer = rig.log.producer().unwrap();
    for input in &inputs {
        producer.send(input, &[outgoing("x", &Headers::default()); 4]).unwrap();
    }
    let resets = [OffsetReset::None, OffsetReset::Earliest, OffsetReset::Latest];
    let ticket = rig.desk.look_up(inputs.iter().cloned().zip(resets).map(|(partition, reset)| wanted(partition, reset)).collect());
    assert!(ticket.outcome().is_none());
    assert!(rig.step());
    let starts = ticket.outcome().unwrap().unwrap();
    assert_eq!(starts.iter().map(|start| start.offset).collect::<Vec<_>>(), [5, 0, 4]);
    assert_eq!(starts[0].committed, Some(position));
    let nowhere = rig.desk.look_up(vec![wanted(inputs[1].clone(), OffsetReset::None)]);
    rig.step();
    assert_eq!(nowhere.outcome().unwrap().unwrap_err().kind(), ErrorKind::InvalidConfig);
}

#[test]
fn an_undecided_position_holds_up_nobody_else() {
    let mut rig = Rig::new();
    rig.write("a", 0..10);
    let input = TopicPartition::new("in", 0);
    let mut producer = rig.transaction("in", "x");
    let position = Position { offset: 1, metadata: String::new() };
    producer.send_offsets("g", &MemberToken::nobody(), &[(input.clone(), position.clone())]).unwrap();
    let waits = rig.desk.look_up(vec![wanted(input, OffsetReset::Earliest)]);
    let store = Arc::new(Notebook::default());
    let goes = rig.desk.restore(TASK, vec![order(&store, "a")]);
    while rig.step() {}
    assert!(goes.outcome().unwrap().is_ok() && waits.outcome().is_none());
    producer.commit().unwrap();
    rig.step();
    assert_eq!(waits.outcome().unwrap().unwrap()[0].committed, Some(position));
}

#[test]
fn on_a_thread_of_its_own_it_works_until_the_desk_is_closed() {
    let mut rig = Rig::new();
    rig.write("a", 0..25_000);
    let restorer = rig.desk.take_restorer().unwrap();
    assert!(rig.desk.is_elsewhere() && rig.desk.take_restorer().is_none());
    let running = thread::spawn(move || restorer.run(&SystemClock));
    let store = Arc::new(Notebook::default());
    let ticket = rig.desk.restore(TASK, vec![order(&store, "a")]);
    let found = (0..6_000).find_map(|_| {
        thread::sleep(Duration::from_millis(10));
        ticket.outcome()
    });
    assert!(found.unwrap().is_ok());
    assert_eq!(store.values(), numbers(0..25_000));
    drop(rig);
    running.join().unwrap();
}

/// Restores a store that stands at `offset` from a changelog with the offsets 2 to 9: what came of it, and the values it has.
fn cut_off(offset: Option<i64>, standing: Standing, on_lost: LostChangelog) -> (Result<usize, String>, usize) {
    let mut rig = Rig::new();
    rig.write("a", 0..10);
    rig.log.admin().unwrap().delete_records(&[(TopicPartition::new("a", 0), 2)]).unwrap();
    let store = Arc::new(Notebook::default());
    *store.offset.lock().unwrap() = offset;
    let ticket = rig.desk.restore(TASK, vec![StoreOrder { standing, on_lost, ..order(&store, "a") }]);
    while rig.step() {}
    let outcome = ticket.outcome().unwrap().map(|restored| restored.rebuilt.len()).map_err(|error| error.to_string());
    (outcome, store.values().len())
}

#[test]
fn a_changelog_that_does_not_hold_the_state_stops_its_task_unless_it_may_go_on_without() {
    let known = Standing { committed: true, ..Standing::default() };
    let (whole, remade) = (Standing { whole: true, ..known }, Standing { remade: true, ..known });
    let cases = [
        (None, whole, "was cut off at 2, and there is no local state"),
        (Some(1), whole, "was cut off at 2: the local state knows it up to 1"),
        (Some(11), known, "has lost records at its end: the local state knows it up to 11, and it ends at 10"),
        (Some(5), remade, "was deleted and made again since the last commit"),
    ];
    for (offset, standing, words) in cases {
        let (outcome, values) = cut_off(offset, standing, LostChangelog::Fail);
        assert!(outcome.as_ref().is_err_and(|text| text.contains(words) && text.contains("on_lost_changelog")), "{outcome:?}");
        assert_eq!(values, 0, "nothing was touched");
        assert_eq!(cut_off(offset, standing, LostChangelog::Rebuild), (Ok(1), 8), "{words}");
    }
    assert_eq!(cut_off(Some(2), whole, LostChangelog::Fail), (Ok(0), 8), "what is missing is known here");
    assert_eq!(cut_off(None, known, LostChangelog::Fail), (Ok(0), 8), "windows expire");
    assert_eq!(cut_off(Some(1), known, LostChangelog::Fail), (Ok(1), 8), "windows have expired since");
    let new = Standing { committed: false, whole: true, remade: true, outlived: true };
    let late = Standing { outlived: true, ..known };
    assert!(cut_off(Some(1), late, LostChangelog::Fail).0.unwrap_err().contains("`retention.ms`"));
    assert_eq!(cut_off(Some(3), late, LostChangelog::Fail), (Ok(0), 7), "what was deleted is known here");
    assert_eq!(cut_off(Some(11), new, LostChangelog::Fail), (Ok(1), 8), "rows of another log, and nothing was committed in this one");
}

#[test]
fn a_position_of_another_topic_of_the_name_is_refused_or_passed_over() {
    let mut rig = Rig::new();
    let input = TopicPartition::new("in", 0);
    let entries = [(entry::TOPIC.to_owned(), 7)].into();
    let position = Position { offset: 5, metadata: CommitMetadata { partition_time: None, entries }.encode() };
    let mut tool = rig.log.member("g", "tool", Isolation::ReadCommitted).unwrap();
    tool.commit(&MemberToken::nobody(), &[(input.clone(), position)]).unwrap();
    let mut start = |id, otherwise| {
        let ticket = rig.desk.look_up(vec![Wanted { id, otherwise, ..wanted(input.clone(), OffsetReset::Earliest) }]);
        rig.step();
        ticket.outcome().unwrap().map(|starts| starts[0].offset).map_err(|error| error.to_string())
    };
    assert_eq!(start(Some(7), MissingPosition::Fail), Ok(5));
    assert_eq!(start(None, MissingPosition::Fail), Ok(5), "nobody knows");
    assert!(start(Some(8), MissingPosition::Fail).unwrap_err().contains("`in` was deleted and made again"));
    assert_eq!(start(Some(8), MissingPosition::Reset), Ok(0));
}
