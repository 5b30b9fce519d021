//! `highwater topics` and `highwater read`, on a folder that nobody has and on one that this process has.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use highwater::kafka::{Connect, FileLog, FileLogOptions, NewTopic, Outgoing, Producer};
use highwater::{Headers, SystemClock, Timestamp, TopicPartition};

use crate::cli::{highwater, text};

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        Folder(path)
    }
    fn name(&self) -> &str {
        self.0.to_str().expect("text")
    }
    fn open(&self) -> FileLog {
        FileLog::open(&self.0, Arc::new(SystemClock), FileLogOptions::default()).expect("opened")
    }
    /// A log with three committed records in two partitions, and one that is not decided.
    fn filled(&self) -> FileLog {
        let log = self.open();
        let compacted = NewTopic::new("orders", 2).with("cleanup.policy", "compact");
        log.admin().expect("admin").create_topics(&[compacted, NewTopic::new("other", 1)]).expect("made");
        let mut producer = log.producer().expect("a producer");
        send(&mut *producer, 0, b"anna", Some(b"3 pears"));
        send(&mut *producer, 0, b"bert", None);
        send(&mut *producer, 1, &[0, 1], Some(b"tab\there"));
        let mut transaction = log.transactional_producer("x", Duration::from_secs(600)).expect("a producer");
        transaction.init().expect("initialised");
        transaction.begin().expect("begun");
        send(&mut *transaction, 1, b"open", Some(b"undecided"));
        log
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn send(producer: &mut (impl Producer + ?Sized), partition: i32, key: &[u8], value: Option<&[u8]>) {
    let headers = Headers::default();
    let record = Outgoing { key: Some(key), value, timestamp: Timestamp::from_millis(1_700_000_000_000), headers: &headers };
    producer.send(&TopicPartition::new("orders", partition), &[record]).expect("taken");
    assert!(producer.flush(Duration::from_secs(120)).failed.is_empty());
}

fn shown(args: &[&str]) -> String {
    let output = highwater(args);
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout)
}

fn refused(args: &[&str]) -> String {
    let output = highwater(args);
    assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
    text(&output.stderr)
}

/// All that both commands show of the filled log.
fn looks_as_filled(folder: &Folder) {
    let topics = shown(&["topics", folder.name()]);
    let columns: Vec<Vec<&str>> = topics.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(columns[0], ["TOPIC", "PARTITION", "BEGIN", "END", "UNDECIDED", "BYTES", "POLICY"]);
    let without_bytes: Vec<_> = columns[1..].iter().map(|row| [&row[..5], &row[6..]].concat()).collect();
    assert_eq!(
        without_bytes,
        [["orders", "0", "0", "2", "0", "compact"], ["orders", "1", "0", "2", "1", "compact"], ["other", "0", "0", "0", "0", "delete"]]
    );
    let json = shown(&["topics", folder.name(), "--json"]);
    let first: serde_json::Value = serde_json::from_str(json.lines().next().expect("a line")).expect("an object");
    assert_eq!(
        (&first["topic"], &first["partitions"][1]["stable_end"], &first["config"]["segment.ms"]),
        (&"orders".into(), &1.into(), &"604800000".into())
    );

    let time = "2023-11-14T22:13:20.000Z";
    let lines =
        [format!("0\t0\t{time}\tanna\t3 pears\n"), format!("0\t1\t{time}\tbert\tnull\n"), format!("1\t0\t{time}\t0x0001\ttab\\there\n")];
    assert_eq!(shown(&["read", folder.name(), "orders"]), lines.concat());
    assert_eq!(shown(&["read", folder.name(), "orders", "--from", "-1"]), lines[1..].concat());
    assert_eq!(shown(&["read", folder.name(), "orders", "--partition", "0", "--from", "1"]), lines[1]);
    assert_eq!(shown(&["read", folder.name(), "orders", "--limit", "1"]), lines[0]);
    assert_eq!(shown(&["read", folder.name(), "orders", "--from", "latest"]), "");
    let all = shown(&["read", folder.name(), "orders", "--isolation", "uncommitted"]);
    assert!(all.ends_with("\topen\tundecided\n"), "{all}");
    let json = shown(&["read", folder.name(), "orders", "--json", "--partition", "1"]);
    let record: serde_json::Value = serde_json::from_str(&json).expect("one object");
    assert_eq!((&record["key"]["hex"], &record["value"]), (&"0001".into(), &"tab\there".into()));

    assert!(refused(&["read", folder.name(), "order"]).contains("did you mean `orders`?"));
    assert!(refused(&["read", folder.name(), "nonsense"]).contains("it has orders, other"));
    assert!(refused(&["read", folder.name(), "orders", "--partition", "2"]).contains("they are 0 to 1"));
    let beyond = refused(&["read", folder.name(), "orders", "--partition", "0", "--from", "9"]);
    assert!(beyond.contains("no offset 9: it holds 0 to 2"), "{beyond}");
}

#[test]
fn a_folder_that_a_process_has_is_asked_for() {
    let folder = Folder::new("live-log");
    let _log = folder.filled();
    looks_as_filled(&folder);
}

#[test]
fn a_folder_that_nobody_has_is_read_and_left_as_it_was() {
    let folder = Folder::new("closed-log");
    drop(folder.filled());
    looks_as_filled(&folder);
    looks_as_filled(&folder);
    folder.open();
}

#[test]
fn a_folder_without_a_log_is_no_empty_log() {
    let folder = Folder::new("no-log");
    assert!(refused(&["topics", folder.name()]).contains("there is no log in"));
    assert!(!folder.0.exists());
    fs::create_dir(&folder.0).expect("made");
    assert!(refused(&["read", folder.name(), "t"]).contains("there is no log in"));
    drop(folder.open());
    assert_eq!(shown(&["topics", folder.name()]), "no topics yet\n");
}

#[test]
fn following_goes_on_when_the_folder_changes_hands() {
    let folder = Folder::new("followed-log");
    let log = folder.filled();
    let mut command = Command::new(env!("CARGO_BIN_EXE_highwater"));
    let command = command.args(["read", folder.name(), "orders", "--partition", "0", "--from", "1", "--follow", "--limit", "4"]);
    let mut follower = command.stdout(Stdio::piped()).spawn().expect("the binary starts");
    let mut lines = BufReader::new(follower.stdout.take().expect("piped")).lines();
    let mut next = || lines.next().expect("a line").expect("text");
    assert!(next().ends_with("bert\tnull"));
    send(&mut *log.producer().expect("a producer"), 0, b"k", Some(b"from the first owner"));
    assert!(next().ends_with("from the first owner"));
    drop(log);
    std::thread::sleep(Duration::from_millis(500));
    let log = folder.open();
    send(&mut *log.producer().expect("a producer"), 0, b"k", Some(b"from the second owner"));
    assert!(next().ends_with("from the second owner"));
    send(&mut *log.producer().expect("a producer"), 0, b"k", Some(b"the last"));
    assert!(next().ends_with("the last"));
    assert!(follower.wait().expect("it ends").success(), "after the limit");
}
