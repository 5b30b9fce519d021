//! A name for a process that has none yet.

use std::hash::{BuildHasher, RandomState};

/// An id by chance: the hasher of the standard library draws its keys from the operating system.
pub(crate) fn drawn_id() -> String {
    let draw = || RandomState::new().hash_one(std::process::id());
    format!("{:016x}{:016x}", draw(), draw())
}
