//! The runtime's face of any store.

use std::sync::{Arc, Mutex};

use crate::error::StoreError;
use crate::state::lock::lock;
use crate::state::open::{ChangelogRecord, ChangelogSink, StoreControl};

/// What every core can do for the runtime.
pub(crate) trait Core: Send {
    fn drain_changelog(&mut self, sink: &mut dyn ChangelogSink) -> Result<(), StoreError>;
    fn uncommitted_bytes(&mut self) -> usize;
    fn apply(&mut self, offset: Option<i64>) -> Result<(), StoreError>;
    fn abort(&mut self);
    fn offset(&self) -> Option<i64>;
    fn restore(&mut self, records: &[ChangelogRecord<'_>], next_offset: i64) -> Result<(), StoreError>;
    /// What was restored is kept for good.
    fn loaded(&mut self) -> Result<(), StoreError>;
    /// Forgets everything, in the backend too.
    fn wipe(&mut self) -> Result<(), StoreError>;
    fn approximate_rows(&self) -> usize;
    /// Writes refused as expired since the last call.
    fn take_expired_writes(&mut self) -> u64 {
        0
    }
}

/// A core, shared.
pub(crate) struct Control<C>(pub(crate) Arc<Mutex<C>>);

impl<C: Core> StoreControl for Control<C> {
    fn drain_changelog(&self, sink: &mut dyn ChangelogSink) -> Result<(), StoreError> {
        lock(&self.0).drain_changelog(sink)
    }
    fn uncommitted_bytes(&self) -> usize {
        lock(&self.0).uncommitted_bytes()
    }
    fn apply(&self, offset: Option<i64>) -> Result<(), StoreError> {
        lock(&self.0).apply(offset)
    }
    fn abort(&self) {
        lock(&self.0).abort();
    }
    fn offset(&self) -> Option<i64> {
        lock(&self.0).offset()
    }
    fn restore(&self, records: &[ChangelogRecord<'_>], next_offset: i64) -> Result<(), StoreError> {
        lock(&self.0).restore(records, next_offset)
    }
    fn loaded(&self) -> Result<(), StoreError> {
        lock(&self.0).loaded()
    }
    fn wipe(&self) -> Result<(), StoreError> {
        lock(&self.0).wipe()
    }
    fn approximate_rows(&self) -> usize {
        lock(&self.0).approximate_rows()
    }
    fn take_expired_writes(&self) -> u64 {
        lock(&self.0).take_expired_writes()
    }
}
