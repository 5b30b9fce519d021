//! What is told of connections that fail: one line for each broker and minute, however many clients try it however often, and why the last
//! connection of a client came to nothing.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::clock::{Clock, SystemClock};
use crate::record::Timestamp;

/// Between two lines about one broker.
const AGAIN: Duration = Duration::from_secs(60);
/// What was heard longer ago explains nothing any more.
const RECENT: Duration = Duration::from_secs(15);

/// Which brokers somebody was told of, and when.
#[derive(Debug, Default)]
pub(super) struct Told(Mutex<BTreeMap<String, Timestamp>>);

/// Those of this process: its clients are many, and meet the same brokers.
pub(super) static TOLD: Told = Told(Mutex::new(BTreeMap::new()));

impl Told {
    /// Whether it is time to say that there is trouble with a broker.
    pub(super) fn is_due(&self, broker: &str, now: Timestamp) -> bool {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let due = told.get(broker).is_none_or(|last| now >= *last + AGAIN);
        if due {
            told.insert(broker.to_owned(), now);
        }
        due
    }
}

/// Which broker a line of the library is about, and what it says; none if it is about none, or about what stands for one: a coordinator is a broker
/// that has a line of its own.
pub(super) fn broker_in(line: &str) -> Option<(&str, &str)> {
    let text = line.strip_prefix("[thrd:").and_then(|rest| rest.split_once("]: ")).map_or(line, |(_, text)| text);
    let (name, said) = text.split_once(": ")?;
    let address = name.rsplit_once("://").map_or(name, |(_, address)| address);
    let address = address.split_once('/').map_or(address, |(address, _)| address);
    address.contains(':').then_some((address, said))
}

/// Why a connection came to nothing.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    /// The library's words, with the broker.
    pub(super) text: String,
    /// It will not be better next time: the broker does not take who asks, or who asks does not trust the broker.
    pub(super) is_refusal: bool,
    at: Timestamp,
}

/// Why the last connection of one client came to nothing.
#[derive(Debug, Default)]
pub(super) struct LastFailure(Mutex<Option<Failure>>);

impl LastFailure {
    pub(super) fn note(&self, broker: &str, said: &str) {
        let signs = ["SASL authentication error", "mechanism handshake failed", "certificate verify failed"];
        let is_refusal = signs.iter().any(|sign| said.contains(sign));
        let failure = Failure { text: format!("{broker}: {said}"), is_refusal, at: SystemClock.now() };
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // After a refusal the broker hangs up, which is no news.
        if is_refusal || !last.as_ref().is_some_and(|last| last.is_refusal && last.is_recent(failure.at)) {
            *last = Some(failure);
        }
    }

    /// Whether a connection has come to nothing since then.
    pub(super) fn is_since(&self, then: Timestamp) -> bool {
        let last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        last.as_ref().is_some_and(|last| last.at >= then)
    }

    /// What was heard lately.
    pub(super) fn recent(&self) -> Option<Failure> {
        let last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        last.clone().filter(|last| last.is_recent(SystemClock.now()))
    }
}

impl Failure {
    fn is_recent(&self, now: Timestamp) -> bool {
        now < self.at + RECENT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_names_its_broker() {
        let refused = "[thrd:127.0.0.1:9092/1]: 127.0.0.1:9092/1: Connect to ipv4#127.0.0.1:9092 failed: Connection refused (after 0ms)";
        assert_eq!(broker_in(refused), Some(("127.0.0.1:9092", "Connect to ipv4#127.0.0.1:9092 failed: Connection refused (after 0ms)")));
        let secured = "sasl_ssl://b:1/bootstrap: SASL authentication error: no";
        assert_eq!(broker_in(secured), Some(("b:1", "SASL authentication error: no")));
        assert_eq!(broker_in("[thrd:GroupCoordinator]: GroupCoordinator: Connect to ipv4#b:1 failed"), None);
        assert_eq!(broker_in("1/1 brokers are down"), None);
    }

    #[test]
    fn a_broker_is_told_of_once_a_minute_however_often_it_fails() {
        let (told, at) = (Told::default(), Timestamp::from_secs);
        let due = [(0, "a"), (0, "b"), (1, "a"), (59, "a"), (60, "a"), (61, "a")].map(|(second, broker)| told.is_due(broker, at(second)));
        assert_eq!(due, [true, true, false, false, true, false]);
    }

    #[test]
    fn a_refusal_is_not_forgotten_for_the_hanging_up_after_it() {
        let last = LastFailure::default();
        last.note("b:1", "Connection refused");
        assert!(last.recent().is_some_and(|failure| !failure.is_refusal));
        assert!(last.is_since(Timestamp::from_millis(0)) && !last.is_since(SystemClock.now() + AGAIN));
        last.note("b:1", "SASL authentication error: Authentication failed");
        last.note("b:1", "Disconnected");
        let failure = last.recent().expect("just heard");
        assert_eq!((failure.text.as_str(), failure.is_refusal), ("b:1: SASL authentication error: Authentication failed", true));
    }
}
