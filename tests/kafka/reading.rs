//! What is in a topic, and what a cluster answers that is asked again until it can.

use std::thread;
use std::time::{Duration, Instant};

use highwater::kafka::{Connect, FetchLimit, Isolation, LogError, NewTopic};
use highwater::{ErrorKind, RawRecord, TopicPartition};

const PATIENCE: Duration = Duration::from_secs(150);

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

/// What a cluster answers that may have moved a leader a moment ago, or has other things to do.
pub(crate) fn answered<T>(patience: Duration, ask: &mut dyn FnMut() -> Result<T, LogError>) -> T {
    let until = Instant::now() + patience;
    loop {
        match ask() {
            Err(error) if error.kind() == ErrorKind::Retriable && Instant::now() < until => thread::sleep(Duration::from_millis(50)),
            answer => return answer.unwrap(),
        }
    }
}

/// Makes topics that are not there. Brokers that have just started may refuse it for a while, also as if there were too few of them; and what
/// was made although the answer was lost is there when it is asked for again.
pub(crate) fn made(log: &dyn Connect, topics: &[NewTopic]) {
    let (admin, patience) = (answered(PATIENCE, &mut || log.admin()), Instant::now() + PATIENCE);
    for topic in topics {
        let mut tries = 0;
        loop {
            tries += 1;
            match admin.create_topics(std::slice::from_ref(topic)) {
                Ok(()) => break,
                Err(LogError::TopicExists(_)) if tries > 1 => break,
                Err(error) => assert!(may_pass(&error) && Instant::now() < patience, "{error}"),
            }
            thread::sleep(Duration::from_millis(100));
        }
    }
}

fn may_pass(error: &LogError) -> bool {
    error.kind() == ErrorKind::Retriable || error.to_string().to_lowercase().contains("replication factor")
}
