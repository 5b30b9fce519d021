//! The process that counts and is killed: an ordinary application over a log on disk or a cluster, exactly once, with state on disk.

use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use highwater::kafka::{Connect, Isolation};
use highwater::{Guarantee, KeyValueStore, Launch, Settings, State, StoreRef, Streams, StreamsBuilder, Topic, Topology};

use super::said::Said;
use super::site::Site;
use crate::cli::args::DemoWorkerArgs;
use crate::cli::tail::Tail;

pub(super) const STORE: &str = "visits-per-user";
const COUNTS: StoreRef<KeyValueStore<String, i64>> = StoreRef::new(STORE);

/// How often it says where it is.
const EVERY: Duration = Duration::from_millis(15);
/// Without the kills it is through in about this time, however few records there are to be killed among.
const LASTS: Duration = Duration::from_secs(3);
const LEAST_PER_SECOND: u64 = 20_000;
/// What a visit takes once it is about to be killed.
const SLOW: Duration = Duration::from_millis(2);
/// Far more than it ever takes.
const PATIENCE: Duration = Duration::from_secs(120);

/// Counts to the end, unless it is killed.
pub(crate) fn run(args: &DemoWorkerArgs) -> Result<()> {
    let site = Site::told(args);
    let log = site.open()?;
    let committed = committed_changes(&*log, &site)?;
    let restored = Arc::new(AtomicU64::new(0));
    let streams = start(&log, &site, Pace::of(args), &restored)?;
    streams.declare_end()?;
    if !matches!(streams.wait_for(State::Running, PATIENCE), State::Running | State::Finished) {
        return Err(failure(&streams));
    }
    say(Said::Restored { records: restored.load(Ordering::Relaxed), committed })?;
    let begun = Instant::now();
    while streams.wait(EVERY) != State::Finished {
        if streams.state().is_final() || begun.elapsed() > PATIENCE {
            return Err(failure(&streams));
        }
        say(Said::Taken(streams.progress().records_in))?;
    }
    let taken = streams.progress().records_in;
    streams.stop(PATIENCE).context("the process that counts did not stop cleanly")?;
    say(Said::Finished(taken))
}

fn start(log: &Arc<dyn Connect>, site: &Site, pace: Pace, restored: &Arc<AtomicU64>) -> Result<Streams> {
    let mut settings = Settings::new(site.application());
    settings.guarantee = Guarantee::ExactlyOnce;
    settings.state_dir = Some(site.state());
    settings.instance_id = site.is_cluster().then(|| "counter".into()); // the next one gets its tasks at once
    settings.commit_interval = Duration::from_millis(100);
    let (restored, parts) = (restored.clone(), std::sync::Mutex::new(std::collections::BTreeMap::new()));
    let launch = Launch::new(&topology(site, pace)?, settings, log.clone()).on_restore(move |progress| {
        let mut parts = parts.lock().expect("no panic while it is held");
        parts.insert(progress.task, progress.records);
        restored.store(parts.values().sum(), Ordering::Relaxed);
    });
    launch.start().context("the process that counts does not start")
}

fn topology(site: &Site, pace: Pace) -> Result<Topology> {
    let builder = StreamsBuilder::new();
    let visits = builder.stream(Topic::<String, String>::named(site.visits())).peek(move |_, _| pace.keep());
    visits.group_by_key().count(COUNTS).to_stream().map_values(Option::unwrap_or_default).to(Topic::<String, i64>::named(site.totals()));
    Ok(builder.build()?)
}

/// Slows the counting down, so that there is something to be killed.
struct Pace {
    per_second: u64,
    /// When the first one passed: a start takes its time.
    begun: OnceLock<Instant>,
    passed: AtomicU64,
    /// Whoever is to kill it may have other things to do, and it shall not be through by then.
    slows_at: u64,
}

impl Pace {
    fn of(args: &DemoWorkerArgs) -> Pace {
        let per_second = (args.records / LASTS.as_secs()).max(LEAST_PER_SECOND);
        Pace { per_second, begun: OnceLock::new(), passed: AtomicU64::new(0), slows_at: args.slows_at.unwrap_or(u64::MAX) }
    }

    fn keep(&self) {
        let passed = self.passed.fetch_add(1, Ordering::Relaxed);
        let begun = self.begun.get_or_init(Instant::now);
        if passed >= self.slows_at {
            thread::sleep(SLOW);
        } else if passed.is_multiple_of(200) {
            let due = Duration::from_micros(passed * 1_000_000 / self.per_second);
            thread::sleep(due.saturating_sub(begun.elapsed()));
        }
    }
}

/// Records of the changelog that are committed: what a process without state of its own would have to read.
pub(super) fn committed_changes(log: &dyn Connect, site: &Site) -> Result<u64> {
    let changelog = site.changelog();
    if !log.admin()?.list_topics()?.contains(&changelog) {
        return Ok(0);
    }
    Tail::of(log, &changelog)?.visit_rest(Isolation::ReadCommitted, &mut |_| Ok(()))
}

fn failure(streams: &Streams) -> anyhow::Error {
    match streams.errors().first() {
        Some(failure) => anyhow!("the count failed: {}", failure.error),
        None => anyhow!("the count is not over after {} s", PATIENCE.as_secs()),
    }
}

fn say(said: Said) -> Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{said}").and_then(|()| out.flush()).context("nobody listens any more")
}
