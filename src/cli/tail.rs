//! Reading a topic as it grows: results, late records, dead letters.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use highwater::kafka::{Connect, Consumer, FetchLimit, Isolation};
use highwater::{RawRecord, TopicPartition};

/// How long an end that is known to be there may keep a reader waiting that gets nothing: brokers that are busy are silent for seconds.
const PATIENCE: Duration = Duration::from_secs(30);

/// One wait for records.
const WAIT: Duration = Duration::from_millis(50);

/// The committed records of one topic, each once.
pub(crate) struct Tail {
    consumer: Box<dyn Consumer>,
    partitions: Vec<TopicPartition>,
    patience: Duration,
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
        Ok(Tail { consumer, partitions, patience: PATIENCE })
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
    /// its way. A decision that does not come is not waited for much longer; what is decided and does not come is an error, lest somebody take
    /// half of it for all.
    pub(crate) fn visit_rest(&mut self, end: Isolation, visit: &mut dyn FnMut(RawRecord<'_>) -> Result<()>) -> Result<u64> {
        let ends = self.consumer.end_offsets(&self.partitions, end)?;
        let (mut seen, mut moved) = (0, Instant::now());
        let mut before = Vec::new();
        loop {
            seen += self.visit(visit)?;
            let positions: Vec<_> = self.partitions.iter().map(|partition| self.consumer.position(partition)).collect::<Result<_, _>>()?;
            if positions.iter().zip(&ends).all(|(position, end)| position >= end) {
                return Ok(seen);
            }
            if moved.elapsed() > self.patience {
                return self.all_decided(&positions, &ends).map(|()| seen);
            }
            if positions != before {
                (before, moved) = (positions, Instant::now());
            }
            self.consumer.poll(WAIT)?;
        }
    }

    /// Nothing is missing up to these ends but what is not decided.
    fn all_decided(&mut self, positions: &[i64], ends: &[i64]) -> Result<()> {
        let decided = self.consumer.end_offsets(&self.partitions, Isolation::ReadCommitted)?;
        for ((partition, position), (end, decided)) in self.partitions.iter().zip(positions).zip(ends.iter().zip(decided)) {
            if *position < decided.min(*end) {
                bail!(
                    "`{partition}` has records up to {decided}, and from {position} on none came for {} s: try again",
                    self.patience.as_secs()
                );
            }
        }
        Ok(())
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

    #[test]
    fn what_is_undecided_is_left_and_what_is_decided_and_does_not_come_is_an_error() {
        let log = MemoryLog::new(Arc::new(SystemClock));
        log.admin().unwrap().create_topics(&[NewTopic::new("t", 1)]).unwrap();
        let (partition, headers) = (TopicPartition::new("t", 0), Headers::default());
        let record = Outgoing { key: None, value: Some(b"v"), timestamp: Timestamp::from_millis(0), headers: &headers };
        log.producer().unwrap().send(&partition, &[record]).unwrap();
        let mut open = log.transactional_producer("x", Duration::from_secs(600)).unwrap();
        open.init().unwrap();
        open.begin().unwrap();
        open.send(&partition, &[record]).unwrap();
        let mut tail = Tail::of(&log, "t").unwrap();
        tail.patience = Duration::from_millis(50);
        assert_eq!(tail.visit_rest(Isolation::ReadUncommitted, &mut |_| Ok(())).unwrap(), 1);
        open.commit().unwrap();
        tail.consumer.pause(&[partition]).unwrap();
        let error = tail.visit_rest(Isolation::ReadUncommitted, &mut |_| Ok(())).unwrap_err().to_string();
        assert!(error.contains("`t-0` has records up to 3, and from 1 on none came"), "{error}");
    }
}
