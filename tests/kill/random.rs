//! One run that is killed again and again at times that lots decide.

use std::path::Path;
use std::time::{Duration, Instant};

use super::findings::Findings;
use super::judge::Case;
use super::life::{Death, Life, Promise};
use super::log::log_of;
use super::say;
use super::scene::Kind;
use super::stage::Stage;

/// Runs through so many kills and to the end; tells whether all is right.
pub(crate) fn run(rounds: u64, kind: Kind, promise: Promise, seed: u64, folder: &Path, stage: &Stage) -> Result<bool, String> {
    let begun = Instant::now();
    let mut life = Life {
        folder: folder.to_owned(),
        number: 0,
        bootstrap: stage.bootstrap().map(str::to_owned),
        names: stage.names(&format!("random-{}-{}-{seed}-", kind.name(), promise.name())),
        lasting: true,
        kind,
        promise,
        records: u64::MAX,
        chunk: 5,
        pause: Duration::from_millis(5),
        closes_after: None,
        shared: false,
        expelled: false,
        loses: false,
        transactional_feed: true,
    };
    let (mut lives, mut dice) = (Vec::new(), Dice(seed));
    // A start takes longer where there is a cluster to be asked.
    let longest = if stage.is_cluster() { 5_000 } else { 700 };
    for round in 1..=rounds {
        // Every other life gets to work, however slow the machine is.
        let death = match round % 2 {
            0 => Death::Running(Duration::from_millis(1 + dice.below(1_500))),
            _ => Death::After(Duration::from_millis(1 + dice.below(longest))),
        };
        let ended = life.live(&death)?;
        if let Some(failure) = ended.failure {
            return Err(format!("life {round}: {failure}"));
        }
        if round % 20 == 0 {
            let restored = ended.notes.restored();
            let fed: u64 = ended.notes.starts.iter().map(|(_, count)| count).sum();
            say(&format!("{round:>4} of {rounds} killed, {fed} records, restored {} of {}", restored.records, restored.committed));
        }
        lives.push(ended.notes);
        life.number += 1;
    }
    // The last life is over with what there is.
    life.records = 0;
    let last = life.live(&Death::None)?;
    if let Some(failure) = last.failure {
        return Err(format!("the last life: {failure}"));
    }
    lives.push(last.notes);
    let log = log_of(&life).map_err(|error| error.to_string())? as std::sync::Arc<dyn highwater::kafka::Connect>;
    let findings = Findings::of(&life, &log).map_err(|error| error.to_string())?;
    let total: usize = findings.input.iter().map(Vec::len).sum();
    let faults = Case { kind, promise, findings: &findings, lives: &lives }.faults();
    let verdict = if faults.is_empty() { "totals are exact".to_owned() } else { format!("FAILED {}", faults.join("; ")) };
    let (kind, promise, seconds) = (kind.name(), promise.name(), begun.elapsed().as_secs_f64());
    say(&format!("{rounds} random kills in a row, {kind}, {promise}: {total} records, {seconds:.1} s, {verdict}"));
    if faults.is_empty() {
        stage.clear(&life);
    }
    Ok(faults.is_empty())
}

/// SplitMix64: short, and the same on every machine.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }
}
