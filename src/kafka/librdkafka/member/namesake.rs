//! A member whose lasting name is still counted in for the process that had it before: it asks again until that one's session is over.
//!
//! Only a broker that runs the group itself (KIP-848) says so, to who comes back after a kill; otherwise the new process takes the place of the old one at once.

use std::time::Duration;

use super::KafkaMember;
use crate::kafka::librdkafka::deadline::Deadline;
use crate::kafka::{Connect, LogError};

/// Between two tries.
const BETWEEN_TRIES: Duration = Duration::from_millis(500);

/// When to ask again, while a namesake is counted in.
#[derive(Default)]
pub(super) struct Namesake {
    again: Option<Deadline>,
    is_told: bool,
}

impl KafkaMember {
    /// Gives its client up, which can do nothing any more, and waits.
    pub(super) fn wait_for_its_name(&mut self) {
        if let Some(membership) = self.membership.take() {
            membership.abandon();
        }
        self.namesake.again = Some(Deadline::after(BETWEEN_TRIES));
        if !std::mem::replace(&mut self.namesake.is_told, true) {
            let instance = self.options.instance.as_deref().unwrap_or_default();
            tracing::warn!(
                group = self.options.group,
                instance,
                "a process is still counted in under this instance name: waits until its session is over; if it runs, give each a name of its own"
            );
        }
    }

    /// Tries again, if it waits for its name and has not tried for a while.
    pub(super) fn ask_for_its_name(&mut self) -> Result<(), LogError> {
        if self.namesake.again.as_mut().is_none_or(|again| !again.rest().is_zero()) {
            return Ok(());
        }
        self.namesake.again = None;
        self.come_in(self.log.admin()?)
    }
}
