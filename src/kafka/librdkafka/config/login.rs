//! Who the client is: SASL, with `sasl.jaas.config` in the names of librdkafka.

use std::collections::BTreeMap;

use super::fault::Faults;
use super::jaas::{self, Login};
use super::spelling::{Said, Spelled};

/// The mechanisms that there are.
const MECHANISMS: [&str; 4] = ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"];

/// Says what a login of Java means, and refuses what would not work or would not be used.
pub(super) fn translate(spelled: &mut Spelled, faults: &mut Faults) {
    if let Some(said) = spelled.java.remove("sasl.jaas.config") {
        match jaas::parse(&said.value) {
            Ok(login) => of_java(&login, &said, spelled, faults),
            Err(why) => faults.note(&said.key, format!("`{}` {why}; it looks like `org.apache.kafka.common.security.plain.PlainLoginModule required username=\"…\" password=\"…\";`", said.key)),
        }
    }
    mechanism(spelled, faults);
}

fn of_java(login: &Login, said: &Said, spelled: &mut Spelled, faults: &mut Faults) {
    let belongs: &[&str] = match login.module_name() {
        "PlainLoginModule" => &["PLAIN"],
        "ScramLoginModule" => &["SCRAM-SHA-256", "SCRAM-SHA-512"],
        "OAuthBearerLoginModule" => &["OAUTHBEARER"],
        "Krb5LoginModule" => &["GSSAPI"],
        "IAMLoginModule" => &["AWS_MSK_IAM"],
        _ => {
            let text = format!(
                "`{}` names the login module `{}`, which is not known here: use PLAIN, SCRAM or OAUTHBEARER",
                said.key, login.module
            );
            return faults.note(&said.key, text);
        }
    };
    match spelled.settings.get("sasl.mechanisms") {
        None => {
            let text = format!("`{}` says who, and nothing says how: add `sasl.mechanism={}`", said.key, belongs[0]);
            faults.note(&said.key, text);
        }
        Some(mechanism) if !belongs.contains(&mechanism.value.to_ascii_uppercase().as_str()) => {
            let (key, other) = (&mechanism.key, &said.key);
            let text = format!("`{key}` and `{other}` disagree: `{}` is for {}", login.module_name(), belongs.join(" or "));
            faults.note(key, text);
        }
        Some(_) if belongs == ["OAUTHBEARER"] => bearer(login, said, spelled, faults),
        Some(_) => {
            for (option, name) in [("username", "sasl.username"), ("password", "sasl.password")] {
                match login.option(option) {
                    Some(value) => spelled.put(name, said.with(value), faults),
                    None if spelled.settings.contains_key(name) => {}
                    None => faults.note(&said.key, format!("`{}` has no `{option}`: add `{option}=\"…\"`", said.key)),
                }
            }
        }
    }
}

/// The options of Kafka's own module for bearer tokens.
fn bearer(login: &Login, said: &Said, spelled: &mut Spelled, faults: &mut Faults) {
    let extensions: Vec<_> =
        login.options.iter().filter_map(|(key, value)| Some(format!("{}={value}", key.strip_prefix("extension_")?))).collect();
    if !extensions.is_empty() {
        spelled.put("sasl.oauthbearer.extensions", said.with(&extensions.join(",")), faults);
    }
    for (option, name) in [
        ("clientId", "sasl.oauthbearer.client.id"),
        ("clientSecret", "sasl.oauthbearer.client.secret"),
        ("scope", "sasl.oauthbearer.scope"),
    ] {
        if let Some(value) = login.option(option) {
            spelled.put(name, said.with(value), faults);
        }
    }
    if let Some(subject) = login.option("unsecuredLoginStringClaim_sub") {
        spelled.put("sasl.oauthbearer.config", said.with(&format!("principal={subject}")), faults);
        spelled.put("enable.sasl.oauthbearer.unsecure.jwt", said.with("true"), faults);
    }
}

/// Whether bearer tokens come from an issuer.
pub(super) fn is_issued(settings: &BTreeMap<String, Said>) -> bool {
    let is = |name: &str, value: &str| settings.get(name).is_some_and(|said| said.value.eq_ignore_ascii_case(value));
    is("sasl.mechanisms", "OAUTHBEARER") && is("sasl.oauthbearer.method", "oidc")
}

/// Whether it is said where bearer tokens come from.
fn issued(spelled: &mut Spelled, key: &str, faults: &mut Faults) {
    let get = |name: &str| spelled.settings.get(name);
    if get("enable.sasl.oauthbearer.unsecure.jwt").is_some_and(|said| said.value.eq_ignore_ascii_case("true")) {
        return;
    }
    for (name, works) in [("sasl.oauthbearer.grant.type", "client_credentials"), ("sasl.oauthbearer.metadata.authentication.type", "none")]
    {
        if let Some(said) = get(name).filter(|said| !said.value.eq_ignore_ascii_case(works)) {
            faults.note(&said.key, format!("`{}` = `{}` is not supported: use client credentials", said.key, said.value));
        }
    }
    for name in ["sasl.oauthbearer.token.endpoint.url", "sasl.oauthbearer.client.id", "sasl.oauthbearer.client.secret"] {
        if get(name).is_none_or(|said| said.value.is_empty()) {
            faults.note(key, format!("`{key}` = `OAUTHBEARER` needs `{name}`: add it; tokens come from an issuer, by client credentials"));
        }
    }
    // Kafka's clients in Java have no word for it.
    let method = Said { key: key.to_owned(), value: "oidc".to_owned(), own: false };
    spelled.settings.entry("sasl.oauthbearer.method".to_owned()).or_insert(method);
    if let Some(said) = spelled.settings.get("sasl.oauthbearer.method").filter(|said| !said.value.eq_ignore_ascii_case("oidc")) {
        faults.note(&said.key, format!("`{}` cannot be `{}`: it is `oidc`", said.key, said.value));
    }
}

/// Whether the mechanism is one that works, and is used at all.
fn mechanism(spelled: &mut Spelled, faults: &mut Faults) {
    let protocol = spelled.settings.get("security.protocol");
    let authenticates = protocol.is_some_and(|said| said.value.starts_with("sasl_"));
    let told = ["sasl.mechanisms", "sasl.username", "sasl.password"].iter().find_map(|name| spelled.settings.get(*name));
    match told {
        Some(said) if !authenticates => {
            let now = protocol.map_or("plaintext", |said| said.value.as_str());
            let text = format!("`{}` would not be used, with the `security.protocol` `{now}`: say `security.protocol=SASL_SSL`", said.key);
            faults.note(&said.key, text);
        }
        _ => {}
    }
    if !authenticates {
        return;
    }
    let protocol_key = protocol.map_or_else(String::new, |said| said.key.clone());
    let Some(said) = spelled.settings.get_mut("sasl.mechanisms") else {
        let text = format!("`{protocol_key}` asks for SASL, and nothing says how: add `sasl.mechanism`, one of {}", MECHANISMS.join(", "));
        return faults.note(&protocol_key, text);
    };
    said.value = said.value.to_ascii_uppercase();
    let key = said.key.clone();
    match said.value.as_str() {
        "GSSAPI" => faults.note(&key, format!("`{key}` = `GSSAPI` (Kerberos) is not supported: use one of {}", MECHANISMS.join(", "))),
        "AWS_MSK_IAM" => faults.note(&key, format!("`{key}` = `AWS_MSK_IAM` is not supported: use SCRAM-SHA-512, which MSK offers too")),
        "OAUTHBEARER" => issued(spelled, &key, faults),
        known if MECHANISMS.contains(&known) => {
            for name in ["sasl.username", "sasl.password"] {
                if !spelled.settings.contains_key(name) {
                    faults.note(&key, format!("`{key}` needs `{name}`: add it, or `sasl.jaas.config`"));
                }
            }
        }
        other => faults.note(&key, format!("`{key}` cannot be `{other}`: it is one of {}", MECHANISMS.join(", "))),
    }
}
