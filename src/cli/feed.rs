//! Loading a file into the input topic: one record per line, partitioned by the key field as a Kafka producer would.

use std::io::BufRead;

use anyhow::{Context, Result, anyhow};
use highwater::kafka::{LogError, Outgoing, Producer, RoundRobin, partition_of};
use highwater::{Headers, Timestamp, TopicPartition};

use crate::topologies::row::RowCodec;

/// Lines handed to the log at once.
const BATCH_LINES: usize = 1_000;

/// Some editors begin a file with it; it belongs to no record.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// What was loaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fed {
    pub(crate) lines: u64,
    /// Lines without a key, spread in turns: those that cannot be read, and those that lack the key field.
    pub(crate) keyless: u64,
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
    /// that cannot be read goes in as it is. Tells `on_batch` how far it has come.
    pub(crate) fn load(&self, mut lines: impl BufRead, producer: &mut dyn Producer, on_batch: &mut dyn FnMut(Fed)) -> Result<Fed> {
        let (mut fed, mut turns, mut bytes) = (Fed::default(), RoundRobin::default(), Vec::new());
        let mut batch = Batch::new(self);
        let mut number = 0;
        while lines.read_until(b'\n', &mut bytes).with_context(|| format!("line {} cannot be read", number + 1))? > 0 {
            let text = if number == 0 { bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&bytes) } else { &bytes };
            number += 1;
            let line = self.line(number, text.trim_ascii_end());
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
                batch.send(producer)?;
                on_batch(fed);
            }
        }
        batch.send(producer)?;
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

    fn send(&mut self, producer: &mut dyn Producer) -> Result<()> {
        let headers = Headers::default();
        for (partition, lines) in &mut self.partitions {
            let records: Vec<_> = lines.iter().map(|line| line.outgoing(&headers)).collect();
            producer.send(partition, &records).map_err(|error| refused(error, lines))?;
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
    use std::time::Duration;

    use highwater::kafka::Flushed;

    use super::*;
    use crate::topologies::row::Format;
    use crate::topologies::time_format::TimeFormat;

    /// Keeps what it was sent: partition, key, value, time.
    #[derive(Default)]
    struct Kept(Vec<(i32, Option<String>, String, i64)>);

    impl Producer for Kept {
        fn send(&mut self, partition: &TopicPartition, records: &[Outgoing<'_>]) -> Result<(), LogError> {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            let kept = |record: &Outgoing<'_>| {
                (partition.partition, record.key.map(text), text(record.value.expect("a line")), record.timestamp.as_millis())
            };
            self.0.extend(records.iter().map(kept));
            Ok(())
        }
        fn flush(&mut self, _: Duration) -> Flushed {
            Flushed::default()
        }
        fn partition_count(&mut self, _: &str) -> Result<i32, LogError> {
            Ok(0)
        }
    }

    fn load(text: &[u8], partitions: i32) -> (Fed, Kept) {
        let rows = RowCodec::new(Format::Json, "at".to_owned(), TimeFormat::EpochMs, vec!["key".to_owned()]);
        let feed = Feed { rows: &rows, topic: "t", partitions, now: Timestamp::from_millis(9) };
        let mut kept = Kept::default();
        (feed.load(text, &mut kept, &mut |_| ()).expect("loads"), kept)
    }

    #[test]
    fn equal_keys_share_a_partition_and_keep_their_order() {
        let lines: String = (0..2_500).map(|i| format!("{{\"key\": \"k{}\", \"at\": {i}}}\n", i % 7)).collect();
        let (fed, kept) = load(lines.as_bytes(), 4);
        assert_eq!(fed, Fed { lines: 2_500, keyless: 0 });
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
        assert_eq!((fed, kept.0[0].1.as_deref()), (Fed { lines: 1, keyless: 0 }, Some("a")));
    }

    #[test]
    fn a_line_that_cannot_be_read_goes_in_without_a_key_in_turn() {
        let (fed, kept) = load(b"nonsense\n\n\xff\n{\"at\": -5}\r\n{\"key\": \"a\", \"at\": 1}", 2);
        assert_eq!(fed, Fed { lines: 4, keyless: 3 });
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
