//! An application of the real Kafka Streams as a process: built from the sources beside this file, once, into a cache outside of the clone.

use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{LazyLock, Mutex};
use std::thread;
use std::time::{Duration, Instant};

const POM: &str = include_str!("pom.xml");
const SOURCE: &str = include_str!("src/main/java/takeover/Takeover.java");
/// It starts a virtual machine, on a machine that may be busy.
const STARTED_WITHIN: Duration = Duration::from_secs(300);

/// The folder of the program and of what it needs; or why there is none.
pub(crate) fn program() -> Result<PathBuf, String> {
    static BUILT: LazyLock<Mutex<Option<PathBuf>>> = LazyLock::new(Mutex::default);
    let mut built = BUILT.lock().unwrap();
    if let Some(folder) = &*built {
        return Ok(folder.clone());
    }
    for (program, argument) in [("java", "-version"), ("javac", "-version"), ("mvn", "--version")] {
        let run = Command::new(program).arg(argument).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
        if !run.is_ok_and(|status| status.success()) {
            return Err(format!("there is no {program} that works, to build an application of Kafka Streams with"));
        }
    }
    let folder = cached()?;
    *built = Some(folder.clone());
    Ok(folder)
}

/// Other sources are another folder. One process builds, the others wait for it; the folder appears whole or not at all.
fn cached() -> Result<PathBuf, String> {
    let mut hasher = DefaultHasher::new();
    (POM, SOURCE).hash(&mut hasher);
    let cache = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache/highwater")).ok_or("there is no home folder")?;
    let folder = cache.join(format!("takeover-{:016x}", hasher.finish()));
    let text = |error: io::Error| format!("{}: {error}", folder.display());
    fs::create_dir_all(&cache).map_err(text)?;
    let lock = File::create(cache.join("takeover.lock")).map_err(text)?;
    lock.lock().map_err(text)?;
    if !folder.is_dir() {
        let half = folder.with_extension(format!("half-{}", std::process::id()));
        let built = build(&half);
        if built.is_err() {
            let _ = fs::remove_dir_all(&half);
        }
        built?;
        fs::rename(&half, &folder).map_err(text)?;
    }
    Ok(folder)
}

fn build(into: &Path) -> Result<(), String> {
    let mut maven = Command::new("mvn");
    maven.args(["-q", "-B", "package"]).arg(format!("-Dtakeover.target={}", into.display()));
    maven.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kafka/java")).stdin(Stdio::null());
    let done = maven.output().map_err(|error| format!("mvn: {error}"))?;
    let said = || format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    if done.status.success() { Ok(()) } else { Err(format!("Maven could not build the Java program:\n{}", said())) }
}

/// What a Java application is started with.
pub(crate) struct JavaOptions<'a> {
    pub(crate) bootstrap: &'a str,
    pub(crate) application: &'a str,
    pub(crate) state: &'a Path,
    /// Settings of Kafka Streams, `key=value`.
    pub(crate) settings: &'a [&'a str],
}

/// A Java application. It is killed when it is dropped.
pub(crate) struct Java {
    child: Child,
    lines: Receiver<String>,
    said: Vec<String>,
    log: PathBuf,
}

impl Java {
    pub(crate) fn start(program: &Path, options: &JavaOptions<'_>) -> Java {
        let log = options.state.with_extension("log");
        let mut command = Command::new("java");
        command
            .args(["-Xmx200m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp"])
            .arg(format!("{0}/takeover.jar:{0}/libs/*", program.display()))
            .args(["takeover.Takeover", options.bootstrap, options.application])
            .arg(options.state)
            .args(options.settings)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(&log).unwrap());
        let mut child = command.spawn().unwrap();
        let (out, lines) = channel();
        let stdout = child.stdout.take().unwrap();
        thread::spawn(move || BufReader::new(stdout).lines().map_while(Result::ok).try_for_each(|line| out.send(line)));
        Java { child, lines, said: Vec::new(), log }
    }

    /// Waits until it has its tasks and works.
    pub(crate) fn wait_until_running(&mut self) {
        let until = Instant::now() + STARTED_WITHIN;
        while !self.said.iter().any(|line| line == "running") {
            let left = until.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => self.said.push(line),
                Err(_) => panic!("the Java application does not run; it said {:?} and:\n{}", self.said, self.log()),
            }
        }
    }

    /// What it has said on its standard output.
    pub(crate) fn said(&self) -> &[String] {
        &self.said
    }

    /// What it has said on its standard error.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Tells it to end, and waits until it has left its group.
    pub(crate) fn leave(mut self) {
        drop(self.child.stdin.take());
        let status = self.ended();
        assert!(status.success(), "the Java application ended with {status}:\n{}", self.log());
    }

    /// Waits for an end that comes by itself.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        let until = Instant::now() + STARTED_WITHIN;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < until, "the Java application does not end:\n{}", self.log());
            thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Java {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
