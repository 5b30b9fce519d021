//! What the log in memory gives up by itself, to the millisecond and in cases that no broker can be brought to.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use crate::clock::ManualClock;
use crate::kafka::{
    Connect, Consumer, FetchLimit, Isolation, LogError, MemoryLog, NewTopic, Outgoing, Position, TaskInputs, TransactionalProducer,
};
use crate::record::{Headers, RawRecord, TaskId, Timestamp, TopicPartition};

/// A log whose only partition is `t-0`.
struct Plot {
    log: MemoryLog,
    clock: ManualClock,
    partition: TopicPartition,
}

/// Offset, key, value.
type Row = (i64, String, Option<String>);

impl Plot {
    fn new(settings: &[(&str, &str)]) -> Self {
        let clock = ManualClock::at(Timestamp::from_millis(1_000_000));
        let log = MemoryLog::new(Arc::new(clock.clone()));
        let topic = settings.iter().fold(NewTopic::new("t", 1), |topic, (key, value)| topic.with(*key, *value));
        log.admin().expect("admin").create_topics(&[topic]).expect("a new topic");
        Plot { log, clock, partition: TopicPartition::new("t", 0) }
    }

    fn compacted(settings: &[(&str, &str)]) -> Self {
        Plot::new(&[&[("cleanup.policy", "compact")], settings].concat())
    }

    fn write(&self, records: &[(&str, Option<&str>)]) {
        let headers = Headers::default();
        let mut producer = self.log.producer().expect("a producer");
        producer.send(&self.partition, &outgoing(records, &headers)).expect("taken");
    }

    fn transaction(&self, id: &str) -> Box<dyn TransactionalProducer> {
        let mut producer = self.log.transactional_producer(id, Duration::from_secs(600)).expect("a producer");
        producer.init().expect("initialised");
        producer.begin().expect("begun");
        producer
    }

    fn transact(&self, records: &[(&str, Option<&str>)], commit: bool) {
        let mut producer = self.transaction("x");
        producer.send(&self.partition, &outgoing(records, &Headers::default())).expect("taken");
        if commit { producer.commit() } else { producer.abort() }.expect("ended");
    }

    fn compact(&self) {
        self.log.compact("t").expect("compacted");
    }

    fn reader(&self, isolation: Isolation, from: i64) -> Box<dyn Consumer> {
        let mut reader = self.log.consumer(isolation).expect("a consumer");
        reader.assign(&[(self.partition.clone(), from)]).expect("there");
        reader
    }

    /// Reads to the end, `records` at a time; also where that left the position and the end.
    fn read(&self, isolation: Isolation, from: i64, records: usize) -> Result<(Vec<Row>, i64, i64), LogError> {
        let mut reader = self.reader(isolation, from);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let mut rows: Vec<Row> = Vec::new();
        loop {
            let limit = FetchLimit { records, ..FetchLimit::default() };
            let visit = &mut |r: RawRecord<'_>| rows.push((r.offset, text(r.key.unwrap_or_default()), r.value.map(text)));
            let fetched = reader.fetch(&self.partition, limit, visit)?;
            if fetched.at_end() {
                return Ok((rows, fetched.next_offset, fetched.end));
            }
        }
    }

    fn offsets(&self, isolation: Isolation) -> Vec<i64> {
        let begin = self.begin();
        self.read(isolation, begin, 100).expect("in range").0.into_iter().map(|(offset, ..)| offset).collect()
    }

    fn begin(&self) -> i64 {
        self.reader(Isolation::ReadUncommitted, 0).begin_offsets(std::slice::from_ref(&self.partition)).expect("there")[0]
    }

    /// Time goes by, and somebody calls.
    fn wait(&self, millis: u64) {
        self.clock.advance(Duration::from_millis(millis));
        self.reader(Isolation::ReadCommitted, 0).poll(Duration::ZERO).expect("polled");
    }
}

fn outgoing<'a>(records: &[(&'a str, Option<&'a str>)], headers: &'a Headers) -> Vec<Outgoing<'a>> {
    let timestamp = Timestamp::from_millis(1);
    let record = |&(key, value): &(&'a str, Option<&'a str>)| Outgoing {
        key: Some(key.as_bytes()),
        value: value.map(str::as_bytes),
        timestamp,
        headers,
    };
    records.iter().map(record).collect()
}

const COMMITTED: Isolation = Isolation::ReadCommitted;
const UNCOMMITTED: Isolation = Isolation::ReadUncommitted;

#[test]
fn a_partition_that_ends_in_holes_is_read_to_its_end() {
    let plot = Plot::compacted(&[]);
    plot.write(&[("a", Some("1")), ("b", Some("1"))]);
    plot.transact(&[("a", Some("no")), ("a", Some("nor this"))], false);
    plot.compact();
    for isolation in [COMMITTED, UNCOMMITTED] {
        for from in [0, 2, 3, 4, 5] {
            let (rows, next, end) = plot.read(isolation, from, 1).expect("in range");
            assert_eq!((rows.len(), next, end), ([2, 0][usize::from(from > 0)], 5, 5), "{isolation:?} from {from}");
        }
        assert!(!plot.reader(isolation, 5).poll(Duration::ZERO).expect("polled"), "there is nothing for who is at the end");
    }
    plot.write(&[("c", Some("1"))]);
    assert_eq!(plot.offsets(COMMITTED), [0, 1, 5], "and offsets go on");
}

#[test]
fn nothing_may_be_left_at_all() {
    let plot = Plot::compacted(&[]);
    plot.transact(&[("a", Some("no"))], false);
    plot.compact();
    assert_eq!(plot.read(UNCOMMITTED, 0, 10).expect("in range"), (vec![], 2, 2));
    assert_eq!((plot.begin(), plot.log.bytes()), (0, 0), "it is still there, and costs nothing");
    plot.transact(&[("a", Some("1"))], true);
    plot.compact();
    plot.compact();
    assert_eq!(plot.read(COMMITTED, 0, 10).expect("in range"), (vec![(2, "a".into(), Some("1".into()))], 4, 4));
}

#[test]
fn a_tombstone_stays_for_a_while_after_its_first_compaction() {
    let plot = Plot::compacted(&[("delete.retention.ms", "5000")]);
    plot.write(&[("a", Some("1")), ("a", None), ("b", None)]);
    plot.wait(60_000);
    plot.compact();
    assert_eq!(plot.offsets(COMMITTED), [1, 2], "however old it is");
    plot.wait(4_999);
    plot.compact();
    plot.write(&[("c", None)]);
    assert_eq!(plot.offsets(COMMITTED), [1, 2, 3]);
    plot.wait(1);
    plot.compact();
    assert_eq!(plot.offsets(COMMITTED), [3], "and the younger one has its own time");
    plot.wait(5_000);
    plot.compact();
    assert_eq!(plot.offsets(COMMITTED), Vec::<i64>::new());
}

#[test]
fn what_is_young_is_not_touched() {
    let plot = Plot::compacted(&[("min.compaction.lag.ms", "1000"), ("segment.ms", "10")]);
    plot.write(&[("a", Some("1")), ("a", Some("2"))]);
    plot.wait(600);
    plot.write(&[("a", Some("3"))]);
    plot.wait(399);
    plot.compact();
    assert_eq!(plot.offsets(COMMITTED), [0, 1, 2]);
    plot.wait(1);
    plot.compact();
    assert_eq!(plot.offsets(COMMITTED), [1, 2], "what comes later does not stand for the key yet");
    plot.wait(600);
    plot.compact();
    assert_eq!(plot.offsets(COMMITTED), [2]);
}

#[test]
fn compaction_ends_where_a_transaction_is_open_and_goes_on_when_its_marker_is_written() {
    let plot = Plot::compacted(&[]);
    plot.write(&[("a", Some("1")), ("a", Some("2"))]);
    let mut open = plot.transaction("y");
    open.send(&plot.partition, &outgoing(&[("a", Some("3"))], &Headers::default())).expect("taken");
    plot.write(&[("a", Some("4"))]);
    plot.compact();
    assert_eq!(plot.offsets(UNCOMMITTED), [1, 2, 3]);
    plot.log.hold_markers(true);
    open.commit().expect("decided");
    plot.compact();
    assert_eq!(plot.offsets(UNCOMMITTED), [1, 2, 3], "decided, but this partition does not know");
    plot.log.hold_markers(false);
    plot.compact();
    assert_eq!(plot.offsets(COMMITTED), [3]);
}

#[test]
fn compaction_waits_until_it_is_worth_it_and_for_the_block_being_written() {
    let plot = Plot::compacted(&[("segment.ms", "100"), ("min.cleanable.dirty.ratio", "0.4")]);
    let many: Vec<String> = (0..100).map(|n| format!("key {n}")).collect();
    let many: Vec<_> = many.iter().map(|key| (key.as_str(), Some("some value or other"))).collect();
    plot.write(&many);
    plot.wait(2_000);
    plot.write(&[("key 0", Some("new"))]);
    plot.wait(1_000);
    assert_eq!(plot.offsets(COMMITTED).len(), 101, "the new value is in the block being written");
    plot.write(&[("key 1", Some("new"))]);
    plot.wait(1_000);
    assert_eq!(plot.offsets(COMMITTED).len(), 102, "two in a hundred are not worth it");
    plot.write(&many);
    plot.wait(1_000);
    plot.write(&[("key 2", Some("newer"))]);
    plot.wait(1_000);
    assert_eq!(plot.offsets(COMMITTED).len(), 101);
    assert_eq!(plot.offsets(COMMITTED)[0], 102, "of each key the last one");
}

#[test]
fn who_waits_too_long_is_compacted_whether_it_is_worth_it_or_not() {
    let plot = Plot::compacted(&[("segment.ms", "100"), ("max.compaction.lag.ms", "30000"), ("min.cleanable.dirty.ratio", "1")]);
    plot.write(&[("a", Some("1")), ("b", Some("1"))]);
    plot.compact();
    plot.write(&[("a", Some("2"))]);
    plot.wait(29_000);
    plot.write(&[("c", Some("1"))]);
    plot.wait(1_000);
    assert_eq!(plot.offsets(COMMITTED), [0, 1, 2, 3]);
    plot.wait(1_000);
    assert_eq!(plot.offsets(COMMITTED), [1, 2, 3]);
}

#[test]
fn records_go_when_they_have_lain_in_the_log_for_long_enough() {
    let plot = Plot::new(&[("retention.ms", "10000"), ("segment.ms", "1000")]);
    plot.write(&[("a", None), ("b", None)]);
    let mut reader = plot.reader(COMMITTED, 0);
    plot.wait(5_000);
    plot.write(&[("c", None)]);
    plot.wait(5_000);
    assert_eq!((plot.begin(), plot.offsets(COMMITTED).len()), (0, 3), "their own time was long ago, but they came ten seconds ago");
    plot.wait(1_000);
    assert_eq!((plot.begin(), plot.offsets(COMMITTED)), (2, vec![2]));
    let lost = reader.fetch(&plot.partition, FetchLimit::default(), &mut |_| panic!("it is gone"));
    assert!(matches!(lost, Err(LogError::OffsetOutOfRange { offset: 0, begin: 2, end: 3, .. })), "{lost:?}");
    plot.wait(60_000);
    assert_eq!((plot.begin(), plot.log.bytes()), (3, 0), "the block being written goes as well");
    plot.write(&[("d", None)]);
    assert_eq!(plot.offsets(COMMITTED), [3]);
}

#[test]
fn what_is_not_decided_is_not_deleted() {
    let plot = Plot::new(&[("retention.ms", "1000"), ("retention.bytes", "1"), ("segment.ms", "10")]);
    plot.write(&[("a", None)]);
    plot.wait(100);
    let mut open = plot.transaction("y");
    open.send(&plot.partition, &outgoing(&[("b", None)], &Headers::default())).expect("taken");
    plot.wait(10_000);
    plot.write(&[("c", None)]);
    plot.wait(10_000);
    assert_eq!((plot.begin(), plot.offsets(UNCOMMITTED)), (1, vec![1, 2]));
    open.commit().expect("committed");
    plot.wait(10_000);
    assert_eq!(plot.begin(), 4);
}

#[test]
fn a_partition_stays_as_large_as_its_topic_allows() {
    let plot = Plot::new(&[("retention.bytes", "2000000")]);
    let value = "x".repeat(1_000);
    for _ in 0..500 {
        plot.write(&[("k", Some(value.as_str())); 20]);
        assert!(plot.log.bytes() < 2_700_000, "{}", plot.log.bytes());
    }
    assert!(plot.log.bytes() >= 2_000_000, "what there is room for stays: {}", plot.log.bytes());
}

#[test]
fn a_setting_counts_from_when_it_is_changed() {
    let plot = Plot::new(&[("retention.ms", "-1")]);
    plot.write(&[("a", Some("1")), ("a", Some("2"))]);
    plot.wait(1_000_000_000);
    assert_eq!(plot.begin(), 0);
    let admin = plot.log.admin().expect("admin");
    admin.alter_topic("t", &[("retention.ms", Some("1000"))]).expect("altered");
    plot.wait(1_000);
    assert_eq!(plot.begin(), 2);
}

#[test]
fn positions_that_nobody_commits_again_are_forgotten() {
    let plot = Plot::new(&[]);
    let admin = plot.log.admin().expect("admin");
    admin.create_partitions("t", 2).expect("one more");
    let partitions = [plot.partition.clone(), TopicPartition::new("t", 1)];
    plot.log.keep_positions(Some(Duration::from_secs(60)));
    let task = TaskInputs { task: TaskId { subtopology: 0, partition: 0 }, partitions: partitions.to_vec() };
    let mut member = plot.log.member("g", "m", COMMITTED).expect("a member");
    member.join(&[task]).expect("joined");
    member.next_event();
    let position = Position { offset: 1, metadata: String::new() };
    let both: Vec<_> = partitions.iter().map(|partition| (partition.clone(), position.clone())).collect();
    member.commit(&member.token(), &both).expect("committed");
    for _ in 0..2 {
        plot.clock.advance(Duration::from_secs(30));
        member.poll(Duration::ZERO).expect("polled");
        member.commit(&member.token(), &both[..1]).expect("the same again");
    }
    assert_eq!(member.committed(&partitions).expect("asked"), [Some(position.clone()), None], "that it is read keeps it not");
    member.leave();
    plot.wait(59_000);
    assert_eq!(member.committed(&partitions).expect("asked"), [Some(position), None]);
    plot.wait(1_000);
    assert_eq!(member.committed(&partitions).expect("asked"), [None, None]);
    assert_eq!(admin.list_groups().expect("listed"), Vec::<String>::new());
}

#[test]
fn an_empty_groups_positions_are_as_old_as_its_emptiness() {
    let plot = Plot::new(&[]);
    let mut member = plot.log.member("g", "m", COMMITTED).expect("a member");
    member.join(&[]).expect("joined");
    member.next_event();
    let position = (plot.partition.clone(), Position { offset: 1, metadata: String::new() });
    member.commit(&member.token(), &[position]).expect("committed");
    for _ in 0..10 {
        plot.clock.advance(Duration::from_secs(10));
        member.poll(Duration::ZERO).expect("polled");
    }
    member.leave();
    plot.log.keep_positions(Some(Duration::from_secs(60)));
    plot.wait(59_000);
    assert!(member.committed(std::slice::from_ref(&plot.partition)).expect("asked")[0].is_some());
    plot.wait(2_000);
    assert!(member.committed(std::slice::from_ref(&plot.partition)).expect("asked")[0].is_none());
}

/// What may happen to a compacted partition.
#[derive(Clone, Debug)]
enum Step {
    Write(Vec<(u8, bool)>),
    Transact(Vec<(u8, bool)>, bool),
    Compact,
    Wait(u64),
    Delete(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let records = || prop::collection::vec((0..5_u8, prop::bool::weighted(0.8)), 1..6);
    let step = prop_oneof![
        4 => records().prop_map(Step::Write),
        3 => (records(), any::<bool>()).prop_map(|(records, commit)| Step::Transact(records, commit)),
        2 => Just(Step::Compact),
        2 => (0..3_000_u64).prop_map(Step::Wait),
        1 => (0..20_u64).prop_map(Step::Delete),
    ];
    prop::collection::vec(step, 0..40)
}

/// The last value of each key.
fn fold(rows: &[Row]) -> BTreeMap<String, String> {
    let mut state = BTreeMap::new();
    for (_, key, value) in rows {
        match value {
            Some(value) => state.insert(key.clone(), value.clone()),
            None => state.remove(key),
        };
    }
    state
}

proptest! {
    #[test]
    fn whatever_is_compacted_means_the_same_afterwards(steps in steps()) {
        let plot = Plot::compacted(&[("segment.ms", "700"), ("delete.retention.ms", "1500"), ("min.cleanable.dirty.ratio", "0.3")]);
        let mut all: Vec<Row> = Vec::new();
        for step in steps {
            let keyed = |records: &[(u8, bool)]| -> Vec<(String, Option<String>)> {
                records.iter().zip(all.len()..).map(|((key, lives), n)| (key.to_string(), lives.then(|| n.to_string()))).collect()
            };
            let end = plot.reader(UNCOMMITTED, 0).end_offsets(std::slice::from_ref(&plot.partition), UNCOMMITTED).expect("asked")[0];
            match step {
                Step::Write(records) | Step::Transact(records, _) if records.is_empty() => {}
                Step::Write(ref records) | Step::Transact(ref records, _) => {
                    let keyed = keyed(records);
                    let sent: Vec<_> = keyed.iter().map(|(key, value)| (key.as_str(), value.as_deref())).collect();
                    let counts = match step {
                        Step::Transact(_, commit) => { plot.transact(&sent, commit); commit }
                        _ => { plot.write(&sent); true }
                    };
                    if counts {
                        all.extend(keyed.into_iter().zip(end..).map(|((key, value), offset)| (offset, key, value)));
                    }
                }
                Step::Compact => plot.compact(),
                Step::Wait(millis) => plot.wait(millis),
                Step::Delete(above) => {
                    let begin = (plot.begin() + above as i64).min(end);
                    plot.log.admin().expect("admin").delete_records(&[(plot.partition.clone(), begin)]).expect("in range");
                    // What a reader from the beginning has to find is what it finds now.
                    all = plot.read(COMMITTED, begin, 7).expect("in range").0;
                }
            }
            let (rows, next, end) = plot.read(COMMITTED, plot.begin(), 3).expect("in range");
            prop_assert_eq!(next, end);
            prop_assert!(rows.iter().all(|row| all.contains(row)), "what is left is what was written, where it was");
            prop_assert_eq!(fold(&rows), fold(&all));
        }
        plot.compact();
        plot.wait(1_500);
        plot.compact();
        let (rows, ..) = plot.read(COMMITTED, plot.begin(), 100).expect("in range");
        prop_assert_eq!(rows.len(), fold(&all).len(), "nothing is left but the last of each key: {:?}", rows);
    }
}

/// Memory of this process in bytes, where the system tells.
fn resident() -> Option<usize> {
    let pages = std::fs::read_to_string("/proc/self/statm").ok()?;
    Some(pages.split_whitespace().nth(1)?.parse::<usize>().ok()? * 4096)
}

/// Ten million records, a thousand at a time in transactions or not; fails if memory grows with them.
fn ten_million(plot: &Plot, transactional: bool) {
    const BOUND: usize = 100_000_000;
    let (headers, value) = (Headers::default(), [7; 100]);
    let keys: Vec<String> = (0..1_000).map(|n| format!("key {n}")).collect();
    let timestamp = Timestamp::from_millis(1);
    let records: Vec<_> =
        keys.iter().map(|key| Outgoing { key: Some(key.as_bytes()), value: Some(&value), timestamp, headers: &headers }).collect();
    let mut plain = plot.log.producer().expect("a producer");
    let mut writer = plot.log.transactional_producer("x", Duration::from_secs(600)).expect("a producer");
    writer.init().expect("initialised");
    let before = resident();
    for round in 0..10_000 {
        if transactional {
            writer.begin().expect("begun");
            writer.send(&plot.partition, &records).expect("taken");
            if round % 3 == 0 { writer.abort() } else { writer.commit() }.expect("ended");
        } else {
            plain.send(&plot.partition, &records).expect("taken");
        }
        if round % 100 == 0 {
            plot.wait(1_000);
        }
        assert!(plot.log.bytes() < BOUND, "{} in round {round}", plot.log.bytes());
    }
    if let (Some(before), Some(after)) = (before, resident()) {
        assert!(after.saturating_sub(before) < 2 * BOUND, "{before} to {after}");
    }
}

#[test]
#[ignore = "takes a while: cargo test --release --lib ten_million -- --ignored"]
fn ten_million_records_with_retention_stay_small() {
    ten_million(&Plot::new(&[("retention.bytes", "50000000")]), false);
    ten_million(&Plot::new(&[("retention.bytes", "50000000")]), true);
}

#[test]
#[ignore = "takes a while: cargo test --release --lib ten_million -- --ignored"]
fn ten_million_records_of_a_thousand_keys_stay_small() {
    let plot = Plot::compacted(&[]);
    ten_million(&plot, true);
    plot.compact();
    assert_eq!(plot.offsets(COMMITTED).len(), 1_000);
    assert!(plot.log.bytes() < 400_000, "{}", plot.log.bytes());
}
