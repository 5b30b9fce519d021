//! What a person types.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use highwater::kafka::Isolation;

use super::job::duration;
use super::shape::Shape;

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
  highwater demo --crash                  a count that is killed in mid-flight and loses nothing
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
    /// Show what a job needs of its cluster before it runs: topics and permissions; make those topics
    Plan(PlanArgs),
    /// List the prebuilt jobs, or print a job file to start from
    List(ListArgs),
    /// Show the topics of a cluster, or of a log in a folder, whether a process has it or not
    Topics(TopicsArgs),
    /// Show the records of a topic of a cluster, or of a log in a folder, whether a process has it or not
    Read(ReadArgs),
    /// Show who runs an application, with which tasks, and how far it is behind its inputs
    Status(StatusArgs),
    /// The process that `demo --crash` kills
    #[command(hide = true)]
    DemoWorker(DemoWorkerArgs),
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  highwater demo
  highwater demo --for 1m --rate 20000
  highwater demo --seed 7 | less          plain lines where there is no terminal
  highwater demo --crash                  a count on disk that is killed three times and loses nothing
  highwater demo --crash --bootstrap broker:9092    the same on a cluster, on topics of its own

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
    /// Another demo: count on disk, exactly once, in a process that is killed with SIGKILL in mid-flight; then prove the totals
    #[arg(long, conflicts_with_all = ["duration", "rate", "seed", "threads"])]
    pub(crate) crash: bool,
    /// How often the counting process is killed
    #[arg(long, value_name = "N", default_value_t = 3, requires = "crash", value_parser = clap::value_parser!(u32).range(0..=50))]
    pub(crate) kills: u32,
    /// Records to count
    #[arg(long, value_name = "N", default_value_t = 300_000, requires = "crash", value_parser = clap::value_parser!(u64).range(1_000..=100_000_000))]
    pub(crate) records: u64,
    /// Where the log and the state are; a new or empty folder. Without it, in the system's temporary folder
    #[arg(long, value_name = "DIR", requires = "crash")]
    pub(crate) folder: Option<PathBuf>,
    /// Leave the log and the state where they are
    #[arg(long, requires = "crash")]
    pub(crate) keep: bool,
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
}

/// What the demo tells the process that it kills.
#[derive(Debug, Args)]
pub(crate) struct DemoWorkerArgs {
    #[arg(long)]
    pub(crate) folder: PathBuf,
    #[arg(long)]
    pub(crate) records: u64,
    /// From so many visits on it goes slowly: it is about to be killed
    #[arg(long)]
    pub(crate) slows_at: Option<u64>,
    /// What stands before the names on a cluster
    #[arg(long)]
    pub(crate) run: Option<String>,
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  highwater run job.yaml --feed access.log --until end
  highwater run job.yaml --feed access.log --partitions 4 --until end --output counts.csv
  zcat access.log.gz | highwater run job.yaml --feed - --until end --output counts.jsonl
  highwater run job.yaml --feed access.log --data counts.d --until end --output counts.csv
  highwater run job.yaml --bootstrap broker:9092
  highwater run job.yaml --kafka-config client.properties -X sasl.password='${file:/run/secrets/kafka}'

Without a cluster and without --data, the log is in the memory of this process, so --feed is where records come from; all of the file is kept in memory.

With --data, log and state are in a folder. However the process ends, the same command goes on where it was: no line is loaded twice, nothing \
is counted twice, and what was counted is not counted again. A file that has grown since is loaded from where it stood. Look into the \
folder with `highwater topics` and `highwater read`.

With --bootstrap or --kafka-config, or with `kafka` in the job file, the job runs on that cluster, on topics that exist there, and its state is \
in the folder of --state-dir. Settings are librdkafka's or those of Kafka's clients in Java; a value may be ${env:NAME}, ${file:/path}, \
${file:/path:key} or ${dir:/path:name}. Results are in the output topic; they are written as rows too if --output names a file.

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
    /// Keep log and state in this folder, so that a run that was killed can go on
    #[arg(long, value_name = "FOLDER", conflicts_with_all = ["bootstrap", "kafka_config", "properties", "state_dir"])]
    pub(crate) data: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
    /// On a cluster: keep state in this folder, one for each process [default: highwater in $XDG_DATA_HOME or ~/.local/share]
    #[arg(long, value_name = "FOLDER")]
    pub(crate) state_dir: Option<PathBuf>,
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

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  highwater status --bootstrap broker:9092 --application-id page-counts
  highwater status --bootstrap broker:9092 --application-id page-counts --json | jq .lag
  highwater status --data state --application-id page-counts

Lag is what lies between the committed position and the end of what is decided. Kafka's own tools show the same positions, but not who reads what: \
the members own partitions of `<application>-tasks-*`, and read the inputs that belong to them.")]
pub(crate) struct StatusArgs {
    /// The application: `application` in its job file, `Settings::application_id` in a program
    #[arg(long, value_name = "NAME")]
    pub(crate) application_id: String,
    /// Look into the log of this folder, or of the folder of a job
    #[arg(long, value_name = "FOLDER", conflicts_with_all = ["bootstrap", "kafka_config", "properties"])]
    pub(crate) data: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
    /// Print an object
    #[arg(long)]
    pub(crate) json: bool,
}

/// How a cluster is reached.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct ClusterArgs {
    /// Work on this cluster: addresses of some of its brokers, with commas between
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) bootstrap: Option<String>,
    /// Reach the cluster as this properties file says
    #[arg(long, value_name = "FILE")]
    pub(crate) kafka_config: Option<PathBuf>,
    /// One setting of the client more; may be said several times
    #[arg(short = 'X', value_name = "KEY=VALUE", value_parser = property)]
    pub(crate) properties: Vec<Property>,
}

impl ClusterArgs {
    /// Whether anything was said about a cluster.
    pub(crate) fn is_said(&self) -> bool {
        self.bootstrap.is_some() || self.kafka_config.is_some() || !self.properties.is_empty()
    }
}

/// One setting of the client.
#[cfg_attr(not(feature = "kafka"), allow(dead_code, reason = "this build knows no clusters"))]
#[derive(Clone)]
pub(crate) struct Property {
    pub(crate) key: String,
    pub(crate) value: String,
}

/// Without the value: it may be a password.
impl fmt::Debug for Property {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}=…", self.key)
    }
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

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  highwater plan job.yaml --partitions 12
  highwater plan job.yaml --bootstrap broker:9092
  highwater plan job.yaml --bootstrap broker:9092 --apply-topics

Where a job may make no topics (`topics: {create: never}` in its file), somebody who may runs this with --apply-topics. With a cluster, the \
partitions are counted there; the topics that the job file names must exist.")]
pub(crate) struct PlanArgs {
    /// The job file
    #[arg(value_name = "JOB.yaml")]
    pub(crate) job: PathBuf,
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
    /// Without a cluster: partitions of the input topic
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) partitions: u16,
    /// Make the internal topics that are missing
    #[arg(long)]
    pub(crate) apply_topics: bool,
    /// Who the commands for the permissions name
    #[arg(long, value_name = "PRINCIPAL", default_value = "User:NAME")]
    pub(crate) principal: String,
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

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  highwater topics state/log
  highwater topics --bootstrap broker:9092
  highwater topics state/log --json | jq .topic

A line for each partition: its first offset, its end, how many offsets wait for a transaction, its bytes, and what becomes of old records. \
If a process has the folder, that process is asked; nothing is changed in either case.")]
pub(crate) struct TopicsArgs {
    /// The folder of the log
    #[arg(value_name = "FOLDER", conflicts_with_all = ["bootstrap", "kafka_config", "properties"])]
    pub(crate) folder: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
    /// Print an object for each topic, with all of its settings
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  highwater read state/log orders
  highwater read state/log orders --partition 2 --from 1500 --limit 10
  highwater read state/log orders --from -5             the last five offsets of each partition
  highwater read state/log counts --from latest --follow
  highwater read state/log orders --json | jq -r .value
  highwater read state/log counts --key windowed --value long
  highwater read --bootstrap broker:9092 orders --from -5

A line for each record, with tabs between its fields: partition, offset, time, key, value, headers. What is no text is shown as 0x and its digits; a \
missing key or value is null. Partitions come one after the other; with --follow, Ctrl-C ends it.

If a process has the folder, that process is asked; nothing is changed in either case.")]
pub(crate) struct ReadArgs {
    /// The folder of the log and the topic; on a cluster the topic alone
    #[arg(value_names = ["FOLDER", "TOPIC"], num_args = 1..=2, required = true)]
    pub(crate) place: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
    /// Only this partition
    #[arg(long, value_name = "N")]
    pub(crate) partition: Option<i32>,
    /// Where to begin: earliest, latest, an offset, or -N for the last N offsets of each partition
    #[arg(long, value_name = "WHERE", default_value = "earliest", value_parser = read_from, allow_hyphen_values = true)]
    pub(crate) from: ReadFrom,
    /// Stop after so many records
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<usize>,
    /// Which records of transactions to show
    #[arg(long, value_name = "WHICH", default_value = "committed")]
    pub(crate) isolation: ReadIsolation,
    /// Go on with what comes
    #[arg(long)]
    pub(crate) follow: bool,
    /// What keys are taken for
    #[arg(long, value_name = "SHAPE", default_value = "auto")]
    pub(crate) key: Shape,
    /// What values are taken for
    #[arg(long, value_name = "SHAPE", default_value = "auto")]
    pub(crate) value: Shape,
    /// Print an object for each record
    #[arg(long)]
    pub(crate) json: bool,
}

/// Where reading begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReadFrom {
    /// At the first record.
    Earliest,
    /// With what comes.
    Latest,
    /// There.
    Offset(i64),
    /// So many offsets before the end.
    Last(i64),
}

/// Which records of transactions are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReadIsolation {
    /// Those that were committed, up to the first that is not decided
    Committed,
    /// All, whatever becomes of them
    Uncommitted,
}

impl From<ReadIsolation> for Isolation {
    fn from(isolation: ReadIsolation) -> Self {
        match isolation {
            ReadIsolation::Committed => Isolation::ReadCommitted,
            ReadIsolation::Uncommitted => Isolation::ReadUncommitted,
        }
    }
}

fn read_from(text: &str) -> Result<ReadFrom, String> {
    let number = || text.parse::<i64>().map_err(|_| "say `earliest`, `latest`, an offset, or `-N` for the last N".to_owned());
    match text {
        "earliest" => Ok(ReadFrom::Earliest),
        "latest" => Ok(ReadFrom::Latest),
        _ if text.starts_with('-') => number().map(|number| ReadFrom::Last(-number)),
        _ => number().map(ReadFrom::Offset),
    }
}

fn property(text: &str) -> Result<Property, String> {
    // What was typed is repeated by nobody: it may hold a password.
    let (key, value) = text.split_once('=').ok_or("wants `KEY=VALUE`")?;
    Ok(Property { key: key.trim().to_owned(), value: value.to_owned() })
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
    fn reading_begins_at_an_end_an_offset_or_before_the_end() {
        let from = |text: &str| match Cli::try_parse_from(["highwater", "read", "folder", "t", "--from", text])?.command {
            Command::Read(args) => Ok(args.from),
            other => panic!("{other:?}"),
        };
        let ok = |text| from(text).map_err(|error: clap::Error| error.to_string());
        assert_eq!(ok("earliest"), Ok(ReadFrom::Earliest));
        assert_eq!((ok("17"), ok("-3")), (Ok(ReadFrom::Offset(17)), Ok(ReadFrom::Last(3))));
        assert!(ok("first").expect_err("neither").contains("`-N` for the last N"));
    }

    #[test]
    fn a_bad_duration_says_how_to_write_one() {
        let error = Cli::try_parse_from(["highwater", "demo", "--for", "20"]).expect_err("no unit");
        assert!(error.to_string().contains("such as `10s`"), "{error}");
    }
}
