//! `highwater run` as an operator meets it: what the terminal says when something is in the way, and that the job goes on, or ends, as it was told.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use highwater::kafka::{KafkaConfig, KafkaLog, NewTopic};

use super::broker::{self, Broker};
use super::java::{self, Java, JavaOptions};
use super::reading;

const PATIENCE: Duration = Duration::from_secs(150);
/// How long a person may be left without a word.
const SECONDS: Duration = Duration::from_secs(8);

/// What a person is promised, with `STRICT`; else as much as a machine may need that has other things to do.
pub(super) fn soon(promised: Duration) -> Duration {
    if std::env::var_os("STRICT").is_some() { promised } else { PATIENCE }
}

/// One job with a folder and topics of its own.
pub(super) struct Desk {
    name: String,
    pub(super) folder: PathBuf,
}

impl Desk {
    pub(super) fn new(name: &str) -> Desk {
        let name = format!("{name}-{}", std::process::id());
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("operator-{name}"));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        let desk = Desk { name, folder };
        desk.write_job("topics: {create: all}\n");
        desk
    }

    fn write_job(&self, more: &str) {
        let name = &self.name;
        let text = format!(
            "job: windowed-counts\napplication: {name}\ninput:\n  topic: {name}-clicks\n  format: json\n  key: who\n  \
             event-time: {{field: at, format: epoch-ms}}\nwindow:\n  tumbling: 1s\nemit: on-update\noutput:\n  topic: {name}-counts\n{more}"
        );
        fs::write(self.folder.join("job.yaml"), text).unwrap();
        let clicks: String = (0..20).map(|n| format!("{{\"who\":\"u{}\",\"at\":{}}}\n", n % 3, n * 100)).collect();
        fs::write(self.folder.join("clicks.jsonl"), clicks).unwrap();
    }

    /// `highwater run job.yaml`, and what else is typed.
    pub(super) fn run(&self, args: &[&str]) -> Run {
        let log = self.folder.join(format!("{}.said", fs::read_dir(&self.folder).unwrap().count()));
        let said = File::create(&log).unwrap();
        // Who runs the tests in the background of a script has told them, and so their children, to pass over Ctrl-C.
        let mut command = Command::new("env");
        command
            .args(["--default-signal=INT", env!("CARGO_BIN_EXE_highwater"), "run", "job.yaml"])
            .args(args)
            .current_dir(&self.folder)
            .stdin(Stdio::null());
        let child = command.stdout(said.try_clone().unwrap()).stderr(said).spawn().unwrap();
        Run { child, log }
    }

    fn on(&self, broker: &Broker, more: &[&str]) -> Run {
        self.run(&[&["--bootstrap", broker.bootstrap(), "--state-dir", "state"], more].concat())
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        if !thread::panicking() {
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}

/// A run of the program. It is killed when it is dropped.
pub(super) struct Run {
    child: Child,
    log: PathBuf,
}

impl Run {
    pub(super) fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    fn until_it_says(&self, words: &str, within: Duration) {
        let until = Instant::now() + within;
        while !self.said().contains(words) {
            assert!(Instant::now() < until, "it does not say `{words}`:\n{}", self.said());
            thread::sleep(Duration::from_millis(50));
        }
    }

    fn signal(&self, signal: &str) {
        assert!(Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap().success());
    }

    pub(super) fn ends(&mut self, within: Duration) -> ExitStatus {
        let until = Instant::now() + within;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < until, "it does not end:\n{}", self.said());
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn ends_well(mut self) -> String {
        let status = self.ends(PATIENCE);
        assert!(status.success(), "{status}:\n{}", self.said());
        self.said()
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An address where nothing answers, and that nobody else gets.
fn nowhere() -> String {
    format!("127.0.0.1:{}", broker::properties::free_port())
}

#[test]
fn a_cluster_that_is_not_there_is_told_of_within_seconds_and_ctrl_c_ends_the_wait() {
    let desk = Desk::new("nowhere");
    let mut run = desk.run(&["--bootstrap", &nowhere(), "--state-dir", "state"]);
    run.until_it_says("the cluster has not answered yet: waiting for at most 120 s; Ctrl-C ends this", soon(SECONDS));
    run.until_it_says("Connection refused", soon(Duration::from_secs(20)));
    run.signal("-INT");
    let ended = run.ends(soon(Duration::from_secs(2)));
    assert!(!ended.success(), "{ended}");
}

#[test]
fn a_cluster_that_comes_later_is_worked_on_when_it_comes() {
    let Some(broker) = Broker::shared() else { return };
    // A door that is locked at first.
    let address = nowhere();
    let desk = Desk::new("later");
    let properties = format!("bootstrap.servers={address},{}\n", nowhere());
    fs::write(desk.folder.join("client.properties"), properties).unwrap();
    let run = desk.run(&["--kafka-config", "client.properties", "--state-dir", "state", "--feed", "clicks.jsonl", "--until", "end"]);
    run.until_it_says("waiting", soon(SECONDS));
    let _door = Door::open(&address, broker.bootstrap());
    let said = run.ends_well();
    assert!(said.contains("records read   20"), "{said}");
}

/// Lets through to another address what comes to one.
struct Door;

impl Door {
    fn open(at: &str, to: &str) -> Door {
        let (listener, to) = (TcpListener::bind(at).unwrap(), to.to_owned());
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let Ok(there) = std::net::TcpStream::connect(&to) else { continue };
                for (mut from, mut into) in [(stream.try_clone().unwrap(), there.try_clone().unwrap()), (there, stream)] {
                    thread::spawn(move || std::io::copy(&mut from, &mut into));
                }
            }
        });
        Door
    }
}

#[test]
fn each_typing_error_of_a_job_file_is_named_with_its_line_and_what_was_meant() {
    let desk = Desk::new("typos");
    let path = desk.folder.join("job.yaml");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("window:", "windw:").replace("  format: json", "  fromat: json").replace("on-update", "on-updaet"))
        .unwrap();
    let mut run = desk.run(&["--bootstrap", "127.0.0.1:1"]);
    assert_eq!(run.ends(soon(SECONDS)).code(), Some(2));
    let said = run.said();
    let lines: Vec<_> = said.lines().collect();
    assert_eq!(lines.len(), 3, "{said}");
    assert!(lines[0].starts_with("job.yaml:5:3: ") && lines[0].ends_with("did you mean `format`?"), "{said}");
    assert!(lines[1].starts_with("job.yaml:8:1: ") && lines[1].ends_with("did you mean `window`?"), "{said}");
    assert!(lines[2].starts_with("job.yaml:10:7: ") && lines[2].ends_with("did you mean `on-update`?"), "{said}");
}

#[test]
fn topics_that_are_missing_are_named_with_what_makes_them() {
    let Some(broker) = Broker::shared() else { return };
    let desk = Desk::new("missing");
    desk.write_job("");
    let log = KafkaLog::new(KafkaConfig::new(broker.bootstrap()));
    reading::made(&log, &[NewTopic::new(format!("{}-counts", desk.name), 1)]);
    let mut run = desk.on(broker, &[]);
    assert_eq!(run.ends(PATIENCE).code(), Some(2));
    let said = run.said();
    assert!(said.contains("`topics: {create: all}`") && said.contains(&format!("--create --topic {}-clicks ", desk.name)), "{said}");
    assert!(!said.contains(&format!("--topic {}-counts ", desk.name)), "that one is there: {said}");
}

/// A state folder in use, a second instance beside it, a kill, and a start after it.
#[test]
fn a_second_instance_and_a_killed_one() {
    let Some(broker) = Broker::shared() else { return };
    let desk = Desk::new("second");
    let first = desk.on(broker, &["--feed", "clicks.jsonl"]);
    first.until_it_says("one copy only", PATIENCE); // it runs
    let mut second = desk.on(broker, &[]);
    assert_eq!(second.ends(PATIENCE).code(), Some(1));
    let said = second.said();
    assert!(
        said.contains(&format!("in use by process {}: stop it, or give each instance its own `--state-dir`", first.child.id())),
        "{said}"
    );

    // One partition: there is nothing for it to do, and it says so.
    let mut idle = desk.run(&["--bootstrap", broker.bootstrap(), "--state-dir", "state-2"]);
    idle.until_it_says("nothing to do here yet: other instances have all tasks", PATIENCE);
    idle.signal("-INT");
    assert!(idle.ends(PATIENCE).success(), "{}", idle.said());

    first.signal("-KILL");
    drop(first);
    let last = desk.on(broker, &["--until", "end", "--output", "counts.csv"]);
    last.ends_well();
    let counts = fs::read_to_string(desk.folder.join("counts.csv")).unwrap();
    let counted: u64 = counts.lines().skip(1).map(|row| row.rsplit(',').next().unwrap().parse::<u64>().unwrap()).sum();
    assert_eq!(counted, 20, "{counts}");
}

#[test]
fn a_java_application_of_the_same_name_is_named_and_waited_for() {
    let Some(broker) = Broker::shared() else { return };
    let program = match java::program() {
        Ok(program) => program,
        Err(why) => return broker::do_without(&why).unwrap_or_default(),
    };
    let desk = Desk::new("java");
    let log = KafkaLog::new(KafkaConfig::new(broker.bootstrap()));
    let topics = ["in", "counts", "per-minute"].map(|topic| NewTopic::new(format!("{}-{topic}", desk.name), 1));
    reading::made(&log, &topics);
    // The Java program has a store of the same name, and nothing in it.
    let changelog = NewTopic::new(format!("{}-counts-changelog", desk.name), 1).with("cleanup.policy", "compact,delete");
    reading::made(&log, &[changelog]);
    let state = desk.folder.join("java");
    let options =
        JavaOptions { bootstrap: broker.bootstrap(), application: &desk.name, state: &state, settings: &["group.protocol=classic"] };
    let mut java = Java::start(&program, &options);
    java.wait_until_running();
    let run = desk.on(broker, &["--feed", "clicks.jsonl", "--until", "end"]);
    run.until_it_says(&format!("waiting until the group `{}` is empty: it has 1 member of another kind", desk.name), PATIENCE);
    java.leave();
    run.until_it_says("the group is empty: this job goes on", PATIENCE);
    let said = run.ends_well();
    assert!(said.contains("records read   20"), "{said}");
}
