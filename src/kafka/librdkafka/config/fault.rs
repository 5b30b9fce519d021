//! What is wrong with the settings of a client.

use std::fmt;
use std::sync::Arc;

use crate::error::ErrorKind;
use crate::kafka::LogError;

/// Settings that cannot be used, all of them at once, each with what to change. It holds no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KafkaConfigError {
    faults: Vec<Fault>,
}

/// One setting, and what to change. `key` is empty where several are concerned, or one is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) key: String,
    pub(super) text: String,
}

impl KafkaConfigError {
    pub(super) fn new(faults: Vec<Fault>) -> Self {
        KafkaConfigError { faults }
    }

    /// Each problem: the setting as it was written, empty where it is missing, and what to change.
    pub fn problems(&self) -> impl Iterator<Item = (&str, &str)> {
        self.faults.iter().map(|fault| (fault.key.as_str(), fault.text.as_str()))
    }
}

impl fmt::Display for KafkaConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.faults.iter().enumerate() {
            write!(f, "{}{}", if index == 0 { "" } else { "\n" }, fault.text)?;
        }
        Ok(())
    }
}

impl std::error::Error for KafkaConfigError {}

impl From<KafkaConfigError> for LogError {
    fn from(error: KafkaConfigError) -> Self {
        LogError::Client { kind: ErrorKind::InvalidConfig, source: Arc::new(Box::new(error)) }
    }
}

/// The faults of a configuration, as they are found.
#[derive(Debug, Default)]
pub(super) struct Faults(Vec<Fault>);

impl Faults {
    pub(super) fn note(&mut self, key: &str, text: impl Into<String>) {
        let fault = Fault { key: key.to_owned(), text: text.into() };
        if !self.0.contains(&fault) {
            self.0.push(fault);
        }
    }

    pub(super) fn into_result(self) -> Result<(), KafkaConfigError> {
        if self.0.is_empty() { Ok(()) } else { Err(KafkaConfigError::new(self.0)) }
    }
}
