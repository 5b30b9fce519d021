//! Operators that see one record at a time and remember nothing. Generic over the user's function, so it is inlined.

use std::sync::{Arc, Mutex, PoisonError};

use crate::error::{BoxError, Flow};
use crate::processor::{Next, NodeInfo, Outcome, Outputs, Receive, TaskContext, Verdict};
use crate::record::{Data, Meta};
use crate::serdes::SharedSerde;

/// `filter` and `filter_not`: keeps the records whose verdict is `keep`.
pub(crate) struct Filter<F, K, V> {
    pub(crate) test: Arc<F>,
    pub(crate) keep: bool,
    pub(crate) node: NodeInfo,
    pub(crate) next: Next<K, V>,
}
impl<K, V, R: Verdict, F: Fn(&K, &V) -> R + Send + Sync> Receive<K, V> for Filter<F, K, V> {
    fn receive(&mut self, key: K, value: V, meta: &Meta, cx: &mut TaskContext) -> Flow {
        match (self.test)(&key, &value).verdict() {
            Ok(verdict) if verdict == self.keep => self.next.receive(key, value, meta, cx),
            Ok(_) => Ok(()),
            Err(error) => cx.failed(&self.node, meta, error),
        }
    }
}

/// `map`, `map_values`, `select_key`, `peek`: one record in, one out, the user's function already adapted.
pub(crate) struct Map<F, K2, V2> {
    pub(crate) apply: Arc<F>,
    pub(crate) next: Next<K2, V2>,
}
impl<K, V, K2, V2, F: Fn(K, V) -> (K2, V2) + Send + Sync> Receive<K, V> for Map<F, K2, V2> {
    fn receive(&mut self, key: K, value: V, meta: &Meta, cx: &mut TaskContext) -> Flow {
        let (key, value) = (self.apply)(key, value);
        self.next.receive(key, value, meta, cx)
    }
}

/// The fallible form of [`Map`].
pub(crate) struct TryMap<F, K2, V2> {
    pub(crate) apply: Arc<F>,
    pub(crate) node: NodeInfo,
    pub(crate) next: Next<K2, V2>,
}
impl<K, V, K2, V2, F: Fn(K, V) -> Result<(K2, V2), BoxError> + Send + Sync> Receive<K, V> for TryMap<F, K2, V2> {
    fn receive(&mut self, key: K, value: V, meta: &Meta, cx: &mut TaskContext) -> Flow {
        match (self.apply)(key, value) {
            Ok((key, value)) => self.next.receive(key, value, meta, cx),
            Err(error) => cx.failed(&self.node, meta, error),
        }
    }
}

/// `flat_map`, `flat_map_values`, `filter_map_values`: one record in, any number out.
pub(crate) struct FlatMap<F, K2, V2> {
    pub(crate) apply: Arc<F>,
    pub(crate) node: NodeInfo,
    pub(crate) next: Next<K2, V2>,
}
impl<K, V, K2, V2, I, F> Receive<K, V> for FlatMap<F, K2, V2>
where
    I: IntoIterator<Item = (K2, V2)>,
    F: Fn(K, V) -> Result<I, BoxError> + Send + Sync,
{
    fn receive(&mut self, key: K, value: V, meta: &Meta, cx: &mut TaskContext) -> Flow {
        match (self.apply)(key, value) {
            Ok(records) => records.into_iter().try_for_each(|(key, value)| self.next.receive(key, value, meta, cx)),
            Err(error) => cx.failed(&self.node, meta, error),
        }
    }
}

/// `for_each`: the end of a chain; the function may fail.
pub(crate) struct ForEach<F> {
    pub(crate) apply: Arc<F>,
    pub(crate) node: NodeInfo,
}
impl<K, V, R: Outcome, F: Fn(&K, V) -> R + Send + Sync> Receive<K, V> for ForEach<F> {
    fn receive(&mut self, key: K, value: V, meta: &Meta, cx: &mut TaskContext) -> Flow {
        match (self.apply)(&key, value).outcome() {
            Ok(_) => Ok(()),
            Err(error) => cx.failed(&self.node, meta, error),
        }
    }
}

/// A node that only has a name: `merge`, branches.
pub(crate) struct Pass<K, V>(pub(crate) Next<K, V>);
impl<K, V> Receive<K, V> for Pass<K, V> {
    fn receive(&mut self, key: K, value: V, meta: &Meta, cx: &mut TaskContext) -> Flow {
        self.0.receive(key, value, meta, cx)
    }
}

/// A test of one branch, by its index; none takes every record that comes so far.
pub(crate) type Test<K, V> = Option<Arc<dyn Fn(&K, &V) -> Result<bool, BoxError> + Send + Sync>>;

/// The tests of a split, in the order in which the author took the branches; filled until `build`.
pub(crate) struct Branches<K, V>(pub(crate) Arc<Mutex<Vec<Test<K, V>>>>);

impl<K, V> Clone for Branches<K, V> {
    fn clone(&self) -> Self {
        Branches(self.0.clone())
    }
}

impl<K: Data, V: Data> Branches<K, V> {
    pub(crate) fn new() -> Self {
        Branches(Arc::default())
    }
    pub(crate) fn add(&self, test: Test<K, V>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(test);
    }
    /// The node: child `i` belongs to test `i`.
    pub(crate) fn node(&self, node: NodeInfo, outputs: Outputs<K, V>) -> SplitNode<K, V> {
        let tests = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        SplitNode { tests, node, outputs }
    }
}

/// `split`: the first branch whose test is true gets the record.
pub(crate) struct SplitNode<K, V> {
    tests: Vec<Test<K, V>>,
    node: NodeInfo,
    outputs: Outputs<K, V>,
}
impl<K: Data, V: Data> Receive<K, V> for SplitNode<K, V> {
    fn receive(&mut self, key: K, value: V, meta: &Meta, cx: &mut TaskContext) -> Flow {
        for (test, (_, child)) in self.tests.iter().zip(&mut self.outputs.0) {
            match test.as_ref().map_or(Ok(true), |test| test(&key, &value)) {
                Ok(true) => return child.receive(key, value, meta, cx),
                Ok(false) => {}
                Err(error) => return cx.failed(&self.node, meta, error),
            }
        }
        Ok(())
    }
}

/// In front of a repartition topic: a record without a key has no partition there (KS-W3).
pub(crate) struct NullKeyFilter<K, V> {
    pub(crate) key: SharedSerde<K>,
    pub(crate) next: Next<K, V>,
}
impl<K: Data, V: Data> Receive<K, V> for NullKeyFilter<K, V> {
    fn receive(&mut self, key: K, value: V, meta: &Meta, cx: &mut TaskContext) -> Flow {
        if self.key.is_null(&key) { Ok(()) } else { self.next.receive(key, value, meta, cx) }
    }
}
