//! What goes in and what comes out: a steady load with a count per key, and a reader that notes when everything arrives.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use highwater::kafka::{Connect, FetchLimit, Isolation, KafkaConfig, KafkaLog, NewTopic, Outgoing, partition_of};
use highwater::{Headers, RawRecord, Timestamp, TopicPartition};

use super::child::micros;
use crate::reading::{answered, made};

pub(crate) const PARTITIONS: i32 = 6;
const KEYS: usize = 20;
const BEAT: Duration = Duration::from_millis(10);
const PATIENCE: Duration = Duration::from_secs(300);

/// Something that goes on until it is told to end.
pub(crate) struct Beside<T> {
    over: Arc<AtomicBool>,
    running: JoinHandle<T>,
}

impl<T: Send + 'static> Beside<T> {
    pub(crate) fn run(act: impl FnOnce(&AtomicBool) -> T + Send + 'static) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let told = over.clone();
        Beside { over, running: thread::spawn(move || act(&told)) }
    }

    pub(crate) fn end(self) -> T {
        self.over.store(true, Ordering::SeqCst);
        self.running.join().unwrap()
    }
}

/// Keys that lie in this partition.
fn keys_of(partition: i32) -> Vec<String> {
    let keys = (0..).map(|number| format!("key-{number}"));
    keys.filter(|key| partition_of(key.as_bytes(), PARTITIONS) == partition).take(KEYS).collect()
}

/// A load of so many records per second over some partitions; tells how many of each key there were. Each says which of its key it is.
pub(crate) fn feed(bootstrap: &str, topic: String, per_second: u64, partitions: Vec<i32>) -> Beside<BTreeMap<String, u64>> {
    let log = KafkaLog::new(KafkaConfig::new(bootstrap));
    Beside::run(move |over| {
        let mut producer = log.producer().unwrap();
        let keys: Vec<Vec<String>> = partitions.iter().map(|partition| keys_of(*partition)).collect();
        let mut sent: BTreeMap<String, u64> = BTreeMap::new();
        let (begun, mut total) = (Instant::now(), 0);
        while !over.load(Ordering::SeqCst) {
            let due = (begun.elapsed().as_secs_f64() * per_second as f64) as u64;
            let mut batches = vec![Vec::new(); partitions.len()];
            for number in total..due {
                let at = number as usize % partitions.len();
                let key = &keys[at][number as usize / partitions.len() % KEYS];
                let count = sent.entry(key.clone()).or_default();
                *count += 1;
                batches[at].push((key.as_bytes(), count.to_string()));
            }
            total = due;
            for (partition, batch) in partitions.iter().zip(&batches) {
                send(&mut *producer, &TopicPartition::new(topic.as_str(), *partition), batch);
            }
            thread::sleep(BEAT);
        }
        assert!(producer.flush(PATIENCE).failed.is_empty());
        sent
    })
}

fn send(producer: &mut dyn highwater::kafka::Producer, to: &TopicPartition, batch: &[(&[u8], String)]) {
    let (headers, timestamp) = (Headers::default(), Timestamp::from_millis(micros() / 1000));
    let records = batch.iter().map(|(key, value)| Outgoing { key: Some(key), value: Some(value.as_bytes()), timestamp, headers: &headers });
    let records: Vec<_> = records.collect();
    if !records.is_empty() {
        answered(PATIENCE, &mut || producer.send(to, &records));
    }
}

/// One record that came out.
#[derive(Clone, Debug)]
pub(crate) struct Output {
    pub(crate) partition: i32,
    pub(crate) key: String,
    /// How many of its key were counted when it was.
    pub(crate) count: u64,
    /// Which of its key it is.
    pub(crate) number: u64,
    /// Microseconds.
    pub(crate) at: i64,
}

/// Reads what is committed until it is told to end, and then what is there.
pub(crate) fn read(bootstrap: &str, topic: String) -> Beside<Vec<Output>> {
    let log = KafkaLog::new(KafkaConfig::new(bootstrap));
    Beside::run(move |over| {
        let mut consumer = log.consumer(Isolation::ReadCommitted).unwrap();
        let partitions: Vec<_> = (0..PARTITIONS).map(|number| TopicPartition::new(topic.as_str(), number)).collect();
        consumer.assign(&partitions.iter().map(|partition| (partition.clone(), 0)).collect::<Vec<_>>()).unwrap();
        let (mut outputs, mut ends) = (Vec::new(), None);
        loop {
            answered(PATIENCE, &mut || consumer.poll(Duration::from_millis(20)));
            for partition in &partitions {
                answered(PATIENCE, &mut || consumer.fetch(partition, FetchLimit::default(), &mut |record| outputs.push(output(&record))));
            }
            if over.load(Ordering::SeqCst) && ends.is_none() {
                // The high watermark: what is decided and not marked yet is waited for.
                ends = Some(answered(PATIENCE, &mut || consumer.end_offsets(&partitions, Isolation::ReadUncommitted)));
            }
            let is_at = |(partition, end): (_, &i64)| consumer.position(partition).unwrap() >= *end;
            if ends.as_ref().is_some_and(|ends| partitions.iter().zip(ends).all(is_at)) {
                return outputs;
            }
        }
    })
}

fn output(record: &RawRecord<'_>) -> Output {
    let text = |bytes: Option<&[u8]>| String::from_utf8(bytes.unwrap().to_vec()).unwrap();
    let value = text(record.value);
    let (count, number) = value.split_once(' ').unwrap();
    Output {
        partition: record.partition,
        key: text(record.key),
        count: count.parse().unwrap(),
        number: number.parse().unwrap(),
        at: micros(),
    }
}

/// What the machine and the broker add to everything: the longest time by which a short sleep of this process was too long, and the longest that
/// one plain record took to be acknowledged.
pub(crate) fn noise(bootstrap: &str, topic: String) -> Beside<(Duration, Duration)> {
    let log = KafkaLog::new(KafkaConfig::new(bootstrap));
    Beside::run(move |over| {
        made(&log, &[NewTopic::new(topic.as_str(), 1)]);
        let (mut producer, partition) = (log.producer().unwrap(), TopicPartition::new(topic.as_str(), 0));
        let (mut machine, mut broker) = (Duration::ZERO, Duration::ZERO);
        while !over.load(Ordering::SeqCst) {
            let since = Instant::now();
            thread::sleep(BEAT);
            machine = machine.max(since.elapsed().saturating_sub(BEAT));
            let since = Instant::now();
            send(&mut *producer, &partition, &[(b"k", String::new())]);
            assert!(producer.flush(PATIENCE).failed.is_empty());
            broker = broker.max(since.elapsed());
        }
        (machine, broker)
    })
}
