//! `highwater topics`: what is in the log of a folder, or on a cluster.

use std::io::{self, Write};

use anyhow::Result;
use highwater::kafka::{Isolation, PartitionStanding, TopicStanding};
use serde_json::{Value, json};

use super::args::TopicsArgs;
use super::cluster;
use super::look::Sight;

pub(crate) fn run(args: &TopicsArgs) -> Result<()> {
    let sight = match &args.folder {
        Some(folder) => Sight::Folder(folder.clone()),
        None => Sight::Cluster(cluster::must(&args.cluster)?),
    };
    // Of its own files a log knows the bytes, of a cluster nobody says them.
    let bytes = args.folder.is_some();
    let topics = sight.open(Isolation::ReadUncommitted)?.topics()?;
    let mut out = io::stdout().lock();
    if args.json {
        for topic in &topics {
            writeln!(out, "{}", object(topic, bytes))?;
        }
    } else {
        out.write_all(table(&topics, bytes).as_bytes())?;
    }
    Ok(())
}

fn object(topic: &TopicStanding, with_bytes: bool) -> Value {
    let partition = |(number, standing): (usize, &PartitionStanding)| {
        let PartitionStanding { begin, end, stable_end, bytes } = *standing;
        let mut standing = json!({ "partition": number, "begin": begin, "end": end, "stable_end": stable_end });
        if with_bytes {
            standing["bytes"] = bytes.into();
        }
        standing
    };
    let partitions: Vec<_> = topic.partitions.iter().enumerate().map(partition).collect();
    json!({ "topic": topic.name, "partitions": partitions, "config": topic.config })
}

/// The column of bytes.
const BYTES: usize = 5;

/// One line for each partition, in columns.
fn table(topics: &[TopicStanding], with_bytes: bool) -> String {
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
    if !with_bytes {
        rows.iter_mut().for_each(|row| drop(row.remove(BYTES)));
    }
    in_columns(&rows)
}

/// Columns of text to the left, columns of numbers to the right.
pub(crate) fn in_columns(rows: &[Vec<String>]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<_> = (0..rows[0].len()).map(width).collect();
    let is_number = |text: &String| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    // A dash stands for a number that is not known.
    let of_numbers = |column: usize| {
        let cells = || rows[1..].iter().map(|row| &row[column]);
        cells().any(is_number) && cells().all(|text| is_number(text) || text == "-")
    };
    let numbers: Vec<_> = (0..rows[0].len()).map(of_numbers).collect();
    let cell = |(column, text): (usize, &String)| match column {
        _ if numbers[column] => format!("{text:>width$}", width = widths[column]),
        _ if column + 1 == widths.len() => text.clone(),
        _ => format!("{text:<width$}", width = widths[column]),
    };
    let line = |row: &Vec<String>| row.iter().enumerate().map(cell).collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n";
    rows.iter().map(line).collect()
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
        assert_eq!(table(std::slice::from_ref(&topic), true), expected);
        assert_eq!(table(&[topic], false), expected.replace("  BYTES", "").replace("   1000  ", "  "));
    }
}
