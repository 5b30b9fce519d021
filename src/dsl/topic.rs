//! Topics, named and typed once.

use std::borrow::Cow;
use std::sync::Arc;

use crate::serdes::{DefaultSerde, Serde, SharedSerde, shared_default};

/// Names and types a topic, once, as a constant that sources, sinks and tests share.
///
/// ```
/// use highwater::Topic;
///
/// const LINES: Topic<String, String> = Topic::new("lines");
/// assert_eq!(LINES.name(), "lines");
/// ```
pub struct Topic<K, V> {
    name: Cow<'static, str>,
    serdes: Serdes<K, V>,
}

enum Serdes<K, V> {
    Default(fn() -> (SharedSerde<K>, SharedSerde<V>)),
    Given(SharedSerde<K>, SharedSerde<V>),
}

fn defaults<K: DefaultSerde, V: DefaultSerde>() -> (SharedSerde<K>, SharedSerde<V>) {
    (shared_default(), shared_default())
}

impl<K: DefaultSerde, V: DefaultSerde> Topic<K, V> {
    /// A topic with the default serdes of its types.
    pub const fn new(name: &'static str) -> Self {
        Topic { name: Cow::Borrowed(name), serdes: Serdes::Default(defaults::<K, V>) }
    }
    /// The same with a name known at run time.
    pub fn named(name: impl Into<Cow<'static, str>>) -> Self {
        Topic { name: name.into(), serdes: Serdes::Default(defaults::<K, V>) }
    }
}

impl<K, V> Topic<K, V> {
    /// A topic with codecs of its own: `Topic::with("orders-v1", Utf8, Json)`.
    pub fn with(name: impl Into<Cow<'static, str>>, key: impl Serde<K>, value: impl Serde<V>) -> Self {
        Topic { name: name.into(), serdes: Serdes::Given(Arc::new(key), Arc::new(value)) }
    }
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }
    pub(crate) fn serdes(&self) -> (SharedSerde<K>, SharedSerde<V>) {
        match &self.serdes {
            Serdes::Default(make) => make(),
            Serdes::Given(key, value) => (key.clone(), value.clone()),
        }
    }
}

impl<K, V> Clone for Topic<K, V> {
    fn clone(&self) -> Self {
        let (key, value) = self.serdes();
        Topic { name: self.name.clone(), serdes: Serdes::Given(key, value) }
    }
}
