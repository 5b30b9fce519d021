//! Rows that cannot be read any more: that store is built anew from its changelog, nothing is lost and nothing stops.

use super::rig::Rig;
use super::*;
use crate::config::Guarantee;

#[test]
fn a_store_that_cannot_be_read_is_built_anew_and_no_other() {
    for guarantee in [Guarantee::AtLeastOnce, Guarantee::ExactlyOnce] {
        let mut rig = Rig::new(counting(), 2);
        rig.settings.guarantee = guarantee;
        rig.settings.memory = 400; // so little that no row stays at hand
        let mut rig = rig.start();
        rig.settle();
        for (at, word) in (1..).zip(["a", "b", "a"]) {
            rig.write("left", 0, Some(word), "x", at);
            rig.write("left", 1, Some("c"), "x", at);
        }
        rig.settle();
        rig.commit();
        let damaged = TaskId { subtopology: 0, partition: 0 };
        rig.threads[0].tasks[&damaged].lease.break_reads("counts");
        // The rows are asked for a word that is not at hand.
        rig.write("left", 0, Some("d"), "x", 4);
        rig.write("left", 0, Some("a"), "x", 5);
        rig.settle();
        (0..6).for_each(|_| rig.pass(2_000));
        let counts = ["a", "b", "c", "d"].map(|word| rig.count(word));
        assert_eq!(counts, [Some(3), Some(1), Some(3), Some(1)], "{guarantee:?}");
        assert_eq!(rig.board.home().rebuilt_stores(), 1, "{guarantee:?}");
        assert!(rig.board.facts().failures.is_empty(), "{guarantee:?}");
        assert_eq!(rig.committed("left", 0).unwrap().0, 5);
    }
}
