//! The log in a folder: the conformance suite of the ports, and what is there when it is opened again after its process was killed.
//!
//! A kill is played by copying the folder while the log is open: no destructor has run, and the copy is what another process would find.

use std::fs;
use std::io::Write;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use crate::clock::{Clock, ManualClock, SystemClock};
use crate::kafka::conformance::port_conformance;
use crate::kafka::{
    Admin, Connect, Consumer, Durability, FetchLimit, FileLog, FileLogOptions, Group, Isolation, LogError, LogReader, MemberOptions,
    MemberToken, NewTopic, Outgoing, Position, Producer, TransactionalProducer,
};
use crate::record::{Headers, RawRecord, Timestamp, TopicPartition};

port_conformance!(Arc::new(InFolder::new()));

/// A folder of its own, removed in the end.
#[derive(Debug)]
pub(super) struct Folder(pub(super) PathBuf);

impl Folder {
    pub(super) fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let name = format!("highwater-log-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        // Thousands of small folders are made and removed: in memory, where the system has room for files there.
        let memory = PathBuf::from("/dev/shm");
        Folder(if memory.is_dir() { memory } else { std::env::temp_dir() }.join(name))
    }

    /// What another process would find here now.
    pub(super) fn copy(&self) -> Folder {
        let copy = Folder::new();
        copy_files(&self.0, &copy.0);
        copy
    }

    pub(super) fn open(&self) -> FileLog {
        self.try_open().expect("opened")
    }

    pub(super) fn try_open(&self) -> Result<FileLog, LogError> {
        self.open_at(Arc::new(SystemClock))
    }

    fn open_at(&self, clock: Arc<dyn Clock>) -> Result<FileLog, LogError> {
        let options = FileLogOptions { durability: Durability::ProcessKill, segment_bytes: 2000, ..FileLogOptions::default() };
        FileLog::open(&self.0, clock, options)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn copy_files(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("made");
    for entry in fs::read_dir(from).expect("listed").map(|entry| entry.expect("listed")) {
        let target = to.join(entry.file_name());
        if entry.file_type().expect("known").is_dir() { copy_files(&entry.path(), &target) } else { drop(fs::copy(entry.path(), target)) }
    }
}

/// A log that takes its folder with it. The segments are small, so that every check goes through several.
#[derive(Debug)]
struct InFolder {
    log: FileLog,
    _folder: Folder,
}

impl InFolder {
    fn new() -> Self {
        let folder = Folder::new();
        InFolder { log: folder.open(), _folder: folder }
    }
}

impl Connect for InFolder {
    fn consumer(&self, isolation: Isolation) -> Result<Box<dyn Consumer>, LogError> {
        self.log.consumer(isolation)
    }
    fn producer(&self) -> Result<Box<dyn Producer>, LogError> {
        self.log.producer()
    }
    fn transactional_producer(&self, id: &str, timeout: Duration) -> Result<Box<dyn TransactionalProducer>, LogError> {
        self.log.transactional_producer(id, timeout)
    }
    fn admin(&self) -> Result<Box<dyn Admin>, LogError> {
        self.log.admin()
    }
    fn member_with(&self, options: MemberOptions) -> Result<Box<dyn Group>, LogError> {
        self.log.member_with(options)
    }
}

const LONG: Duration = Duration::from_secs(60);

fn topic(log: &FileLog, name: &str, partitions: i32) -> Vec<TopicPartition> {
    log.admin().expect("admin").create_topics(&[NewTopic::new(name, partitions)]).expect("a new topic");
    (0..partitions).map(|n| TopicPartition::new(name, n)).collect()
}

fn send(producer: &mut (impl Producer + ?Sized), partition: &TopicPartition, values: &[&str]) {
    let headers = Headers::default();
    let records: Vec<_> = values
        .iter()
        .map(|value| Outgoing { key: None, value: Some(value.as_bytes()), timestamp: Timestamp::from_millis(1), headers: &headers })
        .collect();
    producer.send(partition, &records).expect("taken");
    assert!(producer.flush(LONG).failed.is_empty());
}

fn writer(log: &FileLog, id: &str) -> Box<dyn TransactionalProducer> {
    let mut writer = log.transactional_producer(id, LONG).expect("a producer");
    writer.init().expect("initialised");
    writer
}

fn read(log: &FileLog, partition: &TopicPartition, isolation: Isolation) -> Vec<String> {
    let mut reader = log.consumer(isolation).expect("a consumer");
    let begin = reader.begin_offsets(std::slice::from_ref(partition)).expect("there")[0];
    reader.assign(&[(partition.clone(), begin)]).expect("there");
    let mut read = Vec::new();
    loop {
        let visit = &mut |record: RawRecord<'_>| read.push(String::from_utf8_lossy(record.value.unwrap_or(b"null")).into_owned());
        if reader.fetch(partition, FetchLimit::default(), visit).expect("fetched").at_end() {
            return read;
        }
    }
}

fn ends(log: &FileLog, partition: &TopicPartition) -> (i64, i64) {
    let mut asker = log.consumer(Isolation::ReadCommitted).expect("a consumer");
    let mut end = |isolation| asker.end_offsets(std::slice::from_ref(partition), isolation).expect("asked")[0];
    (end(Isolation::ReadCommitted), end(Isolation::ReadUncommitted))
}

fn committed(log: &FileLog, partition: &TopicPartition) -> Result<Option<Position>, LogError> {
    let mut member = log.member("g", "m", Isolation::ReadCommitted).expect("a member");
    Ok(member.committed(std::slice::from_ref(partition))?.remove(0))
}

fn position(offset: i64) -> Position {
    Position { offset, metadata: format!("at {offset}") }
}

/// B31.
#[test]
fn records_settings_and_positions_are_there_again() {
    let folder = Folder::new();
    let log = folder.open();
    let config = NewTopic::new("t", 2).with("retention.ms", "77");
    log.admin().expect("admin").create_topics(&[NewTopic::new("gone", 1), config]).expect("made");
    log.admin().expect("admin").delete_topics(&["gone"]).expect("deleted");
    let partition = TopicPartition::new("t", 1);
    let mut headers = Headers::default();
    headers.add("h", "1");
    headers.add_null("n");
    let record = Outgoing { key: Some(b"k"), value: None, timestamp: Timestamp::from_millis(5), headers: &headers };
    log.producer().expect("a producer").send(&partition, &[record]).expect("taken");
    let mut member = log.member("g", "m", Isolation::ReadCommitted).expect("a member");
    member.commit(&MemberToken::nobody(), &[(partition.clone(), position(1))]).expect("committed");

    let after = folder.copy();
    let log = after.open();
    let admin = log.admin().expect("admin");
    assert_eq!(admin.list_topics().expect("listed"), ["t"]);
    assert_eq!(admin.describe_topics(&["t"]).expect("there")[0].config["retention.ms"], "77");
    let mut reader = log.consumer(Isolation::ReadCommitted).expect("a consumer");
    reader.assign(&[(partition.clone(), 0)]).expect("there");
    let mut seen = 0;
    let visit = &mut |r: RawRecord<'_>| {
        seen += 1;
        assert_eq!((r.offset, r.key, r.value, r.timestamp.as_millis()), (0, Some(&b"k"[..]), None, 5));
        assert_eq!(*r.headers, headers);
    };
    assert!(reader.fetch(&partition, FetchLimit::default(), visit).expect("fetched").at_end());
    assert_eq!(seen, 1);
    assert_eq!(committed(&log, &partition).expect("decided"), Some(position(1)));
    topic(&log, "gone", 1);
    assert_eq!(read(&log, &TopicPartition::new("gone", 0), Isolation::ReadUncommitted), [""; 0]);
    send(&mut *log.producer().expect("a producer"), &partition, &["next"]);
    assert_eq!(ends(&log, &partition), (2, 2), "offsets go on");
}

#[test]
fn a_second_process_is_told_who_has_the_folder() {
    let folder = Folder::new();
    let log = folder.open();
    let refused = folder.try_open().expect_err("it is open");
    assert!(matches!(&refused, LogError::InUse { owner: Some(owner), .. } if *owner == std::process::id()), "{refused}");
    drop(log);
    folder.open();
}

/// B32: an open transaction is aborted by the next init of its id, and the one after it counts.
#[test]
fn an_open_transaction_waits_for_the_next_init() {
    let folder = Folder::new();
    let log = folder.open();
    let partition = &topic(&log, "t", 1)[0];
    let mut before = writer(&log, "x");
    before.begin().expect("begun");
    send(&mut *before, partition, &["lost", "lost too"]);
    before.send_offsets("g", &MemberToken::nobody(), &[(partition.clone(), position(9))]).expect("taken");

    let after = folder.copy();
    let log = after.open();
    assert_eq!(ends(&log, partition), (0, 2), "open as before");
    assert!(matches!(committed(&log, partition), Err(LogError::PositionUndecided { .. })));
    let mut next = writer(&log, "x");
    assert_eq!((ends(&log, partition), committed(&log, partition).expect("decided")), ((3, 3), None));
    next.begin().expect("begun");
    send(&mut *next, partition, &["kept"]);
    next.commit().expect("committed");
    assert_eq!(read(&log, partition, Isolation::ReadCommitted), ["kept"]);
}

#[test]
fn an_open_transaction_times_out_after_a_restart_too() {
    let (folder, clock) = (Folder::new(), ManualClock::at(Timestamp::from_millis(0)));
    let log = folder.open_at(Arc::new(clock.clone())).expect("opened");
    let partition = &topic(&log, "t", 1)[0];
    let mut before = writer(&log, "x");
    before.begin().expect("begun");
    send(&mut *before, partition, &["lost"]);
    let after = folder.copy();
    let log = after.open_at(Arc::new(clock.clone())).expect("opened");
    clock.advance(LONG);
    assert_eq!(ends(&log, partition), (2, 2), "aborted by whoever asks");
    assert_eq!(read(&log, partition, Isolation::ReadCommitted), [""; 0]);
}

/// B42: between the decision and any of its markers.
#[test]
fn a_decided_transaction_is_complete_when_the_log_is_open() {
    for written in 0..4 {
        let folder = Folder::new();
        let log = folder.open();
        let partitions = topic(&log, "t", 2);
        let mut before = writer(&log, "x");
        before.begin().expect("begun");
        partitions.iter().for_each(|partition| send(&mut *before, partition, &["a", "b"]));
        before.send_offsets("g", &MemberToken::nobody(), &[(partitions[0].clone(), position(2))]).expect("taken");
        log.hold_markers(true);
        before.commit().expect("decided");
        (0..written).for_each(|_| assert!(log.write_next_marker()));

        let after = folder.copy();
        let log = after.open();
        assert_eq!(log.pending_markers(), []);
        assert_eq!(committed(&log, &partitions[0]).expect("decided"), Some(position(2)));
        for partition in &partitions {
            assert_eq!(ends(&log, partition), (3, 3), "{written} markers were written");
            assert_eq!(read(&log, partition, Isolation::ReadCommitted), ["a", "b"]);
        }
        let again = after.copy();
        assert_eq!(ends(&again.open(), &partitions[1]), (3, 3), "and once is enough");
    }
}

#[test]
fn an_epoch_outlives_its_process() {
    let folder = Folder::new();
    let log = folder.open();
    let partition = &topic(&log, "t", 1)[0];
    writer(&log, "x");
    let after = folder.copy();
    let log = after.open();
    let mut first = writer(&log, "x");
    first.begin().expect("begun");
    let mut second = writer(&log, "x");
    let headers = Headers::default();
    let record = Outgoing { key: None, value: None, timestamp: Timestamp::from_millis(1), headers: &headers };
    assert!(matches!(first.send(partition, &[record]), Err(LogError::ProducerFenced(_))));
    second.begin().expect("begun");
    second.send(partition, &[record]).expect("taken");
}

#[test]
fn deleted_records_stay_deleted_and_their_files_go() {
    let folder = Folder::new();
    let log = folder.open();
    let partition = &topic(&log, "t", 1)[0];
    let mut producer = log.producer().expect("a producer");
    for n in 0..100 {
        send(&mut *producer, partition, &[&format!("{n:0>100}")]);
    }
    let files = |folder: &Folder| fs::read_dir(folder.0.join("topics/1-t/0")).expect("listed").count();
    assert!(files(&folder) > 5, "segments are small here");
    assert_eq!(log.admin().expect("admin").delete_records(&[(partition.clone(), 95)]).expect("deleted"), [95]);
    assert!(files(&folder) <= 2);
    let after = folder.copy();
    let log = after.open();
    assert_eq!(read(&log, partition, Isolation::ReadCommitted).len(), 5);
    assert_eq!(
        log.consumer(Isolation::ReadCommitted).expect("a consumer").begin_offsets(std::slice::from_ref(partition)).expect("there"),
        [95]
    );
}

/// Every file with its bytes.
fn contents(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).expect("listed").map(|entry| entry.expect("listed")) {
        if entry.file_type().expect("known").is_dir() {
            all.extend(contents(&entry.path()));
        } else {
            all.push((entry.path(), fs::read(entry.path()).unwrap_or_default()));
        }
    }
    all.sort();
    all
}

fn seen(reader: &mut LogReader, partition: &TopicPartition) -> Vec<String> {
    let mut seen = Vec::new();
    let visit = &mut |record: RawRecord<'_>| seen.push(String::from_utf8_lossy(record.value.unwrap_or(b"null")).into_owned());
    reader.read(partition, 0, Isolation::ReadCommitted, FetchLimit::default(), visit).expect("read");
    seen
}

#[test]
fn who_reads_a_killed_processes_folder_sees_what_the_next_owner_will_and_changes_nothing() {
    let folder = Folder::new();
    let log = folder.open();
    let partitions = topic(&log, "t", 2);
    let mut writer = writer(&log, "x");
    writer.begin().expect("begun");
    partitions.iter().for_each(|partition| send(&mut *writer, partition, &["a"]));
    log.hold_markers(true);
    writer.commit().expect("decided");
    let killed = folder.copy();
    // Torn in the middle of a frame, and with what a killed process leaves of its door.
    let torn = killed.0.join("topics/1-t/0/00000000000000000000.0.segment");
    fs::OpenOptions::new().append(true).open(&torn).and_then(|mut file| file.write_all(b"HWf\x01to")).expect("written");
    drop(UnixListener::bind(killed.0.join("socket")).expect("bound"));
    fs::write(killed.0.join("socket.path"), killed.0.join("socket").display().to_string()).expect("written");

    let before = contents(&killed.0);
    let mut reader = FileLog::open_or_ask(&killed.0).expect("nobody has it");
    assert!(!reader.is_live());
    assert_eq!(seen(&mut reader, &partitions[0]), ["a"], "it is decided");
    let standing = &reader.topics().expect("listed")[0].partitions[0];
    assert_eq!((standing.begin, standing.end, standing.stable_end), (0, 2, 2));
    drop(reader);
    assert!(before == contents(&killed.0), "nothing is changed");
    let log = killed.open();
    assert_eq!(ends(&log, &partitions[0]), (2, 2));
    let mut reader = FileLog::open_or_ask(&killed.0).expect("asked");
    assert_eq!((reader.is_live(), reader.owner()), (true, Some(std::process::id())), "the new owner has its own door");
    assert_eq!(seen(&mut reader, &partitions[0]), ["a"]);
}

/// A child that a process starts has its locks for a moment: the owner is gone, its door is too, and the folder is still locked.
#[test]
fn an_owner_that_goes_while_it_is_asked_leaves_its_files_to_the_reader() {
    let folder = Folder::new();
    let log = folder.open();
    topic(&log, "t", 1);
    drop(log);
    let held = fs::File::open(folder.0.join("LOCK")).expect("a lock");
    held.try_lock().expect("nobody has it");
    let reader = std::thread::spawn({
        let folder = folder.0.clone();
        move || FileLog::open_or_ask(&folder).map(|mut reader| (reader.is_live(), reader.topics().expect("listed").len()))
    });
    std::thread::sleep(Duration::from_millis(300));
    drop(held);
    assert_eq!(reader.join().expect("it looks").expect("nobody has it"), (false, 1));
}

#[test]
fn a_folder_with_a_long_name_has_its_door_elsewhere() {
    let outer = Folder::new();
    let folder = Folder(outer.0.join("n".repeat(150)));
    let log = folder.open();
    let partition = &topic(&log, "t", 1)[0];
    send(&mut *log.producer().expect("a producer"), partition, &["a"]);
    let mut member = log.member("g", "m", Isolation::ReadCommitted).expect("a member");
    member.commit(&MemberToken::nobody(), &[(partition.clone(), position(1))]).expect("committed");
    let door = PathBuf::from(fs::read_to_string(folder.0.join("socket.path")).expect("a note"));
    assert!(door.exists() && !door.starts_with(&folder.0));
    let mut reader = FileLog::open_or_ask(&folder.0).expect("asked");
    assert_eq!(seen(&mut reader, partition), ["a"]);
    let groups = reader.groups().expect("listed");
    assert_eq!((groups[0].name.as_str(), &groups[0].positions), ("g", &vec![(partition.clone(), position(1))]));
    drop((log, member));
    assert!(!door.exists(), "it is shut with the log");
    assert!(matches!(reader.topics(), Err(LogError::Unanswered { .. })));
}

#[test]
fn memory_does_not_grow_with_the_log() {
    let folder = Folder::new();
    let options = FileLogOptions { durability: Durability::ProcessKill, segment_bytes: 4 << 20, ..FileLogOptions::default() };
    let log = FileLog::open(&folder.0, Arc::new(SystemClock), options).expect("opened");
    let partition = &topic(&log, "t", 1)[0];
    let mut producer = log.producer().expect("a producer");
    let mut reader = log.consumer(Isolation::ReadCommitted).expect("a consumer");
    reader.assign(&[(partition.clone(), 0)]).expect("there");
    let (headers, mut read) = (Headers::default(), 0);
    let record = Outgoing { key: Some(b"key"), value: Some(&[7; 997]), timestamp: Timestamp::from_millis(1), headers: &headers };
    for _ in 0..200 {
        producer.send(partition, &[record; 100]).expect("taken");
        // One that reads along, so that blocks end early.
        reader.fetch(partition, FetchLimit { records: 30, bytes: usize::MAX }, &mut |_| read += 1).expect("fetched");
    }
    let (bytes, blocks) = log.0.0.topics.partition(partition).expect("there").in_memory();
    assert!(bytes < 1 << 20, "{bytes} of 20 MB are in memory");
    assert!(blocks < 200, "{blocks} blocks of at most 256 KiB");
    while !reader.fetch(partition, FetchLimit::default(), &mut |_| read += 1).expect("fetched").at_end() {}
    assert_eq!(read, 20_000);
}

#[test]
fn producers_that_flush_together_wait_together() {
    let folder = Folder::new();
    let log = FileLog::open(&folder.0, Arc::new(SystemClock), FileLogOptions::default()).expect("opened");
    let partitions = topic(&log, "t", 8);
    let (before, disk) = (log.disk_waits(), log.0.0.storage.disk());
    let asked = disk.asked();
    disk.hold();
    thread::scope(|scope| {
        let producers: Vec<_> = partitions
            .iter()
            .map(|partition| {
                let log = log.clone();
                scope.spawn(move || send(&mut *log.producer().expect("a producer"), partition, &["x"]))
            })
            .collect();
        while disk.asked() < asked + 8 {
            thread::yield_now();
        }
        assert!(producers.iter().all(|producer| !producer.is_finished()), "nothing is acknowledged that is not on the disk");
        disk.release();
    });
    let waits = log.disk_waits() - before;
    assert_eq!(waits, 2, "8 flushes at one time take one wait for the disk, beside the one that was there before");
}

/// Bytes of a file up to its last frame, as if that had never reached the disk.
fn without_last_frame(path: &Path) {
    let bytes = fs::read(path).expect("there");
    let last = bytes.windows(4).rposition(|window| window == b"HWf\x01").expect("a frame");
    fs::write(path, &bytes[..last]).expect("written");
}

#[test]
fn a_marker_that_never_reached_the_disk_is_written_by_its_own_decision() {
    let folder = Folder::new();
    let log = folder.open();
    let partitions = topic(&log, "t", 2);
    let mut writer = writer(&log, "x");
    writer.begin().expect("begun");
    send(&mut *writer, &partitions[0], &["kept"]);
    writer.commit().expect("committed");
    writer.begin().expect("begun");
    send(&mut *writer, &partitions[1], &["dropped"]);
    writer.abort().expect("aborted");
    let failed = folder.copy();
    without_last_frame(&failed.0.join("topics/1-t/0/00000000000000000000.0.segment"));
    let log = failed.open();
    assert_eq!((read(&log, &partitions[0], Isolation::ReadCommitted), ends(&log, &partitions[0])), (vec!["kept".to_owned()], (2, 2)));
    assert_eq!(read(&log, &partitions[1], Isolation::ReadCommitted), [""; 0]);
}

#[test]
fn a_transaction_whose_beginning_never_reached_the_disk_is_aborted() {
    let folder = Folder::new();
    let log = folder.open();
    let partition = &topic(&log, "t", 1)[0];
    let mut lost = writer(&log, "x");
    lost.begin().expect("begun");
    send(&mut *lost, partition, &["lost"]);
    let failed = folder.copy();
    without_last_frame(&failed.0.join("journal-0000000001"));
    let log = failed.open();
    assert_eq!(ends(&log, partition), (2, 2), "nobody will ever decide it");
    let mut next = writer(&log, "x");
    next.begin().expect("begun");
    send(&mut *next, partition, &["kept"]);
    next.commit().expect("committed");
    assert_eq!(read(&log, partition, Isolation::ReadCommitted), ["kept"]);
}

#[test]
fn a_position_whose_records_never_reached_the_disk_is_moved_back() {
    let folder = Folder::new();
    let log = folder.open();
    let partition = &topic(&log, "t", 1)[0];
    let mut producer = log.producer().expect("a producer");
    ["a", "b"].iter().for_each(|value| send(&mut *producer, partition, &[value]));
    let mut member = log.member("g", "m", Isolation::ReadCommitted).expect("a member");
    member.commit(&MemberToken::nobody(), &[(partition.clone(), position(2))]).expect("committed");
    let failed = folder.copy();
    without_last_frame(&failed.0.join("topics/1-t/0/00000000000000000000.0.segment"));
    let log = FileLog::open(&failed.0, Arc::new(SystemClock), FileLogOptions::default()).expect("opened");
    let moved = committed(&log, partition).expect("decided").expect("there");
    assert_eq!((moved.offset, moved.metadata.as_str()), (1, "at 2"));
}

#[test]
fn a_long_journal_is_replaced_by_a_short_one() {
    let folder = Folder::new();
    let log = folder.open();
    let partitions = topic(&log, "t", 2);
    let (mut open, mut done) = (writer(&log, "open"), writer(&log, "done"));
    open.begin().expect("begun");
    send(&mut *open, &partitions[0], &["undecided"]);
    let mut member = log.member("g", "m", Isolation::ReadCommitted).expect("a member");
    let journals = |folder: &Folder| -> Vec<_> {
        let names = fs::read_dir(&folder.0).expect("listed").map(|entry| entry.expect("listed").file_name().into_string().expect("text"));
        names.filter(|name| name.starts_with("journal")).collect()
    };
    let mut replaced = 0;
    for n in 0..900 {
        done.begin().expect("begun");
        send(&mut *done, &partitions[1], &["x"]);
        done.commit().expect("committed");
        let position = Position { offset: n, metadata: "m".repeat(4000) };
        member.commit(&MemberToken::nobody(), &[(partitions[1].clone(), position)]).expect("committed");
        replaced += i32::from(journals(&folder) != ["journal-0000000001"]);
    }
    assert!(replaced > 0 && journals(&folder).len() == 1, "{:?}", journals(&folder));
    let killed = folder.copy();
    fs::write(killed.0.join("journal-0000000001"), b"left over").expect("written");
    fs::write(killed.0.join("journal.draft"), b"begun").expect("written");
    let log = killed.open();
    assert_eq!(committed(&log, &partitions[1]).expect("decided").map(|position| position.offset), Some(899));
    assert_eq!((ends(&log, &partitions[0]), ends(&log, &partitions[1])), ((0, 1), (1800, 1800)));
    writer(&log, "open");
    assert_eq!(ends(&log, &partitions[0]), (2, 2));
    assert_eq!(journals(&killed).iter().filter(|name| *name != "journal.draft").count(), 1);
}

#[test]
fn a_deleted_part_of_an_open_transaction_still_gets_its_marker() {
    let folder = Folder::new();
    let log = folder.open();
    let partition = &topic(&log, "t", 1)[0];
    let mut lost = writer(&log, "x");
    lost.begin().expect("begun");
    send(&mut *lost, partition, &["undecided"]);
    let mut producer = log.producer().expect("a producer");
    for n in 0..50 {
        send(&mut *producer, partition, &[&format!("{n:0>100}")]);
    }
    let admin = log.admin().expect("admin");
    assert_eq!(admin.delete_records(&[(partition.clone(), 45)]).expect("deleted"), [45]);
    let killed = folder.copy();
    let log = killed.open();
    assert_eq!(ends(&log, partition), (45, 51), "what comes after it waits, as before");
    writer(&log, "x");
    assert_eq!(ends(&log, partition), (52, 52));
    assert_eq!(log.admin().expect("admin").delete_records(&[(partition.clone(), 46)]).expect("deleted"), [46]);
    let files = fs::read_dir(killed.0.join("topics/1-t/0")).expect("listed").count();
    assert!(files <= 2, "{files} files are left once nobody needs them");
}

#[test]
fn a_compaction_that_was_killed_before_or_after_its_one_step_leaves_no_trace() {
    let folder = Folder::new();
    let log = folder.open();
    let partition = &topic(&log, "t", 1)[0];
    let (mut producer, headers) = (log.producer().expect("a producer"), Headers::default());
    for n in 0..60 {
        let (key, value) = (format!("k{}", n % 3), format!("{n:0>100}"));
        let record =
            Outgoing { key: Some(key.as_bytes()), value: Some(value.as_bytes()), timestamp: Timestamp::from_millis(1), headers: &headers };
        producer.send(partition, &[record]).expect("taken");
    }
    let path = |folder: &Folder| folder.0.join("topics/1-t/0");
    let before = folder.copy();
    log.compact("t").expect("compacted");
    let left = read(&log, partition, Isolation::ReadCommitted);
    assert_eq!(left.len(), 3);

    fs::write(path(&before).join("00000000000000000000.draft"), b"HWsegmnt and no more").expect("written");
    assert_eq!(read(&before.open(), partition, Isolation::ReadCommitted).len(), 60, "not done");
    assert!(!path(&before).join("00000000000000000000.draft").exists());

    let after = folder.copy();
    for old in contents(&path(&before)) {
        let place = path(&after).join(old.0.file_name().expect("a file"));
        if !place.exists() {
            fs::write(place, old.1).expect("written");
        }
    }
    let files = contents(&path(&after)).len();
    assert!(files > 5, "{files} files: the old segments are there beside the new one");
    assert_eq!(seen(&mut FileLog::open_or_ask(&after.0).expect("nobody has it"), partition), left);
    assert_eq!(contents(&path(&after)).len(), files, "who only looks removes nothing");
    let log = after.open();
    assert_eq!((read(&log, partition, Isolation::ReadCommitted), ends(&log, partition)), (left, (60, 60)));
    assert!(contents(&path(&after)).len() < 4, "the old ones are removed");
}
