//! A job running in this process over its log, watched from outside: its results, late records and dead letters are read from
//! their topics as any consumer would.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use highwater::kafka::{Connect, Isolation, MemoryLog};
use highwater::{ErrorKind, Progress, RawRecord, Settings, Streams, SystemClock};
use signal_hook::consts::{SIGINT, SIGTERM};

use super::job_topics::provide_topics;
use super::notices::Notice;
use super::tail::Tail;
use crate::topologies::WindowedCounts;
use crate::topologies::windowed_counts::{BadRecords, ResultRow};

/// How often a watcher looks.
pub(crate) const ROUND: Duration = Duration::from_millis(100);

/// How long a stop may take: the last commit and leaving the group.
const STOP_WITHIN: Duration = Duration::from_secs(30);

/// A log in memory that has the topics of the job.
pub(crate) fn log_for(job: &WindowedCounts, partitions: i32) -> Result<Arc<MemoryLog>> {
    let log = MemoryLog::new(Arc::new(SystemClock));
    provide_topics(&log, job, partitions)?;
    Ok(Arc::new(log))
}

/// Where records go that cannot be read, if they go anywhere.
pub(super) fn dead_letters(job: &WindowedCounts) -> Option<&String> {
    match &job.input.bad_records {
        BadRecords::DeadLetter(topic) => Some(topic),
        BadRecords::Fail | BadRecords::Skip => None,
    }
}

/// A running job and what has come out of it.
pub(crate) struct Running<'j> {
    job: &'j WindowedCounts,
    streams: Streams,
    results: Option<Tail>,
    late: Option<Tail>,
    dead: Option<Tail>,
    pub(crate) seen: Seen,
}

/// Records seen in the topics that a job writes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) results: u64,
    pub(crate) late: u64,
    pub(crate) dead: u64,
}

impl<'j> Running<'j> {
    /// Starts it. Whether what comes out is `read` back: on a cluster that costs, and must be allowed.
    pub(crate) fn start(job: &'j WindowedCounts, log: Arc<dyn Connect>, settings: Settings, read: bool) -> Result<Self> {
        let tail = |topic: Option<&String>| topic.filter(|_| read).map(|topic| Tail::of(&*log, topic)).transpose();
        let results = tail(Some(&job.output_topic))?;
        let (late, dead) = (tail(job.late_topic.as_ref())?, tail(dead_letters(job))?);
        let slow = Notice::soon("the job has not started yet: the cluster takes its time; Ctrl-C ends this".to_owned());
        let streams = Streams::start(&job.topology()?, settings, log).context("the job does not start")?;
        drop(slow);
        Ok(Running { job, streams, results, late, dead, seen: Seen::default() })
    }

    /// What is in the input topic now is all there is.
    pub(crate) fn declare_end(&self) -> Result<()> {
        self.streams.declare_end().context("the end of input cannot be declared")
    }

    /// Waits a moment for the job to end; tells whether it has.
    pub(crate) fn is_over(&self) -> bool {
        self.streams.wait(ROUND).is_final()
    }

    /// Visits what has come out since the last call.
    pub(crate) fn visit(
        &mut self,
        on_result: &mut dyn FnMut(ResultRow) -> Result<()>,
        on_late: &mut dyn FnMut(RawRecord<'_>) -> Result<()>,
    ) -> Result<()> {
        let job = self.job;
        if let Some(results) = &mut self.results {
            self.seen.results += results.visit(&mut |record| on_result(job.result(&record)?))?;
        }
        if let Some(late) = &mut self.late {
            self.seen.late += late.visit(on_late)?;
        }
        if let Some(dead) = &mut self.dead {
            self.seen.dead += dead.visit(&mut |_| Ok(()))?;
        }
        Ok(())
    }

    /// The same up to what the last commit let out. Called once, at the end.
    pub(crate) fn visit_rest(&mut self, on_result: &mut dyn FnMut(ResultRow) -> Result<()>) -> Result<()> {
        let (job, all) = (self.job, Isolation::ReadUncommitted);
        if let Some(results) = &mut self.results {
            self.seen.results += results.visit_rest(all, &mut |record| on_result(job.result(&record)?))?;
        }
        if let Some(late) = &mut self.late {
            self.seen.late += late.visit_rest(all, &mut |_| Ok(()))?;
        }
        if let Some(dead) = &mut self.dead {
            self.seen.dead += dead.visit_rest(all, &mut |_| Ok(()))?;
        }
        Ok(())
    }

    pub(crate) fn progress(&self) -> Progress {
        self.streams.progress()
    }

    /// Whether what comes out is read back.
    pub(crate) fn reads(&self) -> bool {
        self.results.is_some()
    }

    /// Records that came after their window had closed; (record, window) pairs where no topic keeps them.
    pub(crate) fn late(&self, progress: &Progress) -> u64 {
        if self.late.is_some() { self.seen.late } else { progress.late }
    }

    /// Records that could not be read or counted: bytes and times that make no sense, and those without a key.
    pub(crate) fn bad(progress: &Progress) -> u64 {
        progress.dropped.saturating_sub(progress.late) + progress.bad_time
    }

    /// Whether a part of the job has stopped, and with it what it would have counted. [`stop`](Self::stop) says why.
    pub(crate) fn has_failed(&self) -> bool {
        !self.streams.errors().is_empty()
    }

    /// Commits, and ends the threads. An error is why a part of the job had stopped before, or why the last commit failed.
    pub(crate) fn stop(&self) -> Result<()> {
        let before = self.streams.errors();
        let _slow = Notice::soon(format!(
            "ending: waiting for the last commit, for at most {} s; Ctrl-C again ends at once",
            STOP_WITHIN.as_secs()
        ));
        let stopped = self.streams.stop(STOP_WITHIN);
        match before.first() {
            Some(failure) => {
                let place = failure.task.map_or_else(|| "the job".to_owned(), |task| format!("task {task}"));
                let advice = match failure.error.kind() {
                    ErrorKind::Serde => "correct the record, or say `bad-records: skip` or `dead-letter` in the job file",
                    other => other.advice(),
                };
                Err(anyhow!("{place} stopped: {}; what it had done since its last commit does not count ({advice})", failure.error))
            }
            None => stopped.context("the job did not stop cleanly"),
        }
    }
}

/// Whether somebody asked this process to end. The first Ctrl-C asks, the second one ends it at once.
pub(crate) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    pub(crate) fn listen() -> Result<Self> {
        let asked = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            // In this order: the first handler looks at what the second one of an earlier signal has set.
            signal_hook::flag::register_conditional_shutdown(signal, 1, asked.clone())?;
            signal_hook::flag::register(signal, asked.clone())?;
        }
        Ok(Interrupt(asked))
    }

    pub(crate) fn asked(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
