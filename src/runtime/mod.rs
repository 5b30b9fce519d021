//! Running a topology: tasks, the threads that feed them, commits, restores, and the handle a program holds.
//!
//! * `plan` decides: pure functions from what has happened to a list of commands.
//! * `assignment` counts: which tasks there are, and how many partitions internal topics need.
//! * `task` is one partition of a sub-topology, assembled; it knows no log.
//! * `restore` finds out where tasks go on and reads their stores back, beside the threads that run other tasks.
//! * `thread` carries out: it moves records between the log's ports and its tasks, one `run_once(now)` at a time.
//! * `board` is where threads and handle tell each other how things stand.
//! * `streams` is the public handle, with the operating system's threads.

mod arena;
pub(crate) mod assignment;
mod board;
mod gate;
mod identity;
mod internal_topics;
mod metadata_limit;
mod outages;
mod plan;
mod restore;
mod streams;
pub(crate) mod task;
mod thread;

pub(crate) use board::Board;
pub use board::{RestoreProgress, TaskFailure};
pub use gate::{Closing, Gate, TaskGate};
pub(crate) use internal_topics::prepare;
pub use internal_topics::{PlannedTopic, TopicRole};
pub use plan::State;
pub use streams::{InputProgress, Launch, Progress, Streams, TaskProgress, patiently};
pub(crate) use thread::{Crew, Round, StreamThread};
