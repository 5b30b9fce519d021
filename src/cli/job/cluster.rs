//! What a job file says about the cluster it runs on: `kafka` and `topics`.

use std::collections::BTreeMap;
use std::fmt;

use super::fields::{Fields, Problems, one_of, scalar, word};
use super::yaml::{Data, Position};

/// The section `kafka`.
#[cfg_attr(not(feature = "kafka"), allow(dead_code, reason = "this build knows no clusters"))]
#[derive(Clone, Default)]
pub(crate) struct KafkaSection {
    /// Addresses of brokers.
    pub(crate) bootstrap: Option<String>,
    /// Settings of the client, each with its place in the file.
    pub(crate) properties: BTreeMap<String, (Position, String)>,
}

/// Without the values: there are passwords among them.
impl fmt::Debug for KafkaSection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KafkaSection({:?})", self.properties.keys())
    }
}

/// Which topics may be made at start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) enum Create {
    /// Those of the engine.
    #[default]
    Internal,
    /// Those that the job file names as well.
    All,
    /// None.
    Never,
}

/// Reads `kafka`.
pub(super) fn read_kafka(file: &mut Fields<'_>, problems: &Problems) -> Option<KafkaSection> {
    let mut group = Fields::of("`kafka`", file.optional("kafka")?, problems)?;
    let bootstrap = group.read("bootstrap", word);
    let mut properties = BTreeMap::new();
    match group.optional("properties").map(|node| (node, &node.data)) {
        Some((_, Data::Map(entries))) => {
            for entry in entries {
                let value = match &entry.value.data {
                    Data::Null => Some(String::new()),
                    _ => scalar(&entry.key, &entry.value, problems, |text| Ok(text.to_owned())),
                };
                properties.extend(value.map(|value| (entry.key.clone(), (entry.at, value))));
            }
        }
        Some((_, Data::Null)) | None => {}
        Some((node, _)) => problems.note(node.at, "`properties` must be a group of keys, such as `security.protocol: SASL_SSL`"),
    }
    group.finish();
    Some(KafkaSection { bootstrap, properties })
}

/// Reads `topics`.
pub(super) fn read_topics(file: &mut Fields<'_>, problems: &Problems) -> Create {
    let Some(mut group) = file.optional("topics").and_then(|node| Fields::of("`topics`", node, problems)) else { return Create::default() };
    let choices = [("internal", Create::Internal), ("all", Create::All), ("never", Create::Never)];
    let create = group.read("create", |text| one_of(text, &choices));
    group.finish();
    create.unwrap_or_default()
}
