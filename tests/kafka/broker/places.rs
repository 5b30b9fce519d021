//! How many nodes run at one time for tests that have a cluster of their own: more than a machine of two cores can feed would only be slow together,
//! and what they wait for would be over.

use std::sync::{Condvar, Mutex, PoisonError};

/// A cluster of three and one of one.
const MOST: usize = 4;

static TAKEN: Mutex<usize> = Mutex::new(0);
static LEFT: Condvar = Condvar::new();

/// Places for so many nodes. They are given back when it is dropped.
pub(crate) struct Places(usize);

impl Places {
    /// Waits until there are as many.
    pub(crate) fn take(nodes: usize) -> Places {
        let taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
        let mut taken = LEFT.wait_while(taken, |taken| *taken > 0 && *taken + nodes > MOST).unwrap_or_else(PoisonError::into_inner);
        *taken += nodes;
        Places(nodes)
    }
}

impl Drop for Places {
    fn drop(&mut self) {
        *TAKEN.lock().unwrap_or_else(PoisonError::into_inner) -= self.0;
        LEFT.notify_all();
    }
}
