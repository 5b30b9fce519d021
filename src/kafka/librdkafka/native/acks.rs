//! What was acknowledged, counted where the library learns of it: a report for each record would cost as much as sending it.

use std::ffi::{CStr, CString, c_void};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rdkafka::bindings::{self as c, rd_kafka_message_t};
use rdkafka::types::RDKafkaRespErr;

/// Acknowledged since the last call of [`Acks::take`], by partition.
#[derive(Debug, Default)]
pub(super) struct Acks(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    all: Vec<Acked>,
    /// The partition of the last record: the next one is mostly of the same.
    last: usize,
}

/// Records of one partition that were acknowledged.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::kafka::librdkafka) struct Acked {
    topic: CString,
    pub(in crate::kafka::librdkafka) partition: i32,
    /// How many.
    pub(in crate::kafka::librdkafka) count: u64,
    /// The highest offset.
    pub(in crate::kafka::librdkafka) offset: i64,
}

impl Acked {
    pub(in crate::kafka::librdkafka) fn topic(&self) -> std::borrow::Cow<'_, str> {
        self.topic.to_string_lossy()
    }
}

impl Acks {
    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn take(&self) -> Vec<Acked> {
        std::mem::take(&mut *self.lock()).all
    }

    fn count(&self, topic: &CStr, partition: i32, offset: i64) {
        let mut counts = self.lock();
        let Counts { all, last } = &mut *counts;
        let is_it = |acked: &Acked| acked.partition == partition && *acked.topic == *topic;
        if !all.get(*last).is_some_and(is_it) {
            *last = all.iter().position(is_it).unwrap_or(all.len());
            if *last == all.len() {
                all.push(Acked { topic: topic.to_owned(), partition, count: 0, offset });
            }
        }
        let acked = &mut all[*last];
        acked.count += 1;
        acked.offset = acked.offset.max(offset);
    }
}

/// Called by the library for every message that it is done with, on the thread of its broker, before it forgets it. Those that are lost are
/// reported as events.
pub(super) unsafe extern "C" fn on_acknowledgement(
    _: *mut c::rd_kafka_t,
    message: *mut rd_kafka_message_t,
    acks: *mut c_void,
) -> RDKafkaRespErr {
    // SAFETY: the library shows a message that nobody else has; `acks` is what was given with this function, and outlives the client. Names of
    // topics end with a zero, and live as long as the topic's messages.
    unsafe {
        let persisted = c::rd_kafka_message_status(message) == c::rd_kafka_msg_status_t::RD_KAFKA_MSG_STATUS_PERSISTED;
        if persisted && (*message).err == RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
            let topic = CStr::from_ptr(c::rd_kafka_topic_name((*message).rkt));
            (*acks.cast::<Acks>()).count(topic, (*message).partition, (*message).offset);
        }
    }
    RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_are_counted_apart_until_they_are_taken() {
        let acks = Acks::default();
        for (topic, partition, offset) in [(c"a", 0, 4), (c"a", 0, 5), (c"a", 1, 9), (c"b", 0, -1), (c"a", 0, 3)] {
            acks.count(topic, partition, offset);
        }
        let all = acks.take();
        let all: Vec<_> = all.iter().map(|acked| (acked.topic(), acked.partition, acked.count, acked.offset)).collect();
        assert_eq!(all, [("a".into(), 0, 3, 5), ("a".into(), 1, 1, 9), ("b".into(), 0, 1, -1)]);
        acks.count(c"b", 0, 1);
        assert_eq!(acks.take().len(), 1, "what was taken is not told again");
    }
}
