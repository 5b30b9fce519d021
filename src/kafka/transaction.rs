//! The port for transactions: records and positions that count together or not at all.

use super::{LogError, MemberToken, Position, Producer};
use crate::record::TopicPartition;

/// A producer whose records and positions come in transactions. One per thread.
///
/// Its life: [`init`](Self::init) once, then any number of transactions, one at a time: [`begin`](Self::begin), sends, positions,
/// and [`commit`](Self::commit) or [`abort`](Self::abort).
///
/// Two sorts of failure are told apart. After one that [ends the producer](LogError::ends_producer) every later call answers the same, and only
/// another producer with the same id, once initialised, knows how the last transaction came out. After a refused
/// [`send_offsets`](Self::send_offsets), or a send that [`flush`](Producer::flush) reports as failed, the transaction can be aborted
/// and nothing else. A refused `send` took nothing and harms nothing.
///
/// A dropped producer leaves its transaction open, as a killed process does: the next `init` of its id aborts it, or its time-out.
pub trait TransactionalProducer: Producer {
    /// Takes the transactional id over: whoever had it before is fenced from now on, an open transaction of the id is aborted, and one that was
    /// being committed is completed. When this returns the id has nothing undecided. Called first and once.
    fn init(&mut self) -> Result<(), LogError>;

    /// Begins a transaction. Its time runs from the first send on.
    fn begin(&mut self) -> Result<(), LogError>;

    /// Adds positions of a group to the transaction; they appear in the group when it is committed and not before. `token` proves that
    /// the sender is a member now ([`LogError::Fenced`] if not, [`LogError::Outrun`] if it is and others came or went); what becomes of the membership between here and the commit is not asked.
    fn send_offsets(&mut self, group: &str, token: &MemberToken, positions: &[(TopicPartition, Position)]) -> Result<(), LogError>;

    /// Ends the transaction so that all of it counts. Everything sent must have been flushed.
    ///
    /// `Ok` says that it is decided, not that every reader sees it already: partitions and groups learn it one by one, see
    /// [`Group::committed`](super::Group::committed) and [`Consumer::end_offsets`](super::Consumer::end_offsets). The other outcomes:
    ///
    /// * [`LogError::ProducerFenced`]: another producer has the id; the transaction is aborted.
    /// * [`LogError::TransactionTimedOut`]: it was open for too long and is aborted. A log that cannot tell this apart says `ProducerFenced`.
    /// * [`LogError::CommitUnknown`]: no answer came. It counts or it does not; only a new `init` of the id settles that.
    /// * [`LogError::MustAbort`]: something in it failed; abort it.
    fn commit(&mut self) -> Result<(), LogError>;

    /// Why the open transaction can be aborted and nothing else, as far as `flush` does not tell it.
    fn spoilt_by(&self) -> Option<LogError> {
        None
    }

    /// Ends the transaction so that nothing of it counts. What was sent and not yet told by `flush` is forgotten.
    fn abort(&mut self) -> Result<(), LogError>;
}
