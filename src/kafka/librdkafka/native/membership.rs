//! The part of membership that the wrapper crate does not offer: who a client is in its group, and commits with a bounded wait.

use std::ffi::CStr;
use std::ptr::{self, NonNull};
use std::slice;
use std::time::Duration;

use rdkafka::TopicPartitionList;
use rdkafka::bindings as c;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::RDKafkaErrorCode;

use super::{checked, millis};
use crate::record::TopicPartition;

/// The member id and the generation of a client of a group, as the library has them now. Empty and -1 while it is in none.
pub(in crate::kafka::librdkafka) fn membership<C: ConsumerContext>(client: &BaseConsumer<C>) -> Option<(String, i32)> {
    // SAFETY: the client is alive; what the library hands out is read before it is given back.
    unsafe {
        let held = NonNull::new(c::rd_kafka_consumer_group_metadata(client.client().native_ptr()))?;
        let member = c::rd_kafka_consumer_group_metadata_member_id(held.as_ptr());
        let member = if member.is_null() { String::new() } else { CStr::from_ptr(member).to_string_lossy().into_owned() };
        let generation = c::rd_kafka_consumer_group_metadata_generation_id(held.as_ptr());
        c::rd_kafka_consumer_group_metadata_destroy(held.as_ptr());
        Some((member, generation))
    }
}

/// A commit on its way. It goes before the client that sent it.
pub(in crate::kafka::librdkafka) struct Sent(NonNull<c::rd_kafka_queue_t>);

// SAFETY: the library locks its queues; whoever has it is the only one to use it.
unsafe impl Send for Sent {}

/// Sends positions to be written down for the group of a client.
pub(in crate::kafka::librdkafka) fn commit<C: ConsumerContext>(
    client: &BaseConsumer<C>,
    positions: &TopicPartitionList,
) -> Result<Sent, RDKafkaErrorCode> {
    let raw = client.client().native_ptr();
    // SAFETY: client and list are alive; the library copies the list. An answer that comes when the queue is gone is dropped by it.
    unsafe {
        let sent = Sent(NonNull::new(c::rd_kafka_queue_new(raw)).ok_or(RDKafkaErrorCode::Fail)?);
        checked(c::rd_kafka_commit_queue(raw, positions.ptr(), sent.0.as_ptr(), None, ptr::null_mut()))?;
        Ok(sent)
    }
}

impl Sent {
    /// Waits for the answer: the code for all positions, and the codes of single partitions. None if there was none in time.
    pub(in crate::kafka::librdkafka) fn wait(&self, within: Duration) -> Option<Committed> {
        // SAFETY: the queue is alive; the event is freed here, what is read belongs to it.
        unsafe {
            let event = NonNull::new(c::rd_kafka_queue_poll(self.0.as_ptr(), millis(within)))?;
            let all = checked(c::rd_kafka_event_error(event.as_ptr())).err();
            let list = c::rd_kafka_event_topic_partition_list(event.as_ptr());
            let elements = if list.is_null() || (*list).cnt == 0 {
                &[][..]
            } else {
                slice::from_raw_parts((*list).elems, usize::try_from((*list).cnt).unwrap_or(0))
            };
            let failed = |element: &c::rd_kafka_topic_partition_t| {
                let code = checked(element.err).err()?;
                Some((TopicPartition::new(&*CStr::from_ptr(element.topic).to_string_lossy(), element.partition), code))
            };
            let single = elements.iter().filter_map(failed).collect();
            c::rd_kafka_event_destroy(event.as_ptr());
            Some(Committed { all, single })
        }
    }
}

impl Drop for Sent {
    fn drop(&mut self) {
        // SAFETY: made with it, and used by nobody after it.
        unsafe { c::rd_kafka_queue_destroy(self.0.as_ptr()) }
    }
}

/// The answer to a commit.
#[derive(Debug)]
pub(in crate::kafka::librdkafka) struct Committed {
    /// What was said about all of it.
    pub(in crate::kafka::librdkafka) all: Option<RDKafkaErrorCode>,
    /// What was said about single partitions.
    pub(in crate::kafka::librdkafka) single: Vec<(TopicPartition, RDKafkaErrorCode)>,
}
