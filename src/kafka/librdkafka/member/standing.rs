//! What a membership comes to: the tasks that are the member's, and what it has not been told yet. Knows no client.

use std::collections::BTreeSet;

use crate::kafka::GroupEvent;
use crate::record::TaskId;

/// Where a member stands with its group.
#[derive(Debug, Default)]
pub(super) struct Standing {
    /// Its own, told or not, asked back or not.
    owned: BTreeSet<TaskId>,
    /// Of these, what it has not been told of.
    assigned: BTreeSet<TaskId>,
    /// Asked back, and not released yet: the client waits for that.
    held: BTreeSet<TaskId>,
    /// Of these, what it has not been told of.
    requested: BTreeSet<TaskId>,
    lost: bool,
}

impl Standing {
    /// The group gives tasks.
    pub(super) fn assign(&mut self, tasks: impl IntoIterator<Item = TaskId>) {
        for task in tasks {
            if self.owned.insert(task) {
                self.assigned.insert(task);
            }
        }
    }

    /// The group wants tasks back. What the member has not heard of goes back unheard. True if nothing is left to wait for.
    pub(super) fn request(&mut self, tasks: impl IntoIterator<Item = TaskId>) -> bool {
        for task in tasks {
            if self.assigned.remove(&task) {
                self.owned.remove(&task);
            } else if self.owned.contains(&task) && self.held.insert(task) {
                self.requested.insert(task);
            }
        }
        self.held.is_empty()
    }

    /// The member gives tasks up; what was not asked for comes back to it. True if that was all that the group waited for.
    pub(super) fn release(&mut self, tasks: &[TaskId]) -> bool {
        let waited = !self.held.is_empty();
        for task in tasks {
            self.requested.remove(task);
            if !self.owned.contains(task) {
                continue;
            }
            if self.held.remove(task) {
                self.owned.remove(task);
            } else {
                self.assigned.insert(*task);
            }
        }
        waited && self.held.is_empty()
    }

    /// Everything is gone.
    pub(super) fn lose(&mut self) {
        self.lost = true;
    }

    pub(super) fn is_lost(&self) -> bool {
        self.lost
    }

    /// Whether the client waits for a release.
    pub(super) fn is_held(&self) -> bool {
        !self.held.is_empty()
    }

    /// Whether there is something to tell.
    pub(super) fn is_due(&self) -> bool {
        self.lost || !self.requested.is_empty() || !self.assigned.is_empty()
    }

    /// The next thing to tell.
    pub(super) fn next_event(&mut self) -> Option<GroupEvent> {
        if self.lost {
            let told = self.owned.difference(&self.assigned).copied().collect();
            *self = Standing::default();
            return Some(GroupEvent::Lost(told));
        }
        let take = |tasks: &mut BTreeSet<TaskId>| (!tasks.is_empty()).then(|| std::mem::take(tasks).into_iter().collect());
        let requested = take(&mut self.requested).map(GroupEvent::RevocationRequested);
        requested.or_else(|| take(&mut self.assigned).map(GroupEvent::Assigned))
    }

    /// The member has forgotten everything and begins anew with what it has.
    pub(super) fn tell_again(&mut self) {
        self.requested = self.held.clone();
        self.assigned = self.owned.difference(&self.held).copied().collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tasks(partitions: &[i32]) -> Vec<TaskId> {
        partitions.iter().map(|partition| TaskId { subtopology: 0, partition: *partition }).collect()
    }

    fn with(partitions: &[i32]) -> Standing {
        let mut standing = Standing::default();
        standing.assign(tasks(partitions));
        assert_eq!(standing.next_event(), Some(GroupEvent::Assigned(tasks(partitions))));
        standing
    }

    #[test]
    fn what_is_asked_back_is_held_until_all_of_it_is_released() {
        let mut standing = with(&[0, 1, 2]);
        assert!(!standing.request(tasks(&[1, 2])));
        assert_eq!(standing.next_event(), Some(GroupEvent::RevocationRequested(tasks(&[1, 2]))));
        assert!(standing.next_event().is_none() && standing.is_held());
        assert!(!standing.release(&tasks(&[1])), "one is missing");
        assert!(standing.release(&tasks(&[2])));
        assert!(!standing.is_held() && standing.next_event().is_none());
    }

    #[test]
    fn what_was_not_told_goes_back_unheard() {
        let mut standing = with(&[0]);
        standing.assign(tasks(&[1]));
        assert!(standing.request(tasks(&[1])), "nobody has to be asked");
        assert!(standing.next_event().is_none());
    }

    #[test]
    fn requests_come_before_assignments() {
        let mut standing = with(&[0, 1]);
        standing.assign(tasks(&[2]));
        standing.request(tasks(&[0]));
        assert_eq!(standing.next_event(), Some(GroupEvent::RevocationRequested(tasks(&[0]))));
        assert_eq!(standing.next_event(), Some(GroupEvent::Assigned(tasks(&[2]))));
    }

    #[test]
    fn what_was_not_asked_for_comes_back() {
        let mut standing = with(&[0, 1]);
        assert!(!standing.release(&tasks(&[1])), "nobody waits for it");
        assert_eq!(standing.next_event(), Some(GroupEvent::Assigned(tasks(&[1]))));
    }

    #[test]
    fn who_loses_hears_of_what_it_had_heard_of() {
        let mut standing = with(&[0, 1]);
        standing.assign(tasks(&[2]));
        standing.request(tasks(&[0]));
        standing.lose();
        assert_eq!(standing.next_event(), Some(GroupEvent::Lost(tasks(&[0, 1]))));
        assert!(!standing.is_due() && !standing.is_held());
    }

    #[test]
    fn who_has_forgotten_is_told_again() {
        let mut standing = with(&[0, 1, 2]);
        standing.request(tasks(&[2]));
        standing.next_event();
        standing.tell_again();
        assert_eq!(standing.next_event(), Some(GroupEvent::RevocationRequested(tasks(&[2]))));
        assert_eq!(standing.next_event(), Some(GroupEvent::Assigned(tasks(&[0, 1]))));
    }
}
