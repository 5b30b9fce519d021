//! Three instances of one application over six partitions, under load; one is cut off from the log without a word. Also the scene of
//! `benches/rebalance_gap.rs`.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use highwater::kafka::{Connect, FetchLimit, Isolation, LogError, MemoryLog, NewTopic, Outgoing, partition_of};
use highwater::{
    Guarantee, Headers, KeyValueStore, Settings, StoreRef, Streams, StreamsBuilder, SystemClock, Timestamp, Topic, TopicPartition, Topology,
};

const IN: Topic<String, String> = Topic::new("in");
const OUT: Topic<String, String> = Topic::new("out");
const COUNTS: StoreRef<KeyValueStore<String, i64>> = StoreRef::new("counts");
const PARTITIONS: i32 = 6;
const COMMIT: Duration = Duration::from_millis(100);
/// From one record of a partition to the next.
const BEAT: Duration = Duration::from_millis(5);
/// How long it runs before the cut, and again when everything has a new owner.
const CALM: Duration = Duration::from_millis(1_500);
const SOON: Duration = Duration::from_secs(120);

/// The longest time that an unaffected partition may be silent: two commit intervals and what a round takes.
pub(crate) const BOUND: Duration = Duration::from_millis(2 * 100 + 300);

/// What was seen.
#[derive(Debug)]
pub(crate) struct Seen {
    /// Between two outputs of a partition whose owner lives on, at most.
    pub(crate) unaffected: Duration,
    /// The same of a partition whose owner was cut off.
    pub(crate) taken_over: Duration,
    /// How long a thread of this process did not run that only wanted to sleep for a moment: what the machine adds to the above.
    pub(crate) noise: Duration,
    /// Records that went through.
    pub(crate) records: u64,
    /// What was lost or doubled, or came out of order.
    pub(crate) faults: Vec<String>,
}

/// Passes on, and counts on the way, so that there is state to take over.
fn topology() -> Topology {
    let builder = StreamsBuilder::new();
    let words = builder.stream(IN);
    words.clone().group_by_key().count(COUNTS);
    words.to(OUT);
    builder.build().expect("it fits together")
}

fn start(log: &MemoryLog) -> Streams {
    let mut settings = Settings::new("gap");
    settings.guarantee = Guarantee::ExactlyOnce;
    settings.commit_interval = COMMIT;
    settings.session_timeout = Duration::from_secs(1);
    settings.transaction_timeout = Duration::from_secs(2);
    Streams::start(&topology(), settings, Arc::new(log.clone())).expect("it starts")
}

/// The scene from its beginning to its end.
pub(crate) fn play() -> Seen {
    let log = MemoryLog::new(Arc::new(SystemClock));
    log.admin().expect("admin").create_topics(&[NewTopic::new("in", PARTITIONS), NewTopic::new("out", PARTITIONS)]).expect("new topics");
    let lines = [log.line(), log.line(), log.line()];
    let instances = lines.each_ref().map(start);
    until("each has two tasks", || instances.each_ref().map(|instance| owned(instance).len()) == [2, 2, 2]);
    let over = Arc::new(AtomicBool::new(false));
    let beat = in_background(&over, {
        let log = log.clone();
        move |over| feed(&log, over)
    });
    let noise = in_background(&over, noise);
    let lost: BTreeSet<i32> = owned(&instances[0]);
    let expected = Arc::new(AtomicU64::new(u64::MAX));
    let read = in_background(&over, {
        let (log, expected) = (log.clone(), expected.clone());
        move |_| read(&log, &expected)
    });
    thread::sleep(CALM);
    lines[0].cut_off();
    until("the others have three", || instances[1..].iter().all(|instance| owned(instance).len() == 3 && runs(instance)));
    thread::sleep(CALM);
    over.store(true, Ordering::SeqCst);
    let (sent, noise) = (beat.join().expect("it feeds"), noise.join().expect("it sleeps"));
    expected.store(sent, Ordering::SeqCst);
    let outputs = read.join().expect("it reads");
    for instance in &instances[1..] {
        instance.stop(SOON).expect("it stops");
    }
    drop(instances);
    judge(&lost, sent, noise, outputs)
}

fn judge(lost: &BTreeSet<i32>, sent: u64, noise: Duration, outputs: Vec<Vec<(u64, Instant)>>) -> Seen {
    let mut seen = Seen { unaffected: Duration::ZERO, taken_over: Duration::ZERO, noise, records: sent, faults: Vec::new() };
    for (partition, outputs) in (0..).zip(outputs) {
        if !outputs.iter().map(|(value, _)| *value).eq(0..sent) {
            let first = outputs.iter().zip(0..).find(|((value, _), expected)| value != expected);
            seen.faults.push(format!("partition {partition}: {} of {sent} records, first wrong: {first:?}", outputs.len()));
        }
        let gap = outputs.windows(2).map(|pair| pair[1].1 - pair[0].1).max().unwrap_or_default();
        let of = if lost.contains(&partition) { &mut seen.taken_over } else { &mut seen.unaffected };
        *of = gap.max(*of);
    }
    seen
}

fn in_background<T: Send + 'static>(over: &Arc<AtomicBool>, run: impl FnOnce(&AtomicBool) -> T + Send + 'static) -> thread::JoinHandle<T> {
    let over = over.clone();
    thread::spawn(move || run(&over))
}

fn owned(instance: &Streams) -> BTreeSet<i32> {
    instance.progress().tasks.keys().map(|task| task.partition).collect()
}

fn runs(instance: &Streams) -> bool {
    instance.progress().tasks.values().all(|task| task.state == "running")
}

fn until(what: &str, reached: impl Fn() -> bool) {
    let since = Instant::now();
    while !reached() {
        assert!(since.elapsed() < SOON, "waited in vain: {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// Sends 0, 1, 2 and so on to each partition, a record each per beat; tells how many.
fn feed(log: &MemoryLog, over: &AtomicBool) -> u64 {
    let mut producer = log.producer().expect("a producer");
    let headers = Headers::default();
    let keys: Vec<String> = (0..PARTITIONS).map(key_of).collect();
    let (begun, mut sent) = (Instant::now(), 0);
    while !over.load(Ordering::SeqCst) {
        let value = sent.to_string();
        for (partition, key) in (0..).zip(&keys) {
            let timestamp = Timestamp::from_millis(i64::try_from(sent).expect("few"));
            let record = Outgoing { key: Some(key.as_bytes()), value: Some(value.as_bytes()), timestamp, headers: &headers };
            producer.send(&TopicPartition::new("in", partition), &[record]).expect("taken");
        }
        sent += 1;
        let next = begun + BEAT * u32::try_from(sent).expect("few");
        thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    sent
}

/// A key that lies in this partition.
fn key_of(partition: i32) -> String {
    let keys = (0..1_000).map(|n| format!("key {n}"));
    keys.into_iter().find(|key| partition_of(key.as_bytes(), PARTITIONS) == partition).expect("one in a thousand")
}

/// When which value came out of each partition, until as many as expected did and nothing more comes, or nothing for long.
fn read(log: &MemoryLog, expected: &AtomicU64) -> Vec<Vec<(u64, Instant)>> {
    let mut reader = log.consumer(Isolation::ReadCommitted).expect("a consumer");
    let partitions: Vec<_> = (0..PARTITIONS).map(|partition| TopicPartition::new("out", partition)).collect();
    reader.assign(&partitions.iter().map(|partition| (partition.clone(), 0)).collect::<Vec<_>>()).expect("there");
    let mut outputs = vec![Vec::new(); partitions.len()];
    let mut last = Instant::now();
    let is_over = |outputs: &[Vec<_>], silent: Duration| {
        let expected = expected.load(Ordering::SeqCst);
        // What is one too many comes later than a transaction may hold it back.
        let done = outputs.iter().all(|seen| seen.len() as u64 >= expected) && silent > Duration::from_secs(3);
        done || (expected < u64::MAX && silent > SOON)
    };
    while !is_over(&outputs, last.elapsed()) {
        reader.poll(Duration::from_millis(20)).expect("polled");
        for (partition, seen) in partitions.iter().zip(&mut outputs) {
            let mut visit = |record: highwater::RawRecord<'_>| {
                last = Instant::now();
                let value = std::str::from_utf8(record.value.unwrap_or_default()).ok().and_then(|text| text.parse().ok());
                seen.push((value.unwrap_or(u64::MAX), last));
            };
            match reader.fetch(partition, FetchLimit::default(), &mut visit) {
                Ok(_) | Err(LogError::CutOff) => {}
                Err(error) => panic!("{error}"),
            }
        }
    }
    outputs
}

/// The longest time by which a short sleep was too long.
fn noise(over: &AtomicBool) -> Duration {
    let mut longest = Duration::ZERO;
    while !over.load(Ordering::SeqCst) {
        let since = Instant::now();
        thread::sleep(BEAT);
        longest = longest.max(since.elapsed().saturating_sub(BEAT));
    }
    longest
}
