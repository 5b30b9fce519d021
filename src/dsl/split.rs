//! Taking a stream apart into branches.

use std::sync::Arc;

use crate::dsl::KStream;
use crate::processor::{Branches, Pass, Verdict};
use crate::record::Data;
use crate::topology::assemble::{erase, erase_named};
use crate::topology::draft::{Call, CallId, Op, Part};

/// Branches are taken one after another; see [`KStream::split`].
pub struct Split<K, V> {
    stream: KStream<K, V>,
    id: CallId,
    tests: Branches<K, V>,
    taken: usize,
}

impl<K: Data, V: Data> Split<K, V> {
    pub(crate) fn new(stream: KStream<K, V>) -> Self {
        let tests = Branches::new();
        let of_node = tests.clone();
        let call = Call::new(Op::Split, &[stream.id]).part(Part::Main, move |assembly, id| {
            let (node, outputs) = (assembly.info(id), assembly.outputs_of::<K, V>(id));
            erase_named::<K, V>(node.name.clone(), of_node.node(node, outputs))
        });
        let id = stream.graph.add(call);
        Split { stream, id, tests, taken: 0 }
    }

    /// Names the split; branches that are not named themselves are called after it.
    pub fn named(self, name: impl Into<std::borrow::Cow<'static, str>>) -> Self {
        let name = name.into().into_owned();
        self.stream.graph.change(self.id, |call| call.name = Some(name));
        self
    }

    /// What happens to records on which a test fails.
    pub fn on_error(self, policy: crate::error::OnError) -> Self {
        self.stream.graph.change(self.id, |call| call.on_error = Some(policy));
        self
    }

    /// The records for which `test` is true and no earlier branch was. `.named(..)` behind it is appended to the split's name.
    pub fn branch<R: Verdict>(&mut self, test: impl Fn(&K, &V) -> R + Send + Sync + 'static) -> KStream<K, V> {
        self.tests.add(Some(Arc::new(move |key, value| test(key, value).verdict())));
        self.taken += 1;
        self.add(self.taken)
    }

    /// The records that no branch took.
    pub fn rest(self) -> KStream<K, V> {
        self.tests.add(None);
        self.add(0)
    }

    fn add(&self, index: usize) -> KStream<K, V> {
        let call = Call::new(Op::Branch { index }, &[self.id])
            .part(Part::Main, |assembly, id| erase::<K, V>(Pass(assembly.output_of::<K, V>(id))));
        KStream::new(&self.stream.graph, self.stream.graph.add(call))
    }
}
