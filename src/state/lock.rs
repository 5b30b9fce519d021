//! Locking a store.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// A lock that does not mind a panic elsewhere: a task that panicked is closed and its stores are not used again, and a
/// query that meets them reads what they hold.
pub(crate) fn lock<T: ?Sized>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
