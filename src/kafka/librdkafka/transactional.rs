//! Writing to a cluster in transactions.
//!
//! A step that takes too long is resumed by the same call: another one would be refused. A producer is given up for good once it is fenced
//! or the end of a transaction is in doubt: a request that is late could end the next transaction of the same client.
//!
//! The protocol says the same to who was fenced and to whose transaction the coordinator has timed out. They are told apart by the time that
//! has passed; and where an outage was seen within that time, the transaction is said to be undecided, since nobody took too long for it.
//!
//! A transaction whose end was not heard, or in an outage, is ended once more when the id is initialised again: see [`settling`](super::settling).

use std::sync::Arc;
use std::time::Duration;

use rdkafka::error::RDKafkaErrorCode;
use rdkafka::{Offset, TopicPartitionList};

use super::deadline::Deadline;
use super::error::said;
use super::native::{self, OutboundError, OutboundStep};
use super::outbound::{Outbound, SEND_TIMEOUT};
use super::settling::{NotSettled, Settling, Touched};
use super::{ANSWER_WITHIN, KafkaConfig, QUIET_CONNECTIONS_END, end_beside};
use crate::clock::{Clock, SystemClock};
use crate::error::ErrorKind;
use crate::kafka::{Flushed, LogError, MemberToken, Outgoing, Position, Producer, TransactionalProducer};
use crate::record::{Timestamp, TopicPartition};

/// The shortest life of a transaction that the client library accepts.
const SHORTEST: Duration = Duration::from_secs(1);
/// How long a producer that ends waits for what it has sent.
const PARTING: Duration = Duration::from_millis(500);
/// How often a step that takes too long is resumed.
const CALLS: u32 = 3;
/// How long one call to initialise waits. Whoever called has other things to do, and calls again.
const INIT_WITHIN: Duration = Duration::from_secs(3);

/// A producer with a transactional id.
pub(super) struct KafkaTransactions {
    config: Arc<KafkaConfig>,
    id: Arc<str>,
    step: Step,
    /// What earlier ones of the id have left, from when it is initialised until it is ready.
    settling: Option<Settling>,
    /// What the open transaction has touched.
    touched: Touched,
    /// How long a transaction may be open.
    timeout: Duration,
    /// How long this one may still be.
    until: Option<Deadline>,
    /// In this one an answer was missing.
    outage: bool,
    /// None once the producer has ended.
    outbound: Option<Outbound>,
}

/// Where in its life it is.
#[derive(Clone, Debug)]
enum Step {
    New,
    /// It has the id, and settles what others have left.
    Settles,
    Ready,
    Begun,
    /// It has begun, and something failed: what, unless a flush tells or has told it.
    Spoilt(Option<LogError>),
    Ended(LogError),
}

impl KafkaTransactions {
    pub(super) fn open(config: Arc<KafkaConfig>, id: &str, timeout: Duration) -> Result<Self, LogError> {
        if timeout < SHORTEST {
            tracing::warn!(id, "a transaction of {timeout:?} is too short for the client library: it may be open for {SHORTEST:?}");
        }
        let timeout = timeout.max(SHORTEST);
        let outbound = Some(KafkaTransactions::open_client(&config, id, timeout)?);
        let (step, settling, touched) = (Step::New, None, Touched::default());
        Ok(KafkaTransactions { config, id: id.into(), step, settling, touched, timeout, until: None, outage: false, outbound })
    }

    fn open_client(config: &KafkaConfig, id: &str, timeout: Duration) -> Result<Outbound, LogError> {
        // The library wants records to be given up before their transaction is.
        let send_timeout = SEND_TIMEOUT.min(timeout * 9 / 10);
        let (longest, send_timeout) = (timeout.as_millis().to_string(), send_timeout.as_millis().to_string());
        let settings = [
            ("transactional.id", id),
            ("transaction.timeout.ms", &*longest),
            ("message.timeout.ms", &*send_timeout),
            QUIET_CONNECTIONS_END,
        ];
        Outbound::open(config, &settings)
    }

    /// The client with its transaction open; an error where there is none.
    fn within(&mut self) -> Result<&mut Outbound, LogError> {
        match &self.step {
            Step::Ended(error) => Err(error.clone()),
            Step::New | Step::Settles => Err(self.wrong("is not initialised")),
            Step::Ready => Err(self.wrong("has not begun a transaction")),
            Step::Begun | Step::Spoilt(_) => self.client(),
        }
    }

    fn client(&mut self) -> Result<&mut Outbound, LogError> {
        let wrong = LogError::WrongStep { id: self.id.clone(), reason: "has ended" };
        self.outbound.as_mut().ok_or(wrong)
    }

    fn wrong(&self, reason: &'static str) -> LogError {
        LogError::WrongStep { id: self.id.clone(), reason }
    }

    /// Takes a step, and resumes it while it takes too long.
    fn take(&mut self, step: OutboundStep) -> Result<Result<(), OutboundError>, LogError> {
        let client = self.client()?.client();
        let (taken, calls) = patiently(|| native::outbound_step(client, step, ANSWER_WITHIN));
        self.outage |= calls > 1;
        Ok(taken)
    }

    /// The transaction can be aborted and nothing else.
    fn spoil(&mut self, why: Option<LogError>) {
        self.outage |= why.as_ref().is_some_and(|why| why.kind() == ErrorKind::Retriable);
        self.step = Step::Spoilt(why);
    }

    /// Why the library takes no more in this transaction, if that is so. It says it to who wants to begin another one.
    fn why_spoilt(&mut self) -> Option<LogError> {
        let client = self.client().ok()?.client();
        let refused = native::outbound_step(client, OutboundStep::Begin, Duration::ZERO).err()?;
        refused.must_abort.then(|| self.said(&refused))
    }

    /// Nothing can be done with the producer from here on.
    fn end(&mut self, error: LogError) -> LogError {
        self.step = Step::Ended(error.clone());
        self.leave();
        error
    }

    fn leave(&mut self) {
        // What is settled only in part is settled by the next one from the beginning.
        let before = self.settling.take().map(Settling::into_touched);
        let own = std::mem::take(&mut self.touched);
        before.into_iter().chain([own]).for_each(|touched| self.config.unsettled().leave(&self.id, touched));
        let ended = self.outbound.take();
        end_beside(move || {
            // A client that ends while it adds partitions to its transaction is the end of the process: see `native`.
            if let Some(mut ended) = ended {
                ended.flush(PARTING);
            }
        });
    }

    /// What an error of the library means, if it is about the producer as such.
    fn ended_by(&mut self, error: &OutboundError) -> Option<LogError> {
        let overdue = self.until.as_mut().is_some_and(|until| until.rest().is_zero());
        let ends = match end_of(error, overdue, self.outage)? {
            Ending::Fenced => LogError::ProducerFenced(self.id.clone()),
            Ending::TimedOut => LogError::TransactionTimedOut(self.id.clone()),
            Ending::Unknown => LogError::CommitUnknown(self.id.clone()),
            Ending::Refused => self.said(error),
        };
        tracing::warn!(id = &*self.id, "the producer can do nothing any more: {}", error.text);
        Some(self.end(ends))
    }

    /// Why it cannot be initialised. There is no transaction of its own yet that could be in doubt.
    fn refused_init(&mut self, error: &OutboundError) -> LogError {
        match end_of(error, false, false) {
            Some(Ending::Fenced) => self.end(LogError::ProducerFenced(self.id.clone())),
            _ => {
                let said = self.said(error);
                self.end(said)
            }
        }
    }

    fn take_over(&mut self) -> Result<(), LogError> {
        let client = self.client()?.client();
        match native::outbound_step(client, OutboundStep::Init, INIT_WITHIN) {
            Ok(()) => Ok(()),
            // The same call goes on with it.
            Err(error) if error.is_retriable && !error.is_fatal => Err(self.said(&error)),
            Err(error) => Err(self.refused_init(&error)),
        }
    }

    /// Settles what earlier producers of the id have left.
    fn settle(&mut self) -> Result<(), LogError> {
        let (Some(settling), Some(outbound)) = (&mut self.settling, &mut self.outbound) else { return Ok(()) };
        match settling.go_on(outbound, INIT_WITHIN) {
            Ok(()) => {
                self.settling = None;
                tracing::info!(id = &*self.id, "an earlier transaction is settled");
                Ok(())
            }
            Err(NotSettled::Waits(error)) => Err(error),
            Err(NotSettled::Spoilt(error)) => {
                tracing::debug!(id = &*self.id, %error, "another client settles the earlier transaction");
                self.leave();
                self.step = Step::New;
                self.outbound = Some(KafkaTransactions::open_client(&self.config, &self.id, self.timeout)?);
                Err(error)
            }
        }
    }

    /// Whether a connection has broken since then.
    fn is_disturbed(&self, since: Timestamp) -> bool {
        self.outbound.as_ref().is_some_and(|outbound| outbound.client().context().is_disturbed(since))
    }

    fn said(&self, error: &OutboundError) -> LogError {
        said(&format!("the transactional producer `{}`: {}", self.id, error.text), error.code)
    }
}

/// What ends a producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// Another one has its id.
    Fenced,
    /// Its transaction was open for too long.
    TimedOut,
    /// It is in a state that the library cannot get out of. Another one can do what it did.
    Unknown,
    /// The cluster does not allow it, nor will it allow it to another one.
    Refused,
}

/// Whether an error ends the producer, and what that means. `overdue`: its transaction has been open for longer than it may.
fn end_of(error: &OutboundError, overdue: bool, outage: bool) -> Option<Ending> {
    use RDKafkaErrorCode::*;
    match error.code {
        Fenced | ProducerFenced | InvalidProducerEpoch => Some(match (overdue, outage) {
            (false, _) => Ending::Fenced,
            (true, false) => Ending::TimedOut,
            (true, true) => Ending::Unknown,
        }),
        TransactionalIdAuthorizationFailed | ClusterAuthorizationFailed => Some(Ending::Refused),
        _ if !error.is_fatal => None,
        TopicAuthorizationFailed
        | GroupAuthorizationFailed
        | Authentication
        | SaslAuthenticationFailed
        | UnsupportedFeature
        | UnsupportedVersion
        | InvalidTransactionTimeout => Some(Ending::Refused),
        _ => Some(Ending::Unknown),
    }
}

/// Makes a call until it is answered, a few times; says how many.
fn patiently(mut call: impl FnMut() -> Result<(), OutboundError>) -> (Result<(), OutboundError>, u32) {
    let mut calls = 1;
    loop {
        match call() {
            Err(error) if error.is_retriable && !error.is_fatal && calls < CALLS => calls += 1,
            answer => return (answer, calls),
        }
    }
}

impl Producer for KafkaTransactions {
    fn send(&mut self, partition: &TopicPartition, records: &[Outgoing<'_>]) -> Result<(), LogError> {
        self.within()?;
        // It may be taken even if it fails.
        self.touched.record(partition, records);
        let outbound = self.client()?;
        let sent = outbound.send(partition, records);
        if sent.is_err()
            && let Some(code) = native::outbound_fatal(outbound.client())
        {
            let error = OutboundError { code, text: code.to_string(), is_fatal: true, is_retriable: false, must_abort: false };
            return self.ended_by(&error).map_or(sent, Err);
        }
        match sent {
            // It would say the same of the next ones.
            Err(error @ LogError::Client { kind: ErrorKind::InvalidConfig, .. }) => Err(error),
            // It takes no more records in this transaction, after an outage say.
            Err(error @ LogError::Client { .. }) => {
                let why = self.why_spoilt().unwrap_or(error);
                tracing::warn!(id = &*self.id, error = %why, "the transaction cannot go on");
                self.spoil(Some(why));
                Err(LogError::MustAbort(self.id.clone()))
            }
            sent => sent,
        }
    }

    fn flush(&mut self, timeout: Duration) -> Flushed {
        let flushed = self.outbound.as_mut().map(|outbound| outbound.flush(timeout)).unwrap_or_default();
        self.outage |= flushed.failed.iter().any(|(_, error)| error.kind() == ErrorKind::Retriable);
        if let (false, Step::Begun) = (flushed.failed.is_empty(), &self.step) {
            self.step = Step::Spoilt(None);
        }
        flushed
    }

    fn partition_count(&mut self, topic: &str) -> Result<i32, LogError> {
        match &self.step {
            Step::Ended(error) => Err(error.clone()),
            _ => self.client()?.partition_count(topic),
        }
    }

    fn largest_record(&mut self, topic: &str) -> Result<Option<usize>, LogError> {
        match &self.step {
            Step::Ended(error) => Err(error.clone()),
            _ => self.client()?.largest_record(topic),
        }
    }
}

impl TransactionalProducer for KafkaTransactions {
    fn init(&mut self) -> Result<(), LogError> {
        match &self.step {
            Step::New => {
                self.take_over()?;
                self.step = Step::Settles;
                self.settling = self.config.unsettled().take(&self.id).map(Settling::new);
            }
            Step::Settles => {}
            Step::Ended(error) => return Err(error.clone()),
            Step::Ready | Step::Begun | Step::Spoilt(_) => return Err(self.wrong("is initialised already")),
        }
        self.settle()?;
        self.step = Step::Ready;
        Ok(())
    }

    fn begin(&mut self) -> Result<(), LogError> {
        match &self.step {
            Step::Ready => {}
            Step::New | Step::Settles => return Err(self.wrong("is not initialised")),
            Step::Ended(error) => return Err(error.clone()),
            Step::Begun | Step::Spoilt(_) => return Err(self.wrong("has begun a transaction already")),
        }
        match self.take(OutboundStep::Begin)? {
            Ok(()) => (self.step, self.until, self.outage) = (Step::Begun, Some(Deadline::after(self.timeout)), false),
            Err(error) => return Err(self.ended_by(&error).unwrap_or_else(|| self.said(&error))),
        }
        Ok(())
    }

    fn send_offsets(&mut self, group: &str, token: &MemberToken, positions: &[(TopicPartition, Position)]) -> Result<(), LogError> {
        self.within()?;
        if let Some((partition, _)) = positions.first() {
            self.touched.position(group, token, partition);
        }
        let client = self.client()?.client();
        let who = (group, token.generation, &*token.member);
        let sent = listed(positions).map(|list| patiently(|| native::outbound_offsets(client, &list, who, ANSWER_WITHIN)));
        let error = match sent {
            Ok((Ok(()), _)) => return Ok(()),
            Ok((Err(error), calls)) => {
                self.outage |= calls > 1;
                error
            }
            Err(code) => OutboundError { code, text: code.to_string(), is_fatal: false, is_retriable: false, must_abort: true },
        };
        if let Some(ended) = self.ended_by(&error) {
            return Err(ended);
        }
        self.spoil(Some(self.said(&error)));
        let (group, token) = (group.to_owned(), token.clone());
        if is_outrun(error.code) {
            return Err(LogError::Outrun { group, token });
        }
        if refuses_member(error.code) {
            return Err(LogError::Fenced { group, token });
        }
        Err(self.said(&error))
    }

    fn commit(&mut self) -> Result<(), LogError> {
        self.within()?;
        if let Step::Spoilt(_) = self.step {
            return Err(LogError::MustAbort(self.id.clone()));
        }
        let since = SystemClock.now();
        let error = match self.take(OutboundStep::Commit)? {
            Ok(()) if self.outage || self.is_disturbed(since) => {
                tracing::warn!(id = &*self.id, "a commit was answered in an outage: whether it counts is asked once more");
                return Err(self.end(LogError::CommitUnknown(self.id.clone())));
            }
            Ok(()) => {
                self.touched = Touched::default();
                self.step = Step::Ready;
                return Ok(());
            }
            Err(error) => error,
        };
        if let Some(ended) = self.ended_by(&error) {
            return Err(ended);
        }
        if error.must_abort {
            tracing::warn!(id = &*self.id, "the transaction cannot be committed: {}", error.text);
            self.spoil(Some(self.said(&error)));
            return Err(LogError::MustAbort(self.id.clone()));
        }
        tracing::warn!(id = &*self.id, "no answer to a commit: {}", error.text);
        Err(self.end(LogError::CommitUnknown(self.id.clone())))
    }

    fn spoilt_by(&self) -> Option<LogError> {
        match &self.step {
            Step::Spoilt(why) => why.clone(),
            _ => None,
        }
    }

    fn abort(&mut self) -> Result<(), LogError> {
        self.within()?;
        match self.take(OutboundStep::Abort)? {
            // The next one of the id aborts it once more.
            Ok(()) if self.outage => {
                let undecided = LogError::CommitUnknown(self.id.clone());
                self.end(undecided.clone());
                Err(undecided)
            }
            Ok(()) => {
                self.client()?.forget();
                self.touched = Touched::default();
                self.step = Step::Ready;
                Ok(())
            }
            Err(error) => Err(match self.ended_by(&error) {
                Some(ended) => ended,
                // Its end is in doubt as well, and so is what the client can do next. It counts in no case.
                None => {
                    tracing::warn!(id = &*self.id, "no answer to an abort: {}", error.text);
                    self.end(LogError::CommitUnknown(self.id.clone()))
                }
            }),
        }
    }
}

impl Drop for KafkaTransactions {
    fn drop(&mut self) {
        self.leave();
    }
}

fn listed(positions: &[(TopicPartition, Position)]) -> Result<TopicPartitionList, RDKafkaErrorCode> {
    let mut list = TopicPartitionList::with_capacity(positions.len());
    for (partition, position) in positions {
        let mut element = list.add_partition(&partition.topic, partition.partition);
        element.set_offset(Offset::Offset(position.offset)).map_err(|_| RDKafkaErrorCode::InvalidArgument)?;
        element.set_metadata(&position.metadata);
    }
    Ok(list)
}

/// Whether a group said that it knows this member, and not in this generation: who is no member is told that first.
fn is_outrun(code: RDKafkaErrorCode) -> bool {
    matches!(code, RDKafkaErrorCode::IllegalGeneration | RDKafkaErrorCode::StaleMemberEpoch)
}

/// Whether a group said that it does not know this member.
fn refuses_member(code: RDKafkaErrorCode) -> bool {
    matches!(code, RDKafkaErrorCode::UnknownMemberId | RDKafkaErrorCode::FencedInstanceId | RDKafkaErrorCode::FencedMemberEpoch)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::conformance::initialised;
    use crate::kafka::{Connect, KafkaLog, NewTopic, Outgoing};
    use crate::record::Headers;

    fn error(code: RDKafkaErrorCode, is_fatal: bool) -> OutboundError {
        OutboundError { code, text: String::new(), is_fatal, is_retriable: false, must_abort: false }
    }

    #[test]
    fn who_was_fenced_who_took_too_long_and_who_may_not_are_told_apart() {
        use RDKafkaErrorCode::{Fenced, InvalidProducerEpoch, OutOfOrderSequenceNumber, TransactionalIdAuthorizationFailed};
        let end = |code, overdue, outage| end_of(&error(code, true), overdue, outage);
        assert_eq!(end(Fenced, false, false), Some(Ending::Fenced));
        assert_eq!(end(InvalidProducerEpoch, true, false), Some(Ending::TimedOut), "the coordinator has aborted it");
        assert_eq!(end(Fenced, true, true), Some(Ending::Unknown), "nobody's batch was too large: the broker was away");
        assert_eq!(end(TransactionalIdAuthorizationFailed, true, true), Some(Ending::Refused));
        assert_eq!(end(OutOfOrderSequenceNumber, false, false), Some(Ending::Unknown));
        assert_eq!(end_of(&error(OutOfOrderSequenceNumber, false), true, true), None, "it can be aborted");
    }

    #[test]
    fn who_is_no_member_commits_no_positions_and_the_producer_goes_on() {
        let Ok(bootstrap) = std::env::var("KAFKA_BOOTSTRAP") else {
            eprintln!("NOT RUN: no broker, set KAFKA_BOOTSTRAP");
            return;
        };
        let log = KafkaLog::new(KafkaConfig::new(bootstrap));
        let name = format!("no_member.{}", std::process::id());
        log.admin().expect("an administrator").create_topics(&[NewTopic::new(&name, 1)]).expect("a topic");
        let partition = TopicPartition::new(name.as_str(), 0);
        let mut writer = log.transactional_producer(&name, Duration::from_secs(10)).expect("a producer");
        initialised(&mut *writer);
        writer.begin().expect("begun");
        let record = Outgoing { key: None, value: Some(b"v"), timestamp: Timestamp::from_millis(1), headers: &Headers::default() };
        writer.send(&partition, &[record]).expect("taken");
        assert!(writer.flush(SEND_TIMEOUT).failed.is_empty());
        let position = [(partition.clone(), Position { offset: 9, metadata: String::new() })];
        let stranger = MemberToken { member: "stranger".into(), generation: 3 };
        let refused = writer.send_offsets(&name, &stranger, &position);
        assert!(matches!(&refused, Err(LogError::Fenced { token, .. }) if *token == stranger), "{refused:?}");
        assert!(matches!(writer.commit(), Err(LogError::MustAbort(_))));
        writer.abort().expect("aborted");
        writer.begin().expect("and it goes on");
        writer.send_offsets(&name, &MemberToken { member: "".into(), generation: -1 }, &position).expect("the group has no members");
        writer.commit().expect("committed");
        let mut member = log.member(&name, "tool", crate::kafka::Isolation::ReadCommitted).expect("a member");
        assert_eq!(member.committed(&[partition]).expect("asked"), [Some(position[0].1.clone())]);
    }

    /// It counts in no transaction, but the library must not end before.
    #[test]
    fn who_ends_has_sent_what_it_has_taken() {
        let Some(bootstrap) = crate::kafka::librdkafka::tests::bootstrap() else { return };
        let log = KafkaLog::new(KafkaConfig::new(bootstrap));
        // It does not wait for long, and a busy broker may take longer: not each time.
        assert!((0..5).any(|nth| is_sent_by_one_who_ends(&log, nth)), "it was never sent");
    }

    fn is_sent_by_one_who_ends(log: &KafkaLog, nth: u32) -> bool {
        let name = format!("ended.{}.{nth}", SystemClock.now().as_millis());
        log.admin().expect("an administrator").create_topics(&[NewTopic::new(&name, 1)]).expect("a topic");
        let partition = TopicPartition::new(name.as_str(), 0);
        let mut writer = log.transactional_producer(&name, Duration::from_secs(60)).expect("a producer");
        initialised(&mut *writer);
        writer.begin().expect("begun");
        let record = Outgoing { key: None, value: Some(b"v"), timestamp: SystemClock.now(), headers: &Headers::default() };
        writer.send(&partition, &[record]).expect("taken");
        drop(writer);
        let mut reader = log.consumer(crate::kafka::Isolation::ReadUncommitted).expect("a consumer");
        let mut until = Deadline::after(Duration::from_secs(10));
        while !until.rest().is_zero() {
            if reader.end_offsets(std::slice::from_ref(&partition), crate::kafka::Isolation::ReadUncommitted).expect("asked") != [0] {
                return true;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        false
    }
}
