//! Tables: with plain, time-windowed and session-windowed keys.

use highwater::{
    Data, Headers, KStream, KTable, Repartitioned, Serde, SerdeError, SessionWindow, Slot, StoreRef, Suppressed, TimeWindow, Timestamp, Windowed,
};

use super::super::format::{Logging, Op};
use super::super::functions::{self, Mapper};
use super::super::value::{Type, Val, ValSerde};
use super::options::{self, span};
use super::{Handle, Made, Node, Reader, Refused};

/// A table by its kind of key.
#[derive(Clone)]
pub(super) enum AnyTable {
    Plain(KTable<Val, Val>),
    Time(KTable<Windowed<Val>, Val>),
    Session(KTable<Windowed<Val, SessionWindow>, Val>),
}

/// A key type of a table: it can become the [`Val`] that functions see, and has a serde.
pub(super) trait TableKey: Data + Sync {
    fn val(&self) -> Val;
    fn from_val(val: Val) -> Self;
    /// The key that stands for null, if there can be one.
    fn null() -> Option<Self> {
        None
    }
}

impl TableKey for Val {
    fn val(&self) -> Val {
        self.clone()
    }
    fn from_val(val: Val) -> Self {
        val
    }
    fn null() -> Option<Self> {
        Some(Val::Null)
    }
}

impl TableKey for Windowed<Val> {
    fn val(&self) -> Val {
        Val::windowed(self.key.clone(), self.window.start.as_millis(), self.window.end.as_millis(), false)
    }
    fn from_val(val: Val) -> Self {
        let Val::Windowed(w) = val else { panic!("{val:?} has no window") };
        Windowed { key: w.key, window: TimeWindow { start: Timestamp::from_millis(w.start), end: Timestamp::from_millis(w.end) } }
    }
}

impl TableKey for Windowed<Val, SessionWindow> {
    fn val(&self) -> Val {
        Val::windowed(self.key.clone(), self.window.start.as_millis(), self.window.end.as_millis(), true)
    }
    fn from_val(val: Val) -> Self {
        let Val::Windowed(w) = val else { panic!("{val:?} has no window") };
        Windowed { key: w.key, window: SessionWindow { start: Timestamp::from_millis(w.start), end: Timestamp::from_millis(w.end) } }
    }
}

/// The serde of a scenario type for keys of a table.
#[derive(Clone, Debug)]
pub(super) struct KeySerde(pub(super) ValSerde);

impl<K: TableKey> Serde<K> for KeySerde {
    fn serialize(&self, value: &K, slot: Slot<'_>, headers: &mut Headers, out: &mut Vec<u8>) -> Result<(), SerdeError> {
        self.0.serialize(&value.val(), slot, headers, out)
    }
    fn deserialize(&self, bytes: &[u8], slot: Slot<'_>, headers: &Headers) -> Result<K, SerdeError> {
        self.0.deserialize(bytes, slot, headers).map(K::from_val)
    }
    fn deserialize_null(&self) -> Result<K, SerdeError> {
        K::null().ok_or(SerdeError::UnexpectedNull)
    }
    fn is_null(&self, value: &K) -> bool {
        value.val().is_null()
    }
    fn partition_bytes<'b>(&self, bytes: &'b [u8]) -> &'b [u8] {
        self.0.partition_bytes(bytes)
    }
}

/// The same expression for each kind of table, giving that kind again.
macro_rules! each_table {
    ($any:expr, $table:ident => $body:expr) => {
        match $any {
            AnyTable::Plain($table) => AnyTable::Plain($body),
            AnyTable::Time($table) => AnyTable::Time($body),
            AnyTable::Session($table) => AnyTable::Session($body),
        }
    };
}

pub(super) fn table(table: AnyTable, key: &Type, value: &Type) -> Made {
    Ok(Some(Node::new(Handle::Table(table), key, value)))
}

pub(super) fn named<K: TableKey>(table: KTable<K, Val>, op: &Op) -> KTable<K, Val> {
    match &op.name {
        Some(name) => table.named(name.clone()),
        None => table,
    }
}

fn rows<K: TableKey>(table: &KTable<K, Val>, op: &Op) -> KStream<Val, Val> {
    let made = table.to_stream_as(|key: K, row: Option<Val>| (key.val(), row.unwrap_or(Val::Null)));
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
        let made = each_table!(of, table => self.mapped(table, &f, op, &input)?);
        Ok(Some(Node { value_serde: op.store.is_some(), ..Node::new(Handle::Table(made), &input.key, &f.kind) }))
    }

    fn filtered<K: TableKey>(&self, table: &KTable<K, Val>, op: &Op, input: &Node) -> Result<KTable<K, Val>, Refused> {
        let test = functions::predicate(op.function());
        let keep = move |k: &K, v: &Val| test(&k.val(), v);
        let made = match (op.op.as_str(), &op.store) {
            ("filter", None) => table.filter(keep),
            ("filter", Some(_)) => table.filter_as(self.key_value(op, &input.key, &input.value)?, keep),
            (_, None) => table.filter_not(keep),
            (_, Some(_)) => table.filter_not_as(self.key_value(op, &input.key, &input.value)?, keep),
        };
        Ok(named(made, op))
    }

    fn mapped<K: TableKey>(&self, table: &KTable<K, Val>, f: &Mapper, op: &Op, input: &Node) -> Result<KTable<K, Val>, Refused> {
        let apply = f.apply.clone();
        let map = move |k: &K, v: Val| apply(&k.val(), &v).map(|v| Some(v).filter(|v| !v.is_null()));
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
        let made = match input.table() {
            AnyTable::Plain(_) if until_closed => {
                return Err(Refused::ByType { stands_for: &["TopologyException"], why: "only a windowed table has an end to wait for" });
            }
            AnyTable::Plain(table) => AnyTable::Plain(self.suppressed(table, Suppressed::until_time_limit(span(op.wait_ms)?), op, &input)),
            AnyTable::Time(table) if until_closed => AnyTable::Time(self.suppressed(table, Suppressed::until_window_closes(), op, &input)),
            AnyTable::Time(table) => AnyTable::Time(self.suppressed(table, Suppressed::until_time_limit(span(op.wait_ms)?), op, &input)),
            AnyTable::Session(table) if until_closed => AnyTable::Session(self.suppressed(table, Suppressed::until_window_closes(), op, &input)),
            AnyTable::Session(table) => AnyTable::Session(self.suppressed(table, Suppressed::until_time_limit(span(op.wait_ms)?), op, &input)),
        };
        table(made, &input.key, &input.value)
    }

    fn suppressed<K: TableKey>(&self, table: &KTable<K, Val>, mut until: Suppressed<K>, op: &Op, input: &Node) -> KTable<K, Val> {
        let (key, value) = (KeySerde(ValSerde(input.key.clone())), ValSerde(input.value.clone()));
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
}
