//! The line that says how far stores are read back from their changelogs.

use std::time::Duration;

use highwater::Progress;

use crate::cli::terminal::grouped;

/// The stores that are being restored, taken together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Restoring {
    stores: usize,
    records: u64,
    per_second: u64,
    /// Offsets: gone through, and altogether.
    done: i64,
    whole: i64,
    /// Of the slowest one; none if one cannot tell yet.
    left: Option<Duration>,
}

/// The line; none while nothing is restored.
pub(crate) fn restoring(progress: &Progress) -> Option<String> {
    let stores = &progress.restoring;
    let sum = Restoring {
        stores: stores.len(),
        records: stores.iter().map(|store| store.records).sum(),
        per_second: stores.iter().filter_map(|store| store.records_per_second()).sum(),
        done: stores.iter().map(|store| store.position - store.begin).sum(),
        whole: stores.iter().map(|store| store.end - store.begin).sum(),
        left: stores.iter().map(|store| store.left()).collect::<Option<Vec<_>>>().and_then(|left| left.into_iter().max()),
    };
    (sum.stores > 0).then(|| sum.line())
}

impl Restoring {
    fn line(self) -> String {
        let stores = if self.stores == 1 { "1 store".to_owned() } else { format!("{} stores", self.stores) };
        let percent = self.done * 100 / self.whole.max(1);
        let left = self.left.map_or_else(String::new, |left| format!(", {} s left", left.as_secs_f64().ceil()));
        format!("restoring {stores}: {percent} %, {} records, {}/s{left}", grouped(self.records), grouped(self.per_second))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_says_how_much_and_how_long() {
        let two = Restoring { stores: 2, records: 45_000, per_second: 120_000, done: 45_010, whole: 90_020, left: None };
        assert_eq!(two.line(), "restoring 2 stores: 50 %, 45,000 records, 120,000/s");
        let one = Restoring { stores: 1, left: Some(Duration::from_millis(1_200)), ..two };
        assert_eq!(one.line(), "restoring 1 store: 50 %, 45,000 records, 120,000/s, 2 s left");
        assert_eq!(restoring(&Progress::default()), None);
    }
}
