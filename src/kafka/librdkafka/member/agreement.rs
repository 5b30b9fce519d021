//! What members do before they come in: the task topics are made, and nobody joins with other tasks than those who are in.

use std::time::Duration;

use super::membership::Membership;
use super::tasks::Tasks;
use crate::clock::let_others_go_on;
use crate::kafka::{Admin, LogError, NewTopic};

/// How often somebody may change the group while it is looked at.
const LOOKS: u32 = 3;
/// How long a topic may take to be as it was asked for.
const READ_BACK: u32 = 100;
const BETWEEN: Duration = Duration::from_millis(100);

/// Sees to it that the group runs these tasks and no others. Somebody with others may still slip in at the same moment: so members look
/// once more when they are in.
pub(super) fn agree(admin: &dyn Admin, membership: &mut Membership, tasks: &Tasks) -> Result<(), LogError> {
    for _ in 0..LOOKS {
        let found = membership.mark(tasks)?;
        let same = found.as_ref() == Some(&tasks.mark);
        let ready = are_made(admin, tasks)?;
        if same && ready {
            return Ok(());
        }
        if !is_empty(admin, &tasks.group)? {
            // Those who are in may have lost the mark, and whoever sees that writes it again; but they keep their topics.
            return if found.is_none() && ready { Ok(()) } else { Err(LogError::InconsistentTasks(tasks.group.clone())) };
        }
        tasks.topics().iter().try_for_each(|topic| make(admin, topic))?;
        if membership.write_mark(tasks)? {
            return Ok(());
        }
    }
    Err(LogError::InconsistentTasks(tasks.group.clone()))
}

fn are_made(admin: &dyn Admin, tasks: &Tasks) -> Result<bool, LogError> {
    for topic in tasks.topics() {
        if width(admin, &topic.name)?.is_none_or(|found| found < topic.partitions) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn is_empty(admin: &dyn Admin, group: &str) -> Result<bool, LogError> {
    match admin.describe_group(group) {
        Ok(described) => Ok(described.members.is_empty()),
        Err(LogError::UnknownGroup(_)) => Ok(true),
        Err(error) => Err(error),
    }
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
            // Others do the same at the same time, or the cluster has not heard of it everywhere.
            Ok(()) | Err(LogError::TopicExists(_) | LogError::InvalidPartitions { .. }) if look < READ_BACK => let_others_go_on(BETWEEN),
            Ok(()) => break,
            Err(error) => return Err(error),
        }
    }
    Err(LogError::UnknownTopic(topic.name.as_str().into()))
}
