//! The one who asks at the door of a live folder.

use std::fs;
use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::wire::{self, Answer, Request};
use super::{PATIENCE, note_of, unanswered};
use crate::clock::let_others_go_on;
use crate::kafka::embedded::reader::{GroupStanding, TopicStanding};
use crate::kafka::{FetchLimit, Fetched, Isolation, LogError};
use crate::record::{RawRecord, TopicPartition};

/// How long an owner may take to open its door after it has taken the folder.
const TRIES: u32 = 1_000;
const PAUSE: Duration = Duration::from_millis(40);

/// A line to the process that has a folder.
#[derive(Debug)]
pub(in crate::kafka::embedded) struct Caller {
    folder: PathBuf,
    stream: UnixStream,
}

impl Caller {
    /// Calls the process that has a folder. Before each try `vacant` says what is there if nobody has it any more: an owner may go, and it may go
    /// without having opened its door.
    pub(in crate::kafka::embedded) fn or_vacant<T>(
        folder: &Path,
        mut vacant: impl FnMut() -> Result<Option<T>, LogError>,
    ) -> Result<Result<Self, T>, LogError> {
        let mut failed = String::new();
        for _ in 0..TRIES {
            if let Some(left) = vacant()? {
                return Ok(Err(left));
            }
            match connect(folder) {
                Ok(stream) => return Ok(Ok(Caller { folder: folder.to_owned(), stream })),
                Err(error) => failed = error.to_string(),
            }
            let_others_go_on(PAUSE);
        }
        Err(unanswered(folder, failed))
    }

    pub(in crate::kafka::embedded) fn topics(&mut self) -> Result<Vec<TopicStanding>, LogError> {
        match self.ask(&Request::Topics)? {
            Answer::Topics(topics) => Ok(topics),
            other => Err(self.odd(other)),
        }
    }

    pub(in crate::kafka::embedded) fn groups(&mut self) -> Result<Vec<GroupStanding>, LogError> {
        match self.ask(&Request::Groups)? {
            Answer::Groups(groups) => Ok(groups),
            other => Err(self.odd(other)),
        }
    }

    pub(in crate::kafka::embedded) fn read(
        &mut self,
        partition: &TopicPartition,
        from: i64,
        isolation: Isolation,
        limit: FetchLimit,
        visit: &mut dyn FnMut(RawRecord<'_>),
    ) -> Result<Fetched, LogError> {
        match self.ask(&Request::Read { partition: partition.clone(), from, isolation, limit })? {
            Answer::Records { fetched, records } => {
                let (topic, partition) = (&*partition.topic, partition.partition);
                let visited = wire::visit_records(&records, &mut |sent| {
                    let (offset, timestamp, key, value, headers) = (sent.offset, sent.timestamp, sent.key, sent.value, &sent.headers);
                    visit(RawRecord { topic, partition, offset, key, value, timestamp, headers });
                });
                visited.map(|()| fetched).ok_or_else(|| unanswered(&self.folder, "it sent what are no records"))
            }
            other => Err(self.odd(other)),
        }
    }

    fn ask(&mut self, request: &Request) -> Result<Answer, LogError> {
        let mut exchange = || {
            wire::send(&mut self.stream, |into| request.put(into))?;
            wire::receive(&mut self.stream)
        };
        let message = exchange().map_err(|error: io::Error| unanswered(&self.folder, error))?;
        let message = message.ok_or_else(|| unanswered(&self.folder, "it has hung up"))?;
        Answer::read(&message).ok_or_else(|| unanswered(&self.folder, "it speaks another version"))
    }

    fn odd(&self, answer: Answer) -> LogError {
        match answer {
            Answer::Error(error) => error,
            Answer::Refused(reason) => unanswered(&self.folder, reason),
            _ => unanswered(&self.folder, "it answers something else"),
        }
    }
}

fn connect(folder: &Path) -> io::Result<UnixStream> {
    let said = fs::read_to_string(note_of(folder))?;
    // A folder may go by another name here than in the process that has it.
    let stream = UnixStream::connect(said).or_else(|_| UnixStream::connect(folder.join("socket")))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}
