//! Decisions that no shared case shows.
