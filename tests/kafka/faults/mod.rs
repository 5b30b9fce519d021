//! Faults, each with the outcome that is promised for it. `docs/faults.md` has a row for each of these tests.

mod changelogs;
mod inputs;
mod odd;
mod records;
mod secrets;
mod stage;
mod state;
mod topics;
