//! `highwater demo --crash`: a counting process is killed with SIGKILL in the middle of its work, several times, started again each time,
//! and the totals are proven from the log.

mod input;
mod proof;
mod said;
mod site;
pub(crate) mod worker;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, anyhow, bail};

use super::super::args::DemoArgs;
use super::super::engine::Interrupt;
use super::super::failure::UsageError;
use super::super::terminal::{Terminal, grouped};
use proof::{Proof, Restart};
use said::Said;
use site::Site;

/// A kill comes within this time after the process has come far enough: sometimes between two transactions, mostly inside one.
const WITHIN: Duration = Duration::from_millis(60);

pub(crate) fn run(args: &DemoArgs) -> Result<()> {
    let begun = Instant::now();
    let site = Site::new(provide_folder(args.folder.as_deref())?, &args.cluster);
    let mut scene = Scene {
        records: args.records,
        kills: args.kills,
        site: &site,
        terminal: Terminal::stdout(),
        interrupt: Interrupt::listen()?,
        taken: 0,
        restarts: Vec::new(),
    };
    let outcome = scene.play();
    match &outcome {
        Ok(()) if !args.keep => {
            let folder = site.folder();
            fs::remove_dir_all(folder).with_context(|| format!("`{}` cannot be removed", folder.display()))?;
            if site.is_cluster() {
                site.clear()?;
            }
        }
        _ if site.is_cluster() => {
            let text = format!("\nThe topics of this run are left: `highwater read --bootstrap … {} --value long`.", site.totals());
            scene.terminal.line(&text)?;
        }
        _ => {
            let log = site.log_folder();
            scene.terminal.line(&format!("\nThe log of this run is in `{0}`: `highwater read {0} totals --value long`.", log.display()))?;
        }
    }
    outcome?;
    scene
        .terminal
        .line(&format!("\nIt took {} s. Next: a job of your own, `highwater list windowed-counts`.", begun.elapsed().as_secs()))?;
    Ok(())
}

/// The named folder, which must be new or empty, or one in the system's folder for temporary files.
fn provide_folder(named: Option<&Path>) -> Result<PathBuf> {
    let temporary = || std::env::temp_dir().join(format!("highwater-demo-{}", std::process::id()));
    let folder = named.map_or_else(temporary, Path::to_path_buf);
    fs::create_dir_all(&folder).map_err(|error| UsageError(format!("cannot make the folder `{}`: {error}", folder.display())))?;
    let mut entries = fs::read_dir(&folder).with_context(|| format!("cannot read `{}`", folder.display()))?;
    if entries.next().is_some() {
        return Err(UsageError(format!("`{}` is not empty: name a new folder, the demo begins with an empty log", folder.display())).into());
    }
    Ok(folder)
}

/// The demo as it goes on.
struct Scene<'a> {
    records: u64,
    kills: u32,
    site: &'a Site,
    terminal: Terminal,
    interrupt: Interrupt,
    /// Visits that the processes have taken so far, those they took again among them.
    taken: u64,
    restarts: Vec<Restart>,
}

impl Scene<'_> {
    fn play(&mut self) -> Result<()> {
        self.opening()?;
        for kill in 1..=self.kills {
            self.live(kill, Some(self.records * u64::from(kill) / u64::from(self.kills + 1)))?;
        }
        self.live(self.kills + 1, None)?;
        self.prove()
    }

    fn opening(&mut self) -> Result<()> {
        let terminal = &mut self.terminal;
        let log = self.site.open()?;
        input::load(&*log, self.site, self.records, &mut |loaded| {
            progress(terminal, &format!("writing the input: {} visits", grouped(loaded)))
        })?;
        let (visits, users) = (grouped(self.records), grouped(input::users(self.records)));
        let lines = [
            format!(
                "{visits} visits by {users} users lie in a topic {}. Another process counts them per user, exactly once,",
                if self.site.is_cluster() { "of the cluster" } else { "on disk" }
            ),
            format!(
                "and is killed in the middle of its work: {} times SIGKILL, no warning, no clean-up. Each time a new process",
                self.kills
            ),
            "goes on from what is on disk.".to_owned(),
            String::new(),
        ];
        lines.iter().try_for_each(|line| terminal.line(line))?;
        Ok(())
    }

    /// One process, until it has come far enough to be killed, or to its end.
    fn live(&mut self, number: u32, until: Option<u64>) -> Result<()> {
        let before = self.taken;
        let mut child = Worker::start(self.site, self.records, until.map(|until| until.saturating_sub(before)))?;
        let output = child.0.stdout.take().context("the process has no output")?;
        for line in BufReader::new(output).lines() {
            if self.interrupt.asked() {
                bail!("interrupted before the end: nothing is proven");
            }
            match Said::read(&line?) {
                Some(Said::Restored { records, committed }) => self.started(number, Restart { records, committed })?,
                Some(Said::Taken(taken)) => {
                    self.taken = before + taken;
                    progress(&mut self.terminal, &format!("counting    process {number}: {} visits", grouped(taken)))?;
                    if until.is_some_and(|until| self.taken >= until) {
                        thread::sleep(some_time());
                        child.kill()?;
                        return Ok(self.terminal.line(&format!("killed      process {number}, after {} visits", grouped(taken)))?);
                    }
                }
                Some(Said::Finished(taken)) => {
                    self.taken = before + taken;
                    self.terminal.line(&format!("finished    process {number}, after {} visits", grouped(taken)))?;
                }
                None => {}
            }
        }
        let ended = child.0.wait()?;
        match (ended.success(), until) {
            (true, None) => Ok(()),
            (true, Some(_)) => Err(anyhow!("process {number} was through before it could be killed: take more `--records`")),
            (false, _) => Err(anyhow!("process {number} ended by itself with {ended}; what it said stands above")),
        }
    }

    fn started(&mut self, number: u32, restart: Restart) -> Result<()> {
        let text = match restart {
            Restart { committed: 0, .. } => "there is no state yet".to_owned(),
            Restart { records: 0, .. } => "its state was on disk, complete".to_owned(),
            Restart { records, committed } => {
                format!("its state was on disk; read back from the changelog: {} records of {}", grouped(records), grouped(committed))
            }
        };
        self.restarts.push(restart);
        Ok(self.terminal.line(&format!("started     process {number}: {text}"))?)
    }

    fn prove(&mut self) -> Result<()> {
        let log = self.site.open()?;
        let proof = Proof::of(&*log, self.site, self.records, &self.restarts)?;
        self.terminal.line("\nRead back from the topic of the totals, committed records only:")?;
        let again = self.taken.saturating_sub(self.records);
        proof.lines(again).iter().try_for_each(|line| self.terminal.line(line))?;
        let faults = proof.faults();
        if faults.is_empty() { Ok(()) } else { Err(anyhow!("the promise was not kept: {}", faults.join("; "))) }
    }
}

/// For a person who watches; elsewhere lines would pile up.
fn progress(terminal: &mut Terminal, text: &str) -> Result<()> {
    if terminal.is_live() {
        terminal.status(text)?;
    }
    Ok(())
}

/// Up to [`WITHIN`], as chance has it.
fn some_time() -> Duration {
    let nanos = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.subsec_nanos());
    WITHIN * (nanos / 1_000 % 1_000) / 1_000
}

/// The process that counts. It does not outlive its handle.
struct Worker(Child);

impl Worker {
    fn start(site: &Site, records: u64, slows_at: Option<u64>) -> Result<Worker> {
        let program = std::env::current_exe().context("the program does not know where it is")?;
        let mut command = Command::new(program);
        command.arg("demo-worker").args(site.arguments()).arg("--records").arg(records.to_string());
        command.args(slows_at.iter().flat_map(|at| ["--slows-at".to_owned(), at.to_string()]));
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
        Ok(Worker(child.context("the process that counts does not start")?))
    }

    /// SIGKILL, and the wait for its death.
    fn kill(&mut self) -> Result<()> {
        self.0.kill()?;
        self.0.wait()?;
        Ok(())
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.kill().ok();
    }
}
