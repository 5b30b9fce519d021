//! What the engine says while a test runs: whoever looks into a failure reads it beside what the test found. And why a test failed is the last thing
//! that is said of it, since reports are cut off at the front.

#![allow(clippy::print_stderr, reason = "it speaks to whoever runs the test")]

use std::backtrace::Backtrace;
use std::collections::VecDeque;
use std::fmt::{Debug, Write as _};
use std::panic::{self, PanicHookInfo};
use std::sync::{Mutex, Once, PoisonError};
use std::thread;

use highwater::{Clock as _, SystemClock};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

/// Where lines go.
struct Journal<W>(W);

/// From now on everything that is said in this process is written down so.
pub(crate) fn keep(write: impl Fn(&str) + Send + Sync + 'static) {
    let _ = tracing::subscriber::set_global_default(Journal(write));
}

/// The last lines of all tests of this process, which run at the same time.
static LINES: Mutex<VecDeque<String>> = Mutex::new(VecDeque::new());
const KEPT: usize = 50_000;

/// From now on what is said in this process is remembered.
pub(crate) fn remember() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        panic::set_hook(Box::new(told_last));
        keep(|line| {
            let millis = SystemClock.now().as_millis();
            let line = format!("{}.{:03} [{}] {line}", millis / 1_000, millis % 1_000, thread::current().name().unwrap_or("?"));
            let mut lines = LINES.lock().unwrap_or_else(PoisonError::into_inner);
            lines.push_back(line);
            let more = lines.len().saturating_sub(KEPT);
            lines.drain(..more);
        });
    });
}

/// Says where a test failed and who called, and then why.
fn told_last(panic: &PanicHookInfo<'_>) {
    let trace = Backtrace::capture().to_string();
    let callers: Vec<&str> = trace.lines().filter_map(|line| line.trim().strip_prefix("at ./tests/")).collect();
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    let test = thread::current().name().unwrap_or("?").to_owned();
    eprintln!("{test} panicked at {place}, called from {}\n{}", callers.join(", "), panic.payload_as_str().unwrap_or("?"));
}

/// How many lines with one of these words were said so far, of those that are remembered.
pub(crate) fn lines(words: &[&str]) -> usize {
    about(words, KEPT).lines().count()
}

/// The last so many lines with one of these words in them, an application's name say: its threads are named after it.
pub(crate) fn about(words: &[&str], most: usize) -> String {
    let lines = LINES.lock().unwrap_or_else(PoisonError::into_inner);
    let found: Vec<&str> = lines.iter().map(String::as_str).filter(|line| words.iter().any(|word| line.contains(word))).collect();
    found[found.len().saturating_sub(most)..].join("\n")
}

impl<W: Fn(&str) + Send + Sync + 'static> Subscriber for Journal<W> {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let most = if std::env::var_os("HIGHWATER_INSTANCE_TRACE").is_some() { Level::TRACE } else { Level::INFO };
        *metadata.level() <= most && metadata.target().starts_with("highwater")
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(format!("log {}", event.metadata().level()));
        event.record(&mut line);
        (self.0)(&line.0);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let _ = write!(self.0, " {field}={value:?}");
    }
}
