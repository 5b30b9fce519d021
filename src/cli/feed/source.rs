//! The file whose lines are loaded.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::Fed;
use crate::cli::failure::UsageError;

/// Lines to load.
pub(crate) enum Source {
    /// Standard input: it cannot be read again.
    Standard,
    /// A file, by its whole path.
    File(PathBuf, File),
}

impl Source {
    /// Opens what `--feed` names.
    pub(crate) fn open(path: &Path) -> Result<Self, UsageError> {
        if path == Path::new("-") {
            return Ok(Source::Standard);
        }
        let cannot = |why: &dyn std::fmt::Display| UsageError(format!("cannot read `{}`: {why}", path.display()));
        let file = File::open(path).map_err(|error| cannot(&error))?;
        if file.metadata().is_ok_and(|found| found.is_dir()) {
            return Err(cannot(&"it is a folder; name a file in it"));
        }
        Ok(Source::File(path.canonicalize().map_err(|error| cannot(&error))?, file))
    }

    /// The file's whole path; none for standard input.
    pub(crate) fn path(&self) -> Option<&Path> {
        match self {
            Source::Standard => None,
            Source::File(path, _) => Some(path),
        }
    }

    /// The lines behind those that were loaded `before`.
    pub(crate) fn lines(self, before: Fed) -> anyhow::Result<Box<dyn BufRead>> {
        match self {
            Source::Standard => Ok(Box::new(io::stdin().lock())),
            Source::File(path, mut file) => {
                skip(&path, &mut file, before.bytes)?;
                Ok(Box::new(BufReader::new(file)))
            }
        }
    }
}

/// Moves to where an earlier load stood, if the file can still be the same one.
fn skip(path: &Path, file: &mut File, bytes: u64) -> anyhow::Result<()> {
    let Some(last) = bytes.checked_sub(1) else { return Ok(()) };
    let length = file.metadata()?.len();
    let name = path.display();
    if length < bytes {
        let text =
            format!("`{name}` has {length} bytes, and {bytes} were loaded from it before: it is another file now; give it another name");
        return Err(UsageError(text).into());
    }
    let mut end = [0];
    file.seek(SeekFrom::Start(last))?;
    file.read_exact(&mut end)?;
    if length > bytes && end != *b"\n" {
        let text =
            format!("`{name}` has grown in the middle of a line that was loaded before: load what is new from a file of another name");
        return Err(UsageError(text).into());
    }
    Ok(())
}
