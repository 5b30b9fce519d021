//! How a cluster is reached: the settings of the client library, in its own spelling or in that of Kafka's clients in Java.
//!
//! What was said is kept as it was said, and read anew for each client that is opened: placeholders are looked up then ([`secrets`]), other
//! spellings translated ([`spelling`], [`stores`], [`login`]), settings that the engine owns refused ([`owned`]). No value leaves this room
//! but in a client's own configuration.

mod fault;
mod issuer;
mod jaas;
mod login;
mod names;
mod owned;
mod properties;
mod secrets;
mod spelling;
mod stores;
#[cfg(test)]
mod tests;
mod tokens;

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use rdkafka::ClientConfig;
use rdkafka::error::KafkaError;

pub use fault::KafkaConfigError;
pub(super) use tokens::{Guest, SignIn, Token, show};

use fault::{Fault, Faults};
use names::Kind;
use secrets::Environment;
use spelling::Said;

use super::settling::Unsettled;
use crate::kafka::{ClientRoom, LogError};

/// How a cluster is reached: its addresses, and settings of the client by librdkafka's names or by those of Kafka's clients in Java.
///
/// A key that begins with `consumer.`, `producer.` or `admin.` is for such clients alone. A value may be, or contain, `${env:NAME}`,
/// `${file:/path}`, `${file:/path:key}` or `${dir:/path:name}`; it is looked up whenever a client is opened, and shown nowhere.
///
/// ```
/// use highwater::kafka::KafkaConfig;
///
/// let config = KafkaConfig::new("broker-1:9093,broker-2:9093")
///     .with("security.protocol", "SASL_SSL")
///     .with("sasl.mechanism", "SCRAM-SHA-512")
///     .with("sasl.username", "ann")
///     .with("sasl.password", "${env:KAFKA_PASSWORD}")
///     .with_env(|name| std::env::var(name).ok());
/// let problem = config.check().unwrap_err().to_string();
/// assert_eq!(problem, "`sasl.password`: the environment has no variable `KAFKA_PASSWORD`: set it");
/// ```
#[derive(Clone, Default)]
pub struct KafkaConfig {
    properties: BTreeMap<String, String>,
    environment: Option<Environment>,
    /// The bearer token that all clients show, where they need one.
    tokens: Arc<tokens::Shared>,
    /// Transactions of all clients whose end is in doubt.
    unsettled: Arc<Unsettled>,
    /// What its clients may hold.
    room: ClientRoom,
    /// What its clients call themselves.
    name: Option<Arc<str>>,
}

impl KafkaConfig {
    /// A cluster by the addresses of some of its brokers: `host:port`, several with commas between.
    pub fn new(bootstrap: impl Into<String>) -> Self {
        KafkaConfig::default().with("bootstrap.servers", bootstrap)
    }

    /// What a properties file says, as Kafka's clients in Java read it.
    ///
    /// # Errors
    /// If the file cannot be read, or a line of it cannot.
    pub fn from_properties_file(path: impl AsRef<Path>) -> Result<Self, KafkaConfigError> {
        let path = path.as_ref();
        let refused = |text: String| KafkaConfigError::new(vec![Fault { key: String::new(), text }]);
        let text = fs::read_to_string(path).map_err(|error| refused(format!("cannot read `{}`: {error}", path.display())))?;
        let pairs = properties::parse(&text).map_err(|(line, why)| refused(format!("`{}` line {line}: {why}", path.display())))?;
        Ok(KafkaConfig { properties: pairs.into_iter().collect(), ..KafkaConfig::default() })
    }

    /// The same with one setting more, or with another value for it.
    pub fn with(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.properties.insert(key.into(), value.into());
        (self.tokens, self.unsettled) = Default::default(); // a token stands for what was said, and so does what is in doubt
        self
    }

    /// The same with this value for a setting that has none yet.
    pub fn or(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.properties.entry(key.into()).or_insert_with(|| value.into());
        (self.tokens, self.unsettled) = Default::default();
        self
    }

    /// The same with what looks up `${env:NAME}`. The library reads no environment by itself.
    pub fn with_env(mut self, variable: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> Self {
        self.environment = Some(Arc::new(variable));
        self
    }

    /// Whether clients can be opened with these settings, as far as that is known without asking the cluster. Files of secrets are read.
    ///
    /// # Errors
    /// Everything that is wrong, each with what to change.
    pub fn check(&self) -> Result<(), KafkaConfigError> {
        let mut faults = Faults::default();
        for kind in Kind::ALL {
            self.settings(kind, &mut faults);
        }
        faults.into_result()
    }

    /// Settings of a Java program that have nothing to set here and are passed over.
    pub fn passed_over(&self) -> impl Iterator<Item = &str> {
        self.properties.keys().map(String::as_str).filter(|key| owned::is_foreign(key))
    }

    /// The same cluster, for clients that hold no more than that.
    pub(super) fn within(&self, room: ClientRoom) -> Self {
        KafkaConfig { room, ..self.clone() }
    }

    /// The same cluster, for clients of that name, where nobody said another one.
    pub(super) fn named(&self, name: &str) -> Self {
        KafkaConfig { name: Some(name.into()), ..self.clone() }
    }

    /// What clients may hold.
    pub(super) fn room(&self) -> ClientRoom {
        self.room
    }

    /// Transactions whose end is in doubt.
    pub(super) fn unsettled(&self) -> &Unsettled {
        &self.unsettled
    }

    /// The addresses.
    pub(super) fn bootstrap(&self) -> &str {
        let key = ["bootstrap.servers", "metadata.broker.list"].iter().find_map(|key| self.properties.get(*key));
        key.map_or("", String::as_str)
    }

    /// Whether brokers keep the sessions of groups and share out their partitions (KIP-848).
    pub(super) fn has_broker_sessions(&self) -> bool {
        let said = ["consumer.group.protocol", "group.protocol"].iter().find_map(|key| self.properties.get(*key));
        said.is_some_and(|protocol| protocol.trim().eq_ignore_ascii_case("consumer"))
    }

    /// The settings of one client: what its role demands, and what the user said. Where both say something, the role wins if the engine owns
    /// the setting, and the user does if not. What the role demands shows which kind of client it is.
    ///
    /// Its `client.id` is `<name>-<purpose>`, the name being what the user gave as `client.id`, unless that was said for this kind alone or the role has
    /// one. It is the same for all threads and processes, since quotas of a cluster are given to such names.
    pub(super) fn client(&self, purpose: &str, role: &[(&str, &str)]) -> Result<ClientConfig, LogError> {
        let kind = Kind::that_demands(role);
        let mut faults = Faults::default();
        let mut settings = self.settings(kind, &mut faults);
        faults.into_result()?;
        let named = settings.get("client.id").is_some_and(|said| said.own) || role.iter().any(|(key, _)| *key == "client.id");
        let id = if named { None } else { Some(self.client_id(settings.remove("client.id"), purpose)) };
        let role: Vec<_> = id.iter().map(|id| ("client.id", id.as_str())).chain(role.iter().copied()).collect();
        if !role.iter().any(|(key, _)| *key == "group.id") {
            // Of no use to who is in no group, and the library wants them to fit to others.
            settings.retain(|name, _| !["group.protocol", "max.poll.interval.ms"].contains(&name.as_str()));
        }
        let mut config = ClientConfig::new();
        for (key, value) in role {
            if owned::owner(key).is_some() || !settings.contains_key(names::plain(key)) {
                config.set(key, value);
            }
        }
        for (name, said) in settings.into_iter().filter(|(name, _)| !tokens::is_for_issuer(name)) {
            config.set(name, said.value);
        }
        Ok(config)
    }

    fn client_id(&self, said: Option<Said>, purpose: &str) -> String {
        let name = said.map(|said| said.value).filter(|name| !name.is_empty());
        format!("{}-{purpose}", name.as_deref().or(self.name.as_deref()).unwrap_or("highwater"))
    }

    /// What was said, for clients of one kind.
    fn settings(&self, kind: Kind, faults: &mut Faults) -> BTreeMap<String, Said> {
        let settings = spelling::read(&self.properties, kind, self.environment.as_ref(), faults);
        for (name, said) in settings.iter().filter(|(name, _)| !tokens::is_for_issuer(name)) {
            let alone = ClientConfig::from_iter([(name.clone(), said.value.clone())]);
            if let Err(error) = alone.create_native_config() {
                faults.note(&said.key, refused(name, said, &error));
            }
        }
        settings
    }
}

/// A value that the client library does not take, in its words unless they hold a secret.
fn refused(name: &str, said: &Said, error: &KafkaError) -> String {
    match error {
        KafkaError::ClientConfig(_, words, ..) if !secrets::is_secret(name) => format!("`{}`: {words}", said.key),
        _ => format!("`{}` has a value that cannot be", said.key),
    }
}

impl fmt::Debug for KafkaConfig {
    /// Without secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.properties.iter().map(|(key, value)| (key, secrets::shown(bare(key), value)))).finish()
    }
}

/// The name of a setting without the prefix of a kind.
fn bare(key: &str) -> &str {
    Kind::ALL.iter().find_map(|kind| key.strip_prefix(kind.prefix())).unwrap_or(key)
}
