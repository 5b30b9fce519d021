//! What every log behind the ports must do: checks that know the ports only, so that each implementation runs the same ones.
//!
//! A check gets a log that may be shared with others and slow to settle: it uses topics and groups of its own and waits for what it
//! expects. [`port_conformance!`] makes one test of each check. The numbers B.. are those of the project's broker check list.

mod administration;
mod groups;
mod keeping;
mod reading;
mod topics;
mod transactions;
mod writing;

use std::sync::Arc;
use std::time::Duration;

use super::{Admin, Connect, Consumer, FetchLimit, Fetched, Isolation, LogError, NewTopic, Outgoing, Producer};
use crate::clock::{Clock, SystemClock};
use crate::record::{Headers, Timestamp, TopicPartition};

pub(super) use administration::*;
pub(super) use groups::*;
pub(super) use keeping::*;
pub(super) use reading::*;
pub(super) use topics::*;
pub(super) use transactions::*;
pub(super) use writing::*;

/// Calls a macro with the name of every check.
macro_rules! port_checks {
    ($each:ident!($($with:tt)*)) => {
        $each! { [$($with)*]
            topics_are_made_described_and_deleted topics_that_cannot_be_are_refused whoever_makes_a_topic_second_finds_it
            a_topic_made_again_is_another_one
            records_are_deleted_up_to_an_offset deletion_beyond_the_end_is_refused
            records_come_back_as_they_were_sent a_large_record_comes_back an_oversized_record_is_refused_and_nothing_with_it
            negative_times_are_refused_and_zero_is_kept the_log_may_stamp_the_time sends_to_nowhere_fail
            a_flush_tells_the_highest_offset_of_each_partition
            a_fetch_goes_on_where_the_last_one_ended a_fetch_keeps_to_its_limits_but_visits_one a_fetch_ends_where_its_visitor_has_enough a_seek_moves_the_position
            an_offset_out_of_range_is_an_error_with_both_ends a_paused_partition_is_silent a_poll_without_time_does_not_wait
            new_data_wakes_a_waiting_poll what_is_not_assigned_is_not_read assignment_to_nowhere_fails offsets_are_found_by_time
            a_visitor_may_write
            a_position_is_kept_with_its_metadata the_first_member_gets_everything a_second_member_gets_half_after_a_release
            who_leaves_gives_back_everything who_is_dropped_has_left a_stale_token_is_refused a_stranger_commits_only_to_an_empty_group
            metadata_has_a_limit members_must_agree_about_the_tasks
            a_partition_that_ends_in_a_commit_marker_is_read_to_its_end a_partition_that_ends_in_an_abort_marker_is_read_to_its_end
            nothing_but_aborted_data_is_passed_over a_fetch_limit_counts_visible_records_only transactions_follow_each_other
            two_transactions_mix_in_one_partition an_open_transaction_holds_back_what_comes_after_it
            a_search_by_time_ends_at_the_last_stable_offset a_transaction_counts_in_all_partitions_or_in_none
            records_deleted_under_an_open_transaction_hold_nobody_back a_new_producer_of_an_id_fences_the_older_one
            a_zombie_can_neither_write_nor_commit_positions positions_appear_with_the_commit
            positions_of_a_stale_token_spoil_the_transaction positions_sent_before_a_rebalance_are_committed_after_it
            a_transaction_open_for_too_long_is_aborted a_dropped_producer_leaves_its_transaction_to_the_next_init
            a_committed_transaction_is_seen_up_to_the_high_watermark steps_out_of_order_are_refused
            a_topic_gets_more_partitions settings_of_a_topic_are_changed_and_taken_back the_latest_time_need_not_be_the_last
            groups_are_listed_and_described positions_are_deleted_from_empty_groups_only
            compaction_leaves_the_last_record_of_each_key_where_it_was a_compacted_topic_takes_no_record_without_a_key
            what_was_aborted_is_compacted_away compaction_leaves_alone_what_is_not_decided
            records_older_than_the_topic_keeps_are_deleted more_than_a_topic_keeps_is_deleted compaction_and_deletion_go_together
        }
    };
}
pub(in crate::kafka) use port_checks;

/// Makes a test of every check, each on what `$open` gives: an `Arc<dyn Connect>`.
macro_rules! port_conformance {
    ([$open:expr] $($check:ident)+) => {
        $(#[test] fn $check() {
            $crate::kafka::conformance::$check(&$crate::kafka::conformance::Ground::new($open, stringify!($check)));
        })+
    };
    ($open:expr) => {
        $crate::kafka::conformance::port_checks!(port_conformance!($open));
    };
}
pub(in crate::kafka) use port_conformance;

/// Longest wait for anything a check expects: a machine may be slow, and a cluster busy.
const PATIENCE: Duration = Duration::from_secs(60);
/// One wait of many.
const STEP: Duration = Duration::from_millis(100);
/// So many of them are a [`PATIENCE`].
const STEPS: u32 = 600;

/// A log, and the names that one check may use on it.
pub(super) struct Ground {
    log: Arc<dyn Connect>,
    /// Of this run alone: a cluster has what earlier runs left.
    name: String,
}

impl Ground {
    pub(super) fn new(log: Arc<dyn Connect>, name: &'static str) -> Self {
        Ground { log, name: format!("{name}.{}", SystemClock.now().as_millis()) }
    }
    fn name(&self, suffix: &str) -> String {
        format!("{}.{suffix}", self.name)
    }
    fn admin(&self) -> Box<dyn Admin> {
        self.log.admin().expect("an administrator")
    }
    fn consumer(&self) -> Box<dyn Consumer> {
        self.log.consumer(Isolation::ReadCommitted).expect("a consumer")
    }
    fn producer(&self) -> Box<dyn Producer> {
        self.log.producer().expect("a producer")
    }
    fn topic(&self, suffix: &str, partitions: i32) -> Vec<TopicPartition> {
        // Times are small numbers in most checks: a week is over.
        self.topic_with(NewTopic::new(self.name(suffix), partitions).with("retention.ms", "-1"))
    }
    fn topic_with(&self, topic: NewTopic) -> Vec<TopicPartition> {
        self.admin().create_topics(std::slice::from_ref(&topic)).expect("a new topic");
        (0..topic.partitions).map(|n| TopicPartition::new(topic.name.as_str(), n)).collect()
    }
    /// Sends values, at the times 0, 1, 2 and so on, and waits for them.
    fn write(&self, partition: &TopicPartition, values: &[&str]) {
        let headers = Headers::default();
        let at = |n: usize| Timestamp::from_millis(n as i64);
        let records: Vec<_> = values.iter().enumerate().map(|(n, value)| value_at(value, at(n), &headers)).collect();
        try_write(&mut *self.producer(), partition, &records).expect("written");
    }
}

fn value_at<'a>(value: &'a str, timestamp: Timestamp, headers: &'a Headers) -> Outgoing<'a> {
    Outgoing { key: None, value: Some(value.as_bytes()), timestamp, headers }
}

/// Sends to one partition and waits; an error may come at either step.
fn try_write(producer: &mut dyn Producer, partition: &TopicPartition, records: &[Outgoing<'_>]) -> Result<i64, LogError> {
    producer.send(partition, records)?;
    let flushed = producer.flush(PATIENCE);
    match flushed.failed.into_iter().find(|(failed, _)| failed == partition) {
        Some((_, error)) => Err(error),
        None => Ok(flushed.acked.iter().find(|(acked, _)| acked == partition).expect("acknowledged").1),
    }
}

/// Polls and fetches until the end, or until an error.
fn read_to_end(consumer: &mut dyn Consumer, partition: &TopicPartition) -> Result<(Vec<(i64, String)>, Fetched), LogError> {
    let mut read = Vec::new();
    for _ in 0..STEPS {
        let fetched = consumer.fetch(partition, FetchLimit::default(), &mut |record| {
            read.push((record.offset, String::from_utf8_lossy(record.value.unwrap_or_default()).into_owned()));
        })?;
        if fetched.at_end() {
            return Ok((read, fetched));
        }
        consumer.poll(STEP)?;
    }
    panic!("the end of {partition} was not reached");
}

/// Polls and fetches until an error; a client may have fetched ahead.
fn read_until_refused(consumer: &mut dyn Consumer, partition: &TopicPartition) -> LogError {
    for _ in 0..STEPS {
        if let Err(error) = consumer.fetch(partition, FetchLimit::default(), &mut |_| ()) {
            return error;
        }
        consumer.poll(STEP).expect("polled");
    }
    panic!("{partition} is still read")
}

/// Reads a partition from an offset on with a consumer of its own.
fn read_from(ground: &Ground, partition: &TopicPartition, offset: i64) -> Result<Vec<(i64, String)>, LogError> {
    let mut consumer = ground.consumer();
    consumer.assign(&[(partition.clone(), offset)])?;
    Ok(read_to_end(&mut *consumer, partition)?.0)
}

fn numbered(records: &[(i64, &str)]) -> Vec<(i64, String)> {
    records.iter().map(|(offset, value)| (*offset, (*value).to_owned())).collect()
}
