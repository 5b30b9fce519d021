//! What members do before they come in: the task topics are made, and nobody joins with other tasks than those who are in.

use std::time::Duration;

use super::membership::Membership;
use super::tasks::Tasks;
use crate::clock::let_others_go_on;
use crate::kafka::{Admin, LogError, NewTopic, Occupied};

/// How often somebody may change the group while it is looked at.
const LOOKS: u32 = 3;
/// The assignor of Kafka Streams.
const KAFKA_STREAMS: &str = "stream";
/// How long a topic may take to be as it was asked for.
const READ_BACK: u32 = 100;
const BETWEEN: Duration = Duration::from_millis(100);

/// Sees to it that the group runs these tasks and no others, or tells who has to leave first. Somebody with other tasks may still slip in at
/// the same moment: so members look once more when they are in.
pub(super) fn agree(admin: &dyn Admin, membership: &mut Membership, tasks: &Tasks) -> Result<Option<Occupied>, LogError> {
    for _ in 0..LOOKS {
        // First, because it waits until a new cluster knows who looks after the group.
        let found = membership.mark(tasks)?;
        let company = Company::of(admin, &tasks.group)?;
        if company.are_strangers() {
            return Ok(Some(company.occupied()));
        }
        let same = found.as_ref() == Some(&tasks.mark);
        let ready = are_made(admin, tasks)?;
        if same && ready {
            return Ok(None);
        }
        if company.members > 0 {
            if found.is_none() && ready {
                // Those who are in may have lost the mark, and whoever sees that writes it again; but they keep their topics.
                return Ok(None);
            }
            if !company.is_unsettled() {
                return Err(LogError::InconsistentTasks(tasks.group.clone()));
            }
            let_others_go_on(BETWEEN);
            continue;
        }
        tasks.topics().iter().try_for_each(|topic| make(admin, topic))?;
        if membership.write_mark(tasks)? {
            return Ok(None);
        }
    }
    // Either they are between two generations, and nobody can tell who they are; or the mark was refused although nobody is seen: members
    // of the streams group protocol (KIP-1071) are not shown to those who ask for consumers.
    Ok(Some(Company::of(admin, &tasks.group)?.occupied()))
}

/// Who is in a group.
pub(super) struct Company {
    group: String,
    members: usize,
    /// None while it is not settled, and in an empty group.
    assignor: Option<String>,
}

impl Company {
    pub(super) fn of(admin: &dyn Admin, group: &str) -> Result<Company, LogError> {
        let (members, assignor) = match admin.describe_group(group) {
            Ok(described) => (described.members.len(), described.assignor.filter(|_| !described.members.is_empty())),
            Err(LogError::UnknownGroup(_)) => (0, None),
            Err(error) => return Err(error),
        };
        Ok(Company { group: group.to_owned(), members, assignor })
    }

    /// Whether they are members of an application of Kafka Streams, which shares out its tasks in a way that only it knows.
    pub(super) fn are_strangers(&self) -> bool {
        self.assignor.as_deref() == Some(KAFKA_STREAMS)
    }

    /// Whether nobody can tell who they are.
    pub(super) fn is_unsettled(&self) -> bool {
        self.assignor.is_none()
    }

    pub(super) fn occupied(self) -> Occupied {
        Occupied { group: self.group, members: self.members }
    }
}

fn are_made(admin: &dyn Admin, tasks: &Tasks) -> Result<bool, LogError> {
    for topic in tasks.topics() {
        if width(admin, &topic.name)?.is_none_or(|found| found < topic.partitions) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn width(admin: &dyn Admin, topic: &str) -> Result<Option<i32>, LogError> {
    match admin.describe_topics(&[topic]) {
        Ok(described) => Ok(described.first().map(|topic| topic.partitions)),
        Err(LogError::UnknownTopic(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Makes a task topic, or widens it: partitions beyond the tasks stand for none. Nothing is ever written to it.
fn make(admin: &dyn Admin, topic: &NewTopic) -> Result<(), LogError> {
    for look in 0.. {
        let asked = match width(admin, &topic.name)? {
            Some(found) if found >= topic.partitions => return Ok(()),
            Some(_) => admin.create_partitions(&topic.name, topic.partitions),
            None => admin.create_topics(std::slice::from_ref(topic)),
        };
        match asked {
            // Mostly it is there at once.
            Ok(()) if look == 0 => {}
            // Others do the same at the same time, or the cluster has not heard of it everywhere.
            Ok(()) | Err(LogError::TopicExists(_) | LogError::InvalidPartitions { .. }) if look < READ_BACK => let_others_go_on(BETWEEN),
            Ok(()) => break,
            Err(error) => return Err(error),
        }
    }
    Err(LogError::UnknownTopic(topic.name.as_str().into()))
}
