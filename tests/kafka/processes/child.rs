//! An instance of the application in a process of its own: this test binary runs itself.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use highwater::kafka::{KafkaConfig, KafkaLog};
use highwater::{Clock, Guarantee, Launch, RestoreProgress, Settings, State, Streams, StreamsBuilder, SystemClock, Topic, Topology};
use serde::{Deserialize, Serialize};

use crate::journal;

/// The test that is an instance if it is told how.
pub(crate) const NAME: &str = "processes::child::an_instance";
/// Where it is told.
pub(crate) const ORDERS: &str = "HIGHWATER_INSTANCE_ORDERS";
/// The store of the application.
pub(crate) const STORE: &str = "counts";
const PATIENCE: Duration = Duration::from_secs(300);

/// What an instance is told.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Orders {
    pub(crate) bootstrap: String,
    /// Also what its topics begin with.
    pub(crate) application: String,
    /// What it is called here; its files are.
    pub(crate) name: String,
    /// Its lasting name, if it has one.
    pub(crate) instance: Option<String>,
    /// Where it keeps its state, and says what happens to it.
    pub(crate) folder: PathBuf,
    pub(crate) exactly_once: bool,
    /// The group is run by the broker (KIP-848).
    pub(crate) by_broker: bool,
    pub(crate) session: Duration,
    pub(crate) transaction: Duration,
    pub(crate) commit: Duration,
}

impl Orders {
    /// What happens to it, line by line: microseconds, a word, what there is to say.
    pub(crate) fn notes(&self) -> PathBuf {
        self.folder.join(format!("{}.notes", self.name))
    }

    pub(crate) fn input(&self) -> String {
        format!("{}-in", self.application)
    }

    pub(crate) fn output(&self) -> String {
        format!("{}-out", self.application)
    }

    pub(crate) fn config(&self) -> KafkaConfig {
        let config = KafkaConfig::new(&*self.bootstrap);
        if self.by_broker { config.with("group.protocol", "consumer") } else { config }
    }

    fn settings(&self) -> Settings {
        let mut settings = Settings::new(self.application.clone());
        settings.guarantee = if self.exactly_once { Guarantee::ExactlyOnce } else { Guarantee::AtLeastOnce };
        settings.instance_id = self.instance.clone().map(Into::into);
        settings.session_timeout = self.session;
        settings.transaction_timeout = self.transaction;
        settings.commit_interval = self.commit;
        settings.record_cache_bytes = 0; // every count is sent
        settings.state_dir = Some(self.folder.join(format!("{}.state", self.name)));
        settings
    }

    /// Each record comes out with how many of its key came before, and which it was: `3 3` and so on.
    fn topology(&self) -> Topology {
        let builder = StreamsBuilder::new();
        let (input, output) = (Topic::<String, String>::named(self.input()), Topic::<String, String>::named(self.output()));
        let counts = builder.stream(input).group_by_key().aggregate(
            highwater::StoreRef::<highwater::KeyValueStore<String, String>>::new(STORE),
            String::new,
            |_: &String, value: String, counted: &mut String| {
                let before: u64 = counted.split(' ').next().and_then(|count| count.parse().ok()).unwrap_or(0);
                *counted = format!("{} {value}", before + 1);
            },
        );
        counts.to_stream().map_values(Option::unwrap_or_default).to(output);
        builder.build().unwrap()
    }
}

/// What is written down about an instance, by it.
#[derive(Clone)]
pub(crate) struct Notes(Arc<Mutex<File>>);

impl Notes {
    fn open(path: &Path) -> Self {
        Notes(Arc::new(Mutex::new(OpenOptions::new().create(true).append(true).open(path).unwrap())))
    }

    /// One line, which a kill cannot tear.
    pub(crate) fn write(&self, text: &str) {
        let line = format!("{} {}\n", micros(), text.replace('\n', " "));
        self.0.lock().unwrap().write_all(line.as_bytes()).unwrap();
    }
}

pub(crate) fn micros() -> i64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |time| time.as_micros() as i64)
}

/// Nothing, unless a process is started to be an instance.
#[test]
fn an_instance() {
    let Some(orders) = std::env::var(ORDERS).ok() else { return };
    let orders: Orders = serde_json::from_str(&orders).unwrap();
    let notes = Notes::open(&orders.notes());
    let kept = notes.clone();
    journal::keep(move |line| kept.write(line));
    let stop = Arc::new(AtomicBool::new(false));
    let told = stop.clone();
    thread::spawn(move || obey(&told));
    notes.write("started");
    let restored = notes.clone();
    let listener = move |progress: &RestoreProgress| {
        if progress.is_complete() {
            let RestoreProgress { task, begin, position, records, .. } = progress;
            restored.write(&format!("restored {task} {begin} {position} {records}"));
        }
    };
    let launch = Launch::new(&orders.topology(), orders.settings(), Arc::new(KafkaLog::new(orders.config())));
    let streams = match launch.on_restore(listener).start() {
        Ok(streams) => streams,
        Err(error) => return notes.write(&format!("error {error}")),
    };
    watch(&streams, &notes, &stop);
    match streams.stop(PATIENCE) {
        Ok(()) => notes.write(&format!("stopped {}", SystemClock.now().as_millis())),
        Err(error) => notes.write(&format!("error {error}")),
    }
}

/// Waits for the word to stop; without anybody to say it, ends at once.
fn obey(stop: &AtomicBool) {
    let said = std::io::stdin().lock().lines().next();
    if said.and_then(Result::ok).as_deref() == Some("stop") {
        return stop.store(true, Ordering::SeqCst);
    }
    std::process::abort();
}

/// Writes down what changes.
fn watch(streams: &Streams, notes: &Notes, stop: &AtomicBool) {
    let (mut before, mut failures) = (BTreeMap::new(), 0);
    while !stop.load(Ordering::SeqCst) && !streams.state().is_final() {
        let tasks: BTreeMap<_, _> = streams.progress().tasks.into_iter().map(|(id, task)| (id, task.state)).collect();
        if tasks != before {
            let all: Vec<_> = tasks.iter().map(|(id, state)| format!("{id}:{state}")).collect();
            notes.write(&format!("tasks {}", all.join(" ")));
            before = tasks;
        }
        let errors = streams.errors();
        errors[failures..].iter().for_each(|failure| notes.write(&format!("error {failure:?}")));
        failures = errors.len();
        thread::sleep(Duration::from_millis(5));
    }
    if streams.state() == State::Error {
        notes.write("error the instance ended by itself");
    }
}
