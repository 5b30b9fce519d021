//! What a person types.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use super::job::duration;

/// Kafka Streams for Rust, with event-time watermarks per partition, in one static binary.
#[derive(Debug, Parser)]
#[command(name = "highwater", version, max_term_width = 110, after_help = AFTER_HELP)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

const AFTER_HELP: &str = "\
Start here:
  highwater demo                          a live windowed count, for 20 seconds
  highwater list windowed-counts          a job file to start from
  highwater run job.yaml --feed access.log --until end --output counts.csv

Exit status: 0 all went well, 1 the job failed, 2 the command line or the job file is wrong.
Set HIGHWATER_LOG=info (or debug, or highwater=trace) to see on standard error what the engine does.";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show a live windowed count on the terminal: generated page views, windows as they close, late records
    Demo(DemoArgs),
    /// Run a prebuilt job from its job file
    Run(RunArgs),
    /// Show the topology of a job file, without running it
    Describe(DescribeArgs),
    /// List the prebuilt jobs, or print a job file to start from
    List(ListArgs),
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  highwater demo
  highwater demo --for 1m --rate 20000
  highwater demo --seed 7 | less          plain lines where there is no terminal

Ctrl-C ends it early: what was counted is committed, and it says where it stands.")]
pub(crate) struct DemoArgs {
    /// How long to go on: 20s, 5m
    #[arg(long = "for", value_name = "DURATION", default_value = "20s", value_parser = wall_time)]
    pub(crate) duration: Duration,
    /// Page views per second
    #[arg(long, value_name = "N", default_value_t = 5_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) rate: u32,
    /// The same number gives the same views
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,
    /// Threads that process records
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) threads: u16,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  highwater run job.yaml --feed access.log --until end
  highwater run job.yaml --feed access.log --partitions 4 --until end --output counts.csv
  zcat access.log.gz | highwater run job.yaml --feed - --until end --output counts.jsonl

The log is in the memory of this process, so --feed is where records come from.

With --until, the results are the last count of each key and window, sorted; without it they are written as they come. \
Windows are milliseconds since the epoch: [start, end), for sessions and sliding windows [start, end]. \
Without --output they go to standard output as CSV, and the summary to standard error.

With --until, the file of --output appears when the run is complete; until then, and if it fails, the file of the run before stays. \
Ctrl-C ends the run with status 1 and leaves what was counted so far in a file of that name with `.part` behind it.")]
pub(crate) struct RunArgs {
    /// The job file
    #[arg(value_name = "JOB.yaml")]
    pub(crate) job: PathBuf,
    /// Load this file into the input topic, a record per line; `-` is standard input. The job starts when it is read to its end
    #[arg(long, value_name = "FILE")]
    pub(crate) feed: Option<PathBuf>,
    /// Partitions of the input topic; lines are spread by the job's key
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) partitions: u16,
    /// When the input is over; every window then closes. Without it the job runs until Ctrl-C
    #[arg(long, value_name = "WHEN")]
    pub(crate) until: Option<Until>,
    /// Write the results to this file, `.csv` or `.jsonl`
    #[arg(long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Threads that process records
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) threads: u16,
}

/// When the input is declared over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Until {
    /// When the fed file is read to its end
    End,
    /// At what the topics hold when the job starts
    Now,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  highwater describe job.yaml
  highwater describe job.yaml --explain
  highwater describe job.yaml --format dot | dot -Tsvg > job.svg")]
pub(crate) struct DescribeArgs {
    /// The job file
    #[arg(value_name = "JOB.yaml")]
    pub(crate) job: PathBuf,
    /// The text of Kafka Streams, or a graph for Graphviz or Mermaid
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(crate) format: DescribeFormat,
    /// Say why each repartition topic exists, and when each window closes
    #[arg(long, conflicts_with = "format")]
    pub(crate) explain: bool,
}

/// How a topology is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum DescribeFormat {
    /// As Kafka Streams prints it
    Text,
    /// For Graphviz
    Dot,
    /// For Mermaid
    Mermaid,
}

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Print an example job file of this job
    #[arg(value_name = "JOB")]
    pub(crate) job: Option<String>,
}

fn wall_time(text: &str) -> Result<Duration, String> {
    duration(text)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_arguments_fit_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_bad_duration_says_how_to_write_one() {
        let error = Cli::try_parse_from(["highwater", "demo", "--for", "20"]).expect_err("no unit");
        assert!(error.to_string().contains("such as `10s`"), "{error}");
    }
}
