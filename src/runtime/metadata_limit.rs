//! Whether what has to be committed beside an offset fits: brokers refuse more than `offset.metadata.max.bytes`.

use crate::error::{Error, ErrorKind, Place};
use crate::processor::kept;
use crate::runtime::assignment::Layout;
use crate::topology::Topology;
use crate::topology::draft::WindowKind;
use crate::topology::node::{NodeKind, Subtopology};
use crate::watermark::{CommitMetadata, Upstreams, entry};

/// Refuses a topology whose clocks cannot be committed, before anything runs: found out at a commit it would be too late.
pub(crate) fn check(topology: &Topology, layout: &Layout, limit: usize) -> Result<(), Error> {
    topology.plan().subtopologies.iter().try_for_each(|part| {
        let upstream = upstream_tasks(topology, part, layout);
        let bytes = CommitMetadata::length_of(names(topology, part, upstream));
        if bytes <= limit { Ok(()) } else { Err(too_long(part, bytes, limit, upstream)) }
    })
}

/// Every entry that an offset of this part can have; of a repartition topic, which has most.
fn names(topology: &Topology, part: &Subtopology, upstream: usize) -> Vec<String> {
    let plan = topology.plan();
    let mut names = vec![entry::TOPIC.to_owned()];
    names.extend(part.stores.iter().map(|store| entry::changelog(store)));
    if part.bounded {
        names.extend([entry::CLOCK, entry::WATERMARK, entry::SENT_IDLE].map(str::to_owned));
        names.extend(Upstreams::names_for(upstream));
    }
    for &node in part.stores.iter().filter_map(|store| plan.stores.get(store)).flat_map(|store| &store.users) {
        let Some(windows) = plan.calls[plan.nodes[node].call].windows else { continue };
        let kept = if windows.kind == WindowKind::Sliding { &kept::ALL[..] } else { &[kept::CLOSED] };
        names.extend(kept.iter().map(|what| entry::of_node(what, &plan.nodes[node].name)));
    }
    names
}

/// How many tasks at most announce themselves in a repartition topic that this part reads.
fn upstream_tasks(topology: &Topology, part: &Subtopology, layout: &Layout) -> usize {
    let reads = |node: &usize| matches!(&topology.plan().nodes[*node].kind, NodeKind::Source { internal: true, .. });
    if !part.bounded || !part.nodes.iter().any(reads) {
        return 0;
    }
    let number = u32::try_from(part.number).unwrap_or(u32::MAX);
    let writers = layout.parts.get(&number).into_iter().flat_map(|shared| &shared.upstream);
    let tasks = writers.filter_map(|writer| layout.parts.get(writer)).map(|writer| writer.tasks).max();
    tasks.and_then(|tasks| usize::try_from(tasks).ok()).unwrap_or(0)
}

fn too_long(part: &Subtopology, bytes: usize, limit: usize, upstream: usize) -> Error {
    let text = format!(
        "the clocks of sub-topology {} need up to {bytes} bytes beside each committed offset, and {limit} are allowed: raise the broker's \
         `offset.metadata.max.bytes` and with it `Settings::offset_metadata_bytes`, or re-key from fewer than its {upstream} upstream tasks, \
         or give its windowed operators shorter names",
        part.number
    );
    Error::new(ErrorKind::InvalidConfig, Place::default(), text.into())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use super::*;
    use crate::dsl::{Consumed, StreamsBuilder, Topic};
    use crate::window::{SlidingWindows, Watermark};

    fn layout_of(topology: &Topology, partitions: i32) -> Layout {
        let counts = BTreeMap::from([("in".to_owned(), partitions)]);
        Layout::new(&topology.subtopologies("app"), counts).unwrap()
    }

    #[test]
    fn fifty_upstream_tasks_fit_and_too_many_are_refused_with_a_way_out() {
        let builder = StreamsBuilder::new();
        let topic: Topic<String, String> = Topic::new("in");
        let source = builder.stream(Consumed::with(topic).watermark(Watermark::bounded(Duration::from_secs(1))));
        source.group_by(|_, value| value.clone()).windowed_by(SlidingWindows::of(Duration::from_secs(1))).count("per-second");
        let topology = builder.build().unwrap();
        check(&topology, &layout_of(&topology, 50), 4096).unwrap();
        check(&topology, &layout_of(&topology, 110), 4096).unwrap();
        let refused = check(&topology, &layout_of(&topology, 200), 4096).unwrap_err().to_string();
        assert!(refused.contains("Settings::offset_metadata_bytes") && refused.contains("200 upstream"), "{refused}");
        check(&topology, &layout_of(&topology, 200), 8192).unwrap();
    }
}
