//! Keys of windows and sessions: as Kafka Streams writes them to changelogs (K3.11), and as rows lie in table and backend.
//!
//! Rows begin with eight bytes of segment number (persistent layout) or time (memory), so that old ones go by range and
//! iterate in Kafka Streams' order. A store that is asked for rows by time keeps a second, empty row per row, time first.

/// A window: key, start, sequence number (0 unless duplicates are kept).
pub(crate) fn window_key(key: &[u8], start: i64, seq: u32, out: &mut Vec<u8>) {
    out.extend_from_slice(key);
    out.extend_from_slice(&start.to_be_bytes());
    out.extend_from_slice(&seq.to_be_bytes());
}

/// Key, start and sequence number of a window's store key.
pub(crate) fn split_window_key(bytes: &[u8]) -> Option<(&[u8], i64, u32)> {
    let (rest, seq) = bytes.split_last_chunk::<4>()?;
    let (key, start) = rest.split_last_chunk::<8>()?;
    Some((key, i64::from_be_bytes(*start), u32::from_be_bytes(*seq)))
}

/// A session: key, end, start.
pub(crate) fn session_key(key: &[u8], start: i64, end: i64, out: &mut Vec<u8>) {
    out.extend_from_slice(key);
    out.extend_from_slice(&end.to_be_bytes());
    out.extend_from_slice(&start.to_be_bytes());
}

/// Key, start and end of a session's store key.
pub(crate) fn split_session_key(bytes: &[u8]) -> Option<(&[u8], i64, i64)> {
    let (rest, start) = bytes.split_last_chunk::<8>()?;
    let (key, end) = rest.split_last_chunk::<8>()?;
    Some((key, i64::from_be_bytes(*start), i64::from_be_bytes(*end)))
}

/// How rows of a windowed store lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RowLayout {
    /// Segment number, then the store key.
    Segmented {
        /// Length of a segment in ms.
        interval: i64,
    },
    /// Segment number, a tag, then the store key or its time-first twin.
    Indexed {
        /// Length of a segment in ms.
        interval: i64,
    },
    /// Time (start of a window, end of a session), key, and the rest of the store key.
    TimeFirst,
}

const INDEX_TAG: u8 = 0;
const ROW_TAG: u8 = 1;

impl RowLayout {
    /// The segment that a time falls into; none where rows lie by time alone.
    pub(crate) fn segment(self, time: i64) -> Option<i64> {
        match self {
            RowLayout::Segmented { interval } | RowLayout::Indexed { interval } => Some(time / interval),
            RowLayout::TimeFirst => None,
        }
    }
    /// What rows of that segment begin with.
    pub(crate) fn open_segment(self, segment: i64, out: &mut Vec<u8>) {
        out.extend_from_slice(&segment.to_be_bytes());
        if let RowLayout::Indexed { .. } = self {
            out.push(ROW_TAG);
        }
    }
    /// The first instant of a segment.
    pub(crate) fn first_of(self, segment: i64) -> i64 {
        match self {
            RowLayout::Segmented { interval } | RowLayout::Indexed { interval } => segment.saturating_mul(interval),
            RowLayout::TimeFirst => 0,
        }
    }
    /// The last instant of a segment.
    pub(crate) fn last_of(self, segment: i64) -> i64 {
        match self {
            RowLayout::Segmented { interval } | RowLayout::Indexed { interval } => (segment + 1).saturating_mul(interval) - 1,
            RowLayout::TimeFirst => i64::MAX,
        }
    }
    /// What index rows of that segment begin with.
    fn open_index(segment: i64, out: &mut Vec<u8>) {
        out.extend_from_slice(&segment.to_be_bytes());
        out.push(INDEX_TAG);
    }
    /// What the index rows of a time begin with.
    pub(crate) fn index_prefix(segment: i64, time: i64) -> Vec<u8> {
        let mut index = Vec::with_capacity(64);
        Self::open_index(segment, &mut index);
        index.extend_from_slice(&time.to_be_bytes());
        index
    }
    /// The store key inside a row key; none for index rows and rows that lie by time.
    pub(crate) fn store_key(self, row: &[u8]) -> Option<&[u8]> {
        match self {
            RowLayout::Segmented { .. } => row.get(8..),
            RowLayout::Indexed { .. } => (*row.get(8)? == ROW_TAG).then(|| &row[9..]),
            RowLayout::TimeFirst => None,
        }
    }
    /// How much longer Kafka Streams' cache key is: it puts a segment number before every store key.
    pub(crate) fn cache_key_extra(self, row_is_shorter_by: usize) -> usize {
        if self == RowLayout::TimeFirst { row_is_shorter_by } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn layouts_are_those_of_kafka_streams() {
        let mut out = Vec::new();
        window_key(b"a", 5, 1, &mut out);
        assert_eq!(out, b"a\0\0\0\0\0\0\0\x05\0\0\0\x01");
        out.clear();
        session_key(b"a", 1, 2, &mut out);
        assert_eq!(out, b"a\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0\x01");
    }

    proptest! {
        #[test]
        fn keys_read_back(key in proptest::collection::vec(any::<u8>(), 0..9), a in 0..i64::MAX, b in 0..i64::MAX, seq in any::<u32>()) {
            let mut out = Vec::new();
            window_key(&key, a, seq, &mut out);
            prop_assert_eq!(split_window_key(&out), Some((key.as_slice(), a, seq)));
            out.clear();
            session_key(&key, a, b, &mut out);
            prop_assert_eq!(split_session_key(&out), Some((key.as_slice(), a, b)));
        }

        #[test]
        fn windows_of_one_key_lie_by_start(key in proptest::collection::vec(any::<u8>(), 0..9), a in 0..i64::MAX, b in 0..i64::MAX) {
            let (mut one, mut two) = (Vec::new(), Vec::new());
            window_key(&key, a, 0, &mut one);
            window_key(&key, b, 0, &mut two);
            prop_assert_eq!(one.cmp(&two), a.cmp(&b));
        }

        #[test]
        fn truncated_keys_have_no_parts(bytes in proptest::collection::vec(any::<u8>(), 0..20)) {
            prop_assert_eq!(split_window_key(&bytes).is_some(), bytes.len() >= 12);
            prop_assert_eq!(split_session_key(&bytes).is_some(), bytes.len() >= 16);
        }
    }
}
