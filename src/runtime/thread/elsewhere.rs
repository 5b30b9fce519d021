//! The declared end, where other instances of the application run some of the tasks: what they committed says how far they are.

use crate::error::Error;
use crate::kafka::{Isolation, LogError};
use crate::record::{TaskId, Timestamp, TopicPartition, millis};
use crate::runtime::board::Ends;
use crate::runtime::thread::StreamThread;
use crate::watermark::{CommitMetadata, entry};
use std::time::Duration;

/// The shortest time between two looks.
const EVERY: Duration = Duration::from_millis(500);

impl StreamThread {
    /// Notes which tasks of other instances have committed everything up to the declared end.
    pub(super) fn look_elsewhere(&mut self, now: Timestamp) -> Result<(), Error> {
        let Some(ends) = self.board.ends() else { return Ok(()) };
        if now.as_millis().saturating_sub(self.looked_at.as_millis()) < millis(EVERY) {
            return Ok(());
        }
        self.looked_at = now;
        // In the order of their ids: mostly, who writes a repartition topic comes before who reads it.
        for task in self.board.elsewhere() {
            if self.board.upstream_finished(task) && self.has_committed_all(task, &ends)? {
                self.board.finished_elsewhere(task);
            }
        }
        Ok(())
    }

    fn has_committed_all(&mut self, task: TaskId, ends: &Ends) -> Result<bool, Error> {
        let layout = self.board.layout();
        let Some(inputs) = layout.inputs(task) else { return Ok(false) };
        let bounded = layout.parts.get(&task.subtopology).is_some_and(|part| part.bounded);
        let partitions: Vec<TopicPartition> = inputs.partitions.clone();
        let now = self.member.end_offsets(&partitions, Isolation::ReadCommitted)?;
        let committed = match self.member.committed(&partitions) {
            // A transaction is under way there, or this member is only joining: the next look will tell.
            Err(LogError::PositionUndecided { .. }) => return Ok(false),
            committed => committed?,
        };
        let all = partitions.iter().zip(now).zip(committed).all(|((partition, now), committed)| {
            let end = ends.get(partition).copied().unwrap_or(now);
            let reached = committed.as_ref().is_some_and(|position| position.offset >= end);
            // What the final watermark closes is committed together with it.
            let watermark = || CommitMetadata::decode(&committed?.metadata).ok()?.time(entry::WATERMARK);
            reached && (!bounded || watermark() == Some(Timestamp::MAX))
        });
        Ok(all)
    }
}
