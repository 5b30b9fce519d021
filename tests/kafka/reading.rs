//! What is in a topic.

use std::time::{Duration, Instant};

use highwater::kafka::{Connect, FetchLimit, Isolation};
use highwater::{RawRecord, TopicPartition};

/// Visits everything committed in a topic of so many partitions, one after the other, from where each begins to where it ends now. Panics if one
/// cannot be read up to there in that time.
pub(crate) fn committed(log: &dyn Connect, topic: &str, partitions: i32, patience: Duration, visit: &mut dyn FnMut(RawRecord<'_>)) {
    let isolation = Isolation::ReadCommitted;
    let partitions: Vec<_> = (0..partitions).map(|number| TopicPartition::new(topic, number)).collect();
    let mut consumer = log.consumer(isolation).unwrap();
    let (begins, ends) = (consumer.begin_offsets(&partitions).unwrap(), consumer.end_offsets(&partitions, isolation).unwrap());
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
