//! The bounds of the open windows of one stage: enough to know whether it holds rows and up to where.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;

use crate::record::Timestamp;
use crate::watermark::Closing;
use crate::window::{SessionWindows, TimeWindows};

/// The windowed aggregation of a stage.
#[derive(Clone)]
pub(super) enum Windows {
    Time(TimeWindows),
    Session(SessionWindows, Duration),
}

/// What a stage does that matters for time.
#[derive(Clone)]
pub(super) struct Stage {
    ops: Vec<Value>,
    windows: Option<Windows>,
    /// Whether it keeps results back until their window closes.
    pub(super) holding: bool,
}

/// Open windows: key, start, end.
pub(super) type Rows = BTreeSet<(Option<String>, Timestamp, Timestamp)>;

impl Stage {
    pub(super) fn of(ops: &[Value]) -> Self {
        let windowed = ops.iter().find(|op| op["op"] == "windowed_by");
        let suppress = ops.iter().any(|op| op["op"] == "suppress");
        let holding = windowed.is_some_and(|op| suppress || op["emit"] == "close");
        Stage { ops: ops.to_vec(), windows: windowed.map(|op| Windows::of(&op["window"])), holding }
    }
    pub(super) fn closing(&self) -> Option<&dyn Closing> {
        self.windows.as_ref().map(|windows| match windows {
            Windows::Time(windows) => windows as &dyn Closing,
            Windows::Session(windows, _) => windows,
        })
    }
    pub(super) fn hold(&self, w: Option<Timestamp>) -> Option<Timestamp> {
        self.closing().filter(|_| self.holding).zip(w).map(|(windows, w)| windows.hold(w))
    }
    /// Takes windows out that the watermark closes.
    pub(super) fn close(&self, rows: &mut Rows, w: Option<Timestamp>) {
        if let Some(windows) = self.closing() {
            rows.retain(|row| Some(windows.closing_watermark(row.2)) > w);
        }
    }
    /// The largest closing watermark of the open windows.
    pub(super) fn newest(&self, rows: &Rows) -> Option<Timestamp> {
        let windows = self.closing()?;
        rows.iter().map(|row| windows.closing_watermark(row.2)).max()
    }
    /// Takes a record to the windowed operator, if it gets there, and opens or extends its windows that are not late.
    pub(super) fn aggregate(&self, rows: &mut Rows, record: &Value, w: Option<Timestamp>) {
        let Some(windows) = &self.windows else { return };
        let Some(key) = self.key(record) else { return };
        let at = Timestamp::from_millis(record["t"].as_i64().expect("a record has a time"));
        let late = |end| Some(self.closing().expect("it has windows").closing_watermark(end)) <= w;
        match windows {
            Windows::Time(windows) => {
                let open = windows.containing(at).filter(|window| !late(window.end));
                rows.extend(open.map(|window| (key.clone(), window.start, window.end)));
            }
            Windows::Session(_, gap) => {
                let near = |row: &&(Option<String>, Timestamp, Timestamp)| row.0 == key && row.2 >= at - *gap && row.1 <= at + *gap;
                let near: Rows = rows.iter().filter(near).cloned().collect();
                let first = near.iter().map(|row| row.1).chain([at]).min().expect("at least the record");
                let last = near.iter().map(|row| row.2).chain([at]).max().expect("at least the record");
                if !late(last) {
                    rows.retain(|row| !near.contains(row));
                    rows.insert((key, first, last));
                }
            }
        }
    }
    /// The key with which a record reaches the windowed operator; none if it is filtered out.
    fn key(&self, record: &Value) -> Option<Option<String>> {
        let text = |field: &str| record[field].as_str().map(str::to_owned);
        let (mut key, mut value) = (text("k"), text("v"));
        for op in &self.ops {
            match op["op"].as_str() {
                Some("filter") if value.is_none() => return None,
                Some("map_values") => value = mapped(&op["fn"], &key, &value),
                Some("select_key") => key = mapped(&op["fn"], &key, &value),
                Some("windowed_by") => break,
                _ => {}
            }
        }
        Some(key)
    }
}

impl Windows {
    fn of(spec: &Value) -> Self {
        let ms = |field: &str| spec[field].as_u64().map(Duration::from_millis);
        let grace = ms("grace_ms").unwrap_or_default();
        if spec["kind"] == "session" {
            let gap = ms("gap_ms").expect("a session has a gap");
            return Windows::Session(SessionWindows::with_gap(gap).grace(grace), gap);
        }
        let size = ms("size_ms").expect("a time window has a size");
        Windows::Time(TimeWindows::of(size).advance_by(ms("advance_ms").unwrap_or(size)).grace(grace))
    }
}

/// The named function of the scenario language.
fn mapped(function: &Value, key: &Option<String>, value: &Option<String>) -> Option<String> {
    let (name, argument) = function.as_str().expect("a function is named").split_once(':').unwrap_or((function.as_str()?, ""));
    let field = |text: &String| text.split('|').nth(argument.parse().expect("a number of a field")).map(str::to_owned);
    match name {
        "field" => value.as_ref().and_then(field),
        "value" => value.clone(),
        "key" => key.clone(),
        "const" => Some(argument.to_owned()),
        other => panic!("a function this play does not know: {other}"),
    }
}
