//! Whether a task may run: asked of the program after its producer has the transactional id, and again in each of its transactions.

use std::collections::BTreeMap;

use crate::error::BoxError;
use crate::kafka::{Consumer, LogError, Outgoing};
use crate::record::{Headers, TaskId, Timestamp, TopicPartition};

/// What a [`TaskGate`] says.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Gate {
    /// The task goes on.
    Run,
    /// It goes on, and takes no record at or beyond these offsets. Partitions that are not named have no limit.
    RunUntil(BTreeMap<TopicPartition, i64>),
    /// It takes no record for now; the gate is asked again after `commit_interval`.
    Hold,
    /// It is done, and counts as finished. Said in a commit: once that is through.
    Stop,
}

/// Decides whether tasks run, together with whoever else may run them. For applications whose tasks have transactions of their own
/// ([`ProducerScope::Task`](crate::ProducerScope::Task)), given with [`Launch::gate`](crate::Launch::gate).
///
/// What makes it safe is the order. [`enter`](Self::enter) is called when the producer of the task has just been given the transactional id:
/// whoever ran the task before is fenced, and everything it did is decided. So what a gate *then* reads from a topic, committed records up to the end
/// that the topic has then, holds for as long as nobody else takes the id: a record that a later owner writes in a transaction of the task comes
/// after. What was read before must not be used. And what [`closing`](Self::closing) writes is in the same transaction as results and positions.
///
/// ```
/// # use std::collections::BTreeMap;
/// # use std::sync::Arc;
/// # use std::time::Duration;
/// # use highwater::kafka::{Connect, FetchLimit, Isolation, MemoryLog, NewTopic, Outgoing};
/// # use highwater::{Headers, SystemClock, Timestamp, Topic, TopicPartition};
/// use highwater::kafka::Consumer;
/// use highwater::{BoxError, Closing, Gate, Guarantee, Launch, ProducerScope, Settings, State, StreamsBuilder, TaskGate, TaskId};
///
/// /// Copies until the fence, which is the same for all partitions here, and writes down that it is done.
/// struct UpToFence(i64);
///
/// impl TaskGate for UpToFence {
///     fn enter(&self, task: TaskId, log: &mut dyn Consumer) -> Result<Gate, BoxError> {
///         let latch = TopicPartition::new("latch", task.partition);
///         let end = log.end_offsets(std::slice::from_ref(&latch), Isolation::ReadUncommitted)?[0];
///         log.assign(&[(latch.clone(), 0)])?;
///         let mut done = false;
///         // Up to the high watermark: a transaction may be committed before its records can be read.
///         while log.position(&latch)? < end {
///             let before = log.position(&latch)?;
///             let fetched = log.fetch(&latch, FetchLimit { records: 100, bytes: 1 << 20 }, &mut |record| done |= record.key == Some(b"done"))?;
///             if fetched.next_offset == before {
///                 return Ok(Gate::Hold); // somebody else's transaction is undecided: ask again
///             }
///         }
///         if done {
///             return Ok(Gate::Stop);
///         }
///         Ok(Gate::RunUntil(BTreeMap::from([(TopicPartition::new("old", task.partition), self.0)])))
///     }
///
///     fn closing(&self, task: TaskId, _log: &mut dyn Consumer, closing: &mut Closing<'_>) -> Result<Gate, BoxError> {
///         let old = TopicPartition::new("old", task.partition);
///         if closing.positions().get(&old).is_none_or(|position| *position < self.0) {
///             return Ok(Gate::RunUntil(BTreeMap::from([(old, self.0)])));
///         }
///         closing.send(&TopicPartition::new("latch", task.partition), Some(b"done"), Some(b""), Timestamp::from_millis(0))?;
///         Ok(Gate::Stop)
///     }
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let log = MemoryLog::new(Arc::new(SystemClock));
/// # log.admin()?.create_topics(&["old", "new", "latch"].map(|name| NewTopic::new(name, 1)))?;
/// # for value in ["a", "b", "c"] {
/// #     let record = Outgoing { key: None, value: Some(value.as_bytes()), timestamp: Timestamp::from_millis(1), headers: &Headers::default() };
/// #     log.producer()?.send(&TopicPartition::new("old", 0), &[record])?;
/// # }
/// let builder = StreamsBuilder::new();
/// builder.stream(Topic::<Option<String>, String>::new("old")).to(Topic::new("new"));
///
/// let mut settings = Settings::new("move");
/// settings.guarantee = Guarantee::ExactlyOnce;
/// settings.producer_scope = ProducerScope::Task { prefix: "move".into() };
/// # settings.commit_interval = Duration::from_millis(20);
/// let streams = Launch::new(&builder.build()?, settings, Arc::new(log.clone())).gate(UpToFence(2)).start()?;
/// assert_eq!(streams.wait(Duration::from_secs(10)), State::Finished);
/// # let mut reader = log.consumer(Isolation::ReadCommitted)?;
/// # let copied = TopicPartition::new("new", 0);
/// # reader.assign(&[(copied.clone(), 0)])?;
/// # let mut values = Vec::new();
/// # reader.fetch(&copied, FetchLimit { records: 100, bytes: 1 << 20 }, &mut |record| values.push(record.value.unwrap_or_default().to_vec()))?;
/// # assert_eq!(values, [b"a", b"b"], "up to the fence");
/// # Ok(())
/// # }
/// ```
pub trait TaskGate: Send + Sync {
    /// Asked when the producer of the task is initialised and the state of the task restored, before its first record; again while it says
    /// [`Hold`](Gate::Hold), and whenever the task is taken back to its last commit. `log` reads committed records and is the gate's to assign.
    ///
    /// # Errors
    /// Stop the task.
    fn enter(&self, task: TaskId, log: &mut dyn Consumer) -> Result<Gate, BoxError>;

    /// Asked in each commit of the task, when everything else of its transaction is sent: the answer holds from then on. Records sent here are part
    /// of that transaction, which is otherwise not begun if there is nothing to commit.
    ///
    /// # Errors
    /// Stop the task; the transaction is aborted.
    fn closing(&self, task: TaskId, log: &mut dyn Consumer, closing: &mut Closing<'_>) -> Result<Gate, BoxError> {
        let _ = (task, log, closing);
        Ok(Gate::Run)
    }
}

/// Sends one record in the transaction.
pub(super) type SendOne<'a> = dyn FnMut(&TopicPartition, Outgoing<'_>) -> Result<(), LogError> + 'a;

/// The transaction of a task that is about to be committed.
pub struct Closing<'a> {
    pub(super) positions: BTreeMap<TopicPartition, i64>,
    pub(super) send: &'a mut SendOne<'a>,
}

impl Closing<'_> {
    /// Where the inputs of the task will stand once it is committed.
    pub fn positions(&self) -> &BTreeMap<TopicPartition, i64> {
        &self.positions
    }

    /// Adds a record.
    ///
    /// # Errors
    /// If the log refuses it.
    pub fn send(&mut self, partition: &TopicPartition, key: Option<&[u8]>, value: Option<&[u8]>, at: Timestamp) -> Result<(), BoxError> {
        let record = Outgoing { key, value, timestamp: at, headers: &Headers::default() };
        Ok((self.send)(partition, record)?)
    }
}
