//! What tells topics from others of the same name.

use std::ffi::CString;
use std::time::Duration;

use rdkafka::bindings as c;
use rdkafka::error::RDKafkaErrorCode;

use crate::kafka::TopicIdentity;

use super::{Native, Request, array, checked};

/// Which topics have these names, in their order; none for one that is not there.
pub(in crate::kafka::librdkafka) fn identify(
    client: &Native,
    names: &[&str],
    timeout: Duration,
) -> Result<Vec<Option<TopicIdentity>>, RDKafkaErrorCode> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let owned = names.iter().map(|name| CString::new(*name).map_err(|_| RDKafkaErrorCode::InvalidTopic)).collect::<Result<Vec<_>, _>>()?;
    let mut given: Vec<_> = owned.iter().map(|name| name.as_ptr()).collect();
    let request = Request::new(client, c::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS, timeout);
    // SAFETY: names, client, options and queue are alive; the question is freed here, what is read belongs to the answer.
    unsafe {
        let question = c::rd_kafka_TopicCollection_of_topic_names(given.as_mut_ptr(), given.len());
        c::rd_kafka_DescribeTopics(client.client, question, request.options, request.queue);
        let answer = request.answer();
        c::rd_kafka_TopicCollection_destroy(question);
        let answer = answer?;
        let mut count = 0;
        let result = c::rd_kafka_event_DescribeTopics_result(answer.0);
        let topics = c::rd_kafka_DescribeTopics_result_topics(result, &raw mut count);
        array(topics, count).iter().map(|topic| identity_of(*topic)).collect()
    }
}

/// # Safety
/// The topic belongs to an answer that is alive.
unsafe fn identity_of(topic: *const c::rd_kafka_TopicDescription_t) -> Result<Option<TopicIdentity>, RDKafkaErrorCode> {
    // SAFETY: promised by the caller.
    let (error, id) = unsafe { (c::rd_kafka_TopicDescription_error(topic), c::rd_kafka_TopicDescription_topic_id(topic)) };
    // SAFETY: as above; no error is one without a code.
    let code = if error.is_null() { Ok(()) } else { checked(unsafe { c::rd_kafka_error_code(error) }) };
    match code {
        Err(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => Ok(None),
        Err(code) => Err(code),
        Ok(()) if id.is_null() => Ok(None),
        // SAFETY: as above.
        Ok(()) => unsafe {
            let (most, least) = (c::rd_kafka_Uuid_most_significant_bits(id), c::rd_kafka_Uuid_least_significant_bits(id));
            let mut partitions = 0;
            c::rd_kafka_TopicDescription_partitions(topic, &raw mut partitions);
            let id = (u128::from(most.cast_unsigned()) << 64) | u128::from(least.cast_unsigned());
            Ok(Some(TopicIdentity { id, partitions: i32::try_from(partitions).unwrap_or(i32::MAX) }))
        },
    }
}
