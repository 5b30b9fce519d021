//! Results as a file: rows of key, window start, window end and count, as CSV or JSON lines.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;

use crate::topologies::windowed_counts::ResultRow;

/// How rows are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OutputFormat {
    Csv,
    JsonLines,
}

impl OutputFormat {
    /// By the end of the file's name.
    pub(crate) fn of(path: &Path) -> Result<Self, String> {
        match path.extension().and_then(|end| end.to_str()) {
            Some("csv") => Ok(OutputFormat::Csv),
            Some("jsonl" | "ndjson") => Ok(OutputFormat::JsonLines),
            _ => Err(format!("`{}` must end in `.csv` or `.jsonl`, which says the format", path.display())),
        }
    }

    pub(crate) fn write_header(self, out: &mut dyn Write) -> io::Result<()> {
        match self {
            OutputFormat::Csv => writeln!(out, "key,start,end,count"),
            OutputFormat::JsonLines => Ok(()),
        }
    }

    pub(crate) fn write_row(self, row: &ResultRow, out: &mut dyn Write) -> io::Result<()> {
        match self {
            OutputFormat::Csv => {
                let count = row.count.map(|count| count.to_string()).unwrap_or_default();
                writeln!(out, "{},{},{},{count}", csv_text(row.key.as_deref().unwrap_or_default()), row.start, row.end)
            }
            OutputFormat::JsonLines => {
                serde_json::to_writer(&mut *out, row)?;
                out.write_all(b"\n")
            }
        }
    }
}

/// A field of a CSV line, in quotes where it must be.
fn csv_text(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.to_owned() }
}

/// The results of a job that ends: the last count of each key and window, sorted by key, start and end. Two runs over the same input
/// give the same file, however their threads took turns.
#[derive(Debug, Default)]
pub(crate) struct ResultTable(BTreeMap<(Option<String>, i64, i64), i64>);

impl ResultTable {
    pub(crate) fn take(&mut self, row: ResultRow) {
        let window = (row.key, row.start, row.end);
        match row.count {
            Some(count) => self.0.insert(window, count),
            None => self.0.remove(&window),
        };
    }

    pub(crate) fn write(&self, format: OutputFormat, out: &mut dyn Write) -> io::Result<()> {
        format.write_header(out)?;
        for ((key, start, end), count) in &self.0 {
            format.write_row(&ResultRow { key: key.clone(), start: *start, end: *end, count: Some(*count) }, out)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(key: &str, start: i64, count: Option<i64>) -> ResultRow {
        ResultRow { key: Some(key.to_owned()), start, end: start + 10, count }
    }

    fn written(format: OutputFormat, rows: Vec<ResultRow>) -> String {
        let (mut table, mut out) = (ResultTable::default(), Vec::new());
        rows.into_iter().for_each(|row| table.take(row));
        table.write(format, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_table_holds_the_last_count_of_each_window_in_order() {
        let rows = vec![row("b", 0, Some(1)), row("a", 20, Some(5)), row("a", 0, Some(1)), row("a", 0, Some(2)), row("b", 0, None)];
        assert_eq!(written(OutputFormat::Csv, rows), "key,start,end,count\na,0,10,2\na,20,30,5\n");
    }

    #[test]
    fn a_key_with_a_comma_is_quoted() {
        assert_eq!(written(OutputFormat::Csv, vec![row("a,\"b\"", 0, Some(1))]), "key,start,end,count\n\"a,\"\"b\"\"\",0,10,1\n");
    }

    #[test]
    fn json_lines_name_their_columns_in_order() {
        assert_eq!(written(OutputFormat::JsonLines, vec![row("a", 0, Some(1))]), "{\"key\":\"a\",\"start\":0,\"end\":10,\"count\":1}\n");
    }

    #[test]
    fn the_name_of_the_file_says_the_format() {
        assert_eq!(OutputFormat::of("x/y.csv".as_ref()), Ok(OutputFormat::Csv));
        assert_eq!(OutputFormat::of("y.jsonl".as_ref()), Ok(OutputFormat::JsonLines));
        assert!(OutputFormat::of("y.parquet".as_ref()).unwrap_err().contains(".jsonl"));
    }
}
