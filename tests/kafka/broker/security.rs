//! The listener with TLS and SASL/SCRAM: a certificate made on the spot, one user and a password.

use std::path::{Path, PathBuf};
use std::process::Command;

const STORE_PASSWORD: &str = "of-no-worth";

/// How to reach the secured listener.
#[derive(Clone, Debug)]
pub(crate) struct Secured {
    /// `host:port` of each node.
    pub(crate) bootstrap: String,
    /// The certificate to trust, PEM.
    pub(crate) ca: PathBuf,
    key_store: PathBuf,
}

impl Secured {
    pub(crate) const MECHANISM: &str = "SCRAM-SHA-256";
    pub(crate) const USER: &str = "alice";
    pub(crate) const PASSWORD: &str = "alice-and-nobody-else";

    /// Makes a key pair, signed by itself, with the tool that comes with Java.
    pub(crate) fn make(folder: &Path, bootstrap: String) -> Result<Secured, String> {
        let secured = Secured { bootstrap, ca: folder.join("ca.pem"), key_store: folder.join("broker.p12") };
        let store = secured.key_store.display().to_string();
        let ca = secured.ca.display().to_string();
        let common = ["-alias", "broker", "-storetype", "PKCS12", "-keystore", &store, "-storepass", STORE_PASSWORD];
        let made = ["-genkeypair", "-keyalg", "RSA", "-keysize", "2048", "-validity", "30", "-dname", "CN=localhost"];
        keytool(&[&made[..], &["-ext", "SAN=ip:127.0.0.1,dns:localhost", "-ext", "bc:c=ca:true"], &common].concat())?;
        keytool(&[&["-exportcert", "-rfc", "-file", &ca], &common[..]].concat())?;
        Ok(secured)
    }

    pub(crate) fn configure(&self, set: &mut impl FnMut(&str, &str)) {
        set("sasl.enabled.mechanisms", Self::MECHANISM);
        set("listener.name.secured.ssl.keystore.type", "PKCS12");
        set("listener.name.secured.ssl.keystore.location", &self.key_store.display().to_string());
        set("listener.name.secured.ssl.keystore.password", STORE_PASSWORD);
        set("listener.name.secured.ssl.key.password", STORE_PASSWORD);
        let module = "org.apache.kafka.common.security.scram.ScramLoginModule required;";
        set("listener.name.secured.scram-sha-256.sasl.jaas.config", module);
    }
}

/// What the format tool takes.
pub(crate) fn scram_user() -> String {
    format!("{}=[name={},password={}]", Secured::MECHANISM, Secured::USER, Secured::PASSWORD)
}

fn keytool(arguments: &[&str]) -> Result<(), String> {
    let done = Command::new("keytool").args(arguments).output().map_err(|error| format!("keytool: {error}"))?;
    let said = || format!("keytool: {}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    done.status.success().then_some(()).ok_or_else(said)
}
