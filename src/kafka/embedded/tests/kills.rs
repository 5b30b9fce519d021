//! The log in a folder, killed at any moment: the same as the log in memory before and after, and never half of anything.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use super::super::MemoryLog;
use super::super::files::trace;
use super::files::Folder;
use crate::clock::ManualClock;
use crate::kafka::{
    Connect, Durability, FetchLimit, FileLog, FileLogOptions, Isolation, LogError, MemberToken, NewTopic, Outgoing, Position, Producer,
    TransactionalProducer,
};
use crate::record::{Headers, RawRecord, Timestamp, TopicPartition};

const TOPICS: [&str; 2] = ["a", "b"];
const IDS: [&str; 2] = ["x", "y"];
const TIMEOUT: Duration = Duration::from_secs(10);

/// What may be done to a log. Small numbers choose a topic, a partition, a transactional id.
#[derive(Clone, Debug)]
enum Step {
    Create(usize),
    Delete(usize),
    Grow(usize),
    Alter(usize, i64),
    Send(usize, i32, u8),
    DeleteRecords(usize, i32, i64),
    Compact(usize),
    Commit(usize, i32, i64),
    DropGroup,
    Init(usize),
    Begin(usize),
    SendIn(usize, usize, i32, u8),
    CommitIn(usize, usize, i32, i64),
    End(usize, bool),
    Wait(u16),
}

/// A log and its clients.
struct World {
    log: Arc<dyn Connect>,
    compact: Box<dyn Fn(&str) -> Result<(), LogError>>,
    producer: Box<dyn Producer>,
    writers: Vec<Box<dyn TransactionalProducer>>,
    clock: ManualClock,
    sent: u32,
}

impl World {
    fn new(log: Arc<dyn Connect>, compact: Box<dyn Fn(&str) -> Result<(), LogError>>, clock: ManualClock, sent: u32) -> Self {
        let producer = log.producer().expect("a producer");
        let writers = IDS.iter().map(|id| log.transactional_producer(id, TIMEOUT).expect("a producer")).collect();
        World { log, compact, producer, writers, clock, sent }
    }

    fn in_memory(log: &MemoryLog, clock: ManualClock, sent: u32) -> Self {
        // What a killed process had open stays open.
        let (line, whole) = (log.line(), log.clone());
        World::new(Arc::new(line), Box::new(move |topic| whole.compact(topic)), clock, sent)
    }

    fn in_files(folder: &Path, clock: ManualClock, sent: u32) -> Self {
        let options = FileLogOptions { durability: Durability::ProcessKill, segment_bytes: 600, read_cache: 2000 };
        let log = FileLog::open(folder, Arc::new(clock.clone()), options).expect("opened");
        let whole = log.clone();
        World::new(Arc::new(log), Box::new(move |topic| whole.compact(topic)), clock, sent)
    }

    /// Takes a step; says what came of it.
    fn take(&mut self, step: &Step) -> String {
        let name = |topic: usize| TOPICS[topic];
        let at = |topic: usize, partition: i32| TopicPartition::new(TOPICS[topic], partition);
        let position = |offset| Position { offset, metadata: "m".repeat(usize::try_from(offset).unwrap_or(0)) };
        let admin = self.log.admin().expect("an administrator");
        match *step {
            Step::Create(topic) => format!("{:?}", admin.create_topics(&[NewTopic::new(name(topic), 2)])),
            Step::Delete(topic) => format!("{:?}", admin.delete_topics(&[name(topic)])),
            Step::Grow(topic) => format!("{:?}", admin.create_partitions(name(topic), 3)),
            Step::Alter(topic, value) => {
                format!("{:?}", admin.alter_topic(name(topic), &[("segment.jitter.ms", Some(&value.to_string()))]))
            }
            Step::Send(topic, partition, count) => {
                let sent = with_records(&mut self.sent, count, |records| self.producer.send(&at(topic, partition), records));
                format!("{sent:?} {:?}", self.producer.flush(TIMEOUT))
            }
            Step::DeleteRecords(topic, partition, offset) => format!("{:?}", admin.delete_records(&[(at(topic, partition), offset)])),
            Step::Compact(topic) => format!("{:?}", (self.compact)(name(topic))),
            Step::Commit(topic, partition, offset) => {
                let mut member = self.log.member("g", "m", Isolation::ReadUncommitted).expect("a member");
                format!("{:?}", member.commit(&MemberToken::nobody(), &[(at(topic, partition), position(offset))]))
            }
            Step::DropGroup => format!("{:?}", admin.delete_group("g")),
            Step::Init(id) => {
                self.writers[id] = self.log.transactional_producer(IDS[id], TIMEOUT).expect("a producer");
                format!("{:?}", self.writers[id].init())
            }
            Step::Begin(id) => format!("{:?}", self.writers[id].begin()),
            Step::SendIn(id, topic, partition, count) => {
                let sent = with_records(&mut self.sent, count, |records| self.writers[id].send(&at(topic, partition), records));
                format!("{sent:?} {:?}", self.writers[id].flush(TIMEOUT))
            }
            Step::CommitIn(id, topic, partition, offset) => {
                format!("{:?}", self.writers[id].send_offsets("g", &MemberToken::nobody(), &[(at(topic, partition), position(offset))]))
            }
            Step::End(id, true) => format!("{:?}", self.writers[id].commit()),
            Step::End(id, false) => format!("{:?}", self.writers[id].abort()),
            Step::Wait(millis) => {
                self.clock.advance(Duration::from_millis(millis.into()));
                let poll = self.log.consumer(Isolation::ReadCommitted).expect("a consumer").poll(Duration::ZERO);
                format!("{poll:?}")
            }
        }
    }

    /// Everything that a client can see of the log.
    fn visible(&self) -> BTreeMap<String, String> {
        let (admin, mut seen) = (self.log.admin().expect("an administrator"), BTreeMap::new());
        for name in admin.list_topics().expect("listed") {
            let topic = admin.describe_topics(&[&name]).expect("there").remove(0);
            for partition in (0..topic.partitions).map(|n| TopicPartition::new(name.as_str(), n)) {
                for isolation in [Isolation::ReadCommitted, Isolation::ReadUncommitted] {
                    seen.insert(format!("{partition} {isolation:?}"), records(&*self.log, &partition, isolation));
                }
                let latest = admin.latest_times(std::slice::from_ref(&partition)).expect("there");
                seen.insert(format!("{partition} latest"), format!("{latest:?}"));
            }
            seen.insert(format!("{name} settings"), format!("{} {}", topic.partitions, topic.config["segment.jitter.ms"]));
        }
        seen.insert("positions".to_owned(), format!("{:?}", admin.group_positions("g").ok().filter(|positions| !positions.is_empty())));
        seen
    }
}

/// Records that are all different; every third key is the same, and some values are tombstones.
fn with_records<T>(sent: &mut u32, count: u8, send: impl FnOnce(&[Outgoing<'_>]) -> T) -> T {
    let numbers = *sent..*sent + u32::from(count);
    *sent = numbers.end;
    let mut headers = Headers::default();
    headers.add("n", sent.to_le_bytes());
    let texts: Vec<_> = numbers.map(|n| (format!("k{}", n % 3), (n % 7 != 0).then(|| n.to_string().repeat(9)), n)).collect();
    let records: Vec<_> = texts
        .iter()
        .map(|(key, value, n)| {
            let (value, timestamp) = (value.as_ref().map(String::as_bytes), Timestamp::from_millis(i64::from(n % 5)));
            Outgoing { key: Some(key.as_bytes()), value, timestamp, headers: &headers }
        })
        .collect();
    send(&records)
}

fn records(log: &dyn Connect, partition: &TopicPartition, isolation: Isolation) -> String {
    let mut reader = log.consumer(isolation).expect("a consumer");
    let begin = reader.begin_offsets(std::slice::from_ref(partition)).expect("there")[0];
    reader.assign(&[(partition.clone(), begin)]).expect("there");
    let mut all = format!("from {begin}:");
    loop {
        let visit = &mut |r: RawRecord<'_>| {
            let text = |part: Option<&[u8]>| part.map(|bytes| String::from_utf8_lossy(bytes).into_owned());
            all += &format!(" {}@{}={:?}:{:?}{:?}", r.offset, r.timestamp, text(r.key), text(r.value), r.headers);
        };
        let fetched = reader.fetch(partition, FetchLimit { records: 3, ..FetchLimit::default() }, visit).expect("fetched");
        if fetched.at_end() {
            return all + &format!(" to {} of {}", fetched.next_offset, fetched.end);
        }
    }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let (topic, partition, id, count) = (0..2_usize, 0..3_i32, 0..2_usize, 1..9_u8);
    let offset = 0..40_i64;
    let step = prop_oneof![
        3 => topic.clone().prop_map(Step::Create),
        1 => topic.clone().prop_map(Step::Delete),
        1 => topic.clone().prop_map(Step::Grow),
        1 => (topic.clone(), offset.clone()).prop_map(|(t, v)| Step::Alter(t, v)),
        8 => (topic.clone(), partition.clone(), count.clone()).prop_map(|(t, p, n)| Step::Send(t, p, n)),
        2 => (topic.clone(), partition.clone(), offset.clone()).prop_map(|(t, p, o)| Step::DeleteRecords(t, p, o)),
        2 => topic.clone().prop_map(Step::Compact),
        3 => (topic.clone(), partition.clone(), offset.clone()).prop_map(|(t, p, o)| Step::Commit(t, p, o)),
        1 => Just(Step::DropGroup),
        3 => id.clone().prop_map(Step::Init),
        5 => id.clone().prop_map(Step::Begin),
        8 => (id.clone(), topic.clone(), partition.clone(), count).prop_map(|(i, t, p, n)| Step::SendIn(i, t, p, n)),
        3 => (id.clone(), topic, partition, offset).prop_map(|(i, t, p, o)| Step::CommitIn(i, t, p, o)),
        5 => (id, prop::bool::weighted(0.7)).prop_map(|(i, commit)| Step::End(i, commit)),
        1 => (0..6000_u16).prop_map(Step::Wait),
    ];
    prop::collection::vec(step, 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Several lives of one folder, each ended by a kill, beside a log in memory whose clients are cut off at the same moments.
    #[test]
    fn a_killed_log_goes_on_as_one_that_was_not(lives in prop::collection::vec(steps(), 1..4)) {
        let (clock, mut folder) = (ManualClock::at(Timestamp::from_millis(1_000)), Folder::new());
        let memory = MemoryLog::new(Arc::new(clock.clone()));
        // Only one of the two moves the clock.
        let still = || ManualClock::at(Timestamp::from_millis(0));
        let mut sent = 0;
        for steps in &lives {
            let mut expected = World::in_memory(&memory, clock.clone(), sent);
            let mut files = World::in_files(&folder.0, clock.clone(), sent);
            files.clock = still();
            prop_assert_eq!(files.visible(), expected.visible(), "after it was opened");
            for step in steps {
                let (told, found) = (expected.take(step), files.take(step));
                prop_assert_eq!(found, told, "{:?}", step);
            }
            prop_assert_eq!(files.visible(), expected.visible());
            sent = files.sent;
            // The copy is made while the log is open; nothing of the life that ends is closed before.
            let killed = folder.copy();
            drop(std::mem::replace(&mut folder, killed));
        }
        let files = World::in_files(&folder.0, clock.clone(), sent);
        prop_assert_eq!(files.visible(), World::in_memory(&memory, clock, sent).visible());
    }
}

/// A life of a log in which everything happens once.
const SCRIPT: [Step; 17] = [
    Step::Create(0),
    Step::Send(0, 0, 3),
    Step::Commit(0, 0, 2),
    Step::Init(0),
    Step::Begin(0),
    Step::SendIn(0, 0, 0, 2),
    Step::SendIn(0, 0, 1, 2),
    Step::CommitIn(0, 0, 0, 3),
    Step::End(0, true),
    Step::Begin(0),
    Step::SendIn(0, 0, 1, 1),
    Step::End(0, false),
    Step::Wait(1_500),
    Step::Send(0, 1, 1),
    Step::DeleteRecords(0, 0, 1),
    Step::Alter(0, 5),
    Step::Delete(0),
];

/// Every write may find the disk full. What it was for has not happened then, and happens when it is asked for again.
#[test]
fn what_cannot_be_written_has_not_happened() {
    let (script, clock) = (&SCRIPT[..16], || ManualClock::at(Timestamp::from_millis(1_000)));
    let whole = Folder::new();
    trace::begin();
    let mut world = World::in_files(&whole.0, clock(), 0);
    let opened = trace::so_far().len();
    script.iter().for_each(|step| assert!(!world.take(step).contains("Err"), "{step:?}"));
    let (expected, writes) = (world.visible(), trace::so_far().len());
    'writes: for nth in opened..writes {
        let folder = Folder::new();
        trace::begin();
        trace::refuse(nth);
        let mut world = World::in_files(&folder.0, clock(), 0);
        let mut refused = 0;
        for step in script {
            let (before, sent) = (world.visible(), world.sent);
            let told = world.take(step);
            if told.contains("Err") {
                assert!(told.contains("StorageFull"), "{step:?}: {told}");
                assert_eq!(world.visible(), before, "{step:?}, write {nth}");
                if let Step::CommitIn(id, ..) = step {
                    // As any refusal of positions, this one leaves nothing but to abort.
                    assert_eq!(world.take(&Step::End(*id, false)), "Ok(())");
                    continue 'writes;
                }
                refused += 1;
                world.sent = sent;
                let again = world.take(step);
                assert!(!again.contains("Err"), "{step:?}, write {nth}: {again}");
            }
        }
        // A marker that has to wait is no error, and is written in time.
        assert!(refused == 1 || trace::so_far().len() > writes, "write {nth} was refused and nobody noticed");
        assert_eq!(world.visible(), expected, "write {nth}");
        let killed = folder.copy();
        assert_eq!(World::in_files(&killed.0, clock(), 0).visible(), expected, "write {nth}, opened again");
    }
}

/// A life of a log whose every write may be the last, at every byte.
#[test]
fn at_whatever_byte_a_process_dies_there_is_all_or_nothing() {
    let (folder, clock) = (Folder::new(), ManualClock::at(Timestamp::from_millis(1_000)));
    trace::begin();
    let mut world = World::in_files(&folder.0, clock.clone(), 0);
    let mut ends = vec![trace::so_far().len()];
    for step in &SCRIPT {
        assert!(!world.take(step).contains("Err"), "{step:?}");
        ends.push(trace::so_far().len());
    }
    let writes = trace::so_far();
    let settled: Vec<_> = ends.iter().map(|end| settled(&folder, &writes[..*end], None, &clock)).collect();
    for (step, window) in SCRIPT.iter().zip(ends.windows(2).zip(settled.windows(2))) {
        let (ends, states) = window;
        for last in ends[0]..ends[1] {
            for cut in 0..writes[last].1.len() {
                let found = settled_at(&folder, &writes, last, cut, &clock);
                assert!(states.contains(&found), "{step:?}, write {last}, byte {cut}: {found:#?}\nis neither of {states:#?}");
            }
        }
    }
}

fn settled_at(folder: &Folder, writes: &[trace::Write], last: usize, cut: usize, clock: &ManualClock) -> BTreeMap<String, String> {
    let (path, bytes, at) = &writes[last];
    settled(folder, &writes[..last], Some((path.clone(), bytes[..cut].to_vec(), *at)), clock)
}

/// What committed readers see after these writes, and a part of another one, once the log is opened and its id is taken over.
fn settled(folder: &Folder, writes: &[trace::Write], part: Option<trace::Write>, clock: &ManualClock) -> BTreeMap<String, String> {
    let killed = Folder::new();
    // Folders are made before anything is written that speaks of them.
    (0..2).for_each(|partition| fs::create_dir_all(killed.0.join(format!("topics/1-a/{partition}"))).expect("made"));
    for (path, bytes, at) in writes.iter().chain(&part) {
        let path = killed.0.join(path.strip_prefix(&folder.0).expect("inside"));
        // The first journal is written under this name and has its own as soon as it is whole.
        let path = if path.ends_with("journal.draft") { path.with_file_name("journal-0000000001") } else { path };
        let mut whole = fs::read(&path).unwrap_or_default();
        whole.truncate(usize::try_from(*at).expect("small"));
        whole.extend_from_slice(bytes);
        fs::write(&path, whole).expect("written");
    }
    let log =
        FileLog::open(&killed.0, Arc::new(clock.clone()), FileLogOptions { durability: Durability::ProcessKill, ..Default::default() });
    let log = log.expect("opened");
    assert_eq!(log.pending_markers(), []);
    let world = World::new(Arc::new(log), Box::new(|_| Ok(())), clock.clone(), 0);
    let mut taken_over = world.log.transactional_producer(IDS[0], TIMEOUT).expect("a producer");
    taken_over.init().expect("initialised");
    let mut seen = world.visible();
    seen.retain(|name, _| !name.ends_with("ReadUncommitted") && !name.ends_with("latest"));
    // What was aborted takes offsets or not, and nobody sees which.
    seen.values_mut().for_each(|text| text.truncate(text.rfind(" to ").unwrap_or(text.len())));
    seen
}

/// A folder whose files hold several frames each.
fn filled() -> (Folder, FileLog) {
    let (folder, clock) = (Folder::new(), ManualClock::at(Timestamp::from_millis(1_000)));
    let options = FileLogOptions { durability: Durability::ProcessKill, ..FileLogOptions::default() };
    let log = FileLog::open(&folder.0, Arc::new(clock.clone()), options).expect("opened");
    let mut world = World::new(Arc::new(log.clone()), Box::new(|_| Ok(())), clock, 0);
    let script =
        [Step::Create(0), Step::Send(0, 0, 3), Step::Send(0, 0, 2), Step::Commit(0, 0, 2), Step::Send(0, 0, 1), Step::Commit(0, 0, 3)];
    for step in script {
        assert!(!world.take(&step).contains("Err"), "{step:?}");
    }
    (folder, log)
}

#[test]
fn damage_in_the_middle_of_a_file_is_told_with_its_place_and_changes_nothing() {
    let (folder, _log) = filled();
    for file in ["journal-0000000001", "topics/1-a/0/00000000000000000000.0.segment"] {
        let whole = fs::read(folder.0.join(file)).expect("there");
        let starts: Vec<_> = (0..whole.len()).filter(|at| whole[*at..].starts_with(b"HWf\x01")).collect();
        let last = *starts.last().expect("frames");
        for at in 0..whole.len() {
            let killed = folder.copy();
            let mut damaged = whole.clone();
            damaged[at] ^= 0x40;
            fs::write(killed.0.join(file), &damaged).expect("written");
            let opened = killed.try_open();
            let frame = starts.iter().rev().find(|start| **start <= at).copied().unwrap_or(0);
            match &opened {
                Err(LogError::Damaged { path, position, .. }) => {
                    assert!(path.ends_with(file) && *position == frame as u64 && at < last, "byte {at}: {opened:?}");
                }
                // As if it had been torn while it was written.
                Ok(_) => assert!(at >= last, "byte {at} of {file} was passed over"),
                Err(other) => panic!("byte {at} of {file}: {other}"),
            }
            let left = fs::read(killed.0.join(file)).expect("there");
            assert!(opened.is_ok() || left == damaged, "the evidence is gone");
        }
    }
}

#[test]
fn damage_that_comes_later_is_told_to_the_reader() {
    let (folder, log) = filled();
    drop(log);
    let log = folder.open();
    let file = folder.0.join("topics/1-a/0/00000000000000000000.0.segment");
    let mut bytes = fs::read(&file).expect("there");
    let second = bytes[20..].windows(4).position(|window| window == b"HWf\x01").expect("a second frame") + 20;
    bytes[second + 50] ^= 1;
    fs::write(&file, bytes).expect("written");
    let partition = TopicPartition::new("a", 0);
    let mut reader = log.consumer(Isolation::ReadCommitted).expect("a consumer");
    reader.assign(&[(partition.clone(), 0)]).expect("there");
    let read = reader.fetch(&partition, FetchLimit::default(), &mut |record| panic!("{record:?}"));
    assert!(matches!(&read, Err(LogError::Damaged { path, position, .. }) if *path == file && *position == second as u64), "{read:?}");
    assert_eq!(reader.position(&partition).expect("assigned"), 0);
}
