//! `highwater run`: a job file over a fed file, on a log in memory or in a folder; or over the topics of a cluster.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use highwater::kafka::Connect;
use highwater::{Clock, Progress, SystemClock, Timestamp};

use super::args::RunArgs;
use super::engine::{Interrupt, Running, dead_letters};
use super::failure::UsageError;
use super::feed::ledger::Ledger;
use super::feed::source::Source;
use super::feed::{Fed, Feed, Straight};
use super::job::{self, JobFile};
use super::notices::News;
use super::output::ResultSink;
use super::place::Place;
use super::restoring::restoring;
use super::status::Status;
use super::tell;
use super::terminal::grouped;
use crate::topologies::WindowedCounts;
use crate::topologies::windowed_counts::{BadRecords, ResultRow};

pub(crate) fn run(args: &RunArgs) -> Result<()> {
    let file = job::read(&args.job)?;
    let job = &file.job;
    not_over_the_feed(args)?;
    let source = open(args, &file)?;
    if source.is_some() && job.input.key.is_none() && job.group_by.is_none() {
        let text = format!("`{}` counts by the record key, and a fed line has none: add `key` to its `input`", args.job.display());
        return Err(UsageError(text).into());
    }
    let place = Place::of(args, &file)?;
    let mut sink = sink(args, &place)?;
    // Where rows go to a terminal as they come, they are what moves.
    let mut status = Status::new(args.until.is_some() || args.output.is_some() || place.is_shared());
    let fed = load(job, source, &place, &mut status)?;
    // From the start of the job on Ctrl-C is a wish to end well. While the file is loaded or a cluster waited for, there is nothing to lose, and
    // it ends the process at once.
    let early = if place.is_shared() { None } else { Some(Interrupt::listen()?) };
    let mut running = Running::start(job, place.log.clone(), place.settings(&file, args.threads), sink.is_some())?;
    let interrupt = early.map_or_else(Interrupt::listen, Ok)?;
    if place.is_shared() {
        warn_of_single_copies(job, &*place.log)?;
    }
    if args.until.is_some() {
        running.declare_end()?; // the file is loaded: its end is the end, and what the topics hold now is all of it
    }
    let news = News::of(place.is_shared());
    let watched = watch(&mut running, sink.as_mut(), &interrupt, (fed, news), &mut status);
    drop(status);
    let before = running.progress();
    running.stop()?;
    let interrupted = !watched?;
    running.visit_rest(&mut |row| taken(sink.as_mut(), row))?; // what the last commit let out
    let complete = !(interrupted && args.until.is_some());
    let left = sink.map(|sink| sink.finish(complete)).transpose()?.flatten();
    let text = summary(job, &running, fed, before.watermark(), interrupted);
    // The results own standard output where no file was named.
    match &args.output {
        None if !place.is_shared() => io::stderr().write_all(text.as_bytes())?,
        _ => io::stdout().write_all(text.as_bytes())?,
    }
    if complete { Ok(()) } else { Err(cut_short(left.as_deref())) }
}

/// Where rows of results go. On a cluster they are in the output topic, and as rows only in a file that was asked for.
fn sink(args: &RunArgs, place: &Place) -> Result<Option<ResultSink>> {
    match &args.output {
        None if place.is_shared() => Ok(None),
        output => ResultSink::open(output.as_deref(), args.until.is_some()).map(Some),
    }
}

/// What is kept once is lost with its broker.
fn warn_of_single_copies(job: &WindowedCounts, log: &dyn Connect) -> Result<()> {
    let parts = job.topology()?.subtopologies(&job.application);
    let names: Vec<_> = parts.iter().flat_map(|part| part.repartition_topics.keys().chain(part.changelog_topics.keys())).collect();
    let names: Vec<_> = names.into_iter().map(String::as_str).collect();
    // Not to know it is no reason to end a job that runs.
    let found = if names.is_empty() { Vec::new() } else { log.admin()?.describe_topics(&names).unwrap_or_default() };
    let single: Vec<_> = found.iter().filter(|topic| topic.replication == Some(1)).map(|topic| format!("`{}`", topic.name)).collect();
    if !single.is_empty() {
        tell(&format!("warning: one copy only, lost with its broker (`default.replication.factor` is 1 there): {}", single.join(", ")));
    }
    Ok(())
}

fn taken(sink: Option<&mut ResultSink>, row: ResultRow) -> Result<()> {
    sink.map_or(Ok(()), |sink| sink.take(row))
}

/// The error of a run that somebody ended before the end it was given.
fn cut_short(left: Option<&Path>) -> anyhow::Error {
    let place = left.map_or_else(String::new, |path| format!(": `{}` holds what was counted so far", path.display()));
    anyhow!("interrupted before the end of the input, so this is not the whole result{place}")
}

/// A run that writes over what it reads would lose its input.
fn not_over_the_feed(args: &RunArgs) -> Result<(), UsageError> {
    let real = |path: &Option<PathBuf>| path.as_ref().and_then(|path| path.canonicalize().ok());
    match (real(&args.feed), real(&args.output)) {
        (Some(feed), Some(output)) if feed == output => {
            Err(UsageError(format!("`--output` would overwrite the file of `--feed`, `{}`: name another one", output.display())))
        }
        _ => Ok(()),
    }
}

/// The lines to feed.
fn open(args: &RunArgs, file: &JobFile) -> Result<Option<Source>> {
    let lasts = args.data.is_some() || args.cluster.is_said() || file.kafka.is_some();
    match &args.feed {
        Some(path) => Ok(Some(Source::open(path)?)),
        None if lasts => Ok(None),
        None => Err(UsageError(
            "there is nothing to read: the log is in the memory of this process; load a file into the input topic with `--feed FILE`, keep \
             the log in a folder with `--data FOLDER`, or name a cluster with `--bootstrap HOST:PORT`"
                .to_owned(),
        )
        .into()),
    }
}

/// Loads what is to be fed; gives what the input topic holds then.
fn load(job: &WindowedCounts, source: Option<Source>, place: &Place, status: &mut Status) -> Result<Fed> {
    let mut on_batch = |fed: Fed| status.show(|| format!("loading the file: {} lines", grouped(fed.lines)));
    let feed = Feed { rows: &job.rows(), topic: &job.input.topic, partitions: place.partitions, now: SystemClock.now() };
    if !place.lasts() {
        let Some(source) = source else { return Ok(Fed::default()) };
        let to = &mut Straight(place.log.producer()?);
        return feed.load(source.lines(Fed::default())?, Fed::default(), to, &mut on_batch).context("the file cannot be loaded");
    }
    if source.is_none() && place.is_shared() {
        return Ok(Fed::default()); // the topic belongs to those who write it
    }
    let mut ledger = Ledger::open(&*place.log, &job.application)?;
    if let Some(source) = source {
        let file = source.path().map_or_else(|| PathBuf::from("-"), Path::to_path_buf);
        let before = ledger.of(&file);
        let mut to = ledger.intake(&*place.log, &file, before)?;
        let fed = feed.load(source.lines(before)?, before, &mut to, &mut on_batch).context("the file cannot be loaded")?;
        ledger.note(&file, fed);
    }
    Ok(ledger.total())
}

/// Until the job is over or somebody wants it to end; tells whether it is over.
fn watch(
    running: &mut Running<'_>,
    mut sink: Option<&mut ResultSink>,
    interrupt: &Interrupt,
    (fed, mut news): (Fed, News),
    status: &mut Status,
) -> Result<bool> {
    loop {
        let over = running.is_over();
        news.tell(&running.progress());
        running.visit(&mut |row| taken(sink.as_deref_mut(), row), &mut |_| Ok(()))?;
        if let Some(sink) = &mut sink {
            sink.flush()?;
        }
        status.show(|| {
            let progress = running.progress();
            let results = if running.reads() { running.seen.results } else { progress.records_out };
            let of = if fed.lines > 0 { format!(" of {}", grouped(fed.lines)) } else { String::new() };
            let read = || format!("{}{of} records read, {} results", grouped(progress.records_in), grouped(results));
            restoring(&progress).unwrap_or_else(read)
        });
        if over || running.has_failed() || interrupt.asked() {
            return Ok(over);
        }
    }
}

fn summary(job: &WindowedCounts, running: &Running<'_>, fed: Fed, watermark: Option<Timestamp>, interrupted: bool) -> String {
    let progress = running.progress();
    let ended = if interrupted { "interrupted; what is below is committed" } else { "finished" };
    let to = |topic: Option<&String>| topic.map_or_else(String::new, |topic| format!("to `{topic}`"));
    let mut rows = vec![
        ("records read", grouped(progress.records_in), read_note(job, &progress, fed, interrupted)),
        ("results", grouped(running.seen.results), to(Some(&job.output_topic))),
        ("late records", grouped(running.late(&progress)), late_note(job, &progress)),
        ("bad records", grouped(Running::bad(&progress)), bad_note(job, running, &progress, fed)),
        ("watermark", watermark_text(job, watermark, interrupted), String::new()),
    ];
    if !running.reads() {
        let topics = [Some(&job.output_topic), job.late_topic.as_ref(), dead_letters(job)].into_iter().flatten();
        let topics: Vec<_> = topics.map(|topic| format!("`{topic}`")).collect();
        rows.splice(1..2, [("records sent", grouped(progress.records_out), format!("to {}", topics.join(", ")))]);
    }
    let line = |(what, number, note): &(&str, String, String)| format!("  {what:<14} {number:<9} {note}").trim_end().to_owned() + "\n";
    format!("{}: {ended}\n{}", job.application, rows.iter().map(line).collect::<String>())
}

fn read_note(job: &WindowedCounts, progress: &Progress, fed: Fed, interrupted: bool) -> String {
    if fed == Fed::default() {
        return format!("of `{}`", job.input.topic);
    }
    // A run to the end has read all that others had left.
    let earlier = if !interrupted && progress.records_in < fed.lines { "; the others by earlier runs" } else { "" };
    format!("of {} in `{}`{earlier}", grouped(fed.lines), job.input.topic)
}

fn late_note(job: &WindowedCounts, progress: &Progress) -> String {
    match &job.late_topic {
        Some(topic) if progress.late == 0 => format!("to `{topic}`"),
        Some(topic) => format!("to `{topic}`; {} (record, window) pairs missed", grouped(progress.late)),
        None => "(record, window) pairs; add `late` to the job file to keep them".to_owned(),
    }
}

fn bad_note(job: &WindowedCounts, running: &Running<'_>, progress: &Progress, fed: Fed) -> String {
    let dead = match &job.input.bad_records {
        BadRecords::DeadLetter(topic) if !running.reads() => Some(format!("to `{topic}`")),
        BadRecords::DeadLetter(topic) => Some(format!("{} to `{topic}`", grouped(running.seen.dead))),
        BadRecords::Fail | BadRecords::Skip => None,
    };
    let keyless = (fed.keyless > 0).then(|| format!("lines without a key: {}", grouped(fed.keyless)));
    let ahead = (progress.bad_time > 0).then(|| format!("more than an hour ahead of the clock: {}", grouped(progress.bad_time)));
    dead.into_iter().chain(keyless).chain(ahead).collect::<Vec<_>>().join("; ")
}

fn watermark_text(job: &WindowedCounts, watermark: Option<Timestamp>, interrupted: bool) -> String {
    match watermark {
        _ if job.input.watermark.is_none() => "none, the job runs by stream time: windows that input has not passed stay open".to_owned(),
        _ if !interrupted => "at the end of input: every window is closed".to_owned(),
        Some(at) => super::demo::scene::instant(at),
        None => "not known yet".to_owned(),
    }
}
