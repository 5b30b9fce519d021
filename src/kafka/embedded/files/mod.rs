//! What the log keeps in a folder, and nothing where it is in memory only.
//!
//! The log proper changes its own memory and says so here: an [`Entry`] for the journal, or records for the [`Segments`] of a partition.
//! The file always comes first: what cannot be written has not happened.
//!
//! Lock order: everything here comes last. Nobody waits for the disk under a lock but that of a transactional id.

mod batch;
pub(super) mod bytes;
mod cache;
mod disk;
mod entry;
mod folder;
mod frame;
mod image;
mod journal;
mod rewrite;
mod segments;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

pub(super) use self::batch::Located;
use self::cache::BlockCache;
pub(super) use self::disk::DiskFile;
#[cfg(test)]
pub(super) use self::disk::trace;
use self::disk::{Rounds, make_folder, sync_folder};
pub(super) use self::entry::{Cleaned, Entry, TopicNumber};
use self::folder::FolderLock;
pub(super) use self::folder::owner as owner_of;
pub(super) use self::image::{GroupImage, IdImage, Image, TopicImage, TransactionImage};
use self::journal::Journal;
pub(super) use self::rewrite::{Draft, Rewrite};
pub(super) use self::segments::{Recovered, Segments};
use super::block::Block;
use super::lock;
use super::verdicts::WriterNumber;
use crate::kafka::LogError;
use crate::record::TopicPartition;

/// What survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Durability {
    /// Everything acknowledged survives the end of the process, however it comes. No flush and no commit waits for the disk.
    ProcessKill,
    /// Everything acknowledged survives the end of the machine: a flush and a commit wait for the disk, all that do so at one moment together.
    #[default]
    PowerLoss,
}

/// How a [`FileLog`](crate::kafka::FileLog) keeps its files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileLogOptions {
    /// What survives: by default everything acknowledged, also when the power fails.
    pub durability: Durability,
    /// Bytes after which a partition begins another file, unless the topic's `segment.bytes` says less; 64 MiB.
    pub segment_bytes: u64,
    /// Bytes of records that were read back from files, kept for other readers; 16 MiB.
    pub read_cache: usize,
}

impl Default for FileLogOptions {
    fn default() -> Self {
        FileLogOptions { durability: Durability::default(), segment_bytes: 64 << 20, read_cache: 16 << 20 }
    }
}

/// Where a log keeps its changes: in files, or nowhere. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Storage(Option<Arc<Files>>);

/// The files of a log.
#[derive(Debug)]
struct Files {
    folder: PathBuf,
    options: FileLogOptions,
    /// Nothing may be changed in the folder.
    frozen: bool,
    journal: Mutex<Journal>,
    rounds: Rounds,
    cache: BlockCache,
    _lock: FolderLock,
}

impl Storage {
    /// Takes a folder and reads its journal.
    pub(super) fn open(folder: &Path, options: FileLogOptions) -> Result<Self, LogError> {
        let taken = FolderLock::take(folder)?;
        let storage = Storage::over(folder, options, taken, Journal::open(folder)?, false);
        let known = storage.image().topics;
        folder::clear_away(folder, |number| known.contains_key(&number))?;
        Ok(storage)
    }

    /// Looks at a folder without changing anything there; none if a process has it.
    pub(super) fn look(folder: &Path) -> Result<Option<Self>, LogError> {
        let Some(shared) = FolderLock::share(folder)? else { return Ok(None) };
        let journal = Journal::look(folder)?.ok_or_else(|| LogError::NoLog(folder.to_owned()))?;
        Ok(Some(Storage::over(folder, FileLogOptions::default(), shared, journal, true)))
    }

    fn over(folder: &Path, options: FileLogOptions, lock: FolderLock, journal: Journal, frozen: bool) -> Self {
        let (cache, journal, folder) = (BlockCache::new(options.read_cache), Mutex::new(journal), folder.to_owned());
        Storage(Some(Arc::new(Files { folder, options, frozen, journal, rounds: Rounds::default(), cache, _lock: lock })))
    }

    /// Whether nothing may be changed in the folder.
    pub(super) fn is_frozen(&self) -> bool {
        self.0.as_ref().is_some_and(|files| files.frozen)
    }

    /// What the journal adds up to.
    pub(super) fn image(&self) -> Image {
        self.0.as_ref().map(|files| files.image(Image::clone)).unwrap_or_default()
    }

    /// Writes a change down. If that fails the change must not happen.
    pub(super) fn note(&self, entry: impl FnOnce() -> Entry) -> Result<(), LogError> {
        self.0.as_ref().map_or(Ok(()), |files| files.note(entry()))
    }

    /// Everybody who must know how a transaction came out knows it.
    pub(super) fn finished(&self, writer: WriterNumber) {
        if let Some(files) = &self.0 {
            lock(&files.journal).image_mut().transactions.remove(&writer);
        }
    }

    /// Waits until everything written so far is as safe as it was asked for.
    pub(super) fn settle(&self) -> Result<(), LogError> {
        match &self.0 {
            Some(files) if self.outlives_power() => files.rounds.wait(),
            _ => Ok(()),
        }
    }

    /// Makes the names in a folder outlive what everything else has to.
    fn settle_names(&self, folder: &Path) -> Result<(), LogError> {
        if self.outlives_power() { sync_folder(folder) } else { Ok(()) }
    }

    /// Whether it waits for the disk.
    pub(super) fn outlives_power(&self) -> bool {
        self.0.as_ref().is_some_and(|files| files.options.durability == Durability::PowerLoss)
    }

    #[cfg(test)]
    pub(super) fn disk(&self) -> &disk::Rounds {
        &self.0.as_ref().expect("it has files").rounds
    }

    /// How often somebody has waited for the disk, for himself and for all others of that moment.
    pub(super) fn rounds(&self) -> u64 {
        self.0.as_ref().map_or(0, |files| files.rounds.count())
    }

    /// Makes the folders of a new topic and writes it down; its number, and the files of its partitions.
    pub(super) fn create_topic(&self, topic: TopicImage) -> Result<(TopicNumber, Vec<Option<Segments>>), LogError> {
        let number = self.0.as_ref().map_or(0, |files| {
            let mut journal = lock(&files.journal);
            let image = journal.image_mut();
            image.last_topic += 1;
            image.last_topic
        });
        Ok((number, self.change_topic(number, 0, topic)?))
    }

    /// Makes the folders of the partitions of a topic from `first` on, and writes down how it is now; the files of these partitions.
    pub(super) fn change_topic(&self, number: TopicNumber, first: i32, topic: TopicImage) -> Result<Vec<Option<Segments>>, LogError> {
        let Some(files) = &self.0 else { return Ok((first..topic.partitions).map(|_| None).collect()) };
        let path = files.make_folders(number, first, &topic)?;
        self.settle_names(&path)?;
        self.settle_names(&folder::topics_path(&files.folder))?;
        let segments = files.topic_files(number, first, &topic)?.into_iter().map(|found| Some(found.segments)).collect();
        let TopicImage { name, partitions, config, .. } = topic;
        files.note(Entry::Topic { number, name, partitions, config })?;
        Ok(segments)
    }

    /// Opens the files of the partitions of a topic.
    pub(super) fn open_topic(&self, number: TopicNumber, topic: &TopicImage) -> Result<Vec<Recovered>, LogError> {
        self.0.as_ref().map_or(Ok(Vec::new()), |files| files.topic_files(number, 0, topic))
    }

    /// Writes down that a topic is no more.
    pub(super) fn delete_topic(&self, number: TopicNumber) -> Result<(), LogError> {
        self.note(|| Entry::TopicGone { number })
    }

    /// Removes the files of a topic that is no more. What is left of them now is removed when the log is opened.
    pub(super) fn remove_files(&self, number: TopicNumber, name: &str) {
        let Some(files) = &self.0 else { return };
        let path = folder::topic_path(&files.folder, number, name);
        if let Err(error) = fs::remove_dir_all(&path) {
            tracing::warn!(%error, path = %path.display(), "the files of a deleted topic could not be removed");
        }
    }

    /// Notes that a file with records was written.
    fn touched(&self, file: &Arc<DiskFile>) {
        self.0.iter().for_each(|files| files.rounds.touch(file, false));
    }

    /// A block with its records: itself, or what its file holds.
    pub(super) fn whole(&self, block: Arc<Block>) -> Result<Arc<Block>, LogError> {
        let (Some(files), Some(span)) = (&self.0, block.elsewhere()) else { return Ok(block) };
        files.cache.get((span.file.serial, span.start), block.end(), || segments::read_block(&block, span))
    }
}

impl Files {
    fn image<T>(&self, ask: impl FnOnce(&Image) -> T) -> T {
        ask(lock(&self.journal).image())
    }

    fn note(&self, entry: Entry) -> Result<(), LogError> {
        let mut journal = lock(&self.journal);
        journal.append(entry)?;
        if self.frozen {
            return Ok(());
        }
        self.rounds.touch(journal.file(), true);
        // The shorter journal does not know of transactions that are over, so their markers must be on the disk.
        if journal.is_long() && self.rounds.wait().is_ok() {
            journal.shorten();
        }
        Ok(())
    }

    fn make_folders(&self, number: TopicNumber, first: i32, topic: &TopicImage) -> Result<PathBuf, LogError> {
        let path = folder::topic_path(&self.folder, number, &topic.name);
        (first..topic.partitions).try_for_each(|partition| make_folder(&folder::partition_path(&path, partition)))?;
        Ok(path)
    }

    fn topic_files(self: &Arc<Self>, number: TopicNumber, first: i32, topic: &TopicImage) -> Result<Vec<Recovered>, LogError> {
        let path = folder::topic_path(&self.folder, number, &topic.name);
        let limit = topic.config.get("segment.bytes").and_then(|bytes| bytes.parse().ok()).unwrap_or(u64::MAX);
        let open = |partition| {
            let cleaned = topic.cleaned.get(&partition).cloned().unwrap_or_default();
            let begin = topic.begins.get(&partition).copied().unwrap_or(0);
            let name = TopicPartition::new(topic.name.as_str(), partition);
            let limit = self.options.segment_bytes.min(limit);
            let folder = folder::partition_path(&path, partition);
            let found = Segments::open(Storage(Some(self.clone())), name, number, folder, begin, limit)?;
            Ok(Recovered { cleaned, ..found })
        };
        (first..topic.partitions).map(open).collect()
    }
}
