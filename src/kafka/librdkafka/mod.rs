//! Real clusters, through librdkafka.
//!
//! [`KafkaLog`] opens the clients of one cluster. Everything unsafe is in `native`, which gives the C library's batch calls a safe face.

mod config;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

pub use config::{KafkaConfig, KafkaConfigError};

use crate::error::ErrorKind;

use super::{Admin, Connect, Consumer, Group, Isolation, LogError, MemberOptions, Producer, TransactionalProducer};

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
    fn consumer(&self, _isolation: Isolation) -> Result<Box<dyn Consumer>, LogError> {
        Err(missing("consumer"))
    }

    fn producer(&self) -> Result<Box<dyn Producer>, LogError> {
        Err(missing("producer"))
    }

    fn transactional_producer(&self, _id: &str, _timeout: Duration) -> Result<Box<dyn TransactionalProducer>, LogError> {
        Err(missing("transactional producer"))
    }

    fn admin(&self) -> Result<Box<dyn Admin>, LogError> {
        Err(missing("administrator"))
    }

    fn member_with(&self, _options: MemberOptions) -> Result<Box<dyn Group>, LogError> {
        Err(missing("member"))
    }
}

fn missing(client: &str) -> LogError {
    LogError::Client { kind: ErrorKind::Internal, source: Arc::new(format!("there is no {client} for real clusters yet").into()) }
}
