//! Settings that shape a topology when it is built.

use std::time::Duration;

/// Where the stores of DSL operators live unless they say otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum StoreType {
    /// A persistent backend. In a build without one, memory with the same order of iteration.
    #[default]
    Persistent,
    /// Memory, restored from the changelog.
    InMemory,
}

/// What `StreamsBuilder::with_settings` takes. Changing one may change names or internal topics of a running application.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct BuildSettings {
    /// Where stores live by default. Kafka Streams: `dsl.store.suppliers.class`.
    pub store_type: StoreType,
    /// Refuse generated names of stores and internal topics. Kafka Streams: `ensure.explicit.internal.resource.naming`.
    pub require_explicit_names: bool,
    /// How much longer than its store a changelog of windows keeps them. Kafka Streams:
    /// `windowstore.changelog.additional.retention.ms`. Default one day.
    pub window_changelog_extra_retention: Duration,
}

impl Default for BuildSettings {
    fn default() -> Self {
        BuildSettings {
            store_type: StoreType::default(),
            require_explicit_names: false,
            window_changelog_extra_retention: Duration::from_secs(24 * 60 * 60),
        }
    }
}
