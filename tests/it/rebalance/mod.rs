//! One of three instances is cut off under load: the partitions of the others go on, and nothing is lost or doubled.

pub(crate) mod scene;

use scene::{BOUND, play};

#[test]
fn an_instance_that_is_cut_off_is_felt_by_its_own_partitions_alone() {
    // Of a machine that does something else at times, the best of a few runs tells what the engine does.
    let mut seen = Vec::new();
    for _ in 0..5 {
        let run = play();
        assert!(run.faults.is_empty() && run.records > 0, "{run:?}");
        let good = run.unaffected <= BOUND + 2 * run.noise;
        seen.push(run);
        if good {
            return;
        }
    }
    panic!("partitions whose owner went on were silent for longer than {BOUND:?}, and the machine's own delays: {seen:#?}");
}
