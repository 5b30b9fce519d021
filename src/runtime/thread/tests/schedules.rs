//! Threads that come, go and die in any order.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use super::rig::Rig;
use super::shuffled;
use crate::clock::Clock;
use crate::config::ProducerScope;

/// What may happen to an application.
#[derive(Clone, Copy, Debug)]
enum Step {
    Write(u8),
    Round(usize),
    Pass,
    Join,
    Leave(usize),
    Kill(usize),
}

fn steps(kills: u32) -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => any::<u8>().prop_map(Step::Write),
        8 => (0..4_usize).prop_map(Step::Round),
        2 => Just(Step::Pass),
        1 => Just(Step::Join),
        1 => (0..4_usize).prop_map(Step::Leave),
        kills => (0..4_usize).prop_map(Step::Kill),
    ];
    prop::collection::vec(step, 0..80)
}

impl Rig {
    fn take(&mut self, step: Step) {
        let now = self.clock.now();
        let nth = |n: usize| n % self.threads.len();
        match step {
            Step::Write(n) => self.write("left", i32::from(n % 3), Some("k"), &format!("w{}", n % 7), n.into()),
            Step::Round(n) => {
                let thread = nth(n);
                self.threads[thread].run_once(now, Duration::ZERO).unwrap();
            }
            Step::Pass => self.clock.advance(Duration::from_millis(60)),
            Step::Join if self.threads.len() < 4 => self.join(),
            Step::Leave(n) if self.threads.len() > 1 => {
                let leaving = self.threads.remove(n % self.threads.len());
                leaving.close(now).unwrap();
            }
            Step::Kill(n) => {
                let thread = nth(n);
                self.join();
                drop(self.threads.remove(thread));
            }
            Step::Join | Step::Leave(_) => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    /// Threads come and go in any order: with clean ends every record counts once, behind a shuffle too.
    #[test]
    fn coming_and_going_changes_no_count(steps in steps(0)) {
        let (counted, written) = counted_and_written(Rig::new(shuffled(), 3), steps);
        prop_assert_eq!(counted, written);
    }

    /// The same, killed ones among them, exactly once.
    #[test]
    fn exactly_once_killing_changes_no_count(steps in steps(2)) {
        let (counted, written) = counted_and_written(Rig::new(shuffled(), 3).exactly_once(), steps);
        prop_assert_eq!(counted, written);
    }

    /// The same, each task in transactions of its own.
    #[test]
    fn exactly_once_by_task_killing_changes_no_count(steps in steps(2)) {
        let mut rig = Rig::new(shuffled(), 3).exactly_once();
        rig.settings.producer_scope = ProducerScope::Task { prefix: "move".into() };
        let (counted, written) = counted_and_written(rig, steps);
        prop_assert_eq!(counted, written);
    }

    /// Threads are killed at any moment between two rounds: every record counts at least once.
    #[test]
    fn killing_loses_nothing(steps in steps(2)) {
        let (counted, written) = counted_and_written(Rig::new(shuffled(), 3), steps);
        prop_assert!(written.iter().all(|(word, count)| counted[word] >= *count), "{:?} of {:?}", counted, written);
    }
}

fn counted_and_written(rig: Rig, steps: Vec<Step>) -> (BTreeMap<String, i64>, BTreeMap<String, i64>) {
    let mut rig = rig.start();
    let mut written = BTreeMap::new();
    for step in steps {
        if let Step::Write(n) = step {
            *written.entry(format!("w{}", n % 7)).or_insert(0) += 1;
        }
        rig.take(step);
    }
    // A task that moves late commits late: the clock has to go on for the last handover.
    (0..4).for_each(|_| rig.pass(200));
    // Transactions of the killed time out.
    (0..5).for_each(|_| rig.pass(10_000));
    assert!(rig.board.facts().failures.is_empty());
    (written.keys().map(|word| (word.clone(), rig.count(word).unwrap_or(0))).collect(), written)
}
