//! The port suite on a real broker.

use std::sync::Arc;

use super::{KafkaConfig, KafkaLog};
use crate::kafka::Connect;

/// The cluster of this run; none without a broker, which is an error where everything has to be run.
fn cluster() -> Option<Arc<dyn Connect>> {
    let Ok(bootstrap) = std::env::var("KAFKA_BOOTSTRAP") else {
        assert!(std::env::var_os("CI").is_none(), "no broker: set KAFKA_BOOTSTRAP");
        eprintln!("NOT RUN: no broker, set KAFKA_BOOTSTRAP");
        return None;
    };
    Some(Arc::new(KafkaLog::new(KafkaConfig::new(bootstrap))))
}

macro_rules! on_a_cluster {
    ($($check:ident)+) => {
        $(#[test] fn $check() {
            if let Some(log) = cluster() {
                crate::kafka::conformance::$check(&crate::kafka::conformance::Ground::new(log, stringify!($check)));
            }
        })+
    };
}

on_a_cluster!(topics_that_cannot_be_are_refused a_poll_without_time_does_not_wait assignment_to_nowhere_fails);

on_a_cluster!(records_come_back_as_they_were_sent a_large_record_comes_back an_oversized_record_is_refused_and_nothing_with_it
    the_log_may_stamp_the_time sends_to_nowhere_fail
    a_flush_tells_the_highest_offset_of_each_partition a_compacted_topic_takes_no_record_without_a_key);

// Transactions.
on_a_cluster!(transactions_follow_each_other steps_out_of_order_are_refused);
