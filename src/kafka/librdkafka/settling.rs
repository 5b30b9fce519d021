//! What became of a transaction is asked of the coordinator, and some coordinators err: those of Kafka 4.1 to 4.3 take a partition without a leader
//! for a deleted one (KAFKA-20734) and tell it nothing of the end of a transaction. A broker that comes back aborts what has timed out before its
//! partitions have their leaders again, so this is what a long outage ends in. The records of that transaction stay undecided in the partition, until
//! the next end of a transaction of the same producer id that has anything there: a commit commits them too.
//!
//! So a transaction whose end its producer did not hear, or heard in an outage, is ended once more: the next producer of its id puts one record into each partition that it had
//! records in, and names each group that it had positions for, and aborts that. All partitions have leaders then, since they have taken the record.
//! Where the coordinator does not err this is a transaction that leaves nothing.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hashbrown::HashMap;
use rdkafka::TopicPartitionList;
use rdkafka::error::RDKafkaErrorCode;

use super::error::{kind, said};
use super::native::{self, OutboundStep};
use super::outbound::Outbound;
use crate::error::ErrorKind;
use crate::kafka::{LogError, MemberToken, Outgoing};
use crate::record::{Headers, Timestamp, TopicPartition};

/// What a transaction has touched.
#[derive(Debug, Default)]
pub(super) struct Touched {
    records: HashMap<TopicPartition, Sample>,
    /// By group: who sent positions, and one of them as the library takes it.
    positions: BTreeMap<String, (MemberToken, TopicPartition)>,
}

/// A record of the transaction: whoever reads what is not committed reads nothing that is strange to him.
#[derive(Debug)]
struct Sample {
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    timestamp: Timestamp,
    headers: Headers,
}

impl Touched {
    pub(super) fn record(&mut self, partition: &TopicPartition, records: &[Outgoing<'_>]) {
        let (false, [first, ..]) = (self.records.contains_key(partition), records) else { return };
        let owned = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
        let (key, value) = (owned(first.key), owned(first.value));
        let sample = Sample { key, value, timestamp: first.timestamp, headers: first.headers.clone() };
        self.records.insert(partition.clone(), sample);
    }

    pub(super) fn position(&mut self, group: &str, token: &MemberToken, partition: &TopicPartition) {
        self.positions.insert(group.to_owned(), (token.clone(), partition.clone()));
    }

    fn is_empty(&self) -> bool {
        self.records.is_empty() && self.positions.is_empty()
    }
}

/// By transactional id, what transactions have touched whose end was not heard, or in an outage.
#[derive(Debug, Default)]
pub(super) struct Unsettled(Mutex<BTreeMap<Arc<str>, Touched>>);

impl Unsettled {
    fn all(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, Touched>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn leave(&self, id: &Arc<str>, touched: Touched) {
        if touched.is_empty() {
            return;
        }
        let mut all = self.all();
        let left = all.entry(id.clone()).or_default();
        left.records.extend(touched.records);
        left.positions.extend(touched.positions);
    }

    /// What was left under that id. Whoever takes it settles it, or leaves it again.
    pub(super) fn take(&self, id: &str) -> Option<Touched> {
        self.all().remove(id)
    }
}

/// The settling of one transaction, by a client that is initialised and in none. It may take several calls.
pub(super) struct Settling {
    touched: Touched,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Begin,
    Acks,
    Positions,
    Abort,
}

/// Why it is not settled yet.
#[derive(Debug)]
pub(super) enum NotSettled {
    /// The same call goes on.
    Waits(LogError),
    /// This client cannot do it any more; another one may.
    Spoilt(LogError),
}

impl Settling {
    pub(super) fn new(touched: Touched) -> Self {
        Settling { touched, stage: Stage::Begin }
    }

    /// To be done by another client, from the beginning.
    pub(super) fn into_touched(self) -> Touched {
        self.touched
    }

    /// Goes on for about so long.
    pub(super) fn go_on(&mut self, outbound: &mut Outbound, within: Duration) -> Result<(), NotSettled> {
        if self.stage == Stage::Begin {
            self.begin(outbound)?;
            self.stage = Stage::Acks;
        }
        if self.stage == Stage::Acks {
            self.acks(outbound, within)?;
            self.stage = Stage::Positions;
        }
        if self.stage == Stage::Positions {
            self.positions(outbound, within)?;
            self.stage = Stage::Abort;
        }
        match native::outbound_step(outbound.client(), OutboundStep::Abort, within) {
            Ok(()) => outbound.forget(),
            Err(error) if error.is_retriable && !error.is_fatal => return Err(NotSettled::Waits(said(&error.text, error.code))),
            Err(error) => return Err(NotSettled::Spoilt(again(&error.text, error.code))),
        }
        Ok(())
    }

    fn begin(&mut self, outbound: &mut Outbound) -> Result<(), NotSettled> {
        native::outbound_step(outbound.client(), OutboundStep::Begin, Duration::ZERO)
            .map_err(|error| NotSettled::Spoilt(again(&error.text, error.code)))?;
        for (partition, sample) in &self.touched.records {
            let (key, value) = (sample.key.as_deref(), sample.value.as_deref());
            let record = Outgoing { key, value, timestamp: sample.timestamp, headers: &sample.headers };
            match outbound.send(partition, &[record]) {
                Err(error) if error.kind() == ErrorKind::Retriable => return Err(NotSettled::Spoilt(error)),
                Err(error) => leave_out(partition, &error),
                Ok(()) => {}
            }
        }
        Ok(())
    }

    /// The coordinator knows the partitions, and they have leaders.
    fn acks(&mut self, outbound: &mut Outbound, within: Duration) -> Result<(), NotSettled> {
        let mut failed = outbound.flush(within).failed.into_iter();
        if outbound.is_open() {
            let why = failed.next().map(|(_, error)| error);
            return Err(NotSettled::Waits(why.unwrap_or_else(|| said("a transaction", RDKafkaErrorCode::OperationTimedOut))));
        }
        failed.try_for_each(|(partition, error)| match error.kind() {
            ErrorKind::Retriable => Err(NotSettled::Spoilt(error)),
            _ => {
                leave_out(&partition, &error);
                Ok(())
            }
        })
    }

    /// The coordinator knows the groups. What a group says to the position does not matter: it is asked after that.
    fn positions(&mut self, outbound: &mut Outbound, within: Duration) -> Result<(), NotSettled> {
        for (group, (token, partition)) in &self.touched.positions {
            let mut list = TopicPartitionList::new();
            list.add_partition(&partition.topic, partition.partition).set_offset(rdkafka::Offset::Offset(0)).expect("an offset");
            let sent = native::outbound_offsets(outbound.client(), &list, (group, token.generation, &token.member), within);
            if let Err(error) = sent
                && (error.is_fatal || !error.must_abort || kind(error.code) == ErrorKind::Retriable)
            {
                return Err(NotSettled::Spoilt(again(&error.text, error.code)));
            }
        }
        Ok(())
    }
}

/// Whatever a client says that tries this, another one may try it again.
fn again(text: &str, code: RDKafkaErrorCode) -> LogError {
    LogError::Client {
        kind: ErrorKind::Retriable,
        source: Arc::new(format!("an earlier transaction is not settled yet: {text} ({code})").into()),
    }
}

/// Nobody can put anything into that partition.
fn leave_out(partition: &TopicPartition, error: &LogError) {
    if !matches!(error, LogError::UnknownTopic(_) | LogError::UnknownPartition { .. }) {
        tracing::warn!(
            %partition, %error,
            "it is not known whether an earlier transaction has ended there: `kafka-transactions.sh find-hanging` tells it, and `abort` ends it"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_by_several_producers_is_settled_together_and_once() {
        let (unsettled, id, headers) = (Unsettled::default(), Arc::from("id"), Headers::default());
        let partition = |number| TopicPartition::new("t", number);
        let record = |value| Outgoing { key: None, value: Some(value), timestamp: Timestamp::from_millis(1), headers: &headers };
        for number in [1, 2] {
            let mut touched = Touched::default();
            touched.record(&partition(0), &[record(b"first"), record(b"second")]);
            touched.record(&partition(0), &[record(b"third")]);
            touched.record(&partition(number), &[]);
            touched.record(&partition(number), &[record(b"v")]);
            unsettled.leave(&id, touched);
        }
        unsettled.leave(&id, Touched::default());
        let left = unsettled.take("id").expect("left");
        let mut partitions: Vec<i32> = left.records.keys().map(|partition| partition.partition).collect();
        partitions.sort_unstable();
        assert_eq!(partitions, [0, 1, 2]);
        assert_eq!(left.records[&partition(0)].value.as_deref(), Some(b"first".as_slice()));
        unsettled.leave(&id, Touched::default());
        assert!(unsettled.take("id").is_none(), "a transaction with nothing in it leaves nothing");
    }
}
