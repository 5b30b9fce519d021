//! Named moments at which a test may kill the process, to see what is left of it. Without the feature `failpoints` a call is nothing.
//!
//! With the feature, two environment variables say what happens when a moment is reached:
//!
//! - `HIGHWATER_FAILPOINT=commit.acks:17` sends SIGKILL to this process on the 17th pass of `commit.acks`.
//! - `HIGHWATER_FAILPOINT_PASSES=file` adds the name of each moment reached to that file, a line each, before anything else happens: whoever
//!   started the process can tell afterwards what it came past, and how often.

/// This moment is reached. Names are `room.moment`, all of them listed in `tests/kill/points.rs`.
#[cfg(not(feature = "failpoints"))]
#[inline(always)]
pub(crate) fn reached(_name: &'static str) {}

#[cfg(feature = "failpoints")]
pub(crate) use armed::reached;

#[cfg(feature = "failpoints")]
mod armed {
    use std::collections::HashMap;
    use std::env;
    use std::fs::{File, OpenOptions};
    use std::io::Write;
    use std::sync::{LazyLock, Mutex, PoisonError};

    use rustix::process::{Signal, getpid, kill_process};

    static PASSES: LazyLock<Mutex<Passes>> = LazyLock::new(|| Mutex::new(Passes::of_environment()));

    /// Counts a pass of this moment, and dies if it is the one that was asked for.
    pub(crate) fn reached(name: &'static str) {
        // Held while the process dies: no other thread comes past a moment after the one that killed it.
        let mut passes = PASSES.lock().unwrap_or_else(PoisonError::into_inner);
        if passes.is_last(name) {
            kill_process(getpid(), Signal::KILL).expect("a process may kill itself");
            unreachable!("a process went on after SIGKILL");
        }
    }

    /// What was asked for, and what was passed so far.
    #[derive(Default)]
    pub(super) struct Passes {
        counts: HashMap<&'static str, u64>,
        deadly: Option<(String, u64)>,
        told: Option<File>,
    }

    impl Passes {
        fn of_environment() -> Self {
            let told = env::var_os("HIGHWATER_FAILPOINT_PASSES");
            let told =
                told.map(|path| OpenOptions::new().create(true).append(true).open(path).expect("the file for passes can be written"));
            Passes { deadly: env::var("HIGHWATER_FAILPOINT").ok().map(|text| deadly(&text)), told, ..Passes::default() }
        }

        /// Notes a pass; whether it is the deadly one.
        pub(super) fn is_last(&mut self, name: &'static str) -> bool {
            let count = self.counts.entry(name).or_default();
            *count += 1;
            if let Some(file) = &mut self.told {
                // One write each, straight to the system: what is written outlives the process.
                file.write_all(format!("{name}\n").as_bytes()).expect("the file for passes can be written");
            }
            self.deadly.as_ref().is_some_and(|(deadly, pass)| deadly == name && pass == count)
        }
    }

    /// `commit.acks:17`; without a number the first pass.
    pub(super) fn deadly(text: &str) -> (String, u64) {
        let (name, pass) = text.split_once(':').unwrap_or((text, "1"));
        (name.to_owned(), pass.parse().expect("HIGHWATER_FAILPOINT is `name:pass`"))
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn only_the_pass_that_was_asked_for_is_deadly() {
            let mut passes = Passes { deadly: Some(deadly("commit.acks:3")), ..Passes::default() };
            let names = ["commit.acks", "commit.cut", "commit.acks", "commit.cut", "commit.cut", "commit.acks", "commit.acks"];
            assert_eq!(names.map(|name| passes.is_last(name)), [false, false, false, false, false, true, false]);
            assert_eq!(deadly("close.begin"), ("close.begin".to_owned(), 1));
        }
    }
}
