//! Asking an issuer for a bearer token: OAuth 2 with client credentials.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::Value;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};

use super::spelling::Said;
use super::tokens::Token;
use crate::record::Timestamp;

/// How long an issuer may take.
const WITHIN: Duration = Duration::from_secs(10);

/// Who gives tokens, and to whom.
pub(super) struct Issuer<'s> {
    url: &'s str,
    client: &'s str,
    secret: &'s str,
    scope: Option<&'s str>,
    extensions: Vec<(String, String)>,
    tls: TlsConfig,
}

impl<'s> Issuer<'s> {
    /// As the settings say; they were checked.
    pub(super) fn of(settings: &'s BTreeMap<String, Said>) -> Result<Self, String> {
        let get = |name: &str| settings.get(name).map(|said| said.value.as_str());
        let must = |name: &'static str| get(name).ok_or_else(|| format!("no `{name}`"));
        Ok(Issuer {
            url: must("sasl.oauthbearer.token.endpoint.url")?,
            client: must("sasl.oauthbearer.client.id")?,
            secret: must("sasl.oauthbearer.client.secret")?,
            scope: get("sasl.oauthbearer.scope").filter(|scope| !scope.is_empty()),
            extensions: get("sasl.oauthbearer.extensions").map(extensions).transpose()?.unwrap_or_default(),
            tls: tls(get("https.ca.pem"), get("https.ca.location"))?,
        })
    }

    /// Asks for a token. The error names the issuer and what it said, and no secret.
    pub(super) fn token(&self, now: Timestamp) -> Result<Token, String> {
        let url = self.url;
        let (status, text) = self.asked().map_err(|error| format!("the token endpoint `{url}` cannot be asked: {error}"))?;
        let answer: Value = serde_json::from_str(&text).unwrap_or_default();
        let said = |name: &str| answer.get(name).and_then(Value::as_str);
        let (Some(value), 200) = (said("access_token"), status) else {
            let words: Vec<_> = ["error", "error_description"].into_iter().filter_map(said).collect();
            let words = if words.is_empty() { "without a word that this client knows".to_owned() } else { words.join(": ") };
            return Err(format!("the token endpoint `{url}` answered {status}, {words}"));
        };
        let claims = claims(value);
        let claim = |name: &str| claims.as_ref().and_then(|claims| claims.get(name));
        let expires = claim("exp").and_then(Value::as_i64).map(Timestamp::from_secs);
        let lasts = answer.get("expires_in").and_then(Value::as_u64).map(|seconds| now + Duration::from_secs(seconds));
        let expires = expires.or(lasts).ok_or_else(|| format!("the token of `{url}` does not say when it runs out"))?;
        let principal = claim("sub").and_then(Value::as_str).unwrap_or(self.client);
        Ok(Token { value: value.to_owned(), principal: principal.to_owned(), expires, extensions: self.extensions.clone() })
    }

    fn asked(&self) -> Result<(u16, String), ureq::Error> {
        // Neither the environment nor anything else says where to send a secret but the settings.
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(WITHIN))
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None)
            .tls_config(self.tls.clone())
            .build();
        let form = [("grant_type", "client_credentials")].into_iter().chain(self.scope.map(|scope| ("scope", scope)));
        let known_as = STANDARD.encode(format!("{}:{}", self.client, self.secret));
        let request =
            config.new_agent().post(self.url).header("authorization", format!("Basic {known_as}")).header("accept", "application/json");
        let mut answer = request.send_form(form)?;
        Ok((answer.status().as_u16(), answer.body_mut().read_to_string()?))
    }
}

/// What a token says, if it is one that can be read.
fn claims(token: &str) -> Option<Value> {
    let payload = token.split('.').nth(1)?;
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()
}

fn extensions(text: &str) -> Result<Vec<(String, String)>, String> {
    let pair = |part: &str| part.split_once('=').map(|(key, value)| (key.trim().to_owned(), value.trim().to_owned()));
    let parts = text.split(',').filter(|part| !part.trim().is_empty());
    parts.map(|part| pair(part).ok_or_else(|| "`sasl.oauthbearer.extensions` wants `name=value`, with commas between".to_owned())).collect()
}

/// Whom to trust: the usual authorities, or those of a file.
fn tls(pem: Option<&str>, location: Option<&str>) -> Result<TlsConfig, String> {
    let read = |path: &str| std::fs::read_to_string(path).map_err(|error| format!("`https.ca.location`: cannot read `{path}`: {error}"));
    let pem = match (pem, location.filter(|path| !path.is_empty() && *path != "probe")) {
        (Some(pem), _) => Some(pem.to_owned()),
        (None, Some(path)) => Some(read(path)?),
        (None, None) => None,
    };
    let Some(pem) = pem else { return Ok(TlsConfig::builder().build()) };
    let certificates: Vec<Certificate<'static>> = parse_pem(pem.as_bytes())
        .filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        })
        .collect();
    if certificates.is_empty() {
        return Err("`https.ca.location` or `https.ca.pem` has no certificate".to_owned());
    }
    Ok(TlsConfig::builder().root_certs(RootCerts::from(certificates)).build())
}

#[cfg(test)]
pub(super) mod tests {
    use std::io::{BufRead, BufReader, Read, Write};
    use std::net::{SocketAddr, TcpListener, TcpStream};
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::clock::{Clock, SystemClock};

    /// An issuer that says the same to everybody, and keeps what it heard.
    pub(in crate::kafka::librdkafka::config) struct Stub {
        address: SocketAddr,
        heard: Arc<Mutex<Vec<String>>>,
    }

    impl Stub {
        /// Its tokens last some seconds; another status than 200 brings an error.
        pub(in crate::kafka::librdkafka::config) fn answering(status: u16, lasting: i64) -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let (address, heard) = (listener.local_addr().unwrap(), Arc::<Mutex<Vec<String>>>::default());
            let hears = heard.clone();
            std::thread::spawn(move || {
                for stream in listener.incoming() {
                    let request = request(stream.as_ref().unwrap());
                    hears.lock().unwrap().push(request);
                    answer(stream.unwrap(), status, lasting);
                }
            });
            Stub { address, heard }
        }

        pub(in crate::kafka::librdkafka::config) fn url(&self) -> String {
            format!("http://{}/token", self.address)
        }

        pub(in crate::kafka::librdkafka::config) fn asked(&self) -> usize {
            self.heard.lock().unwrap().len()
        }
    }

    /// An issuer that answers when it is told to.
    pub(in crate::kafka::librdkafka::config) struct SlowIssuer(TcpListener);

    /// Somebody who waits for it.
    pub(in crate::kafka::librdkafka::config) struct Waiting(TcpStream);

    impl SlowIssuer {
        pub(in crate::kafka::librdkafka::config) fn new() -> Self {
            SlowIssuer(TcpListener::bind("127.0.0.1:0").unwrap())
        }

        pub(in crate::kafka::librdkafka::config) fn url(&self) -> String {
            format!("http://{}/token", self.0.local_addr().unwrap())
        }

        /// Waits for somebody who asks.
        pub(in crate::kafka::librdkafka::config) fn asked(&self) -> Waiting {
            let (stream, _) = self.0.accept().unwrap();
            request(&stream);
            Waiting(stream)
        }
    }

    impl Waiting {
        pub(in crate::kafka::librdkafka::config) fn answer(self) {
            answer(self.0, 200, 3600);
        }
    }

    fn request(stream: &TcpStream) -> String {
        let mut reader = BufReader::new(stream);
        let (mut head, mut length) = (String::new(), 0);
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            if line.trim().is_empty() {
                break;
            }
            head += &line;
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        head + "\n" + &String::from_utf8(body).unwrap()
    }

    fn answer(mut stream: TcpStream, status: u16, lasting: i64) {
        let expires = SystemClock.now().as_millis() / 1000 + lasting;
        let part = |text: String| URL_SAFE_NO_PAD.encode(text);
        let token = format!("{}.{}.", part("{\"alg\":\"none\"}".to_owned()), part(format!("{{\"sub\":\"ann\",\"exp\":{expires}}}")));
        let body = match status {
            200 => format!("{{\"access_token\":\"{token}\",\"token_type\":\"Bearer\"}}"),
            _ => "{\"error\":\"invalid_client\",\"error_description\":\"no such client\"}".to_owned(),
        };
        let head =
            format!("HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
        stream.write_all((head + &body).as_bytes()).unwrap();
    }

    fn settings(url: &str, more: &[(&str, &str)]) -> BTreeMap<String, Said> {
        let all = [
            ("sasl.oauthbearer.token.endpoint.url", url),
            ("sasl.oauthbearer.client.id", "me"),
            ("sasl.oauthbearer.client.secret", "hunter2"),
        ];
        let said = |value: &str| Said { key: String::new(), value: value.to_owned(), own: false };
        all.iter().chain(more).map(|(key, value)| ((*key).to_owned(), said(value))).collect()
    }

    #[test]
    fn the_issuer_is_asked_with_the_credentials_and_the_scope() {
        let stub = Stub::answering(200, 3600);
        let settings =
            settings(&stub.url(), &[("sasl.oauthbearer.scope", "a b"), ("sasl.oauthbearer.extensions", "logicalCluster=lkc-1, pool=p=2")]);
        let now = SystemClock.now();
        let token = Issuer::of(&settings).unwrap().token(now).unwrap();
        assert_eq!((token.principal.as_str(), token.value.matches('.').count()), ("ann", 2));
        let asked = now + Duration::from_secs(3598)..SystemClock.now() + Duration::from_secs(3602);
        assert!(asked.contains(&token.expires));
        assert_eq!(token.extensions, [("logicalCluster".to_owned(), "lkc-1".to_owned()), ("pool".to_owned(), "p=2".to_owned())]);
        let heard = stub.heard.lock().unwrap()[0].clone();
        assert!(heard.starts_with("POST /token HTTP/1.1"), "{heard}");
        assert!(heard.to_lowercase().contains("content-type: application/x-www-form-urlencoded"), "{heard}");
        assert!(heard.contains(&format!("Basic {}", STANDARD.encode("me:hunter2"))), "{heard}");
        assert!(heard.ends_with("grant_type=client_credentials&scope=a+b") || heard.ends_with("scope=a%20b"), "{heard}");
    }

    #[test]
    fn what_is_in_the_way_is_told_without_the_secret() {
        let why = |url: &str, more: &[(&str, &str)]| {
            let settings = settings(url, more);
            Issuer::of(&settings).and_then(|issuer| issuer.token(SystemClock.now())).err().unwrap()
        };
        let stub = Stub::answering(401, 1);
        let told = why(&stub.url(), &[]);
        assert!(told.contains("answered 401, invalid_client: no such client") && !told.contains("hunter2"), "{told}");
        assert!(why("http://127.0.0.1:1/token", &[]).contains("cannot be asked"));
        assert!(why(&stub.url(), &[("https.ca.location", "/no/such/file")]).contains("cannot read `/no/such/file`"));
        assert!(why(&stub.url(), &[("https.ca.pem", "none")]).contains("no certificate"));
        assert!(why(&stub.url(), &[("sasl.oauthbearer.extensions", "x")]).contains("`name=value`"));
    }
}
