//! Naming and typing a store: [`StoreRef`], [`Materialized`], and what may stand where an operator wants its state.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use crate::record::{Data, millis};
use crate::serdes::{Serde, SharedSerde};
use crate::state::open::{OpenFn, OpenStore, Opened};
use crate::state::spec::{Dedup, Layout, StoreKind, StoreSpec};
use crate::state::{KeyValueStore, WindowStore};

/// A kind of store: [`KeyValueStore`], [`WindowStore`], [`SessionStore`](crate::SessionStore) or
/// [`SuppressStore`](crate::SuppressStore). Sealed.
pub trait Store: Clone + Send + Sync + 'static + sealed::Sealed {
    /// The reading face that queries and tests get.
    type View: Clone + Send + 'static;
    #[doc(hidden)]
    type Serdes: Clone + Send + Sync + 'static;
    #[doc(hidden)]
    const KIND: Kind;
    #[doc(hidden)]
    fn open(serdes: &Self::Serdes, how: Opening<'_>) -> OpenedStore;
    #[doc(hidden)]
    fn view(&self) -> Self::View;
}

pub(crate) mod sealed {
    /// Keeps [`Store`](super::Store) to the library's own kinds.
    pub trait Sealed {}
}

/// The crate's own view of a store kind, wrapped because a public trait names it.
#[doc(hidden)]
pub struct Kind(pub(crate) StoreKind);
/// What a store opens with, wrapped likewise.
#[doc(hidden)]
pub struct Opening<'a>(pub(crate) OpenStore<'a>);
/// An open store, wrapped likewise.
#[doc(hidden)]
pub struct OpenedStore(pub(crate) Opened);

/// A store whose types all have a default serde. Implemented by the library.
pub trait DefaultStore: Store {
    #[doc(hidden)]
    fn default_serdes() -> Self::Serdes;
}

/// Names and types a store, once, as a constant that operators, processors, queries and tests share.
///
/// ```
/// use highwater::{KeyValueStore, StoreRef};
///
/// const COUNTS: StoreRef<KeyValueStore<String, i64>> = StoreRef::new("counts");
/// assert_eq!(COUNTS.name(), Some("counts"));
/// ```
pub struct StoreRef<S: Store> {
    name: Option<Cow<'static, str>>,
    serdes: SerdesFrom<S>,
}

enum SerdesFrom<S: Store> {
    Default(fn() -> S::Serdes),
    Given(S::Serdes),
}

impl<S: Store> Clone for StoreRef<S> {
    fn clone(&self) -> Self {
        let serdes = match &self.serdes {
            SerdesFrom::Default(make) => SerdesFrom::Default(*make),
            SerdesFrom::Given(serdes) => SerdesFrom::Given(serdes.clone()),
        };
        StoreRef { name: self.name.clone(), serdes }
    }
}

impl<S: DefaultStore> StoreRef<S> {
    /// A store with the default serdes of its types. The name is also that of its changelog topic.
    pub const fn new(name: &'static str) -> Self {
        StoreRef { name: Some(Cow::Borrowed(name)), serdes: SerdesFrom::Default(S::default_serdes) }
    }
    /// The same with a name known at run time, as a job file needs.
    pub fn named(name: impl Into<Cow<'static, str>>) -> Self {
        StoreRef { name: Some(name.into()), serdes: SerdesFrom::Default(S::default_serdes) }
    }
}

impl<S: Store> StoreRef<S> {
    /// The name; none if it will be generated.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }
    pub(crate) fn serdes(&self) -> S::Serdes {
        match &self.serdes {
            SerdesFrom::Default(make) => make(),
            SerdesFrom::Given(serdes) => serdes.clone(),
        }
    }
}

impl<S, K: 'static, V: 'static> StoreRef<S>
where
    S: Store<Serdes = (SharedSerde<K>, SharedSerde<V>)>,
{
    /// A store with codecs of its own.
    pub fn with(name: impl Into<Cow<'static, str>>, key: impl Serde<K>, value: impl Serde<V>) -> Self {
        let (key, value): (SharedSerde<K>, SharedSerde<V>) = (Arc::new(key), Arc::new(value));
        StoreRef { name: Some(name.into()), serdes: SerdesFrom::Given((key, value)) }
    }
    /// A store with codecs of its own and a generated name: it cannot be queried, and its name changes when an operator
    /// is inserted before it.
    pub fn unnamed(key: impl Serde<K>, value: impl Serde<V>) -> Self {
        let (key, value): (SharedSerde<K>, SharedSerde<V>) = (Arc::new(key), Arc::new(value));
        StoreRef { name: None, serdes: SerdesFrom::Given((key, value)) }
    }
}

/// Stands where a name stands and asks for a generated one, as Kafka Streams does without `Materialized.as`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unnamed;

/// How a store is kept: made from its [`StoreRef`], and a bare name or reference converts into it.
pub struct Materialized<S: Store> {
    store: StoreRef<S>,
    spec: StoreSpec,
    /// The author wrote `Materialized`, or a name; a bare reference without a name asks for nothing (it matters for names).
    explicit: bool,
}

impl<S: Store> Clone for Materialized<S> {
    fn clone(&self) -> Self {
        Materialized { store: self.store.clone(), spec: self.spec.clone(), explicit: self.explicit }
    }
}

impl<S: Store> Materialized<S> {
    /// The defaults: the application's store type, a compacted changelog, a record cache for operators of the DSL.
    pub fn with(store: StoreRef<S>) -> Self {
        Materialized { store, spec: StoreSpec::new(S::KIND.0), explicit: true }
    }
    /// Keep it in memory; the changelog still restores it.
    pub fn in_memory(mut self) -> Self {
        self.spec.layout = Some(Layout::InMemory);
        self
    }
    /// Keep it in a persistent backend, whatever the application's default is.
    pub fn persistent(mut self) -> Self {
        self.spec.layout = Some(Layout::Persistent);
        self
    }
    /// Emit downstream only the last change of a key between two commits. The default for stores of DSL operators.
    pub fn cached(mut self) -> Self {
        self.spec.caching = Some(true);
        self
    }
    /// Emit every change downstream.
    pub fn without_cache(mut self) -> Self {
        self.spec.caching = Some(false);
        self
    }
    /// No changelog: the content is lost with the task.
    pub fn without_changelog(mut self) -> Self {
        self.spec.logging = false;
        self
    }
    /// A setting of the changelog topic, over the library's own.
    pub fn changelog_config(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.spec.topic_config.insert(key.into(), value.into());
        self
    }
    /// Keep windows and sessions at least this long behind the newest time, for queries. Shorter than what the operator
    /// needs is a problem at `build`.
    pub fn retention(mut self, retention: Duration) -> Self {
        self.spec.retention_ms = Some(millis(retention));
        self
    }
    /// Rows without the event time of their last change, as Kafka Streams' plain stores; reads show -1.
    pub fn plain(mut self) -> Self {
        self.spec.stamped = false;
        self
    }
    /// A timestamped store over rows without times, as a plain supplier under a timestamped face: times read back as -1.
    pub fn plain_backend(mut self) -> Self {
        self.spec.plain_backend = true;
        self
    }
    /// Every write goes to the changelog, not only the last per key and commit.
    pub fn changelog_every_write(mut self) -> Self {
        self.spec.dedup = Some(Dedup::Off);
        self
    }
    fn implied(store: StoreRef<S>) -> Self {
        let explicit = store.name.is_some();
        Materialized { explicit, ..Materialized::with(store) }
    }
    pub(crate) fn is_explicit(&self) -> bool {
        self.explicit
    }
    pub(crate) fn store(&self) -> &StoreRef<S> {
        &self.store
    }
    pub(crate) fn spec(&self) -> &StoreSpec {
        &self.spec
    }
    /// Opens the store for a task.
    pub(crate) fn opener(&self) -> OpenFn {
        let serdes = self.store.serdes();
        Arc::new(move |how: OpenStore<'_>| S::open(&serdes, Opening(how)).0)
    }
}

impl<K: Data, V: Data> Materialized<KeyValueStore<K, V>> {
    /// At most this many rows, in memory; the least recently used one goes first.
    pub fn lru(mut self, max_rows: usize) -> Self {
        self.spec.layout = Some(Layout::Lru(max_rows));
        self
    }
}

impl<K: Data, V: Data> Materialized<WindowStore<K, V>> {
    /// Keep every put of equal key and window start, in the store and in the changelog.
    pub fn retain_duplicates(mut self) -> Self {
        if let StoreKind::Window { duplicates, .. } = &mut self.spec.kind {
            *duplicates = true;
        }
        self
    }
    /// How long a window is, for stores that no windowed operator owns.
    pub fn window_size(mut self, size: Duration) -> Self {
        if let StoreKind::Window { size_ms, .. } = &mut self.spec.kind {
            *size_ms = millis(size);
        }
        self
    }
}

/// What may stand where an operator wants its state: a name, [`Unnamed`], a [`StoreRef`], or a [`Materialized`].
#[diagnostic::on_unimplemented(
    message = "this operator keeps a `{S}`, which `{Self}` does not name",
    label = "names another store",
    note = "pass a name, a `StoreRef<{S}>`, or a `Materialized` made from one"
)]
pub trait Names<S: Store> {
    #[doc(hidden)]
    fn materialized(self) -> Materialized<S>;
}
impl<S: Store> Names<S> for Materialized<S> {
    fn materialized(self) -> Materialized<S> {
        self
    }
}
impl<S: Store> Names<S> for StoreRef<S> {
    fn materialized(self) -> Materialized<S> {
        Materialized::implied(self)
    }
}
impl<S: DefaultStore> Names<S> for &str {
    fn materialized(self) -> Materialized<S> {
        Materialized::with(StoreRef::named(self.to_owned()))
    }
}
impl<S: DefaultStore> Names<S> for String {
    fn materialized(self) -> Materialized<S> {
        Materialized::with(StoreRef::named(self))
    }
}
impl<S: DefaultStore> Names<S> for Unnamed {
    fn materialized(self) -> Materialized<S> {
        Materialized::implied(StoreRef { name: None, serdes: SerdesFrom::Default(S::default_serdes) })
    }
}
