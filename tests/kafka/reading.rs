//! What is in a topic.

use std::thread;
use std::time::{Duration, Instant};

use highwater::kafka::{Connect, FetchLimit, Isolation, LogError};
use highwater::{ErrorKind, RawRecord, TopicPartition};

/// Visits everything committed in a topic of so many partitions, one after the other, from where each begins to where it ends now. Panics if one
/// cannot be read up to there in that time.
pub(crate) fn committed(log: &dyn Connect, topic: &str, partitions: i32, patience: Duration, visit: &mut dyn FnMut(RawRecord<'_>)) {
    let isolation = Isolation::ReadCommitted;
    let partitions: Vec<_> = (0..partitions).map(|number| TopicPartition::new(topic, number)).collect();
    let mut consumer = log.consumer(isolation).unwrap();
    let (begins, ends) = (
        answered(patience, &mut || consumer.begin_offsets(&partitions)),
        answered(patience, &mut || consumer.end_offsets(&partitions, isolation)),
    );
    for ((partition, begin), end) in partitions.iter().zip(begins).zip(ends) {
        consumer.assign(&[(partition.clone(), begin)]).unwrap();
        let until = Instant::now() + patience;
        while consumer.position(partition).unwrap() < end {
            assert!(Instant::now() < until, "{partition} cannot be read up to {end}");
            consumer.poll(Duration::from_millis(50)).unwrap();
            consumer.fetch(partition, FetchLimit::default(), visit).unwrap();
        }
    }
}

/// What a cluster answers that may have moved a leader a moment ago.
fn answered<T>(patience: Duration, ask: &mut dyn FnMut() -> Result<T, LogError>) -> T {
    let until = Instant::now() + patience;
    loop {
        match ask() {
            Err(error) if error.kind() == ErrorKind::Retriable && Instant::now() < until => thread::sleep(Duration::from_millis(50)),
            answer => return answer.unwrap(),
        }
    }
}
