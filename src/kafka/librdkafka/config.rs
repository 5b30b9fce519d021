//! How a cluster is reached: the settings of the client library.

use std::collections::BTreeMap;

use rdkafka::ClientConfig;

/// How a cluster is reached: its addresses, and settings of the client by librdkafka's names.
#[derive(Clone, Debug)]
pub struct KafkaConfig {
    properties: BTreeMap<String, String>,
}

impl KafkaConfig {
    /// A cluster by the addresses of some of its brokers: `host:port`, several with commas between.
    pub fn new(bootstrap: impl Into<String>) -> Self {
        KafkaConfig { properties: BTreeMap::from([("bootstrap.servers".to_owned(), bootstrap.into())]) }
    }

    /// The same with one setting more.
    pub fn with(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.properties.insert(key.into(), value.into());
        self
    }

    /// The addresses.
    pub(super) fn bootstrap(&self) -> &str {
        self.properties.get("bootstrap.servers").map_or("", String::as_str)
    }

    /// The settings of one client: what the user said, under what its role demands.
    #[expect(dead_code, reason = "the clients come one by one")]
    pub(super) fn client(&self, role: &[(&str, &str)]) -> ClientConfig {
        let mut config = ClientConfig::new();
        for (key, value) in self.properties.iter().map(|(key, value)| (key.as_str(), value.as_str())).chain(role.iter().copied()) {
            config.set(key, value);
        }
        config
    }
}
