//! The stores that a processor asks for.

use std::any::Any;

use crate::state::open::OpenFn;
use crate::state::spec::StoreSpec;
use crate::state::store_ref::{Materialized, Store, StoreRef};

/// A store that a processor asks for, as data.
pub(crate) struct StorePlan {
    /// None asks for a generated name.
    pub(crate) name: Option<String>,
    pub(crate) spec: StoreSpec,
    pub(crate) open: OpenFn,
    /// The store's kind and types, to compare two uses of one name.
    pub(crate) of: std::any::TypeId,
}

/// The crate's plan of a store, wrapped because a public trait names it.
#[doc(hidden)]
pub struct PlannedStore(pub(crate) StorePlan);

impl<S: Store> Materialized<S> {
    /// Everything a topology needs to know of this store.
    pub(crate) fn plan(&self) -> StorePlan {
        let (name, open) = (self.store().name().map(str::to_owned), self.opener());
        StorePlan { name, spec: self.spec().clone(), open, of: std::any::TypeId::of::<S>() }
    }
}

/// The stores a processor asks for: nothing, a [`StoreRef`], a [`Materialized`], or a tuple of up to four of them.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not name stores",
    note = "pass `()`, a `StoreRef`, a `Materialized`, or a tuple of them"
)]
pub trait StoreSet: Send + Sync + 'static {
    /// What the processor's constructor receives.
    type Handles;
    #[doc(hidden)]
    fn plans(&self) -> Vec<PlannedStore>;
    /// Takes one handle per plan, in order.
    #[doc(hidden)]
    fn hand_out(next: &mut dyn FnMut() -> Box<dyn Any + Send>) -> Self::Handles;
}

impl StoreSet for () {
    type Handles = ();
    fn plans(&self) -> Vec<PlannedStore> {
        Vec::new()
    }
    fn hand_out(_: &mut dyn FnMut() -> Box<dyn Any + Send>) {}
}

/// The typed handle in a box.
pub(crate) fn typed<S: Store>(handle: Box<dyn Any + Send>) -> S {
    *handle.downcast::<S>().expect("a store name has one type: checked by build")
}

impl<S: Store> StoreSet for StoreRef<S> {
    type Handles = S;
    fn plans(&self) -> Vec<PlannedStore> {
        vec![PlannedStore(Materialized::with(self.clone()).plan())]
    }
    fn hand_out(next: &mut dyn FnMut() -> Box<dyn Any + Send>) -> S {
        typed(next())
    }
}

impl<S: Store> StoreSet for Materialized<S> {
    type Handles = S;
    fn plans(&self) -> Vec<PlannedStore> {
        vec![PlannedStore(self.plan())]
    }
    fn hand_out(next: &mut dyn FnMut() -> Box<dyn Any + Send>) -> S {
        typed(next())
    }
}

macro_rules! store_tuple {
    ($($set:ident $at:tt),+) => {
        impl<$($set: StoreSet),+> StoreSet for ($($set,)+) {
            type Handles = ($($set::Handles,)+);
            fn plans(&self) -> Vec<PlannedStore> {
                let mut plans = Vec::new();
                $(plans.extend(self.$at.plans());)+
                plans
            }
            fn hand_out(next: &mut dyn FnMut() -> Box<dyn Any + Send>) -> Self::Handles {
                ($($set::hand_out(next),)+)
            }
        }
    };
}
store_tuple!(A 0);
store_tuple!(A 0, B 1);
store_tuple!(A 0, B 1, C 2);
store_tuple!(A 0, B 1, C 2, D 3);
