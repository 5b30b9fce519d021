//! Where Java keeps certificates and keys: `ssl.truststore.*` and `ssl.keystore.*`.

use super::fault::Faults;
use super::spelling::{Said, Spelled};

const TRUST: [&str; 3] = ["ssl.truststore.location", "ssl.truststore.type", "ssl.truststore.password"];

/// Says what the stores of Java hold in the names of librdkafka.
pub(super) fn translate(spelled: &mut Spelled, faults: &mut Faults) {
    trust(spelled, faults);
    keys(spelled, faults);
}

/// The certificates of those who are trusted.
fn trust(spelled: &mut Spelled, faults: &mut Faults) {
    let [location, kind, password] = TRUST.map(|name| spelled.java.remove(name));
    let Some(location) = location else { return };
    match form(kind.as_ref(), &location.value) {
        Form::Pem => {
            if let Some(password) = password {
                faults.note(&password.key, format!("`{}` has no use: a truststore in PEM has no password; leave it out", password.key));
            }
            spelled.put("ssl.ca.location", location, faults);
        }
        form => {
            let (key, path) = (&location.key, &location.value);
            let line = match form {
                Form::Pkcs12 => format!("openssl pkcs12 -in {path} -nokeys -out ca.pem"),
                _ => format!("keytool -list -rfc -keystore {path} > ca.pem"),
            };
            let text = format!(
                "`{key}` is a truststore of Java's own form, which only Java reads: write its certificates as PEM (`{line}`), then say \
                 `ssl.truststore.type=PEM` and `ssl.truststore.location=ca.pem`"
            );
            faults.note(key, text);
        }
    }
}

/// The certificate and the key of this client.
fn keys(spelled: &mut Spelled, faults: &mut Faults) {
    let [location, kind] = ["ssl.keystore.location", "ssl.keystore.type"].map(|name| spelled.java.remove(name));
    let Some(location) = location else { return };
    match form(kind.as_ref(), &location.value) {
        Form::Pem => {
            // One file with both: librdkafka takes from it what it looks for.
            spelled.put("ssl.certificate.location", location.clone(), faults);
            spelled.put("ssl.key.location", location, faults);
        }
        Form::Pkcs12 => spelled.put("ssl.keystore.location", location, faults),
        // Without a type, the name is librdkafka's own and means PKCS#12.
        Form::Unsaid if !location.value.ends_with(".jks") => spelled.put("ssl.keystore.location", location, faults),
        Form::Jks | Form::Unsaid => {
            let (key, path) = (&location.key, &location.value);
            let text = format!(
                "`{key}` is a keystore of Java's own form, which only Java reads: write it as PKCS#12 (`keytool -importkeystore -srckeystore \
                 {path} -destkeystore client.p12 -deststoretype PKCS12`), then say `ssl.keystore.type=PKCS12` and \
                 `ssl.keystore.location=client.p12`"
            );
            faults.note(key, text);
        }
    }
}

enum Form {
    Pem,
    Pkcs12,
    Jks,
    /// Java reads its own form then.
    Unsaid,
}

/// What `type` says, or else the name of the file.
fn form(kind: Option<&Said>, path: &str) -> Form {
    let ends = |ends: &[&str]| ends.iter().any(|end| path.to_ascii_lowercase().ends_with(end));
    match kind.map(|said| said.value.to_ascii_uppercase()).as_deref() {
        Some("PEM") => Form::Pem,
        Some("PKCS12") => Form::Pkcs12,
        Some(_) => Form::Jks,
        None if ends(&[".pem", ".crt", ".cer"]) => Form::Pem,
        None if ends(&[".p12", ".pfx"]) => Form::Pkcs12,
        None => Form::Unsaid,
    }
}
