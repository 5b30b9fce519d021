//! `highwater read`: the records of one topic of the log in a folder, or of a cluster.

use std::io::{self, Write};
use std::thread;
use std::time::Duration;

use anyhow::Result;
use highwater::kafka::{FetchLimit, Isolation, LogError, TopicStanding};
use highwater::{RawRecord, TopicPartition};

use super::args::{ReadArgs, ReadFrom};
use super::cluster;
use super::failure::UsageError;
use super::job::nearest;
use super::legible::{line, object};
use super::look::{Look, Sight};

/// From one look to the next, while following.
const PAUSE: Duration = Duration::from_millis(200);
/// Records asked for at once.
const BATCH: usize = 1000;

pub(crate) fn run(args: &ReadArgs) -> Result<()> {
    let (sight, topic) = place(args)?;
    let isolation = args.isolation.into();
    let mut look = Some(sight.open(isolation)?);
    let mut reading = Reading::begin(args, &topic, &sight, look.as_mut().expect("just opened"))?;
    loop {
        let mut open = match look.take() {
            Some(look) => look,
            None => sight.open(isolation)?,
        };
        match reading.round(&mut open) {
            // Its owner is gone; the next look finds the files, or the next owner.
            Err(Failure::Log(LogError::Unanswered { .. })) if args.follow => {}
            Err(Failure::Log(LogError::UnknownTopic(_))) => return Err(unknown(&topic, &sight, &[])),
            Err(Failure::Log(error)) => return Err(error.into()),
            Err(Failure::Output(error)) => return Err(error.into()),
            Ok(()) if !args.follow || reading.left == 0 => return Ok(()),
            // Without an owner the files are let go, so that one may come.
            Ok(()) => look = Some(open).filter(Look::may_stay),
        }
        thread::sleep(PAUSE);
    }
}

/// What was named: a folder and a topic, or a topic alone and a cluster.
fn place(args: &ReadArgs) -> Result<(Sight, String)> {
    match (args.cluster.is_said(), &args.place[..]) {
        (false, [folder, topic]) => Ok((Sight::Folder(folder.clone()), topic.to_string_lossy().into_owned())),
        (true, [topic]) => Ok((Sight::Cluster(cluster::must(&args.cluster)?), topic.to_string_lossy().into_owned())),
        (true, _) => Err(UsageError("a folder and a cluster are named: leave one of them".to_owned()).into()),
        (false, _) => Err(UsageError(
            "name a folder and a topic (`highwater read FOLDER TOPIC`), or a cluster and a topic (`highwater read --bootstrap HOST:PORT TOPIC`)"
                .to_owned(),
        )
        .into()),
    }
}

/// Where the reading of each partition stands.
struct Reading<'a> {
    args: &'a ReadArgs,
    isolation: Isolation,
    positions: Vec<(TopicPartition, i64)>,
    /// Records that may still be shown.
    left: usize,
}

enum Failure {
    Log(LogError),
    Output(io::Error),
}

impl<'a> Reading<'a> {
    fn begin(args: &'a ReadArgs, topic: &str, sight: &Sight, look: &mut Look) -> Result<Self> {
        let topic = look.topic(topic)?.map_err(|names| unknown(topic, sight, &names))?;
        let isolation = args.isolation.into();
        let positions = starts(args, &topic, isolation)?;
        Ok(Reading { args, isolation, positions, left: args.limit.unwrap_or(usize::MAX) })
    }

    /// Shows what there is, partition by partition.
    fn round(&mut self, reader: &mut Look) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        for (partition, position) in &mut self.positions {
            while self.left > 0 {
                let limit = FetchLimit { records: self.left.min(BATCH), ..FetchLimit::default() };
                let mut written = Ok(());
                let mut shown = 0;
                let fetched = reader.read(partition, *position, self.isolation, limit, &mut |record| {
                    shown += 1;
                    if written.is_ok() {
                        written = show(&mut out, &record, self.args);
                    }
                });
                let fetched = fetched.map_err(Failure::Log)?;
                written.map_err(Failure::Output)?;
                self.left -= shown;
                *position = fetched.next_offset;
                if fetched.at_end() {
                    break;
                }
            }
        }
        out.flush().map_err(Failure::Output)
    }
}

fn show(out: &mut impl Write, record: &RawRecord<'_>, args: &ReadArgs) -> io::Result<()> {
    let shapes = (args.key, args.value);
    if args.json { writeln!(out, "{}", object(record, shapes)) } else { writeln!(out, "{}", line(record, shapes)) }
}

/// The first offset to read in each partition that was asked for.
fn starts(args: &ReadArgs, topic: &TopicStanding, isolation: Isolation) -> Result<Vec<(TopicPartition, i64)>, UsageError> {
    let count = topic.partitions.len();
    if let Some(asked) = args.partition.filter(|asked| usize::try_from(*asked).map_or(true, |asked| asked >= count)) {
        let last = count.saturating_sub(1);
        return Err(UsageError(format!("the topic `{}` has no partition {asked}: they are 0 to {last}", topic.name)));
    }
    let mut starts = Vec::new();
    for (number, standing) in (0..).zip(&topic.partitions).filter(|(number, _)| args.partition.is_none_or(|asked| asked == *number)) {
        let end = if isolation == Isolation::ReadCommitted { standing.stable_end } else { standing.end };
        let start = match args.from {
            ReadFrom::Earliest => standing.begin,
            ReadFrom::Latest => end,
            ReadFrom::Last(offsets) => end.saturating_sub(offsets).max(standing.begin),
            ReadFrom::Offset(offset) if args.partition.is_some() && !(standing.begin..=standing.end).contains(&offset) => {
                let (begin, end) = (standing.begin, standing.end);
                return Err(UsageError(format!(
                    "partition {number} of `{}` has no offset {offset}: it holds {begin} to {end}",
                    topic.name
                )));
            }
            ReadFrom::Offset(offset) => offset.clamp(standing.begin, standing.end),
        };
        starts.push((TopicPartition::new(topic.name.as_str(), number), start));
    }
    Ok(starts)
}

/// There is no such topic, as the one who typed can use it.
fn unknown(topic: &str, sight: &Sight, names: &[String]) -> anyhow::Error {
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let there_is_none = format!("there is no topic `{topic}` in {}", sight.name());
    let text = match nearest(topic, &names) {
        Some(near) => format!("{there_is_none}: did you mean `{near}`?"),
        None if names.is_empty() => format!("{there_is_none}: it has no topics yet"),
        None => format!("{there_is_none}: it has {}", names.join(", ")),
    };
    UsageError(text).into()
}
