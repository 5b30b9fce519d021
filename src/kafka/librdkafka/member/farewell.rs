//! How a client leaves its group before it ends.

use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer as _};

use super::watcher::Watcher;
use crate::kafka::librdkafka::deadline::Deadline;
use crate::kafka::librdkafka::native;

/// Longest wait for a rebalance that has to end first.
const WITHIN: Duration = Duration::from_secs(4);
/// Between two looks.
const BETWEEN_LOOKS: Duration = Duration::from_millis(10);

/// Leaves, and waits until the library has done so, which it does when the rebalance is over that it is in.
///
/// librdkafka 2.12 must not end while it waits for the answer to `SyncGroup`. It does not leave then, so that the group counts it in until its session
/// is over; and if the answer is an error, and arrives when the client has just ended, it leaves then, asks a coordinator that is null by now, and the
/// process dies of it (its issue 5347).
pub(super) fn leave(client: &BaseConsumer<Watcher>) {
    if !has_name(client) {
        return;
    }
    client.unsubscribe();
    let mut until = Deadline::after(WITHIN);
    while has_name(client) && !until.rest().is_zero() {
        client.poll(BETWEEN_LOOKS);
    }
}

/// Whether the group knows it, as far as the library has heard. It forgets its name as it leaves.
fn has_name(client: &BaseConsumer<Watcher>) -> bool {
    native::membership(client).is_some_and(|(name, _)| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use rdkafka::ClientConfig;
    use rdkafka::mocking::MockCluster;

    use super::*;

    #[test]
    fn who_ends_in_the_middle_of_a_rebalance_has_left_before() {
        let cluster = MockCluster::new(1).expect("a cluster");
        cluster.create_topic("t", 1, 1).expect("a topic");
        cluster.broker_round_trip_time(1, Duration::from_millis(200)).expect("slow");
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", cluster.bootstrap_servers()).set("group.id", "g");
        config.set("partition.assignment.strategy", "cooperative-sticky");
        let client: BaseConsumer<Watcher> = config.create_with_context(Watcher::default()).expect("a client");
        leave(&client);
        client.subscribe(&["t"]).expect("subscribed");
        // It knows the generation as soon as it waits for the answer to `SyncGroup`.
        let mut until = Deadline::after(Duration::from_secs(30));
        while native::membership(&client).is_none_or(|(_, generation)| generation < 0) {
            assert!(!until.rest().is_zero(), "it does not come in");
            client.poll(Duration::from_millis(1));
        }
        client.context().close();
        assert!(has_name(&client) && client.context().take().is_empty(), "its rebalance is not over");
        leave(&client);
        assert!(!has_name(&client), "it is still in");
    }
}
