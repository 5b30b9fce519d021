//! The folder of a log: what lies where in it, and that one process has it at a time.
//!
//! ```text
//! LOCK                            locked while a process has the log; the number of that process
//! journal-0000000001              topics, ids, transactions, positions
//! topics/7-orders/3/              partition 3 of the topic with the number 7
//!   00000000000000000000.0.segment  its records from that offset on
//! ```

use std::fs::{self, File, TryLockError};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::disk::{failed, make_folder};
use super::entry::TopicNumber;
use crate::clock::let_others_go_on;
use crate::kafka::LogError;

/// How long an owner waits for those who only look, and how often.
const GLANCE: Duration = Duration::from_millis(20);
const GLANCES: u32 = 500;
/// An owner that goes is gone after that: a process that it starts at that moment has the lock too, until it runs a program of its own.
const OWN_GLANCES: u32 = 50;

/// The right to use a folder; given up when it is dropped or the process ends.
#[derive(Debug)]
pub(super) struct FolderLock {
    locked: File,
}

impl Drop for FolderLock {
    fn drop(&mut self) {
        let _ = self.locked.unlock(); // a child that is just being started may hold the file for a moment yet
    }
}

impl FolderLock {
    /// Takes the folder for this process. Waits a moment for those who only look.
    pub(super) fn take(folder: &Path) -> Result<Self, LogError> {
        make_folder(folder)?;
        let path = lock_path(folder);
        let open = File::options().read(true).write(true).create(true).truncate(false).open(&path);
        let mut file = open.map_err(failed("open", &path))?;
        for n in 0..GLANCES {
            match file.try_lock() {
                Ok(()) => {
                    let number = std::process::id().to_string();
                    file.set_len(0).and_then(|()| file.write_all(number.as_bytes())).map_err(failed("write", &path))?;
                    return Ok(FolderLock { locked: file });
                }
                Err(TryLockError::Error(error)) => return Err(failed("lock", &path)(error)),
                // An owner does not go soon, unless it is this process and somebody is still being answered at its door.
                Err(TryLockError::WouldBlock) if n >= OWN_GLANCES && Self::share(folder)?.is_none() => break,
                Err(TryLockError::WouldBlock) => let_others_go_on(GLANCE),
            }
        }
        Err(LogError::InUse { folder: folder.to_owned(), owner: owner(folder) })
    }

    /// Keeps owners out while somebody looks; none if there is an owner.
    pub(super) fn share(folder: &Path) -> Result<Option<Self>, LogError> {
        let path = lock_path(folder);
        let file = File::open(&path).map_err(|error| match error.kind() {
            ErrorKind::NotFound => LogError::NoLog(folder.to_owned()),
            _ => failed("open", &path)(error),
        })?;
        match file.try_lock_shared() {
            Ok(()) => Ok(Some(FolderLock { locked: file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(failed("lock", &path)(error)),
        }
    }
}

/// The process that wrote itself into the folder last.
pub(in crate::kafka::embedded) fn owner(folder: &Path) -> Option<u32> {
    fs::read_to_string(lock_path(folder)).ok()?.trim().parse().ok()
}

pub(super) fn lock_path(folder: &Path) -> PathBuf {
    folder.join("LOCK")
}

pub(super) fn topics_path(folder: &Path) -> PathBuf {
    folder.join("topics")
}

/// The folder of a topic. Its number decides; the name is for people, cut where a file system would refuse it.
pub(super) fn topic_path(folder: &Path, number: TopicNumber, name: &str) -> PathBuf {
    topics_path(folder).join(format!("{number}-{}", &name[..name.len().min(200)]))
}

pub(super) fn partition_path(topic: &Path, partition: i32) -> PathBuf {
    topic.join(partition.to_string())
}

/// Removes the folders of topics that are no more, or never came to be.
pub(super) fn clear_away(folder: &Path, is_known: impl Fn(TopicNumber) -> bool) -> Result<(), LogError> {
    let topics = topics_path(folder);
    let Ok(entries) = fs::read_dir(&topics) else { return Ok(()) };
    for path in entries.filter_map(|entry| entry.ok().map(|entry| entry.path())) {
        let number = path.file_name().and_then(|name| name.to_str()?.split('-').next()?.parse().ok());
        if number.is_some_and(|number| !is_known(number)) {
            fs::remove_dir_all(&path).map_err(failed("remove", &path))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Between its birth and its first step a child process has all files of its parent, and may have to wait for that step.
    #[test]
    fn a_folder_is_free_although_a_child_that_is_being_started_has_its_file() {
        let folder = std::env::temp_dir().join(format!("highwater-folder-lock-{}", std::process::id()));
        let owner = FolderLock::take(&folder).expect("nobody has it");
        let childs = owner.locked.try_clone().expect("one more handle");
        assert!(FolderLock::share(&folder).expect("there").is_none(), "it has an owner");
        drop(owner);
        drop(FolderLock::take(&folder).expect("free"));
        let guest = FolderLock::share(&folder).expect("there").expect("no owner");
        let guests_childs = guest.locked.try_clone().expect("one more handle");
        drop(guest);
        drop(FolderLock::take(&folder).expect("free"));
        drop((childs, guests_childs));
        fs::remove_dir_all(folder).expect("there");
    }
}
