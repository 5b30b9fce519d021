//! What a sub-topology looks like to its state, as lines of text: state of another shape is not touched.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::error::{Error, ErrorKind};
use crate::state::home::refused;
use crate::state::key_schema::RowLayout;
use crate::state::retention::row_layout;
use crate::state::spec::{Layout, StoreKind, StoreSpec};

/// The shape of each sub-topology by number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Shapes(pub(crate) BTreeMap<u32, String>);

impl Shapes {
    pub(super) fn of(&self, subtopology: u32) -> &str {
        self.0.get(&subtopology).map_or("", String::as_str)
    }
}

/// A store as a line: everything that decides what its rows mean, but for the serdes, which may change as the data's schema does.
pub(crate) fn store_line(name: &str, spec: &StoreSpec, bounded: bool, time_index: bool, changelog: Option<&str>) -> String {
    let kind = match spec.kind {
        StoreKind::KeyValue => "key-value".to_owned(),
        StoreKind::Window { size_ms, duplicates } => {
            format!("windows of {size_ms} ms{}", if duplicates { ", duplicates kept" } else { "" })
        }
        StoreKind::Session => "sessions".to_owned(),
        StoreKind::Buffer => "suppression buffer".to_owned(),
    };
    let layout = match (spec.layout, spec.kind) {
        (Some(Layout::InMemory), _) => "in memory".to_owned(),
        (Some(Layout::Lru(most)), _) => format!("in memory, at most {most} rows"),
        (_, StoreKind::KeyValue | StoreKind::Buffer) => "on disk".to_owned(),
        _ => match row_layout(spec, bounded, time_index) {
            RowLayout::TimeFirst => "on disk by time".to_owned(),
            RowLayout::Segmented { interval } => format!("on disk in segments of {interval} ms"),
            RowLayout::Indexed { interval } => format!("on disk in segments of {interval} ms with an index by time"),
        },
    };
    let stamped = if spec.stamped { "with times" } else { "without times" };
    let changelog = changelog.map_or_else(|| "no changelog".to_owned(), |topic| format!("changelog {topic}"));
    format!("store {name}: {kind}, {stamped}, {layout}, {changelog}")
}

/// Nothing, if the folder's state was written by a topology of this shape.
pub(super) fn compare(folder: &Path, stored: &str, now: &str) -> Result<(), Error> {
    if stored == now {
        return Ok(());
    }
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<BTreeSet<String>>();
    let (before, after) = (lines(stored), lines(now));
    let mut text = format!("the state in {} was written by another topology:", folder.display());
    for line in before.difference(&after) {
        text.push_str(&format!("\n  it has      {line}"));
    }
    for line in after.difference(&before) {
        text.push_str(&format!("\n  needed is   {line}"));
    }
    if before == after {
        text.push_str("\n  the same parts are there in another order");
    }
    text.push_str(
        "\nRun the former topology, or choose another application id or state folder. If the change is meant, delete that folder: \
         stores are restored from their changelogs, and those without a changelog begin empty.",
    );
    Err(refused(ErrorKind::InvalidConfig, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_is_spelled_out() {
        let folder = Path::new("state/app/0_1");
        assert!(compare(folder, "reads a\nstore b: x\n", "reads a\nstore b: x\n").is_ok());
        let error = compare(folder, "reads a\nstore b: x\n", "reads a\nstore b: y\n").expect_err("another store").to_string();
        assert!(error.contains("state/app/0_1 was written by another topology"), "{error}");
        assert!(error.contains("it has      store b: x\n  needed is   store b: y\n"), "{error}");
        assert!(!error.contains("reads a"), "what is the same is not told: {error}");
        assert!(error.contains("delete that folder"), "{error}");
    }
}
