//! The judge of the kill table acquits an undisturbed run, and finds every single thing that a broken engine could leave behind.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use highwater::SystemClock;
use highwater::kafka::{Connect, MemoryLog};

use super::findings::Findings;
use super::judge::Case;
use super::life::{Life, Promise};
use super::log::Whims;
use super::notes::{Notes, Restored};
use super::scene::{Kind, Names};
use super::victim;

/// One undisturbed life on a log in memory, and what it left.
struct Run {
    life: Life,
    findings: Findings,
    notes: Notes,
}

impl Run {
    fn of(kind: Kind, promise: Promise) -> Run {
        static RUNS: AtomicU32 = AtomicU32::new(0);
        let name = format!("highwater-judge-{}-{}", std::process::id(), RUNS.fetch_add(1, Ordering::Relaxed));
        let folder: PathBuf = std::env::temp_dir().join(name);
        fs::create_dir_all(&folder).unwrap();
        let life = Life {
            folder,
            number: 0,
            bootstrap: None,
            names: Names { prefix: String::new() },
            lasting: false,
            kind,
            promise,
            records: 100,
            chunk: 10,
            pause: Duration::from_millis(2),
            closes_after: None,
            shared: false,
            expelled: false,
            loses: false,
            transactional_feed: true,
        };
        let log: Arc<dyn Whims> = Arc::new(MemoryLog::new(Arc::new(SystemClock)));
        victim::live(&life, &log).unwrap();
        // Stores are in memory here: what is restored at a start is not the question.
        let findings = Findings { restored_after_close: 0, ..Findings::of(&life, &(log as Arc<dyn Connect>)).unwrap() };
        let notes = Notes::read(&life.notes());
        fs::remove_dir_all(&life.folder).unwrap();
        Run { life, findings, notes }
    }

    fn faults(&self, findings: &Findings, lives: &[Notes]) -> Vec<String> {
        Case { kind: self.life.kind, promise: self.life.promise, findings, lives }.faults()
    }

    /// Spoils the findings and says what must be found in them.
    fn spoilt(&self, fault: &str, spoil: impl FnOnce(&mut Findings)) {
        let mut findings = self.findings.clone();
        spoil(&mut findings);
        assert_ne!(findings, self.findings, "nothing was spoilt for `{fault}`");
        let found = self.faults(&findings, std::slice::from_ref(&self.notes));
        assert!(found.iter().any(|found| found.contains(fault)), "`{fault}` is not among {found:?}");
    }
}

#[test]
fn an_undisturbed_run_is_acquitted() {
    for kind in Kind::ALL {
        for promise in Promise::ALL {
            let run = Run::of(kind, promise);
            assert_eq!(run.faults(&run.findings, std::slice::from_ref(&run.notes)), [""; 0], "{kind:?} {promise:?}");
            let changes = if kind == Kind::Join { 3 * (5 + 34) } else { 0 };
            assert_eq!(run.notes.taken, Some(300 + changes));
            assert!(run.findings.output.len() > 30);
        }
    }
}

#[test]
fn whatever_the_promise_nothing_may_be_lost() {
    for promise in Promise::ALL {
        for kind in Kind::ALL {
            let run = Run::of(kind, promise);
            run.spoilt("lost", |findings| drop(findings.output.pop().unwrap()));
            run.spoilt("undecided", |findings| findings.undecided.push("out-0".to_owned()));
            run.spoilt("unread", |findings| findings.unread.push("in-0".to_owned()));
            run.spoilt("input of partition 1", |findings| findings.input[1][50] = (0, 0));
            run.spoilt("the log lost", |findings| findings.input[1].truncate(99));
            run.spoilt("restored", |findings| findings.restored_after_close = 1);
        }
    }
}

#[test]
fn exactly_once_is_no_row_more() {
    for kind in Kind::ALL {
        let run = Run::of(kind, Promise::ExactlyOnce);
        run.spoilt("doubled", |findings| findings.output.push(findings.output[7].clone()));
    }
    let run = Run::of(Kind::Count, Promise::ExactlyOnce);
    run.spoilt("order", |findings| findings.output.swap(0, 20));
    run.spoilt("fold of the changelog", |findings| drop(findings.changelog.pop_first()));
}

#[test]
fn at_least_once_doubles_what_was_not_committed_and_nothing_else() {
    let run = Run::of(Kind::Copy, Promise::AtLeastOnce);
    let mut findings = run.findings.clone();
    let row = findings.output.iter().find(|(_, value)| value == "<0:33>").unwrap().clone();
    findings.output.push(row);
    let start = |committed: usize| {
        let starts = findings.input.iter().map(|records| (Some(records[committed].0), 50)).collect();
        [run.notes.clone(), Notes { starts, ..Notes::default() }]
    };
    assert_eq!(run.faults(&findings, &start(30)), [""; 0]);
    assert!(run.faults(&findings, &start(40))[0].contains("doubled"));
    let run = Run::of(Kind::Count, Promise::AtLeastOnce);
    run.spoilt("doubled", |findings| findings.output.push(("p0-k0".to_owned(), "21".to_owned())));
}

#[test]
fn a_store_is_what_its_changelog_says() {
    let run = Run::of(Kind::Count, Promise::ExactlyOnce);
    run.spoilt("local store", |findings| *findings.store.values_mut().next().unwrap() += 1);
    run.spoilt("local store", |findings| drop(findings.store.pop_last()));
    let run = Run::of(Kind::Windowed, Promise::ExactlyOnce);
    run.spoilt("local store", |findings| findings.store.extend([("g01@1700000000000".to_owned(), 3)]));
    let run = Run::of(Kind::Join, Promise::AtLeastOnce);
    run.spoilt("local store", |findings| drop(findings.store.pop_last()));
    run.spoilt("fold of the changelog", |findings| drop(findings.table.pop_last()));
    let mut life = run.notes.clone();
    life.restored.insert("a-counts-0_0".to_owned(), Restored { records: 3, committed: 2 });
    assert!(run.faults(&run.findings, &[life])[0].contains("read 3 back of 2"));
    let life = |rebuilt| Notes { rebuilt, ..run.notes.clone() };
    assert!(run.faults(&run.findings, &[life(Some(0)), life(Some(1))])[0].contains("wiped"));
    assert_eq!(run.faults(&run.findings, &[life(None), life(Some(1))]), [""; 0]);
}
