//! The content of a store as rows of an answer (FORMAT.md section 8), whatever its types are.

use highwater::{
    KeyValueStore, SessionStore, SessionWindow, Stamped, Store, StoreRef, Timestamp, TopologyTestDriver, WindowStore, Windowed,
};
use serde_json::{Value as Json, json};

use super::cell::{Cell, CellSerde};
use super::format::{Content, Scenario, StoreField};
use super::value::{Type, Val, bytes_of, hex};

/// What the store holds; `absent` if there is none of that name.
pub(crate) fn content(driver: &TopologyTestDriver, scenario: &Scenario, name: &str) -> Content {
    let ask = Ask { driver, name, plain: is_plain(scenario, name) };
    let found = ask
        .key_value::<Val, Val>()
        .or_else(|| ask.key_value::<Val, i64>())
        .or_else(|| ask.key_value::<Windowed<Val>, Val>())
        .or_else(|| ask.key_value::<Windowed<Val>, i64>())
        .or_else(|| ask.key_value::<Windowed<Val, SessionWindow>, Val>())
        .or_else(|| ask.key_value::<Windowed<Val, SessionWindow>, i64>())
        .or_else(|| ask.window::<Val>())
        .or_else(|| ask.window::<i64>())
        .or_else(|| ask.session::<Val>())
        .or_else(|| ask.session::<i64>());
    found.unwrap_or_else(|| match driver.store_len(name) {
        Some(count) => Content { kind: Some("buffer".to_owned()), count: Some(count), ..Content::default() },
        None => Content { kind: Some("absent".to_owned()), ..Content::default() },
    })
}

/// Only stores that a scenario adds can be without times.
fn is_plain(scenario: &Scenario, name: &str) -> bool {
    scenario.topology.iter().any(|op| {
        let is_it = op.op == "add_store" && matches!(&op.store, Some(StoreField::Name(added)) if added == name);
        is_it && matches!(op.kind.as_deref(), Some("key_value" | "window"))
    })
}

struct Ask<'d> {
    driver: &'d TopologyTestDriver,
    name: &'d str,
    plain: bool,
}

impl Ask<'_> {
    /// A view decodes with the codecs of the open store: those of the reference do not matter.
    fn reference<S, K: Cell, V: Cell>(&self) -> StoreRef<S>
    where
        S: Store<Serdes = (std::sync::Arc<dyn highwater::Serde<K>>, std::sync::Arc<dyn highwater::Serde<V>>)>,
    {
        StoreRef::with(self.name.to_owned(), CellSerde::of(&Type::Bytes), CellSerde::of(&Type::Bytes))
    }

    fn key_value<K: Cell, V: Cell>(&self) -> Option<Content> {
        let view = self.driver.store(&self.reference::<KeyValueStore<K, V>, K, V>())?;
        let rows = view.all().expect("a store can be listed").stamped().map(|row| {
            let (key, row) = row.expect("a row can be read");
            self.row(&key.val(), None, &row)
        });
        Some(listed(if self.plain { "key_value" } else { "timestamped_key_value" }, rows.collect()))
    }

    fn window<V: Cell>(&self) -> Option<Content> {
        let view = self.driver.store(&self.reference::<WindowStore<Val, V>, Val, V>())?;
        let rows = view.all().expect("a store can be listed").into_iter();
        let rows = rows.map(|(key, row)| self.row(&key.key, Some((key.window.start, key.window.end)), &row));
        Some(listed(if self.plain { "window" } else { "timestamped_window" }, rows.collect()))
    }

    fn session<V: Cell>(&self) -> Option<Content> {
        let view = self.driver.store(&self.reference::<SessionStore<Val, V>, Val, V>())?;
        let rows = view.all().expect("a store can be listed").into_iter();
        let rows = rows.map(|(key, value)| {
            vec![
                hex_or_null(&key.key),
                json!(key.window.start.as_millis()),
                json!(key.window.end.as_millis()),
                hex_or_null(&value.val()),
                json!(""),
            ]
        });
        Some(listed("session", rows.collect()))
    }

    fn row<V: Cell>(&self, key: &Val, window: Option<(Timestamp, Timestamp)>, row: &Stamped<V>) -> Vec<Json> {
        let mut cells = vec![hex_or_null(key)];
        cells.extend(window.into_iter().flat_map(|(start, end)| [json!(start.as_millis()), json!(end.as_millis())]));
        cells.push(hex_or_null(&row.value.val()));
        if !self.plain {
            cells.push(json!(row.timestamp.as_millis()));
        }
        cells.push(json!("")); // the place of the readable form
        cells
    }
}

fn listed(kind: &str, rows: Vec<Vec<Json>>) -> Content {
    Content { kind: Some(kind.to_owned()), rows: Some(rows), ..Content::default() }
}

fn hex_or_null(value: &Val) -> Json {
    bytes_of(value).map_or(Json::Null, |bytes| Json::String(hex(&bytes)))
}
