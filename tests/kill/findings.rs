//! What is found in a log and a state folder when everything is over.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use highwater::kafka::{Connect, Consumer, Group, Isolation, LogError};
use highwater::{RawRecord, State, StoreRef, Streams, TopicPartition};

use super::life::Life;
use super::log::{PATIENCE, patiently};
use super::notes::Notebook;
use super::scene::{COUNTS, Kind, PARTITIONS, ROWS, WINDOWS, sequence};
use super::victim;

/// How long the markers of what was decided may be on their way.
const UNDECIDED: Duration = Duration::from_secs(20);

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Facts, for the judge.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Findings {
    /// Offset and number of each committed record of the input, by partition.
    pub(crate) input: Vec<Vec<(i64, u64)>>,
    /// Committed rows of the output, partition by partition in their order.
    pub(crate) output: Vec<(String, String)>,
    /// The last value of each key of the changelog.
    pub(crate) changelog: BTreeMap<String, i64>,
    /// The last value of each key of the table.
    pub(crate) table: BTreeMap<String, i64>,
    /// The rows of the local stores.
    pub(crate) store: BTreeMap<String, i64>,
    /// Partitions with records that the application has not committed.
    pub(crate) unread: Vec<String>,
    /// Partitions with a transaction that is undecided.
    pub(crate) undecided: Vec<String>,
    /// Records restored at the start after a clean close.
    pub(crate) restored_after_close: u64,
}

impl Findings {
    /// Looks into everything that a life has left, once nobody runs any more.
    pub(crate) fn of(life: &Life, log: &Arc<dyn Connect>) -> Outcome<Findings> {
        let mut findings = Findings { input: vec![Vec::new(); PARTITIONS as usize], ..Findings::default() };
        visit(&**log, &life.names.input(), &mut |record| {
            findings.input[record.partition as usize].push((record.offset, sequence(&text(record.value))));
        })?;
        visit(&**log, &life.names.output(), &mut |record| findings.output.push((text(record.key), text(record.value))))?;
        if life.kind == Kind::Join {
            visit(&**log, &life.names.table(), &mut |record| {
                findings.table.insert(text(record.key), number(record.value.expect("no row is deleted")));
            })?;
        }
        if let Some(changelog) = life.names.changelog(life.kind) {
            visit(&**log, &changelog, &mut |record| {
                let key = stored_key(life.kind, record.key.unwrap_or_default());
                match record.value {
                    Some(value) => drop(findings.changelog.insert(key, number(value))),
                    None => drop(findings.changelog.remove(&key)),
                }
            })?;
        }
        findings.look_at_ends(&**log, life)?;
        findings.start_again(life, log)?;
        Ok(findings)
    }

    /// What is not read, and what is not decided.
    fn look_at_ends(&mut self, log: &dyn Connect, life: &Life) -> Outcome<()> {
        let mut consumer = log.consumer(Isolation::ReadCommitted)?;
        let mut member = log.member(&life.names.application(), "onlooker", Isolation::ReadCommitted)?;
        let (kind, names) = (life.kind, &life.names);
        for topic in names.topics(kind) {
            for number in 0..PARTITIONS {
                let of = [TopicPartition::new(&*topic, number)];
                let Some(end) = decided_end(&mut *consumer, &of)? else {
                    self.undecided.push(of[0].to_string());
                    continue;
                };
                if topic != names.output() && Some(&topic) != names.changelog(kind).as_ref() {
                    let position = position(&mut *member, &of)?;
                    let mut unread = 0;
                    victim::read(&mut *consumer, &of[0], position, end, &mut |record| unread += u32::from(record.value.is_some()))?;
                    if unread > 0 {
                        self.unread.push(format!("{} ({unread} records from {position} on)", of[0]));
                    }
                }
            }
        }
        Ok(())
    }

    /// One more start, which must find nothing to do, and the stores that it opens.
    fn start_again(&mut self, life: &Life, log: &Arc<dyn Connect>) -> Outcome<()> {
        let path = life.folder.join("judge.txt");
        let streams = victim::start(life, "a", log, &Arc::new(Notebook::open(&path)))?;
        // Before it has tasks it would be over with what others have committed.
        victim::wait_for_tasks(&streams, life.kind.tasks(), PATIENCE);
        streams.declare_end()?;
        if streams.wait(PATIENCE) != State::Finished {
            return Err(format!("does not start again: {:?}", streams.errors()).into());
        }
        self.restored_after_close = super::notes::Notes::read(&path).restored().records;
        self.store = match life.kind {
            Kind::Copy => BTreeMap::new(),
            Kind::Join => rows(&streams, &ROWS, |view| Ok(view.all()?.collect::<Result<Vec<_>, _>>()?))?,
            Kind::Count => rows(&streams, &COUNTS, |view| Ok(view.all()?.collect::<Result<Vec<_>, _>>()?))?,
            Kind::Windowed => rows(&streams, &WINDOWS, |view| {
                Ok(view.all()?.into_iter().map(|(key, count)| (format!("{}@{}", key.key, key.window.start), count.value)).collect())
            })?,
        };
        streams.stop(PATIENCE)?;
        Ok(())
    }
}

type StoreRows = Vec<(String, i64)>;

fn rows<S: highwater::Store>(
    streams: &Streams,
    store: &StoreRef<S>,
    all: impl Fn(&S::View) -> Outcome<StoreRows>,
) -> Outcome<BTreeMap<String, i64>> {
    let mut rows = BTreeMap::new();
    for (_, view) in streams.store(store)? {
        rows.extend(all(&view)?);
    }
    Ok(rows)
}

/// Every committed record of a topic.
fn visit(log: &dyn Connect, topic: &str, visit: &mut dyn FnMut(RawRecord<'_>)) -> Result<(), LogError> {
    let mut consumer = log.consumer(Isolation::ReadCommitted)?;
    for number in 0..PARTITIONS {
        let partition = TopicPartition::new(topic, number);
        let begin = patiently(|| consumer.begin_offsets(std::slice::from_ref(&partition)))?[0];
        let end = patiently(|| consumer.end_offsets(std::slice::from_ref(&partition), Isolation::ReadCommitted))?[0];
        victim::read(&mut *consumer, &partition, begin, end, visit)?;
    }
    Ok(())
}

/// The end of a partition, if no transaction is open in it. The last markers of a cluster may be on their way yet.
fn decided_end(consumer: &mut dyn Consumer, of: &[TopicPartition]) -> Result<Option<i64>, LogError> {
    let until = Instant::now() + UNDECIDED;
    loop {
        let [high, stable] = [Isolation::ReadUncommitted, Isolation::ReadCommitted]
            .map(|isolation| patiently(|| consumer.end_offsets(of, isolation)).map(|ends| ends[0]));
        let (high, stable) = (high?, stable?);
        if high == stable {
            return Ok(Some(high));
        }
        if Instant::now() >= until {
            return Ok(None);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The committed position of a partition.
fn position(member: &mut dyn Group, of: &[TopicPartition]) -> Result<i64, LogError> {
    let until = Instant::now() + UNDECIDED;
    loop {
        match patiently(|| member.committed(of)) {
            Err(LogError::PositionUndecided { .. }) if Instant::now() < until => std::thread::sleep(Duration::from_millis(20)),
            found => return Ok(found?[0].as_ref().map_or(0, |position| position.offset)),
        }
    }
}

fn text(bytes: Option<&[u8]>) -> String {
    String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned()
}

fn number(bytes: &[u8]) -> i64 {
    i64::from_be_bytes(bytes.try_into().expect("a count of eight bytes"))
}

/// A key of a changelog: text, and for windows the start and a sequence number after it.
fn stored_key(kind: Kind, bytes: &[u8]) -> String {
    match kind {
        Kind::Windowed => {
            let (key, rest) = bytes.split_at(bytes.len() - 12);
            format!("{}@{}", text(Some(key)), number(&rest[..8]))
        }
        Kind::Copy | Kind::Count | Kind::Join => text(Some(bytes)),
    }
}
