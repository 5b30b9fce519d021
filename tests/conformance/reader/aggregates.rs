//! Windows and aggregates of grouped streams.

use std::sync::Arc;

use highwater::{EmitStrategy, KTable, Row, SessionWindows, SlidingWindows, TimeWindows, Timestamp, UnlimitedWindows, Windowed};

use super::super::format::{Op, Window};
use super::super::functions::{self, Aggregator, Boom};
use super::super::value::{Type, Val};
use super::options::span;
use super::tables::{AnyTable, TableKey, named, table};
use super::{Handle, Made, Node, Reader, Refused};

impl Reader<'_> {
    pub(super) fn windowed_by(&self, op: &Op) -> Made {
        let input = self.input(op, 0);
        let Handle::Grouped(grouped) = input.handle.clone() else { panic!("invalid scenario: windows of something not grouped") };
        let window = op.window.clone().unwrap_or_default();
        let grace = span(window.grace_ms.unwrap_or(0))?;
        let size = |millis: Option<i64>| span(millis.unwrap_or(0));
        let handle = match window.kind.as_deref() {
            Some("tumbling" | "hopping") => {
                let windows = TimeWindows::of(size(window.size_ms)?).grace(grace);
                let advance = window.advance_ms.map(span).transpose()?;
                Handle::TimeWindowed(grouped.windowed_by(advance.map_or(windows, |advance| windows.advance_by(advance))))
            }
            Some("sliding") => Handle::TimeWindowed(grouped.windowed_by(SlidingWindows::of(size(window.size_ms)?).grace(grace))),
            Some("session") => Handle::SessionWindowed(grouped.windowed_by(SessionWindows::with_gap(size(window.gap_ms)?).grace(grace))),
            Some("unlimited") => {
                let windows = UnlimitedWindows::of();
                let start = window.start_ms.map(Timestamp::from_millis);
                Handle::TimeWindowed(grouped.windowed_by(start.map_or(windows, |start| windows.starting_at(start))))
            }
            other => panic!("invalid scenario: unknown window {other:?}"),
        };
        let handle = emitting(handle, op.emit.as_deref());
        Ok(Some(Node { window: Some(window), ..Node::new(handle, &input.key, &input.value) }))
    }

    /// A count is an aggregate with the same names; the runner's values are no `i64`.
    pub(super) fn count(&self, op: &Op) -> Made {
        let fold: Aggregator = functions::aggregator("count");
        self.folded(op, (Val::Long(0), Type::Long), fold, functions::combiner("sum"))
    }

    pub(super) fn aggregate(&self, op: &Op) -> Made {
        let fold = functions::aggregator(op.need(&op.add));
        let merge = op.merge.as_deref().map_or_else(|| functions::combiner("first"), functions::combiner);
        self.folded(op, functions::initializer(op.need(&op.init)), fold, merge)
    }

    fn folded(&self, op: &Op, (init, kind): (Val, Type), fold: Aggregator, merge: functions::Combiner) -> Made {
        let input = self.input(op, 0);
        let start = move || init.clone();
        let step = move |key: &Val, value: Val, row: &mut Val| -> Result<Row, Boom> {
            *row = fold(key, &value, row)?;
            Ok(if row.is_null() { Row::Delete } else { Row::Keep })
        };
        match input.handle.clone() {
            Handle::Grouped(grouped) => {
                let made = grouped.aggregate(self.key_value(op, &input.key, &kind)?, start, step);
                table(AnyTable::Plain(named(made, op)), &input.key, &kind)
            }
            Handle::TimeWindowed(windows) => {
                let made = windows.aggregate(self.window(op, &input, &kind)?, start, step);
                table(AnyTable::Time(named(made, op)), &windowed_key(&input), &kind)
            }
            Handle::SessionWindowed(windows) => {
                let made = windows.try_aggregate(self.session(op, &input, &kind)?, start, step, move |_, a, b| merge(&a, &b));
                table(AnyTable::Session(named(made, op)), &windowed_key(&input), &kind)
            }
            _ => panic!("invalid scenario: an aggregate of something not grouped"),
        }
    }

    pub(super) fn reduce(&self, op: &Op) -> Made {
        let input = self.input(op, 0);
        let add = functions::combiner(op.need(&op.add));
        let step = move |row: Val, value: Val| add(&row, &value);
        match input.handle.clone() {
            Handle::Grouped(grouped) => {
                let made = grouped.try_reduce(self.key_value(op, &input.key, &input.value)?, step);
                table(AnyTable::Plain(named(made, op)), &input.key, &input.value)
            }
            Handle::TimeWindowed(windows) => {
                let made = windows.try_reduce(self.window(op, &input, &input.value)?, step);
                table(AnyTable::Time(named(made, op)), &windowed_key(&input), &input.value)
            }
            Handle::SessionWindowed(windows) => {
                let made = windows.try_reduce(self.session(op, &input, &input.value)?, step);
                table(AnyTable::Session(named(made, op)), &windowed_key(&input), &input.value)
            }
            _ => panic!("invalid scenario: a reduce of something not grouped"),
        }
    }
}

fn emitting(handle: Handle, emit: Option<&str>) -> Handle {
    let strategy = match emit {
        None => return handle,
        Some("close") => EmitStrategy::on_window_close(),
        Some(_) => EmitStrategy::on_window_update(),
    };
    match handle {
        Handle::TimeWindowed(windows) => Handle::TimeWindowed(windows.emit(strategy)),
        Handle::SessionWindowed(windows) => Handle::SessionWindowed(windows.emit(strategy)),
        other => other,
    }
}

/// The type of a windowed aggregate's key.
fn windowed_key(input: &Node) -> Type {
    let window = input.window.as_ref().expect("windows were given");
    let key = Box::new(input.key.clone());
    match window.kind.as_deref() {
        Some("session") => Type::SessionWindowed(key),
        Some("unlimited") => Type::TimeWindowed(key, i64::MAX),
        _ => Type::TimeWindowed(key, window.size_ms.unwrap_or(0)),
    }
}
