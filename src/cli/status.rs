//! How far long work has come, for a person who waits at a terminal; nothing at all where nobody does.

use std::io;
use std::time::{Duration, Instant};

use super::terminal::Terminal;

/// Often enough to see that it moves.
const EVERY: Duration = Duration::from_millis(200);

/// One line on standard error that is rewritten in place, and gone at the end.
pub(crate) struct Status {
    terminal: Terminal<io::Stderr>,
    wanted: bool,
    shown: Instant,
}

impl Status {
    /// A status that is shown if it is `wanted` and standard error is a terminal. The first one comes when the work takes a while.
    pub(crate) fn new(wanted: bool) -> Self {
        let terminal = Terminal::stderr();
        Status { wanted: wanted && terminal.is_live(), terminal, shown: Instant::now() }
    }

    /// What is going on now. Cheap to call often.
    pub(crate) fn show(&mut self, text: impl FnOnce() -> String) {
        if self.wanted && self.shown.elapsed() >= EVERY {
            self.shown = Instant::now();
            // A terminal that went away is no reason to stop the work.
            self.wanted = self.terminal.status(&text()).is_ok();
        }
    }
}

impl Drop for Status {
    fn drop(&mut self) {
        self.terminal.clear().ok();
    }
}
