//! Bearer tokens from an issuer, for `sasl.mechanism=OAUTHBEARER` with `sasl.oauthbearer.method=oidc`.
//!
//! The client library would need another library of C for it. Here the issuer is asked over HTTP; all clients of a cluster share one token. A
//! client has it from its first moment ([`SignIn::first`]). Whoever uses a client sees to it that the issuer is asked again in time
//! ([`SignIn::renew`]), on a thread of its own, and the new token is then shown to all clients that were enlisted, used or not: one that stood
//! still with an old token would be refused when it is needed.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use rdkafka::client::{Client, ClientContext};

use super::issuer::Issuer;
use super::spelling::Said;
use super::{KafkaConfig, login};
use crate::clock::{Clock, SystemClock};
use crate::error::ErrorKind;
use crate::kafka::LogError;
use crate::kafka::librdkafka::native;
use crate::record::Timestamp;

/// How long after a failure the issuer is asked again.
const AGAIN_AFTER: Duration = Duration::from_secs(10);

/// What a client shows to a broker. No `Debug`: whoever has it is who it names.
pub(in crate::kafka::librdkafka) struct Token {
    pub(in crate::kafka::librdkafka) value: String,
    /// Whom it names.
    pub(in crate::kafka::librdkafka) principal: String,
    pub(in crate::kafka::librdkafka) expires: Timestamp,
    /// What the broker is told beside it.
    pub(in crate::kafka::librdkafka) extensions: Vec<(String, String)>,
}

/// The token that the clients of a cluster share.
#[derive(Default)]
pub(super) struct Shared {
    held: Mutex<Held>,
    /// Of those who wait for a token: one asks for all. Whoever has one takes no turn, lest an issuer that is away keep up who needs nothing of it.
    turn: Mutex<()>,
}

/// A client that can be shown a token.
pub(in crate::kafka::librdkafka) trait Guest: Send + Sync {
    /// Shows it.
    fn show(&self, token: &Token);
}

#[derive(Default)]
struct Held {
    /// The clients that are there.
    guests: Vec<Weak<dyn Guest>>,
    token: Option<Arc<Token>>,
    /// Counts tokens, from 1.
    number: u64,
    /// When the issuer may be asked for the next one.
    due: Option<Timestamp>,
    asking: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    /// The token and its number, if it is in force.
    fn in_force(&self, now: Timestamp) -> Option<(Arc<Token>, u64)> {
        self.token.clone().filter(|token| token.expires > now).map(|token| (token, self.number))
    }

    fn keep(&mut self, token: Token, now: Timestamp) {
        // Early enough that a slow issuer is no matter, late enough that it is not bothered.
        let life = token.expires.as_millis().saturating_sub(now.as_millis()).max(0);
        self.due = Some(Timestamp::from_millis(now.as_millis() + life / 10 * 7));
        self.token = Some(Arc::new(token));
        self.number += 1;
    }
}

/// The sign-in of one client; nothing where no bearer token is needed.
pub(in crate::kafka::librdkafka) struct SignIn {
    config: Option<KafkaConfig>,
    /// The number of the token that the client has.
    shown: AtomicU64,
}

impl SignIn {
    /// Signs a client in that was just opened. The issuer is waited for, if it must be asked.
    pub(in crate::kafka::librdkafka) fn first<C: ClientContext>(config: &KafkaConfig, client: &Client<C>) -> Result<Self, LogError> {
        let sign_in = SignIn { config: config.needs_tokens()?.then(|| config.clone()), shown: AtomicU64::new(0) };
        if let Some(config) = &sign_in.config {
            let (token, number) = config.token().map_err(|why| LogError::Client { kind: ErrorKind::Log, source: Arc::new(why.into()) })?;
            sign_in.show(client, &token, number);
        }
        Ok(sign_in)
    }

    /// The client is shown each new token from now on, used or not.
    pub(in crate::kafka::librdkafka) fn enlist(&self, client: Weak<dyn Guest>) {
        if let Some(config) = &self.config {
            let mut held = config.tokens.lock();
            held.guests.retain(|guest| guest.strong_count() > 0);
            held.guests.push(client);
        }
    }

    /// Shows the client a newer token if there is one, and sees to it that there will be one in time. Waits for nothing, and costs next to
    /// nothing: to be called whenever the client is used.
    pub(in crate::kafka::librdkafka) fn renew<C: ClientContext>(&self, client: &Client<C>) {
        let Some(config) = &self.config else { return };
        let (token, number) = config.renewed();
        if let Some(token) = token.filter(|_| number > self.shown.load(Ordering::Relaxed)) {
            self.show(client, &token, number);
        }
    }

    fn show<C: ClientContext>(&self, client: &Client<C>, token: &Token, number: u64) {
        show(client, token);
        self.shown.store(number, Ordering::Relaxed);
    }
}

/// Shows a client a token.
pub(in crate::kafka::librdkafka) fn show<C: ClientContext>(client: &Client<C>, token: &Token) {
    if let Err(why) = native::show_token(client, token) {
        tracing::warn!("the client does not take its bearer token: {why}");
    }
}

impl KafkaConfig {
    /// Whether clients need bearer tokens from an issuer.
    fn needs_tokens(&self) -> Result<bool, LogError> {
        Ok(login::is_issued(&self.plain_settings()?))
    }

    /// The token that is in force, and its number; asks the issuer if there is none, and waits for it.
    fn token(&self) -> Result<(Arc<Token>, u64), String> {
        let in_force = || self.tokens.lock().in_force(SystemClock.now());
        if let Some(found) = in_force() {
            return Ok(found);
        }
        let _turn = self.tokens.turn.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = in_force() {
            return Ok(found);
        }
        let now = SystemClock.now();
        let token = self.asked(now)?;
        let mut held = self.tokens.lock();
        held.keep(token, now);
        Ok((held.token.clone().expect("just kept"), held.number))
    }

    /// The token that there is, and its number; lets the issuer be asked for the next one if it is time.
    fn renewed(&self) -> (Option<Arc<Token>>, u64) {
        let mut held = self.tokens.lock();
        if !held.asking && held.due.is_some_and(|due| due <= SystemClock.now()) {
            held.asking = true;
            let config = self.clone();
            let asking = std::thread::Builder::new().name("highwater-token".to_owned()).spawn(move || config.ask_again());
            held.asking = asking.is_ok();
        }
        (held.token.clone(), held.number)
    }

    fn ask_again(&self) {
        let now = SystemClock.now();
        let asked = self.asked(now);
        let mut held = self.tokens.lock();
        held.asking = false;
        match asked {
            Ok(token) => {
                held.keep(token, now);
                let (token, guests) = (held.token.clone(), held.guests.clone());
                drop(held);
                let there = guests.iter().filter_map(Weak::upgrade);
                there.for_each(|guest| token.iter().for_each(|token| guest.show(token)));
            }
            Err(why) => {
                held.due = Some(now + AGAIN_AFTER);
                tracing::warn!("no new bearer token: {why}");
            }
        }
    }

    fn asked(&self, now: Timestamp) -> Result<Token, String> {
        let settings = self.plain_settings().map_err(|error| error.to_string())?;
        Issuer::of(&settings)?.token(now)
    }

    /// The settings as they are for every client, secrets looked up.
    fn plain_settings(&self) -> Result<BTreeMap<String, Said>, LogError> {
        let mut faults = super::Faults::default();
        let settings = self.settings(super::Kind::Admin, &mut faults);
        faults.into_result()?;
        Ok(settings)
    }
}

/// Whether a setting is for the issuer, and not for the client library.
pub(super) fn is_for_issuer(name: &str) -> bool {
    name.starts_with("https.ca.") || (name.starts_with("sasl.oauthbearer.") && name != "sasl.oauthbearer.config")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::librdkafka::config::issuer::tests::{SlowIssuer, Stub};

    fn config(stub: &Stub) -> KafkaConfig {
        config_of(&stub.url())
    }

    fn config_of(url: &str) -> KafkaConfig {
        KafkaConfig::new("127.0.0.1:1")
            .with("security.protocol", "SASL_PLAINTEXT")
            .with("sasl.mechanism", "OAUTHBEARER")
            .with("sasl.oauthbearer.method", "oidc")
            .with("sasl.oauthbearer.token.endpoint.url", url)
            .with("sasl.oauthbearer.client.id", "me")
            .with("sasl.oauthbearer.client.secret", "hunter2")
    }

    fn consumer(config: &KafkaConfig) -> rdkafka::consumer::BaseConsumer {
        config.client("test", &[("enable.partition.eof", "true")]).unwrap().create().unwrap()
    }

    /// A client that nobody uses.
    #[derive(Default)]
    struct Idle(AtomicU64);

    impl Guest for Idle {
        fn show(&self, _: &Token) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn clients_share_a_token_and_get_the_next_one_before_it_runs_out() {
        use rdkafka::consumer::Consumer as _;
        let open = |lasting| {
            let stub = Stub::answering(200, lasting);
            let config = config(&stub);
            let clients = [consumer(&config), consumer(&config)];
            let sign_ins = clients.each_ref().map(|client| SignIn::first(&config, client.client()).unwrap());
            (stub, clients, sign_ins)
        };
        let (stub, _clients, sign_ins) = open(3600);
        assert_eq!((stub.asked(), sign_ins[1].shown.load(Ordering::Relaxed)), (1, 1));
        let (_stub, [one, _two], sign_ins) = open(2); // between one and two seconds: the last one is not whole
        let idle = Arc::new(Idle::default());
        sign_ins[1].enlist(Arc::<Idle>::downgrade(&idle));
        for _ in 0..3_000 {
            sign_ins[0].renew(one.client());
            if sign_ins[0].shown.load(Ordering::Relaxed) > 1 && idle.0.load(Ordering::Relaxed) > 0 {
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        assert!(sign_ins[0].shown.load(Ordering::Relaxed) > 1, "after 70 % of its life");
        assert!(idle.0.load(Ordering::Relaxed) > 0, "used or not");
    }

    /// A thread that opened a client in an outage of the issuer kept up all others, which had theirs.
    #[test]
    fn who_has_a_client_does_not_wait_for_the_issuer_that_another_one_waits_for() {
        let slow = SlowIssuer::new();
        let config = config_of(&slow.url());
        let opens = std::thread::spawn({
            let config = config.clone();
            move || config.token().map(|(_, number)| number)
        });
        let asked = slow.asked();
        assert!(config.renewed().0.is_none(), "there is none yet");
        // Had that waited, it would be too late for the answer.
        asked.answer();
        assert_eq!(opens.join().unwrap(), Ok(1));
        assert!(config.renewed().0.is_some());
    }

    #[test]
    fn a_client_without_a_token_is_not_opened_and_its_secret_not_told() {
        use rdkafka::consumer::Consumer as _;
        let stub = Stub::answering(401, 1);
        let config = config(&stub);
        let client = consumer(&config);
        let error = SignIn::first(&config, client.client()).err().unwrap();
        assert!(error.to_string().contains("401") && error.to_string().contains("invalid_client: no such client"), "{error}");
        assert!(!format!("{error:?} {config:?}").contains("hunter2"));
    }

    #[test]
    fn other_mechanisms_ask_nobody() {
        use rdkafka::consumer::Consumer as _;
        let config = KafkaConfig::new("127.0.0.1:1");
        let client = consumer(&config);
        let sign_in = SignIn::first(&config, client.client()).unwrap();
        sign_in.renew(client.client());
        assert_eq!(sign_in.shown.load(Ordering::Relaxed), 0);
    }
}
