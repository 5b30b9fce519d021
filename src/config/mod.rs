//! Settings as data: every field has a default, a unit and an effect.

mod build;

pub use build::{BuildSettings, StoreType};
