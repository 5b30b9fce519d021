//! What the client library tells beside its answers: its log, as events of `tracing`.

use std::sync::atomic::{AtomicBool, Ordering};

use rdkafka::ClientContext;
use rdkafka::admin::AdminClient;
use rdkafka::client::Client;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::KafkaError;

use super::config::{self, Guest, Token};

/// Passes the library's log on.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Context;

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        match level {
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical | RDKafkaLogLevel::Error => {
                tracing::error!(facility, "{text}");
            }
            RDKafkaLogLevel::Warning => tracing::warn!(facility, "{text}"),
            RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => tracing::info!(facility, "{text}"),
            RDKafkaLogLevel::Debug => tracing::debug!(facility, "{text}"),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::warn!("{error}: {reason}");
    }
}

impl ConsumerContext for Context {}

/// The same for a client that reads. What the library has to say of a partition it does not read any more, because its topic is gone, it
/// does not hand over with the batches, but logs: here is noted that it has said something.
#[derive(Debug, Default)]
pub(super) struct ReaderContext {
    said: AtomicBool,
}

impl ReaderContext {
    /// Whether something was said since the last time of asking.
    pub(super) fn has_said(&self) -> bool {
        self.said.swap(false, Ordering::Relaxed)
    }
}

impl ClientContext for ReaderContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        if facility == "ERROR" {
            self.said.store(true, Ordering::Relaxed);
        }
        Context.log(level, facility, text);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        Context.error(error, reason);
    }
}

impl ConsumerContext for ReaderContext {}

impl Guest for BaseConsumer<ReaderContext> {
    fn show(&self, token: &Token) {
        config::show(self.client(), token);
    }
}

impl Guest for AdminClient<Context> {
    fn show(&self, token: &Token) {
        config::show(self.inner(), token);
    }
}

impl Guest for Client<Context> {
    fn show(&self, token: &Token) {
        config::show(self, token);
    }
}
