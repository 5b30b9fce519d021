//! Real clusters, through librdkafka.
//!
//! [`KafkaLog`] opens the clients of one cluster. Everything unsafe is in `native`, which gives the C library's batch calls a safe face.

mod admin;
mod bell;
mod config;
mod connections;
mod consumer;
mod context;
mod deadline;
mod error;
mod member;
mod metadata;
#[allow(unsafe_code)] // the only place: what the wrapper crate does not offer is called on the C library itself
mod native;
mod offsets;
mod outbound;
mod producer;
mod settling;
#[cfg(test)]
mod tests;
mod transactional;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

pub use config::{KafkaConfig, KafkaConfigError};

use crate::record::TaskId;

use super::{
    Admin, ClientRoom, Connect, Consumer, Group, Isolation, LogError, MemberOptions, NewTopic, Producer, TransactionalProducer, task_topics,
};

/// A Kafka cluster.
#[derive(Clone)]
pub struct KafkaLog {
    config: Arc<KafkaConfig>,
}

impl KafkaLog {
    /// A cluster that is reached as `config` says. Nothing is asked of it yet: clients connect when they are opened.
    pub fn new(config: KafkaConfig) -> Self {
        KafkaLog { config: Arc::new(config) }
    }
}

impl fmt::Debug for KafkaLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KafkaLog({})", self.config.bootstrap())
    }
}

impl Connect for KafkaLog {
    fn consumer(&self, isolation: Isolation) -> Result<Box<dyn Consumer>, LogError> {
        Ok(Box::new(consumer::KafkaConsumer::open(&self.config, isolation)?))
    }

    fn producer(&self) -> Result<Box<dyn Producer>, LogError> {
        Ok(Box::new(producer::KafkaProducer::open(&self.config)?))
    }

    fn transactional_producer(&self, id: &str, timeout: Duration) -> Result<Box<dyn TransactionalProducer>, LogError> {
        Ok(Box::new(transactional::KafkaTransactions::open(self.config.clone(), id, timeout)?))
    }

    fn admin(&self) -> Result<Box<dyn Admin>, LogError> {
        Ok(Box::new(admin::KafkaAdmin::open(&self.config)?))
    }

    fn task_topics(&self, group: &str, tasks: &[TaskId]) -> Vec<NewTopic> {
        task_topics(group, tasks)
    }

    fn within(&self, room: ClientRoom) -> Option<Arc<dyn Connect>> {
        Some(Arc::new(KafkaLog::new(self.config.within(room))))
    }

    fn named(&self, name: &str) -> Option<Arc<dyn Connect>> {
        Some(Arc::new(KafkaLog::new(self.config.named(name))))
    }

    fn member_with(&self, options: MemberOptions) -> Result<Box<dyn Group>, LogError> {
        Ok(Box::new(member::KafkaMember::open(self, options)?))
    }
}

/// Longest wait for an answer of a cluster.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// Connections that carry nothing are closed after some seconds, in clients that ask coordinators.
///
/// A coordinator that dies is asked for ever by librdkafka 2.12 (its issue 5511) once the cluster no longer names that broker: its thread has ended, what
/// waits for it looks again only when the connection to another broker comes or goes, and neither calls nor requests give up (its issue 5456). While
/// a call waits nothing else is sent, so the other connections end, and that is the sign.
const QUIET_CONNECTIONS_END: (&str, &str) = ("connections.max.idle.ms", "5000");

/// Ends clients on a thread of its own: that may wait for brokers that are gone.
fn end_beside(end: impl FnOnce() + Send + 'static) {
    // Without a thread they are ended here, by dropping what `spawn` did not take.
    let _ = std::thread::Builder::new().name("highwater-end-client".to_owned()).spawn(end);
}
