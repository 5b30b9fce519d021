//! Lines on standard output, with one line of status below them that is rewritten in place where there is a terminal.

use std::io::{self, IsTerminal, Write};

/// Where a command shows what happens.
pub(crate) struct Terminal<W = io::Stdout> {
    out: W,
    live: bool,
    /// A status line stands on the screen.
    dirty: bool,
}

impl Terminal {
    pub(crate) fn stdout() -> Self {
        let out = io::stdout();
        let live = out.is_terminal();
        Terminal { out, live, dirty: false }
    }
}

impl Terminal<io::Stderr> {
    pub(crate) fn stderr() -> Self {
        let out = io::stderr();
        let live = out.is_terminal();
        Terminal { out, live, dirty: false }
    }
}

impl<W: Write> Terminal<W> {
    /// Whether a person is watching: status may be rewritten, text may be dim.
    pub(crate) fn is_live(&self) -> bool {
        self.live
    }

    /// A line that stays.
    pub(crate) fn line(&mut self, text: &str) -> io::Result<()> {
        self.clear()?;
        writeln!(self.out, "{text}")?;
        self.out.flush()
    }

    /// The state of things now: in place on a terminal, a line elsewhere.
    pub(crate) fn status(&mut self, text: &str) -> io::Result<()> {
        if !self.live {
            return self.line(text);
        }
        self.clear()?;
        // Cut at the right edge: a line that wraps could not be rewritten.
        write!(self.out, "\x1b[?7l\x1b[2m{text}\x1b[0m\x1b[?7h")?;
        self.dirty = true;
        self.out.flush()
    }

    /// Takes the status away.
    pub(crate) fn clear(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.dirty) { write!(self.out, "\r\x1b[2K") } else { Ok(()) }
    }
}

/// `1234567` as `1,234,567`.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let first = digits.len() % 3;
    let (head, tail) = digits.split_at(first);
    let threes = tail.as_bytes().chunks(3).map(|three| std::str::from_utf8(three).expect("digits"));
    [head].into_iter().filter(|head| !head.is_empty()).chain(threes).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(live: bool) -> String {
        let mut terminal = Terminal { out: Vec::new(), live, dirty: false };
        terminal.status("1 of 2").unwrap();
        terminal.line("window").unwrap();
        terminal.status("2 of 2").unwrap();
        String::from_utf8(terminal.out).unwrap()
    }

    #[test]
    fn a_status_is_rewritten_on_a_terminal_and_a_plain_line_elsewhere() {
        assert_eq!(shown(false), "1 of 2\nwindow\n2 of 2\n");
        assert_eq!(shown(true), "\x1b[?7l\x1b[2m1 of 2\x1b[0m\x1b[?7h\r\x1b[2Kwindow\n\x1b[?7l\x1b[2m2 of 2\x1b[0m\x1b[?7h");
    }

    #[test]
    fn large_numbers_are_grouped_by_threes() {
        assert_eq!([0, 7, 999, 1_000, 12_345_678].map(grouped), ["0", "7", "999", "1,000", "12,345,678"].map(str::to_owned));
    }
}
