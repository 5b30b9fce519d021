//! One life of the victim: what it is told, as arguments of a process, and how it ended.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::str::FromStr;
use std::time::{Duration, Instant};

use super::notes::Notes;
use super::scene::{BEGIN_VARIABLE, Kind, Names, begin};

/// A life that takes longer hangs.
const LONGEST: Duration = Duration::from_secs(300);

/// What the application promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Promise {
    AtLeastOnce,
    ExactlyOnce,
}

impl Promise {
    pub(crate) const ALL: [Promise; 2] = [Promise::AtLeastOnce, Promise::ExactlyOnce];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Promise::AtLeastOnce => "alo",
            Promise::ExactlyOnce => "eos",
        }
    }
}

/// What a life is like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Life {
    pub(crate) folder: PathBuf,
    /// The how manieth in this folder.
    pub(crate) number: u32,
    /// The cluster it is lived on, `host:port`; without one, the log in files.
    pub(crate) bootstrap: Option<String>,
    pub(crate) names: Names,
    pub(crate) kind: Kind,
    pub(crate) promise: Promise,
    /// Its name in the group outlives it.
    pub(crate) lasting: bool,
    /// Records that each partition of the input shall have in the end.
    pub(crate) records: u64,
    /// Records per partition written at once, and the pause before the next.
    pub(crate) chunk: u64,
    pub(crate) pause: Duration,
    /// It closes after so many chunks, whatever is left.
    pub(crate) closes_after: Option<u64>,
    /// Another instance comes and goes meanwhile.
    pub(crate) shared: bool,
    /// Members are thrown out of the group.
    pub(crate) expelled: bool,
    /// Records get lost on their way to the log, and the producer says so.
    pub(crate) loses: bool,
    /// A part of the input comes in transactions.
    pub(crate) transactional_feed: bool,
}

/// Where a life is killed: a failpoint and its pass, or a time since it began, or since its application runs.
#[derive(Clone, Debug)]
pub(crate) enum Death {
    None,
    At(&'static str, u64),
    After(Duration),
    Running(Duration),
}

/// How a life ended.
#[derive(Clone, Debug)]
pub(crate) struct Ended {
    pub(crate) killed: bool,
    /// What it said when it ended by itself and not well.
    pub(crate) failure: Option<String>,
    /// How often it came past the moment of its death.
    pub(crate) passes: u64,
    pub(crate) notes: Notes,
}

impl Life {
    /// Where its application keeps state.
    pub(crate) fn state(folder: &Path) -> PathBuf {
        folder.join("state")
    }

    pub(crate) fn notes(&self) -> PathBuf {
        self.folder.join(format!("life-{}.txt", self.number))
    }

    /// Lives it in a process of its own, to its end.
    pub(crate) fn live(&self, death: &Death) -> Result<Ended, String> {
        fs::create_dir_all(&self.folder).map_err(|error| error.to_string())?;
        let passes = self.folder.join(format!("passes-{}.txt", self.number));
        let program = std::env::current_exe().map_err(|error| error.to_string())?;
        let mut command = Command::new(program);
        command.arg("victim").args(self.arguments()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        command.env_remove("HIGHWATER_FAILPOINT").env("HIGHWATER_FAILPOINT_PASSES", &passes);
        command.env(BEGIN_VARIABLE, begin().to_string());
        if let Death::At(point, pass) = death {
            command.env("HIGHWATER_FAILPOINT", format!("{point}:{pass}"));
        }
        let child = command.spawn().map_err(|error| error.to_string())?;
        let frozen = self.expelled && self.bootstrap.is_some();
        let (killed, failure) = outlive(child, &self.clock(death), frozen, &self.notes())?;
        let passed = fs::read_to_string(&passes).unwrap_or_default();
        let passes = if let Death::At(point, _) = death { passed.lines().filter(|line| line == point).count() as u64 } else { 0 };
        Ok(Ended { killed, failure, passes, notes: Notes::read(&self.notes()) })
    }

    fn clock(&self, death: &Death) -> Clock {
        match death {
            Death::None | Death::At(..) => Clock { kills_after: None, runs: None },
            Death::After(time) => Clock { kills_after: Some(*time), runs: None },
            Death::Running(time) => Clock { kills_after: Some(*time), runs: Some(self.notes()) },
        }
    }

    fn arguments(&self) -> Vec<String> {
        let folder = self.folder.to_string_lossy().into_owned();
        let numbers = [
            u64::from(self.number),
            self.records,
            self.chunk,
            u64::try_from(self.pause.as_micros()).unwrap_or(0),
            self.closes_after.unwrap_or(0),
            u64::from(self.shared),
            u64::from(self.expelled),
            u64::from(self.loses),
            u64::from(self.transactional_feed),
            u64::from(self.lasting),
        ];
        [
            folder,
            self.bootstrap.clone().unwrap_or_default(),
            self.names.prefix.clone(),
            self.kind.name().to_owned(),
            self.promise.name().to_owned(),
        ]
        .into_iter()
        .chain(numbers.map(|number| number.to_string()))
        .collect()
    }

    /// From the arguments of the process.
    pub(crate) fn of_arguments(arguments: &[String]) -> Option<Life> {
        let [folder, bootstrap, prefix, kind, promise, numbers @ ..] = arguments else { return None };
        let numbers: Vec<u64> = numbers.iter().map(|text| text.parse()).collect::<Result<_, _>>().ok()?;
        let [number, records, chunk, pause, closes_after, shared, expelled, loses, transactional_feed, lasting] = numbers[..] else {
            return None;
        };
        Some(Life {
            folder: folder.into(),
            number: u32::try_from(number).ok()?,
            bootstrap: Some(bootstrap.clone()).filter(|bootstrap| !bootstrap.is_empty()),
            names: Names { prefix: prefix.clone() },
            kind: kind.parse().ok()?,
            promise: promise.parse().ok()?,
            records,
            chunk,
            pause: Duration::from_micros(pause),
            closes_after: (closes_after > 0).then_some(closes_after),
            shared: shared == 1,
            expelled: expelled == 1,
            loses: loses == 1,
            transactional_feed: transactional_feed == 1,
            lasting: lasting == 1,
        })
    }
}

/// When a process is killed.
struct Clock {
    kills_after: Option<Duration>,
    /// Notes that tell when the application runs; without them the time counts from the beginning.
    runs: Option<PathBuf>,
}

impl Clock {
    /// Whether its time has come.
    fn is_over(&self, begun: Instant, running: &mut Option<Instant>) -> bool {
        let Some(time) = self.kills_after else { return false };
        let Some(notes) = &self.runs else { return begun.elapsed() >= time };
        if running.is_none() && Notes::read(notes).rebuilt.is_some() {
            *running = Some(Instant::now());
        }
        running.is_some_and(|running| running.elapsed() >= time)
    }
}

/// Waits for a process, and kills it when its time has come.
fn outlive(mut child: Child, clock: &Clock, frozen: bool, notes: &Path) -> Result<(bool, Option<String>), String> {
    let begun = Instant::now();
    let mut freezer = frozen.then(|| Freezer::of(child.id()));
    let mut running = None;
    let status = loop {
        if let Some(status) = child.try_wait().map_err(|error| error.to_string())? {
            break status;
        }
        let (over, hangs) = (clock.is_over(begun, &mut running), begun.elapsed() >= LONGEST);
        if over || hangs {
            child.kill().map_err(|error| error.to_string())?;
            child.wait().map_err(|error| error.to_string())?;
            return if hangs { Err(format!("hangs: not over after {LONGEST:?}")) } else { Ok((true, None)) };
        }
        freezer.iter_mut().for_each(|freezer| freezer.turn(notes));
        std::thread::sleep(Duration::from_millis(2));
    };
    let killed = std::os::unix::process::ExitStatusExt::signal(&status) == Some(9);
    if killed || status.success() {
        return Ok((killed, None));
    }
    let mut said = String::new();
    if let Some(mut stderr) = child.stderr.take() {
        std::io::Read::read_to_string(&mut stderr, &mut said).map_err(|error| error.to_string())?;
    }
    Ok((false, Some(format!("the victim ended with {status}: {}", said.trim()))))
}

/// Stops a process for longer than its group waits for it, and lets it go on, again and again.
struct Freezer {
    pid: u32,
    /// None until the application runs.
    next: Option<Instant>,
    is_frozen: bool,
    thawed: Duration,
}

impl Freezer {
    /// At first, and how much longer each time: on a slow machine it takes a while until it is in again and works.
    const THAWED: Duration = Duration::from_millis(1500);
    const LONGER: Duration = Duration::from_millis(500);
    /// Longer than [a session](super::log::SHORT_SESSION).
    const FROZEN: Duration = Duration::from_millis(2500);

    fn of(pid: u32) -> Freezer {
        Freezer { pid, next: None, is_frozen: false, thawed: Self::THAWED }
    }

    fn turn(&mut self, notes: &Path) {
        let Some(next) = self.next else {
            self.next = Notes::read(notes).rebuilt.map(|_| Instant::now() + self.thawed);
            return;
        };
        if Instant::now() >= next {
            self.is_frozen = !self.is_frozen;
            let signal = if self.is_frozen { "-STOP" } else { "-CONT" };
            Command::new("sh").args(["-c", "kill \"$0\" \"$1\"", signal, &self.pid.to_string()]).stderr(Stdio::null()).status().ok();
            self.thawed += if self.is_frozen { Self::LONGER } else { Duration::ZERO };
            self.next = Some(Instant::now() + if self.is_frozen { Self::FROZEN } else { self.thawed });
        }
    }
}

impl FromStr for Promise {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Promise::ALL.into_iter().find(|promise| promise.name() == text).ok_or_else(|| format!("`{text}` is neither `alo` nor `eos`"))
    }
}

impl FromStr for Kind {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Kind::ALL.into_iter().find(|kind| kind.name() == text).ok_or_else(|| format!("`{text}` is not one of copy, count, windowed, join"))
    }
}
