//! What the engine says while an instance runs, kept beside what the instance notes: whoever looks into a failure reads both.

use std::fmt::{Debug, Write as _};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use super::child::Notes;

struct Journal(Notes);

/// From now on everything that is said is written down.
pub(crate) fn keep(notes: &Notes) {
    let _ = tracing::subscriber::set_global_default(Journal(notes.clone()));
}

impl Subscriber for Journal {
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
        self.0.write(&line.0);
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
