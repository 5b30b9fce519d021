//! What window and session stores share: rows that expire, below a record cache.

use crate::error::StoreError;
use crate::state::cache::Flushed;
use crate::state::control::Core;
use crate::state::open::{ChangelogRecord, ChangelogSink};
use crate::state::retention::Retention;
use crate::state::rows::{Below, Cached, Rows};

/// Rows that expire by time.
pub(crate) trait Expires: Below {
    fn parts(&self) -> (&Rows, &Retention);
    fn parts_mut(&mut self) -> (&mut Rows, &mut Retention);
    /// What the rows alone do not tell, for the next time that the store is opened.
    fn note(&self) -> Vec<u8>;
    /// Goes on from such a note; with none from nothing.
    fn recall(&mut self, note: Option<&[u8]>);
    /// Hands every changelog record since the last call to the sink.
    fn drain(&mut self, sink: &mut dyn ChangelogSink) -> Result<(), StoreError>;
    /// Puts changelog records into the backend; what has expired by them is left out.
    fn restore(&mut self, records: &[ChangelogRecord<'_>], next_offset: i64) -> Result<(), StoreError>;
}

/// A store of such rows over bytes.
pub(crate) struct Expiring<B> {
    pub(super) cached: Cached<B>,
    /// The row key being looked up, kept to save the allocation.
    pub(super) row: Vec<u8>,
}

impl<B: Expires> Expiring<B> {
    pub(super) fn over(cached: Cached<B>) -> Self {
        Expiring { cached, row: Vec::new() }
    }
    /// Whether a record cache holds back what is written.
    pub(crate) fn caching(&self) -> bool {
        self.cached.caching()
    }
    /// A node will call `flush` at commit and forward what it gives.
    pub(crate) fn listen(&mut self, sends_old: bool) {
        self.cached.listen(sends_old);
    }
    /// Writes the cache through. Keys are store keys: see `split_window_key` and `split_session_key`.
    pub(crate) fn flush(&mut self) -> Result<Vec<Flushed>, StoreError> {
        self.cached.flush()?;
        Ok(self.cached.take_pending())
    }
    /// Keeps for the node that listens what a write of somebody else evicted.
    pub(crate) fn keep_for_listener(&mut self, flushed: Vec<Flushed>) {
        self.cached.keep_pending(flushed);
    }
}

impl<B: Expires + Send> Core for Expiring<B> {
    fn drain_changelog(&mut self, sink: &mut dyn ChangelogSink) -> Result<(), StoreError> {
        self.cached.flush()?;
        self.cached.below.drain(sink)
    }
    fn uncommitted_bytes(&mut self) -> usize {
        self.cached.uncommitted_bytes()
    }
    fn apply(&mut self, offset: Option<i64>) -> Result<(), StoreError> {
        let note = self.cached.below.note();
        let (rows, retention) = self.cached.below.parts_mut();
        let bound = retention.drop_bound();
        rows.table.apply(offset, bound.as_ref().map(<[u8; 8]>::as_slice), Some(&note))?;
        retention.committed();
        Ok(())
    }
    fn abort(&mut self) {
        self.cached.abort();
        self.cached.below.parts_mut().1.abort();
    }
    fn offset(&self) -> Option<i64> {
        self.cached.below.parts().0.table.offset()
    }
    fn restore(&mut self, records: &[ChangelogRecord<'_>], next_offset: i64) -> Result<(), StoreError> {
        self.cached.forget_cached();
        self.cached.below.restore(records, next_offset)
    }
    fn loaded(&mut self) -> Result<(), StoreError> {
        self.cached.below.parts_mut().0.table.loaded()
    }
    fn wipe(&mut self) -> Result<(), StoreError> {
        self.cached.wipe()?;
        self.cached.below.recall(None);
        Ok(())
    }
    fn approximate_rows(&self) -> usize {
        self.cached.below.parts().0.table.approximate_rows()
    }
    fn take_expired_writes(&mut self) -> u64 {
        self.cached.below.parts_mut().1.take_refused()
    }
}
