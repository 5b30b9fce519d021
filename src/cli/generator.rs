//! The input of the demo: page views of an invented site, out of order as real ones are. A seed gives the same views every time.

use std::time::Duration;

use highwater::Timestamp;

/// Most views arrive within this time of happening; the demo's job declares it as its bound.
pub(crate) const USUAL_DELAY: Duration = Duration::from_secs(2);

/// One in so many views was stuck on a phone without reception and comes too late for its window.
const STUCK_ONE_IN: u64 = 5_000;

/// How long those were stuck, at least: longer than a window of the demo's job and its bound together.
const STUCK_FOR: Duration = Duration::from_secs(8);

const PAGES: [&str; 6] = ["/", "/pricing", "/docs", "/docs/windows", "/blog/late-records", "/about"];
const USERS: u64 = 500;

/// One page view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct View {
    pub(crate) user: String,
    pub(crate) page: &'static str,
    pub(crate) at: Timestamp,
}

impl View {
    /// As it lies in the topic.
    pub(crate) fn to_json(&self) -> String {
        format!(r#"{{"user":"{}","page":"{}","at":{}}}"#, self.user, self.page, self.at)
    }
}

/// Draws views.
#[derive(Clone, Debug)]
pub(crate) struct Generator {
    state: u64,
    /// Nothing is stuck from before this.
    opened: Timestamp,
}

impl Generator {
    /// Views of a site that opened at this instant.
    pub(crate) fn new(seed: u64, opened: Timestamp) -> Self {
        Generator { state: seed, opened }
    }

    /// The next view that arrives at `now`.
    pub(crate) fn view(&mut self, now: Timestamp) -> View {
        let user = format!("user-{}", self.below(USERS));
        // The smaller of two draws: the first pages are the popular ones.
        let pages = PAGES.len() as u64;
        let page = self.below(pages).min(self.below(pages));
        let usual = u64::try_from(USUAL_DELAY.as_millis()).expect("a short delay");
        let delay = Duration::from_millis(self.below(usual).min(self.below(usual)));
        let is_stuck = self.below(STUCK_ONE_IN) == 0 && self.opened <= now - STUCK_FOR;
        let page = PAGES[usize::try_from(page).expect("a few pages")];
        View { user, page, at: now - delay - if is_stuck { STUCK_FOR } else { Duration::ZERO } }
    }

    /// A number below `end`, by SplitMix64: short, and the same on every machine.
    fn below(&mut self, end: u64) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_000_000);

    fn views(seed: u64) -> Vec<View> {
        let mut generator = Generator::new(seed, Timestamp::from_millis(0));
        (0..20_000).map(|_| generator.view(NOW)).collect()
    }

    #[test]
    fn a_seed_gives_the_same_views_and_another_seed_others() {
        assert_eq!(views(1), views(1));
        assert_ne!(views(1), views(2));
    }

    #[test]
    fn most_views_keep_the_bound_and_a_few_do_not() {
        let late = views(7).iter().filter(|view| view.at < NOW - USUAL_DELAY).count();
        assert!((1..20).contains(&late), "{late} of 20000");
        assert!(views(7).iter().all(|view| view.at <= NOW));
    }

    #[test]
    fn nothing_is_stuck_from_before_the_site_opened() {
        let mut generator = Generator::new(7, NOW);
        assert!((0..20_000).all(|_| generator.view(NOW).at >= NOW - USUAL_DELAY));
    }

    #[test]
    fn a_view_is_json() {
        let view: serde_json::Value = serde_json::from_str(&views(3)[0].to_json()).unwrap();
        assert!(view["page"].as_str().unwrap().starts_with('/') && view["at"].as_i64().is_some() && view["user"].is_string());
    }
}
