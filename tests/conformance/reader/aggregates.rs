//! Windows and aggregates of grouped streams.

use std::rc::Rc;
use std::sync::Arc;

use highwater::{
    EmitStrategy, Row, Serde, SessionWindowedKStream, SessionWindows, SlidingWindows, Store, StoreRef, TimeWindowedKStream, TimeWindows,
    Timestamp, UnlimitedWindows,
};

use super::super::cell::CellSerde;
use super::super::format::Op;
use super::super::functions::{self, Boom};
use super::super::value::{Type, Val};
use super::options::span;
use super::streams::topic;
use super::tables::{AnyTable, named, table};
use super::{Handle, Made, Node, Reader};

impl Reader<'_> {
    pub(super) fn windowed_by(&self, op: &Op) -> Made {
        let input = self.input(op, 0);
        let Handle::Grouped(grouped) = &input.handle else { panic!("invalid scenario: windows of something not grouped") };
        let window = op.window.clone().unwrap_or_default();
        let grace = span(window.grace_ms.unwrap_or(0))?;
        let size = |millis: Option<i64>| span(millis.unwrap_or(0));
        let late = || op.late_to.iter().map(|late| topic(late, &input.key, &input.value));
        let emit = |windows: TimeWindowedKStream<Val, Val>| {
            let windows = late().fold(windows, TimeWindowedKStream::late_to);
            Handle::TimeWindowed(Rc::new(strategy(op).into_iter().fold(windows, TimeWindowedKStream::emit)))
        };
        let handle = match window.kind.as_deref() {
            Some("tumbling" | "hopping") => {
                let windows = TimeWindows::of(size(window.size_ms)?).grace(grace);
                let advance = window.advance_ms.map(span).transpose()?;
                emit(grouped.windowed_by(advance.map_or(windows, |advance| windows.advance_by(advance))))
            }
            Some("sliding") => emit(grouped.windowed_by(SlidingWindows::of(size(window.size_ms)?).grace(grace))),
            Some("unlimited") => {
                let start = window.start_ms.map(Timestamp::from_millis);
                emit(grouped.windowed_by(start.map_or(UnlimitedWindows::of(), |start| UnlimitedWindows::of().starting_at(start))))
            }
            Some("session") => {
                let windows = grouped.windowed_by(SessionWindows::with_gap(size(window.gap_ms)?).grace(grace));
                let windows = late().fold(windows, SessionWindowedKStream::late_to);
                Handle::SessionWindowed(Rc::new(strategy(op).into_iter().fold(windows, SessionWindowedKStream::emit)))
            }
            other => panic!("invalid scenario: unknown window {other:?}"),
        };
        Ok(Some(Node { window: Some(window), ..Node::new(handle, &input.key, &input.value) }))
    }

    pub(super) fn count(&self, op: &Op) -> Made {
        let (input, long) = (self.input(op, 0), Type::Long);
        match &input.handle {
            Handle::Grouped(grouped) => {
                let made = match op.store {
                    None => grouped.count(unnamed(&input.key, &long)),
                    Some(_) => grouped.count(self.key_value(op, &input.key, &long)?),
                };
                table(AnyTable::PlainCount(named(made, op)), &input.key, &long)
            }
            Handle::TimeWindowed(windows) => {
                let made = match op.store {
                    None => windows.count(unnamed(&input.key, &long)),
                    Some(_) => windows.count(self.window(op, &input, &long)?),
                };
                table(AnyTable::TimeCount(named(made, op)), &windowed_key(&input), &long)
            }
            Handle::SessionWindowed(windows) => {
                let made = match op.store {
                    None => windows.count(unnamed(&input.key, &long)),
                    Some(_) => windows.count(self.session(op, &input, &long)?),
                };
                table(AnyTable::SessionCount(named(made, op)), &windowed_key(&input), &long)
            }
            _ => panic!("invalid scenario: a count of something not grouped"),
        }
    }

    pub(super) fn aggregate(&self, op: &Op) -> Made {
        let fold = functions::aggregator(op.need(&op.add));
        let merge = op.merge.as_deref().map_or_else(|| functions::combiner("first"), functions::combiner);
        let (init, kind) = functions::initializer(op.need(&op.init));
        let input = self.input(op, 0);
        let start = move || init.clone();
        let step = move |key: &Val, value: Val, row: &mut Val| -> Result<Row, Boom> {
            *row = fold(key, &value, row)?;
            Ok(if row.is_null() { Row::Delete } else { Row::Keep })
        };
        match &input.handle {
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
        match &input.handle {
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

/// When results come out, if the scenario says.
fn strategy(op: &Op) -> Option<EmitStrategy> {
    op.emit.as_deref().map(|emit| if emit == "close" { EmitStrategy::on_window_close() } else { EmitStrategy::on_window_update() })
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

/// A bare reference: what Java calls `count()`, whose names are not those of `count(Materialized)`.
fn unnamed<S>(key: &Type, value: &Type) -> StoreRef<S>
where
    S: Store<Serdes = (Arc<dyn Serde<Val>>, Arc<dyn Serde<i64>>)>,
{
    StoreRef::unnamed(CellSerde::of(key), CellSerde::of(value))
}
