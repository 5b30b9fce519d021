//! Writing to a cluster in transactions.
//!
//! A step that takes too long is resumed by the same call: another one would be refused. A producer is given up for good once it is fenced
//! or the end of a transaction is in doubt: a request that is late could end the next transaction of the same client.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::error::RDKafkaErrorCode;
use rdkafka::{Offset, TopicPartitionList};

use super::error::said;
use super::native::{self, OutboundError, OutboundStep};
use super::outbound::{Outbound, SEND_TIMEOUT};
use super::{ANSWER_WITHIN, KafkaConfig, end_beside};
use crate::kafka::{Flushed, LogError, MemberToken, Outgoing, Position, Producer, TransactionalProducer};
use crate::record::TopicPartition;

/// The shortest life of a transaction that the client library accepts.
const SHORTEST: Duration = Duration::from_secs(1);
/// How often a step that takes too long is resumed.
const CALLS: u32 = 3;

/// A producer with a transactional id.
pub(super) struct KafkaTransactions {
    id: Arc<str>,
    step: Step,
    /// None once the producer has ended.
    outbound: Option<Outbound>,
}

/// Where in its life it is.
#[derive(Clone, Debug)]
enum Step {
    New,
    Ready,
    Begun,
    /// It has begun, and something failed.
    Spoilt,
    Ended(LogError),
}

impl KafkaTransactions {
    pub(super) fn open(config: &KafkaConfig, id: &str, timeout: Duration) -> Result<Self, LogError> {
        let timeout = timeout.max(SHORTEST);
        // The library wants records to be given up before their transaction is.
        let send_timeout = SEND_TIMEOUT.min(timeout * 9 / 10);
        let (timeout, send_timeout) = (timeout.as_millis().to_string(), send_timeout.as_millis().to_string());
        let settings = [("transactional.id", id), ("transaction.timeout.ms", &*timeout), ("message.timeout.ms", &*send_timeout)];
        let outbound = Outbound::open(config, &settings)?;
        Ok(KafkaTransactions { id: id.into(), step: Step::New, outbound: Some(outbound) })
    }

    /// The client with its transaction open; an error where there is none.
    fn within(&mut self) -> Result<&mut Outbound, LogError> {
        match &self.step {
            Step::Ended(error) => Err(error.clone()),
            Step::New => Err(self.wrong("is not initialised")),
            Step::Ready => Err(self.wrong("has not begun a transaction")),
            Step::Begun | Step::Spoilt => self.client(),
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
        Ok(patiently(|| native::outbound_step(client, step, ANSWER_WITHIN)))
    }

    /// Nothing can be done with the producer from here on.
    fn end(&mut self, error: LogError) -> LogError {
        self.step = Step::Ended(error.clone());
        self.leave();
        error
    }

    fn leave(&mut self) {
        let ended = self.outbound.take();
        end_beside(move || drop(ended));
    }

    /// What an error of the library means, if it is about the producer as such.
    fn ended_by(&mut self, error: &OutboundError) -> Option<LogError> {
        let fenced =
            matches!(error.code, RDKafkaErrorCode::Fenced | RDKafkaErrorCode::ProducerFenced | RDKafkaErrorCode::InvalidProducerEpoch);
        if !fenced && !error.is_fatal {
            return None;
        }
        if !fenced {
            tracing::warn!(id = &*self.id, "the producer can do nothing any more: {}", error.text);
        }
        Some(self.end(LogError::ProducerFenced(self.id.clone())))
    }

    fn said(&self, error: &OutboundError) -> LogError {
        said(&format!("the transactional producer `{}`: {}", self.id, error.text), error.code)
    }
}

/// Makes a call until it is answered, a few times.
fn patiently(mut call: impl FnMut() -> Result<(), OutboundError>) -> Result<(), OutboundError> {
    let mut answer = call();
    for _ in 1..CALLS {
        match &answer {
            Err(error) if error.is_retriable && !error.is_fatal => answer = call(),
            _ => break,
        }
    }
    answer
}

impl Producer for KafkaTransactions {
    fn send(&mut self, partition: &TopicPartition, records: &[Outgoing<'_>]) -> Result<(), LogError> {
        let outbound = self.within()?;
        let sent = outbound.send(partition, records);
        if sent.is_err()
            && let Some(code) = native::outbound_fatal(outbound.client())
        {
            let error = OutboundError { code, text: code.to_string(), is_fatal: true, is_retriable: false, must_abort: false };
            return self.ended_by(&error).map_or(sent, Err);
        }
        match sent {
            // It takes no more records in this transaction, after an outage say.
            Err(error @ LogError::Client { .. }) => {
                tracing::warn!(id = &*self.id, %error, "the transaction cannot go on");
                self.step = Step::Spoilt;
                Err(LogError::MustAbort(self.id.clone()))
            }
            sent => sent,
        }
    }

    fn flush(&mut self, timeout: Duration) -> Flushed {
        let flushed = self.outbound.as_mut().map(|outbound| outbound.flush(timeout)).unwrap_or_default();
        if let (false, Step::Begun) = (flushed.failed.is_empty(), &self.step) {
            self.step = Step::Spoilt;
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
            Step::New => {}
            Step::Ended(error) => return Err(error.clone()),
            Step::Ready | Step::Begun | Step::Spoilt => return Err(self.wrong("is initialised already")),
        }
        match self.take(OutboundStep::Init)? {
            Ok(()) => self.step = Step::Ready,
            Err(error) => return Err(self.ended_by(&error).unwrap_or_else(|| self.said(&error))),
        }
        Ok(())
    }

    fn begin(&mut self) -> Result<(), LogError> {
        match &self.step {
            Step::Ready => {}
            Step::New => return Err(self.wrong("is not initialised")),
            Step::Ended(error) => return Err(error.clone()),
            Step::Begun | Step::Spoilt => return Err(self.wrong("has begun a transaction already")),
        }
        match self.take(OutboundStep::Begin)? {
            Ok(()) => self.step = Step::Begun,
            Err(error) => return Err(self.ended_by(&error).unwrap_or_else(|| self.said(&error))),
        }
        Ok(())
    }

    fn send_offsets(&mut self, group: &str, token: &MemberToken, positions: &[(TopicPartition, Position)]) -> Result<(), LogError> {
        let client = self.within()?.client();
        let who = (group, token.generation, &*token.member);
        let sent = listed(positions).map(|list| patiently(|| native::outbound_offsets(client, &list, who, ANSWER_WITHIN)));
        let error = match sent {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => error,
            Err(code) => OutboundError { code, text: code.to_string(), is_fatal: false, is_retriable: false, must_abort: true },
        };
        if let Some(ended) = self.ended_by(&error) {
            return Err(ended);
        }
        self.step = Step::Spoilt;
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
        if let Step::Spoilt = self.step {
            return Err(LogError::MustAbort(self.id.clone()));
        }
        let error = match self.take(OutboundStep::Commit)? {
            Ok(()) => {
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
            self.step = Step::Spoilt;
            return Err(LogError::MustAbort(self.id.clone()));
        }
        tracing::warn!(id = &*self.id, "no answer to a commit: {}", error.text);
        Err(self.end(LogError::CommitUnknown(self.id.clone())))
    }

    fn abort(&mut self) -> Result<(), LogError> {
        self.within()?;
        match self.take(OutboundStep::Abort)? {
            Ok(()) => {
                self.client()?.forget();
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
    use crate::kafka::{Connect, KafkaLog, NewTopic, Outgoing};
    use crate::record::{Headers, Timestamp};

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
        writer.init().expect("initialised");
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
}
