//! What the client library tells beside its answers: its log, as events of `tracing`.

use std::sync::atomic::{AtomicBool, Ordering};

use rdkafka::ClientContext;
use rdkafka::admin::AdminClient;
use rdkafka::client::Client;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::config::{self, Guest, Token};
use super::connections::{Failure, LastFailure, TOLD, broker_in};
use super::native::{self, Writer};
use crate::clock::{Clock, SystemClock};
use crate::record::Timestamp;

/// Passes the library's log on, and remembers why its client cannot connect.
#[derive(Debug, Default)]
pub(super) struct Context {
    failure: LastFailure,
    /// Nobody takes in what the client has to say, unless it is asked for.
    unheard: bool,
}

impl Context {
    /// Of an administrator.
    pub(super) fn of_admin() -> Self {
        Context { unheard: true, ..Context::default() }
    }

    /// Whether a connection of its client has come to nothing since then.
    pub(super) fn is_disturbed(&self, since: Timestamp) -> bool {
        self.failure.is_since(since)
    }
}

/// A client that can say why it has no connection.
pub(super) trait Connects: ClientContext {
    /// Why the last connection of its client came to nothing, if that was lately.
    fn failure(client: &Client<Self>) -> Option<Failure>
    where
        Self: Sized;
}

impl Connects for Context {
    fn failure(client: &Client<Self>) -> Option<Failure> {
        if client.context().unheard {
            native::outbound_hear(client);
        }
        client.context().failure.recent()
    }
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        if let ("FAIL", Some((broker, said))) = (facility, broker_in(text)) {
            self.failure.note(broker, said);
        }
        passed_on(level, facility, text);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        noted(&error, reason);
    }
}

/// Says what the library has to say. That a broker cannot be reached is said once for all clients; and that a producer is at its end is said by who
/// does something about it.
pub(super) fn passed_on(level: RDKafkaLogLevel, facility: &str, text: &str) {
    match level {
        _ if matches!(facility, "FAIL" | "REQTMOUT") => match broker_in(text) {
            Some((broker, said)) if !is_idle(level) && TOLD.is_due(broker, SystemClock.now()) => {
                tracing::warn!("the broker {broker} is waited for, and tried again and again: {said}");
            }
            _ => tracing::debug!(facility, "{text}"),
        },
        _ if matches!(facility, "ERROR" | "FATAL" | "TXNERR") => tracing::debug!(facility, "{text}"),
        RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical | RDKafkaLogLevel::Error => {
            tracing::error!(facility, "{text}");
        }
        RDKafkaLogLevel::Warning => tracing::warn!(facility, "{text}"),
        RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => tracing::info!(facility, "{text}"),
        RDKafkaLogLevel::Debug => tracing::debug!(facility, "{text}"),
    }
}

/// Whether a connection was closed that nobody needed.
fn is_idle(level: RDKafkaLogLevel) -> bool {
    matches!(level, RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info | RDKafkaLogLevel::Debug)
}

/// An error of a client as a whole. What is about connections was logged with the broker's name.
pub(super) fn noted(error: &KafkaError, reason: &str) {
    use RDKafkaErrorCode::{AllBrokersDown, Authentication, BrokerTransportFailure, Fenced, OperationTimedOut, Resolve, SSL};
    match error.rdkafka_error_code() {
        Some(AllBrokersDown | Authentication | BrokerTransportFailure | Fenced | OperationTimedOut | Resolve | SSL) => {
            tracing::debug!("{error}: {reason}");
        }
        _ => tracing::warn!("{error}: {reason}"),
    }
}

impl ConsumerContext for Context {}

/// The same for a client that reads. What the library has to say of a partition it does not read any more, because its topic is gone, it
/// does not hand over with the batches, but logs: here is noted that it has said something.
#[derive(Debug, Default)]
pub(super) struct ReaderContext {
    said: AtomicBool,
    inner: Context,
}

impl ReaderContext {
    /// Whether something was said since the last time of asking.
    pub(super) fn has_said(&self) -> bool {
        self.said.swap(false, Ordering::Relaxed)
    }
}

impl Connects for ReaderContext {
    fn failure(client: &Client<Self>) -> Option<Failure> {
        client.context().inner.failure.recent()
    }
}

impl ClientContext for ReaderContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        if facility == "ERROR" {
            self.said.store(true, Ordering::Relaxed);
        }
        self.inner.log(level, facility, text);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        noted(&error, reason);
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

impl Guest for Writer {
    fn show(&self, token: &Token) {
        config::show(self, token);
    }
}
