//! One row of the table: an application is killed at a moment, goes on in another process to the end, and is judged.

use std::fmt;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use super::findings::Findings;
use super::judge::Case;
use super::life::{Death, Ended, Life, Promise};
use super::log::log_of;
use super::notes::{Notes, Restored};
use super::points::{Point, Way};
use super::scene::{Kind, Names};
use super::stage::Stage;

/// What is tried.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    pub(crate) point: &'static Point,
    pub(crate) pass: u64,
    pub(crate) kind: Kind,
    pub(crate) promise: Promise,
}

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    pub(crate) passes: u64,
    /// Records of the input whose outcome was committed when the last life began, and records that it took.
    pub(crate) before: Option<u64>,
    pub(crate) after: u64,
    pub(crate) restored: Restored,
    pub(crate) took: Duration,
    pub(crate) faults: Vec<String>,
}

impl Row {
    /// The folder is made for it, and taken away if nothing is wrong.
    pub(crate) fn run(&self, folder: &Path, stage: &Stage) -> Verdict {
        let begun = Instant::now();
        let mut run = Run { row: self, life: self.life(folder, stage), notes: Vec::new(), verdict: Verdict::default() };
        if let Err(fault) = run.play() {
            run.verdict.faults.push(fault);
        }
        let (mut verdict, life) = (run.verdict, run.life);
        verdict.took = begun.elapsed();
        if verdict.faults.is_empty() {
            stage.clear(&life);
            fs::remove_dir_all(folder).ok();
        }
        verdict
    }

    fn life(&self, folder: &Path, stage: &Stage) -> Life {
        let expelled = self.point.way == Way::Fenced;
        let shared = expelled || self.point.way == Way::Sharing;
        // Whoever is expelled on a cluster was asleep, and the other instance of its process with it.
        let shared = shared && !(expelled && stage.is_cluster());
        let pause = Duration::from_millis(match (shared, expelled) {
            (_, true) if stage.is_cluster() => 100,
            (true, _) => 20,
            // Half of it is to be left after some commits, and on a busy machine a cluster takes a while for each.
            _ if stage.is_cluster() && self.point.way.begins_half_way() => 20,
            _ => 4,
        });
        Life {
            folder: folder.to_owned(),
            number: 0,
            bootstrap: stage.bootstrap().map(str::to_owned),
            names: stage.names(&format!("{}-{}-{}-{}-", self.point.name, self.pass, self.kind.name(), self.promise.name())),
            // A member that leaves for good gives its tasks up at once, one with a lasting name does not.
            lasting: !shared && !expelled,
            kind: self.kind,
            promise: self.promise,
            // Others come and go more slowly than the application commits.
            records: if (shared || self.point.way == Way::Losing) && self.pass > 2 { 1200 } else { 600 },
            chunk: 10,
            pause,
            closes_after: None,
            shared,
            expelled,
            loses: self.point.way == Way::Losing,
            // The moments of a transaction are to be those of the application's own ones.
            transactional_feed: self.promise == Promise::AtLeastOnce || !self.point.name.starts_with("log."),
        }
    }
}

/// A row on its way.
struct Run<'a> {
    row: &'a Row,
    life: Life,
    notes: Vec<Notes>,
    verdict: Verdict,
}

impl Run<'_> {
    fn play(&mut self) -> Result<(), String> {
        let Row { point, pass, .. } = *self.row;
        match point.way {
            Way::Working | Way::Sharing | Way::Fenced | Way::Losing => self.dies(point.name, pass)?,
            Way::Starting => (0..pass).try_for_each(|_| self.dies(point.name, 1))?,
            Way::StartingAnew => {
                for _ in 0..pass {
                    fs::remove_dir_all(self.life.folder.join("log")).ok();
                    if self.life.bootstrap.is_some() {
                        self.life.names = Names { prefix: format!("{}anew-", self.life.names.prefix) };
                    }
                    self.dies(point.name, 1)?;
                }
            }
            Way::StartingAgain => {
                self.does_half("commit.done", 25)?;
                (0..pass).try_for_each(|_| self.dies(point.name, 1))?;
            }
            Way::Closing => (0..pass).try_for_each(|_| self.dies_closing(point.name))?,
            Way::Rebuilding => {
                self.loses_state()?;
                self.dies(point.name, pass)?;
            }
            Way::RebuildingOnce => {
                for _ in 0..pass {
                    self.loses_state()?;
                    self.dies(point.name, 1)?;
                }
            }
        }
        (self.life.shared, self.life.expelled, self.life.loses) = (false, false, false);
        let last = self.live(&Death::None)?;
        self.verdict.restored = last.notes.restored();
        self.verdict.after = last.notes.taken.unwrap_or(0);
        let log = log_of(&self.life).map_err(|error| error.to_string())? as std::sync::Arc<dyn highwater::kafka::Connect>;
        let findings = Findings::of(&self.life, &log).map_err(|error| error.to_string())?;
        let total: u64 = findings.input.iter().map(|records| records.len() as u64).sum();
        let (before, decided) = committed_at_start(&findings, &last.notes);
        self.verdict.before = decided.then_some(before);
        self.check_last_life(total);
        let case = Case { kind: self.row.kind, promise: self.row.promise, findings: &findings, lives: &self.notes };
        self.verdict.faults.extend(case.faults());
        if total != self.life.records * findings.input.len() as u64 {
            self.verdict.faults.push(format!("the input has {total} records"));
        }
        Ok(())
    }

    /// What the last life took, and what it had to restore.
    fn check_last_life(&mut self, total: u64) {
        let Verdict { before, after, restored, ref mut faults, .. } = self.verdict;
        // What is taken of a table is counted too.
        let told_apart = self.row.kind != Kind::Join;
        if let Some(before) = before.filter(|before| told_apart && before + after != total) {
            faults.push(format!("resumed: {before} records were committed and {after} of {total} taken after that"));
        }
        let Point { way, restores, .. } = self.row.point;
        // What is committed is applied at once: only between the two is there anything to restore.
        let none = *way == Way::Working && !restores && self.row.promise == Promise::ExactlyOnce;
        if none && restored.records > 0 {
            faults.push(format!("restored: {} records, although every commit had been applied", restored.records));
        }
    }

    /// Lives until it is killed at that pass.
    fn dies(&mut self, point: &'static str, pass: u64) -> Result<(), String> {
        let ended = self.live(&Death::At(point, pass))?;
        self.verdict.passes += ended.passes;
        match ended.killed {
            true => Ok(()),
            false => Err(format!("never reached: {point} was passed {} times in a whole life, not {pass} times", ended.passes)),
        }
    }

    fn dies_closing(&mut self, point: &'static str) -> Result<(), String> {
        self.life.closes_after = Some(2);
        let ended = self.dies(point, 1);
        self.life.closes_after = None;
        ended
    }

    /// A part of the work is done, up to that pass of a point, and a part is left.
    fn does_half(&mut self, point: &'static str, pass: u64) -> Result<(), String> {
        match self.live(&Death::At(point, pass))?.killed {
            true => Ok(()),
            false => Err(format!("all of the work was done before {point} was passed {pass} times: none is left for what is to be seen")),
        }
    }

    /// Half of the work is done and the state folder is gone, as on a new machine.
    fn loses_state(&mut self) -> Result<(), String> {
        if self.notes.is_empty() {
            // Commits of nothing, before the first record comes, write nothing. A busy cluster does all of the work in few commits.
            let writes = if self.life.bootstrap.is_some() { 8 } else { 60 };
            self.does_half("store.apply", writes)?;
        }
        fs::remove_dir_all(Life::state(&self.life.folder)).map_err(|error| format!("no state folder: {error}"))
    }

    fn live(&mut self, death: &Death) -> Result<Ended, String> {
        let ended = self.life.live(death)?;
        self.life.number += 1;
        self.notes.push(ended.notes.clone());
        match &ended.failure {
            Some(failure) => Err(format!("life {}: {failure}", self.life.number)),
            None => Ok(ended),
        }
    }
}

/// Input records below the positions that a life found, and whether it found all of them decided.
fn committed_at_start(findings: &Findings, notes: &Notes) -> (u64, bool) {
    let below = |(records, (position, _)): (&Vec<(i64, u64)>, &(Option<i64>, u64))| {
        position.map_or(0, |position| records.partition_point(|(at, _)| *at < position) as u64)
    };
    let before = findings.input.iter().zip(&notes.starts).map(below).sum();
    (before, notes.starts.iter().all(|(position, _)| position.is_some()))
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Row { point, pass, kind, promise } = self;
        write!(f, "{:<20} {pass:>3}  {:<8}  {}", point.name, kind.name(), promise.name())
    }
}

impl Verdict {
    /// What stands on the line of a row, after the row itself.
    pub(crate) fn line(&self) -> String {
        let Verdict { passes, before, after, restored, took, faults } = self;
        let before = before.map_or("?".to_owned(), |before| before.to_string());
        let verdict = if faults.is_empty() { "ok".to_owned() } else { format!("FAILED {}", faults.join("; ")) };
        let Restored { records, committed } = restored;
        format!("{passes:>3}  {before:>6}  {after:>6}  {records:>5} of {committed:<5}  {:>5.2}  {verdict}", took.as_secs_f64())
    }
}

/// What the columns say.
pub(crate) const HEADING: &str = "moment              pass  topology  what  passed  before   after  restored of    seconds  verdict";
