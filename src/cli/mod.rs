//! The command line: what a person types, and what it prints.

pub(crate) mod feed;
pub(crate) mod generator;
pub(crate) mod job;
pub(crate) mod output;
