//! One open file, and the waiting for the disk that all callers of one moment share.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use crate::kafka::LogError;
use crate::kafka::embedded::lock;

/// A file that is written at its end and read anywhere.
#[derive(Debug)]
pub(in crate::kafka::embedded) struct DiskFile {
    path: PathBuf,
    file: File,
    /// Tells apart files that had the same name one after the other.
    pub(super) serial: u64,
    /// Written since the disk was last waited for.
    touched: AtomicBool,
}

impl DiskFile {
    /// A new file; there is none of that name.
    pub(super) fn create(path: PathBuf) -> Result<Self, LogError> {
        let file = File::options().read(true).write(true).create_new(true).open(&path);
        Self::opened(path, file, "create")
    }

    /// A file that is there.
    pub(super) fn open(path: PathBuf) -> Result<Self, LogError> {
        let file = File::options().read(true).write(true).open(&path);
        Self::opened(path, file, "open")
    }

    /// The same, where nothing may be changed.
    pub(super) fn open_to_read(path: PathBuf) -> Result<Self, LogError> {
        let file = File::open(&path);
        Self::opened(path, file, "open")
    }

    fn opened(path: PathBuf, file: io::Result<File>, doing: &'static str) -> Result<Self, LogError> {
        static SERIAL: AtomicU64 = AtomicU64::new(0);
        let file = file.map_err(failed(doing, &path))?;
        Ok(DiskFile { path, file, serial: SERIAL.fetch_add(1, Ordering::Relaxed), touched: AtomicBool::new(false) })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn len(&self) -> Result<u64, LogError> {
        self.file.metadata().map(|known| known.len()).map_err(failed("ask for the length of", &self.path))
    }

    /// Writes all of it at the end, which is at `at`, or nothing.
    pub(super) fn append(&self, bytes: &[u8], at: u64) -> Result<(), LogError> {
        #[cfg(test)]
        if trace::note(&self.path, bytes, at) {
            let _ = self.file.write_all_at(&bytes[..bytes.len() / 2], at);
            let _ = self.file.set_len(at);
            return Err(failed("write", &self.path)(io::ErrorKind::StorageFull.into()));
        }
        self.file.write_all_at(bytes, at).map_err(|error| {
            // What was written in part is overwritten by the next append, or cut off when the log is opened, should this fail as well.
            let _ = self.file.set_len(at);
            failed("write", &self.path)(error)
        })
    }

    pub(super) fn read(&self, at: u64, length: usize) -> Result<Vec<u8>, LogError> {
        let mut bytes = vec![0; length];
        self.file.read_exact_at(&mut bytes, at).map_err(failed("read", &self.path))?;
        Ok(bytes)
    }

    pub(super) fn read_all(&self) -> Result<Vec<u8>, LogError> {
        let length = usize::try_from(self.len()?).expect("a file of the log fits into the memory");
        self.read(0, length)
    }

    pub(super) fn cut(&self, length: u64) -> Result<(), LogError> {
        self.file.set_len(length).map_err(failed("cut", &self.path))
    }

    pub(super) fn sync(&self) -> Result<(), LogError> {
        self.file.sync_data().map_err(failed("sync", &self.path))
    }
}

/// Makes an error of the log out of the system's.
pub(super) fn failed<'p>(doing: &'static str, path: &'p Path) -> impl FnOnce(io::Error) -> LogError + 'p {
    move |source| LogError::Storage { doing, path: path.to_owned(), source: Arc::new(source) }
}

/// Makes the names in a folder last.
pub(super) fn sync_folder(folder: &Path) -> Result<(), LogError> {
    File::open(folder).and_then(|open| open.sync_all()).map_err(failed("sync", folder))
}

/// Makes a folder, and those around it.
pub(super) fn make_folder(folder: &Path) -> Result<(), LogError> {
    fs::create_dir_all(folder).map_err(failed("make the folder", folder))
}

/// Waits for the disk in rounds. Whoever asks while a round is under way takes part in the next one together with all who ask
/// until that begins; one of them does it for all.
#[derive(Debug, Default)]
pub(in crate::kafka::embedded) struct Rounds {
    /// Files with records, then those of the journal: what the journal says of records is never on the disk before them.
    touched: Mutex<[Vec<Arc<DiskFile>>; 2]>,
    state: Mutex<Standing>,
    over: Condvar,
}

#[derive(Debug, Default)]
struct Standing {
    /// How often somebody has asked.
    asked: u64,
    begun: u64,
    done: u64,
    under_way: bool,
    /// What was written before this cannot be known to be on the disk any more, whatever later rounds say.
    broken: Option<LogError>,
}

impl Rounds {
    /// Notes that a file was written.
    pub(super) fn touch(&self, file: &Arc<DiskFile>, of_journal: bool) {
        if !file.touched.swap(true, Ordering::SeqCst) {
            lock(&self.touched)[usize::from(of_journal)].push(file.clone());
        }
    }

    /// Returns when everything written before this call is on the disk.
    pub(super) fn wait(&self) -> Result<(), LogError> {
        let mut state = lock(&self.state);
        state.asked += 1;
        let mine = state.begun + 1;
        while state.done < mine {
            if state.under_way {
                state = self.over.wait(state).expect("nobody panics with it");
                continue;
            }
            state.begun += 1;
            state.under_way = true;
            drop(state);
            let outcome = self.sync();
            state = lock(&self.state);
            state.under_way = false;
            state.done = state.begun;
            state.broken = state.broken.take().or(outcome.err());
            self.over.notify_all();
        }
        state.broken.clone().map_or(Ok(()), Err)
    }

    /// How many rounds there were.
    pub(super) fn count(&self) -> u64 {
        lock(&self.state).begun
    }

    /// How often somebody has asked: whoever has takes part in the next round that begins.
    #[cfg(test)]
    pub(in crate::kafka::embedded) fn asked(&self) -> u64 {
        lock(&self.state).asked
    }

    /// As if a round had begun, until `release`.
    #[cfg(test)]
    pub(in crate::kafka::embedded) fn hold(&self) {
        let mut state = lock(&self.state);
        (state.under_way, state.begun) = (true, state.begun + 1);
    }

    #[cfg(test)]
    pub(in crate::kafka::embedded) fn release(&self) {
        let mut state = lock(&self.state);
        (state.under_way, state.done) = (false, state.begun);
        self.over.notify_all();
    }

    fn sync(&self) -> Result<(), LogError> {
        let touched = std::mem::take(&mut *lock(&self.touched));
        for file in touched.iter().flatten() {
            // Before the disk is asked: what is written from here on belongs to the next round.
            file.touched.store(false, Ordering::SeqCst);
            file.sync()?;
        }
        Ok(())
    }
}

/// What this thread has written, in order, for tests that play a kill in the middle of it.
#[cfg(test)]
pub(in crate::kafka::embedded) mod trace {
    use std::cell::RefCell;
    use std::path::{Path, PathBuf};

    /// File, bytes, and where in it.
    pub(in crate::kafka::embedded) type Write = (PathBuf, Vec<u8>, u64);

    thread_local!(static WRITES: RefCell<Option<Vec<Write>>> = const { RefCell::new(None) });
    thread_local!(static REFUSED: RefCell<Option<usize>> = const { RefCell::new(None) });

    pub(in crate::kafka::embedded) fn begin() {
        WRITES.with(|writes| *writes.borrow_mut() = Some(Vec::new()));
    }

    /// Lets the write with this number since `begin` find no room.
    pub(in crate::kafka::embedded) fn refuse(nth: usize) {
        REFUSED.with(|refused| *refused.borrow_mut() = Some(nth));
    }

    /// All writes since `begin`.
    pub(in crate::kafka::embedded) fn so_far() -> Vec<Write> {
        WRITES.with(|writes| writes.borrow().clone().unwrap_or_default())
    }

    /// Notes a write; whether there is no room for it.
    pub(super) fn note(path: &Path, bytes: &[u8], at: u64) -> bool {
        WRITES.with(|writes| {
            let Some(writes) = &mut *writes.borrow_mut() else { return false };
            writes.push((path.to_owned(), bytes.to_vec(), at));
            REFUSED.with(|refused| refused.borrow_mut().take_if(|nth| *nth + 1 == writes.len()).is_some())
        })
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    fn touched(rounds: &Rounds, name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("highwater-disk-{}-{name}", std::process::id()));
        let _ = fs::remove_file(&path);
        let file = Arc::new(DiskFile::create(path.clone()).expect("made"));
        file.append(b"x", 0).expect("written");
        rounds.touch(&file, false);
        path
    }

    #[test]
    fn all_who_come_during_a_round_share_the_next_one() {
        let rounds = Rounds::default();
        let path = touched(&rounds, "shared");
        rounds.hold();
        thread::scope(|scope| {
            let callers: Vec<_> = (0..8).map(|_| scope.spawn(|| rounds.wait())).collect();
            while rounds.asked() < 8 {
                thread::yield_now();
            }
            assert!(callers.iter().all(|caller| !caller.is_finished()), "what they wrote may have come too late for this round");
            rounds.release();
            callers.into_iter().for_each(|caller| caller.join().expect("returned").expect("on the disk"));
        });
        assert_eq!(rounds.count(), 2, "one for all of them");
        fs::remove_file(path).expect("there");
    }

    #[test]
    fn what_could_not_be_synced_once_is_never_called_safe_again() {
        let rounds = Rounds::default();
        let refused = LogError::Storage { doing: "sync", path: PathBuf::from("x"), source: Arc::new(io::Error::other("bad disk")) };
        lock(&rounds.state).broken = Some(refused);
        let path = touched(&rounds, "broken");
        assert!(rounds.wait().is_err() && rounds.wait().is_err());
        fs::remove_file(path).expect("there");
    }
}
