//! Key and value of a row in one short piece of memory, if they fit: most do, and a look-up follows no pointer to them.

/// Key and value of a row: in place if they are few bytes.
#[derive(Debug)]
pub(super) enum Content {
    /// Both in place, one behind the other, with their lengths; [`NO_VALUE`] for none.
    Here { key: u8, value: u8, bytes: [u8; HERE] },
    /// The key in place: most look-ups need no more.
    KeyHere { key: u8, bytes: [u8; KEY_HERE], value: Box<[u8]> },
    /// None in place.
    Elsewhere { key: Box<[u8]>, value: Option<Box<[u8]>> },
}

/// So many bytes fit into a row.
const HERE: usize = 45;
/// So many of a key whose value does not.
const KEY_HERE: usize = 30;
const NO_VALUE: u8 = u8::MAX;

/// What the allocator adds to bytes elsewhere.
pub(super) const ALLOCATED: usize = 16;

impl Default for Content {
    fn default() -> Self {
        Content::Here { key: 0, value: NO_VALUE, bytes: [0; HERE] }
    }
}

/// A length that is known to be a small one.
fn small(length: usize) -> u8 {
    u8::try_from(length).expect("what fits into a row is short")
}

impl Content {
    pub(super) fn new(key: &[u8], value: Option<&[u8]>) -> Self {
        match value {
            _ if key.len() + value.map_or(0, <[u8]>::len) <= HERE => {
                let mut bytes = [0; HERE];
                bytes[..key.len()].copy_from_slice(key);
                if let Some(value) = value {
                    bytes[key.len()..key.len() + value.len()].copy_from_slice(value);
                }
                Content::Here { key: small(key.len()), value: value.map_or(NO_VALUE, |value| small(value.len())), bytes }
            }
            Some(value) if key.len() <= KEY_HERE => {
                let mut bytes = [0; KEY_HERE];
                bytes[..key.len()].copy_from_slice(key);
                Content::KeyHere { key: small(key.len()), bytes, value: value.into() }
            }
            value => Content::Elsewhere { key: key.into(), value: value.map(Box::from) },
        }
    }

    pub(super) fn key(&self) -> &[u8] {
        match self {
            Content::Here { key, bytes, .. } => &bytes[..usize::from(*key)],
            Content::KeyHere { key, bytes, .. } => &bytes[..usize::from(*key)],
            Content::Elsewhere { key, .. } => key,
        }
    }

    pub(super) fn value(&self) -> Option<&[u8]> {
        match self {
            Content::Here { value: NO_VALUE, .. } => None,
            Content::Here { key, value, bytes } => Some(&bytes[usize::from(*key)..][..usize::from(*value)]),
            Content::KeyHere { value, .. } => Some(value),
            Content::Elsewhere { value, .. } => value.as_deref(),
        }
    }

    pub(super) fn set_value(&mut self, new: Option<&[u8]>) {
        match (&mut *self, new) {
            (Content::Here { key, value, bytes }, Some(new)) if usize::from(*key) + new.len() <= HERE => {
                bytes[usize::from(*key)..][..new.len()].copy_from_slice(new);
                *value = small(new.len());
            }
            (Content::KeyHere { value, .. } | Content::Elsewhere { value: Some(value), .. }, Some(new)) if value.len() == new.len() => {
                value.copy_from_slice(new);
            }
            _ => *self = Content::new(self.key(), new),
        }
    }

    pub(super) fn cost(&self) -> usize {
        let elsewhere = |bytes: &[u8]| bytes.len() + ALLOCATED;
        match self {
            Content::Here { .. } => 0,
            Content::KeyHere { value, .. } => elsewhere(value),
            Content::Elsewhere { key, value } => elsewhere(key) + value.as_deref().map_or(0, elsewhere),
        }
    }
}

/// Whether two pieces of bytes are the same. Keys are short: they are compared faster than a function is called.
pub(super) fn same(a: &[u8], b: &[u8]) -> bool {
    let word = |bytes: &[u8], at: usize| u64::from_ne_bytes(*bytes[at..].first_chunk::<8>().expect("eight bytes are left"));
    match a.len() {
        length if length != b.len() => false,
        length @ 8..=HERE => word(a, length - 8) == word(b, length - 8) && (0..length / 8).all(|nth| word(a, nth * 8) == word(b, nth * 8)),
        _ => a == b,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_the_same_if_every_one_is() {
        for length in 0..60 {
            let bytes: Vec<u8> = (0..length).collect();
            assert!(same(&bytes, &bytes.clone()));
            assert!(!same(&bytes, &[bytes.as_slice(), &[0]].concat()));
            for at in 0..bytes.len() {
                let mut other = bytes.clone();
                other[at] ^= 1;
                assert!(!same(&bytes, &other), "{length} bytes, differing at {at}");
            }
        }
    }

    #[test]
    fn a_value_of_any_length_follows_one_of_any_other() {
        let lengths = [None, Some(0), Some(1), Some(15), Some(16), Some(45), Some(46), Some(200)];
        for key in [0, 1, 29, 30, 31, 45, 46, 300].map(|length| vec![1_u8; length]) {
            for (before, after) in lengths.iter().flat_map(|before| lengths.iter().map(move |after| (before, after))) {
                let bytes = |length: &Option<usize>, with: u8| length.map(|length| vec![with; length]);
                let (before, after) = (bytes(before, 2), bytes(after, 3));
                let mut content = Content::new(&key, before.as_deref());
                assert_eq!((content.key(), content.value()), (key.as_slice(), before.as_deref()));
                content.set_value(after.as_deref());
                assert_eq!((content.key(), content.value()), (key.as_slice(), after.as_deref()));
            }
        }
    }
}
