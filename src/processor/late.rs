//! Records that came after their windows closed: one per input record to the late topic, with the windows it missed (D20).

use crate::error::Flow;
use crate::processor::{Next, NodeInfo, TaskContext};
use crate::record::{Data, Meta, Timestamp};
use crate::window::TimeWindow;

/// Where late records go; nowhere unless the author names a topic.
pub(crate) struct Late<K, V>(pub(crate) Option<Next<K, V>>);

/// What a record missed.
pub(crate) struct Missed<'a> {
    pub(crate) windows: &'a [TimeWindow],
    /// The clock it was judged by.
    pub(crate) clock: Option<Timestamp>,
    /// It entered another window.
    pub(crate) partial: bool,
}

impl<K: Data, V: Data> Late<K, V> {
    pub(crate) fn send(&mut self, key: &K, value: &V, meta: &Meta, missed: &Missed<'_>, node: &NodeInfo, cx: &mut TaskContext) -> Flow {
        let clock = missed.clock.unwrap_or(meta.timestamp);
        tracing::debug!(node = %node.name, offset = cx.origin.offset, timestamp = %meta.timestamp, watermark = %clock, "late record");
        let Some(topic) = &mut self.0 else { return Ok(()) };
        let windows: Vec<String> = missed.windows.iter().map(|window| format!("{}/{}", window.start, window.end)).collect();
        let mut meta = meta.clone();
        meta.headers.add("__hw.late.windows", windows.join(","));
        meta.headers.add("__hw.late.watermark", clock.to_string());
        meta.headers.add("__hw.late.lateness", clock.as_millis().saturating_sub(meta.timestamp.as_millis()).to_string());
        meta.headers.add("__hw.late.partial", missed.partial.to_string());
        topic.receive(key.clone(), value.clone(), &meta, cx)
    }
}
