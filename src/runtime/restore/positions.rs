//! Looking up where inputs go on.

use super::errand::{Errand, Step, Tools};
use crate::config::MissingPosition;
use crate::error::{Error, ErrorKind, Place};
use crate::kafka::{Group, Isolation, Position};
use crate::record::TopicPartition;
use crate::runtime::identity::input_remade;
use crate::topology::OffsetReset;
use crate::watermark::{CommitMetadata, entry};

/// Where an input goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Start {
    /// What was committed, if anything was.
    pub(crate) committed: Option<Position>,
    /// The next record.
    pub(crate) offset: i64,
    /// Records were deleted before they were read, so many of this input, and the task begins anew with those that are left.
    pub(crate) anew: Option<u64>,
}

/// An input whose position is asked for.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) partition: TopicPartition,
    /// Where it begins without a position.
    pub(crate) reset: OffsetReset,
    /// Which topic of its name it is, if that is known.
    pub(crate) id: Option<i64>,
    /// What follows if the position is of another one.
    pub(crate) otherwise: MissingPosition,
    /// Whether the task begins anew if records of it were deleted before they were read.
    pub(crate) begins_anew: bool,
}

/// Where inputs go on, in their order.
pub(super) struct LookUp(Vec<Wanted>);

impl LookUp {
    pub(super) fn new(inputs: Vec<Wanted>) -> Self {
        LookUp(inputs)
    }
}

impl Wanted {
    /// The position, if it is one of this topic.
    fn own(&self, committed: Option<Position>) -> Result<Option<Position>, Error> {
        let Some(position) = committed else { return Ok(None) };
        // What cannot be read is for the task to refuse.
        let of = CommitMetadata::decode(&position.metadata).ok().and_then(|metadata| metadata.entries.get(entry::TOPIC).copied());
        match (of, self.id, self.otherwise) {
            (Some(of), Some(id), MissingPosition::Fail) if of != id => Err(input_remade(&self.partition)),
            (Some(of), Some(id), MissingPosition::Reset) if of != id => {
                tracing::warn!(partition = %self.partition, "the topic was deleted and made again: it is read from where its source says");
                Ok(None)
            }
            _ => Ok(Some(position)),
        }
    }
}

impl Errand for LookUp {
    type Found = Vec<Start>;

    fn step(&mut self, tools: &mut Tools<'_>) -> Result<Step<Vec<Start>>, Error> {
        let partitions: Vec<TopicPartition> = self.0.iter().map(|wanted| wanted.partition.clone()).collect();
        let committed = tools.client.committed(&partitions)?;
        let start = |(committed, wanted): (Option<Position>, &Wanted)| {
            let committed = wanted.own(committed)?;
            let offset = match &committed {
                Some(position) => position.offset,
                None => begin(wanted.reset, &wanted.partition, tools.client)?,
            };
            Ok(Start { committed, offset, anew: None })
        };
        let starts: Result<Vec<Start>, Error> = committed.into_iter().zip(&self.0).map(start).collect();
        self.anew(starts?, &partitions, tools).map(Step::Done)
    }

    fn leave(&mut self, _client: &mut dyn Group) {}
}

impl LookUp {
    /// If records of an input were deleted before they were read, and the task begins anew then: where all of its inputs begin.
    fn anew(&self, starts: Vec<Start>, partitions: &[TopicPartition], tools: &mut Tools<'_>) -> Result<Vec<Start>, Error> {
        if !self.0.iter().any(|wanted| wanted.begins_anew) {
            return Ok(starts);
        }
        let begins = tools.client.begin_offsets(partitions)?;
        let missing =
            |(start, begin): (&Start, &i64)| start.committed.as_ref().map_or(0, |at| u64::try_from(begin - at.offset).unwrap_or(0));
        let missing: Vec<u64> = starts.iter().zip(&begins).map(missing).collect();
        if !missing.iter().zip(&self.0).any(|(missing, wanted)| *missing > 0 && wanted.begins_anew) {
            return Ok(starts);
        }
        let anew = |(missing, begin)| Start { committed: None, offset: begin, anew: Some(missing) };
        Ok(missing.into_iter().zip(begins).map(anew).collect())
    }
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
