//! Processes with lasting names are restarted one after the other, in order and by SIGKILL: no task moves, and local state is used again.

use std::collections::{BTreeMap, BTreeSet};
use std::thread;
use std::time::Duration;

use highwater::kafka::Connect as _;

use super::child::micros;
use super::flow::{self, Beside, PARTITIONS};
use super::herd::{self, Herd, Way, broker};
use super::verdict::judge;

const NAMES: [&str; 3] = ["a", "b", "c"];
const PER_SECOND: u64 = 1_000;
const CALM: Duration = Duration::from_millis(1_000);
/// A process starts well within it, on a machine that has other things to do too. A namesake takes over at once, and waits for neither.
const SESSION: Duration = Duration::from_secs(45);
const TRANSACTION: Duration = Duration::from_secs(15);
/// Records of one commit that may not have reached the store when its process died: the last of each key, and as many again for the commit that
/// was on its way.
const TAIL: u64 = 2 * 20;

/// Who was said to have which task, whenever the group was asked.
type Seen = BTreeMap<i32, BTreeSet<String>>;

fn look(herd: &Herd) -> Beside<Seen> {
    let (admin, application) = (herd.log().admin().unwrap(), herd.model.application.clone());
    Beside::run(move |over| {
        let mut seen = Seen::new();
        while !over.load(std::sync::atomic::Ordering::SeqCst) {
            for member in admin.describe_group(&application).map(|group| group.members).unwrap_or_default() {
                let name = member.instance.unwrap_or_default();
                for task in member.tasks {
                    seen.entry(task.partition).or_default().insert(name.clone());
                }
            }
            thread::sleep(Duration::from_millis(50));
        }
        seen
    })
}

/// What a life had to read back: from where, and how many records.
fn restored(herd: &Herd, name: &str, from: i64) -> Vec<(i64, u64)> {
    let parse = |text: String| {
        let words: Vec<_> = text.split(' ').collect();
        (words[1].parse().unwrap(), words[3].parse().unwrap())
    };
    herd.since(name, "restored", from).into_iter().map(parse).collect()
}

fn restart(herd: &mut Herd, name: &str, end: impl FnOnce(&mut Herd)) -> Vec<(i64, u64)> {
    let tasks = |herd: &Herd| NAMES.map(|name| herd.tasks(name).0);
    let before = tasks(herd);
    let from = micros();
    end(herd);
    herd.start(name, true);
    let own = &before[NAMES.iter().position(|other| *other == name).unwrap()];
    herd.until("it has its tasks again, and they run", || {
        let (tasks, run) = herd.tasks(name);
        herd.since(name, "started", from).len() == 1 && run && tasks == *own
    });
    thread::sleep(CALM);
    assert_eq!(before, tasks(herd), "restarting {name} moved something:\n{}", herd.story());
    for (other, before) in NAMES.iter().zip(&before).filter(|(other, _)| **other != name) {
        // A machine that stands still for as long as a transaction lasts makes a task do something again: that is no move.
        let strict = std::env::var_os("STRICT").is_some();
        let mut moved = herd.since(other, "tasks", from);
        moved.retain(|tasks| strict || herd::numbers(tasks) != *before);
        assert!(moved.is_empty(), "{other} was disturbed by the restart of {name}: {moved:?}\n{}", herd.story());
    }
    restored(herd, name, from)
}

fn play(way: Way, kills: bool) {
    let Some(broker) = broker() else { return };
    let mut herd = Herd::new(broker.bootstrap(), way);
    (herd.model.session, herd.model.transaction) = (SESSION, TRANSACTION);
    let feed = flow::feed(broker.bootstrap(), herd.model.input(), PER_SECOND, (0..PARTITIONS).collect());
    let reading = flow::read(broker.bootstrap(), herd.model.output());
    NAMES.iter().for_each(|name| herd.start(name, true));
    herd.settle(&NAMES);
    thread::sleep(CALM);
    let looking = look(&herd);
    for name in NAMES {
        let restored = restart(&mut herd, name, |herd| herd.stop(name));
        eprintln!("{}: {name} stopped and started again, restored {restored:?}", way.name());
        assert!(restored.iter().all(|(begin, records)| *begin > 0 && *records == 0), "{restored:?}\n{}", herd.story());
    }
    for name in NAMES.iter().filter(|_| kills) {
        let restored = restart(&mut herd, name, |herd| herd.kill(name));
        eprintln!("{}: {name} killed and started again, restored {restored:?}", way.name());
        assert!(restored.iter().all(|(begin, records)| *begin > 0 && *records <= TAIL), "{restored:?}\n{}", herd.story());
    }
    let seen = looking.end();
    assert!(seen.len() == PARTITIONS as usize && seen.values().all(|names| names.len() == 1), "tasks moved: {seen:?}\n{}", herd.story());
    let sent = feed.end();
    herd.until_all_is_committed();
    herd.stop_all();
    let verdict = judge(&sent, &reading.end(), way.exactly_once);
    eprintln!("{}: {} records, {} doubled", way.name(), verdict.records, verdict.doubled);
    assert!(verdict.faults.is_empty(), "{:#?}\n{}", verdict.faults, herd.story());
    assert!(kills || verdict.doubled == 0, "{} came twice although everybody stopped in order", verdict.doubled);
    assert!(herd.errors().is_empty(), "{:#?}", herd.errors());
}

#[test]
fn a_rolling_restart_with_lasting_names_moves_nothing() {
    play(Way::ALL[0], true);
}

#[test]
#[ignore = "a while: `make processes`"]
fn at_least_once_as_well() {
    play(Way::ALL[1], true);
}

#[test]
#[ignore = "a while: `make processes`"]
fn nor_in_a_group_run_by_the_broker() {
    play(Way::ALL[2], false);
}

/// There a killed process that comes back waits until the session of its former self is over; the others have its tasks until then.
#[test]
#[ignore = "a while: `make processes`"]
fn a_killed_namesake_of_a_group_run_by_the_broker_is_waited_for() {
    let (way, Some(broker)) = (Way::ALL[2], broker()) else { return };
    let mut herd = Herd::new(broker.bootstrap(), way);
    let feed = flow::feed(broker.bootstrap(), herd.model.input(), PER_SECOND, (0..PARTITIONS).collect());
    let reading = flow::read(broker.bootstrap(), herd.model.output());
    NAMES.iter().for_each(|name| herd.start(name, true));
    herd.settle(&NAMES);
    thread::sleep(CALM);
    let from = micros();
    herd.kill("b");
    herd.start("b", true);
    herd.until("it waits", || herd.since("b", "log", from).iter().any(|line| line.contains("still counted in")));
    herd.until("it has started", || herd.last("b", "tasks").is_some_and(|(at, _)| at > from));
    herd.settle(&NAMES);
    eprintln!("{}: back with tasks after {} ms", way.name(), (herd.last("b", "tasks").unwrap().0 - from) / 1000);
    let sent = feed.end();
    herd.until_all_is_committed();
    herd.stop_all();
    let verdict = judge(&sent, &reading.end(), way.exactly_once);
    assert!(verdict.faults.is_empty() && herd.errors().is_empty(), "{:#?} {:#?}\n{}", verdict.faults, herd.errors(), herd.story());
}
