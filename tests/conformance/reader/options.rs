//! Stores and option objects of the DSL from the fields of an operation.

use std::time::Duration;

use highwater::{Buffer, KeyValueStore, Materialized, SessionStore, Store, StoreRef, Watermark, WindowStore};

use super::super::cell::{Cell, CellSerde};
use super::super::format::{BufferSpec, Logging, Op, StoreField, StoreSpec, Supplier, WatermarkSpec};
use super::super::processors::StepSpec;
use super::super::value::{Type, Val};
use super::{Node, Reader, Refused};

/// Milliseconds of a scenario as a span. Java refuses negative ones where the type here has none.
pub(super) fn span(millis: i64) -> Result<Duration, Refused> {
    let refused = Refused::ByType { stands_for: &["IllegalArgumentException"], why: "a `Duration` is never negative" };
    u64::try_from(millis).map(Duration::from_millis).map_err(|_| refused)
}

/// The watermark of a source.
pub(super) fn watermark(spec: &WatermarkSpec) -> Watermark {
    let bounded = Watermark::bounded(Duration::from_millis(spec.disorder_ms));
    match spec.idle_after_ms.map(Duration::from_millis) {
        _ if spec.never_idle => bounded.never_idle(),
        Some(silence) => bounded.idle_after(silence),
        None => bounded,
    }
}

/// The buffer of a suppression.
pub(super) fn buffer(spec: &BufferSpec) -> Buffer {
    let mut buffer = Buffer::unbounded();
    if let Some(records) = spec.max_records {
        buffer = buffer.max_records(records);
    }
    if let Some(bytes) = spec.max_bytes {
        buffer = buffer.max_bytes(bytes);
    }
    match spec.full.as_deref() {
        Some("emit_early") => buffer.emit_early_when_full(),
        Some("shut_down") => buffer.shut_down_when_full(),
        _ => buffer,
    }
}

/// A store that the scenario adds for a processor.
pub(super) enum Added {
    /// With whether its values carry their time.
    KeyValue(Materialized<KeyValueStore<Val, Val>>, bool),
    Window(Materialized<WindowStore<Val, Val>>, bool),
    Session(Materialized<SessionStore<Val, Val>>),
}

/// Only a store of the scenario's own has other serdes than its operator, so a missing name is Java's to generate.
macro_rules! reference {
    ($name:expr, $key:expr, $value:expr) => {
        match $name {
            Some(name) => StoreRef::with(name.to_owned(), CellSerde::of(&$key), CellSerde::of(&$value)),
            None => StoreRef::unnamed(CellSerde::of(&$key), CellSerde::of(&$value)),
        }
    };
}

impl Reader<'_> {
    /// The key-value store of an operator.
    pub(super) fn key_value<K: Cell, V: Cell>(
        &self,
        op: &Op,
        key: &Type,
        value: &Type,
    ) -> Result<Materialized<KeyValueStore<K, V>>, Refused> {
        let spec = store_spec(op);
        if let Some(name) = &spec.name {
            self.operator_stores.borrow_mut().insert(name.clone(), (key.clone(), value.clone()));
        }
        let rows = spec.supplier.as_ref().and_then(|supplier| supplier.max_entries);
        let made = self.kept(Materialized::with(reference!(&spec.name, key, value)), &spec)?;
        Ok(rows.map_or(made.clone(), |rows| made.lru(rows)))
    }

    /// The window store of an operator.
    pub(super) fn window<V: Cell>(&self, op: &Op, input: &Node, value: &Type) -> Result<Materialized<WindowStore<Val, V>>, Refused> {
        let spec = store_spec(op);
        self.kept(Materialized::with(reference!(&spec.name, input.key, value)), &spec)
    }

    /// The session store of an operator.
    pub(super) fn session<V: Cell>(&self, op: &Op, input: &Node, value: &Type) -> Result<Materialized<SessionStore<Val, V>>, Refused> {
        let spec = store_spec(op);
        self.kept(Materialized::with(reference!(&spec.name, input.key, value)), &spec)
    }

    /// Supplier and options over the defaults.
    fn kept<S: Store>(&self, mut m: Materialized<S>, spec: &StoreSpec) -> Result<Materialized<S>, Refused> {
        let supplier = spec.supplier.clone().unwrap_or_default();
        m = match (supplier.kind.as_str(), spec.kind.as_deref()) {
            ("in_memory", _) | ("", Some("in_memory")) => m.in_memory(),
            ("persistent", _) => m.persistent().plain_backend(),
            ("persistent_timestamped", _) | ("", Some("rocksdb")) => m.persistent(),
            ("lru", _) | ("", None) => m,
            (supplier, kind) => panic!("invalid scenario: unknown store {supplier} {kind:?}"),
        };
        m = logged(m, spec.logging.as_ref());
        m = match spec.caching {
            Some(true) => m.cached(),
            Some(false) => m.without_cache(),
            None => m,
        };
        if let Some(retention) = spec.retention_ms.or(supplier.retention_ms) {
            m = m.retention(span(retention)?);
        }
        Ok(m)
    }

    /// The store that a processor uses: one that the scenario adds, or that of an operator.
    pub(super) fn store_of(&self, op: &Op) -> Result<Option<Added>, Refused> {
        let step = StepSpec::new(op.function());
        let Some(name) = step.store() else { return Ok(None) };
        if !op.stores.iter().any(|connected| connected == name) {
            return Err(Refused::ByType { stands_for: &["StreamsException"], why: "a processor has no store but those that it is given" });
        }
        let adds = |op: &&Op| op.op == "add_store" && matches!(&op.store, Some(StoreField::Name(added)) if added == name);
        if let Some(added) = self.scenario.topology.iter().find(adds) {
            return self.added(added, name).map(Some);
        }
        let missing =
            Refused::ByType { stands_for: &["TopologyException"], why: "a processor is given its store, so it cannot be missing" };
        let (key, value) = self.operator_stores.borrow().get(name).cloned().ok_or(missing)?;
        Ok(Some(Added::KeyValue(Materialized::with(reference!(Some(name), key, value)), true)))
    }

    pub(super) fn added(&self, op: &Op, name: &str) -> Result<Added, Refused> {
        let (key, value) = (Type::named(op.key.as_deref()), Type::named(op.value.as_deref()));
        let supplier = op.supplier.clone().unwrap_or_default();
        let (kind, name) = (op.need(&op.kind), Some(name));
        let spec = StoreSpec {
            supplier: Some(backend(kind, &supplier)),
            caching: Some(op.caching.unwrap_or(false)),
            logging: op.logging.clone(),
            ..StoreSpec::default()
        };
        Ok(match kind {
            "key_value" | "timestamped_key_value" => {
                let made = self.kept(Materialized::with(reference!(name, key, value)), &spec)?;
                let made = supplier.max_entries.map_or(made.clone(), |rows| made.lru(rows));
                if kind == "key_value" { Added::KeyValue(made.plain(), false) } else { Added::KeyValue(made, true) }
            }
            "window" | "timestamped_window" => {
                let made = self.kept(Materialized::with(reference!(name, key, value)), &spec)?;
                let made = made.window_size(span(supplier.window_ms.unwrap_or(0))?);
                let made = if supplier.duplicates { made.retain_duplicates() } else { made };
                if kind == "window" { Added::Window(made.plain(), false) } else { Added::Window(made, true) }
            }
            "session" => Added::Session(self.kept(Materialized::with(reference!(name, key, value)), &spec)?),
            other => panic!("invalid scenario: unknown store kind {other}"),
        })
    }
}

/// A plain face over plain bytes is no adapter.
fn backend(kind: &str, supplier: &Supplier) -> Supplier {
    let plain = supplier.kind == "persistent" && !kind.starts_with("timestamped");
    Supplier { kind: if plain { "persistent_timestamped".to_owned() } else { supplier.kind.clone() }, ..supplier.clone() }
}

/// The `store` object of an operator; nothing said if there is none.
fn store_spec(op: &Op) -> StoreSpec {
    match &op.store {
        Some(StoreField::Spec(spec)) => (**spec).clone(),
        _ => StoreSpec::default(),
    }
}

fn logged<S: Store>(mut m: Materialized<S>, logging: Option<&Logging>) -> Materialized<S> {
    match logging {
        Some(Logging::Switch(false)) => m = m.without_changelog(),
        Some(Logging::Settings(settings)) => {
            for (key, value) in settings {
                m = m.changelog_config(key, value);
            }
        }
        Some(Logging::Switch(true)) | None => {}
    }
    m
}
