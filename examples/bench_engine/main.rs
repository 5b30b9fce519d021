//! Highwater as an engine of the benchmark harness: one workload on a real cluster, then one line of JSON.
//!
//! `docs/benchmarks.md` has the command that runs it beside Kafka Streams and a hand-written loop. By hand, a topic counted:
//!
//! `cargo run --release --example bench_engine -- --bootstrap localhost:9092 --workload count --in words --out counts
//! --partitions 4 --app-id trial --state-dir /tmp/trial --records 1000`

#![allow(clippy::print_stdout, clippy::print_stderr, missing_docs, reason = "a program, and its result is a line on standard output")]

mod meter;
mod workloads;

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::Duration;

use highwater::kafka::{KafkaConfig, KafkaLog};
use highwater::{Guarantee, Settings, State, Streams};
use meter::Meter;

/// As the `highwater` binary has it.
#[cfg(all(feature = "jemalloc", not(target_env = "msvc")))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Between two looks at how far the engine is.
const GLANCE: Duration = Duration::from_millis(5);
const CLOSE_WITHIN: Duration = Duration::from_secs(120);

type Failure = Box<dyn Error>;

/// The options of the engine contract: pairs of `--name value`.
pub(crate) struct Options(BTreeMap<String, String>);

impl Options {
    fn from_command_line() -> Result<Self, Failure> {
        let mut words = std::env::args().skip(1);
        let mut options = BTreeMap::new();
        while let Some(word) = words.next() {
            let name = word.strip_prefix("--").ok_or_else(|| format!("`{word}` is not an option: write --name value"))?;
            let value = words.next().ok_or_else(|| format!("--{name} has no value"))?;
            options.insert(name.to_owned(), value);
        }
        Ok(Options(options))
    }

    pub(crate) fn text(&self, name: &str) -> Result<&str, Failure> {
        self.0.get(name).map(String::as_str).ok_or_else(|| format!("--{name} is missing").into())
    }

    pub(crate) fn number(&self, name: &str, otherwise: u64) -> Result<u64, Failure> {
        match self.0.get(name) {
            None => Ok(otherwise),
            Some(text) => text.parse().map_err(|_| format!("--{name} must be a number, not `{text}`").into()),
        }
    }
}

fn settings(options: &Options) -> Result<Settings, Failure> {
    let eos = options.number("eos", 0)? != 0;
    let mut settings = Settings::new(options.text("app-id")?.to_owned());
    settings.guarantee = if eos { Guarantee::ExactlyOnce } else { Guarantee::AtLeastOnce };
    settings.commit_interval = Duration::from_millis(options.number("commit-ms", if eos { 100 } else { 1000 })?);
    settings.adaptive_commit = options.number("adaptive", 0)? != 0;
    settings.threads = usize::try_from(options.number("threads", 1)?)?;
    settings.record_cache_bytes = usize::try_from(options.number("cache-bytes", 10 << 20)?)?;
    settings.memory = usize::try_from(options.number("memory-mb", 512)?)? << 20;
    if options.text("store").is_ok_and(|kind| kind == "memory") {
        return Ok(settings);
    }
    settings.state_dir = Some(options.text("state-dir")?.into());
    Ok(settings)
}

fn main() -> Result<(), Failure> {
    let options = Options::from_command_line()?;
    let topology = workloads::build(&options)?;
    let log = KafkaLog::new(KafkaConfig::new(options.text("bootstrap")?));
    let mut meter = Meter::new();
    let streams = Streams::start(&topology, settings(&options)?, Arc::new(log))?;
    match options.text("until").unwrap_or("end") {
        "end" => until_processed(&streams, &mut meter, &options),
        "restored" => until_restored(&streams, &mut meter, &options),
        "signal" => until_signal(&streams),
        other => Err(format!("--until {other}: say end, restored or signal").into()),
    }
}

fn until_processed(streams: &Streams, meter: &mut Meter, options: &Options) -> Result<(), Failure> {
    let records = options.number("records", 0)?;
    streams.declare_end()?;
    for quarter in 0..=4 {
        let goal = (records * quarter / 4).max(1);
        meter.mark(wait_until(streams, |progress| progress.records_in >= goal, |progress| progress.records_in)?);
    }
    while !finished(streams)? {
        sleep(GLANCE);
    }
    let sent = streams.progress().records_out;
    streams.stop(CLOSE_WITHIN)?;
    meter.mark(records);
    println!("{}", meter.json(options.text("workload")?, records, sent, ""));
    Ok(())
}

fn until_restored(streams: &Streams, meter: &mut Meter, options: &Options) -> Result<(), Failure> {
    let partitions = usize::try_from(options.number("partitions", 4)?)?;
    let begun = |progress: &highwater::Progress| !progress.restoring.is_empty() || !progress.tasks.is_empty();
    wait_until(streams, begun, |_| 0)?;
    meter.mark(0);
    let running =
        |progress: &highwater::Progress| progress.tasks.len() == partitions && progress.tasks.values().all(|task| task.state == "running");
    wait_until(streams, running, |_| 0)?;
    let (mut rows, mut sum) = (0_u64, 0_i64);
    let end = Meter::usage();
    for (_, counts) in streams.store(&workloads::COUNTS)? {
        for row in counts.all()? {
            (rows, sum) = (rows + 1, sum + row?.1);
        }
    }
    meter.mark_at(rows, end);
    streams.stop(CLOSE_WITHIN)?;
    println!("{}", meter.json("restore", rows, 0, &format!(",\"rows\":{rows},\"sum\":{sum}")));
    Ok(())
}

fn until_signal(streams: &Streams) -> Result<(), Failure> {
    let asked = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT] {
        signal_hook::flag::register(signal, asked.clone())?;
    }
    while !asked.load(Ordering::Relaxed) && !finished(streams)? {
        sleep(GLANCE);
    }
    let commits = streams.progress().commits;
    streams.stop(CLOSE_WITHIN)?;
    eprintln!("{commits} commits");
    Ok(())
}

/// Looks until `reached`, and gives what `number` says then.
fn wait_until(
    streams: &Streams,
    reached: impl Fn(&highwater::Progress) -> bool,
    number: impl Fn(&highwater::Progress) -> u64,
) -> Result<u64, Failure> {
    loop {
        let progress = streams.progress();
        if reached(&progress) {
            return Ok(number(&progress));
        }
        finished(streams)?;
        sleep(GLANCE);
    }
}

/// Whether all is done; what went wrong is an error.
fn finished(streams: &Streams) -> Result<bool, Failure> {
    match streams.state() {
        State::Finished => Ok(true),
        State::Error | State::Stopped => {
            let errors: Vec<_> = streams.errors().iter().map(|failure| failure.error.to_string()).collect();
            Err(format!("the engine stopped: {}", errors.join("; ")).into())
        }
        _ => Ok(false),
    }
}
