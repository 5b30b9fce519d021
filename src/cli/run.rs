//! `highwater run`: a job file over a fed file, on the log in memory.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;

use anyhow::{Context, Result};
use highwater::kafka::{Connect, MemoryLog};
use highwater::{Clock, Progress, SystemClock, Timestamp};

use super::args::RunArgs;
use super::engine::{Interrupt, Running, log_for};
use super::failure::UsageError;
use super::feed::{Fed, Feed};
use super::job;
use super::output::ResultSink;
use super::terminal::grouped;
use crate::topologies::WindowedCounts;
use crate::topologies::windowed_counts::BadRecords;

pub(crate) fn run(args: &RunArgs) -> Result<()> {
    let job = job::read(&args.job)?;
    let lines = open(args.feed.as_deref())?;
    if job.input.key.is_none() && job.group_by.is_none() {
        let text = format!("`{}` counts by the record key, and a fed line has none: add `key` to its `input`", args.job.display());
        return Err(UsageError(text).into());
    }
    let mut sink = ResultSink::open(args.output.as_deref(), args.until.is_some())?;
    let interrupt = Interrupt::listen()?;
    let partitions = i32::from(args.partitions);
    let log = log_for(&job, partitions)?;
    let fed = load(&job, lines, &log, partitions)?;
    let mut running = Running::start(&job, log, partitions, args.threads)?;
    if args.until.is_some() {
        running.declare_end()?; // the file is loaded: its end is the end, and what the topics hold now is all of it
    }
    let watched = watch(&mut running, &mut sink, &interrupt);
    let before = running.progress();
    running.stop()?;
    watched?;
    running.visit(&mut |row| Ok(sink.take(row)?), &mut |_| Ok(()))?; // what the last commit let out
    sink.finish()?;
    let text = summary(&job, &running, fed, before.watermark(), interrupt.asked());
    // The results own standard output where no file was named.
    match &args.output {
        Some(_) => io::stdout().write_all(text.as_bytes())?,
        None => io::stderr().write_all(text.as_bytes())?,
    }
    Ok(())
}

/// The lines to feed.
fn open(feed: Option<&Path>) -> Result<Box<dyn BufRead>> {
    match feed {
        None => Err(UsageError(
            "there is nothing to read: the log is in the memory of this process; load a file into the input topic with `--feed FILE`"
                .to_owned(),
        )
        .into()),
        Some(path) if path == Path::new("-") => Ok(Box::new(io::stdin().lock())),
        Some(path) => {
            let file = File::open(path).map_err(|error| UsageError(format!("cannot read `{}`: {error}", path.display())))?;
            Ok(Box::new(BufReader::new(file)))
        }
    }
}

fn load(job: &WindowedCounts, lines: impl BufRead, log: &MemoryLog, partitions: i32) -> Result<Fed> {
    let feed = Feed { rows: &job.rows(), topic: &job.input.topic, partitions, now: SystemClock.now() };
    feed.load(lines, &mut *log.producer()?).context("the file cannot be loaded")
}

/// Until the job is over or somebody wants it to end.
fn watch(running: &mut Running<'_>, sink: &mut ResultSink, interrupt: &Interrupt) -> Result<()> {
    loop {
        let over = running.is_over();
        running.visit(&mut |row| Ok(sink.take(row)?), &mut |_| Ok(()))?;
        sink.flush()?;
        if over || running.has_failed() || interrupt.asked() {
            return Ok(());
        }
    }
}

fn summary(job: &WindowedCounts, running: &Running<'_>, fed: Fed, watermark: Option<Timestamp>, interrupted: bool) -> String {
    let progress = running.progress();
    let ended = if interrupted { "interrupted; what is below is committed" } else { "finished" };
    let to = |topic: Option<&String>| topic.map_or_else(String::new, |topic| format!("to `{topic}`"));
    let rows = [
        ("records read", grouped(progress.records_in), format!("of {} in `{}`", grouped(fed.lines), job.input.topic)),
        ("results", grouped(running.seen.results), to(Some(&job.output_topic))),
        ("late records", grouped(running.late(&progress)), late_note(job, &progress)),
        ("bad records", grouped(Running::bad(&progress)), bad_note(job, running, fed)),
        ("watermark", watermark_text(job, watermark, interrupted), String::new()),
    ];
    let line = |(what, number, note): &(&str, String, String)| format!("  {what:<14} {number:<9} {note}").trim_end().to_owned() + "\n";
    format!("{}: {ended}\n{}", job.application, rows.iter().map(line).collect::<String>())
}

fn late_note(job: &WindowedCounts, progress: &Progress) -> String {
    match &job.late_topic {
        Some(topic) if progress.late == 0 => format!("to `{topic}`"),
        Some(topic) => format!("to `{topic}`; {} (record, window) pairs missed", grouped(progress.late)),
        None => "(record, window) pairs; add `late` to the job file to keep them".to_owned(),
    }
}

fn bad_note(job: &WindowedCounts, running: &Running<'_>, fed: Fed) -> String {
    let dead = match &job.input.bad_records {
        BadRecords::DeadLetter(topic) => Some(format!("{} to `{topic}`", grouped(running.seen.dead))),
        BadRecords::Fail | BadRecords::Skip => None,
    };
    let keyless = (fed.keyless > 0).then(|| format!("lines without a key: {}", grouped(fed.keyless)));
    dead.into_iter().chain(keyless).collect::<Vec<_>>().join("; ")
}

fn watermark_text(job: &WindowedCounts, watermark: Option<Timestamp>, interrupted: bool) -> String {
    match watermark {
        _ if job.input.watermark.is_none() => "none, the job runs by stream time: windows that input has not passed stay open".to_owned(),
        _ if !interrupted => "at the end of input: every window is closed".to_owned(),
        Some(at) => super::demo::scene::instant(at),
        None => "not known yet".to_owned(),
    }
}
