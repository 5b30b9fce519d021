//! What a person who started a job is told while it runs, or does not run yet: what it waits for, and what to do about it.

use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use highwater::Progress;
use highwater::kafka::Occupied;

use super::tell;

/// After so long without an answer a person begins to wonder.
const SOON: Duration = Duration::from_secs(3);
/// Tasks are shared out within this time if nobody else has them.
const SHARED_OUT: Duration = Duration::from_secs(5);

/// A line on standard error, should something take its time: it is said if this still exists then.
pub(crate) struct Notice {
    _over: Sender<()>,
}

impl Notice {
    pub(crate) fn soon(text: String) -> Notice {
        Notice::after(SOON, move || tell(&text))
    }

    fn after(time: Duration, say: impl FnOnce() + Send + 'static) -> Notice {
        let (over, waits) = channel();
        thread::spawn(move || {
            if waits.recv_timeout(time) == Err(RecvTimeoutError::Timeout) {
                say();
            }
        });
        Notice { _over: over }
    }
}

/// What has been told about a running job.
pub(crate) struct News {
    began: Instant,
    occupied: Option<Occupied>,
    waits: bool,
    /// Whether it was told that there is nothing to do here; none if that is no news any more.
    idle: Option<bool>,
}

impl News {
    /// `shared`: whether others may have the tasks.
    pub(crate) fn of(shared: bool) -> News {
        News { began: Instant::now(), occupied: None, waits: false, idle: shared.then_some(false) }
    }

    /// One line for each thing that has changed.
    pub(crate) fn tell(&mut self, now: &Progress) {
        let lines = [self.others(now), self.outage(now), self.idleness(now, self.began.elapsed())];
        lines.into_iter().flatten().for_each(|line| tell(&line));
    }

    /// Others have to leave the group first, or others than before.
    fn others(&mut self, now: &Progress) -> Option<String> {
        let before = std::mem::replace(&mut self.occupied, now.occupied.clone());
        match &self.occupied {
            Some(occupied) if self.occupied != before => Some(occupied.to_string()),
            None if before.is_some() => Some("the group is empty: this job goes on from where the others stopped".to_owned()),
            _ => None,
        }
    }

    /// The cluster is waited for, or it is back.
    fn outage(&mut self, now: &Progress) -> Option<String> {
        let waited = std::mem::replace(&mut self.waits, now.outage.is_some());
        match (waited, &now.outage) {
            (false, Some(why)) => Some(format!("waiting for the cluster; nothing is lost, and the job goes on when it answers: {why}")),
            (true, None) => Some("the cluster answers again".to_owned()),
            _ => None,
        }
    }

    /// Others have all tasks; once, after the start.
    fn idleness(&mut self, now: &Progress, running: Duration) -> Option<String> {
        let told = self.idle?;
        if !now.tasks.is_empty() {
            self.idle = None;
            return told.then(|| "this instance has tasks now".to_owned());
        }
        if told || running < SHARED_OUT || now.occupied.is_some() || now.outage.is_some() {
            return None;
        }
        self.idle = Some(true);
        Some(
            "nothing to do here yet: other instances have all tasks, or one that was killed is still counted as a member, for at most 45 s; \
             `highwater status` shows who has what"
                .to_owned(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notice_is_given_only_when_it_takes_long() {
        let (said, heard) = channel();
        let long = said.clone();
        let slow = Notice::after(Duration::from_millis(20), move || long.send("long").unwrap());
        let quick = Notice::after(Duration::from_secs(600), move || said.send("short").unwrap());
        drop(quick);
        assert_eq!(heard.iter().collect::<Vec<_>>(), ["long"]);
        drop(slow);
    }

    #[test]
    fn an_instance_without_tasks_says_so_once_where_others_may_have_them() {
        let now = Progress::default();
        let mut news = News::of(true);
        assert_eq!(news.idleness(&now, Duration::from_secs(1)), None, "they may still be coming");
        assert!(news.idleness(&now, SHARED_OUT).unwrap().contains("`highwater status`"));
        assert_eq!(news.idleness(&now, SHARED_OUT), None, "once");
        assert_eq!(News::of(false).idleness(&now, SHARED_OUT), None, "nobody else is there");
    }

    #[test]
    fn others_who_have_to_leave_are_told_once_and_when_they_have_left() {
        let (mut now, mut news) = (Progress::default(), News::of(true));
        now.occupied = Some(Occupied { group: "shop".to_owned(), members: 2 });
        assert!(news.others(&now).unwrap().contains("2 members of another kind"));
        assert_eq!(news.others(&now), None);
        assert_eq!(news.idleness(&now, SHARED_OUT), None, "that says it all");
        now.occupied = None;
        assert!(news.others(&now).unwrap().contains("the group is empty"));
    }

    #[test]
    fn an_outage_is_told_when_it_begins_and_when_it_ends() {
        let (mut now, mut news) = (Progress::default(), News::of(true));
        assert_eq!(news.outage(&now), None);
        now.outage = Some("nobody there".to_owned());
        assert!(news.outage(&now).unwrap().ends_with("nobody there"));
        assert_eq!(news.outage(&now), None);
        now.outage = None;
        assert_eq!(news.outage(&now).unwrap(), "the cluster answers again");
    }
}
