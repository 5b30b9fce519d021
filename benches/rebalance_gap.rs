//! How long partitions are silent when one of three instances is cut off: `cargo bench --bench rebalance_gap`.

#![allow(clippy::print_stdout, missing_docs)]

#[path = "../tests/it/rebalance/scene.rs"]
mod scene;

fn main() {
    // `cargo test --benches` runs this too, and wants no figures.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    println!("three instances, six partitions, exactly once, a commit every 100 ms; one is cut off under load");
    println!("{:<5} {:>14} {:>14} {:>14} {:>9}", "run", "unaffected ms", "taken over ms", "machine ms", "records");
    let mut faults = 0;
    for run in 1..=5 {
        let seen = scene::play();
        let [unaffected, taken_over, noise] = [seen.unaffected, seen.taken_over, seen.noise].map(|time| time.as_millis());
        println!("{run:<5} {unaffected:>14} {taken_over:>14} {noise:>14} {:>9}", seen.records * 6);
        seen.faults.iter().for_each(|fault| println!("      {fault}"));
        faults += seen.faults.len();
    }
    println!("longest silence allowed of an unaffected partition: {} ms", scene::BOUND.as_millis());
    assert_eq!(faults, 0, "something was lost or doubled");
}
