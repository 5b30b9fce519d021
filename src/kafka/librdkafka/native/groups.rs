//! What is asked of the broker that looks after a group.

use std::ffi::CString;
use std::ptr;
use std::time::Duration;

use rdkafka::TopicPartitionList;
use rdkafka::bindings as c;
use rdkafka::error::RDKafkaErrorCode;

use super::{Native, Request, array, bytes, checked, elements, partition_of, text};
use crate::kafka::{GroupState, Position};
use crate::record::TopicPartition;

/// A member of a group, and what is assigned to it.
pub(in crate::kafka::librdkafka) struct GroupMember {
    pub(in crate::kafka::librdkafka) id: String,
    pub(in crate::kafka::librdkafka) client: String,
    pub(in crate::kafka::librdkafka) host: String,
    pub(in crate::kafka::librdkafka) instance: Option<String>,
    pub(in crate::kafka::librdkafka) partitions: Vec<TopicPartition>,
}

/// A group with members, or without.
pub(in crate::kafka::librdkafka) struct DescribedGroup {
    pub(in crate::kafka::librdkafka) state: GroupState,
    pub(in crate::kafka::librdkafka) members: Vec<GroupMember>,
    /// None while it is not settled.
    pub(in crate::kafka::librdkafka) assignor: Option<String>,
}

/// A group; none if there is no such group.
pub(in crate::kafka::librdkafka) fn describe_group(
    client: &Native,
    group: &str,
    timeout: Duration,
) -> Result<Option<DescribedGroup>, RDKafkaErrorCode> {
    let request = Request::of_group(client, c::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBECONSUMERGROUPS, timeout);
    let group = CString::new(group).map_err(|_| RDKafkaErrorCode::InvalidGroupId)?;
    // SAFETY: name, client, options and queue are alive; what is read belongs to the answer.
    unsafe {
        let mut names = [group.as_ptr()];
        c::rd_kafka_DescribeConsumerGroups(client.client, names.as_mut_ptr(), 1, request.options, request.queue);
        let answer = request.answer()?;
        let mut count = 0;
        let result = c::rd_kafka_event_DescribeConsumerGroups_result(answer.0);
        let groups = c::rd_kafka_DescribeConsumerGroups_result_groups(result, &raw mut count);
        let Some(found) = array(groups, count).first().copied() else { return Ok(None) };
        let error = c::rd_kafka_ConsumerGroupDescription_error(found);
        if !error.is_null() {
            return match c::rd_kafka_error_code(error).into() {
                RDKafkaErrorCode::GroupIdNotFound => Ok(None),
                code => Err(code),
            };
        }
        use c::rd_kafka_consumer_group_state_t as State;
        let state = match c::rd_kafka_ConsumerGroupDescription_state(found) {
            State::RD_KAFKA_CONSUMER_GROUP_STATE_DEAD => return Ok(None),
            State::RD_KAFKA_CONSUMER_GROUP_STATE_STABLE => GroupState::Stable,
            State::RD_KAFKA_CONSUMER_GROUP_STATE_EMPTY => GroupState::Empty,
            _ => GroupState::Rebalancing,
        };
        let members = 0..c::rd_kafka_ConsumerGroupDescription_member_count(found);
        let assignor = text(c::rd_kafka_ConsumerGroupDescription_partition_assignor(found));
        Ok(Some(DescribedGroup {
            state,
            members: members.map(|index| group_member(c::rd_kafka_ConsumerGroupDescription_member(found, index))).collect(),
            assignor: (!assignor.is_empty()).then_some(assignor),
        }))
    }
}

/// # Safety
/// The member belongs to an answer that is alive.
unsafe fn group_member(member: *const c::rd_kafka_MemberDescription_t) -> GroupMember {
    // SAFETY: promised by the caller.
    unsafe {
        let instance = text(c::rd_kafka_MemberDescription_group_instance_id(member));
        let assignment = c::rd_kafka_MemberDescription_assignment(member);
        let list = if assignment.is_null() { ptr::null() } else { c::rd_kafka_MemberAssignment_partitions(assignment) };
        let partitions = if list.is_null() { Vec::new() } else { elements(list).iter().map(|element| partition_of(element)).collect() };
        GroupMember {
            id: text(c::rd_kafka_MemberDescription_consumer_id(member)),
            client: text(c::rd_kafka_MemberDescription_client_id(member)),
            host: text(c::rd_kafka_MemberDescription_host(member)),
            instance: (!instance.is_empty()).then_some(instance),
            partitions,
        }
    }
}

/// All positions of a group; undecided ones do not show.
pub(in crate::kafka::librdkafka) fn group_positions(
    client: &Native,
    group: &str,
    timeout: Duration,
) -> Result<Vec<(TopicPartition, Position)>, RDKafkaErrorCode> {
    let request = Request::of_group(client, c::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_LISTCONSUMERGROUPOFFSETS, timeout);
    let group = CString::new(group).map_err(|_| RDKafkaErrorCode::InvalidGroupId)?;
    // SAFETY: name, client, options and queue are alive; the question is freed here, what is read belongs to the answer.
    unsafe {
        let mut question = c::rd_kafka_ListConsumerGroupOffsets_new(group.as_ptr(), ptr::null());
        c::rd_kafka_ListConsumerGroupOffsets(client.client, &raw mut question, 1, request.options, request.queue);
        let answer = request.answer();
        c::rd_kafka_ListConsumerGroupOffsets_destroy(question);
        let answer = answer?;
        let mut count = 0;
        let result = c::rd_kafka_event_ListConsumerGroupOffsets_result(answer.0);
        let groups = c::rd_kafka_ListConsumerGroupOffsets_result_groups(result, &raw mut count);
        let mut positions = Vec::new();
        for found in array(groups, count) {
            for element in group_elements(*found)? {
                if element.offset >= 0 {
                    let metadata = bytes(element.metadata, element.metadata_size).unwrap_or_default();
                    let metadata = String::from_utf8_lossy(metadata).into_owned();
                    positions.push((partition_of(element), Position { offset: element.offset, metadata }));
                }
            }
        }
        Ok(positions)
    }
}

/// # Safety
/// The result belongs to an answer that is alive for `'a`.
unsafe fn group_elements<'a>(result: *const c::rd_kafka_group_result_t) -> Result<&'a [c::rd_kafka_topic_partition_t], RDKafkaErrorCode> {
    // SAFETY: promised by the caller.
    unsafe {
        let error = c::rd_kafka_group_result_error(result);
        if !error.is_null() {
            return Err(c::rd_kafka_error_code(error).into());
        }
        let list = c::rd_kafka_group_result_partitions(result);
        Ok(if list.is_null() { &[] } else { elements(list) })
    }
}

/// Deletes positions of a group; those that are not there are passed over.
pub(in crate::kafka::librdkafka) fn delete_positions(
    client: &Native,
    group: &str,
    partitions: &[TopicPartition],
    timeout: Duration,
) -> Result<(), RDKafkaErrorCode> {
    let request = Request::of_group(client, c::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DELETECONSUMERGROUPOFFSETS, timeout);
    let group = CString::new(group).map_err(|_| RDKafkaErrorCode::InvalidGroupId)?;
    let mut list = TopicPartitionList::with_capacity(partitions.len());
    for partition in partitions {
        list.add_partition(&partition.topic, partition.partition);
    }
    // SAFETY: name, list, client, options and queue are alive; the question is freed here, what is read belongs to the answer.
    unsafe {
        let mut question = c::rd_kafka_DeleteConsumerGroupOffsets_new(group.as_ptr(), list.ptr());
        c::rd_kafka_DeleteConsumerGroupOffsets(client.client, &raw mut question, 1, request.options, request.queue);
        let answer = request.answer();
        c::rd_kafka_DeleteConsumerGroupOffsets_destroy(question);
        let answer = answer?;
        let mut count = 0;
        let result = c::rd_kafka_event_DeleteConsumerGroupOffsets_result(answer.0);
        let groups = c::rd_kafka_DeleteConsumerGroupOffsets_result_groups(result, &raw mut count);
        for found in array(groups, count) {
            for element in group_elements(*found)? {
                match checked(element.err) {
                    Err(RDKafkaErrorCode::UnknownTopicOrPartition) | Ok(()) => {}
                    Err(code) => return Err(code),
                }
            }
        }
    }
    Ok(())
}

/// Deletes a group that has no members.
pub(in crate::kafka::librdkafka) fn delete_group(client: &Native, group: &str, timeout: Duration) -> Result<(), RDKafkaErrorCode> {
    if group.is_empty() {
        return Err(RDKafkaErrorCode::InvalidGroupId);
    }
    let request = Request::of_group(client, c::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DELETEGROUPS, timeout);
    let group = CString::new(group).map_err(|_| RDKafkaErrorCode::InvalidGroupId)?;
    // SAFETY: name, client, options and queue are alive; the question is freed here, what is read belongs to the answer.
    unsafe {
        let mut question = c::rd_kafka_DeleteGroup_new(group.as_ptr());
        c::rd_kafka_DeleteGroups(client.client, &raw mut question, 1, request.options, request.queue);
        let answer = request.answer();
        c::rd_kafka_DeleteGroup_destroy(question);
        let answer = answer?;
        let mut count = 0;
        let result = c::rd_kafka_event_DeleteGroups_result(answer.0);
        let groups = c::rd_kafka_DeleteGroups_result_groups(result, &raw mut count);
        array(groups, count).iter().try_for_each(|found| group_elements(*found).map(drop))
    }
}
