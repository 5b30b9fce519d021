//! Loading a file into the input topic: one record per line, partitioned by the key field as a Kafka producer would.

pub(crate) mod ledger;
pub(crate) mod source;

use std::io::BufRead;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use highwater::kafka::{LogError, Outgoing, Producer, RoundRobin, partition_of};
use highwater::{Headers, Timestamp, TopicPartition};
use serde::{Deserialize, Serialize};

use crate::topologies::row::RowCodec;

/// Lines handed to the log at once.
const BATCH_LINES: usize = 1_000;

/// Some editors begin a file with it; it belongs to no record.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// How long the log may take to acknowledge what was loaded.
const ACKS_WITHIN: Duration = Duration::from_secs(60);

/// What was loaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Fed {
    /// Lines that are not empty.
    pub(crate) lines: u64,
    /// Lines without a key, spread in turns: those that cannot be read, and those that lack the key field.
    pub(crate) keyless: u64,
    /// Where it stands in the file: bytes read.
    pub(crate) bytes: u64,
    /// The same in lines, empty ones included.
    pub(crate) number: u64,
}

/// Where lines go.
pub(crate) trait Intake {
    /// Takes records of one partition.
    fn send(&mut self, partition: &TopicPartition, records: &[Outgoing<'_>]) -> Result<(), LogError>;

    /// Everything up to here was sent. `last`: nothing follows.
    fn mark(&mut self, fed: Fed, last: bool) -> Result<()>;
}

/// Straight into the log: what was sent is there.
pub(crate) struct Straight(pub(crate) Box<dyn Producer>);

impl Intake for Straight {
    fn send(&mut self, partition: &TopicPartition, records: &[Outgoing<'_>]) -> Result<(), LogError> {
        self.0.send(partition, records)
    }

    fn mark(&mut self, _: Fed, last: bool) -> Result<()> {
        if last { acknowledged(&mut *self.0) } else { Ok(()) }
    }
}

/// Waits until the log has everything.
fn acknowledged(producer: &mut dyn Producer) -> Result<()> {
    match producer.flush(ACKS_WITHIN).failed.into_iter().next() {
        Some((partition, error)) => bail!("records for `{partition}` were lost: {error}"),
        None => Ok(()),
    }
}

/// A topic being loaded.
pub(crate) struct Feed<'f> {
    /// Reads the key (field 0) and the time of a line.
    pub(crate) rows: &'f RowCodec,
    pub(crate) topic: &'f str,
    pub(crate) partitions: i32,
    /// The timestamp of a record whose line does not tell one.
    pub(crate) now: Timestamp,
}

/// One record, before it is sent.
struct Line {
    /// Its place in the file, from 1.
    number: u64,
    key: Option<String>,
    value: Vec<u8>,
    timestamp: Timestamp,
}

impl Feed<'_> {
    /// Sends every line that is not empty, in order within each partition. What a line is worth is judged by the job, not here: a line
    /// that cannot be read goes in as it is. `before`: what came of the file before these lines. Tells `on_batch` how far it has come.
    pub(crate) fn load(&self, mut lines: impl BufRead, before: Fed, to: &mut dyn Intake, on_batch: &mut dyn FnMut(Fed)) -> Result<Fed> {
        let (mut fed, mut turns, mut bytes) = (before, RoundRobin::default(), Vec::new());
        let mut batch = Batch::new(self);
        while lines.read_until(b'\n', &mut bytes).with_context(|| format!("line {} cannot be read", fed.number + 1))? > 0 {
            let text = if fed.number == 0 { bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&bytes) } else { &bytes };
            fed.number += 1;
            fed.bytes += bytes.len() as u64;
            let line = self.line(fed.number, text.trim_ascii_end());
            bytes.clear();
            if line.value.is_empty() {
                continue;
            }
            fed.lines += 1;
            fed.keyless += u64::from(line.key.is_none());
            let partition = match &line.key {
                Some(key) => partition_of(key.as_bytes(), self.partitions),
                None => turns.turn(self.partitions),
            };
            batch.add(partition, line);
            if batch.lines == BATCH_LINES {
                batch.send(to)?;
                to.mark(fed, false)?;
                on_batch(fed);
            }
        }
        batch.send(to)?;
        to.mark(fed, true)?;
        Ok(fed)
    }

    fn line(&self, number: u64, bytes: &[u8]) -> Line {
        match self.rows.read(bytes) {
            Ok(mut row) => Line { number, key: row.fields.first_mut().and_then(Option::take), value: row.bytes, timestamp: row.at },
            Err(_) => Line { number, key: None, value: bytes.to_vec(), timestamp: self.now },
        }
    }
}

impl Line {
    fn outgoing<'l>(&'l self, headers: &'l Headers) -> Outgoing<'l> {
        Outgoing {
            key: self.key.as_deref().map(str::as_bytes),
            value: Some(&self.value),
            // A log takes no time before the epoch; the job reads the line's own time again and judges it.
            timestamp: self.timestamp.max(Timestamp::from_millis(0)),
            headers,
        }
    }
}

/// Lines on their way, by partition.
struct Batch {
    partitions: Vec<(TopicPartition, Vec<Line>)>,
    lines: usize,
}

impl Batch {
    fn new(feed: &Feed<'_>) -> Self {
        let partition = |number| (TopicPartition::new(feed.topic, number), Vec::new());
        Batch { partitions: (0..feed.partitions).map(partition).collect(), lines: 0 }
    }

    fn add(&mut self, partition: i32, line: Line) {
        let slot = usize::try_from(partition).expect("partitions count from zero");
        self.partitions[slot].1.push(line);
        self.lines += 1;
    }

    fn send(&mut self, to: &mut dyn Intake) -> Result<()> {
        let headers = Headers::default();
        for (partition, lines) in &mut self.partitions {
            let records: Vec<_> = lines.iter().map(|line| line.outgoing(&headers)).collect();
            to.send(partition, &records).map_err(|error| refused(error, lines))?;
            lines.clear();
        }
        self.lines = 0;
        Ok(())
    }
}

/// Why the log does not take these lines, in the words of the file.
fn refused(error: LogError, lines: &[Line]) -> anyhow::Error {
    match error {
        LogError::RecordTooLarge { partition, index, bytes, limit } => anyhow!(
            "line {} has {bytes} bytes, and a record of `{}` at most {limit}: shorten the line, or take it out",
            lines[index].number,
            partition.topic
        ),
        error => anyhow::Error::from(error).context("the input topic takes no records"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topologies::row::Format;
    use crate::topologies::time_format::TimeFormat;

    /// Keeps what it was sent: partition, key, value, time.
    #[derive(Default)]
    struct Kept(Vec<(i32, Option<String>, String, i64)>);

    impl Intake for Kept {
        fn send(&mut self, partition: &TopicPartition, records: &[Outgoing<'_>]) -> Result<(), LogError> {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            let kept = |record: &Outgoing<'_>| {
                (partition.partition, record.key.map(text), text(record.value.expect("a line")), record.timestamp.as_millis())
            };
            self.0.extend(records.iter().map(kept));
            Ok(())
        }
        fn mark(&mut self, _: Fed, _: bool) -> Result<()> {
            Ok(())
        }
    }

    fn load(text: &[u8], partitions: i32) -> (Fed, Kept) {
        let rows = RowCodec::new(Format::Json, "at".to_owned(), TimeFormat::EpochMs, vec!["key".to_owned()]);
        let feed = Feed { rows: &rows, topic: "t", partitions, now: Timestamp::from_millis(9) };
        let mut kept = Kept::default();
        (feed.load(text, Fed::default(), &mut kept, &mut |_| ()).expect("loads"), kept)
    }

    #[test]
    fn equal_keys_share_a_partition_and_keep_their_order() {
        let lines: String = (0..2_500).map(|i| format!("{{\"key\": \"k{}\", \"at\": {i}}}\n", i % 7)).collect();
        let (fed, kept) = load(lines.as_bytes(), 4);
        assert_eq!(fed, Fed { lines: 2_500, keyless: 0, bytes: lines.len() as u64, number: 2_500 });
        for number in 0..7 {
            let key = format!("k{number}");
            let rows: Vec<_> = kept.0.iter().filter(|row| row.1.as_ref() == Some(&key)).collect();
            assert!(rows.iter().all(|row| row.0 == partition_of(key.as_bytes(), 4)));
            assert!(rows.is_sorted_by_key(|row| row.3) && rows.len() >= 357);
        }
    }

    #[test]
    fn a_byte_order_mark_is_no_part_of_the_first_line() {
        let (fed, kept) = load(b"\xef\xbb\xbf{\"key\": \"a\", \"at\": 1}\n", 1);
        assert_eq!((fed, kept.0[0].1.as_deref()), (Fed { lines: 1, keyless: 0, bytes: 25, number: 1 }, Some("a")));
    }

    #[test]
    fn a_line_that_cannot_be_read_goes_in_without_a_key_in_turn() {
        let (fed, kept) = load(b"nonsense\n\n\xff\n{\"at\": -5}\r\n{\"key\": \"a\", \"at\": 1}", 2);
        assert_eq!((fed.lines, fed.keyless, fed.number), (4, 3, 5));
        let mut rows: Vec<_> = kept.0.iter().map(|row| (row.0, row.1.as_deref(), &*row.2, row.3)).collect();
        rows.sort();
        let a = partition_of(b"a", 2);
        let mut expected = vec![
            (0, None, "nonsense", 9),
            (1, None, "\u{fffd}", 9),
            (0, None, "{\"at\": -5}", 0),
            (a, Some("a"), "{\"key\": \"a\", \"at\": 1}", 1),
        ];
        expected.sort();
        assert_eq!(rows, expected);
    }
}
