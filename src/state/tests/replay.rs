//! Every store command of the shared conformance cases, against the typed faces; the answers are Java's.
//!
//! The cases lie outside the package (`HIGHWATER_SHARED`, or beside it); without them only the transcripts in `commits` speak.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::rig::{Rig, Setup, set_record};
use crate::record::Timestamp;
use crate::state::{Dedup, DefaultStore, KeyValueStore, Layout, SessionStore, Stamped, StoreKind, StoreSpec, WindowStore};
use crate::window::{SessionWindow, Windowed};

/// Runs one command at a time and says what came out.
trait Commands: DefaultStore {
    fn run(&mut self, key: &str, words: &[&str], at: Timestamp, stamped: bool) -> String;
}

fn at(text: &str) -> Timestamp {
    Timestamp::from_millis(text.parse().expect("a number"))
}
fn row(row: &Stamped<String>, stamped: bool) -> String {
    if stamped { format!("{}@{}", row.value, row.timestamp) } else { row.value.clone() }
}
fn maybe(found: Option<Stamped<String>>, stamped: bool) -> String {
    found.map_or("null".to_owned(), |found| row(&found, stamped))
}
fn list(rows: impl Iterator<Item = (String, String)>) -> String {
    let rows: Vec<String> = rows.map(|(key, value)| format!("{key}={value}")).collect();
    format!("[{}]", rows.join(" "))
}
fn open(text: &str) -> Option<String> {
    (text != "-").then(|| text.to_owned())
}

impl Commands for KeyValueStore<String, String> {
    fn run(&mut self, key: &str, words: &[&str], at: Timestamp, stamped: bool) -> String {
        let key = key.to_owned();
        let range = |a: &str, b: &str| {
            use std::ops::Bound::{Included, Unbounded};
            let bound = |text: &str| open(text).map_or(Unbounded, Included);
            self.range((bound(a), bound(b))).expect("reads").stamped()
        };
        let show = |rows: Vec<Result<(String, Stamped<String>), crate::StoreError>>| {
            list(rows.into_iter().map(|found| found.expect("decodes")).map(|(key, found)| (key, row(&found, stamped))))
        };
        match words {
            ["put", v] => self.put(&key, &(*v).to_owned(), at).map(|()| "ok".to_owned()),
            ["put_null"] => self.delete(&key).map(|()| "ok".to_owned()),
            ["put_if_absent", v] => self.put_if_absent(&key, &(*v).to_owned(), at).map(|old| maybe(old, stamped)),
            ["delete"] => self.remove(&key).map(|old| maybe(old, stamped)),
            ["get"] => self.get_stamped(&key).map(|found| maybe(found, stamped)),
            ["range", a, b] => Ok(show(range(a, b).collect())),
            ["reverse_range", a, b] => Ok(show(range(a, b).rev().collect())),
            ["all"] => Ok(show(range("-", "-").collect())),
            ["reverse_all"] => Ok(show(range("-", "-").rev().collect())),
            ["prefix", p] => Ok(show(self.prefix(*p).expect("reads").stamped().collect())),
            _ => panic!("unknown command {words:?}"),
        }
        .expect("no command fails")
    }
}

impl Commands for WindowStore<String, String> {
    fn run(&mut self, key: &str, words: &[&str], now: Timestamp, stamped: bool) -> String {
        let key = key.to_owned();
        let starts =
            |rows: Vec<(Timestamp, Stamped<String>)>| list(rows.iter().map(|(start, found)| (start.to_string(), row(found, stamped))));
        let windows = |rows: Vec<(Windowed<String>, Stamped<String>)>| {
            list(rows.iter().map(|(w, found)| (format!("{}@{}/{}", w.key, w.window.start, w.window.end), row(found, stamped))))
        };
        match words {
            ["put", v, t] => self.put(&key, at(t), &(*v).to_owned(), now).map(|()| "ok".to_owned()),
            ["put_null", t] => self.delete(&key, at(t)).map(|()| "ok".to_owned()),
            ["get", t] => self.get_stamped(&key, at(t)).map(|found| maybe(found, stamped)),
            ["fetch", a, b] => self.fetch(&key, at(a)..=at(b)).map(starts),
            ["backward_fetch", a, b] => self.fetch_backward(&key, at(a)..=at(b)).map(starts),
            ["fetch_keys", a, b, from, to] => self.fetch_keys(open(a).as_ref(), open(b).as_ref(), at(from)..=at(to)).map(windows),
            ["fetch_all", a, b] => self.fetch_all(at(a)..=at(b)).map(windows),
            ["backward_fetch_all", a, b] => self.fetch_all_backward(at(a)..=at(b)).map(windows),
            ["all"] => self.all().map(windows),
            ["backward_all"] => self.fetch_all_backward(..).map(windows),
            _ => panic!("unknown command {words:?}"),
        }
        .expect("no command fails")
    }
}

impl Commands for SessionStore<String, String> {
    fn run(&mut self, key: &str, words: &[&str], _: Timestamp, _: bool) -> String {
        let key = key.to_owned();
        let session = |start: &str, end: &str| SessionWindow { start: at(start), end: at(end) };
        let show = |rows: Vec<(Windowed<String, SessionWindow>, String)>| {
            list(rows.into_iter().map(|(w, value)| (format!("{}@{}/{}", w.key, w.window.start, w.window.end), value)))
        };
        match words {
            ["put", v, start, end] => self.put(&key, session(start, end), &(*v).to_owned()).map(|()| "ok".to_owned()),
            ["remove", start, end] => self.delete(&key, session(start, end)).map(|()| "ok".to_owned()),
            ["get", start, end] => self.get(&key, session(start, end)).map(|found| found.unwrap_or("null".to_owned())),
            ["find", a, b] => self.find(&key, at(a), at(b)).map(show),
            ["backward_find", a, b] => self.find_backward(&key, at(a), at(b)).map(show),
            ["find_keys", a, b, from, to] => self.find_keys(open(a).as_ref(), open(b).as_ref(), at(from), at(to)).map(show),
            ["fetch"] => self.fetch(&key).map(show),
            ["backward_fetch"] => self.fetch_backward(&key).map(show),
            ["fetch_keys", a, b] => self.fetch_keys(open(a).as_ref(), open(b).as_ref()).map(show),
            _ => panic!("unknown command {words:?}"),
        }
        .expect("no command fails")
    }
}

fn spec_of(store: &Value) -> StoreSpec {
    let supplier = &store["supplier"];
    let number = |field: &str| supplier[field].as_i64().unwrap_or(0);
    let kind = match store["kind"].as_str().expect("a kind") {
        "key_value" | "timestamped_key_value" => StoreKind::KeyValue,
        "window" | "timestamped_window" => {
            StoreKind::Window { size_ms: number("window_ms"), duplicates: supplier["duplicates"].as_bool().unwrap_or(false) }
        }
        _ => StoreKind::Session,
    };
    let mut spec = StoreSpec::new(kind);
    spec.stamped = store["kind"].as_str().is_some_and(|kind| kind.starts_with("timestamped"));
    spec.layout = Some(match supplier["kind"].as_str().expect("a supplier") {
        "in_memory" => Layout::InMemory,
        "lru" => Layout::Lru(usize::try_from(number("max_entries")).expect("a size")),
        _ => Layout::Persistent,
    });
    spec.plain_backend = supplier["kind"] == "persistent" && kind == StoreKind::KeyValue;
    spec.caching = Some(store["caching"].as_bool().unwrap_or(false));
    spec.logging = store["logging"].as_bool().unwrap_or(true);
    spec.retention_ms = supplier["retention_ms"].as_i64();
    spec
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Plays one case; everything that came out differently.
fn play<S: Commands>(case: &Value, setup: &Setup) -> Vec<String> {
    let (scenario, answer) = (&case["scenario"], &case["answer"]);
    let mut rig = Rig::<S>::open(setup);
    let mut faults = Vec::new();
    let mut log = Vec::new();
    let mut dropped = 0;
    for (step, event) in scenario["events"].as_array().expect("events").iter().enumerate() {
        let (key, command, time) =
            (event["k"].as_str().expect("a key"), event["v"].as_str().expect("a command"), event["t"].as_i64().expect("a time"));
        set_record(&rig.now, time);
        let words: Vec<&str> = command.split(' ').collect();
        let got = format!("{key} = {command} => {}", rig.store.run(key, &words, Timestamp::from_millis(time), setup.spec.stamped));
        let expected = answer["topics"]["out"][step][5].as_str().unwrap_or("nothing");
        if got != expected {
            faults.push(format!("{}: step {step}: {got}, not {expected}", scenario["id"]));
        }
        let before = rig.log.0.len();
        rig.commit();
        dropped += rig.control.take_expired_writes();
        log.extend(rig.log.0[before..].iter().map(|l| (step, l.timestamp, hex(&l.key), l.value.as_deref().map(hex))));
    }
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let wanted: Vec<_> = answer["topics"]["app-st-changelog"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|r| {
            let step = usize::try_from(r[0].as_u64().expect("a step")).expect("small");
            (step, r[1].as_i64(), text(&r[2]).expect("a key"), text(&r[3]))
        })
        .collect();
    if log != wanted {
        let at = log.iter().zip(&wanted).position(|(one, two)| one != two).unwrap_or(log.len().min(wanted.len()));
        faults.push(format!("{}: changelog record {at}: {:?}, not {:?}", scenario["id"], log.get(at), wanted.get(at)));
    }
    if Some(dropped) != answer["dropped"].as_u64() {
        faults.push(format!("{}: dropped {dropped}, not {}", scenario["id"], answer["dropped"]));
    }
    faults
}

fn cases(file: &str) -> Vec<Value> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared");
    let folder = std::env::var_os("HIGHWATER_SHARED").map_or_else(beside, PathBuf::from).join("conformance/cases");
    let text = std::fs::read_to_string(folder.join(file)).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).expect("a case per line")).collect()
}

fn play_all<S: Commands>(file: &str) {
    let mut faults = Vec::new();
    for case in cases(file) {
        for dedup in [Dedup::Off, Dedup::Commit] {
            let mut setup = Setup::of(spec_of(&case["scenario"]["topology"][0]));
            setup.spec.dedup = Some(dedup);
            faults.extend(play::<S>(&case, &setup));
        }
    }
    assert!(faults.is_empty(), "{} faults\n{}", faults.len(), faults.join("\n"));
}

#[test]
fn key_value_stores_answer_as_java_does() {
    play_all::<KeyValueStore<String, String>>("stores_kv.jsonl");
}

#[test]
fn window_stores_answer_as_java_does() {
    play_all::<WindowStore<String, String>>("stores_window.jsonl");
}

#[test]
fn session_stores_answer_as_java_does() {
    play_all::<SessionStore<String, String>>("stores_session.jsonl");
}

#[test]
fn all_of_it_on_disk() {
    super::rig::on_disk(&[key_value_stores_answer_as_java_does, window_stores_answer_as_java_does, session_stores_answer_as_java_does]);
}
