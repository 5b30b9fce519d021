//! The journal: everything about the log that is not a record, one entry after the other in one file.
//!
//! The file is called `journal-<number>` and begins with 16 bytes: `HWjournl`, the version (4 bytes, 1), four zeros. Frames follow, each with
//! one entry. A journal that has grown long is replaced by a new one, with the next number, whose entries add up to the same.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::disk::{DiskFile, failed, sync_folder};
use super::entry::Entry;
use super::frame;
use super::image::Image;
use crate::kafka::LogError;

const HEAD: &[u8; 16] = b"HWjournl\x01\0\0\0\0\0\0\0";
/// Length from which a journal may be replaced.
const LONG: u64 = 1 << 20;

/// The journal of an open log.
#[derive(Debug)]
pub(super) struct Journal {
    folder: PathBuf,
    number: u64,
    file: Arc<DiskFile>,
    length: u64,
    /// Length at which it is replaced.
    limit: u64,
    image: Image,
    /// Changes are not written: the folder may not be changed.
    frozen: bool,
    scratch: Vec<u8>,
}

impl Journal {
    /// Opens the latest journal in a folder, or begins the first one.
    pub(super) fn open(folder: &Path) -> Result<Self, LogError> {
        let mut numbers = numbers_in(folder)?;
        let Some(number) = numbers.pop() else { return Self::begin(folder, 1, Image::default()) };
        let file = Arc::new(DiskFile::open(folder.join(name(number)))?);
        let (image, length) = read(&file)?;
        file.cut(length)?;
        // Journals that were replaced, by a process that died before it could remove them.
        numbers.into_iter().for_each(|earlier| remove(&folder.join(name(earlier))));
        let (folder, limit) = (folder.to_owned(), limit(length));
        Ok(Journal { folder, number, file, length, limit, image, frozen: false, scratch: Vec::new() })
    }

    /// Opens the latest journal in a folder and leaves it as it is; none if there is none.
    pub(super) fn look(folder: &Path) -> Result<Option<Self>, LogError> {
        let Some(number) = numbers_in(folder)?.pop() else { return Ok(None) };
        let file = Arc::new(DiskFile::open_to_read(folder.join(name(number)))?);
        let (image, length) = read(&file)?;
        let folder = folder.to_owned();
        Ok(Some(Journal { folder, number, file, length, limit: u64::MAX, image, frozen: true, scratch: Vec::new() }))
    }

    /// Writes a new journal that adds up to `image`, at first under another name.
    fn begin(folder: &Path, number: u64, image: Image) -> Result<Self, LogError> {
        let (draft, path) = (folder.join("journal.draft"), folder.join(name(number)));
        remove(&draft);
        let mut bytes = HEAD.to_vec();
        image.entries().for_each(|entry| frame::put(&mut bytes, |body| entry.put(body)));
        let file = DiskFile::create(draft.clone())?;
        file.append(&bytes, 0)?;
        file.sync()?;
        fs::rename(&draft, &path).map_err(failed("rename", &draft))?;
        sync_folder(folder)?;
        let (file, length) = (Arc::new(DiskFile::open(path)?), bytes.len() as u64);
        let (folder, limit) = (folder.to_owned(), limit(length));
        Ok(Journal { folder, number, file, length, limit, image, frozen: false, scratch: Vec::new() })
    }

    /// Writes an entry. If it cannot be written it has not happened.
    pub(super) fn append(&mut self, entry: Entry) -> Result<(), LogError> {
        if self.frozen {
            self.image.fold(entry);
            return Ok(());
        }
        self.scratch.clear();
        frame::put(&mut self.scratch, |body| entry.put(body));
        self.file.append(&self.scratch, self.length)?;
        self.length += self.scratch.len() as u64;
        self.image.fold(entry);
        Ok(())
    }

    pub(super) fn is_long(&self) -> bool {
        self.length > self.limit
    }

    /// Replaces the file by a shorter one. What it says of records must be on the disk by now.
    pub(super) fn shorten(&mut self) {
        let earlier = self.folder.join(name(self.number));
        match Self::begin(&self.folder, self.number + 1, self.image.clone()) {
            Ok(shorter) => {
                *self = shorter;
                remove(&earlier);
            }
            Err(error) => {
                tracing::warn!(%error, "the journal of the log could not be shortened, and goes on as it is");
                self.limit = self.length * 2;
            }
        }
    }

    pub(super) fn file(&self) -> &Arc<DiskFile> {
        &self.file
    }

    pub(super) fn image(&self) -> &Image {
        &self.image
    }

    pub(super) fn image_mut(&mut self) -> &mut Image {
        &mut self.image
    }
}

fn limit(length: u64) -> u64 {
    LONG.max(length * 4)
}

fn name(number: u64) -> String {
    format!("journal-{number:010}")
}

/// Numbers of the journals in a folder, the latest last.
fn numbers_in(folder: &Path) -> Result<Vec<u64>, LogError> {
    let names = fs::read_dir(folder).map_err(failed("list", folder))?;
    let number = |entry: fs::DirEntry| entry.file_name().to_str()?.strip_prefix("journal-")?.parse().ok();
    let mut numbers: Vec<u64> = names.filter_map(|entry| entry.ok().and_then(number)).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

fn remove(path: &Path) {
    if let Err(error) = fs::remove_file(path)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        tracing::warn!(%error, path = %path.display(), "a file that the log no longer needs could not be removed");
    }
}

/// Adds the entries of a journal up; how long it is without what was torn at its end.
fn read(file: &DiskFile) -> Result<(Image, u64), LogError> {
    let bytes = file.read_all()?;
    let damaged = |position: usize, reason| LogError::Damaged { path: file.path().to_owned(), position: position as u64, reason };
    if !bytes.starts_with(HEAD) {
        return Err(damaged(0, "it does not begin as a journal of this version"));
    }
    let (mut image, mut at) = (Image::default(), HEAD.len());
    while let Some(body) = frame::body_at(&bytes, at) {
        let entry = Entry::read(&bytes[body.clone()]).ok_or_else(|| damaged(at, "an entry that this version does not know"))?;
        image.fold(entry);
        at = body.end;
    }
    if at < bytes.len() {
        torn(file, &bytes, at)?;
    }
    Ok((image, at as u64))
}

/// Accepts that a file ends in the middle of a frame, and says so; refuses it if whole frames follow.
pub(super) fn torn(file: &DiskFile, bytes: &[u8], at: usize) -> Result<(), LogError> {
    if frame::any_from(bytes, at + 1) {
        let reason = "the checksum does not fit, and what follows is whole";
        return Err(LogError::Damaged { path: file.path().to_owned(), position: at as u64, reason });
    }
    let lost = bytes.len() - at;
    tracing::warn!(path = %file.path().display(), at, lost, "what was being written when the process died does not count; it was not acknowledged");
    Ok(())
}
