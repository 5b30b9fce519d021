//! Writing to a cluster.

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
}

impl KafkaProducer {
    pub(super) fn open(config: &Arc<KafkaConfig>) -> Result<Self, LogError> {
        let outbound = Some(KafkaProducer::client(config)?);
        Ok(KafkaProducer { config: config.clone(), outbound })
    }

    fn client(config: &KafkaConfig) -> Result<Outbound, LogError> {
        Outbound::open(config, &[("message.timeout.ms", &SEND_TIMEOUT.as_millis().to_string())])
    }

    /// The client; another one if that one can do nothing any more.
    fn outbound(&mut self) -> Result<&mut Outbound, LogError> {
        if let Some(code) = self.outbound.as_ref().and_then(|outbound| native::outbound_fatal(outbound.client())) {
            tracing::warn!("the producer is exchanged for another one: {code}");
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
        self.outbound.as_mut().map(|outbound| outbound.flush(timeout)).unwrap_or_default()
    }

    fn partition_count(&mut self, topic: &str) -> Result<i32, LogError> {
        self.outbound()?.partition_count(topic)
    }

    fn largest_record(&mut self, topic: &str) -> Result<Option<usize>, LogError> {
        self.outbound()?.largest_record(topic)
    }
}

impl Drop for KafkaProducer {
    fn drop(&mut self) {
        self.end();
    }
}
