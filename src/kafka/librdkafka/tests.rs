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
