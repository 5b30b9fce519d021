//! A result file that appears whole or not at all: written beside its place and moved there when it is complete, so that neither a failed
//! run nor a killed one leaves half a result, or takes away the result of the run before.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::failure::UsageError;

/// A file that will be written at the end.
#[derive(Debug)]
pub(crate) struct WholeFile {
    target: PathBuf,
    /// Where it is written first; none for what cannot be moved into place, such as a pipe.
    part: Option<PathBuf>,
}

impl WholeFile {
    /// Makes sure, before any work is done, that the file can be written at the end. What it holds now stays until then.
    pub(crate) fn reserve(path: &Path) -> Result<Self, UsageError> {
        let cannot = |why: &dyn std::fmt::Display| UsageError(format!("cannot write `{}`: {why}", path.display()));
        let target = path.canonicalize().unwrap_or_else(|_| path.to_owned()); // a link stays a link
        match fs::metadata(&target) {
            Ok(found) if found.is_dir() => return Err(cannot(&"it is a folder; name a file in it")),
            Ok(found) if !found.is_file() => return Ok(WholeFile { target, part: None }),
            Ok(found) if found.permissions().readonly() => return Err(cannot(&"it is read-only")),
            Ok(_) | Err(_) => {}
        }
        let part = part_of(&target);
        File::create(&part).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => cannot(&"there is no such folder"),
            _ => cannot(&error),
        })?;
        fs::remove_file(&part).map_err(|error| cannot(&error))?;
        Ok(WholeFile { target, part: Some(part) })
    }

    /// Writes the file. One that is not complete stays beside the place of the whole one; gives where it is.
    pub(crate) fn write(self, complete: bool, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<PathBuf> {
        let first = self.part.as_ref().unwrap_or(&self.target);
        let written = File::create(first).and_then(|file| {
            let mut out = BufWriter::new(file);
            write(&mut out)?;
            out.flush()
        });
        match (written, self.part) {
            (Ok(()), Some(part)) if complete => {
                if let Ok(before) = fs::metadata(&self.target) {
                    fs::set_permissions(&part, before.permissions()).with_context(|| cannot_write(&self.target))?;
                }
                fs::rename(&part, &self.target).with_context(|| cannot_write(&self.target))?;
                Ok(self.target)
            }
            (Ok(()), part) => Ok(part.unwrap_or(self.target)),
            (Err(error), part) => {
                part.map(fs::remove_file); // half a result helps nobody; the error is the one of the writing
                Err(error).with_context(|| cannot_write(&self.target))
            }
        }
    }
}

/// The text of an error.
pub(crate) fn cannot_write(path: &Path) -> String {
    format!("cannot write `{}`", path.display())
}

/// `counts.csv.part` beside `counts.csv`
fn part_of(target: &Path) -> PathBuf {
    let mut name = target.as_os_str().to_owned();
    name.push(".part");
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder of this test alone.
    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("highwater-whole-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    #[test]
    fn what_was_there_stays_until_the_new_file_is_whole() {
        let folder = folder("stays");
        let path = folder.join("counts.csv");
        fs::write(&path, "old").unwrap();
        let file = WholeFile::reserve(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "old", "reserved");
        let failed = file.write(true, |out| out.write_all(b"half").and_then(|()| Err(io::Error::other("disk"))));
        assert!(format!("{:#}", failed.unwrap_err()).ends_with("counts.csv`: disk"));
        assert_eq!(fs::read_to_string(&path).unwrap(), "old", "a write failed");

        let left = WholeFile::reserve(&path).unwrap().write(false, |out| out.write_all(b"half")).unwrap();
        assert_eq!((&*fs::read_to_string(&path).unwrap(), &*fs::read_to_string(left).unwrap()), ("old", "half"), "not complete");

        let left = WholeFile::reserve(&path).unwrap().write(true, |out| out.write_all(b"new")).unwrap();
        assert_eq!(fs::read_to_string(left).unwrap(), "new");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1, "nothing is left beside it");
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn what_cannot_be_written_is_said_before_any_work() {
        let folder = folder("cannot");
        let why = |path: &Path| WholeFile::reserve(path).expect_err("cannot be written").to_string();
        assert!(why(&folder).ends_with("it is a folder; name a file in it"), "{}", why(&folder));
        assert!(why(&folder.join("no/counts.csv")).ends_with("there is no such folder"));
        fs::remove_dir_all(folder).unwrap();
    }
}
