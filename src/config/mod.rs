//! Settings as data: every field has a default, a unit and an effect.

mod build;
mod settings;

pub use build::{BuildSettings, StoreType};
pub use settings::{CreateTopics, DeadLetterHeaders, Guarantee, LostChangelog, LostRecords, MissingPosition, ProducerScope, Settings};
