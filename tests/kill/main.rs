//! The kill table: a real process is killed with SIGKILL at every moment that has a name, another one goes on, and the whole is compared
//! with a model.
//!
//! `make kill-table` runs all of it on the log in files, `KAFKA=1` all of it on a real broker that is started for it (or the one of
//! `KAFKA_BOOTSTRAP`). `ONLY=commit.acks` (a part of a name), `KIND=copy|count|windowed|join`, `GUARANTEE=alo|eos` and `PASS=17` take
//! some rows, `SAMPLE=40` so many spread over all, `JOBS=2` says how many run at a time. `ROUNDS=200` is one run with so many kills at random
//! times (`SEED=1`). A failed row leaves its folder under the temporary folder of the system, and its line says which.
//!
//! The victim is this program itself with the argument `victim`.

#![allow(clippy::unwrap_used, reason = "tests say what they expect by panicking, in their shared functions too")]

#[path = "../kafka/broker/mod.rs"]
mod broker;
mod feed;
mod findings;
mod judge;
mod life;
mod linger;
mod log;
mod model;
mod notes;
mod onlooker;
mod points;
mod random;
mod row;
mod scene;
mod stage;
mod victim;

use std::env;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use life::{Life, Promise};
use log::log_of;
use points::{POINTS, Point};
use row::{HEADING, Row};
use scene::Kind;
use stage::Stage;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let well = match arguments.split_first() {
        Some((first, rest)) if first == "victim" => be_victim(rest),
        _ => Asked::from_environment().and_then(|asked| if asked.rounds > 0 { asked.random() } else { asked.table() }),
    };
    match well {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            complain(&error);
            ExitCode::from(2)
        }
    }
}

fn be_victim(arguments: &[String]) -> Result<bool, String> {
    let life = Life::of_arguments(arguments).ok_or("these are not the arguments of a victim")?;
    let log = log_of(&life).map_err(|error| error.to_string())?;
    victim::live(&life, &log).map(|()| true).map_err(|error| error.to_string())
}

/// What the caller wants.
struct Asked {
    only: Option<String>,
    kind: Option<Kind>,
    promise: Option<Promise>,
    pass: Option<u64>,
    sample: Option<usize>,
    jobs: usize,
    rounds: u64,
    seed: u64,
    on_cluster: bool,
}

impl Asked {
    fn from_environment() -> Result<Asked, String> {
        let variable = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
        let number = |name: &str| variable(name).map(|text| text.parse::<u64>().map_err(|_| format!("{name} is a number"))).transpose();
        Ok(Asked {
            only: variable("ONLY"),
            kind: variable("KIND").map(|text| text.parse()).transpose()?,
            promise: variable("GUARANTEE").map(|text| text.parse()).transpose()?,
            pass: number("PASS")?,
            sample: number("SAMPLE")?.map(|count| count as usize),
            on_cluster: number("KAFKA")?.unwrap_or(0) > 0,
            jobs: number("JOBS")?.unwrap_or(2).max(1) as usize,
            rounds: number("ROUNDS")?.unwrap_or(0),
            seed: number("SEED")?.unwrap_or(1),
        })
    }

    fn rows(&self) -> Vec<Row> {
        let mut rows = Vec::new();
        for point in POINTS.iter().filter(|point| self.is_asked_for(point)) {
            for kind in Kind::ALL.into_iter().filter(|kind| self.kind.is_none_or(|wanted| wanted == *kind)) {
                for promise in Promise::ALL.into_iter().filter(|promise| self.promise.is_none_or(|wanted| wanted == *promise)) {
                    if point.concerns(kind, promise) {
                        let passes =
                            point.passes(self.on_cluster).iter().copied().filter(|pass| self.pass.is_none_or(|wanted| wanted == *pass));
                        rows.extend(passes.map(|pass| Row { point, pass, kind, promise }));
                    }
                }
            }
        }
        match self.sample {
            Some(count) if count < rows.len() => (0..count).map(|nth| rows[nth * rows.len() / count]).collect(),
            _ => rows,
        }
    }

    fn is_asked_for(&self, point: &Point) -> bool {
        let named = self.only.as_ref().is_none_or(|only| point.name.contains(only.as_str()));
        named && !(self.on_cluster && point.is_in_the_log())
    }

    fn table(&self) -> Result<bool, String> {
        let rows = self.rows();
        if rows.is_empty() {
            return Err("no row is like that: see tests/kill/points.rs for the moments".to_owned());
        }
        let stage = Stage::provide(self.on_cluster)?;
        let (begun, next, failed) = (Instant::now(), AtomicUsize::new(0), Mutex::new(Vec::new()));
        say(HEADING);
        thread::scope(|scope| {
            for _ in 0..self.jobs {
                scope.spawn(|| {
                    while let Some(row) = rows.get(next.fetch_add(1, Ordering::SeqCst)) {
                        let folder = folder(&format!("{}-{}-{}-{}", row.point.name, row.pass, row.kind.name(), row.promise.name()));
                        let verdict = row.run(&folder, &stage);
                        say(&format!("{row}  {}", verdict.line()));
                        if !verdict.faults.is_empty() {
                            failed.lock().expect("no panic while it is held").push(format!(
                                "{row}  after: {}, in {}",
                                row.point.after,
                                folder.display()
                            ));
                        }
                    }
                });
            }
        });
        let failed = failed.into_inner().expect("no panic while it is held");
        failed.iter().take(20).for_each(|line| say(&format!("failed: {line}")));
        say(&format!("{} runs, {} failed, {:.0} s", rows.len(), failed.len(), begun.elapsed().as_secs_f64()));
        Ok(failed.is_empty())
    }

    fn random(&self) -> Result<bool, String> {
        let (kind, promise) = (self.kind.unwrap_or(Kind::Count), self.promise.unwrap_or(Promise::ExactlyOnce));
        random::run(self.rounds, kind, promise, self.seed, &folder("random"), &Stage::provide(self.on_cluster)?)
    }
}

/// An empty folder of this process.
fn folder(name: &str) -> PathBuf {
    let folder = env::temp_dir().join(format!("highwater-kill-{}", std::process::id())).join(name);
    std::fs::remove_dir_all(&folder).ok();
    folder
}

/// One line to the person who runs this.
#[allow(clippy::print_stdout, reason = "a program speaks through its standard output")]
pub(crate) fn say(line: &str) {
    println!("{line}");
}

#[allow(clippy::print_stderr, reason = "a program speaks through its standard error")]
fn complain(line: &str) {
    eprintln!("{line}");
}
