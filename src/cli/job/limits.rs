//! What a job file says about what a job may use of its machine: `memory` and `restore-rate`.

use std::num::NonZeroU64;

use highwater::Settings;

use super::fields::{Fields, size};

/// Less than this holds neither a block of state nor a response of a broker.
const LEAST_MEMORY: u64 = 16 << 20;

/// Bounds. Without one of them the engine's own holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) struct Limits {
    pub(crate) memory: Option<usize>,
    pub(crate) restore_rate: Option<NonZeroU64>,
}

impl Limits {
    /// Becomes part of the settings of the job.
    pub(crate) fn settle(self, settings: &mut Settings) {
        settings.memory = self.memory.unwrap_or(settings.memory);
        settings.restore_bytes_per_second = self.restore_rate;
    }
}

/// Reads both.
pub(super) fn read(file: &mut Fields<'_>) -> Limits {
    let memory = file.read("memory", |text| match size(text)? {
        bytes if bytes < LEAST_MEMORY => Err(format!("is too little, with `{text}`: give it at least `16MB`")),
        bytes => usize::try_from(bytes).map_err(|_| format!("is more than this machine can address: `{text}`")),
    });
    let restore_rate = file.read("restore-rate", |text| {
        let bytes = size(text.strip_suffix("/s").unwrap_or(text))?;
        NonZeroU64::new(bytes).ok_or_else(|| "must be more than nothing; leave it out for no limit".to_owned())
    });
    Limits { memory, restore_rate }
}
