//! One input of a running task: where it stands in the log, and records that wait to be compared with those of other inputs.

use crate::kafka::{Consumer, FetchLimit, Fetched, LogError, Position};
use crate::record::{RawRecord, Timestamp, TopicPartition};
use crate::runtime::arena::{Arena, View};
use crate::runtime::plan::Head;
use crate::watermark::Supply;

/// Records that one fetch may bring.
pub(super) const FETCH_RECORDS: usize = 1000;
const FETCH_BYTES: usize = 1 << 20;

/// One input.
#[derive(Debug)]
pub(super) struct Feed {
    pub(super) partition: TopicPartition,
    pub(super) internal: bool,
    /// Which topic of its name it is, if that is known.
    pub(super) id: Option<i64>,
    /// The next record to process: what is committed.
    position: i64,
    /// The next record to fetch.
    fetched: i64,
    /// The end that the last fetch saw.
    end: Option<i64>,
    /// The declared end.
    last: Option<i64>,
    /// Where a gate says that the task must stop.
    fence: Option<i64>,
    waiting: Arena,
    /// The next of `waiting`.
    next: usize,
    /// Time of the head, once it is decoded.
    pub(super) staged: Option<Timestamp>,
    /// What was last committed.
    pub(super) committed: Option<Position>,
    /// When that is written down again, moved or not.
    again_at: Timestamp,
    /// Whether the consumer was told to bring nothing of it.
    paused: bool,
    /// Whether to go on behind records that were deleted before they were read.
    passes_lost: bool,
    /// Offsets passed in that way.
    lost: u64,
}

impl Feed {
    pub(super) fn new(partition: TopicPartition, internal: bool, position: i64, committed: Option<Position>, now: Timestamp) -> Self {
        Feed {
            partition,
            internal,
            id: None,
            position,
            fetched: position,
            end: None,
            last: None,
            fence: None,
            waiting: Arena::default(),
            next: 0,
            staged: None,
            committed,
            // How old it is already nobody says, and its owners may change more often than they commit silent inputs again.
            again_at: now,
            paused: false,
            passes_lost: false,
            lost: 0,
        }
    }
    /// Says what follows when records are deleted before they were read, and how many were already.
    pub(super) fn passing_lost(mut self, passes: bool, lost: u64) -> Self {
        (self.passes_lost, self.lost) = (passes, lost);
        self
    }

    /// Offsets that it passed because their records were deleted.
    pub(super) fn lost(&self) -> u64 {
        self.lost
    }

    /// Says which topic of its name it is.
    pub(super) fn of_topic(mut self, id: Option<i64>) -> Self {
        self.id = id;
        self
    }

    /// Fetches as long as the visitor wants more, past records that the log no longer has if that is allowed.
    pub(super) fn fetch(
        &mut self,
        consumer: &mut dyn Consumer,
        limit: FetchLimit,
        visit: &mut dyn FnMut(RawRecord<'_>) -> bool,
    ) -> Result<Fetched, LogError> {
        self.pause(consumer, false)?;
        // Deleted since it was asked where the partition begins: nobody has counted on that.
        let untouched = self.committed.is_none() && self.end.is_none();
        match consumer.fetch_while(&self.partition, limit, visit) {
            Err(LogError::OffsetOutOfRange { offset, begin, .. }) if (self.passes_lost || untouched) && offset < begin => {
                let missing = if untouched { 0 } else { begin.abs_diff(offset) };
                tracing::warn!(partition = %self.partition, from = offset, to = begin, missing, "records were deleted before they were read: passed over");
                consumer.seek(&self.partition, begin)?;
                self.lost += missing;
                consumer.fetch_while(&self.partition, limit, visit)
            }
            fetched => fetched,
        }
    }
    /// Tells the consumer whether this partition is to end its polls.
    pub(super) fn pause(&mut self, consumer: &mut dyn Consumer, paused: bool) -> Result<(), LogError> {
        let of = std::slice::from_ref(&self.partition);
        match (self.paused, paused) {
            (false, true) => consumer.pause(of)?,
            (true, false) => consumer.resume(of)?,
            _ => {}
        }
        self.paused = paused;
        Ok(())
    }
    /// What a consumer fetches next.
    pub(super) fn fetched(&self) -> i64 {
        self.fetched
    }

    /// What one more fetch may bring, at most so many records; none once the declared end is reached.
    pub(super) fn limit(&self, most: usize) -> Option<FetchLimit> {
        let left = self.bound().map_or(i64::MAX, |bound| bound.saturating_sub(self.fetched));
        let records = usize::try_from(left).unwrap_or(0).min(most);
        (records > 0).then_some(FetchLimit { records, bytes: FETCH_BYTES })
    }
    /// The end of input is declared for this partition, or nobody writes into it any more.
    pub(super) fn end_at(&mut self, last: i64) {
        self.last = Some(last);
    }
    /// Nothing from there on may be taken; none takes that back.
    pub(super) fn fence_at(&mut self, fence: Option<i64>) {
        self.fence = fence;
    }
    fn bound(&self) -> Option<i64> {
        self.last.into_iter().chain(self.fence).min()
    }
    /// Whether there may be more in the log, and none of it may be taken.
    pub(super) fn is_barred(&self) -> bool {
        self.bound().is_some_and(|bound| self.fetched >= bound)
    }
    /// A fetch is over whose records were processed at once.
    pub(super) fn passed(&mut self, next_offset: i64, end: i64) {
        (self.position, self.fetched, self.end) = (next_offset, next_offset, Some(end));
    }
    /// Whether every record in hand is used up.
    pub(super) fn is_empty(&self) -> bool {
        self.next >= self.waiting.len()
    }
    /// Fetches into memory of its own, for a feed that has used up what it had.
    pub(super) fn refill(&mut self, consumer: &mut dyn Consumer, limit: FetchLimit) -> Result<(), LogError> {
        let mut waiting = std::mem::take(&mut self.waiting);
        waiting.clear();
        let fetched = self.fetch(consumer, limit, &mut |raw| {
            waiting.push_raw(&raw);
            true
        });
        (self.waiting, self.next) = (waiting, 0);
        let Fetched { next_offset, end } = fetched?;
        self.filled(next_offset, end);
        Ok(())
    }
    fn filled(&mut self, next_offset: i64, end: i64) {
        (self.fetched, self.end) = (next_offset, Some(end));
        self.settle();
    }
    /// The head, undecoded.
    pub(super) fn head(&self) -> Option<View<'_>> {
        self.waiting.get(self.next)
    }
    /// Whether nothing is in hand behind the head.
    pub(super) fn is_last(&self) -> bool {
        self.next + 1 >= self.waiting.len()
    }
    /// The head is done with.
    pub(super) fn pop(&mut self) {
        self.next += 1;
        self.staged = None;
        self.settle();
    }
    fn settle(&mut self) {
        self.position = self.waiting.get(self.next).map_or(self.fetched, |head| head.offset);
    }

    /// This is written down, and is to be again at the latest then.
    pub(super) fn is_committed(&mut self, position: Position, again_at: Timestamp) {
        (self.committed, self.again_at) = (Some(position), again_at);
    }
    /// Whether the broker might forget what is committed, unless it is committed again.
    pub(super) fn is_forgotten_soon(&self, now: Timestamp) -> bool {
        now >= self.again_at
    }

    pub(super) fn position(&self) -> i64 {
        self.position
    }
    pub(super) fn end(&self) -> Option<i64> {
        self.end
    }
    /// Whether there is nothing more in the log, or nothing more that counts.
    pub(super) fn at_end(&self) -> bool {
        self.is_barred() || self.end.is_some_and(|end| self.fetched >= end)
    }
    /// Whether everything up to the declared end was processed.
    pub(super) fn is_over(&self) -> bool {
        self.is_empty() && self.last.is_some_and(|last| self.fetched >= last)
    }
    /// What stands in front, for the choice among inputs.
    pub(super) fn front(&self) -> Head {
        match self.staged {
            Some(at) => Head::Record(at),
            None if self.is_over() => Head::Ended,
            None if self.at_end() => Head::CaughtUp,
            None => Head::Behind,
        }
    }
    /// What it has for the clock.
    pub(super) fn supply(&self) -> Supply {
        match () {
            () if !self.is_empty() => Supply::Ready,
            () if self.at_end() => Supply::Exhausted,
            () => Supply::Withheld,
        }
    }
}

impl<'a> View<'a> {
    /// As the log has it.
    pub(super) fn raw(self, partition: &'a TopicPartition) -> RawRecord<'a> {
        RawRecord {
            topic: &partition.topic,
            partition: partition.partition,
            offset: self.offset,
            key: self.key,
            value: self.value,
            timestamp: self.timestamp,
            headers: self.headers,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Headers;

    fn feed() -> Feed {
        let mut feed = Feed::new(TopicPartition::new("t", 0), false, 3, None, Timestamp::from_millis(0));
        let headers = Headers::default();
        for offset in [4, 7] {
            let record = View { key: None, value: None, offset, timestamp: Timestamp::from_millis(offset), headers: &headers };
            feed.waiting.push(record);
        }
        feed.filled(9, 9);
        feed
    }

    #[test]
    fn the_position_is_the_next_record_or_past_all_holes() {
        let mut feed = feed();
        assert_eq!((feed.position(), feed.supply(), feed.front()), (4, Supply::Ready, Head::CaughtUp));
        feed.pop();
        assert_eq!(feed.position(), 7);
        feed.pop();
        assert_eq!((feed.position(), feed.supply()), (9, Supply::Exhausted));
    }

    #[test]
    fn a_declared_end_limits_what_is_fetched() {
        let mut feed = feed();
        feed.pop();
        feed.pop();
        assert_eq!(feed.limit(FETCH_RECORDS).map(|limit| limit.records), Some(FETCH_RECORDS));
        feed.end_at(11);
        assert_eq!((feed.limit(FETCH_RECORDS).map(|limit| limit.records), feed.is_over()), (Some(2), false));
        feed.passed(11, 40);
        assert_eq!((feed.limit(FETCH_RECORDS), feed.is_over(), feed.at_end(), feed.front()), (None, true, true, Head::Ended));
    }
}
