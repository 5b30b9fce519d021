//! The door of a live folder: a socket at which the process that has the log answers what others want to know of it.
//!
//! It is called `socket` and lies in the folder, or among the temporary files if the path would be too long for a socket; the file `socket.path`
//! says where. What a killed process leaves behind is removed by the next owner, and nobody asks there while nobody has the lock.

mod caller;
mod wire;

use std::fs;
use std::io::{self, BufReader, BufWriter};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

pub(super) use self::caller::Caller;
use self::wire::{Answer, Request};
use super::{MemoryLog, Shared};
use crate::clock::let_others_go_on;
use crate::kafka::{FetchLimit, LogError};
use crate::record::{Headers, Timestamp};

/// Bytes that the address of a socket may have, the end mark included.
const LONGEST_PATH: usize = 104;
/// Callers that are served at one time.
const CALLERS: usize = 16;
/// How long a caller may take to say what it wants.
const PATIENCE: Duration = Duration::from_secs(30);
/// Records that one answer holds.
const LARGEST: FetchLimit = FetchLimit { records: 5_000, bytes: 4 << 20 };

/// The open door; dropping it shuts it.
#[derive(Debug)]
pub(super) struct Door {
    socket: PathBuf,
    note: PathBuf,
    shut: Arc<AtomicBool>,
    /// The socket that callers come to; only to be shut down.
    listening: UnixStream,
}

impl Door {
    /// Opens the door of a folder.
    pub(super) fn open(folder: &Path, log: &Arc<Shared>) -> io::Result<Self> {
        let (socket, note) = (place(&fs::canonicalize(folder)?), note_of(folder));
        let _ = fs::remove_file(&socket);
        let listener = UnixListener::bind(&socket)?;
        fs::write(&note, socket.as_os_str().as_encoded_bytes())?;
        let listening = UnixStream::from(OwnedFd::from(listener.try_clone()?));
        let (shut, log) = (Arc::new(AtomicBool::new(false)), Arc::downgrade(log));
        let seen = shut.clone();
        thread::Builder::new().name("highwater-log-door".to_owned()).spawn(move || welcome(&listener, &log, &seen))?;
        Ok(Door { socket, note, shut, listening })
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.shut.store(true, Ordering::SeqCst);
        // Wakes the one who waits for callers, also where the folder is gone; on systems where that does nothing, a call does.
        let _ = self.listening.shutdown(Shutdown::Both);
        let _ = UnixStream::connect(&self.socket);
        let _ = fs::remove_file(&self.socket);
        let _ = fs::remove_file(&self.note);
    }
}

/// Where the socket of a folder is.
fn place(folder: &Path) -> PathBuf {
    let inside = folder.join("socket");
    if inside.as_os_str().len() < LONGEST_PATH {
        return inside;
    }
    let name = format!("highwater-{}-{:08x}.socket", std::process::id(), crc32c::crc32c(folder.as_os_str().as_encoded_bytes()));
    let among_temporary = std::env::temp_dir().join(&name);
    if among_temporary.as_os_str().len() < LONGEST_PATH { among_temporary } else { Path::new("/tmp").join(name) }
}

fn note_of(folder: &Path) -> PathBuf {
    folder.join("socket.path")
}

/// Serves one caller after the other, each in a thread of its own.
fn welcome(listener: &UnixListener, log: &Weak<Shared>, shut: &AtomicBool) {
    let inside = Arc::new(AtomicUsize::new(0));
    for stream in listener.incoming() {
        if shut.load(Ordering::SeqCst) {
            return;
        }
        let Ok(stream) = stream else {
            let_others_go_on(Duration::from_millis(50)); // no descriptor is free, say
            continue;
        };
        if inside.load(Ordering::SeqCst) >= CALLERS {
            continue; // hangs up
        }
        inside.fetch_add(1, Ordering::SeqCst);
        let (log, counted) = (log.clone(), inside.clone());
        let serve = move || {
            // Whoever hangs up in the middle harms nobody.
            let _ = serve(&stream, &log);
            counted.fetch_sub(1, Ordering::SeqCst);
        };
        if thread::Builder::new().name("highwater-log-caller".to_owned()).spawn(serve).is_err() {
            inside.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

/// Answers until the caller hangs up or the log is gone.
fn serve(stream: &UnixStream, log: &Weak<Shared>) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let (mut from, mut to) = (BufReader::new(stream), BufWriter::new(stream));
    while let Some(message) = wire::receive(&mut from)? {
        let Some(shared) = log.upgrade() else { return Ok(()) };
        let log = MemoryLog(shared, Arc::default());
        let answer = match Request::read(&message) {
            Some(request) => answer(&log, &request),
            None => Answer::Refused("this process speaks another version".to_owned()),
        };
        // Who has its answer finds the log closed when its last handle is dropped.
        drop(log);
        wire::send(&mut to, |into| answer.put(into))?;
    }
    Ok(())
}

fn answer(log: &MemoryLog, request: &Request) -> Answer {
    let answered = match request {
        Request::Topics => log.standing().map(Answer::Topics),
        Request::Groups => Ok(Answer::Groups(log.group_standing())),
        Request::Read { partition, from, isolation, limit } => {
            let limit = FetchLimit { records: limit.records.min(LARGEST.records), bytes: limit.bytes.min(LARGEST.bytes) };
            let mut records = Vec::new();
            let fetched = log.read_once(partition, *from, *isolation, limit, &mut |record| wire::put_record(&mut records, &record));
            fetched.map(|fetched| Answer::Records { fetched, records })
        }
    };
    answered.unwrap_or_else(Answer::Error)
}

/// A record as it was sent.
#[derive(Debug)]
struct Sent<'a> {
    offset: i64,
    timestamp: Timestamp,
    key: Option<&'a [u8]>,
    value: Option<&'a [u8]>,
    headers: Headers,
}

/// Nobody answers.
fn unanswered(folder: &Path, reason: impl ToString) -> LogError {
    LogError::Unanswered { folder: folder.to_owned(), owner: super::files::owner_of(folder), reason: reason.to_string() }
}
