//! The port suite on a real broker: every check, but for those that are named here with what is different.

#[path = "../../../tests/kafka/broker/mod.rs"]
mod broker;

use std::sync::Arc;

use broker::Broker;

use super::{KafkaConfig, KafkaLog};
use crate::kafka::Connect;
use crate::kafka::conformance::{self, Ground, port_checks};

/// What a cluster does otherwise, and why nothing rests on it.
const DIFFERENT: [(&str, &str); 1] = [(
    "positions_of_a_stale_token_spoil_the_transaction",
    "a broker refuses a token of before a release once the group has moved on, which it need not do for a member that is alone",
)];

/// Where the broker of this run is; none if there is none.
pub(super) fn bootstrap() -> Option<String> {
    Some(Broker::shared()?.bootstrap().to_owned())
}

/// The cluster of this run; none, after a loud line, where there is no broker and none can be started.
fn cluster() -> Option<Arc<dyn Connect>> {
    Some(Arc::new(KafkaLog::new(KafkaConfig::new(bootstrap()?))))
}

fn run(name: &'static str, check: fn(&Ground)) {
    match (DIFFERENT.iter().find(|(different, _)| *different == name), cluster()) {
        (Some((_, reason)), _) => eprintln!("NOT RUN: {reason}"),
        (None, Some(log)) => check(&Ground::new(log, name)),
        (None, None) => {}
    }
}

macro_rules! on_a_cluster {
    ([] $($check:ident)+) => {
        $(#[test] fn $check() {
            run(stringify!($check), conformance::$check);
        })+

        #[test]
        fn every_difference_is_one_of_a_check() {
            let checks = [$(stringify!($check)),+];
            assert!(DIFFERENT.iter().all(|(name, _)| checks.contains(name)));
        }
    };
}

port_checks!(on_a_cluster!());
