//! What transactions mean for the readers of one partition: what is undecided, what does not count, and which offsets are no records.

use std::collections::{BTreeMap, VecDeque};

use crate::kafka::Isolation;

/// Stands for one transaction. Never 0, and never given out again.
pub(super) type WriterNumber = u64;

/// The transactions of one partition. Empty in one that has never seen any.
#[derive(Debug, Default)]
pub(super) struct Verdicts {
    /// Undecided ones, and decided ones whose marker has yet to come.
    open: BTreeMap<WriterNumber, Vec<Span>>,
    /// What was aborted, oldest first and apart.
    aborted: BTreeMap<i64, i64>,
    /// Offsets of markers, oldest first.
    markers: VecDeque<i64>,
}

/// Offsets from the first up to, but not including, the second.
pub(super) type Span = (i64, i64);

impl Verdicts {
    /// Notes what a transaction wrote.
    pub(super) fn wrote(&mut self, writer: WriterNumber, span: Span) {
        let spans = self.open.entry(writer).or_default();
        match spans.last_mut() {
            Some(last) if last.1 == span.0 => last.1 = span.1,
            _ => spans.push(span),
        }
    }

    /// Notes the marker that ends a transaction.
    pub(super) fn end(&mut self, writer: WriterNumber, marker: i64, committed: bool) {
        let spans = self.open.remove(&writer).unwrap_or_default();
        if !committed {
            self.aborted.extend(spans);
        }
        self.markers.push_back(marker);
    }

    /// Where the first undecided record is, if there is one.
    pub(super) fn first_open(&self) -> Option<i64> {
        self.open.values().filter_map(|spans| spans.first()).map(|span| span.0).min()
    }

    /// Transactions whose marker has yet to come.
    pub(super) fn undecided(&self) -> impl Iterator<Item = WriterNumber> {
        self.open.keys().copied()
    }

    /// From where on files are needed if records are from `begin` on: what is open is found there.
    pub(super) fn needed_from(&self, begin: i64) -> i64 {
        self.first_open().map_or(begin, |first| first.min(begin))
    }

    /// Collects what a reader does not see between two offsets, in order.
    pub(super) fn unseen(&self, (from, to): Span, isolation: Isolation, into: &mut Vec<Span>) {
        let first = self.markers.partition_point(|marker| *marker < from);
        into.extend(self.markers.range(first..).take_while(|marker| **marker < to).map(|marker| (*marker, marker + 1)));
        if isolation == Isolation::ReadCommitted && !self.aborted.is_empty() {
            let before = self.aborted.range(..from).next_back().filter(|(_, end)| **end > from);
            into.extend(before.into_iter().chain(self.aborted.range(from..to)).map(|(start, end)| (*start, *end)));
            into.sort_unstable();
        }
    }

    /// Forgets what lies between two offsets, where nothing is left of it.
    pub(super) fn forget_between(&mut self, (from, to): Span) {
        self.markers.retain(|marker| !(from..to).contains(marker));
        self.aborted.retain(|start, end| *start < from || *end > to);
    }

    /// Forgets what lies before an offset. What is open stays so: its marker has yet to come.
    pub(super) fn forget_before(&mut self, begin: i64) {
        let gone = self.markers.partition_point(|marker| *marker < begin);
        self.markers.drain(..gone);
        while self.aborted.first_key_value().is_some_and(|(_, end)| *end <= begin) {
            self.aborted.pop_first();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unseen_are_markers_and_for_readers_of_committed_records_what_was_aborted() {
        let mut verdicts = Verdicts::default();
        verdicts.wrote(1, (0, 3));
        verdicts.wrote(2, (3, 5));
        verdicts.wrote(1, (5, 6));
        verdicts.wrote(1, (6, 8));
        assert_eq!(verdicts.first_open(), Some(0));
        verdicts.end(1, 8, false);
        assert_eq!(verdicts.first_open(), Some(3));
        verdicts.end(2, 9, true);
        let unseen = |span, isolation| {
            let mut found = Vec::new();
            verdicts.unseen(span, isolation, &mut found);
            found
        };
        assert_eq!(unseen((0, 10), Isolation::ReadUncommitted), [(8, 9), (9, 10)]);
        assert_eq!(unseen((0, 10), Isolation::ReadCommitted), [(0, 3), (5, 8), (8, 9), (9, 10)]);
        assert_eq!(unseen((2, 6), Isolation::ReadCommitted), [(0, 3), (5, 8)], "also what began before");
        assert_eq!(unseen((3, 5), Isolation::ReadCommitted), []);
        assert_eq!(verdicts.first_open(), None);
        verdicts.forget_before(9);
        assert_eq!((verdicts.markers.len(), verdicts.aborted.len()), (1, 0));
    }
}
