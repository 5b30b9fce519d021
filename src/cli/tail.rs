//! Reading a topic as it grows: results, late records, dead letters.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use highwater::kafka::{Connect, Consumer, FetchLimit, Isolation};
use highwater::{RawRecord, TopicPartition};

/// How long an end that is known to be there may keep a reader waiting that gets nothing.
const PATIENCE: Duration = Duration::from_secs(5);

/// One wait for records.
const WAIT: Duration = Duration::from_millis(50);

/// The committed records of one topic, each once.
pub(crate) struct Tail {
    consumer: Box<dyn Consumer>,
    partitions: Vec<TopicPartition>,
}

impl Tail {
    /// From the first record of every partition on.
    pub(crate) fn of(log: &dyn Connect, topic: &str) -> Result<Self> {
        let cannot = || format!("`{topic}` cannot be read");
        let count = log.admin()?.describe_topics(&[topic]).with_context(cannot)?.first().map_or(0, |found| found.partitions);
        let partitions: Vec<_> = (0..count).map(|number| TopicPartition::new(topic, number)).collect();
        let mut consumer = log.consumer(Isolation::ReadCommitted)?;
        let starts: Vec<_> = partitions.iter().cloned().zip(consumer.begin_offsets(&partitions).with_context(cannot)?).collect();
        consumer.assign(&starts).with_context(cannot)?;
        Ok(Tail { consumer, partitions })
    }

    /// Visits what has come since the last call, without waiting; tells how many records that were.
    pub(crate) fn visit(&mut self, visit: &mut dyn FnMut(RawRecord<'_>) -> Result<()>) -> Result<u64> {
        let mut seen = 0;
        self.consumer.poll(Duration::ZERO)?;
        for partition in &self.partitions {
            let mut position = self.consumer.position(partition)?;
            loop {
                let mut outcome = Ok(());
                let fetched = self.consumer.fetch(partition, FetchLimit::default(), &mut |record| {
                    seen += 1;
                    if outcome.is_ok() {
                        outcome = visit(record);
                    }
                })?;
                outcome?;
                // A cluster sends in its own time: what has not arrived comes with a later call.
                if fetched.at_end() || fetched.next_offset == position {
                    break;
                }
                position = fetched.next_offset;
            }
        }
        Ok(seen)
    }

    /// The same up to the end as it is now, and waits for it: to what is committed, or to all that was written, whose decision may still be on
    /// its way. A decision that does not come is not waited for much longer.
    pub(crate) fn visit_rest(&mut self, end: Isolation, visit: &mut dyn FnMut(RawRecord<'_>) -> Result<()>) -> Result<u64> {
        let ends = self.consumer.end_offsets(&self.partitions, end)?;
        let (mut seen, mut moved) = (0, Instant::now());
        let mut before = Vec::new();
        loop {
            seen += self.visit(visit)?;
            let positions: Vec<_> = self.partitions.iter().map(|partition| self.consumer.position(partition)).collect::<Result<_, _>>()?;
            if positions.iter().zip(&ends).all(|(position, end)| position >= end) || moved.elapsed() > PATIENCE {
                return Ok(seen);
            }
            if positions != before {
                (before, moved) = (positions, Instant::now());
            }
            self.consumer.poll(WAIT)?;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

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
        let mut tail = Tail::of(&log, "t").unwrap();
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
