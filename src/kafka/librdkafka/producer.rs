//! Writing to a cluster.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::outbound::{Outbound, SEND_TIMEOUT};
use super::{KafkaConfig, end_beside, native};
use crate::kafka::{Flushed, LogError, Outgoing, Producer};
use crate::record::TopicPartition;

/// A producer. Sending again doubles nothing, as long as the client lives.
pub(super) struct KafkaProducer {
    config: Arc<KafkaConfig>,
    /// Always there but while it is dropped or exchanged.
    outbound: Option<Outbound>,
    /// What became of records of an earlier one that nobody has asked for yet.
    before: Flushed,
}

impl KafkaProducer {
    pub(super) fn open(config: &Arc<KafkaConfig>) -> Result<Self, LogError> {
        let outbound = Some(KafkaProducer::client(config)?);
        Ok(KafkaProducer { config: config.clone(), outbound, before: Flushed::default() })
    }

    fn client(config: &KafkaConfig) -> Result<Outbound, LogError> {
        Outbound::open(config, &[("message.timeout.ms", &SEND_TIMEOUT.as_millis().to_string())])
    }

    /// The client; another one if that one can do nothing any more.
    fn outbound(&mut self) -> Result<&mut Outbound, LogError> {
        if let Some(outbound) = &mut self.outbound
            && let Some(code) = native::outbound_fatal(outbound.client())
        {
            tracing::warn!("the producer is exchanged for another one: {code}");
            // What it has not sent, it never will.
            let told = outbound.flush(Duration::ZERO);
            self.before.acked.extend(told.acked);
            self.before.failed.extend(told.failed);
            self.end();
        }
        match &mut self.outbound {
            Some(outbound) => Ok(outbound),
            none => Ok(none.insert(KafkaProducer::client(&self.config)?)),
        }
    }

    fn end(&mut self) {
        let ended = self.outbound.take();
        end_beside(move || drop(ended));
    }
}

impl Producer for KafkaProducer {
    fn send(&mut self, partition: &TopicPartition, records: &[Outgoing<'_>]) -> Result<(), LogError> {
        self.outbound()?.send(partition, records)
    }

    fn flush(&mut self, timeout: Duration) -> Flushed {
        let told = self.outbound.as_mut().map(|outbound| outbound.flush(timeout)).unwrap_or_default();
        joined(std::mem::take(&mut self.before), told)
    }

    fn partition_count(&mut self, topic: &str) -> Result<i32, LogError> {
        self.outbound()?.partition_count(topic)
    }

    fn largest_record(&mut self, topic: &str) -> Result<Option<usize>, LogError> {
        self.outbound()?.largest_record(topic)
    }
}

/// What two producers told one after the other: the higher offset and the earlier error of each partition.
fn joined(before: Flushed, told: Flushed) -> Flushed {
    if before.acked.is_empty() && before.failed.is_empty() {
        return told;
    }
    let (mut acked, mut failed) = (BTreeMap::new(), BTreeMap::new());
    for (partition, offset) in before.acked.into_iter().chain(told.acked) {
        let highest = acked.entry(partition).or_insert(offset);
        *highest = offset.max(*highest);
    }
    for (partition, error) in before.failed.into_iter().chain(told.failed) {
        failed.entry(partition).or_insert(error);
    }
    Flushed { acked: acked.into_iter().collect(), failed: failed.into_iter().collect() }
}

impl Drop for KafkaProducer {
    fn drop(&mut self) {
        self.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// They were forgotten with the client, and a commit went on without them.
    #[test]
    fn what_an_exchanged_producer_has_lost_is_told_by_the_next_flush() {
        let partition = |number| TopicPartition::new("t", number);
        let lost = |text: &str| LogError::UnknownTopic(text.into());
        let before = Flushed { acked: vec![(partition(0), 7)], failed: vec![(partition(1), lost("first"))] };
        let told = Flushed { acked: vec![(partition(0), 3), (partition(1), 4)], failed: vec![(partition(1), lost("second"))] };
        let both = joined(before, told);
        assert_eq!(both.acked, [(partition(0), 7), (partition(1), 4)]);
        assert!(matches!(&*both.failed, [(at, LogError::UnknownTopic(first))] if *at == partition(1) && &**first == "first"));
    }
}
