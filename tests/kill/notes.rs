//! What a victim writes down for those who come after it, line by line as it happens.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::sync::Mutex;

/// The file of one life.
pub(crate) struct Notebook(Mutex<File>);

impl Notebook {
    pub(crate) fn open(path: &Path) -> Notebook {
        Notebook(Mutex::new(OpenOptions::new().create(true).append(true).open(path).expect("notes can be written")))
    }

    /// One write each, so that it outlives the process.
    pub(crate) fn write(&self, line: &str) {
        let mut file = self.0.lock().expect("no panic while it is held");
        file.write_all(format!("{line}\n").as_bytes()).expect("notes can be written");
    }
}

/// The notes of one life, read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Notes {
    /// At its start, by partition of the input: the committed position (none while a transaction is undecided), and records there were.
    pub(crate) starts: Vec<(Option<i64>, u64)>,
    /// Records of each partition whose writing was acknowledged.
    pub(crate) acknowledged: Vec<u64>,
    /// By store, task and instance.
    pub(crate) restored: BTreeMap<String, Restored>,
    /// Stores whose rows could not be trusted and were wiped; none if it did not live to see all of its tasks run.
    pub(crate) rebuilt: Option<u64>,
    /// Records taken from the input.
    pub(crate) taken: Option<u64>,
}

/// One store, restored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Restored {
    /// Read back by the engine.
    pub(crate) records: u64,
    /// Committed from the offset it began at to the end.
    pub(crate) committed: u64,
}

impl Notes {
    pub(crate) fn read(path: &Path) -> Notes {
        let mut notes = Notes::default();
        for line in fs::read_to_string(path).unwrap_or_default().lines() {
            notes.take(&line.split(' ').collect::<Vec<_>>());
        }
        notes
    }

    fn take(&mut self, words: &[&str]) {
        let number = |text: &str| text.parse::<u64>().expect("a number in the notes");
        match words {
            ["start", position, count] => self.starts.push((position.parse().ok(), number(count))),
            ["acknowledged", counts @ ..] => self.acknowledged = counts.iter().map(|count| number(count)).collect(),
            ["restored", store, records, committed] => {
                self.restored.insert((*store).to_owned(), Restored { records: number(records), committed: number(committed) });
            }
            ["rebuilt", stores] => self.rebuilt = Some(number(stores)),
            ["taken", records] => self.taken = Some(number(records)),
            _ => panic!("notes say {words:?}"),
        }
    }

    /// All stores together.
    pub(crate) fn restored(&self) -> Restored {
        self.restored
            .values()
            .fold(Restored::default(), |sum, one| Restored { records: sum.records + one.records, committed: sum.committed + one.committed })
    }
}
