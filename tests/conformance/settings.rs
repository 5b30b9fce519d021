//! Kafka Streams' settings as Highwater's.

use std::time::Duration;

use highwater::{BuildSettings, DeadLetterHeaders, OnError, Settings, StoreType};

use super::format::Scenario;

/// The application id of every scenario.
pub(crate) const APPLICATION: &str = "app";

/// What shapes the topology. The stored answers were made with one day of additional retention whatever the scenario says.
pub(crate) fn of_build(scenario: &Scenario) -> BuildSettings {
    let mut settings = BuildSettings::default();
    settings.window_changelog_extra_retention = Duration::from_secs(24 * 60 * 60);
    let config = |key: &str| scenario.config.get(key).map(String::as_str);
    settings.store_type =
        if config("dsl.store.suppliers.class") == Some("in_memory") { StoreType::InMemory } else { StoreType::Persistent };
    settings.require_explicit_names = config("ensure.explicit.internal.resource.naming") == Some("true");
    settings
}

/// How it runs. A dead letter topic makes `continue` mean: send it there and go on.
pub(crate) fn of_run(scenario: &Scenario, every_write: bool) -> Settings {
    let config = |key: &str| scenario.config.get(key).map(String::as_str);
    let policy = |handler: &str| match (config(handler), config("errors.dead.letter.queue.topic.name")) {
        (Some("continue"), Some(topic)) => OnError::dead_letter(topic.to_owned()),
        (Some("continue"), None) => OnError::Skip,
        _ => OnError::Fail,
    };
    let mut settings = Settings::new(APPLICATION);
    settings.on_deserialization_error = policy("deserialization.exception.handler");
    settings.on_processing_error = policy("processing.exception.handler");
    settings.dead_letter_headers = DeadLetterHeaders::KafkaStreams;
    settings.changelog_every_write = every_write;
    if let Some(bytes) = config("statestore.cache.max.bytes") {
        settings.record_cache_bytes = bytes.parse().expect("a number of bytes");
    }
    settings
}
