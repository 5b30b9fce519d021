//! Reading a topic as it grows: results, late records, dead letters.

use anyhow::{Context, Result};
use highwater::kafka::{Connect, Consumer, FetchLimit, Isolation};
use highwater::{RawRecord, TopicPartition};

/// The committed records of one topic, each once.
pub(crate) struct Tail {
    consumer: Box<dyn Consumer>,
    partitions: Vec<TopicPartition>,
}

impl Tail {
    /// From the first record of every partition on.
    pub(crate) fn of(log: &dyn Connect, topic: &str, partitions: i32) -> Result<Self> {
        let partitions: Vec<_> = (0..partitions).map(|number| TopicPartition::new(topic, number)).collect();
        let mut consumer = log.consumer(Isolation::ReadCommitted)?;
        let begins = consumer.begin_offsets(&partitions).with_context(|| format!("`{topic}` cannot be read"))?;
        let starts: Vec<_> = partitions.iter().cloned().zip(begins).collect();
        consumer.assign(&starts).with_context(|| format!("`{topic}` cannot be read"))?;
        Ok(Tail { consumer, partitions })
    }

    /// Visits what has come since the last call, without waiting; tells how many records that were.
    pub(crate) fn visit(&mut self, visit: &mut dyn FnMut(RawRecord<'_>) -> Result<()>) -> Result<u64> {
        let mut seen = 0;
        for partition in &self.partitions {
            loop {
                let mut outcome = Ok(());
                let fetched = self.consumer.fetch(partition, FetchLimit::default(), &mut |record| {
                    seen += 1;
                    if outcome.is_ok() {
                        outcome = visit(record);
                    }
                })?;
                outcome?;
                if fetched.at_end() {
                    break;
                }
            }
        }
        Ok(seen)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use highwater::kafka::{MemoryLog, NewTopic, Outgoing};
    use highwater::{Headers, SystemClock, Timestamp};

    use super::*;

    #[test]
    fn every_record_is_seen_once_in_the_order_of_its_partition() {
        let log = MemoryLog::new(Arc::new(SystemClock));
        log.admin().unwrap().create_topics(&[NewTopic::new("t", 2)]).unwrap();
        let mut producer = log.producer().unwrap();
        let mut send = |partition, numbers: std::ops::Range<u8>| {
            let headers = Headers::default();
            for number in numbers {
                let value = [number];
                let record = Outgoing { key: None, value: Some(&value), timestamp: Timestamp::from_millis(0), headers: &headers };
                producer.send(&TopicPartition::new("t", partition), &[record]).unwrap();
            }
            producer.flush(Duration::from_secs(1));
        };
        let mut tail = Tail::of(&log, "t", 2).unwrap();
        let mut read = || {
            let mut seen = Vec::new();
            let count = tail.visit(&mut |record| {
                seen.push((record.partition, record.value.unwrap()[0]));
                Ok(())
            });
            assert_eq!(count.unwrap(), seen.len() as u64);
            seen
        };
        send(0, 1..3);
        send(1, 7..8);
        assert_eq!(read(), [(0, 1), (0, 2), (1, 7)]);
        assert_eq!(read(), []);
        send(0, 3..4);
        assert_eq!(read(), [(0, 3)]);
    }
}
