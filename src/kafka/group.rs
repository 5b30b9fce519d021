//! The membership port: who owns which task, and where its inputs stand.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::{Consumer, Isolation, LogError};
use crate::record::{TaskId, TopicPartition};

/// A task and the partitions it reads: what is moved between members as one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskInputs {
    /// The task.
    pub task: TaskId,
    /// Its input partitions.
    pub partitions: Vec<TopicPartition>,
}

/// What the group asks of a member or tells it. Tasks come in the order of their ids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupEvent {
    /// These tasks are the member's now. Their inputs are not: it looks up the committed positions and assigns them itself.
    Assigned(Vec<TaskId>),
    /// Another member shall have these tasks. They remain this member's, and its commits hold, until it calls [`Group::release`].
    RevocationRequested(Vec<TaskId>),
    /// These tasks are gone already, and with them the membership. Nothing of them can be committed any more; joining again is possible.
    Lost(Vec<TaskId>),
}

/// Proof of membership at one moment. Taken when a commit begins and shown when it ends, so that a commit cannot outlive the ownership
/// that it was made under.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberToken {
    /// The member, unique within its group.
    pub member: Arc<str>,
    /// The generation it has seen.
    pub generation: i32,
}

impl MemberToken {
    /// Stands for no member.
    pub(crate) fn nobody() -> Self {
        MemberToken { member: "".into(), generation: -1 }
    }
}

impl fmt::Display for MemberToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of generation {}", self.member, self.generation)
    }
}

/// A committed position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// The offset to go on from.
    pub offset: i64,
    /// What was written beside it.
    pub metadata: String,
}

/// A group that a member cannot enter yet: others are in it who share out their work in another way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Occupied {
    /// The group.
    pub group: String,
    /// How many are in; 0 if the cluster does not show them.
    pub members: usize,
}

impl fmt::Display for Occupied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Occupied { group, members } = self;
        let who = match members {
            0 => "members of another kind".to_owned(),
            1 => "1 member of another kind".to_owned(),
            members => format!("{members} members of another kind"),
        };
        write!(f, "waiting until the group `{group}` is empty: it has {who}, as the same application in Java has. Stop all of them")
    }
}

/// How a consumer takes part in a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberOptions {
    /// The group.
    pub group: String,
    /// What tools show; it need not be unique.
    pub name: String,
    /// Which records it sees. [`Isolation::ReadCommitted`] also makes [`Group::committed`] wait for undecided positions.
    pub isolation: Isolation,
    /// A name that stays the same when the process is restarted (Kafka's `group.instance.id`). Such a member keeps its tasks when it
    /// leaves: whoever joins under the same name before the session is over gets exactly those, and the earlier holder of the name is fenced.
    pub instance: Option<String>,
    /// How long it may be silent before its tasks are given to others.
    pub session_timeout: Duration,
    /// It hears of the ends of partitions at once, for more requests: for who reads up to an end and is done.
    pub to_the_end: bool,
}

impl MemberOptions {
    /// A member without a lasting name, which sees committed records only and has a session of 45 s.
    pub fn new(group: impl Into<String>, name: impl Into<String>) -> Self {
        let (group, name) = (group.into(), name.into());
        MemberOptions {
            group,
            name,
            isolation: Isolation::ReadCommitted,
            instance: None,
            session_timeout: Duration::from_secs(45),
            to_the_end: false,
        }
    }
}

/// A consumer that is a member of a group.
///
/// The group assigns tasks and tells about them; it never touches what the consumer reads. **A revocation is a request**: the member commits
/// first and releases then, because a group checks who is a member, not who owns what: a commit after the release would be accepted
/// although the next owner has begun from the older offset.
pub trait Group: Consumer {
    /// Enters the group, or begins to [wait](Self::waits_for) until it can. All members bring the same list of tasks. What the member gets
    /// comes as events.
    fn join(&mut self, tasks: &[TaskInputs]) -> Result<(), LogError>;

    /// Who has to leave before the member can come in, if it waits for that. It looks again with each [`Consumer::poll`].
    fn waits_for(&self) -> Option<Occupied> {
        None
    }

    /// The next event, requests before assignments; none if there is no other now. Never waits: [`Consumer::poll`] does, and ends when an
    /// event is due. This is what moves the member to the group's generation: tokens from before are stale then. So nothing comes between
    /// the cut of a commit and its end unless the member asks.
    fn next_event(&mut self) -> Option<GroupEvent>;

    /// The token to commit with. Before joining it is the token of nobody, which a group accepts only while it has no members.
    fn token(&self) -> MemberToken;

    /// Gives up tasks. The next owner starts at once, so everything of them must be committed. Makes older tokens stale. What was not asked
    /// for may come back to the same member.
    fn release(&mut self, tasks: &[TaskId]) -> Result<(), LogError>;

    /// Writes down positions. [`LogError::Fenced`] if the token is no longer valid, [`LogError::GroupUnsettled`] if it is to be tried again after the next
    /// poll; then nothing was written.
    fn commit(&mut self, token: &MemberToken, positions: &[(TopicPartition, Position)]) -> Result<(), LogError>;

    /// The positions last committed by anyone in the group; none where there is none. Where a transaction of an earlier owner is undecided, a
    /// member that reads committed records waits for it or answers [`LogError::PositionUndecided`]: ask again.
    fn committed(&mut self, partitions: &[TopicPartition]) -> Result<Vec<Option<Position>>, LogError>;

    /// Leaves the group and gives up every task; uncommitted work is the next owner's. Dropping the member does the same. A member with an
    /// [instance](MemberOptions::instance) keeps its tasks until its session is over.
    fn leave(&mut self);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_says_for_whom_and_what_to_do() {
        let occupied = |members| Occupied { group: "shop".to_owned(), members }.to_string();
        assert_eq!(
            occupied(2),
            "waiting until the group `shop` is empty: it has 2 members of another kind, as the same application in Java has. Stop all of them"
        );
        assert!(occupied(1).contains("1 member of"));
        assert!(occupied(0).contains("it has members of"));
    }
}
