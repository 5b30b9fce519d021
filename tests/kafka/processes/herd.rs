//! Several processes of one application on a cluster, and what can be done to them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use highwater::TopicPartition;
use highwater::kafka::{Connect, Isolation, KafkaConfig, KafkaLog, NewTopic};

use super::child::{NAME, ORDERS, Orders, micros};
use super::flow::PARTITIONS;
use crate::broker::Broker;
use crate::reading;

pub(crate) const PATIENCE: Duration = Duration::from_secs(300);
pub(crate) const COMMIT: Duration = Duration::from_millis(100);
/// How long a process may be silent, where the member says it; a little longer where the broker does.
pub(crate) const SESSION: Duration = Duration::from_millis(1_500);
const SESSION_BY_BROKER: Duration = Duration::from_secs(6);
pub(crate) const TRANSACTION: Duration = Duration::from_secs(2);

/// The broker of these tests: its sessions are short.
pub(crate) fn broker() -> Option<&'static Broker> {
    Broker::shared()
}

/// How the application runs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Way {
    pub(crate) exactly_once: bool,
    pub(crate) by_broker: bool,
}

impl Way {
    pub(crate) const ALL: [Way; 4] = [
        Way { exactly_once: true, by_broker: false },
        Way { exactly_once: false, by_broker: false },
        Way { exactly_once: true, by_broker: true },
        Way { exactly_once: false, by_broker: true },
    ];

    pub(crate) fn name(self) -> String {
        let guarantee = if self.exactly_once { "exactly once" } else { "at least once" };
        let protocol = if self.by_broker { "KIP-848" } else { "classic" };
        format!("{guarantee}, {protocol}")
    }

    /// How long it takes until a silent member is noticed.
    pub(crate) fn session(self) -> Duration {
        if self.by_broker { SESSION_BY_BROKER } else { SESSION }
    }
}

/// The partitions of tasks as a process notes them: `0_3:running` and so on.
pub(crate) fn numbers(tasks: &str) -> BTreeSet<i32> {
    let ids = tasks.split_whitespace().filter_map(|task| task.split_once(':'));
    ids.filter_map(|(id, _)| id.rsplit('_').next()?.parse().ok()).collect()
}

/// All processes of an application.
pub(crate) struct Herd {
    pub(crate) model: Orders,
    folder: PathBuf,
    running: BTreeMap<String, Child>,
}

impl Herd {
    pub(crate) fn new(bootstrap: &str, way: Way) -> Herd {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let application = format!("herd-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::SeqCst));
        let folder = std::env::temp_dir().join(format!("highwater-{application}"));
        fs::create_dir_all(&folder).unwrap();
        let model = Orders {
            bootstrap: bootstrap.to_owned(),
            application,
            name: String::new(),
            instance: None,
            folder: folder.clone(),
            exactly_once: way.exactly_once,
            by_broker: way.by_broker,
            session: SESSION,
            transaction: TRANSACTION,
            commit: COMMIT,
        };
        let topics = [NewTopic::new(model.input(), PARTITIONS), NewTopic::new(model.output(), PARTITIONS)];
        let herd = Herd { model, folder, running: BTreeMap::new() };
        reading::made(&herd.log(), &topics);
        herd
    }

    pub(crate) fn log(&self) -> KafkaLog {
        KafkaLog::new(KafkaConfig::new(&*self.model.bootstrap))
    }

    /// Starts a process; a lasting one gets its name as its name in the group.
    pub(crate) fn start(&mut self, name: &str, lasting: bool) {
        let orders = Orders { name: name.to_owned(), instance: lasting.then(|| name.to_owned()), ..self.model.clone() };
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", NAME, "--nocapture", "--test-threads=1"]).env(ORDERS, serde_json::to_string(&orders).unwrap());
        let errors = fs::OpenOptions::new().create(true).append(true).open(self.folder.join(format!("{name}.stderr"))).unwrap();
        let child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(errors).spawn().unwrap();
        assert!(self.running.insert(name.to_owned(), child).is_none(), "{name} runs");
    }

    /// Tells a process to stop.
    pub(crate) fn tell_to_stop(&mut self, name: &str) {
        let process = self.running.get_mut(name).unwrap();
        writeln!(process.stdin.as_mut().unwrap(), "stop").unwrap();
    }

    /// Waits until a process that was told to has stopped.
    pub(crate) fn stopped(&mut self, name: &str) {
        let mut process = self.running.remove(name).unwrap();
        let until = Instant::now() + PATIENCE;
        while process.try_wait().unwrap().is_none() {
            if Instant::now() > until {
                process.kill().unwrap();
                panic!("{name} does not stop:\n{}", self.story());
            }
            thread::sleep(Duration::from_millis(5));
        }
        let last = self.last(name, "stopped");
        assert!(last.is_some(), "{name} did not stop as it should:\n{}", self.story());
    }

    pub(crate) fn stop(&mut self, name: &str) {
        self.tell_to_stop(name);
        self.stopped(name);
    }

    pub(crate) fn stop_all(&mut self) {
        let names: Vec<_> = self.running.keys().cloned().collect();
        names.iter().for_each(|name| self.tell_to_stop(name));
        names.iter().for_each(|name| self.stopped(name));
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self, name: &str) {
        let mut process = self.running.remove(name).unwrap();
        process.kill().unwrap();
        process.wait().unwrap();
    }

    /// `STOP` or `CONT`.
    pub(crate) fn signal(&self, name: &str, signal: &str) {
        let pid = self.running[name].id().to_string();
        assert!(Command::new("sh").args(["-c", "kill -\"$0\" \"$1\"", signal, &pid]).status().unwrap().success());
    }

    pub(crate) fn running(&self) -> Vec<String> {
        self.running.keys().cloned().collect()
    }

    /// What a process wrote down, of all its lives: when, the word, the rest.
    pub(crate) fn notes(&self, name: &str) -> Vec<(i64, String, String)> {
        let orders = Orders { name: name.to_owned(), ..self.model.clone() };
        let text = fs::read_to_string(orders.notes()).unwrap_or_default();
        let note = |line: &str| {
            let mut parts = line.splitn(3, ' ');
            Some((parts.next()?.parse().ok()?, parts.next()?.to_owned(), parts.next().unwrap_or_default().to_owned()))
        };
        text.lines().filter_map(note).collect()
    }

    /// The last note with this word in the present life of a process.
    pub(crate) fn last(&self, name: &str, word: &str) -> Option<(i64, String)> {
        let notes = self.notes(name);
        let begun = notes.iter().rposition(|(_, word, _)| word == "started")?;
        notes[begun..].iter().rev().find(|(_, found, _)| found == word).map(|(at, _, rest)| (*at, rest.clone()))
    }

    /// All notes with this word from a moment on.
    pub(crate) fn since(&self, name: &str, word: &str, from: i64) -> Vec<String> {
        let notes = self.notes(name).into_iter();
        notes.filter(|(at, found, _)| *at >= from && found == word).map(|(_, _, rest)| rest).collect()
    }

    /// The tasks of a process by number, and whether all of them run.
    pub(crate) fn tasks(&self, name: &str) -> (BTreeSet<i32>, bool) {
        let (_, text) = self.last(name, "tasks").unwrap_or_default();
        (numbers(&text), text.split_whitespace().all(|task| task.ends_with(":running")))
    }

    /// Waits until these processes have all tasks among them, evenly, and all run.
    pub(crate) fn settle(&self, names: &[&str]) {
        let tasks = PARTITIONS.unsigned_abs() as usize;
        let (least, most) = (tasks / names.len(), tasks.div_ceil(names.len()));
        self.until("the tasks are shared out", || {
            let all: Vec<_> = names.iter().map(|name| self.tasks(name)).collect();
            let even = all.iter().all(|(tasks, run)| *run && (least..=most).contains(&tasks.len()));
            even && all.iter().map(|(tasks, _)| tasks.len()).sum::<usize>() == tasks
        });
    }

    pub(crate) fn until(&self, what: &str, reached: impl Fn() -> bool) {
        let until = Instant::now() + PATIENCE;
        while !reached() {
            assert!(Instant::now() < until, "waited in vain: {what}\n{}", self.story());
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until the group has committed everything that is in its input.
    pub(crate) fn until_all_is_committed(&self) {
        let log = self.log();
        let (admin, mut consumer) = (log.admin().unwrap(), log.consumer(Isolation::ReadCommitted).unwrap());
        let inputs: Vec<_> = (0..PARTITIONS).map(|number| TopicPartition::new(self.model.input(), number)).collect();
        let ends = reading::answered(PATIENCE, &mut || consumer.end_offsets(&inputs, Isolation::ReadCommitted));
        self.until("all is committed", || {
            let positions: BTreeMap<_, _> = admin.group_positions(&self.model.application).unwrap_or_default().into_iter().collect();
            inputs.iter().zip(&ends).all(|(input, end)| positions.get(input).map_or(0, |position| position.offset) >= *end)
        });
    }

    /// No process may have met an error.
    pub(crate) fn errors(&self) -> Vec<String> {
        let names = self.names();
        names.iter().flat_map(|name| self.since(name, "error", 0).into_iter().map(move |text| format!("{name}: {text}"))).collect()
    }

    fn names(&self) -> BTreeSet<String> {
        let files = fs::read_dir(&self.folder).unwrap().filter_map(|entry| entry.unwrap().file_name().into_string().ok());
        files.filter_map(|file| file.strip_suffix(".notes").map(str::to_owned)).collect()
    }

    /// Everything that was written down, in the order of time.
    pub(crate) fn story(&self) -> String {
        let mut all: Vec<_> = self.names().iter().flat_map(|name| self.notes(name).into_iter().map(|note| (note, name.clone()))).collect();
        all.sort_by_key(|((at, ..), _)| *at);
        let now = micros();
        let line =
            |((at, word, rest), name): ((i64, String, String), String)| format!("{:>9.3} {name} {word} {rest}\n", (at - now) as f64 / 1e6);
        all.into_iter().map(line).collect()
    }
}

impl Drop for Herd {
    /// Only what was started here ends; what was written down stays if something went wrong and somebody wants to see it.
    fn drop(&mut self) {
        for process in self.running.values_mut() {
            let _ = process.kill();
            let _ = process.wait();
        }
        if !thread::panicking() && std::env::var_os("HIGHWATER_KEEP").is_none() {
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}
