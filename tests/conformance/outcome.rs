//! What Highwater answered to a scenario, in the terms of the stored answers.

use std::collections::BTreeMap;

use super::format::{Content, Phase, Read, Row, Subtopology};

/// Everything that was seen from outside.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) describe: Option<String>,
    pub(crate) subtopologies: Option<Vec<Subtopology>>,
    pub(crate) topics: BTreeMap<String, Vec<Row>>,
    pub(crate) stores: Option<BTreeMap<String, Content>>,
    pub(crate) reads: Vec<Read>,
    pub(crate) observed: BTreeMap<String, Vec<(i64, String, String)>>,
    pub(crate) dropped: Option<u64>,
    pub(crate) error: Option<Problem>,
}

/// An error, and the Java exceptions that it may stand for.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    pub(crate) phase: Phase,
    pub(crate) step: Option<i64>,
    /// Simple class names.
    pub(crate) stands_for: &'static [&'static str],
    pub(crate) text: String,
}
