//! A member that cannot come in yet, because an application of Kafka Streams runs under the same id: it looks again until the group is empty.
//!
//! A broker lets nobody into a group who shares out work in another way than those who are in, and takes no positions from strangers while
//! somebody is in. So the other side is safe from this one, and nothing can be read that is not this one's yet.

use std::time::Duration;

use super::KafkaMember;
use super::agreement::{self, Company};
use super::membership::Membership;
use crate::kafka::librdkafka::deadline::Deadline;
use crate::kafka::{Admin, Connect, LogError, Occupied};

/// Between two looks.
const BETWEEN_LOOKS: Duration = Duration::from_millis(500);

/// Who is waited for, and when to look again.
pub(super) struct Waiting {
    admin: Box<dyn Admin>,
    occupied: Occupied,
    again: Deadline,
}

impl Waiting {
    pub(super) fn for_whom(&self) -> &Occupied {
        &self.occupied
    }

    /// Whether others are in now than when it looked last.
    fn change(&mut self, occupied: Occupied) -> bool {
        let before = std::mem::replace(&mut self.occupied, occupied);
        before != self.occupied
    }
}

impl KafkaMember {
    /// Enters the group, or waits until it can.
    pub(super) fn come_in(&mut self, admin: Box<dyn Admin>) -> Result<(), LogError> {
        let Some(tasks) = self.tasks.clone() else { return Ok(()) };
        let mut membership = Membership::open(&self.log.config, &self.options, &self.bell)?;
        if let Some(occupied) = agreement::agree(&*admin, &mut membership, &tasks)? {
            self.wait_for(admin, occupied);
            return Ok(());
        }
        if self.waiting.take().is_some() {
            tracing::info!(group = self.options.group, "the group can be joined now");
        }
        membership.subscribe(tasks)?;
        self.membership = Some(membership);
        self.agreed = false;
        Ok(())
    }

    fn wait_for(&mut self, admin: Box<dyn Admin>, occupied: Occupied) {
        if self.waiting.as_ref().is_none_or(|waiting| waiting.occupied != occupied) {
            tracing::warn!("{occupied}");
        }
        self.waiting = Some(Waiting { admin, occupied, again: Deadline::after(BETWEEN_LOOKS) });
    }

    /// Looks whether it can come in by now, if it waits and has not looked for a while.
    pub(super) fn look_again(&mut self) -> Result<(), LogError> {
        let Some(waiting) = &mut self.waiting else { return Ok(()) };
        if !waiting.again.rest().is_zero() {
            return Ok(());
        }
        waiting.again = Deadline::after(BETWEEN_LOOKS);
        let company = match Company::of(&*waiting.admin, &self.options.group) {
            Ok(company) => company,
            Err(error) => {
                // What was asked and not answered goes with its client: within an hour it must, see `Request::of_group`.
                waiting.admin = self.log.admin()?;
                return Err(error);
            }
        };
        if company.are_strangers() {
            if waiting.change(company.occupied()) {
                tracing::warn!("{}", waiting.occupied);
            }
            return Ok(());
        }
        self.come_in(self.log.admin()?)
    }

    /// The group shut it out: others were faster. It waits for them if that can help.
    pub(super) fn step_back(&mut self, error: LogError) -> Result<(), LogError> {
        if let Some(membership) = self.membership.take() {
            membership.abandon();
        }
        let admin = self.log.admin()?;
        let occupied = match Company::of(&*admin, &self.options.group) {
            Ok(company) if !company.are_strangers() && !company.is_unsettled() => return Err(error),
            Ok(company) => company.occupied(),
            // It is looked at again.
            Err(_) => Occupied { group: self.options.group.clone(), members: 0 },
        };
        self.wait_for(admin, occupied);
        Ok(())
    }
}
