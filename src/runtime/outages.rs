//! Who waits for the cluster, and why: said once when it begins, and once when it is over.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The threads that could not go on when they last tried, each with what it was answered.
#[derive(Debug, Default)]
pub(crate) struct Outages(Mutex<BTreeMap<String, String>>);

impl Outages {
    fn waiting(&self) -> MutexGuard<'_, BTreeMap<String, String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A thread cannot go on now. It tries again by itself.
    pub(crate) fn begin(&self, thread: &str, why: &dyn Display) {
        let why = why.to_string();
        if self.waiting().insert(thread.to_owned(), why.clone()).is_none() {
            tracing::warn!(thread, "waiting for the cluster, and going on by itself when it answers: {why}");
        } else {
            tracing::debug!(thread, "still waiting for the cluster: {why}");
        }
    }

    /// A thread was answered.
    pub(crate) fn end(&self, thread: &str) {
        if self.waiting().remove(thread).is_some() {
            tracing::info!(thread, "the cluster answers again");
        }
    }

    /// Why the first of them waits; none if none does.
    pub(crate) fn first(&self) -> Option<String> {
        self.waiting().first_key_value().map(|(_, why)| why.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_over_when_the_last_one_is_answered() {
        let outages = Outages::default();
        outages.begin("app-2", &"no answer");
        outages.begin("app-1", &"broken");
        outages.begin("app-1", &"refused");
        assert_eq!(outages.first().as_deref(), Some("refused"));
        outages.end("app-1");
        outages.end("app-1");
        assert_eq!(outages.first().as_deref(), Some("no answer"));
        outages.end("app-2");
        assert_eq!(outages.first(), None);
    }
}
