//! What the client library says, in the words of the ports.

use std::sync::Arc;

use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use crate::error::ErrorKind;
use crate::kafka::LogError;
use crate::record::TopicPartition;

/// An error code about one partition.
pub(super) fn about_partition(partition: &TopicPartition, code: RDKafkaErrorCode) -> LogError {
    match code {
        RDKafkaErrorCode::UnknownTopicOrPartition
        | RDKafkaErrorCode::UnknownPartition
        | RDKafkaErrorCode::UnknownTopic
        | RDKafkaErrorCode::UnknownTopicId => LogError::UnknownTopic(partition.topic.clone()),
        _ => said(&format!("`{partition}`"), code),
    }
}

/// Why records for a partition were lost. What only says that their client can do no more is no verdict on them: another one can send them.
pub(super) fn about_records(partition: &TopicPartition, code: RDKafkaErrorCode) -> LogError {
    use RDKafkaErrorCode::*;
    match code {
        Fatal
        | PurgeQueue
        | PurgeInflight
        | OutOfOrderSequenceNumber
        | DuplicateSequenceNumber
        | UnknownProducerId
        | InvalidProducerEpoch
        | InvalidProducerIdMapping => {
            LogError::Client { kind: ErrorKind::Retriable, source: Arc::new(format!("`{partition}`: {code}").into()) }
        }
        code => about_partition(partition, code),
    }
}

/// An error code about something named in the text.
pub(super) fn said(what: &str, code: RDKafkaErrorCode) -> LogError {
    let source = Arc::new(format!("{what}: {code}{}", advice(code)).into());
    LogError::Client { kind: kind(code), source }
}

/// A cluster did not take who asked about something.
pub(super) fn refused(what: &str, why: &str) -> LogError {
    let source = Arc::new(format!("{what}: {why}{}", advice(RDKafkaErrorCode::SaslAuthenticationFailed)).into());
    LogError::Client { kind: ErrorKind::InvalidConfig, source }
}

/// A cluster could not be asked about something, for a reason that may pass.
pub(super) fn unheard(what: &str, why: &str) -> LogError {
    let source = Arc::new(format!("{what}: {why}{}", advice(RDKafkaErrorCode::AllBrokersDown)).into());
    LogError::Client { kind: ErrorKind::Retriable, source }
}

/// An error of the wrapper crate about something named in the text.
pub(super) fn failed(what: &str, error: &KafkaError) -> LogError {
    match code_of(error) {
        Some(code) => said(what, code),
        None => LogError::Client { kind: ErrorKind::InvalidConfig, source: Arc::new(format!("{what}: {error}").into()) },
    }
}

/// The code of an error of the wrapper crate, that of an administrator's request among them.
pub(super) fn code_of(error: &KafkaError) -> Option<RDKafkaErrorCode> {
    match error {
        KafkaError::AdminOp(code) => Some(*code),
        error => error.rdkafka_error_code(),
    }
}

/// What the caller should do about an error code.
pub(super) fn kind(code: RDKafkaErrorCode) -> ErrorKind {
    use RDKafkaErrorCode::*;
    match code {
        BrokerTransportFailure
        | AllBrokersDown
        | OperationTimedOut
        | RequestTimedOut
        | MessageTimedOut
        | NotCoordinator
        | CoordinatorLoadInProgress
        | CoordinatorNotAvailable
        | LeaderNotAvailable
        | FencedLeaderEpoch
        | UnknownLeaderEpoch
        | OffsetNotAvailable
        | ReplicaNotAvailable
        | KafkaStorageError
        | NotLeaderForPartition
        | NetworkException
        | RebalanceInProgress
        | QueueFull
        | NotEnoughReplicas
        | NotEnoughReplicasAfterAppend
        | BrokerNotAvailable
        | WaitingForCoordinator
        | WaitCache
        | TimedOutQueue
        | Retry
        | ConcurrentTransactions
        | EligibleLeadersNotAvailable
        | NotController
        | StaleBrokerEpoch
        | ThrottlingQuotaExceeded
        | PreviousInProgress
        | Resolve => ErrorKind::Retriable,
        Authentication
        | SaslAuthenticationFailed
        | UnsupportedSASLMechanism
        | TopicAuthorizationFailed
        | GroupAuthorizationFailed
        | ClusterAuthorizationFailed
        | TransactionalIdAuthorizationFailed
        | SSL
        | InvalidTransactionTimeout
        | InvalidArgument
        | UnsupportedVersion => ErrorKind::InvalidConfig,
        _ => ErrorKind::Log,
    }
}

/// What to do about it, where that is known.
fn advice(code: RDKafkaErrorCode) -> &'static str {
    use RDKafkaErrorCode::*;
    match code {
        BrokerTransportFailure | AllBrokersDown | OperationTimedOut | Resolve => {
            ". Is a broker running at `bootstrap.servers`, does it listen with this `security.protocol`, and does it know this \
             `sasl.username` with this `sasl.password`?"
        }
        Authentication | SaslAuthenticationFailed => {
            ". Correct `sasl.username`, `sasl.password` and `sasl.mechanism`, or `ssl.ca.location` if it is about a certificate"
        }
        TopicAuthorizationFailed => ". Allow it to this user with an ACL for the topic",
        GroupAuthorizationFailed => ". Allow it to this user with an ACL for the group (the application id)",
        TransactionalIdAuthorizationFailed => {
            ". Allow it to this user with an ACL for transactional ids that begin with the application id"
        }
        InvalidTransactionTimeout => ". Lower `transaction_timeout`, or raise `transaction.max.timeout.ms` of the brokers",
        ClusterAuthorizationFailed => ". Allow it to this user with an ACL for the cluster",
        MessageSizeTooLarge => {
            ". Raise the topic's `max.message.bytes` (the brokers' `message.max.bytes` where the topic has none of its own), or let the \
             record be smaller"
        }
        InvalidTimestamp => {
            ". The topic does not take records of that time: raise its `message.timestamp.after.max.ms` or `message.timestamp.before.max.ms`, or \
             correct the times of the records"
        }
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_sent_again_unless_they_are_to_blame() {
        let kind = |code| about_records(&TopicPartition::new("t", 0), code).kind();
        use RDKafkaErrorCode::{MessageSizeTooLarge, MessageTimedOut, PurgeQueue, TopicAuthorizationFailed, UnknownProducerId};
        assert_eq!([MessageTimedOut, PurgeQueue, UnknownProducerId].map(kind), [ErrorKind::Retriable; 3]);
        assert_eq!([MessageSizeTooLarge, TopicAuthorizationFailed].map(kind), [ErrorKind::Log, ErrorKind::InvalidConfig]);
    }

    /// The wrapper gives no code for it, and a cluster that did not answer was taken for a topic with an illegal name.
    #[test]
    fn an_administrator_without_an_answer_may_ask_again() {
        let silent = KafkaError::AdminOp(RDKafkaErrorCode::OperationTimedOut);
        assert_eq!(code_of(&silent), Some(RDKafkaErrorCode::OperationTimedOut));
        let LogError::Client { kind, source } = failed("the topic `t`", &silent) else { panic!("a client's error") };
        assert_eq!(kind, ErrorKind::Retriable);
        assert!(source.to_string().contains("bootstrap.servers"), "{source}");
    }
}
