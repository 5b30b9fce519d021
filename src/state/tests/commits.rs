//! Commit, abort, restore.
