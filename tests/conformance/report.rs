//! What a run has to say: one line per file, noted cases and reasons for skipping apart, the totals last.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;

use super::run::{Case, DEDUPLICATED, Verdict};
use super::say;

/// Characters of the first difference that are printed, unless all differences are asked for.
const SHOWN: usize = 200;

/// The running totals.
pub(crate) struct Report {
    verbose: bool,
    passed: usize,
    failed: usize,
    /// Of the failed ones, those that are right while every write goes to the changelog.
    failed_deduplicated: usize,
    /// Cases judged by the model of bounded mode that passed and failed: they say nothing about changelogs.
    modelled: (usize, usize),
    skipped: BTreeMap<String, usize>,
    noted: Vec<String>,
}

impl Report {
    pub(crate) fn new(verbose: bool) -> Report {
        Report { verbose, passed: 0, failed: 0, failed_deduplicated: 0, modelled: (0, 0), skipped: BTreeMap::new(), noted: Vec::new() }
    }

    /// Counts and prints the cases of a file that the model of bounded mode has judged.
    pub(crate) fn modelled_file(&mut self, file: &Path, cases: Vec<Case>) {
        let before = (self.passed, self.failed);
        self.file(file, cases);
        self.modelled.0 += self.passed - before.0;
        self.modelled.1 += self.failed - before.1;
    }

    /// Counts and prints the cases of one file.
    pub(crate) fn file(&mut self, file: &Path, cases: Vec<Case>) {
        if cases.is_empty() {
            return;
        }
        let (mut passed, mut failed, mut skipped, mut lines) = (0, 0, 0, Vec::new());
        for case in cases {
            match (case.verdict, case.note) {
                (Verdict::Skipped(reason), _) => {
                    skipped += 1;
                    *self.skipped.entry(reason).or_default() += 1;
                }
                (Verdict::Same, None) => passed += 1,
                (Verdict::Different(differences), None) => {
                    failed += 1;
                    self.failed_deduplicated += usize::from(differences.iter().all(|text| text.starts_with(DEDUPLICATED)));
                    lines.push(self.show(&case.id, &case.purpose, &differences));
                }
                (verdict, Some(note)) => self.noted.push(format!(
                    "{} ({note}): {}",
                    case.id,
                    if matches!(verdict, Verdict::Same) { "as Java" } else { "not as Java" }
                )),
            }
        }
        let name = file.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        say(&format!("{name}: {passed}/{failed}/{skipped}"));
        lines.iter().for_each(|line| say(line));
        self.passed += passed;
        self.failed += failed;
    }

    fn show(&self, id: &str, purpose: &str, differences: &[String]) -> String {
        if !self.verbose {
            let first = differences.first().map_or("", |text| text.lines().next().unwrap_or_default());
            return format!("  FAILED {id}: {}", first.chars().take(SHOWN).collect::<String>());
        }
        let lines: Vec<_> = differences.iter().map(|text| format!("    {text}")).collect();
        format!("  FAILED {id}: {purpose}\n{}", lines.join("\n"))
    }

    /// Noted cases, reasons, totals.
    pub(crate) fn finish(self) -> ExitCode {
        if !self.noted.is_empty() {
            say(&format!("{} cases whose stored answer is a defect of Java, counted apart:", self.noted.len()));
            self.noted.iter().for_each(|line| say(&format!("  {line}")));
        }
        for (reason, count) in &self.skipped {
            say(&format!("skipped {count}: {reason}"));
        }
        self.by_judge();
        let skipped: usize = self.skipped.values().sum();
        say(&format!("{} passed, {} failed, {skipped} skipped", self.passed, self.failed));
        if self.failed > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS }
    }

    fn by_judge(&self) {
        let (modelled, unlike) = self.modelled;
        let (passed, failed) = (self.passed - modelled, self.failed - unlike);
        let ran = passed + failed;
        if ran > 0 {
            let every_write = passed + self.failed_deduplicated;
            say(&format!("changelogs with every write: {every_write} of {ran} as Java; deduplicated per commit: {passed} of {ran}"));
        }
        if modelled + unlike > 0 {
            say(&format!("bounded watermarks: {modelled} of {} as the model", modelled + unlike));
        }
    }
}
