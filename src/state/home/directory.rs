//! The folder of one application on disk: taken into possession, checked, and tidied.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use crate::error::{Error, ErrorKind};
use crate::record::{TaskId, Timestamp, millis};
use crate::state::backend::{Budget, Engine, KEPT};
use crate::state::home::mark::{self, Mark};
use crate::state::home::shape::{self, Shapes};
use crate::state::home::{HomeSettings, io, refused};
use crate::state::lock::lock;

/// The first line of `format`.
const FORMAT: &str = "highwater-state 1\n";

/// A folder that this process owns.
pub(super) struct Directory {
    path: PathBuf,
    /// Held while the folder is owned.
    lock: Mutex<Option<File>>,
    shapes: Shapes,
    cleanup_delay_ms: i64,
    taken_at: Timestamp,
    boot: Option<String>,
    engine: Engine,
    pub(super) budget: Budget,
}

impl Directory {
    /// Locks the folder, and refuses it if it holds the state of another version or another topology.
    pub(super) fn take(settings: HomeSettings<'_>, now: Timestamp) -> Result<Self, Error> {
        let path = settings.directory.join(settings.application_id);
        fs::create_dir_all(&path).map_err(|error| io("make the state folder", &path, &error))?;
        let lock = take_lock(&path)?;
        check_format(&path)?;
        let directory = Directory {
            path,
            lock: Mutex::new(Some(lock)),
            shapes: settings.shapes,
            cleanup_delay_ms: millis(settings.cleanup_delay),
            taken_at: now,
            boot: mark::boot(),
            engine: settings.engine,
            budget: settings.engine.budget(settings.memory),
        };
        for task in directory.tasks() {
            directory.check_shape(task)?;
        }
        Ok(directory)
    }

    /// Another process may take the folder from here on.
    pub(super) fn let_go(&self) {
        if let Some(file) = lock(&self.lock).take() {
            let _ = file.unlock(); // a child that is just being started may hold the file for a moment yet
        }
    }

    /// The id written in the folder; else `fresh`, which is written.
    pub(super) fn process_id(&self, fresh: String) -> Result<String, Error> {
        let path = self.path.join("process");
        match fs::read_to_string(&path) {
            Ok(text) if !text.trim().is_empty() => Ok(text.trim().to_owned()),
            _ => {
                mark::replace(&path, format!("{fresh}\n").as_bytes()).map_err(|error| io("write", &path, &error))?;
                Ok(fresh)
            }
        }
    }

    pub(super) fn folder(&self, task: TaskId) -> PathBuf {
        self.path.join(task.to_string())
    }

    /// Where the rows of a task lie.
    pub(super) fn rows(&self, task: TaskId) -> PathBuf {
        self.folder(task).join(self.engine.kept().folder)
    }

    /// What the state of a task was written by must be what it is read by.
    pub(super) fn check_shape(&self, task: TaskId) -> Result<(), Error> {
        let folder = self.folder(task);
        match fs::read_to_string(folder.join("shape")) {
            Ok(stored) => shape::compare(&folder, &stored, self.shapes.of(task.subtopology)),
            Err(_) => Ok(()), // nothing was written yet: the shape comes first
        }
    }

    /// Makes a task's folder ready for an owner, and marks it as open; tells why rows that are there cannot be trusted.
    pub(super) fn open(&self, task: TaskId, now: Timestamp) -> Result<Option<String>, Error> {
        let folder = self.folder(task);
        fs::create_dir_all(&folder).map_err(|error| io("make the folder", &folder, &error))?;
        self.check_shape(task)?;
        let (path, rows) = (folder.join("mark"), self.rows(task));
        let list = self.engine.list(&rows);
        let mut distrust = Mark::distrust(Mark::read(&path).as_ref(), self.boot.as_deref(), list.as_ref()).filter(|_| rows.exists());
        if distrust.is_some() {
            remove(&rows)?;
        }
        for kept in KEPT.iter().filter(|kept| kept.folder != self.engine.kept().folder) {
            let others = folder.join(kept.folder);
            if others.exists() {
                remove(&others)?;
                distrust.get_or_insert_with(|| {
                    format!("they were written with {}, and this build keeps them with {}", kept.by, self.engine.kept().by)
                });
            }
        }
        let shape = folder.join("shape");
        if !shape.exists() {
            mark::replace(&shape, self.shapes.of(task.subtopology).as_bytes()).map_err(|error| io("write", &shape, &error))?;
        }
        let boot = self.boot.clone().unwrap_or_else(|| "unknown".to_owned());
        Mark::Open { boot, at: now }.write(&path).map_err(|error| io("write", &path, &error))?;
        Ok(distrust)
    }

    /// Everything of the task is on the disk.
    pub(super) fn mark_clean(&self, task: TaskId, now: Timestamp) {
        let path = self.folder(task).join("mark");
        if let Err(error) = (Mark::Clean { at: now, list: self.engine.list(&self.rows(task)) }).write(&path) {
            tracing::warn!(%task, %error, "the state could not be marked as closed: after a power loss it would be restored");
        }
    }

    /// Tasks that have a folder.
    fn tasks(&self) -> Vec<TaskId> {
        let entries = fs::read_dir(&self.path).into_iter().flatten().flatten();
        let mut tasks: Vec<TaskId> = entries.filter_map(|entry| task_of(entry.file_name().to_str()?)).collect();
        tasks.sort();
        tasks
    }

    /// Deletes the state of tasks that nobody here has owned for a while: they live elsewhere.
    pub(super) fn remove_orphans(&self, is_open: &dyn Fn(TaskId) -> bool, now: Timestamp) {
        for task in self.tasks().into_iter().filter(|task| !is_open(*task)) {
            let folder = self.folder(task);
            let used = Mark::read(&folder.join("mark")).map_or(self.taken_at, |mark| mark.at().max(self.taken_at));
            if now.as_millis() < used.as_millis().saturating_add(self.cleanup_delay_ms) || is_locked(&folder) {
                continue;
            }
            match fs::remove_dir_all(&folder) {
                Ok(()) => tracing::info!(%task, "state of a task that lives elsewhere was deleted"),
                Err(error) => tracing::warn!(%task, %error, "state of a task that lives elsewhere could not be deleted"),
            }
        }
    }
}

/// Whether some database handle still holds the rows.
fn is_locked(folder: &Path) -> bool {
    let held = |file: File| {
        let refused = file.try_lock().is_err();
        let _ = file.unlock(); // as above
        refused
    };
    KEPT.iter().any(|kept| File::open(folder.join(kept.folder).join(kept.lock)).is_ok_and(held))
}

fn remove(folder: &Path) -> Result<(), Error> {
    fs::remove_dir_all(folder).map_err(|error| io("remove", folder, &error))
}

/// `0_3`.
fn task_of(name: &str) -> Option<TaskId> {
    let (subtopology, partition) = name.split_once('_')?;
    let task = TaskId { subtopology: subtopology.parse().ok()?, partition: partition.parse().ok()? };
    (task.to_string() == name).then_some(task)
}

/// The operating system lets a lock go when its process ends, in whatever way: none is ever left over.
fn take_lock(folder: &Path) -> Result<File, Error> {
    let path = folder.join("lock");
    let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
    let mut file = opened.map_err(|error| io("open", &path, &error))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(owned_by_another(folder, file)),
        Err(TryLockError::Error(error)) => return Err(io("lock", &path, &error)),
    }
    let written = file.set_len(0).and_then(|()| write!(file, "{}", std::process::id()));
    written.map_err(|error| io("write", &path, &error))?;
    Ok(file)
}

fn owned_by_another(folder: &Path, mut lock: File) -> Error {
    let mut owner = String::new();
    let read = lock.read_to_string(&mut owner);
    let owner = match owner.trim() {
        _ if read.is_err() => "another process".to_owned(),
        "" => "another process".to_owned(),
        id if id == std::process::id().to_string() => {
            "another instance in this process: stop it, or give each its own `state_dir`".to_owned()
        }
        id => format!("process {id}: stop it, or give each instance its own `state_dir`"),
    };
    refused(ErrorKind::InvalidConfig, format!("the state folder {} is in use by {owner}", folder.display()))
}

fn check_format(folder: &Path) -> Result<(), Error> {
    let path = folder.join("format");
    match fs::read_to_string(&path) {
        Ok(found) if found == FORMAT => Ok(()),
        Ok(found) => {
            let text = format!(
                "the state in {} has the format `{}` and this version reads `{}`: run the version that wrote it, or delete the folder \
                 (stores are restored from their changelogs)",
                folder.display(),
                found.trim(),
                FORMAT.trim()
            );
            Err(refused(ErrorKind::InvalidConfig, text))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            mark::replace(&path, FORMAT.as_bytes()).map_err(|error| io("write", &path, &error))
        }
        Err(error) => Err(io("read", &path, &error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_tasks_are_tasks() {
        assert_eq!(task_of("0_3"), Some(TaskId { subtopology: 0, partition: 3 }));
        for name in ["", "_", "0_", "0_x", "00_3", "0_3 ", "lock", "0-3", "0_3_1"] {
            assert_eq!(task_of(name), None, "{name:?}");
        }
    }
}
