//! Transactions of single tasks, and gates that say whether a task may run.

use std::collections::BTreeMap;
use std::sync::Mutex;

use super::exactly_once::{assert_exact, copied_and_counted, expected, outlast, sorted, words};
use super::rig::Rig;
use super::*;
use crate::config::ProducerScope;
use crate::error::BoxError;
use crate::kafka::{Consumer, FetchLimit, Isolation, NewTopic};
use crate::runtime::{Closing, Gate};

/// Each task commits for itself.
fn by_task(topology: Topology, partitions: i32) -> Rig {
    let mut rig = Rig::new(topology, partitions).exactly_once();
    rig.settings.producer_scope = ProducerScope::Task { prefix: "move".into() };
    rig
}

#[test]
fn a_task_that_fails_takes_back_what_it_did_itself_and_nothing_else() {
    let mut rig = by_task(copying(), 2).start();
    rig.settle();
    rig.write("left", 1, Some("k"), "w1", 1);
    rig.settle();
    rig.write("left", 0, Some("k"), "boom", 2);
    rig.write("left", 1, Some("k"), "w2", 2);
    rig.settle();
    assert_eq!(Progress::taken(&rig), 2, "the other goes on where it is");
    rig.commit();
    assert_eq!(rig.read("out"), ["w1", "w2"]);
    assert_eq!((rig.committed("left", 0), rig.committed("left", 1).unwrap().0), (None, 2));
}

#[test]
fn a_crash_before_any_step_changes_nothing() {
    for step in plan::steps(false, true, true) {
        let mut rig = by_task(copied_and_counted(), 2).start();
        rig.settle();
        words(&rig, 0..4);
        rig.settle();
        rig.commit();
        words(&rig, 4..8);
        rig.settle();
        rig.threads[0].dies_before = Some(step);
        // Long enough for a purge; the log's own clock stands still, so that no transaction times out.
        assert!(rig.threads[0].run_once(rig.clock.now() + Duration::from_secs(40), Duration::ZERO).is_err(), "{step:?}");
        rig.crash();
        (0..4).for_each(|_| rig.pass(200));
        assert_exact(&rig, 8, &format!("before {step:?}, with ids that the next owner has too"));
    }
}

#[test]
fn the_task_of_a_zombie_is_fenced_by_its_next_owner() {
    let mut rig = by_task(copied_and_counted(), 2).start();
    rig.settle();
    words(&rig, 0..4);
    rig.settle();
    let member = rig.threads[0].member_id();
    assert!(rig.log.expel("app", &member));
    rig.join();
    // The next owner is there at once, in the middle of the zombie's transactions: no time-out has passed.
    for _ in 0..6 {
        rig.threads[1].run_once(rig.clock.now(), Duration::ZERO).unwrap();
    }
    let late = rig.clock.now() + Duration::from_millis(100);
    rig.threads[0].commit(Due::Interval, late).unwrap();
    assert_eq!(rig.read("out"), [""; 0], "the zombie is not believed");
    assert!(rig.threads[0].tasks.is_empty(), "it has given everything up");
    (0..6).for_each(|_| rig.pass(200));
    assert_exact(&rig, 4, "no id is taken back and forth");
    assert!(rig.board.facts().failures.is_empty());
    assert_eq!(rig.owned(0).len() + rig.owned(1).len(), 4);
}

#[test]
fn tasks_move_with_their_transactions() {
    let mut rig = by_task(copied_and_counted(), 3).start();
    rig.settle();
    for round in 0..6_i64 {
        words(&rig, round * 4..(round + 1) * 4);
        rig.round();
        if round == 1 || round == 3 {
            rig.join();
        }
        rig.settle();
    }
    outlast(&mut rig);
    assert_exact(&rig, 24, "three threads");
}

/// Lets a task run up to a fence, if one is given, and writes `done` in the last transaction; holds it while it is told to.
#[derive(Default)]
struct Latch {
    held: Mutex<bool>,
    fence: Mutex<Option<i64>>,
    /// What it was asked, and what it had read.
    asked: Mutex<Vec<String>>,
}

impl Latch {
    fn fence(&self, task: TaskId) -> Gate {
        let fence = *self.fence.lock().unwrap();
        fence.map_or(Gate::Run, |fence| Gate::RunUntil(BTreeMap::from([(TopicPartition::new("left", task.partition), fence)])))
    }
}

impl TaskGate for Arc<Latch> {
    fn enter(&self, task: TaskId, log: &mut dyn Consumer) -> Result<Gate, BoxError> {
        let latch = TopicPartition::new("latch", 0);
        let end = log.end_offsets(std::slice::from_ref(&latch), Isolation::ReadUncommitted)?[0];
        log.assign(&[(latch.clone(), 0)])?;
        let mut done = 0;
        let fetched = log.fetch(&latch, FetchLimit { records: 100, bytes: 1 << 20 }, &mut |_| done += 1)?;
        if fetched.next_offset < end {
            return Err("everything of this task is decided once its producer is initialised".into());
        }
        self.asked.lock().unwrap().push(format!("{task} sees {done}"));
        match *self.held.lock().unwrap() {
            _ if done > 0 => Ok(Gate::Stop),
            true => Ok(Gate::Hold),
            false => Ok(self.fence(task)),
        }
    }

    fn closing(&self, task: TaskId, _: &mut dyn Consumer, closing: &mut Closing<'_>) -> Result<Gate, BoxError> {
        let stands = closing.positions()[&TopicPartition::new("left", task.partition)];
        if self.fence.lock().unwrap().is_some_and(|fence| stands >= fence) {
            closing.send(&TopicPartition::new("latch", 0), Some(b"done"), Some(b""), Timestamp::from_millis(0))?;
            return Ok(Gate::Stop);
        }
        Ok(if *self.held.lock().unwrap() { Gate::Hold } else { self.fence(task) })
    }
}

fn latched() -> (Rig, Arc<Latch>) {
    let latch = Arc::new(Latch::default());
    let mut rig = by_task(copying(), 1);
    rig.gate = Some(Arc::new(latch.clone()));
    rig.log.admin().unwrap().create_topics(&[NewTopic::new("latch", 1)]).unwrap();
    (rig, latch)
}

#[test]
fn a_task_waits_at_its_gate_and_passes() {
    let (mut rig, latch) = latched();
    *latch.held.lock().unwrap() = true;
    let mut rig = rig_started(&mut rig);
    words(&rig, 0..2);
    (0..3).for_each(|_| rig.pass(100));
    assert_eq!((rig.read("out").len(), latch.asked.lock().unwrap().len()), (0, 4), "asked at every commit interval");
    *latch.held.lock().unwrap() = false;
    (0..2).for_each(|_| rig.pass(100));
    assert_eq!(sorted(&rig, "out"), expected(0..2));
    *latch.held.lock().unwrap() = true;
    rig.commit();
    words(&rig, 2..4);
    (0..2).for_each(|_| rig.pass(100));
    assert_eq!(rig.read("out").len(), 2, "held while it runs");
    *latch.held.lock().unwrap() = false;
    (0..2).for_each(|_| rig.pass(100));
    assert_eq!(sorted(&rig, "out"), expected(0..4));
}

fn rig_started(rig: &mut Rig) -> Rig {
    rig.join();
    rig.settle();
    std::mem::replace(rig, Rig::new(copying(), 1))
}

#[test]
fn a_fence_is_not_passed_and_what_the_gate_writes_comes_with_the_last_record() {
    let (mut rig, latch) = latched();
    let mut rig = rig_started(&mut rig);
    words(&rig, 0..2);
    rig.settle();
    rig.commit();
    *latch.fence.lock().unwrap() = Some(4);
    rig.commit();
    words(&rig, 2..7);
    rig.settle();
    rig.threads[0].dies_before = Some(plan::CommitStep::Commit);
    rig.clock.advance(Duration::from_millis(100));
    assert!(rig.threads[0].run_once(rig.clock.now(), Duration::ZERO).is_err());
    assert_eq!((rig.read("latch").len(), rig.read("out").len()), (0, 2), "together");
    rig.crash();
    (0..3).for_each(|_| rig.pass(100));
    assert_eq!((rig.read("latch").len(), sorted(&rig, "out")), (1, expected(0..4)), "or together");
    assert_eq!(rig.committed("left", 0).unwrap().0, 4);
    assert_eq!(rig.board.facts().state, crate::runtime::State::Finished);
    rig.crash();
    (0..3).for_each(|_| rig.pass(100));
    assert_eq!(latch.asked.lock().unwrap().last().unwrap(), "0_0 sees 1");
    assert_eq!((rig.read("latch").len(), rig.read("out").len()), (1, 4), "it stays where it is");
    assert!(rig.board.facts().failures.is_empty());
}

#[test]
fn a_gate_that_cannot_decide_stops_its_task() {
    struct Broken;
    impl TaskGate for Broken {
        fn enter(&self, _: TaskId, _: &mut dyn Consumer) -> Result<Gate, BoxError> {
            Err("no latch".into())
        }
    }
    let mut rig = by_task(copying(), 1);
    rig.gate = Some(Arc::new(Broken));
    let mut rig = rig.start();
    words(&rig, 0..2);
    rig.settle();
    rig.commit();
    assert_eq!(rig.read("out"), [""; 0]);
    assert!(rig.board.facts().failures[0].error.to_string().contains("no latch in `gate`"));
}
