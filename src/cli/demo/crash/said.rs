//! What the counting process says on its standard output, a line each.

use std::fmt;

/// One line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// It runs: changelog records that it had to read back, of those that were committed.
    Restored { records: u64, committed: u64 },
    /// Visits that it has taken so far.
    Taken(u64),
    /// It is through, after so many.
    Finished(u64),
}

impl Said {
    /// None for a line that was cut off by a kill.
    pub(super) fn read(line: &str) -> Option<Said> {
        let words: Vec<&str> = line.split(' ').collect();
        let number = |text: &str| text.parse::<u64>().ok();
        match words[..] {
            ["restored", records, committed, "."] => Some(Said::Restored { records: number(records)?, committed: number(committed)? }),
            ["taken", count, "."] => Some(Said::Taken(number(count)?)),
            ["finished", count, "."] => Some(Said::Finished(number(count)?)),
            _ => None,
        }
    }
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Said::Restored { records, committed } => write!(f, "restored {records} {committed} ."),
            Said::Taken(count) => write!(f, "taken {count} ."),
            Said::Finished(count) => write!(f, "finished {count} ."),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_understood_and_half_a_line_is_nothing() {
        for said in [Said::Restored { records: 3, committed: 70 }, Said::Taken(1_234), Said::Finished(5)] {
            let line = said.to_string();
            assert_eq!(Said::read(&line), Some(said));
            assert_eq!(Said::read(&line[..line.len() - 2]), None);
        }
    }
}
