//! What was said, in whatever spelling, in the names of librdkafka.

use std::collections::BTreeMap;

use super::fault::Faults;
use super::names::{self, Kind};
use super::secrets::{self, Environment};
use super::{login, owned, stores};

/// Java's settings that are more than another name of one of librdkafka's.
const JAVA: &[&str] = &[
    "sasl.jaas.config",
    "ssl.keystore.certificate.chain",
    "ssl.keystore.key",
    "ssl.keystore.location",
    "ssl.keystore.type",
    "ssl.truststore.certificates",
    "ssl.truststore.location",
    "ssl.truststore.password",
    "ssl.truststore.type",
];

/// One setting as it was written. No `Debug`: the value may be a secret.
#[derive(Clone)]
pub(super) struct Said {
    /// The key as it was written.
    pub(super) key: String,
    pub(super) value: String,
    /// It was said for this kind of client alone, and counts before what is said for all.
    pub(super) own: bool,
}

impl Said {
    /// Another value, said in the same place.
    pub(super) fn with(&self, value: &str) -> Said {
        Said { value: value.to_owned(), ..self.clone() }
    }
}

/// Settings by librdkafka's names, and those of Java that are still to be translated.
#[derive(Default)]
pub(super) struct Spelled {
    pub(super) settings: BTreeMap<String, Said>,
    pub(super) java: BTreeMap<String, Said>,
}

impl Spelled {
    /// Notes a setting; two that disagree are a fault with both of their names.
    pub(super) fn put(&mut self, name: &str, said: Said, faults: &mut Faults) {
        put(&mut self.settings, name, said, faults);
    }
}

fn put(settings: &mut BTreeMap<String, Said>, name: &str, said: Said, faults: &mut Faults) {
    match settings.get(name) {
        Some(other) if other.own && !said.own => {}
        Some(other) if other.own == said.own && other.value != said.value => {
            let text = format!("`{}` and `{}` set the same and disagree: leave one of them", other.key, said.key);
            faults.note(&said.key, text);
        }
        _ => drop(settings.insert(name.to_owned(), said)),
    }
}

/// What the properties mean for clients of one kind.
pub(super) fn read(
    properties: &BTreeMap<String, String>,
    kind: Kind,
    environment: Option<&Environment>,
    faults: &mut Faults,
) -> BTreeMap<String, Said> {
    let mut spelled = Spelled::default();
    for (key, value) in properties {
        let Some((name, own)) = for_kind(key, kind) else { continue };
        take(&mut spelled, name, Said { key: key.clone(), value: value.trim().to_owned(), own }, faults);
    }
    // A login may stand elsewhere as a whole; else its parts may, and are looked up when they are apart: what they say is no syntax.
    if let Some(login) = spelled.java.get_mut("sasl.jaas.config").filter(|login| login.value.starts_with("${")) {
        look_up(login, environment, faults);
    }
    for (java, name) in [
        ("ssl.truststore.certificates", "ssl.ca.pem"),
        ("ssl.keystore.certificate.chain", "ssl.certificate.pem"),
        ("ssl.keystore.key", "ssl.key.pem"),
    ] {
        if let Some(said) = spelled.java.remove(java) {
            spelled.put(name, said, faults);
        }
    }
    usual_values(&mut spelled.settings);
    stores::translate(&mut spelled, faults);
    login::translate(&mut spelled, faults);
    if spelled.settings.get("bootstrap.servers").is_none_or(|said| said.value.is_empty()) {
        faults.note("", "no `bootstrap.servers`: say where a broker of the cluster is, as `host:9092`");
    }
    let mut settings = spelled.settings;
    settings.retain(|name, _| kind.takes(name));
    settings.values_mut().for_each(|said| look_up(said, environment, faults));
    settings
}

/// The name of a setting without its prefix, and whether it had one; none if it is for another kind.
fn for_kind(key: &str, kind: Kind) -> Option<(&str, bool)> {
    match Kind::ALL.iter().find_map(|other| Some((*other, key.strip_prefix(other.prefix())?))) {
        None => Some((key, false)),
        Some((other, name)) => (other == kind).then_some((name, true)),
    }
}

fn take(spelled: &mut Spelled, name: &str, said: Said, faults: &mut Faults) {
    let plain = names::plain(name);
    let key = said.key.clone();
    if let Some(owner) = owned::owner(name) {
        if !owner.agrees(&said.value) {
            faults.note(&key, format!("`{key}` cannot be set here: {}", owner.reason));
        }
    } else if JAVA.contains(&name) {
        put(&mut spelled.java, name, said, faults);
    } else if names::is_known(plain) {
        spelled.put(plain, said, faults);
    } else if !owned::is_foreign(name) {
        let near = names::nearest(name, JAVA).map_or_else(
            || "leave it out, or see librdkafka's CONFIGURATION.md for the names".to_owned(),
            |near| format!("did you mean `{near}`?"),
        );
        faults.note(&key, format!("unknown setting `{key}`: {near}"));
    }
}

fn look_up(said: &mut Said, environment: Option<&Environment>, faults: &mut Faults) {
    match secrets::resolved(&said.value, environment) {
        Ok(value) => said.value = value,
        Err(why) => faults.note(&said.key, format!("`{}`: {why}", said.key)),
    }
}

/// Values that Java writes differently.
fn usual_values(settings: &mut BTreeMap<String, Said>) {
    for (name, said) in settings {
        match name.as_str() {
            "security.protocol" => said.value = said.value.to_ascii_lowercase(),
            "ssl.endpoint.identification.algorithm" if said.value.is_empty() => "none".clone_into(&mut said.value),
            "socket.receive.buffer.bytes" | "socket.send.buffer.bytes" if said.value == "-1" => "0".clone_into(&mut said.value),
            _ => {}
        }
    }
}
