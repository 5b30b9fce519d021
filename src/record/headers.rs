//! Record headers: an ordered multi-map with nullable values, as on Kafka's wire.

use std::sync::Arc;

/// Record headers in order; names may repeat, values may be null. Eight bytes and no allocation while empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers(Option<Arc<Vec<Header>>>);

/// A name and a nullable value.
type Header = (String, Option<Vec<u8>>);

impl Headers {
    /// Appends a header; earlier ones of the same name stay.
    pub fn add(&mut self, name: impl Into<String>, value: impl Into<Vec<u8>>) {
        self.list().push((name.into(), Some(value.into())));
    }
    /// Appends a header whose value is null.
    pub fn add_null(&mut self, name: impl Into<String>) {
        self.list().push((name.into(), None));
    }
    /// Removes every header of that name.
    pub fn remove(&mut self, name: &str) {
        if self.iter().any(|(n, _)| n == name) {
            self.list().retain(|(n, _)| n != name);
        }
    }
    /// The value of the last header of that name, as Kafka reads it; none if there is no such header or its value is null.
    pub fn last(&self, name: &str) -> Option<&[u8]> {
        self.iter().filter(|(n, _)| *n == name).last().and_then(|(_, value)| value)
    }
    /// All headers in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Option<&[u8]>)> {
        self.0.iter().flat_map(|list| list.iter()).map(|(n, v)| (n.as_str(), v.as_deref()))
    }
    /// How many headers there are.
    pub fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |list| list.len())
    }
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn list(&mut self) -> &mut Vec<Header> {
        Arc::make_mut(self.0.get_or_insert_with(Default::default))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_repeat_and_values_may_be_null() {
        let mut headers = Headers::default();
        headers.add("a", "1");
        headers.add_null("a");
        headers.add("b", "2");
        assert_eq!(headers.last("a"), None);
        let shared = headers.clone();
        headers.remove("a");
        assert_eq!((headers.len(), shared.len()), (1, 3), "a copy does not see later changes");
    }
}
