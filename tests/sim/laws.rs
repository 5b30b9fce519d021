//! The laws of replay: history read back as fast as it can be gives the batch answer, with nothing late, however it is scheduled and
//! whoever is killed meanwhile.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use highwater::{
    Cluster, Consumed, EmitStrategy, Guarantee, KStream, Settings, StreamsBuilder, TimeWindows, Timestamp, Topology, Watermark,
};

use crate::topologies::{IN, OUT};

const HOUR: i64 = 3_600_000;
const MINUTE: i64 = 60_000;
const TEN_SECONDS: i64 = 10_000;

/// A record of the past.
struct Past {
    partition: i32,
    key: String,
    value: String,
    at: i64,
}

/// Results: key and window, count.
type Counts = BTreeMap<(String, i64), i64>;

/// One way to read history back.
struct Replay<'a> {
    topology: &'a Topology,
    history: &'a [Past],
    partitions: i32,
    seed: u64,
    /// Instances are killed and come back while it goes on.
    kills: bool,
}

impl Replay<'_> {
    /// Every result, each of which must come once and only once, with nothing late.
    fn run(&self) -> Counts {
        let mut cluster = self.cluster();
        for Past { partition, key, value, at } in self.history {
            cluster.pipe_to(*partition, &IN, key.clone(), value.clone(), Timestamp::from_millis(*at)).unwrap();
        }
        for step in 0..600 {
            cluster.step().unwrap();
            if step % 8 == 0 {
                cluster.advance(Duration::from_millis(15));
            }
            if self.kills && step % 150 == 75 {
                let (victim, calls) = (step / 150 % 2, cluster.draw(30));
                cluster.kill_after(victim, calls);
            }
            if self.kills && step % 150 == 149 && !cluster.is_running(step / 150 % 2) {
                cluster.restart(step / 150 % 2).unwrap();
            }
        }
        (0..cluster.instances()).for_each(|instance| cluster.spare(instance));
        cluster.finish().unwrap();
        // What the dead left open is aborted then, and hides nothing any more.
        cluster.run_for(Duration::from_secs(1)).unwrap();
        self.read(&cluster)
    }

    fn cluster(&self) -> Cluster {
        let mut settings = Settings::new("app");
        (settings.threads, settings.guarantee) = (2, Guarantee::ExactlyOnce);
        settings.commit_interval = Duration::from_millis(100);
        settings.transaction_timeout = Duration::from_millis(600);
        settings.close_batch = 7;
        let now = self.history.iter().map(|past| past.at).max().unwrap() + HOUR;
        let builder = Cluster::builder(self.topology).usual_partitions(self.partitions).settings(settings).seed(self.seed);
        let builder = builder.instances(2).session_timeout(Duration::from_secs(1)).start_at(Timestamp::from_millis(now));
        builder.whims().keep_state().build().unwrap()
    }

    fn read(&self, cluster: &Cluster) -> Counts {
        let late: u64 = cluster.progress().iter().map(|progress| progress.late).sum();
        assert_eq!((late, cluster.failures().len()), (0, 0), "late, failed (seed {})", self.seed);
        let mut counts = Counts::new();
        for record in cluster.read(&OUT) {
            let (key, start) = record.key.rsplit_once('@').unwrap();
            let before = counts.insert((key.to_owned(), start.parse().unwrap()), record.value.parse().unwrap());
            assert_eq!(before, None, "{} came twice (seed {})", record.key, self.seed);
        }
        counts
    }
}

/// A day on eight partitions that have little in common: from a record every few seconds to one every half hour, each out of order by less
/// than a minute.
fn a_day() -> Vec<Past> {
    let (mut records, mut dice) = (Vec::new(), 7_u64);
    for partition in 0..8 {
        let mean = [47_000, 59_000, 113_000, 120_000, 240_000, 601_000, 1_000_000, 1_800_000][partition as usize];
        let mut clock = 1_700_000_000_000 / HOUR * HOUR + mean;
        let end = clock + 24 * HOUR;
        while clock < end {
            dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let (late, group) = ((dice >> 33) as i64 % MINUTE, (dice >> 17) % 5);
            records.push(Past { partition, key: format!("k{partition}"), value: format!("g{group}"), at: clock - late });
            clock += mean / 2 + (dice >> 40) as i64 % mean;
        }
    }
    records
}

fn source(builder: &StreamsBuilder) -> KStream<String, String> {
    builder.stream(Consumed::with(IN).watermark(Watermark::bounded(Duration::from_millis(MINUTE as u64))))
}

fn long(millis: i64) -> Duration {
    Duration::from_millis(millis as u64)
}

/// Counts per value and window, behind a re-key.
fn per_value(window: i64) -> Topology {
    let builder = StreamsBuilder::new();
    let windows = source(&builder).group_by(|_, value: &String| value.clone()).windowed_by(TimeWindows::of(long(window)));
    let counts = windows.emit(EmitStrategy::on_window_close()).count("counts").to_stream();
    counts.map(|key, count| (format!("{}@{}", key.key, key.window.start), count.unwrap_or_default().to_string())).to(OUT);
    builder.build().unwrap()
}

/// Those counts per hour with grace, summed up over all values per six hours with grace.
fn stacked() -> Topology {
    let builder = StreamsBuilder::new();
    let hours =
        source(&builder).group_by(|_, value: &String| value.clone()).windowed_by(TimeWindows::of(long(HOUR)).grace(long(10 * MINUTE)));
    let counts = hours.emit(EmitStrategy::on_window_close()).count("counts").to_stream();
    let all = counts.map(|_, count| ("all".to_owned(), count.unwrap_or_default().to_string())).group_by_key();
    let longer = all.windowed_by(TimeWindows::of(long(6 * HOUR)).grace(long(30 * MINUTE))).emit(EmitStrategy::on_window_close());
    let sums = longer.reduce("sums", |one, other| (number(&one) + number(&other)).to_string()).to_stream();
    sums.map(|key, sum| (format!("{}@{}", key.key, key.window.start), sum.unwrap_or_default())).to(OUT);
    builder.build().unwrap()
}

fn number(text: &str) -> i64 {
    text.parse().unwrap()
}

fn batch(history: &[Past], window: i64, key: impl Fn(&Past) -> String) -> Counts {
    let mut counts = Counts::new();
    for past in history {
        *counts.entry((key(past), past.at / window * window)).or_default() += 1;
    }
    counts
}

#[test]
fn a_day_on_eight_uneven_partitions_gives_the_batch_answer_three_times() {
    let (history, topology) = (a_day(), per_value(HOUR));
    let wanted = batch(&history, HOUR, |past| past.value.clone());
    for (seed, kills) in [(1, false), (2, true), (3, true)] {
        let found = Replay { topology: &topology, history: &history, partitions: 8, seed, kills }.run();
        assert_eq!(found, wanted, "seed {seed}");
    }
}

#[test]
fn two_stacked_windows_with_grace_give_the_batch_answer_three_times() {
    let (history, topology) = (a_day(), stacked());
    let wanted = batch(&history, 6 * HOUR, |_| "all".to_owned());
    for (seed, kills) in [(4, false), (5, true), (6, true)] {
        let found = Replay { topology: &topology, history: &history, partitions: 8, seed, kills }.run();
        assert_eq!(found, wanted, "seed {seed}");
    }
}

/// The folder with the log of a public web server and the answers to it, where there is one.
#[allow(clippy::print_stdout, reason = "a test that looks at nothing says so")]
fn shared_data() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let data = std::env::var_os("HIGHWATER_SHARED").map_or_else(|| root.join("../shared"), PathBuf::from).join("data");
    if data.join("access.log").exists() {
        return Some(data);
    }
    println!("passed over: there is no {}", data.join("access.log").display());
    None
}

/// Client, status and time of a line, which is of May 2015.
fn line(text: &str) -> (String, String, i64) {
    /// The midnight before 1 May 2015.
    const APRIL_30: i64 = 1_430_352_000;
    let (client, _) = text.split_once(' ').expect("a client");
    let (day, rest) = text.split_once('[').and_then(|(_, rest)| rest.split_once("/May/2015:")).expect("a day of that month");
    let (time, rest) = rest.split_once(" +0000] ").expect("a time in UTC");
    let seconds = time.split(':').fold(0, |sum, part| sum * 60 + number(part));
    let status = rest.split('"').nth(2).and_then(|rest| rest.split_whitespace().next()).expect("a status");
    (client.to_owned(), status.to_owned(), (APRIL_30 + number(day) * 86_400 + seconds) * 1000)
}

/// Lines by client on four partitions, in the order of the file.
fn access_log(data: &Path) -> Vec<Past> {
    let log = fs::read_to_string(data.join("access.log")).expect("the log");
    let past = |text: &str| {
        let (key, value, at) = line(text);
        let partition = (key.bytes().fold(0_u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(u32::from(byte))) % 4) as i32;
        Past { partition, key, value, at }
    };
    log.lines().map(past).collect()
}

#[test]
fn a_web_server_s_log_from_client_to_status_gives_the_batch_file_with_kills_and_again() {
    let Some(data) = shared_data() else { return };
    let (history, topology) = (access_log(&data), per_value(TEN_SECONDS));
    assert_eq!(history.len(), 10_000);
    let expected = fs::read_to_string(data.join("expected/status_10s_tumbling.csv")).expect("a stored answer");
    for seed in [7, 8] {
        let counts = Replay { topology: &topology, history: &history, partitions: 4, seed, kills: true }.run();
        let rows = counts.into_iter().map(|((key, start), count)| format!("{key},{start},{},{count}\n", start + TEN_SECONDS));
        let found: String = ["key,start,end,count\n".to_owned()].into_iter().chain(rows).collect();
        let first = found.lines().zip(expected.lines()).find(|(found, wanted)| found != wanted);
        assert!(
            found == expected,
            "seed {seed}: {} lines, {} wanted, first difference {first:?}",
            found.lines().count(),
            expected.lines().count()
        );
    }
}

#[test]
fn a_line_is_read_as_the_program_reads_it() {
    let text = r#"83.149.9.216 - - [17/May/2015:10:05:03 +0000] "GET /a HTTP/1.1" 200 203023 "http://b/" "Mozilla""#;
    assert_eq!(line(text), ("83.149.9.216".to_owned(), "200".to_owned(), 1_431_857_103_000));
}
