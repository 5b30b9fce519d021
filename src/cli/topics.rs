//! `highwater topics`: what is in the log of a folder.

use std::io::{self, Write};
use std::path::Path;

use anyhow::Result;
use highwater::kafka::{FileLog, LogError, LogReader, PartitionStanding, TopicStanding};
use serde_json::{Value, json};

use super::args::TopicsArgs;
use super::failure::UsageError;

pub(crate) fn run(args: &TopicsArgs) -> Result<()> {
    let mut reader = open(&args.folder)?;
    let topics = reader.topics()?;
    let mut out = io::stdout().lock();
    if args.json {
        for topic in &topics {
            writeln!(out, "{}", object(topic))?;
        }
    } else {
        out.write_all(table(&topics).as_bytes())?;
    }
    Ok(())
}

/// A reader of the log in a folder, or in the folder of a job (`run --data`), where it lies beside the state.
pub(crate) fn open(folder: &Path) -> Result<LogReader> {
    let opened = match FileLog::open_or_ask(folder) {
        Err(LogError::NoLog(_)) if folder.join("log").is_dir() => FileLog::open_or_ask(folder.join("log")),
        opened => opened,
    };
    opened.map_err(|error| match error {
        LogError::NoLog(_) => UsageError(error.to_string()).into(),
        other => other.into(),
    })
}

fn object(topic: &TopicStanding) -> Value {
    let partition = |(number, standing): (usize, &PartitionStanding)| {
        let PartitionStanding { begin, end, stable_end, bytes } = *standing;
        json!({ "partition": number, "begin": begin, "end": end, "stable_end": stable_end, "bytes": bytes })
    };
    let partitions: Vec<_> = topic.partitions.iter().enumerate().map(partition).collect();
    json!({ "topic": topic.name, "partitions": partitions, "config": topic.config })
}

/// One line for each partition, in columns.
fn table(topics: &[TopicStanding]) -> String {
    if topics.is_empty() {
        return "no topics yet\n".to_owned();
    }
    let mut rows = vec![["TOPIC", "PARTITION", "BEGIN", "END", "UNDECIDED", "BYTES", "POLICY"].map(str::to_owned).to_vec()];
    for topic in topics {
        let policy = topic.config.get("cleanup.policy").map_or("delete", String::as_str);
        for (number, partition) in topic.partitions.iter().enumerate() {
            let undecided = partition.end - partition.stable_end;
            let numbers = [number as i64, partition.begin, partition.end, undecided].map(|number| number.to_string());
            let around = [partition.bytes.to_string(), policy.to_owned()];
            rows.push([topic.name.clone()].into_iter().chain(numbers).chain(around).collect());
        }
    }
    in_columns(&rows)
}

/// Text to the left, numbers to the right.
fn in_columns(rows: &[Vec<String>]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<_> = (0..rows[0].len()).map(width).collect();
    let cell = |(column, text): (usize, &String)| match column {
        0 => format!("{text:<width$}", width = widths[0]),
        _ if column + 1 == widths.len() => text.clone(),
        _ => format!("{text:>width$}", width = widths[column]),
    };
    rows.iter().map(|row| row.iter().enumerate().map(cell).collect::<Vec<_>>().join("  ") + "\n").collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn a_table_has_a_line_for_each_partition() {
        let standing = |end, stable_end| PartitionStanding { begin: 0, end, stable_end, bytes: 1000 };
        let config = BTreeMap::from([("cleanup.policy".to_owned(), "compact".to_owned())]);
        let topic = TopicStanding { name: "orders".to_owned(), partitions: vec![standing(7, 7), standing(1200, 1100)], config };
        let expected = "\
TOPIC   PARTITION  BEGIN   END  UNDECIDED  BYTES  POLICY
orders          0      0     7          0   1000  compact
orders          1      0  1200        100   1000  compact
";
        assert_eq!(table(&[topic]), expected);
    }
}
