//! Values that are elsewhere, and values that nobody may see.
//!
//! A value may be, or contain, `${env:NAME}`, `${file:/path}`, `${file:/path:key}` (of a properties file) and `${dir:/path:name}` (a file in
//! a folder), as the configuration providers of Kafka have it. They are looked up whenever a client is opened, and never kept.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use super::{names, properties};

/// What looks up a variable of the environment.
pub(super) type Environment = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// What stands where a value must not.
pub(super) const REDACTED: &str = "[redacted]";

/// What names of secret settings contain.
const SECRET: &[&str] =
    &["password", "passphrase", "secret", "jaas", "key.pem", "keystore.key", "oauthbearer.config", "user.info", "auth.token"];

/// Whether the value of a setting is for nobody's eyes.
pub(super) fn is_secret(name: &str) -> bool {
    SECRET.iter().any(|part| name.contains(part))
}

/// A value as it may be shown. That of an unknown setting is not: the name of a secret one may be mistyped.
pub(super) fn shown<'v>(name: &str, value: &'v str) -> &'v str {
    let known = names::is_known(names::plain(name)) || name.starts_with("ssl.truststore.") || name == "ssl.keystore.type";
    if known && !is_secret(name) { value } else { REDACTED }
}

/// The value with everything looked up that stands elsewhere. The error says what cannot be had and why; it holds no value.
pub(super) fn resolved(value: &str, environment: Option<&Environment>) -> Result<String, String> {
    let (mut out, mut rest) = (String::new(), value);
    while let Some(start) = rest.find("${") {
        let Some(length) = rest[start..].find('}') else { break };
        let (before, place) = (&rest[..start], &rest[start + 2..start + length]);
        out.push_str(before);
        match place.split_once(':') {
            Some((provider, what)) if provider.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-') => {
                out.push_str(&looked_up(provider, what, environment)?);
            }
            // No placeholder: a password may well contain the signs.
            _ => out.push_str(&rest[start..=start + length]),
        }
        rest = &rest[start + length + 1..];
    }
    out.push_str(rest);
    Ok(out)
}

fn looked_up(provider: &str, what: &str, environment: Option<&Environment>) -> Result<String, String> {
    match provider {
        "env" => {
            let environment = environment.ok_or("`${env:…}` needs `KafkaConfig::with_env`: the library reads no environment by itself")?;
            environment(what).ok_or_else(|| format!("the environment has no variable `{what}`: set it"))
        }
        "file" => match what.split_once(':') {
            None => filled(Path::new(what)),
            Some((path, key)) => of_properties(Path::new(path), key),
        },
        "dir" => {
            let (folder, name) = what.split_once(':').ok_or("`${dir:…}` wants a folder and a name: `${dir:/run/secrets:password}`")?;
            filled(&Path::new(folder).join(name))
        }
        other => Err(format!(
            "`${{{other}:…}}` is not known here: use `${{env:NAME}}`, `${{file:/path}}`, `${{file:/path:key}}` or `${{dir:/path:name}}`"
        )),
    }
}

/// The same of a file that holds nothing else. If it holds nothing it was not written yet, or mounted from nowhere.
fn filled(path: &Path) -> Result<String, String> {
    let text = content(path)?;
    if text.trim().is_empty() { Err(format!("the secret in `{}` is empty: write it there", path.display())) } else { Ok(text) }
}

/// What a file holds, without the line end that editors leave.
fn content(path: &Path) -> Result<String, String> {
    let text = fs::read_to_string(path).map_err(|error| format!("cannot read the secret in `{}`: {error}", path.display()))?;
    Ok(text.strip_suffix('\n').map_or(text.as_str(), |text| text.strip_suffix('\r').unwrap_or(text)).to_owned())
}

fn of_properties(path: &Path, key: &str) -> Result<String, String> {
    let pairs = properties::parse(&content(path)?).map_err(|(line, why)| format!("`{}` line {line}: {why}", path.display()))?;
    let found = pairs.into_iter().rev().find(|(name, _)| name == key);
    found.map(|(_, value)| value).ok_or_else(|| format!("`{}` has no key `{key}`", path.display()))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("highwater-secrets-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    fn variables() -> Environment {
        Arc::new(|name| (name == "WHO").then(|| "ann".to_owned()))
    }

    #[test]
    fn values_come_from_the_environment_from_files_and_from_folders() {
        let folder = folder("places");
        let path = |name: &str| folder.join(name).display().to_string();
        fs::write(path("token"), "p${w:x}\r\n").unwrap();
        fs::write(path("app.properties"), "a=1\nuser.password = two words\n").unwrap();
        let get = |text: &str| resolved(text, Some(&variables())).unwrap();
        assert_eq!(get("${env:WHO}"), "ann");
        assert_eq!(get(&format!("${{file:{}}}", path("token"))), "p${w:x}", "what was looked up is not looked up again");
        assert_eq!(get(&format!("<${{file:{}:user.password}}>", path("app.properties"))), "<two words>");
        assert_eq!(get(&format!("${{dir:{}:token}}/${{env:WHO}}", folder.display())), "p${w:x}/ann");
        assert_eq!(get("pa${ss}w}or${d"), "pa${ss}w}or${d", "no placeholder at all");
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn what_cannot_be_had_is_said_with_its_place() {
        let why = |text: &str| resolved(text, Some(&variables())).unwrap_err();
        assert!(why("${env:GONE}").contains("no variable `GONE`"));
        assert!(why("${file:/no/such/file}").contains("cannot read the secret in `/no/such/file`: No such file"));
        assert!(why("${dir:/no}").contains("${dir:/run/secrets:password}"));
        assert!(why("${vault:x:y}").contains("`${vault:…}` is not known"));
        assert!(resolved("${env:WHO}", None).unwrap_err().contains("with_env"));
        let folder = folder("keys");
        let empty = folder.join("empty");
        fs::write(&empty, "\n").unwrap();
        assert!(why(&format!("${{file:{}}}", empty.display())).ends_with("is empty: write it there"));
        let file = folder.join("x.properties");
        fs::write(&file, "password=hunter2\n").unwrap();
        let said = why(&format!("${{file:{}:pasword}}", file.display()));
        assert!(said.contains("has no key `pasword`") && !said.contains("hunter2"), "{said}");
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn only_values_of_known_settings_that_are_no_secrets_are_shown() {
        assert_eq!(shown("bootstrap.servers", "a:1"), "a:1");
        for name in ["sasl.password", "sasl.pasword", "sasl.jaas.config", "ssl.key.pem", "ssl.keystore.key", "basic.auth.user.info"] {
            assert_eq!(shown(name, "x"), REDACTED, "{name}");
        }
    }
}
