//! The commands of `store_ops` (FORMAT.md section 5.8) against the faces of the stores.

use std::ops::Bound;

use highwater::{BoxError, KeyPrefix, KeyValueStore, SessionStore, SessionWindow, Stamped, Timestamp, WindowStore, Windowed};

use super::value::{Val, text};

/// A store that a processor was given. `stamped`: its values carry their time.
pub(crate) enum AnyStore {
    KeyValue { store: KeyValueStore<Val, Val>, stamped: bool },
    Window { store: WindowStore<Val, Val>, stamped: bool },
    Session(SessionStore<Val, Val>),
}

type Said<T> = Result<T, BoxError>;

impl AnyStore {
    fn key_value(&mut self) -> &mut KeyValueStore<Val, Val> {
        match self {
            AnyStore::KeyValue { store, .. } => store,
            _ => panic!("invalid scenario: this processor needs a key-value store"),
        }
    }
    /// The value of `key`, null if there is none.
    pub(crate) fn get(&mut self, key: &Val) -> Said<Val> {
        Ok(self.key_value().get(key)?.unwrap_or(Val::Null))
    }
    /// The row as text, with its time if it has one.
    pub(crate) fn get_text(&mut self, key: &Val) -> Said<String> {
        let AnyStore::KeyValue { store, stamped } = self else { panic!("invalid scenario: lookup needs a key-value store") };
        Ok(row_text(store.get_stamped(key)?, *stamped))
    }
    /// Sets the value of `key`; null deletes it.
    pub(crate) fn put(&mut self, key: &Val, value: &Val, at: i64) -> Said<()> {
        Ok(self.key_value().put(key, value, millis(at))?)
    }
    /// All rows in the order of the store.
    pub(crate) fn all(&mut self) -> Said<Vec<(Val, Val)>> {
        Ok(self.key_value().all()?.collect::<Result<_, _>>()?)
    }
}

/// A command and its words.
struct Command<'c> {
    key: &'c Val,
    words: Vec<&'c str>,
    now: Timestamp,
}

impl Command<'_> {
    fn word(&self, at: usize) -> &str {
        self.words.get(at).unwrap_or_else(|| panic!("invalid scenario: `{}` lacks word {at}", self.words.join(" ")))
    }
    fn value(&self, at: usize) -> Val {
        Val::str(self.word(at))
    }
    fn time(&self, at: usize) -> Timestamp {
        millis(self.word(at).parse().expect("a time is a number"))
    }
    fn bound(&self, at: usize) -> Option<Val> {
        Some(self.value(at)).filter(|bound| *bound != Val::str("-"))
    }
    fn range(&self, from: usize) -> (Bound<Val>, Bound<Val>) {
        let bound = |at| self.bound(at).map_or(Bound::Unbounded, Bound::Included);
        (bound(from), bound(from + 1))
    }
    fn times(&self, from: usize) -> std::ops::RangeInclusive<Timestamp> {
        self.time(from)..=self.time(from + 1)
    }
    fn session(&self, from: usize) -> SessionWindow {
        SessionWindow { start: self.time(from), end: self.time(from + 1) }
    }
}

/// Runs one command; the outcome as text.
pub(crate) fn run(store: &mut AnyStore, key: &Val, command: &str, now: i64) -> Said<String> {
    let command = Command { key, words: command.split(' ').collect(), now: millis(now) };
    match store {
        AnyStore::KeyValue { store, stamped } => key_value(store, *stamped, &command),
        AnyStore::Window { store, stamped } => window(store, *stamped, &command),
        AnyStore::Session(store) => session(store, &command),
    }
}

const OK: &str = "ok";

fn key_value(store: &mut KeyValueStore<Val, Val>, stamped: bool, c: &Command<'_>) -> Said<String> {
    let rows = match c.word(0) {
        "put" => return Ok(store.put(c.key, &c.value(1), c.now).map(|()| OK.to_owned())?),
        "put_null" => return Ok(store.delete(c.key).map(|()| OK.to_owned())?),
        "put_if_absent" => return Ok(row_text(store.put_if_absent(c.key, &c.value(1), c.now)?, stamped)),
        "delete" => return Ok(row_text(store.remove(c.key)?, stamped)),
        "get" => return Ok(row_text(store.get_stamped(c.key)?, stamped)),
        "range" => listed(store.range(c.range(1))?.stamped())?,
        "reverse_range" => listed(store.range(c.range(1))?.stamped().rev())?,
        "all" => listed(store.all()?.stamped())?,
        "reverse_all" => listed(store.all()?.stamped().rev())?,
        "prefix" => listed(store.prefix(&Prefix(c.word(1).to_owned()))?.stamped())?,
        other => panic!("invalid scenario: unknown store command {other}"),
    };
    Ok(list(rows.into_iter().map(|(key, row)| (text(&key), row_text(Some(row), stamped)))))
}

fn window(store: &mut WindowStore<Val, Val>, stamped: bool, c: &Command<'_>) -> Said<String> {
    let of_key =
        |rows: Vec<(Timestamp, Stamped<Val>)>| list(rows.into_iter().map(|(at, row)| (at.to_string(), row_text(Some(row), stamped))));
    let rows = match c.word(0) {
        "put" => return Ok(store.put(c.key, c.time(2), &c.value(1), c.now).map(|()| OK.to_owned())?),
        "put_null" => return Ok(store.delete(c.key, c.time(1)).map(|()| OK.to_owned())?),
        "get" => return Ok(row_text(store.get_stamped(c.key, c.time(1))?, stamped)),
        "fetch" => return Ok(of_key(store.fetch(c.key, c.times(1))?)),
        "backward_fetch" => return Ok(of_key(store.fetch_backward(c.key, c.times(1))?)),
        "fetch_keys" => store.fetch_keys(c.bound(1).as_ref(), c.bound(2).as_ref(), c.times(3))?,
        "fetch_all" => store.fetch_all(c.times(1))?,
        "backward_fetch_all" => store.fetch_all_backward(c.times(1))?,
        "all" => store.all()?,
        "backward_all" => store.fetch_all_backward(..)?,
        other => panic!("invalid scenario: unknown store command {other}"),
    };
    Ok(list(rows.into_iter().map(|(key, row)| (time_text(&key), row_text(Some(row), stamped)))))
}

fn session(store: &mut SessionStore<Val, Val>, c: &Command<'_>) -> Said<String> {
    let rows = match c.word(0) {
        "put" => return Ok(store.put(c.key, c.session(2), &c.value(1)).map(|()| OK.to_owned())?),
        "remove" => return Ok(store.delete(c.key, c.session(1)).map(|()| OK.to_owned())?),
        "get" => return Ok(text(&store.get(c.key, c.session(1))?.unwrap_or(Val::Null))),
        "find" => store.find(c.key, c.time(1), c.time(2))?,
        "backward_find" => store.find_backward(c.key, c.time(1), c.time(2))?,
        "find_keys" => store.find_keys(c.bound(1).as_ref(), c.bound(2).as_ref(), c.time(3), c.time(4))?,
        "fetch" => store.fetch(c.key)?,
        "backward_fetch" => store.fetch_backward(c.key)?,
        "fetch_keys" => store.fetch_keys(c.bound(1).as_ref(), c.bound(2).as_ref())?,
        other => panic!("invalid scenario: unknown store command {other}"),
    };
    let key_text = |key: &Windowed<Val, SessionWindow>| format!("{}@{}/{}", text(&key.key), key.window.start, key.window.end);
    Ok(list(rows.into_iter().map(|(key, value)| (key_text(&key), text(&value)))))
}

/// A string prefix of keys that are strings.
struct Prefix(String);

impl KeyPrefix<Val> for Prefix {
    fn prefix_bytes(&self) -> Vec<u8> {
        self.0.clone().into_bytes()
    }
}

fn millis(at: i64) -> Timestamp {
    Timestamp::from_millis(at)
}

fn listed<E: Into<BoxError>>(rows: impl Iterator<Item = Result<(Val, Stamped<Val>), E>>) -> Said<Vec<(Val, Stamped<Val>)>> {
    rows.map(|row| row.map_err(Into::into)).collect()
}

fn row_text(row: Option<Stamped<Val>>, stamped: bool) -> String {
    match row {
        None => "null".to_owned(),
        Some(row) if stamped => format!("{}@{}", text(&row.value), row.timestamp),
        Some(row) => text(&row.value),
    }
}

fn time_text(key: &Windowed<Val>) -> String {
    format!("{}@{}/{}", text(&key.key), key.window.start, key.window.end)
}

fn list(rows: impl Iterator<Item = (String, String)>) -> String {
    let rows: Vec<_> = rows.map(|(key, row)| format!("{key}={row}")).collect();
    format!("[{}]", rows.join(" "))
}
