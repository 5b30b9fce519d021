//! `highwater demo`: generated page views, counted per page and window of event time, live on the terminal.

pub(crate) mod crash;
pub(crate) mod scene;

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use highwater::kafka::{Connect, MemoryLog, Outgoing, Producer, partition_of};
use highwater::{Clock, Headers, RawRecord, Settings, SystemClock, Timestamp, TopicPartition};

use super::args::DemoArgs;
use super::engine::{Interrupt, ROUND, Running, log_for};
use super::failure::UsageError;
use super::generator::Generator;
use super::job;
use super::restoring::restoring;
use super::terminal::{Terminal, grouped};
use crate::topologies::WindowedCounts;
use scene::{ClosedWindows, Standing, instant, late_line};

/// The demo is a job like any other.
const JOB: &str = include_str!("../../../topologies/jobs/demo.yaml");
const PARTITIONS: i32 = 3;

/// How often the status is said where lines stay.
const PLAIN_STATUS_EVERY: Duration = Duration::from_secs(5);

pub(crate) fn run(args: &DemoArgs) -> Result<()> {
    if args.crash {
        return crash::run(args);
    }
    if args.cluster.is_said() {
        return Err(UsageError("the views of this demo stay in this process; on a cluster there is `demo --crash`".to_owned()).into());
    }
    let job = job::parse("topologies/jobs/demo.yaml", JOB)?.job;
    let log = log_for(&job, PARTITIONS)?;
    let interrupt = Interrupt::listen()?;
    let mut show = Show::new();
    show.opening(args)?;
    let mut settings = Settings::new(job.application.clone());
    settings.threads = usize::from(args.threads);
    let mut running = Running::start(&job, log.clone(), settings, true)?;
    let mut views = Views::new(args, &log, &job)?;
    let end = views.started + args.duration;
    let mut over = false;
    while !over && !interrupt.asked() && SystemClock.now() < end {
        views.send_until(SystemClock.now().min(end))?;
        over = running.is_over() || running.has_failed(); // `stop` says why
        show.round(&mut running)?;
    }
    let interrupted = interrupt.asked();
    if !interrupted && !over {
        views.send_until(end)?;
        running.declare_end()?;
        while !running.is_over() && !interrupt.asked() {}
    }
    running.stop()?;
    show.closing(&mut running, interrupted)
}

/// The views on their way into the topic.
struct Views {
    generator: Generator,
    producer: Box<dyn Producer>,
    topic: Arc<str>,
    rate: u64,
    started: Timestamp,
    sent: u64,
}

impl Views {
    fn new(args: &DemoArgs, log: &MemoryLog, job: &WindowedCounts) -> Result<Self> {
        let started = SystemClock.now();
        Ok(Views {
            generator: Generator::new(args.seed, started),
            producer: log.producer()?,
            topic: job.input.topic.as_str().into(),
            rate: u64::from(args.rate),
            started,
            sent: 0,
        })
    }

    /// Sends what is due by `now`, each view as of its own moment.
    fn send_until(&mut self, now: Timestamp) -> Result<()> {
        let due = since(self.started, now).saturating_mul(self.rate) / 1_000;
        let mut by_partition = vec![Vec::new(); usize::try_from(PARTITIONS)?];
        while self.sent < due {
            self.sent += 1;
            let view = self.generator.view(self.started + Duration::from_millis(self.sent * 1_000 / self.rate));
            let partition = usize::try_from(partition_of(view.user.as_bytes(), PARTITIONS))?;
            by_partition[partition].push((view.to_json(), view));
        }
        let headers = Headers::default();
        for (number, views) in (0..).zip(&by_partition) {
            let records: Vec<_> = views
                .iter()
                .map(|(json, view)| Outgoing {
                    key: Some(view.user.as_bytes()),
                    value: Some(json.as_bytes()),
                    timestamp: view.at,
                    headers: &headers,
                })
                .collect();
            self.producer.send(&TopicPartition::new(self.topic.clone(), number), &records)?;
        }
        Ok(())
    }
}

/// Milliseconds from one instant to a later one.
fn since(from: Timestamp, to: Timestamp) -> u64 {
    u64::try_from(to.as_millis().saturating_sub(from.as_millis())).unwrap_or(0)
}

/// What is on the terminal.
struct Show {
    terminal: Terminal,
    windows: ClosedWindows,
    standing: Standing,
    /// Late views of this round that are shown; the others are counted.
    last_late: Timestamp,
    last_status: Timestamp,
    /// Time and views of the last few rounds, for the rate.
    rounds: VecDeque<(Timestamp, u64)>,
}

impl Show {
    fn new() -> Self {
        let never = Timestamp::from_millis(0);
        Show {
            terminal: Terminal::stdout(),
            windows: ClosedWindows::default(),
            standing: Standing::default(),
            last_late: never,
            last_status: never,
            rounds: VecDeque::new(),
        }
    }

    fn opening(&mut self, args: &DemoArgs) -> io::Result<()> {
        let rate = grouped(u64::from(args.rate));
        for line in [
            &*format!("{rate} page views a second, keyed by user in {PARTITIONS} partitions, counted per page in windows of 5 s."),
            "Views come up to 2 s out of order. The watermark stays 2 s behind the newest view of each partition;",
            "when it passes the end of a window, the window closes, once. What comes later is kept as late.",
            "The job behind this: topologies/jobs/demo.yaml. Ctrl-C ends it early.",
            "",
        ] {
            self.terminal.line(line)?;
        }
        Ok(())
    }

    fn round(&mut self, running: &mut Running<'_>) -> Result<()> {
        self.take(running)?;
        let lines = self.windows.settled();
        lines.iter().try_for_each(|line| self.terminal.line(line))?;
        self.status(running)
    }

    /// Takes in what has come out of the job.
    fn take(&mut self, running: &mut Running<'_>) -> Result<()> {
        let now = SystemClock.now();
        let Show { terminal, windows, last_late, .. } = self;
        let show_late = |record: RawRecord<'_>| {
            if since(*last_late, now) >= 1_000 {
                *last_late = now;
                terminal.line(&late_line(&String::from_utf8_lossy(record.value.unwrap_or_default()), record.timestamp, now))?;
            }
            Ok(())
        };
        running.visit(
            &mut |row| {
                windows.take(row);
                Ok(())
            },
            &mut { show_late },
        )
    }

    fn status(&mut self, running: &Running<'_>) -> Result<()> {
        let (now, progress) = (SystemClock.now(), running.progress());
        self.rounds.push_back((now, progress.records_in));
        if self.rounds.len() > 20 {
            self.rounds.pop_front();
        }
        let (then, views) = self.rounds.front().copied().unwrap_or((now, 0));
        self.standing = Standing {
            now,
            watermark: progress.watermark().or(self.standing.watermark),
            views: progress.records_in,
            per_second: (progress.records_in - views) * 1_000 / since(then, now).max(1),
            late: running.late(&progress),
        };
        let every = if self.terminal.is_live() { ROUND } else { PLAIN_STATUS_EVERY };
        if since(self.last_status, now) >= u64::try_from(every.as_millis())? {
            self.last_status = now;
            self.terminal.status(&restoring(&progress).unwrap_or_else(|| self.standing.line()))?;
        }
        Ok(())
    }

    /// The last results, and where things stand.
    fn closing(&mut self, running: &mut Running<'_>, interrupted: bool) -> Result<()> {
        self.take(running)?;
        let lines = self.windows.rest();
        lines.iter().try_for_each(|line| self.terminal.line(line))?;
        let progress = running.progress();
        let (views, late) = (grouped(progress.records_in), grouped(running.late(&progress)));
        let watermark = self.standing.watermark.map_or("not known yet".to_owned(), instant);
        self.terminal.line("")?;
        self.terminal.line(&match interrupted {
            true => format!("Interrupted, and committed: {views} views, {late} of them late; the watermark stood at {watermark}."),
            false => format!("The end: {views} views, {late} of them late. The input was declared over, so every window has closed."),
        })?;
        self.terminal.line("Next: a job of your own, `highwater list windowed-counts`.")?;
        Ok(())
    }
}
