//! Results as a file: rows of key, window start, window end and count, as CSV or JSON lines.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::failure::UsageError;
use super::whole_file::{WholeFile, cannot_write};
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

/// Where the results of a running job go.
pub(crate) struct ResultSink {
    format: OutputFormat,
    to: Target,
    /// Kept to the end for a job that has one; else each row is written as it comes.
    table: Option<ResultTable>,
}

enum Target {
    /// Row by row, to what is called so.
    Stream(BufWriter<Box<dyn Write>>, String),
    /// At the end, all or nothing.
    Whole(WholeFile),
}

impl ResultSink {
    /// The file, or standard output as CSV. With `ends`, rows come sorted at the end.
    pub(crate) fn open(path: Option<&Path>, ends: bool) -> Result<Self> {
        let format = path.map_or(Ok(OutputFormat::Csv), OutputFormat::of).map_err(UsageError)?;
        let to = match path {
            None => Target::Stream(BufWriter::new(Box::new(io::stdout())), "cannot write to standard output".to_owned()),
            Some(path) => {
                let whole = WholeFile::reserve(path)?; // says why a file cannot be written, in either case
                if ends { Target::Whole(whole) } else { Target::stream(path)? }
            }
        };
        let mut sink = ResultSink { format, to, table: ends.then(ResultTable::default) };
        if !ends {
            sink.write(|format, out| format.write_header(out))?;
        }
        Ok(sink)
    }

    pub(crate) fn take(&mut self, row: ResultRow) -> Result<()> {
        match &mut self.table {
            Some(table) => {
                table.take(row);
                Ok(())
            }
            None => self.write(|format, out| format.write_row(&row, out)),
        }
    }

    fn write(&mut self, write: impl FnOnce(OutputFormat, &mut dyn Write) -> io::Result<()>) -> Result<()> {
        match &mut self.to {
            Target::Stream(out, failure) => write(self.format, out).with_context(|| failure.clone()),
            Target::Whole(_) => Ok(()),
        }
    }

    /// What was written so far is with the reader.
    pub(crate) fn flush(&mut self) -> Result<()> {
        self.write(|_, out| out.flush())
    }

    /// Writes what was kept to the end. Gives the place of a file that is not the whole result, because the run is not `complete`.
    pub(crate) fn finish(mut self, complete: bool) -> Result<Option<PathBuf>> {
        let table = self.table.take();
        let write = |format, out: &mut dyn Write| table.as_ref().map_or(Ok(()), |table| table.write(format, out));
        if let Target::Whole(file) = self.to {
            let place = file.write(complete, |out| write(self.format, out))?;
            return Ok((!complete).then_some(place));
        }
        self.write(|format, out| write(format, out).and_then(|()| out.flush()))?;
        Ok(None)
    }
}

impl Target {
    fn stream(path: &Path) -> Result<Self> {
        let file = File::create(path).with_context(|| cannot_write(path))?;
        Ok(Target::Stream(BufWriter::new(Box::new(file)), cannot_write(path)))
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
    fn a_job_without_an_end_writes_each_row_as_it_comes() {
        let path = std::env::temp_dir().join(format!("highwater-output-{}.csv", std::process::id()));
        let mut sink = ResultSink::open(Some(&path), false).unwrap();
        for row in [row("b", 0, Some(1)), row("a", 0, Some(1)), row("a", 0, None)] {
            sink.take(row).unwrap();
        }
        assert_eq!(sink.finish(true).unwrap(), None);
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::remove_file(path).unwrap();
        assert_eq!(text, "key,start,end,count\nb,0,10,1\na,0,10,1\na,0,10,\n");
    }

    #[test]
    fn the_name_of_the_file_says_the_format() {
        assert_eq!(OutputFormat::of("x/y.csv".as_ref()), Ok(OutputFormat::Csv));
        assert_eq!(OutputFormat::of("y.jsonl".as_ref()), Ok(OutputFormat::JsonLines));
        assert!(OutputFormat::of("y.parquet".as_ref()).unwrap_err().contains(".jsonl"));
    }
}
