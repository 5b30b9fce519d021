//! Tables: with plain, time-windowed and session-windowed keys.

use highwater::{KStream, KTable, Repartitioned, SessionWindow, StoreRef, Suppressed, Windowed};

use super::super::cell::{Cell, CellSerde};
use super::super::format::{Logging, Op};
use super::super::functions::{self, Mapper};
use super::super::value::{Type, Val, ValSerde};
use super::options::{self, span};
use super::{Handle, Made, Node, Reader, Refused};

/// A table by its kind of key and, because `count` makes plain numbers, by its kind of value.
#[derive(Clone)]
pub(super) enum AnyTable {
    Plain(KTable<Val, Val>),
    Time(KTable<Windowed<Val>, Val>),
    Session(KTable<Windowed<Val, SessionWindow>, Val>),
    PlainCount(KTable<Val, i64>),
    TimeCount(KTable<Windowed<Val>, i64>),
    SessionCount(KTable<Windowed<Val, SessionWindow>, i64>),
}

/// The same expression for each kind of table, giving that kind again.
macro_rules! each_table {
    ($any:expr, $table:ident => $body:expr) => {
        match $any {
            AnyTable::Plain($table) => AnyTable::Plain($body),
            AnyTable::Time($table) => AnyTable::Time($body),
            AnyTable::Session($table) => AnyTable::Session($body),
            AnyTable::PlainCount($table) => AnyTable::PlainCount($body),
            AnyTable::TimeCount($table) => AnyTable::TimeCount($body),
            AnyTable::SessionCount($table) => AnyTable::SessionCount($body),
        }
    };
}

pub(super) fn table(table: AnyTable, key: &Type, value: &Type) -> Made {
    Ok(Some(Node::new(Handle::Table(table), key, value)))
}

pub(super) fn named<K: Cell, V: Cell>(table: KTable<K, V>, op: &Op) -> KTable<K, V> {
    match &op.name {
        Some(name) => table.named(name.clone()),
        None => table,
    }
}

fn rows<K: Cell, V: Cell>(table: &KTable<K, V>, op: &Op) -> KStream<Val, Val> {
    let made = table.to_stream_as(|key: K, row: Option<V>| (key.val(), row.map_or(Val::Null, |row| row.val())));
    match &op.name {
        Some(name) => made.named(name.clone()),
        None => made,
    }
}

impl Reader<'_> {
    pub(super) fn table(&mut self, op: &Op) -> Made {
        let (key, value) = self.declare(op);
        let consumed = self.consumed(highwater::Consumed::with(super::streams::topic(op.need(&op.topic), &key, &value)), op);
        let made = match &op.store {
            None => self.builder.table(consumed),
            Some(_) => self.builder.table_as(self.key_value(op, &key, &value)?, consumed),
        };
        table(AnyTable::Plain(named(made, op)), &key, &value)
    }

    pub(super) fn to_table(&self, op: &Op) -> Made {
        let input = self.input(op, 0);
        let made = {
            let topic = Repartitioned::unnamed(ValSerde(input.key.clone()), ValSerde(input.value.clone()));
            input.stream().to_table_with(self.key_value(op, &input.key, &input.value)?, topic)
        };
        table(AnyTable::Plain(named(made, op)), &input.key, &input.value)
    }

    pub(super) fn filter(&self, op: &Op) -> Made {
        let input = self.input(op, 0);
        let Handle::Table(of) = &input.handle else { return self.filter_stream(op, &input) };
        let made = each_table!(of, table => self.filtered(table, op, &input)?);
        Ok(Some(Node { value_serde: input.value_serde || op.store.is_some(), ..Node::new(Handle::Table(made), &input.key, &input.value) }))
    }

    pub(super) fn map_values(&self, op: &Op) -> Made {
        let input = self.input(op, 0);
        let Handle::Table(of) = &input.handle else { return self.map_values_of_stream(op, &input) };
        let f = functions::mapper(op.function(), &input.key, &input.value);
        let made = match of {
            AnyTable::Plain(table) => AnyTable::Plain(self.mapped(table, &f, op, &input)?),
            AnyTable::PlainCount(table) => AnyTable::Plain(self.mapped(table, &f, op, &input)?),
            AnyTable::Time(table) => AnyTable::Time(self.mapped(table, &f, op, &input)?),
            AnyTable::TimeCount(table) => AnyTable::Time(self.mapped(table, &f, op, &input)?),
            AnyTable::Session(table) => AnyTable::Session(self.mapped(table, &f, op, &input)?),
            AnyTable::SessionCount(table) => AnyTable::Session(self.mapped(table, &f, op, &input)?),
        };
        Ok(Some(Node { value_serde: op.store.is_some(), ..Node::new(Handle::Table(made), &input.key, &f.kind) }))
    }

    fn filtered<K: Cell, V: Cell>(&self, table: &KTable<K, V>, op: &Op, input: &Node) -> Result<KTable<K, V>, Refused> {
        let test = functions::predicate(op.function());
        let keep = move |k: &K, v: &V| test(&k.val(), &v.val());
        let made = match (op.op.as_str(), &op.store) {
            ("filter", None) => table.filter(keep),
            ("filter", Some(_)) => table.filter_as(self.key_value(op, &input.key, &input.value)?, keep),
            (_, None) => table.filter_not(keep),
            (_, Some(_)) => table.filter_not_as(self.key_value(op, &input.key, &input.value)?, keep),
        };
        Ok(named(made, op))
    }

    fn mapped<K: Cell, V: Cell>(&self, table: &KTable<K, V>, f: &Mapper, op: &Op, input: &Node) -> Result<KTable<K, Val>, Refused> {
        let apply = f.apply.clone();
        let map = move |k: &K, v: V| apply(&k.val(), &v.val()).map(|v| Some(v).filter(|v| !v.is_null()));
        let made = match &op.store {
            None => table.try_filter_map_values(map),
            Some(_) => table.try_filter_map_values_as(self.key_value(op, &input.key, &f.kind)?, map),
        };
        Ok(named(made, op))
    }

    pub(super) fn to_stream(&self, op: &Op) -> Made {
        let input = self.input(op, 0);
        let made = match input.table() {
            AnyTable::Plain(table) => rows(table, op),
            AnyTable::Time(table) => rows(table, op),
            AnyTable::Session(table) => rows(table, op),
            AnyTable::PlainCount(table) => rows(table, op),
            AnyTable::TimeCount(table) => rows(table, op),
            AnyTable::SessionCount(table) => rows(table, op),
        };
        let Some(spec) = &op.function else { return Ok(Some(Node::new(Handle::Stream(made), &input.key, &input.value))) };
        let f = functions::mapper(spec, &input.key, &input.value);
        let made = made.try_select_key(move |k, v| (f.apply)(k, v));
        Ok(Some(Node::new(Handle::Stream(made), &f.kind, &input.value)))
    }

    pub(super) fn suppress(&self, op: &Op) -> Made {
        let input = self.input(op, 0);
        if !input.value_serde && self.config("default.value.serde").is_none() {
            return Err(Refused::ByType { stands_for: &["ConfigException"], why: "`suppress` is given its serdes" });
        }
        let until_closed = op.until.as_deref() == Some("window_closes");
        let wait = span(op.wait_ms.max(0))?; // Java takes a negative wait for none
        if until_closed && matches!(input.table(), AnyTable::Plain(_) | AnyTable::PlainCount(_)) {
            return Err(Refused::ByType { stands_for: &["TopologyException"], why: "only a windowed table has an end to wait for" });
        }
        let made = match input.table() {
            AnyTable::Time(table) if until_closed => AnyTable::Time(suppressed(table, Suppressed::until_window_closes(), op, &input)),
            AnyTable::TimeCount(table) if until_closed => {
                AnyTable::TimeCount(suppressed(table, Suppressed::until_window_closes(), op, &input))
            }
            AnyTable::Session(table) if until_closed => AnyTable::Session(suppressed(table, Suppressed::until_window_closes(), op, &input)),
            AnyTable::SessionCount(table) if until_closed => {
                AnyTable::SessionCount(suppressed(table, Suppressed::until_window_closes(), op, &input))
            }
            other => each_table!(other, table => suppressed(table, Suppressed::until_time_limit(wait), op, &input)),
        };
        table(made, &input.key, &input.value)
    }
}

fn suppressed<K: Cell, V: Cell>(table: &KTable<K, V>, mut until: Suppressed<K>, op: &Op, input: &Node) -> KTable<K, V> {
    let (key, value) = (CellSerde::of(&input.key), CellSerde::of(&input.value));
    if let Some(spec) = &op.buffer {
        until = until.buffer(options::buffer(spec));
    }
    if matches!(op.logging, Some(Logging::Switch(false))) {
        until = until.without_changelog();
    }
    let state = match &op.name {
        Some(name) => StoreRef::with(name.clone(), key, value),
        None => StoreRef::unnamed(key, value),
    };
    table.suppress(state, until)
}
