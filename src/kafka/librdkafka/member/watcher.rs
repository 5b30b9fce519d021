//! What the client library calls back with. It only writes down: everything is decided outside of callbacks.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use rdkafka::TopicPartitionList;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaRespErr;

use crate::kafka::librdkafka::context::{noted, passed_on};
use crate::record::TopicPartition;

/// One thing that was called back.
#[derive(Debug)]
pub(super) enum News {
    /// Partitions of the task topics are the member's.
    Assigned(Vec<TopicPartition>),
    /// They are wanted back. The client waits for the answer.
    Requested(Vec<TopicPartition>),
    /// Everything is gone.
    Lost,
}

/// Writes down what is called back.
#[derive(Debug, Default)]
pub(super) struct Watcher {
    news: Mutex<Vec<News>>,
    closing: AtomicBool,
}

impl Watcher {
    /// From now on the client is given back whatever it wants.
    pub(super) fn close(&self) {
        self.closing.store(true, Ordering::SeqCst);
    }

    /// What was called back since the last time.
    pub(super) fn take(&self) -> Vec<News> {
        std::mem::take(&mut *self.news.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn has_news(&self) -> bool {
        !self.news.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    fn note(&self, news: News) {
        self.news.lock().unwrap_or_else(PoisonError::into_inner).push(news);
    }
}

/// Says yes to an assignment or a revocation. The client compares rebalances with what its group said, not with what is fetched, so that
/// nothing needs to be fetched: the lists are empty.
pub(super) fn agree(client: &BaseConsumer<Watcher>, assigned: bool) {
    let nothing = TopicPartitionList::new();
    let answered = if assigned { client.incremental_assign(&nothing) } else { client.incremental_unassign(&nothing) };
    if let Err(error) = answered {
        tracing::warn!(%error, assigned, "the client does not go on with its rebalance");
    }
}

fn partitions(list: &TopicPartitionList) -> Vec<TopicPartition> {
    list.elements().iter().map(|element| TopicPartition::new(element.topic(), element.partition())).collect()
}

impl ClientContext for Watcher {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        passed_on(level, facility, text);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        noted(&error, reason);
    }
}

impl ConsumerContext for Watcher {
    fn rebalance(&self, client: &BaseConsumer<Self>, kind: RDKafkaRespErr, list: &mut TopicPartitionList) {
        let assigned = kind == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
        if assigned || self.closing.load(Ordering::SeqCst) {
            agree(client, assigned);
        }
        self.note(match () {
            () if assigned => News::Assigned(partitions(list)),
            () if client.assignment_lost() => News::Lost,
            () => News::Requested(partitions(list)),
        });
    }
}
