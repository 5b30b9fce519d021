//! Looking up where inputs go on.

use super::errand::{Errand, Step, Tools};
use crate::error::{Error, ErrorKind, Place};
use crate::kafka::{Group, Isolation, Position};
use crate::record::TopicPartition;
use crate::topology::OffsetReset;

/// Where an input goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Start {
    /// What was committed, if anything was.
    pub(crate) committed: Option<Position>,
    /// The next record.
    pub(crate) offset: i64,
}

/// Where inputs go on, in their order.
pub(super) struct LookUp(Vec<(TopicPartition, OffsetReset)>);

impl LookUp {
    pub(super) fn new(inputs: Vec<(TopicPartition, OffsetReset)>) -> Self {
        LookUp(inputs)
    }
}

impl Errand for LookUp {
    type Found = Vec<Start>;

    fn step(&mut self, tools: &mut Tools<'_>) -> Result<Step<Vec<Start>>, Error> {
        let partitions: Vec<TopicPartition> = self.0.iter().map(|(partition, _)| partition.clone()).collect();
        let committed = tools.client.committed(&partitions)?;
        let start = |(committed, (partition, reset)): (Option<Position>, &(TopicPartition, OffsetReset))| {
            let offset = match &committed {
                Some(position) => position.offset,
                None => begin(*reset, partition, tools.client)?,
            };
            Ok(Start { committed, offset })
        };
        let starts: Result<Vec<Start>, Error> = committed.into_iter().zip(&self.0).map(start).collect();
        starts.map(Step::Done)
    }

    fn leave(&mut self, _client: &mut dyn Group) {}
}

/// Where a partition begins that was never committed.
fn begin(reset: OffsetReset, partition: &TopicPartition, client: &mut dyn Group) -> Result<i64, Error> {
    let of = std::slice::from_ref(partition);
    let offsets = match reset {
        OffsetReset::Earliest => client.begin_offsets(of)?,
        OffsetReset::Latest => client.end_offsets(of, Isolation::ReadCommitted)?,
        OffsetReset::None => {
            let text = format!(
                "`{partition}` has no committed offset and its source says `OffsetReset::None`: commit one, or choose where to begin"
            );
            let place = Place { topic: Some(partition.topic.to_string()), partition: Some(partition.partition), ..Place::default() };
            return Err(Error::new(ErrorKind::InvalidConfig, place, text.into()));
        }
    };
    Ok(offsets.first().copied().unwrap_or(0))
}
