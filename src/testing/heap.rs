//! The order in which a test driver takes from its queues: a binary heap over the times of their heads.
//!
//! It behaves as Kafka Streams' own heap where heads have equal times, so that a test sees records in the same order there
//! and here: a queue that gets its first record goes to the end and rises while strictly smaller than its parent; after a
//! record was taken the last queue sinks from the root, preferring the left child among equals.

use crate::record::Timestamp;

/// Indexes of queues, by the times of their heads.
#[derive(Debug, Default)]
pub(crate) struct QueueHeap(Vec<(Timestamp, usize)>);

impl QueueHeap {
    pub(crate) fn push(&mut self, head: Timestamp, queue: usize) {
        self.0.push((head, queue));
        let mut at = self.0.len() - 1;
        while at > 0 && self.0[at].0 < self.0[(at - 1) / 2].0 {
            self.0.swap(at, (at - 1) / 2);
            at = (at - 1) / 2;
        }
    }

    pub(crate) fn pop(&mut self) -> Option<usize> {
        let last = self.0.len().checked_sub(1)?;
        self.0.swap(0, last);
        let (_, queue) = self.0.pop()?;
        let mut at = 0;
        loop {
            let (left, right) = (2 * at + 1, 2 * at + 2);
            let Some(mut child) = (left < self.0.len()).then_some(left) else { break };
            if right < self.0.len() && self.0[right].0 < self.0[left].0 {
                child = right;
            }
            if self.0[child].0 >= self.0[at].0 {
                break;
            }
            self.0.swap(child, at);
            at = child;
        }
        Some(queue)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_head_goes_first_and_equal_heads_as_in_a_java_priority_queue() {
        let mut heap = QueueHeap::default();
        for (time, queue) in [(5, 0), (5, 1), (3, 2), (5, 3)] {
            heap.push(Timestamp::from_millis(time), queue);
        }
        let order: Vec<usize> = std::iter::from_fn(|| heap.pop()).collect();
        assert_eq!(order, [2, 3, 0, 1]);
    }
}
