//! What a log refuses, and what the caller can do about it.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::MemberToken;
use crate::error::{BoxError, Error, ErrorKind, Place};
use crate::record::{Timestamp, TopicPartition};

/// A request that the log refused or lost.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// No topic of that name, or no longer.
    #[error("the topic `{0}` does not exist: create it, or correct the name")]
    UnknownTopic(Arc<str>),
    /// The topic has fewer partitions.
    #[error("`{partition}` does not exist: the topic has {count} partitions")]
    UnknownPartition {
        /// What was asked for.
        partition: TopicPartition,
        /// How many there are.
        count: i32,
    },
    /// The topic is there already.
    #[error("the topic `{0}` exists already")]
    TopicExists(String),
    /// A name that Kafka would refuse.
    #[error("`{0}` is not a legal topic name: use ASCII letters, digits, `.`, `_` and `-`, at most 249 of them")]
    IllegalName(String),
    /// A topic cannot have that many partitions.
    #[error("the topic `{topic}` cannot have {partitions} partitions: ask for at least one, and for more than it has")]
    InvalidPartitions {
        /// The topic.
        topic: String,
        /// How many were asked for.
        partitions: i32,
    },
    /// A setting of a topic that does not exist or cannot have that value.
    #[error("the topic `{topic}` cannot have `{key}` = `{value}`: {reason}")]
    InvalidConfig {
        /// The topic.
        topic: String,
        /// The setting.
        key: String,
        /// The value asked for.
        value: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The offset is not in the partition: records were deleted, or never written. The reset policy of the caller chooses among the two ends.
    #[error("offset {offset} of `{partition}` is out of range: it holds {begin} to {end}")]
    OffsetOutOfRange {
        /// The partition.
        partition: TopicPartition,
        /// What was asked for.
        offset: i64,
        /// The first offset it holds.
        begin: i64,
        /// The offset after the last one.
        end: i64,
    },
    /// One record is larger than its topic takes.
    #[error(
        "record {index} of the batch for `{partition}` has {bytes} bytes, the topic takes {limit}: raise `max.message.bytes`, or send less"
    )]
    RecordTooLarge {
        /// Where it was to go.
        partition: TopicPartition,
        /// Its place in the slice.
        index: usize,
        /// Its size as Kafka counts it.
        bytes: usize,
        /// The topic's `max.message.bytes`.
        limit: usize,
    },
    /// One record has a time that the topic does not take.
    #[error("record {index} of the batch for `{partition}` has the timestamp {timestamp}: {reason}")]
    InvalidTimestamp {
        /// Where it was to go.
        partition: TopicPartition,
        /// Its place in the slice.
        index: usize,
        /// Its timestamp.
        timestamp: Timestamp,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// One record has no key, and its topic keeps the last record of each key.
    #[error("record {index} of the batch for `{partition}` has no key, and the topic is compacted: give it one, or send it elsewhere")]
    KeyMissing {
        /// Where it was to go.
        partition: TopicPartition,
        /// Its place in the slice.
        index: usize,
    },
    /// A consumer was asked about a partition that it was not told to read.
    #[error("`{0}` is not assigned to this consumer")]
    NotAssigned(TopicPartition),
    /// The member has lost its place, or the token is older than the group.
    #[error("the group `{group}` refused {token}: others may own its tasks now")]
    Fenced {
        /// The group.
        group: String,
        /// What was shown.
        token: MemberToken,
    },
    /// Somebody came or went, and the group has moved on from the generation of the token; its member is still in, and has what it had.
    #[error("the group `{group}` has moved on from {token}: try again as of now")]
    Outrun {
        /// The group.
        group: String,
        /// What was shown.
        token: MemberToken,
    },
    /// Its members are about to enter the next generation.
    #[error("the group `{0}` is between two generations: try again")]
    GroupUnsettled(String),
    /// No group of that name, or no longer.
    #[error("the group `{0}` does not exist: correct the name")]
    UnknownGroup(String),
    /// A call that is refused while somebody is in.
    #[error("the group `{0}` has members: stop them first")]
    GroupNotEmpty(String),
    /// A call that only members can make.
    #[error("not a member of the group `{0}`: join it first")]
    NotAMember(String),
    /// Members of one group disagree about its tasks.
    #[error(
        "the group `{0}` runs other tasks: all of its members must run the same topology over the same partitions. If the topology has other inputs \
         now, or an input more partitions, stop all members before the first one is started again"
    )]
    InconsistentTasks(String),
    /// The metadata of a commit is longer than a broker takes.
    #[error("the metadata committed for `{partition}` has {bytes} bytes, a broker takes {limit}")]
    MetadataTooLarge {
        /// The partition.
        partition: TopicPartition,
        /// Its length.
        bytes: usize,
        /// The longest one possible.
        limit: usize,
    },
    /// Another producer has taken over the transactional id; the open transaction is aborted.
    #[error("another producer has taken over the transactional id `{0}`: this one must stop")]
    ProducerFenced(Arc<str>),
    /// The transaction was open for longer than its producer had asked for; it is aborted and the producer fenced.
    #[error("the transaction of `{0}` was open for too long and is aborted: commit more often, or allow more time")]
    TransactionTimedOut(Arc<str>),
    /// Whether the transaction was committed is unknown until another producer of the id is initialised.
    #[error("no answer to the commit of `{0}`: it is settled when its transactional id is initialised again")]
    CommitUnknown(Arc<str>),
    /// Something in the transaction failed, so it cannot be committed.
    #[error("a part of the transaction of `{0}` failed: abort it")]
    MustAbort(Arc<str>),
    /// A call that does not belong here in the life of a transactional producer.
    #[error("the producer `{id}` {reason}")]
    WrongStep {
        /// The transactional id.
        id: Arc<str>,
        /// What is wrong.
        reason: &'static str,
    },
    /// A transaction that is not decided yet, or whose decision has not arrived yet, holds a position of this partition.
    #[error("the position of `{partition}` in the group `{group}` waits for a transaction: ask again")]
    PositionUndecided {
        /// The group.
        group: String,
        /// The partition.
        partition: TopicPartition,
    },
    /// The process on this end is cut off from its log.
    #[error("cut off from the log")]
    CutOff,
    /// The system refused something that the log wanted to do with its files. It has not happened.
    #[error("cannot {doing} `{}`: {source}", path.display())]
    Storage {
        /// What the log wanted to do.
        doing: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: Arc<io::Error>,
    },
    /// A file of the log does not hold what was written to it. Nothing was changed.
    #[error("`{}` is damaged at byte {position}: {reason}. Put the folder back from a copy, or move it away to begin anew", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where in it.
        position: u64,
        /// What is wrong there.
        reason: &'static str,
    },
    /// Another process has the folder of the log.
    #[error("the log in `{}` belongs to {}: stop it, or take another folder", folder.display(), owner.map_or("another process".to_owned(), |id| format!("the process {id}")))]
    InUse {
        /// The folder.
        folder: PathBuf,
        /// The number of that process, if it is known.
        owner: Option<u32>,
    },
    /// There is no log in that folder.
    #[error("there is no log in `{}`: correct the name", .0.display())]
    NoLog(PathBuf),
    /// The process that has the folder of the log did not say what it was asked.
    #[error("{} has the log in `{}` and does not answer: {reason}", owner.map_or("another process".to_owned(), |id| format!("the process {id}")), folder.display())]
    Unanswered {
        /// The folder.
        folder: PathBuf,
        /// The number of that process, if it is known.
        owner: Option<u32>,
        /// What went wrong.
        reason: String,
    },
    /// What a client library said.
    #[error("{source}")]
    Client {
        /// What to do about it.
        kind: ErrorKind,
        /// Its own words.
        source: Arc<BoxError>,
    },
}

impl LogError {
    /// What the log said, if an error comes of that.
    pub(crate) fn behind(error: &Error) -> Option<&LogError> {
        std::error::Error::source(error)?.downcast_ref()
    }

    /// What the caller should do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            LogError::Fenced { .. }
            | LogError::Outrun { .. }
            | LogError::ProducerFenced(_)
            | LogError::TransactionTimedOut(_)
            | LogError::CommitUnknown(_) => ErrorKind::Fenced,
            LogError::PositionUndecided { .. } | LogError::GroupUnsettled(_) => ErrorKind::Retriable,
            LogError::Client { kind, .. } => *kind,
            LogError::NotAssigned(_) | LogError::NotAMember(_) | LogError::WrongStep { .. } => ErrorKind::Internal,
            LogError::TopicExists(_)
            | LogError::IllegalName(_)
            | LogError::NoLog(_)
            | LogError::InUse { .. }
            | LogError::InvalidPartitions { .. }
            | LogError::InvalidConfig { .. }
            | LogError::InconsistentTasks(_)
            | LogError::MetadataTooLarge { .. } => ErrorKind::InvalidConfig,
            LogError::UnknownTopic(_)
            | LogError::UnknownPartition { .. }
            | LogError::OffsetOutOfRange { .. }
            | LogError::RecordTooLarge { .. }
            | LogError::InvalidTimestamp { .. }
            | LogError::KeyMissing { .. }
            | LogError::UnknownGroup(_)
            | LogError::GroupNotEmpty(_)
            | LogError::MustAbort(_)
            | LogError::Storage { .. }
            | LogError::Unanswered { .. }
            | LogError::Damaged { .. }
            | LogError::CutOff => ErrorKind::Log,
        }
    }

    /// Whether a transactional producer that answered this can do nothing any more. What became of its last transaction is seen in the
    /// committed positions once another producer of its id is initialised.
    pub fn ends_producer(&self) -> bool {
        matches!(self, LogError::ProducerFenced(_) | LogError::TransactionTimedOut(_) | LogError::CommitUnknown(_))
    }
}

impl From<LogError> for Error {
    fn from(error: LogError) -> Self {
        let partition = match &error {
            LogError::UnknownPartition { partition, .. }
            | LogError::OffsetOutOfRange { partition, .. }
            | LogError::RecordTooLarge { partition, .. }
            | LogError::InvalidTimestamp { partition, .. }
            | LogError::KeyMissing { partition, .. }
            | LogError::MetadataTooLarge { partition, .. }
            | LogError::PositionUndecided { partition, .. }
            | LogError::NotAssigned(partition) => Some(partition),
            _ => None,
        };
        // The text names the offset already, where there is one.
        let (topic, partition) = (partition.map(|p| p.topic.to_string()), partition.map(|p| p.partition));
        Error::new(error.kind(), Place { topic, partition, ..Place::default() }, Box::new(error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_log_refuses_says_where_and_what_to_do() {
        let partition = TopicPartition::new("orders", 3);
        let error = Error::from(LogError::OffsetOutOfRange { partition, offset: 7, begin: 9, end: 12 });
        assert_eq!((error.kind(), error.place().topic.as_deref(), error.place().partition), (ErrorKind::Log, Some("orders"), Some(3)));
        assert_eq!(error.to_string(), "offset 7 of `orders-3` is out of range: it holds 9 to 12");
        let token = MemberToken { member: "thread-1".into(), generation: 4 };
        let fenced = Error::from(LogError::Fenced { group: "shop".to_owned(), token });
        assert_eq!(fenced.kind(), ErrorKind::Fenced);
        let undecided = Error::from(LogError::PositionUndecided { group: "shop".to_owned(), partition: TopicPartition::new("orders", 3) });
        assert_eq!((undecided.kind(), undecided.place().partition), (ErrorKind::Retriable, Some(3)));
        assert!(LogError::CommitUnknown("a".into()).ends_producer() && !LogError::MustAbort("a".into()).ends_producer());
        assert_eq!(fenced.to_string(), "the group `shop` refused thread-1 of generation 4: others may own its tasks now");
    }
}
