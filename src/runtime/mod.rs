//! Running a topology: tasks, threads, commit and restore. Does not know the DSL: a topology built by hand runs the same.

pub(crate) mod task;
