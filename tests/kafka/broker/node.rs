//! One broker process and the shell that watches over it: it ends the broker when this process is gone.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::BrokerOptions;

/// Starts the broker, says its pid, and waits for a word: `term` lets it end in order. Everything else, and the end of whoever should say
/// the word, is its death.
const GUARD: &str = r#"
"$@" & pid=$!
echo $pid
read -r word
[ "$word" = term ] && kill -TERM $pid 2>/dev/null || kill -KILL $pid 2>/dev/null
wait $pid
"#;

/// A node, running or not.
pub(crate) struct Node {
    libs: PathBuf,
    config: PathBuf,
    log: PathBuf,
    pub(crate) port: u16,
    running: Option<(Child, u32)>,
}

impl Node {
    /// Makes the folder of a new node.
    pub(crate) fn formatted(libs: &Path, config: &Path, cluster: &str, options: &BrokerOptions, port: u16) -> Result<Node, String> {
        let mut tool = java(libs);
        tool.args(["kafka.tools.StorageTool", "format", "-t", cluster, "-c"]).arg(config);
        if options.nodes == 1 {
            tool.arg("--standalone");
        }
        if options.secured {
            tool.args(["--add-scram", &super::security::scram_user()]);
        }
        let done = tool.output().map_err(|error| format!("java: {error}"))?;
        if !done.status.success() {
            return Err(format!("formatting: {}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr)));
        }
        Ok(Node { libs: libs.to_owned(), config: config.to_owned(), log: config.with_extension("log"), port, running: None })
    }

    /// Starts the process on the data that it has.
    pub(crate) fn start(&mut self) -> Result<(), String> {
        let log = File::create(&self.log).map_err(|error| format!("{}: {error}", self.log.display()))?;
        let mut guard = Command::new("sh");
        guard.args(["-c", GUARD, "guard"]).args(command_line(&self.libs)).arg("kafka.Kafka").arg(&self.config);
        guard.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log);
        let mut guard = apart(&mut guard).spawn().map_err(|error| format!("sh: {error}"))?;
        let mut pid = String::new();
        let said = BufReader::new(guard.stdout.take().expect("a pipe")).read_line(&mut pid);
        let pid = said.ok().and_then(|_| pid.trim().parse().ok()).ok_or("the guard of the broker says no pid")?;
        self.running = Some((guard, pid));
        Ok(())
    }

    pub(crate) fn pid(&self) -> Option<u32> {
        self.running.as_ref().map(|(_, pid)| *pid)
    }

    /// Whether it should run and does not.
    pub(crate) fn has_died(&self) -> bool {
        let stat = |pid| fs::read_to_string(format!("/proc/{pid}/stat")).ok();
        self.pid().is_some_and(|pid| stat(pid).is_none_or(|stat| stat.rsplit(')').next().is_some_and(|rest| rest.starts_with(" Z"))))
    }

    /// The end of what it wrote.
    pub(crate) fn last_words(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }

    pub(crate) fn kill_hard(&mut self) {
        self.end("kill");
    }

    pub(crate) fn stop(&mut self) {
        self.end("term");
    }

    pub(crate) fn signal(&self, name: &str) {
        let pid = self.pid().expect("a node that runs").to_string();
        let done = Command::new("sh").args(["-c", "kill -\"$0\" \"$1\"", name, &pid]).status();
        assert!(done.is_ok_and(|status| status.success()), "kill -{name} {pid}");
    }

    fn end(&mut self, word: &str) {
        if let Some((mut guard, _)) = self.running.take() {
            let mut input = guard.stdin.take().expect("a pipe");
            let _ = writeln!(input, "{word}");
            let _ = guard.wait();
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill_hard();
    }
}

/// In a process group of its own, so that Ctrl-C on the terminal ends us and only then, by us, the broker.
pub(crate) fn apart(command: &mut Command) -> &mut Command {
    command.process_group(0)
}

/// Java with a small heap and the quick compiler: a test broker lives for seconds.
fn command_line(libs: &Path) -> Vec<String> {
    let classpath = format!("{}/*", libs.display());
    ["java", "-Xmx400m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData", "-cp", &classpath].map(str::to_owned).into()
}

fn java(libs: &Path) -> Command {
    let line = command_line(libs);
    let mut command = Command::new(&line[0]);
    command.args(&line[1..]).stdin(Stdio::null());
    command
}
