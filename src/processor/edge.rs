//! Edges between nodes: typed boxes, fan-out, and nodes that several parents or the task itself must reach.

use std::cell::RefCell;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::error::Flow;
use crate::processor::punctuation::ScheduleId;
use crate::processor::{TaskContext, TimeKind};
use crate::record::{Data, Meta, RawRecord, Timestamp};

/// Takes records of one type. Every operator is one of these.
pub(crate) trait Receive<K, V>: Send {
    fn receive(&mut self, key: K, value: V, meta: &Meta, cx: &mut TaskContext) -> Flow;
}

/// The child of a node.
pub(crate) type Next<K, V> = Box<dyn Receive<K, V>>;

// A boxed chain is itself a receiver, so that an assembled part can be an operator.
impl<K, V> Receive<K, V> for Next<K, V> {
    fn receive(&mut self, key: K, value: V, meta: &Meta, cx: &mut TaskContext) -> Flow {
        (**self).receive(key, value, meta, cx)
    }
}

/// A node with user functions: should one of them panic, its name is known.
pub(crate) struct Named<N> {
    pub(crate) name: Arc<str>,
    pub(crate) node: N,
}

impl<K, V, N: Receive<K, V>> Receive<K, V> for Named<N> {
    fn receive(&mut self, key: K, value: V, meta: &Meta, cx: &mut TaskContext) -> Flow {
        let within = Within(&self.name);
        let flow = self.node.receive(key, value, meta, cx);
        std::mem::forget(within); // it is dropped by panics only, and borrows what it holds
        flow
    }
}

/// Says where a panic came from as it passes.
struct Within<'a>(&'a Arc<str>);

thread_local! {
    /// The node in which a function panicked, the innermost one.
    static PANICKED_IN: RefCell<Option<Arc<str>>> = const { RefCell::new(None) };
}

impl Drop for Within<'_> {
    fn drop(&mut self) {
        PANICKED_IN.with_borrow_mut(|node| {
            node.get_or_insert_with(|| self.0.clone());
        });
    }
}

/// The node in which the panic began that was just caught; none if it was in no function of a node.
pub(crate) fn panicked_in() -> Option<Arc<str>> {
    PANICKED_IN.take()
}

/// What became of a record's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Staged {
    /// Decoded; event time as the extractor gave it.
    Ready(Timestamp),
    /// Dropped, counted, or dead-lettered: take the next one.
    Dropped,
}

/// Takes records as bytes: the head of a sub-topology, one per input partition.
///
/// Two steps, because the task compares the event times of the heads of its inputs before it takes one.
pub(crate) trait ReceiveRaw: Send {
    /// Decodes a record and keeps it. `partition_time` is the largest time taken from this partition so far.
    fn stage(&mut self, raw: RawRecord<'_>, partition_time: Timestamp, cx: &mut TaskContext) -> Result<Staged, crate::error::Fault>;
    /// Runs the staged record through the nodes below.
    fn run(&mut self, cx: &mut TaskContext) -> Flow;
    /// Gives up the staged record; the context is its from here on.
    fn refuse(&mut self, cx: &mut TaskContext);
    /// Bounded mode: the topic for records too far ahead of the wall clock.
    fn bad_time_topic(&self) -> Option<&str>;
}

/// Makes so many heads over the same nodes, one for each input partition.
pub(crate) type SourceMaker = Box<dyn FnOnce(usize) -> Vec<Box<dyn ReceiveRaw>> + Send>;

/// A node that the task reaches beside its parents: caches to flush, time to follow, schedules to fire.
pub(crate) trait Driven: Send {
    /// Called once before the first record.
    fn init(&mut self, _cx: &mut TaskContext) -> Flow {
        Ok(())
    }
    /// Commit step 2: what the record cache holds goes downstream.
    fn flush(&mut self, _cx: &mut TaskContext) -> Flow {
        Ok(())
    }
    /// Bounded mode: the task's watermark (`cx.watermark`) has moved; closes what is due. True if more is due than one pass
    /// of `cx.close_batch` rows could take.
    fn on_watermark(&mut self, _cx: &mut TaskContext) -> Result<bool, crate::error::Fault> {
        Ok(false)
    }
    /// A schedule of this node is due.
    fn punctuate(&mut self, _schedule: ScheduleId, _kind: TimeKind, _at: Timestamp, _cx: &mut TaskContext) -> Flow {
        Ok(())
    }
    /// Bounded mode: the smallest event time that a result not yet sent may carry while the watermark is `w`.
    fn hold(&self, _w: Timestamp) -> Option<Timestamp> {
        None
    }
    /// What must outlive a restart beside the rows: names and numbers, to be committed with the positions.
    fn keep(&self) -> Vec<(&'static str, i64)> {
        Vec::new()
    }
    /// Takes what was kept, by name, before the first record.
    fn resume(&mut self, _kept: &dyn Fn(&str) -> Option<i64>) {}
    /// Whether results wait here to be sent: then the task is not idle for its readers (D12).
    fn holds_rows(&self) -> bool {
        false
    }
    /// The largest watermark at which an open window with rows closes, for `close_when_idle` (D14).
    fn last_closing(&self) -> Option<Timestamp> {
        None
    }
}

/// A node with several parents, or one that the task must also reach. The graph has no cycles, so the lock is never
/// contended and never entered twice.
pub(crate) struct Shared<N: ?Sized>(pub(crate) Arc<Mutex<N>>);

impl<N: ?Sized> Clone for Shared<N> {
    fn clone(&self) -> Self {
        Shared(self.0.clone())
    }
}

impl<N: ?Sized> Shared<N> {
    /// A task whose node panicked is closed and not reused, so a poisoned lock is only ever seen while closing.
    pub(crate) fn lock(&self) -> MutexGuard<'_, N> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K, V, N: Receive<K, V> + ?Sized> Receive<K, V> for Shared<N> {
    fn receive(&mut self, key: K, value: V, meta: &Meta, cx: &mut TaskContext) -> Flow {
        self.lock().receive(key, value, meta, cx)
    }
}

/// The end of a chain that nobody reads.
pub(crate) struct Discard;
impl<K, V> Receive<K, V> for Discard {
    fn receive(&mut self, _: K, _: V, _: &Meta, _: &mut TaskContext) -> Flow {
        Ok(())
    }
}

/// Several children; the last one gets the original, the others copies.
pub(crate) struct Fanout<K, V> {
    pub(crate) first: Vec<Next<K, V>>,
    pub(crate) last: Next<K, V>,
}

impl<K: Data, V: Data> Receive<K, V> for Fanout<K, V> {
    fn receive(&mut self, key: K, value: V, meta: &Meta, cx: &mut TaskContext) -> Flow {
        for child in &mut self.first {
            child.receive(key.clone(), value.clone(), meta, cx)?;
        }
        self.last.receive(key, value, meta, cx)
    }
}

/// Children by name, for nodes that choose among them.
pub(crate) struct Outputs<K, V>(pub(crate) Vec<(Arc<str>, Next<K, V>)>);

impl<K: Data, V: Data> Outputs<K, V> {
    /// To all children, in the order in which they were attached.
    pub(crate) fn all(&mut self, key: K, value: V, meta: &Meta, cx: &mut TaskContext) -> Flow {
        let Some(((_, last), first)) = self.0.split_last_mut() else { return Ok(()) };
        for (_, child) in first {
            child.receive(key.clone(), value.clone(), meta, cx)?;
        }
        last.receive(key, value, meta, cx)
    }
}
