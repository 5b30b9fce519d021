//! Whether the rows of a task can be trusted: one line beside them, synced before the first write of an owner and after the last.
//!
//! `clean <ms>`, or `clean <ms> <name> <bytes>`: closed in order, everything synced, and the library's own list of its files was that file, of
//! that length. A list that is cut off is taken by RocksDB for one that was never finished: it opens, without the rows of the files that are missing in it. `open <boot> <ms>`: an owner may have been writing. What was written without a sync
//! is still there if the machine has not been started since, however the process ended; so such rows are trusted in the boot that wrote them
//! and in no other.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use crate::record::Timestamp;

/// The file in which a library lists its files, and its length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FileList {
    pub(crate) name: String,
    pub(crate) bytes: u64,
}

/// What the line says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    Clean { at: Timestamp, list: Option<FileList> },
    Open { boot: String, at: Timestamp },
}

impl Mark {
    fn text(&self) -> String {
        match self {
            Mark::Clean { at, list: None } => format!("clean {}\n", at.as_millis()),
            Mark::Clean { at, list: Some(FileList { name, bytes }) } => format!("clean {} {name} {bytes}\n", at.as_millis()),
            Mark::Open { boot, at } => format!("open {boot} {}\n", at.as_millis()),
        }
    }
    fn parse(text: &str) -> Option<Self> {
        let words: Vec<&str> = text.strip_suffix('\n')?.split(' ').collect();
        let time = |text: &str| text.parse().ok().map(Timestamp::from_millis);
        match words[..] {
            ["clean", at] => Some(Mark::Clean { at: time(at)?, list: None }),
            ["clean", at, name, bytes] => {
                Some(Mark::Clean { at: time(at)?, list: Some(FileList { name: name.to_owned(), bytes: bytes.parse().ok()? }) })
            }
            ["open", boot, at] => Some(Mark::Open { boot: boot.to_owned(), at: time(at)? }),
            _ => None,
        }
    }
    /// None: there is none, or it cannot be understood.
    pub(super) fn read(path: &Path) -> Option<Self> {
        Mark::parse(&fs::read_to_string(path).ok()?)
    }
    pub(super) fn write(&self, path: &Path) -> io::Result<()> {
        replace(path, self.text().as_bytes())
    }
    pub(super) fn at(&self) -> Timestamp {
        let (Mark::Clean { at, .. } | Mark::Open { at, .. }) = self;
        *at
    }
    /// Why rows beside this mark cannot be trusted in the boot `now`, with the list of files `found` beside them.
    pub(super) fn distrust(mark: Option<&Mark>, now: Option<&str>, found: Option<&FileList>) -> Option<String> {
        match mark {
            Some(Mark::Clean { list: Some(list), .. }) if found.is_none_or(|found| found.name != list.name || found.bytes < list.bytes) => {
                Some(format!("the list of their files, `{}`, is not what it was when they were closed", list.name))
            }
            Some(Mark::Clean { .. }) => None,
            Some(Mark::Open { boot, .. }) if Some(boot.as_str()) == now => None,
            Some(Mark::Open { .. }) => {
                Some("the machine has been started anew since they were written, and they were not closed".to_owned())
            }
            None => Some("nothing says how they were closed".to_owned()),
        }
    }
}

/// Replaces a file as a whole, and does not return before it is on the disk.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let fresh = path.with_extension("new");
    let mut file = File::create(&fresh)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&fresh, path)?;
    match path.parent() {
        Some(folder) if cfg!(unix) => File::open(folder)?.sync_all(),
        _ => Ok(()),
    }
}

/// What this start of the machine is called; none if the system does not say.
pub(super) fn boot() -> Option<String> {
    let told = if cfg!(target_os = "macos") {
        let told = std::process::Command::new("sysctl").args(["-n", "kern.bootsessionuuid"]).output().ok()?;
        String::from_utf8(told.stdout).ok()?
    } else {
        fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?
    };
    Some(told.trim().to_owned()).filter(|boot| !boot.is_empty() && !boot.contains(' '))
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: Timestamp = Timestamp::from_millis(17);

    #[test]
    fn reads_what_it_wrote_and_nothing_else() {
        let list = Some(FileList { name: "MANIFEST-5".into(), bytes: 9 });
        for mark in [Mark::Clean { at: AT, list: None }, Mark::Clean { at: AT, list }, Mark::Open { boot: "b-1".into(), at: AT }] {
            assert_eq!(Mark::parse(&mark.text()), Some(mark.clone()));
            assert_eq!(Mark::parse(mark.text().trim_end()), None, "a line cut short is not trusted");
        }
        for text in ["", "\n", "clean\n", "clean x\n", "open b\n", "clean 1 2\n", "clean 1 a b\n"] {
            assert_eq!(Mark::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn rows_are_trusted_in_the_boot_that_wrote_them_or_after_a_clean_close() {
        let open = Mark::Open { boot: "one".into(), at: AT };
        let trusted = |mark, boot| Mark::distrust(mark, boot, None).is_none();
        assert!(trusted(Some(&open), Some("one")));
        assert!(!trusted(Some(&open), Some("two")));
        assert!(!trusted(Some(&open), None), "a system that does not name its boots proves nothing");
        assert!(trusted(Some(&Mark::Clean { at: AT, list: None }), Some("two")));
        assert!(!trusted(None, Some("one")));
    }

    #[test]
    fn a_list_of_files_that_is_shorter_or_another_one_is_not_trusted() {
        let list = |name: &str, bytes| FileList { name: name.to_owned(), bytes };
        let mark = Mark::Clean { at: AT, list: Some(list("MANIFEST-5", 90)) };
        let trusted = |found: Option<FileList>| Mark::distrust(Some(&mark), Some("two"), found.as_ref()).is_none();
        assert!(trusted(Some(list("MANIFEST-5", 90))) && trusted(Some(list("MANIFEST-5", 120))), "it grew as it was closed");
        assert!(!trusted(Some(list("MANIFEST-5", 89))) && !trusted(Some(list("MANIFEST-4", 120))) && !trusted(None));
    }
}
