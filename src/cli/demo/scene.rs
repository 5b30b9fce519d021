//! What the demo shows: windows as they close, late views, and where event time stands.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Local, SecondsFormat};
use highwater::Timestamp;

use crate::cli::terminal::grouped;
use crate::topologies::windowed_counts::ResultRow;

/// How many pages of a window get a place on its line.
const PAGES_SHOWN: usize = 4;

/// Results of windows that just closed. The pages of one window close in several tasks, a moment apart; a window is shown when no page was
/// added to it for one round.
#[derive(Debug, Default)]
pub(crate) struct ClosedWindows(BTreeMap<(i64, i64), Window>);

#[derive(Debug, Default)]
struct Window {
    pages: Vec<(String, u64)>,
    fresh: bool,
}

impl ClosedWindows {
    pub(crate) fn take(&mut self, row: ResultRow) {
        let window = self.0.entry((row.start, row.end)).or_default();
        let count = row.count.and_then(|count| u64::try_from(count).ok()).unwrap_or_default();
        window.pages.push((row.key.unwrap_or_default(), count));
        window.fresh = true;
    }

    /// Ends a round: a line for each window that is complete now, oldest first.
    pub(crate) fn settled(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        self.0.retain(|(start, end), window| {
            let keep = std::mem::take(&mut window.fresh);
            if !keep {
                lines.push(line(*start, *end, &mut window.pages));
            }
            keep
        });
        lines
    }

    /// Everything that is left, complete or not.
    pub(crate) fn rest(&mut self) -> Vec<String> {
        self.settled().into_iter().chain(self.settled()).collect()
    }
}

fn line(start: i64, end: i64, pages: &mut [(String, u64)]) -> String {
    pages.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    let total: u64 = pages.iter().map(|(_, count)| count).sum();
    let shown = pages.iter().take(PAGES_SHOWN).map(|(page, count)| format!("   {page} {}", grouped(*count)));
    let more = if pages.len() > PAGES_SHOWN { "   …" } else { "" };
    format!("closed  {}–{}  {:>9} views{}{more}", time(start), time(end), grouped(total), shown.collect::<String>())
}

/// A view that came after its window had closed.
pub(crate) fn late_line(view: &str, at: Timestamp, now: Timestamp) -> String {
    let behind = Duration::from_millis(now.as_millis().saturating_sub(at.as_millis()).max(0).unsigned_abs());
    format!("late    {}  came {} s after it happened, its window was closed: {view}", time(at.as_millis()), behind.as_secs())
}

/// Where things stand.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Standing {
    pub(crate) now: Timestamp,
    /// None until the first record.
    pub(crate) watermark: Option<Timestamp>,
    pub(crate) views: u64,
    pub(crate) per_second: u64,
    pub(crate) late: u64,
}

impl Standing {
    pub(crate) fn line(&self) -> String {
        let watermark = match self.watermark {
            None => "not known yet".to_owned(),
            Some(at) => {
                let behind = self.now.as_millis().saturating_sub(at.as_millis());
                format!("{} ({}.{} s behind)", time(at.as_millis()), behind / 1_000, behind % 1_000 / 100)
            }
        };
        let (views, rate, late) = (grouped(self.views), grouped(self.per_second), grouped(self.late));
        format!("now     {}  watermark {watermark}   {views} views   {rate}/s   {late} late", time(self.now.as_millis()))
    }
}

/// An instant as everybody reads it.
pub(crate) fn instant(at: Timestamp) -> String {
    let known = DateTime::from_timestamp_millis(at.as_millis());
    known.map_or_else(|| at.to_string(), |at| at.to_rfc3339_opts(SecondsFormat::Millis, true))
}

/// The time of day where the reader sits.
pub(crate) fn time(ms: i64) -> String {
    DateTime::from_timestamp_millis(ms).map_or_else(|| ms.to_string(), |at| at.with_timezone(&Local).format("%H:%M:%S").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(page: &str, start: i64, count: i64) -> ResultRow {
        ResultRow { key: Some(page.to_owned()), start, end: start + 5_000, count: Some(count) }
    }

    #[test]
    fn a_window_is_shown_once_all_its_pages_are_in() {
        let mut windows = ClosedWindows::default();
        windows.take(row("/b", 0, 5));
        assert_eq!(windows.settled(), [""; 0]);
        windows.take(row("/a", 0, 1_200));
        assert_eq!(windows.settled(), [""; 0]);
        let lines = windows.settled();
        assert_eq!(lines.len(), 1);
        assert!(lines[0].contains("1,205 views") && lines[0].ends_with("/a 1,200   /b 5"), "{lines:?}");
        assert_eq!(windows.settled(), [""; 0]);
    }

    #[test]
    fn the_rest_comes_out_at_the_end_oldest_first() {
        let mut windows = ClosedWindows::default();
        windows.take(row("/a", 5_000, 2));
        windows.take(row("/a", 0, 1));
        let lines = windows.rest();
        assert_eq!(lines.len(), 2);
        assert!(lines[0].contains("1 views"), "{lines:?}");
    }

    #[test]
    fn the_standing_says_how_far_the_watermark_is_behind() {
        let at = Timestamp::from_millis(10_000);
        let standing = Standing { now: at, watermark: Some(Timestamp::from_millis(7_650)), views: 1_000, per_second: 500, late: 3 };
        assert!(standing.line().contains("(2.3 s behind)   1,000 views   500/s   3 late"), "{}", standing.line());
        assert!(Standing::default().line().contains("not known yet"));
    }
}
