//! The engine in simulation: seeds choose applications, schedules and disasters, and each run is compared with a model.
//!
//! `make sim SEEDS=1000` runs many seeds, `make sim SEED=17` one of them with everything that was done.

#![allow(clippy::unwrap_used, reason = "tests say what they expect by panicking, in their shared functions too")]

mod choices;
mod flow;
mod laws;
mod model;
mod rebalance;
mod run;
mod topologies;
mod trouble;
mod watch;

use std::env;
use std::panic::{AssertUnwindSafe, catch_unwind};

use run::Run;

/// Seeds of an ordinary `cargo test`.
const FEW: u64 = 40;

/// Plays a seed to its end; what went wrong, with what was done.
fn play(seed: u64) -> Result<String, String> {
    let mut run = Run::of(seed);
    let outcome = catch_unwind(AssertUnwindSafe(|| run.play().and_then(|()| run.judge())));
    let outcome = outcome.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned().or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Err(format!("panic: {}", text.unwrap_or_default()))
    });
    match outcome {
        Ok(()) => Ok(run.cluster.transcript()),
        Err(reason) => {
            let story = if env::var("SEED").is_ok() { run.cluster.transcript() + "\n" } else { String::new() };
            Err(format!("{story}seed {seed}, {}: {reason}\n    again: make sim SEED={seed}", run.choices))
        }
    }
}

fn number(name: &str) -> Option<u64> {
    env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

#[test]
fn nothing_that_befalls_an_application_loses_or_doubles_a_record() {
    let seeds = match number("SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SEEDS").unwrap_or(FEW),
    };
    let count = seeds.end - seeds.start;
    // Whoever looks for one failure alone need not wait for all.
    let enough = number("FAILURES").map_or(usize::MAX, |number| usize::try_from(number).unwrap());
    let failed: Vec<String> = seeds.filter_map(|seed| play(seed).err()).take(enough).collect();
    assert!(
        failed.is_empty(),
        "{} of {count} seeds failed\n{}",
        failed.len(),
        failed.iter().take(10).cloned().collect::<Vec<_>>().join("\n")
    );
}

#[test]
fn a_seed_is_the_same_run_byte_for_byte() {
    for seed in (0..20).map(|n| n * 11) {
        assert_eq!(play(seed), play(seed), "seed {seed}");
    }
}
